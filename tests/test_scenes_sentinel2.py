"""Sentinel-2 products become scenes: old and new, whole, incomplete, contradictory and hostile."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from scene_files_s2 import (
    RESOLUTIONS,
    Safe,
    band_pixels,
    class_pixels,
    pack_tar,
    pack_zip,
    write_jp2,
)

from pipeline.profile import Profile
from pipeline.scenes import find_scenes, sentinel2
from pipeline.scenes.found import Found
from pipeline.scenes.scene import Asset, Scene, SceneError, SceneOptions
from pipeline.scenes.sentinel2_names import BANDS, band_name, image_of
from pipeline.sources import open_source
from pipeline.tiling import Window

EO = Path("data/eo")
REAL_ZIP = EO / "GeoscienceAustralia__wagl/tests/data/SENTINEL2"
REAL_TREE = EO / "CS-SI__eodag-cube/tests/resources/products"
ANTIMERIDIAN = (
    "-15.35591136701329 180 -15.360190240553301 -179.70343 -16.35172398794926 -179.71667 "
    "-16.347379696256823 180 -16.335986146256882 179.25694918943802 -15.34545370590625 "
    "179.27517845240016 -15.35591136701329 180 "
)
"""Of S2A_MSIL1C_20200717T221941_N0209_R029_T01LAC_20200717T234135, as delivered."""


def opened(path: Path, work: Path, **options: object) -> Scene:
    return sentinel2.open(path, SceneOptions(**options), work)


def refused(path: Path, work: Path, reason: str, why: str, **options: object) -> None:
    """One line that names a file, with the reason for programs."""
    with pytest.raises(SceneError, match=why) as caught:
        opened(path, work, **options)
    assert caught.value.reason == reason
    assert "\n" not in str(caught.value)
    assert str(path.parent) in str(caught.value) or str(work) in str(caught.value)


def asset(scene: Scene, key: str) -> Asset:
    return next(one for one in scene.assets if one.key == key)


def keys(scene: Scene) -> list[str]:
    return [one.key for one in scene.assets]


def profile(one: Asset) -> Profile:
    """As the job sees it, with the options that the scene gives."""
    return open_source(one.uri, one.options).profile


def pixels(one: Asset) -> np.ndarray:
    source = open_source(one.uri, one.options)
    height, width = source.profile.height, source.profile.width
    return source.read(Window(0, 0, height, width))


def names(one: Asset) -> list[str]:
    return [band.name for band in one.bands]


def assert_bands(one: Asset, expected: Sequence[str], size: int) -> None:
    """The bands in this order: by name, in the file's descriptions, and by their pixels."""
    assert names(one) == list(expected)
    assert [band.description for band in profile(one).bands] == list(expected)
    assert_array_equal(pixels(one), np.concatenate([band_pixels(b, size) for b in expected]))


# what a product is


@pytest.mark.parametrize("safe", [Safe(), Safe(old=True), Safe("L2A"), Safe("L2A", old=True)])
def test_products_are_found_by_their_names(safe: Safe, tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    root = safe.write(inbox / "some" / "day")
    renamed = safe.write(inbox / "b").rename(inbox / "b" / "renamed")
    archive = pack_zip(root, inbox / f"{safe.name}.zip")
    found = list(find_scenes(inbox, SceneOptions(families=("sentinel2",))))
    assert sorted(found) == sorted(Found(p, "sentinel2") for p in (root, renamed, archive))


def test_other_things_are_no_products(tmp_path: Path) -> None:
    for name in ("S1A_IW_GRDH_1SDV_20200101.SAFE", "S2A_MSIL1C_20160905_crops", "LC08_L1TP"):
        (tmp_path / name).mkdir()
        assert not sentinel2.claims(tmp_path / name)
    for name in ("S2A_MSIL1C_20160905.jp2", "notes.zip"):
        (tmp_path / name).write_bytes(b"x")
        assert not sentinel2.claims(tmp_path / name)
    assert not sentinel2.claims(tmp_path / "S2A_MSIL1C_that_is_not_there.zip")


def test_broken_products_are_claimed(tmp_path: Path) -> None:
    empty, archive = tmp_path / f"{Safe().name}.SAFE", tmp_path / f"{Safe().name}.zip"
    empty.mkdir()
    archive.write_bytes(b"")
    assert sentinel2.claims(empty)
    assert sentinel2.claims(archive)
    refused(empty, tmp_path / "w1", "incomplete", "has no MTD_MSIL1C.xml")
    refused(archive, tmp_path / "w2", "unreadable", "damaged or has not arrived whole")


# bands


@pytest.mark.parametrize("old", [False, True])
def test_bands_are_stacked_by_resolution(old: bool, tmp_path: Path) -> None:
    safe = Safe(old=old)
    scene = opened(safe.write(tmp_path), tmp_path / "work")
    assert keys(scene) == ["r10m", "r20m", "r60m"]
    assert_bands(asset(scene, "r10m"), ["B02", "B03", "B04", "B08"], 60)
    assert_bands(asset(scene, "r20m"), ["B05", "B06", "B07", "B8A", "B11", "B12"], 30)
    assert_bands(asset(scene, "r60m"), ["B01", "B09", "B10"], 10)
    assert [one.resolution for one in scene.assets] == [10, 20, 60]
    assert scene.notes == ()


def test_a_stack_says_all_that_the_metadata_say(tmp_path: Path) -> None:
    scene = opened(Safe().write(tmp_path), tmp_path / "work")
    found = profile(asset(scene, "r10m"))
    assert [band.colour for band in found.bands] == ["blue", "green", "red", "undefined"]
    assert {(band.scale, band.offset) for band in found.bands} == {(0.0001, 0.0)}
    assert (found.nodata, found.saturated, found.dtype) == (0, 65535, "uint16")
    assert found.georef.affine == (10, 0, 600000, 0, -10, 5100000)
    assert found.georef.crs is not None
    assert "32632" in found.georef.crs
    for one in scene.assets:
        assert one.saturated == 65535
        assert one.kind == "light"
    red = asset(scene, "r10m").bands[2]
    assert (red.common, red.wavelength, red.width) == ("red", 0.5035, 0.030)  # 503.5 nm


def test_offsets_come_from_the_metadata_band_by_band(tmp_path: Path) -> None:
    offsets = {i: -1000 - i for i in range(13)}
    safe = Safe(baseline="05.09", offsets=offsets)
    scene = opened(safe.write(tmp_path), tmp_path / "work")
    known = {band.name: band for one in scene.assets for band in one.bands if band.common}
    for i, name in enumerate(RESOLUTIONS):
        assert known[name].offset == (-1000 - i) / 10000
        assert known[name].scale == 1 / 10000
    for band in profile(asset(scene, "r60m")).bands:
        assert band.offset == known[band.description or ""].offset
    assert scene.notes == ()


def test_values_are_not_guessed_from_the_baseline(tmp_path: Path) -> None:
    early = Safe(baseline="02.04", offsets=dict.fromkeys(range(13), -1000))
    late = Safe(baseline="04.00")
    first = opened(early.write(tmp_path / "a"), tmp_path / "work")
    assert first.assets[0].bands[0].offset == -0.1
    second = opened(late.write(tmp_path / "b"), tmp_path / "work2", classes=False)
    assert second.assets[0].bands[0].offset == 0
    assert "no offsets, which processing baseline 04.00 has" in second.notes[0]


def test_other_special_values_are_believed(tmp_path: Path) -> None:
    safe = Safe(product=(("INDEX>0<", "INDEX>1<"), ("INDEX>65535<", "INDEX>32767<")))
    scene = opened(safe.write(tmp_path), tmp_path / "work")
    assert profile(scene.assets[0]).nodata == 1
    assert scene.assets[0].saturated == 32767


def test_missing_special_values_are_those_of_the_specification(tmp_path: Path) -> None:
    safe = Safe(product=((">NODATA<", ">OTHER<"),))
    scene = opened(safe.write(tmp_path), tmp_path / "work")
    assert profile(scene.assets[0]).nodata == 0
    assert scene.notes == (
        "its metadata give no value for NODATA: 0 is taken, as the product specification says",
    )


# Level 2A


@pytest.mark.parametrize("old", [False, True])
def test_level_2a_gives_bands_as_sensed_and_classes(old: bool, tmp_path: Path) -> None:
    safe = Safe("L2A", old=old)
    scene = opened(safe.write(tmp_path), tmp_path / "work")
    assert keys(scene) == ["r10m", "r20m", "r60m", "scl", "cloud"]
    assert_bands(asset(scene, "r10m"), ["B02", "B03", "B04", "B08"], 60)
    assert_bands(asset(scene, "r60m"), ["B01", "B09"], 10)
    assert scene.assets[0].bands[0].scale == 0.0001  # not that of Level 1C
    assert scene.notes == ()
    for key, count in (("scl", 12), ("cloud", 101)):
        one = asset(scene, key)
        assert one.kind == "classes"
        assert one.resolution == 20
        assert one.saturated is None
        assert [band.role for band in profile(one).bands] == ["category"]
        assert_array_equal(pixels(one), class_pixels(30, count))
    assert profile(asset(scene, "scl")).nodata == 0
    assert profile(asset(scene, "cloud")).nodata is None  # 0 per cent is a value


def test_classes_can_be_left_out(tmp_path: Path) -> None:
    scene = opened(Safe("L2A").write(tmp_path), tmp_path / "work", classes=False)
    assert keys(scene) == ["r10m", "r20m", "r60m"]


def test_flags_of_clouds_of_level_1c_are_classes(tmp_path: Path) -> None:
    safe = Safe(baseline="05.09", offsets=dict.fromkeys(range(13), -1000))
    scene = opened(safe.write(tmp_path), tmp_path / "work")
    assert keys(scene) == ["r10m", "r20m", "r60m", "cloud"]
    cloud = asset(scene, "cloud")
    assert names(cloud) == ["OPAQUE", "CIRRUS", "SNOW"]
    expected = np.minimum(np.concatenate([class_pixels(10, n) for n in (2, 3, 4)]), 1)
    assert_array_equal(pixels(cloud), expected)


def test_probability_goes_before_flags(tmp_path: Path) -> None:
    safe = Safe("L2A", baseline="05.09", offsets=dict.fromkeys(range(13), -1000))
    scene = opened(safe.write(tmp_path), tmp_path / "work")
    assert names(asset(scene, "cloud")) == ["CLDPRB"]
    assert keys(scene).count("cloud") == 1


def test_bands_that_are_there_coarser_only_are_taken_so(tmp_path: Path) -> None:
    safe = Safe("L2A", resolutions=(20,))
    scene = opened(safe.write(tmp_path), tmp_path / "work", classes=False)
    expected = [b for b in RESOLUTIONS if RESOLUTIONS[b] <= 20]
    assert keys(scene) == ["r20m"]
    assert_bands(asset(scene, "r20m"), expected, 30)
    assert scene.notes == (
        "B01, B09 are missing",
        "B02, B03, B04, B08 are there at 20 m only, not as sensed",
    )


def test_a_band_that_is_there_finer_only_is_taken_so(tmp_path: Path) -> None:
    """Level 2A has B01 at 20 m too since processing baseline 04.00."""
    safe = Safe("L2A")
    root = safe.write(tmp_path)
    path = next(root.rglob("*_B02_20m.jp2"))
    shutil.copy(path, path.with_name(path.name.replace("B02", "B01")))
    options = {"bands": ("B01", "B05"), "classes": False}
    assert [names(one) for one in opened(root, tmp_path / "w", **options).assets] == [
        ["B05"], ["B01"],
    ]  # fmt: skip
    next(root.rglob("*_B01_60m.jp2")).unlink()
    scene = opened(root, tmp_path / "w", **options)
    assert [names(one) for one in scene.assets] == [["B01", "B05"]]
    assert scene.notes == ("B01 is there at 20 m only, not as sensed",)


# which bands


def test_bands_are_chosen_by_name_in_the_order_asked_for(tmp_path: Path) -> None:
    root = Safe().write(tmp_path)
    scene = opened(root, tmp_path / "work", bands=("B04", "b3", "B12", "B2", "B04"))
    assert [names(one) for one in scene.assets] == [["B04", "B03", "B02"], ["B12"]]
    assert_bands(scene.assets[0], ["B04", "B03", "B02"], 60)
    assert scene.notes == ()


def test_names_of_others_are_noted_and_alone_refused(tmp_path: Path) -> None:
    root = Safe().write(tmp_path)
    scene = opened(root, tmp_path / "work", bands=("SR_B4", "B08"))
    assert [names(one) for one in scene.assets] == [["B08"]]
    assert scene.notes == ("Sentinel-2 has no band 'SR_B4'",)
    refused(root, tmp_path / "w", "unsupported", "none of scenes.bands = 'SR_B4'", bands=("SR_B4",))


@pytest.mark.parametrize(
    ("text", "name"),
    [("b4", "B04"), ("B8A", "B8A"), ("b8a", "B8A"), ("B08", "B08"), ("B12", "B12"), (" B1 ", "B01"),
     ("B13", None), ("4", None), ("TCI", None), ("", None)],
)  # fmt: skip
def test_names_of_bands_may_be_short(text: str, name: str | None) -> None:
    assert band_name(text) == name


def test_every_band_is_the_name_of_itself() -> None:
    assert [band_name(name) for name in BANDS] == list(BANDS)
    assert {n: known.resolution for n, known in BANDS.items()} == RESOLUTIONS


@pytest.mark.parametrize(
    ("path", "name", "resolution"),
    [
        ("GRANULE/a/IMG_DATA/T55JEJ_20171207T002051_B8A.jp2", "B8A", 20),
        ("x/GRANULE/a/IMG_DATA/R60m/T55JEJ_20171207T002051_B02_60m.jp2", "B02", 60),
        ("GRANULE/a/IMG_DATA/R20m/L2A_T34VFJ_20170823T094031_SCL_20m.jp2", "SCL", 20),
        ("GRANULE/a/IMG_DATA/S2A_USER_SCL_L2A_TL_SGS__20160905_A006291_T32TQR_20m.jp2", "SCL", 20),
        ("GRANULE/a/QI_DATA/S2A_USER_CLD_L2A_TL_SGS__20160905_A006291_T32TQR_60m.jp2", "CLD", 60),
        ("GRANULE/a/QI_DATA/MSK_CLDPRB_20m.jp2", "CLD", 20),
        ("GRANULE/a/QI_DATA/MSK_CLASSI_B00.jp2", "CLASSI", 60),
    ],
)
def test_files_say_what_they_hold(path: str, name: str, resolution: int) -> None:
    found = image_of(path)
    assert found is not None
    assert (found.name, found.resolution) == (name, resolution)


@pytest.mark.parametrize(
    "path",
    [
        "GRANULE/a/QI_DATA/MSK_DETFOO_B05.jp2",
        "GRANULE/a/QI_DATA/MSK_QUALIT_B05.jp2",
        "GRANULE/a/QI_DATA/MSK_SNWPRB_20m.jp2",
        "GRANULE/a/QI_DATA/T55JEJ_20171207T002051_PVI.jp2",
        "GRANULE/a/QI_DATA/S2A_OPER_MSK_DEFECT_MPS__20160905_A006291_T53HLA_B05_MSIL1C.gml",
        "GRANULE/a/IMG_DATA/T55JEJ_20171207T002051_TCI.jp2",
        "GRANULE/a/IMG_DATA/R10m/T55JEJ_20171207T002051_WVP_10m.jp2",
        "GRANULE/a/IMG_DATA/R10m/T55JEJ_20171207T002051_AOT_10m.jp2",
        "GRANULE/a/IMG_DATA/T55JEJ_20171207T002051_B04.jp2.aux.xml",
        "GRANULE/a/AUX_DATA/T55JEJ_B04.jp2",
    ],
)
def test_other_files_are_not_used(path: str) -> None:
    assert image_of(path) is None


# what is missing, smaller or elsewhere


def test_missing_bands_are_a_note(tmp_path: Path) -> None:
    bands = tuple(b for b in RESOLUTIONS if b not in ("B03", "B09", "B01", "B10"))
    scene = opened(Safe(bands=bands).write(tmp_path), tmp_path / "work")
    assert keys(scene) == ["r10m", "r20m"]
    assert_bands(asset(scene, "r10m"), ["B02", "B04", "B08"], 60)
    assert scene.notes == ("B01, B03, B09, B10 are missing",)


def test_no_band_at_all_is_incomplete(tmp_path: Path) -> None:
    root = Safe("L2A", bands=()).write(tmp_path)
    refused(root, tmp_path / "work", "incomplete", "has none of the bands B01")


def test_smaller_bands_are_rasters_of_their_own(tmp_path: Path) -> None:
    safe = Safe(smaller={"B03": 2, "B08": 3, "B04": 2})
    scene = opened(safe.write(tmp_path), tmp_path / "work", bands=("B02", "B03", "B04", "B08"))
    assert sorted(keys(scene)) == ["r10m", "r10m_20x20", "r10m_30x30"]
    assert_bands(asset(scene, "r10m"), ["B02"], 60)
    assert_bands(asset(scene, "r10m_30x30"), ["B03", "B04"], 30)
    assert_bands(asset(scene, "r10m_20x20"), ["B08"], 20)
    assert asset(scene, "r10m_20x20").resolution == 30
    assert profile(asset(scene, "r10m_20x20")).georef.affine == (30, 0, 600000, 0, -30, 5100000)
    assert sorted(scene.notes) == [
        "B03, B04 are of 30 x 30 pixels, another size than the metadata say: a raster of its own, "
        "r10m_30x30",
        "B08 is of 20 x 20 pixels, another size than the metadata say: a raster of its own, "
        "r10m_20x20",
    ]


def test_bands_of_one_size_but_two_places_are_refused(tmp_path: Path) -> None:
    root = Safe().write(tmp_path)
    path = next(root.rglob("*_B03.jp2"))
    path.unlink()
    write_jp2(
        path,
        band_pixels("B03", 60),
        crs="EPSG:32632",
        transform=rasterio.Affine(10, 0, 600010, 0, -10, 5100000),
    )
    refused(
        root, tmp_path / "work", "incomplete", r"another grid than B02: B03 \(10.0, 0.0, 600010"
    )


def test_images_that_do_not_say_where_they_lie_lie_where_the_metadata_say(tmp_path: Path) -> None:
    safe = Safe(placed=False, smaller={"B03": 2}, bands=("B02", "B03"))
    scene = opened(safe.write(tmp_path), tmp_path / "work")
    full, half = (profile(asset(scene, key)).georef for key in ("r10m", "r10m_30x30"))
    assert full.affine == (10, 0, 600000, 0, -10, 5100000)
    assert half.affine == (20, 0, 600000, 0, -20, 5100000)
    assert full.crs is not None
    assert "32632" in full.crs
    metadata = next((tmp_path / f"{safe.name}.SAFE").rglob("MTD_TL.xml"))
    metadata.write_text(metadata.read_text().replace("Geoposition", "Elsewhere"))
    refused(tmp_path / f"{safe.name}.SAFE", tmp_path / "work", "incomplete", "where it lies")


def test_two_files_for_a_band_are_refused(tmp_path: Path) -> None:
    root = Safe().write(tmp_path)
    path = next(root.rglob("*_B03.jp2"))
    shutil.copy(path, path.with_name("copy_B03.jp2"))
    refused(root, tmp_path / "work", "incomplete", "two files for B03 at 10 m")


def test_a_band_that_is_a_geotiff_by_another_name_is_read(tmp_path: Path) -> None:
    root = Safe(bands=("B04",)).write(tmp_path)
    path = next(root.rglob("*_B04.jp2"))
    path.unlink()
    with rasterio.open(
        path, "w", driver="GTiff", height=60, width=60, count=1, dtype="uint16", crs="EPSG:32632",
        transform=rasterio.Affine(10, 0, 600000, 0, -10, 5100000),
    ) as dataset:  # fmt: skip
        dataset.write(band_pixels("B04", 60))
    assert_bands(opened(root, tmp_path / "work").assets[0], ["B04"], 60)


# several granules


def test_granules_have_assets_of_their_own(tmp_path: Path) -> None:
    safe = Safe(old=True, tiles=("53HLA", "53HMA"))
    scene = opened(safe.write(tmp_path), tmp_path / "work", bands=("B04", "B01"))
    assert keys(scene) == ["r10m_T53HLA", "r60m_T53HLA", "r10m_T53HMA", "r60m_T53HMA"]
    places = [profile(one).georef.affine for one in scene.assets]
    assert [place[2] for place in places if place] == [600000, 600000, 700000, 700000]
    assert scene.time == datetime(2016, 9, 5, 1, 4, 24, 2000, UTC)
    assert scene.properties["s2:tiles"] == ["53HLA", "53HMA"]
    assert "view:sun_azimuth" not in scene.properties


def test_missing_granules_are_a_note(tmp_path: Path) -> None:
    safe = Safe(old=True, tiles=("53HLA", "53HMA", "53HNA"))
    root = safe.write(tmp_path)
    for tile in ("53HMA", "53HNA"):
        shutil.rmtree(next(root.glob(f"GRANULE/*{tile}*")))
    scene = opened(root, tmp_path / "work")
    assert keys(scene) == ["r10m", "r20m", "r60m"]
    assert scene.notes == ("the granules on 53HMA, 53HNA are missing",)


def test_notes_say_which_granule(tmp_path: Path) -> None:
    root = Safe(old=True, tiles=("53HLA", "53HMA")).write(tmp_path)
    next(root.rglob("*T53HMA_B04.jp2")).unlink()
    scene = opened(root, tmp_path / "work")
    assert scene.notes == ("T53HMA: B04 is missing",)


# identity


def test_the_scene_is_described(tmp_path: Path) -> None:
    safe = Safe()
    root = safe.write(tmp_path)
    scene = opened(root, tmp_path / "work")
    assert (scene.id, scene.family, scene.path) == (safe.name, "sentinel2", root)
    assert scene.time == datetime(2016, 9, 5, 1, 4, 24, 2000, UTC)
    assert (scene.platform, scene.instruments) == ("sentinel-2a", ("msi",))
    expected = {
        "constellation": "sentinel-2", "eo:cloud_cover": 12.5, "sat:orbit_state": "descending",
        "sat:relative_orbit": 2, "sat:absolute_orbit": 6291, "processing:level": "L1C",
        "grid:code": "MGRS-32TQR", "view:sun_azimuth": 39.25, "view:sun_elevation": 39.5,
        "s2:processing_baseline": "02.04", "s2:datatake_id": "GS2A_20160905T005712_006291_N02.04",
    }  # fmt: skip
    assert {key: scene.properties[key] for key in expected} == expected
    outline = [[11, 46], [11, 45], [12.5, 45], [12.5, 46], [11, 46]]
    assert scene.footprint == {"type": "Polygon", "coordinates": [outline]}


@pytest.mark.parametrize("safe", [Safe(old=True), Safe("L2A", old=True), Safe("L2A")])
def test_a_scene_has_the_name_of_the_product(safe: Safe, tmp_path: Path) -> None:
    root = safe.write(tmp_path)
    assert opened(root, tmp_path / "work").id == safe.name
    archive = pack_zip(root, tmp_path / f"{safe.name}.zip")
    assert opened(archive, tmp_path / "work2").id == safe.name


def test_a_renamed_product_knows_its_name(tmp_path: Path) -> None:
    safe = Safe()
    root = safe.write(tmp_path).rename(tmp_path / "of today")
    assert opened(root, tmp_path / "work").id == safe.name


def test_a_name_that_leads_elsewhere_is_not_taken(tmp_path: Path) -> None:
    safe = Safe(product=((f"{Safe().name}.SAFE", "S2A_MSIL1C_/../../etc/passwd"),))
    root = safe.write(tmp_path).rename(tmp_path / "of today (2)")
    assert opened(root, tmp_path / "work").id == "of-today-2"


def test_a_reprocessed_product_is_a_newer_version_of_the_same_data(tmp_path: Path) -> None:
    first = Safe()
    again = replace(
        first,
        baseline="05.00",
        generated="2023-01-05T10:48:13.000000Z",
        offsets=dict.fromkeys(range(13), -1000),
    )
    old, new = (opened(s.write(tmp_path), tmp_path / s.name) for s in (first, again))
    assert old.dataset == new.dataset != ""
    assert old.version < new.version
    assert old.id != new.id


@pytest.mark.parametrize(
    "other", [Safe("L2A"), Safe(tiles=("32TPR",)), Safe(strip="S20160905T011111")]
)
def test_other_levels_tiles_and_halves_are_other_data(other: Safe, tmp_path: Path) -> None:
    first = opened(Safe().write(tmp_path / "a"), tmp_path / "work")
    second = opened(other.write(tmp_path / "b"), tmp_path / "work2")
    assert first.dataset != second.dataset


def test_opening_again_gives_the_same(tmp_path: Path) -> None:
    root = Safe("L2A").write(tmp_path)
    archive = pack_zip(root, tmp_path / f"{Safe('L2A').name}.zip")
    for path in (root, archive):
        work = tmp_path / f"work{path.suffix}"
        first = opened(path, work)
        told = [profile(one) for one in first.assets]
        assert opened(path, work) == first
        assert [profile(one) for one in first.assets] == told
        shutil.rmtree(work)  # as after a power cut
        assert opened(path, work) == first
        assert [profile(one).identity for one in first.assets] == [one.identity for one in told]


def test_a_changed_band_gives_another_identity(tmp_path: Path) -> None:
    root = Safe().write(tmp_path)
    first = [profile(one).identity for one in opened(root, tmp_path / "work").assets]
    path = next(root.rglob("*_B04.jp2"))
    os.utime(path, (path.stat().st_atime, path.stat().st_mtime + 5))
    second = [profile(one).identity for one in opened(root, tmp_path / "work").assets]
    assert first[0] != second[0]
    assert first[1:] == second[1:]


# footprints


def test_a_footprint_at_the_antimeridian_is_cut(tmp_path: Path) -> None:
    scene = opened(Safe(outline=ANTIMERIDIAN).write(tmp_path), tmp_path / "work")
    west = [
        [-180, -16.347379696256823], [-179.71667, -16.35172398794926],
        [-179.70343, -15.360190240553301], [-180, -15.35591136701329],
    ]  # fmt: skip
    east = [
        [180, -15.35591136701329], [179.27517845240016, -15.34545370590625],
        [179.25694918943802, -16.335986146256882], [180, -16.347379696256823],
    ]  # fmt: skip
    polygons = [[[*west, west[0]]], [[*east, east[0]]]]
    assert scene.footprint == {"type": "MultiPolygon", "coordinates": polygons}


def test_heights_in_a_footprint_are_left_out(tmp_path: Path) -> None:
    points = "46 11 5 45 11 6 45 12.5 7 46 12.5 8 46 11 5"
    scene = opened(Safe(outline=points).write(tmp_path), tmp_path / "work")
    outline = [[11, 46], [11, 45], [12.5, 45], [12.5, 46], [11, 46]]
    assert scene.footprint == {"type": "Polygon", "coordinates": [outline]}


@pytest.mark.parametrize(
    "outline", ["", "46 11 45", "46 11 45 x 46 11", "146 11 45 11 45 12 146 11"]
)
def test_a_footprint_that_is_none_is_a_note(outline: str, tmp_path: Path) -> None:
    scene = opened(Safe(outline=outline).write(tmp_path), tmp_path / "work")
    assert scene.footprint is None
    assert "footprint is not usable" in scene.notes[0]


# contradictions


def test_two_quantification_values_are_refused_with_both(tmp_path: Path) -> None:
    line = '<QUANTIFICATION_VALUE unit="none">10000</QUANTIFICATION_VALUE>'
    safe = Safe(product=((line, line + line.replace("10000", "1000")),))
    refused(safe.write(tmp_path), tmp_path / "work", "unreadable", "two values .*10000 and 1000:")


def test_two_offsets_of_a_band_are_refused_with_both(tmp_path: Path) -> None:
    line = '<RADIO_ADD_OFFSET band_id="3">-1000</RADIO_ADD_OFFSET>'
    safe = Safe(
        offsets=dict.fromkeys(range(13), -1000), product=((line, line + line.replace("-1", "-2")),)
    )
    refused(safe.write(tmp_path), tmp_path / "work", "unreadable", "of B04, -1000 and -2000")


def test_offsets_of_some_bands_only_are_refused(tmp_path: Path) -> None:
    root = Safe(offsets={1: -1000, 2: -1000}).write(tmp_path)
    refused(root, tmp_path / "work", "incomplete", "offsets for B02, B03 but none for B04")
    assert keys(opened(root, tmp_path / "work", bands=("B02", "B03"))) == ["r10m"]


@pytest.mark.parametrize("value", ["", "0", "-10000", "many", "nan", "inf"])
def test_a_quantification_value_that_is_none_is_refused(value: str, tmp_path: Path) -> None:
    safe = Safe(product=((">10000<", f">{value}<"),))
    refused(safe.write(tmp_path), tmp_path / "work", "incomplete", "QUANTIFICATION_VALUE that is a")


def test_a_datastrip_that_says_otherwise_is_refused(tmp_path: Path) -> None:
    root = Safe().write(tmp_path)
    strip = root / "DATASTRIP" / "DS_SGS__20160905T073438_S20160905T010420" / "MTD_DS.xml"
    strip.parent.mkdir(parents=True)
    text = (
        "<n1:L xmlns:n1='x'><n1:Image_Data_Info><QUANTIFICATION_VALUE>{}</QUANTIFICATION_VALUE>"
        "</n1:Image_Data_Info>" + " " * 100_000 + "and so on"
    )
    strip.write_text(text.format(10000))
    for path in (root, pack_zip(root, tmp_path / "S2A_MSIL1C_good.zip")):
        assert keys(opened(path, tmp_path / path.name[-4:])) == ["r10m", "r20m", "r60m"]
    strip.write_text(text.format(1000))
    refused(root, tmp_path / "work", "unreadable", "1000, the metadata of the product 10000")
    archive = pack_zip(root, tmp_path / "S2A_MSIL1C_bad.zip")
    refused(archive, tmp_path / "work2", "unreadable", "1000, the metadata of the product 10000")


def test_a_band_that_says_otherwise_is_refused(tmp_path: Path) -> None:
    root = Safe(bands=("B04",)).write(tmp_path)
    path = next(root.rglob("*_B04.jp2"))
    sidecar = path.with_name(path.name + ".aux.xml")
    band = "<PAMDataset><PAMRasterBand band='1'>{}</PAMRasterBand></PAMDataset>"
    sidecar.write_text(band.format("<Offset>0</Offset><Scale>0.001</Scale>"))
    refused(root, tmp_path / "work", "unreadable", "scale 0.001 in its header, 0.0001 in the meta")
    sidecar.write_text(band.format("<NoDataValue>7</NoDataValue>"))
    refused(root, tmp_path / "work", "unreadable", "nodata 7 in its header, 0 in the metadata")
    sidecar.write_text(band.format("<NoDataValue>0</NoDataValue><Scale>0.0001</Scale>"))
    assert keys(opened(root, tmp_path / "work")) == ["r10m"]


# damage and malice


def edit(path: Path, text: str, *, encoding: str = "utf-8") -> None:
    path.write_bytes(text.encode(encoding))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_entities_are_refused_in_any_encoding(encoding: str, tmp_path: Path) -> None:
    root = Safe().write(tmp_path)
    bomb = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 12))
    head = f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a0 "ha">{bomb}]>'
    edit(root / "MTD_MSIL1C.xml", f"{head}<x>&a11;</x>", encoding=encoding)
    refused(root, tmp_path / "work", "hostile", "declares a document type")


def test_endless_metadata_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.scenes.markup.MOST", 2**20)
    root = Safe().write(tmp_path)
    with (root / "MTD_MSIL1C.xml").open("a") as file:
        file.write(" " * 2**21)
    refused(root, tmp_path / "work", "hostile", "more than 1048576 bytes")


@pytest.mark.parametrize("left", [0, 1, 500, 3000])
def test_metadata_that_arrive_are_refused(left: int, tmp_path: Path) -> None:
    for name in ("MTD_MSIL1C.xml", "MTD_TL.xml"):
        root = Safe().write(tmp_path / name)
        path = next(root.rglob(name))
        whole = path.read_bytes()
        path.write_bytes(whole[: min(left, len(whole) - 20)])
        refused(root, tmp_path / "work", "unreadable", "not well-formed XML")


def test_other_metadata_are_refused(tmp_path: Path) -> None:
    root = Safe().write(tmp_path)
    edit(root / "MTD_MSIL1C.xml", "<Level-1B_User_Product/>")
    refused(root, tmp_path / "work", "unsupported", "describes a Level-1B_User_Product")
    raw = tmp_path / "S2A_MSIL1B_20160905T005712_N0204_R002_20160905T104813.SAFE"
    raw.mkdir()
    refused(raw, tmp_path / "work", "unsupported", "is of level L1B; known are L1C and L2A")


def test_two_products_in_one_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "S2A_MSIL1C_two.SAFE"
    Safe().write(folder)
    Safe(tiles=("32TPR",)).write(folder)
    refused(folder, tmp_path / "work", "unsupported", "2 files that describe a product")


def test_a_granule_that_arrives_is_refused(tmp_path: Path) -> None:
    root = Safe().write(tmp_path)
    next(root.rglob("MTD_TL.xml")).unlink()
    refused(root, tmp_path / "work", "incomplete", "no MTD_TL.xml")
    shutil.rmtree(root / "GRANULE")
    refused(root, tmp_path / "work", "incomplete", "has no granule")


@pytest.mark.parametrize(
    ("left", "reason"),
    [(0, "incomplete"), (5, "unreadable"), (13, "unreadable"), (60, "unreadable"),
     (-200, "incomplete"), (-2, "incomplete"), (-1, "incomplete")],
)  # fmt: skip
def test_an_image_that_arrives_is_refused(left: int, reason: str, tmp_path: Path) -> None:
    root = Safe(bands=("B03", "B04")).write(tmp_path)
    path = next(root.rglob("*_B04.jp2"))
    path.write_bytes(path.read_bytes()[:left])
    refused(root, tmp_path / "work", reason, "B04.jp2")


def test_an_image_whose_box_says_more_than_there_is_is_refused(tmp_path: Path) -> None:
    root = Safe(bands=("B04",)).write(tmp_path)
    path = next(root.rglob("*_B04.jp2"))
    content = bytearray(path.read_bytes())
    at = content.index(b"jp2c") - 4
    box = len(content) - at
    for length, whole in ((0, True), (box, True), (box + 1, False)):
        content[at : at + 4] = length.to_bytes(4, "big")
        path.write_bytes(content)
        if whole:
            assert keys(opened(root, tmp_path / "work")) == ["r10m"]
        else:
            refused(root, tmp_path / "work", "incomplete", "ends within its image")
    wide = content[:at] + b"\0\0\0\1jp2c" + (box + 8).to_bytes(8, "big") + content[at + 8 :]
    path.write_bytes(wide)
    assert keys(opened(root, tmp_path / "work")) == ["r10m"]
    path.write_bytes(wide + b"\0\0\0\x0cuuid....")  # boxes may follow
    assert keys(opened(root, tmp_path / "work")) == ["r10m"]


def test_an_image_that_is_none_is_refused(tmp_path: Path) -> None:
    root = Safe(bands=("B03", "B04")).write(tmp_path)
    path = next(root.rglob("*_B04.jp2"))
    path.write_bytes(os.urandom(5000))
    refused(root, tmp_path / "work", "unreadable", "B04.jp2")
    path.unlink()
    path.symlink_to(tmp_path / "nowhere")
    refused(root, tmp_path / "work", "incomplete", "B04.jp2")


@pytest.mark.parametrize("name", ["MTD_MSIL1C.xml", "MTD_TL.xml"])
def test_damaged_metadata_are_an_error_or_do_no_harm(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("damage")
    root = Safe(bands=("B04",), old=False).write(folder)
    path = next(root.rglob(name))
    whole = path.read_bytes()

    @given(st.data())
    def check(data: st.DataObject) -> None:
        content = bytearray(whole)
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
        path.write_bytes(content)
        try:
            told = f"{root}{opened(root, folder / 'work').id}"
        except SceneError as error:
            told = str(error)
        assert told.startswith(str(root))
        assert "\n" not in told

    check()


# archives


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tar.gz", ".tgz"])
def test_an_archive_is_what_the_folder_is(suffix: str, tmp_path: Path) -> None:
    safe = Safe("L2A")
    root = safe.write(tmp_path)
    pack = pack_zip if suffix == ".zip" else pack_tar
    archive = pack(root, tmp_path / f"{safe.name}{suffix}")
    assert sentinel2.claims(archive)
    folder, packed = opened(root, tmp_path / "a"), opened(archive, tmp_path / "b")
    for one, other in zip(folder.assets, packed.assets, strict=True):
        assert_array_equal(pixels(one), pixels(other))
        assert replace(one, uri="") == replace(other, uri="")
    assert replace(folder, assets=(), path=archive) == replace(packed, assets=())


def test_only_what_is_needed_is_unpacked(tmp_path: Path) -> None:
    safe = Safe("L2A")
    archive = pack_zip(safe.write(tmp_path), tmp_path / f"{safe.name}.zip")
    opened(archive, tmp_path / "work", bands=("B04", "B8A"), classes=False)
    files = {p.name for p in (tmp_path / "work" / "unpacked").rglob("*.*") if p.is_file()}
    start = "T32TQR_20160905T005712"
    assert files == {
        "MTD_MSIL2A.xml", "MTD_TL.xml", ".unpacked.json", f"{start}_B04_10m.jp2",
        f"{start}_B04_20m.jp2", f"{start}_B04_60m.jp2", f"{start}_B8A_20m.jp2",
        f"{start}_B8A_60m.jp2",
    }  # fmt: skip
    again = opened(archive, tmp_path / "work")
    assert keys(again) == ["r10m", "r20m", "r60m", "scl", "cloud"]


def test_what_an_archive_unpacks_to_is_limited(tmp_path: Path) -> None:
    safe = Safe()
    archive = pack_zip(safe.write(tmp_path), tmp_path / f"{safe.name}.zip")
    refused(
        archive, tmp_path / "work", "hostile", "max_unpacked = 20000 bytes", max_unpacked=20_000
    )
    assert not list((tmp_path / "work").iterdir())


# real products


def test_a_real_archive_whose_images_are_all_smaller(shared: Path, tmp_path: Path) -> None:
    path = next((shared / REAL_ZIP).glob("S2A_MSIL1C_*.zip"))
    assert sentinel2.claims(path)
    scene = opened(path, tmp_path / "work")
    assert scene.id == path.stem
    assert keys(scene) == ["r10m_172x172", "r20m_86x86", "r60m_29x29"]
    assert sum(len(one.bands) for one in scene.assets) == 13
    assert len(scene.notes) == 3
    assert scene.time == datetime(2017, 12, 7, 0, 22, 52, 127000, UTC)
    assert scene.properties["grid:code"] == "MGRS-55JEJ"
    red = next((tmp_path / "work").rglob("*_B04.jp2"))
    with rasterio.open(red) as dataset:
        assert_array_equal(pixels(scene.assets[0])[2], dataset.read(1))
        assert profile(scene.assets[0]).georef.affine == tuple(dataset.transform)[:6]
    assert scene.assets[0].bands[2].wavelength == 0.6645


def test_a_real_tree_with_one_band(shared: Path, tmp_path: Path) -> None:
    path = next((shared / REAL_TREE).glob("S2A_MSIL1C_*.SAFE"))
    found = list(find_scenes(path.parent, SceneOptions(families=("sentinel2",))))
    assert found == [Found(path, "sentinel2")]
    scene = opened(path, tmp_path / "work")
    assert keys(scene) == ["r60m"]
    assert names(scene.assets[0]) == ["B01"]
    assert scene.notes == (
        "B02, B03, B04, B05, B06, B07, B08, B8A, B09, B10, B11, B12 are missing",
    )
    found_profile = profile(scene.assets[0])
    assert (found_profile.height, found_profile.width) == (1830, 1830)
    assert found_profile.block == (192, 192)
    assert found_profile.georef.affine == (60, 0, 399960, 0, -60, 4800000)
    assert found_profile.saturated == 65535  # not 32767, though 15 bits are used
    assert scene.properties["eo:cloud_cover"] == 11.9204
    assert scene.properties["view:sun_elevation"] == pytest.approx(90 - 67.0354071200132)
