"""Landsat scenes: what the metadata say reaches the rasters, and what contradicts it is refused."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from landsat_files import Product, odl, write_band, write_espa, write_metadata
from rasterio.warp import transform_bounds

from pipeline.scenes import find_scenes, landsat
from pipeline.scenes.headers import read_header
from pipeline.scenes.scene import Asset, Scene, SceneError, SceneOptions
from pipeline.sources import open_source
from pipeline.tiling import Window

REAL = "data/eo/stactools-packages__landsat/tests/data-files"
IDS = {
    "assets": "LC08_L2SP_005009_20150710_20200908_02_T2",
    "assets2": "LC08_L2SR_099120_20191129_20201016_02_T2",
}
Open = Callable[..., Scene]


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """Where scenes may write."""
    return tmp_path / "work"


@pytest.fixture
def opened(work: Path) -> Open:
    """Opens a scene with options."""

    def call(path: Path, **options: object) -> Scene:
        return landsat.open(path, SceneOptions(**options), work)

    return call


def assets(scene: Scene) -> dict[str, Asset]:
    return {asset.key: asset for asset in scene.assets}


def names(asset: Asset) -> list[str]:
    return [band.name for band in asset.bands]


def pixels(asset: Asset) -> np.ndarray:
    """All of an asset, as a job would read it."""
    source = open_source(asset.uri, asset.options)
    return source.read(Window(0, 0, source.profile.height, source.profile.width))


def files(folder: Path, *tags: str) -> np.ndarray:
    """Bands of a product, read file by file."""
    read = []
    for tag in tags:
        with rasterio.open(next(folder.glob(f"*_{tag}.TIF"))) as dataset:
            read.append(dataset.read(1))
    return np.stack(read)


def refused(opened: Open, path: Path, reason: str, match: str, **options: object) -> None:
    """One line that names a file, and a reason."""
    with pytest.raises(SceneError, match=match) as caught:
        opened(path, **options)
    assert caught.value.reason == reason
    assert "\n" not in str(caught.value)
    assert caught.value.uri
    assert caught.value.uri in str(caught.value)


# real scenes


@pytest.mark.parametrize(("folder", "crs"), [("assets", 32624), ("assets2", 3031)])
def test_a_real_scene_gives_the_pixels_of_its_files(
    shared: Path, opened: Open, folder: str, crs: int
) -> None:
    path = shared / REAL / folder
    scene = opened(path)
    tags = [f"SR_B{n}" for n in range(1, 8)] + (["ST_B10"] if folder == "assets" else [])
    found = assets(scene)
    assert list(found) == ["ms", "qa_pixel", "qa_radsat"]
    assert scene.id == IDS[folder]
    assert names(found["ms"]) == tags
    assert np.array_equal(pixels(found["ms"]), files(path, *tags))
    assert np.array_equal(pixels(found["qa_pixel"]), files(path, "QA_PIXEL"))
    with (
        rasterio.open(found["ms"].uri) as stack,
        rasterio.open(path / f"{scene.id}_SR_B4.TIF") as red,
    ):
        assert stack.crs.to_epsg() == crs
        assert stack.transform == red.transform
        assert stack.descriptions == tuple(tags)
        assert stack.scales[3] == 2.75e-05
        assert stack.offsets[3] == -0.2
        assert set(stack.nodatavals) == {0}
        assert [c.name for c in stack.colorinterp[1:4]] == ["blue", "green", "red"]
    assert found["ms"].saturated == 65535
    assert any("512 x 512" in note for note in scene.notes)


@pytest.mark.parametrize("folder", ["assets", "assets2"])
def test_a_real_scene_says_what_the_usgs_item_of_it_says(
    shared: Path, opened: Open, folder: str
) -> None:
    path = shared / REAL / folder
    scene = opened(path)
    item = json.loads((path / f"{IDS[folder]}_SR_stac.json").read_text())
    said = item["properties"]
    assert scene.properties["eo:cloud_cover"] == said["eo:cloud_cover"]
    assert scene.properties["view:sun_azimuth"] == pytest.approx(said["eo:sun_azimuth"])
    assert scene.properties["view:sun_elevation"] == pytest.approx(said["eo:sun_elevation"])
    assert int(str(scene.properties["landsat:wrs_path"])) == int(said["landsat:wrs_path"])
    assert scene.properties["landsat:scene_id"] == said["landsat:scene_id"]
    assert scene.time is not None
    assert scene.time.isoformat().startswith(said["datetime"])
    common = {band["name"]: band["common_name"] for band in said["eo:bands"]}
    ours = {band.name: band.common for band in assets(scene)["ms"].bands}
    assert {name: ours[name] for name in common} == common
    assert scene.footprint is not None
    (ring,) = scene.footprint["coordinates"]
    longitudes, latitudes = zip(*ring, strict=True)
    west, south, east, north = item["bbox"]  # of the imaged swath, within the corners
    assert min(longitudes) < west
    assert max(longitudes) > east
    assert min(latitudes) < south + 0.2
    assert max(latitudes) > north - 0.2


def test_the_polar_scene_lies_where_its_corners_say(shared: Path, opened: Open) -> None:
    scene = opened(shared / REAL / "assets2")
    with rasterio.open(assets(scene)["ms"].uri) as stack:
        west, south, east, north = transform_bounds(stack.crs, "EPSG:4326", *stack.bounds)
    (ring,) = scene.footprint["coordinates"]
    for longitude, latitude in ring:
        assert west - 0.1 < longitude < east + 0.1
        assert south - 0.1 < latitude < north + 0.1


@pytest.mark.parametrize("notation", ["txt", "xml", "json"])
def test_each_notation_of_a_real_scene_tells_the_same(
    shared: Path, tmp_path: Path, opened: Open, notation: str
) -> None:
    source = shared / REAL / "assets"
    for file in source.iterdir():
        if "_MTL." not in file.name or file.suffix == f".{notation}":
            (tmp_path / file.name).symlink_to(file)
    one, all_of_them = opened(tmp_path), opened(source)
    facts = ("id", "time", "properties", "footprint", "dataset", "version", "notes")
    for name in facts:
        assert getattr(one, name) == getattr(all_of_them, name)
    assert assets(one)["ms"].bands == assets(all_of_them)["ms"].bands


def test_the_panchromatic_band_is_an_asset_apart(
    shared: Path, tmp_path: Path, opened: Open
) -> None:
    """Real bands of Landsat 8, whose panchromatic one has another grid."""
    bands = shared / "data/eo/locationtech__rasterframes/core/src/test/resources"
    product = Product(collection=1, size=(169, 186))
    real = {tag: f"L8-B{tag}-Elkton-VA.tiff" for tag in product.tags}
    product = Product(
        collection=1,
        size=(169, 186),
        changes={
            "PRODUCT_METADATA": {
                **{f"FILE_NAME_BAND_{tag}": name for tag, name in real.items()},
                "FILE_NAME_BAND_QUALITY": "L8-BQA-Elkton-VA.tiff",
            }
        },
    )
    for name in (*real.values(), "L8-BQA-Elkton-VA.tiff"):
        (tmp_path / name).symlink_to(bands / name)
    write_metadata(tmp_path / f"{product.id}_MTL", product.groups, product.root, ("txt",))
    assert "pan" not in assets(opened(tmp_path))
    found = assets(opened(tmp_path, pan=True))
    assert list(found) == ["ms", "pan", "bqa"]
    assert found["ms"].resolution == pytest.approx(29.89, abs=0.01)
    assert found["pan"].resolution == pytest.approx(14.99, abs=0.01)
    assert found["pan"].kind == "pan"
    with rasterio.open(bands / real["8"]) as pan:
        assert np.array_equal(pixels(found["pan"])[0], pan.read(1))
    with rasterio.open(bands / real["5"]) as near:
        assert np.array_equal(pixels(found["ms"])[4], near.read(1))


# radiometry and bands by role


def test_level_1_of_collection_1_declares_what_its_files_do_not(
    tmp_path: Path, opened: Open
) -> None:
    path = Product(collection=1).write(tmp_path)
    found = assets(opened(path))
    assert list(found) == ["ms", "bqa"]
    ms = found["ms"]
    assert names(ms) == ["B1", "B2", "B3", "B4", "B5", "B6", "B7", "B9", "B10", "B11"]
    profile = open_source(ms.uri, ms.options).profile
    assert profile.nodata == 0
    assert [(b.scale, b.offset) for b in profile.bands[:4]] == [
        (1e-5, -0.1),
        (2e-5, -0.2),
        (3e-5, -0.3),
        (4e-5, -0.4),
    ]
    # band 10 is the tenth, and has a radiance only
    assert (profile.bands[8].scale, profile.bands[8].offset) == (0.105, -10.25)
    assert profile.bands[8].unit == "watt/steradian/square_meter/micrometer"
    assert ms.saturated == 65535
    assert np.array_equal(pixels(ms)[3], files(path, "B4")[0])


def test_level_2_takes_its_own_radiometry_not_that_of_level_1(tmp_path: Path, opened: Open) -> None:
    ms = assets(opened(Product(level="L2SP").write(tmp_path, ("json",))))["ms"]
    assert names(ms) == [*(f"SR_B{n}" for n in range(1, 8)), "ST_B10"]
    assert {(band.scale, band.offset) for band in ms.bands[:-1]} == {(2.75e-05, -0.2)}
    heat = ms.bands[-1]
    assert (heat.name, heat.scale, heat.offset) == ("ST_B10", 0.00341802, 149.0)
    assert heat.unit == "kelvin"


@pytest.mark.parametrize(
    ("product", "expected"),
    [
        (Product("ETM", 7), {"B1": "blue", "B4": "nir08", "B6_VCID_2": "lwir", "B7": "swir22"}),
        (Product("TM", 5, collection=1), {"B3": "red", "B6": "lwir"}),
        (Product("MSS", 1), {"B4": "green", "B5": "red", "B7": "nir09"}),
        (Product("TM", 5, level="L2SP"), {"SR_B1": "blue", "ST_B6": "lwir"}),
        (Product("OLI_TIRS", 9), {"B1": "coastal", "B9": "cirrus", "B11": "lwir12"}),
    ],
)
def test_bands_have_the_role_that_their_sensor_gives_them(
    tmp_path: Path, opened: Open, product: Product, expected: dict[str, str]
) -> None:
    scene = opened(product.write(tmp_path))
    common = {band.name: band.common for band in assets(scene)["ms"].bands}
    assert {name: common[name] for name in expected} == expected
    assert scene.platform == f"landsat-{product.satellite}"
    eight_bits = assets(scene)["ms"].saturated == 255
    assert eight_bits == (product.sensor != "OLI_TIRS" and product.level == "L1TP")


def test_surface_reflectance_of_collection_1_follows_its_own_metadata(
    tmp_path: Path, opened: Open
) -> None:
    path = write_espa(tmp_path)
    assert landsat.claims(path)
    scene = opened(path)
    found = assets(scene)
    assert list(found) == ["ms", "qa_pixel", "qa_radsat"]
    profile = open_source(found["ms"].uri).profile
    assert names(found["ms"])[:2] == ["sr_band1", "sr_band2"]
    assert profile.nodata == -9999
    assert profile.bands[0].scale == 1e-4
    assert found["ms"].saturated == 20000
    assert found["ms"].bands[3].common == "red"
    assert scene.id == "LC08_L1TP_193024_20190704_20190718_01_T1_L2"
    assert scene.version == "01 2020-01-07T00:00:00Z"
    assert scene.properties["view:sun_elevation"] == pytest.approx(58.25)
    assert open_source(found["qa_pixel"].uri, found["qa_pixel"].options).profile.light == ()


def test_thermal_bands_on_another_grid_are_an_asset_apart(tmp_path: Path, opened: Open) -> None:
    scene = opened(Product("ETM", 7, thermal_size=(18, 24)).write(tmp_path))
    found = assets(scene)
    assert list(found) == ["ms", "thermal", "qa_pixel", "qa_radsat"]
    assert names(found["thermal"]) == ["B6_VCID_1", "B6_VCID_2"]
    assert found["thermal"].resolution == 60
    assert any("B6_VCID_1" in note and "24 x 18" in note for note in scene.notes)


def test_facts_of_a_scene(tmp_path: Path, opened: Open) -> None:
    scene = opened(Product().write(tmp_path))
    assert scene.time is not None
    assert scene.time.isoformat() == "2019-07-04T10:02:33.123456+00:00"
    assert scene.instruments == ("oli", "tirs")
    assert scene.properties["view:sun_azimuth"] == 324.5  # given as -35.5
    assert scene.properties["view:off_nadir"] == 14.5
    assert scene.properties["landsat:wrs_row"] == "024"
    assert "landsat:cloud_cover_land" not in scene.properties  # -1: not known
    assert scene.footprint == {
        "type": "Polygon",
        "coordinates": [[[13.5, 51.4], [13.4, 51.3], [13.7, 51.2], [13.6, 51.5], [13.5, 51.4]]],
    }


def test_a_scene_of_the_night_has_no_cloud_cover(tmp_path: Path, opened: Open) -> None:
    """-1 says that it was not computed."""
    path = Product(changes={"IMAGE_ATTRIBUTES": {"CLOUD_COVER": "-1.00"}}).write(tmp_path)
    assert "eo:cloud_cover" not in opened(path).properties


def test_a_reprocessed_product_is_newer_and_of_the_same_data(tmp_path: Path, opened: Open) -> None:
    old = opened(Product(collection=1, made="20190718").write(tmp_path / "a"))
    new = opened(Product(collection=2, made="20200908").write(tmp_path / "b"))
    newest = opened(Product(collection=2, made="20210101").write(tmp_path / "c"))
    level2 = opened(Product(level="L2SP").write(tmp_path / "d"))
    assert old.dataset == new.dataset == newest.dataset != level2.dataset
    assert old.version < new.version < newest.version


# choosing


@pytest.mark.parametrize(
    ("bands", "expected"),
    [
        (("B4", "B3"), {"ms": ["B4", "B3"]}),
        (("red", "NIR08"), {"ms": ["B4", "B5"]}),
        (("b2", "B8A", "SR_B2"), {"ms": ["B2"]}),
        (("B8",), {"pan": ["B8"]}),
        (("B10",), {"thermal": ["B10"]}),
    ],
)
def test_bands_are_chosen_by_name_or_by_what_they_show(
    tmp_path: Path, opened: Open, bands: tuple[str, ...], expected: dict[str, list[str]]
) -> None:
    path = Product().write(tmp_path)
    found = assets(opened(path, bands=bands, classes=False))
    assert {key: names(asset) for key, asset in found.items()} == expected


def test_bands_that_are_not_there_are_named_with_those_that_are(
    tmp_path: Path, opened: Open
) -> None:
    path = Product().write(tmp_path)
    refused(opened, path, "unsupported", "none of the bands B8A; it has B1, B2", bands=("B8A",))


# half arrived


def test_a_missing_band_is_noted(tmp_path: Path, opened: Open) -> None:
    scene = opened(Product(without=("3", "11")).write(tmp_path))
    assert names(assets(scene)["ms"]) == ["B1", "B2", "B4", "B5", "B6", "B7", "B9", "B10"]
    assert any("without B3, B11" in note for note in scene.notes)


def test_a_product_without_any_band_is_incomplete(tmp_path: Path, opened: Open) -> None:
    path = Product(without=tuple(Product().tags)).write(tmp_path)
    refused(opened, path, "incomplete", "none of the bands that its metadata name")


def test_a_product_without_metadata_is_claimed_and_incomplete(tmp_path: Path, opened: Open) -> None:
    path = Product().write(tmp_path, ())
    assert landsat.claims(path)
    refused(opened, path, "incomplete", "no MTL file")


@pytest.mark.parametrize("size", [0, 100, 2000])
def test_a_band_that_has_not_arrived_whole_is_refused(
    tmp_path: Path, opened: Open, size: int
) -> None:
    path = Product().write(tmp_path)
    band = path / Product().file("4")
    whole = band.read_bytes()
    assert len(whole) > 2000
    band.write_bytes(whole[:size])
    refused(opened, path, "unreadable" if size == 100 else "incomplete", band.name)


def test_a_truncated_metadata_file_is_incomplete(tmp_path: Path, opened: Open) -> None:
    path = Product().write(tmp_path)
    file = path / f"{Product().id}_MTL.txt"
    file.write_text(file.read_text()[:900])
    refused(opened, path, "incomplete", "no END line")


def test_one_whole_notation_is_enough(tmp_path: Path, opened: Open) -> None:
    path = Product().write(tmp_path, ("txt", "xml", "json"))
    for suffix in ("txt", "xml"):
        file = path / f"{Product().id}_MTL.{suffix}"
        file.write_bytes(file.read_bytes()[:900])
    scene = opened(path)
    assert names(assets(scene)["ms"])[0] == "B1"
    assert sum("not used" in note for note in scene.notes) == 2


# what contradicts itself


def test_notations_that_disagree_are_refused_with_both_values(tmp_path: Path, opened: Open) -> None:
    path = Product().write(tmp_path, ("txt",))
    other = Product(changes={"LEVEL1_RADIOMETRIC_RESCALING": {"REFLECTANCE_MULT_BAND_4": "2e-5"}})
    write_metadata(path / f"{Product().id}_MTL", other.groups, other.root, ("json",))
    refused(opened, path, "unsupported", "REFLECTANCE_MULT_BAND_4 = 2e-05.*4e-05")


@pytest.mark.parametrize(
    ("profile", "match"),
    [({"nodata": 7}, "nodata = 7.0, its metadata 0.0"), ({"bands": 2}, "has 2 bands")],
)
def test_a_file_that_contradicts_the_metadata_is_refused(
    tmp_path: Path, opened: Open, profile: dict[str, int], match: str
) -> None:
    path = Product().write(tmp_path)
    write_band(path / Product().file("2"), (36, 48), 30.0, "uint16", seed=1, **profile)
    refused(opened, path, "unsupported", match)


def test_a_file_with_another_scale_is_refused(tmp_path: Path, opened: Open) -> None:
    path = Product().write(tmp_path)
    with rasterio.open(path / Product().file("2"), "r+") as dataset:
        dataset.scales = (0.5,)
    refused(opened, path, "unsupported", "scale = 0.5, its metadata 2e-05")


@pytest.mark.parametrize(
    ("size", "pixel", "dtype"),
    [((36, 40), 30.0, "uint16"), ((36, 48), 20.0, "uint16"), ((36, 48), 30.0, "int16")],
)
def test_bands_of_light_on_different_grids_are_refused(
    tmp_path: Path, opened: Open, size: tuple[int, int], pixel: float, dtype: str
) -> None:
    path = Product().write(tmp_path)
    write_band(path / Product().file("6"), size, pixel, dtype, seed=1)
    refused(opened, path, "incomplete", "must agree")


@pytest.mark.parametrize(
    ("change", "reason", "match"),
    [
        (("PRODUCT_CONTENTS", "FILE_NAME_BAND_4", "../../x.TIF"), "hostile", "not a plain name"),
        (("PRODUCT_CONTENTS", "FILE_NAME_BAND_4", "/etc/passwd"), "hostile", "not a plain name"),
        (("PRODUCT_CONTENTS", "FILE_NAME_QUALITY_L1_PIXEL", "a/b.TIF"), "hostile", "plain name"),
        (("PRODUCT_CONTENTS", "LANDSAT_PRODUCT_ID", "../escape"), "hostile", "not a plain name"),
        (("PRODUCT_CONTENTS", "FILE_NAME_BAND_12", "x.TIF"), "unsupported", "band 12"),
        (("IMAGE_ATTRIBUTES", "SENSOR_ID", "RBV"), "unsupported", "sensor 'RBV'"),
        (("IMAGE_ATTRIBUTES", "SUN_AZIMUTH", "1e999"), "unreadable", "SUN_AZIMUTH = '1e999'"),
        (("IMAGE_ATTRIBUTES", "DATE_ACQUIRED", "2019-13-45"), "unreadable", "no time"),
        (
            ("LEVEL1_RADIOMETRIC_RESCALING", "REFLECTANCE_ADD_BAND_4", "NULL"),
            "unreadable",
            "only one",
        ),
        (
            ("LEVEL1_RADIOMETRIC_RESCALING", "REFLECTANCE_MULT_BAND_4", "x"),
            "unreadable",
            "no number",
        ),
    ],
)
@pytest.mark.parametrize("notation", ["txt", "xml", "json"])
def test_metadata_that_make_no_sense_are_refused(
    tmp_path: Path,
    opened: Open,
    change: tuple[str, str, str],
    reason: str,
    match: str,
    notation: str,
) -> None:
    group, name, value = change
    path = Product(changes={group: {name: value}}).write(tmp_path, (notation,))
    refused(opened, path, reason, match)


def test_corners_off_the_globe_cost_the_footprint_only(tmp_path: Path, opened: Open) -> None:
    changes = {"PROJECTION_ATTRIBUTES": {"CORNER_UL_LAT_PRODUCT": "991.0"}}
    assert opened(Product(changes=changes).write(tmp_path)).footprint is None


def test_a_scene_over_the_antimeridian_has_a_footprint_in_two_parts(
    tmp_path: Path, opened: Open
) -> None:
    longitudes = {"UL": "179.5", "LL": "179.4", "LR": "-179.2", "UR": "-179.1"}
    changes = {f"CORNER_{c}_LON_PRODUCT": value for c, value in longitudes.items()}
    scene = opened(Product(changes={"PROJECTION_ATTRIBUTES": changes}).write(tmp_path))
    assert scene.footprint is not None
    assert scene.footprint["type"] == "MultiPolygon"


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("xml", '<!DOCTYPE x [<!ENTITY a "b">]><LANDSAT_METADATA_FILE/>', "hostile"),
        ("xml", "<LANDSAT_METADATA_FILE><PRODUCT_CONTENTS>", "unreadable"),
        ("xml", "<other/>", "unreadable"),
        ("json", "[" * 100_000, "unreadable"),
        ("json", '{"LANDSAT_METADATA_FILE": [1, 2]}', "unreadable"),
        ("json", "null", "unreadable"),
        ("txt", "\0" * 100, "incomplete"),
        ("txt", "GROUP = X\nEND\n", "unreadable"),
        ("txt", "x" * (9 * 2**20), "hostile"),
    ],
)
def test_a_file_that_is_no_metadata_is_refused(
    tmp_path: Path, opened: Open, name: str, text: str, reason: str
) -> None:
    path = Product().write(tmp_path, ())
    (path / f"{Product().id}_MTL.{name}").write_text(text)
    refused(opened, path, reason, f"_MTL.{name}")


def test_products_from_before_2012_are_unsupported(tmp_path: Path, opened: Open) -> None:
    path = Product().write(tmp_path, ())
    groups = {"PRODUCT_METADATA": {"BAND1_FILE_NAME": "x.TIF", "LANDSAT_SCENE_ID": "LT5"}}
    (path / f"{Product().id}_MTL.txt").write_text(odl(groups, "L1_METADATA_FILE"))
    refused(opened, path, "unsupported", "before 2012")


# archives and loose files


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tgz"])
@pytest.mark.parametrize("inner", ["", "inner/"])
def test_an_archive_is_the_same_scene_as_its_directory(
    tmp_path: Path, opened: Open, work: Path, suffix: str, inner: str
) -> None:
    product = Product(level="L2SP") if inner else Product()
    folder = product.write(tmp_path / "plain", ("txt", "xml"))
    archive = tmp_path / f"{product.id}{suffix}"
    with tarfile.open(archive, "w:gz" if suffix != ".tar" else "w") as tar:
        for file in sorted(folder.iterdir()):
            tar.add(file, f"{inner}{file.name}")
    assert landsat.claims(archive)
    plain = {a.key: (a.bands, a.resolution, pixels(a)) for a in opened(folder).assets}
    shutil.rmtree(work)
    scene = opened(archive)
    assert scene.path == archive
    for asset in scene.assets:
        assert Path(asset.uri).is_relative_to(work)
        bands, resolution, values = plain[asset.key]
        assert (asset.bands, asset.resolution) == (bands, resolution)
        assert np.array_equal(pixels(asset), values)
    unpacked = {file.name for file in work.rglob("*") if file.is_file()}
    assert product.file("2") in unpacked
    assert product.file("8") not in unpacked  # large, and not wanted
    assert f"{product.id}_ANG.txt" not in unpacked


def test_what_is_asked_for_is_unpacked(tmp_path: Path, opened: Open, work: Path) -> None:
    folder = Product().write(tmp_path / "plain")
    archive = tmp_path / f"{Product().id}.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(folder, "")
    opened(archive)
    found = assets(opened(archive, pan=True, classes=False))
    assert list(found) == ["ms", "pan"]
    assert not list(work.rglob("*QA*"))


def test_an_archive_that_leads_elsewhere_is_hostile(tmp_path: Path, opened: Open) -> None:
    folder = Product().write(tmp_path / "plain")
    archive = tmp_path / f"{Product().id}.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(folder / f"{Product().id}_MTL.txt", f"../{Product().id}_MTL.txt")
    refused(opened, archive, "hostile", archive.name)


def test_half_an_archive_is_unreadable(tmp_path: Path, opened: Open) -> None:
    folder = Product().write(tmp_path / "plain")
    archive = tmp_path / f"{Product().id}.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(folder, "")
    archive.write_bytes(archive.read_bytes()[:30_000])
    refused(opened, archive, "unreadable", archive.name)


def test_products_side_by_side_are_found_one_by_one(tmp_path: Path, opened: Open) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    products = [Product(made="20200101"), Product(made="20210101")]
    for product in products:
        for file in product.write(tmp_path / "made", ("txt", "json")).iterdir():
            shutil.move(file, inbox / file.name)
    found = list(find_scenes(tmp_path / "inbox", SceneOptions(families=("landsat", "folder"))))
    assert [one.path.name for one in found] == [f"{product.id}_MTL.txt" for product in products]
    assert {one.family for one in found} == {"landsat"}
    assert [opened(one.path).id for one in found] == [product.id for product in products]
    assert not landsat.claims(inbox)
    beside = landsat.beside(found[0].path)
    assert inbox / products[0].file("4") in beside
    assert all(file.name.startswith(products[0].id) for file in beside)
    assert found[0].path not in beside
    assert landsat.beside(inbox) == []


def test_a_directory_that_holds_other_scenes_too_is_looked_into(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    product = Product().write(inbox)
    folder = product.rename(inbox / "monday")
    options = SceneOptions(families=("landsat", "folder"))
    assert [one.path for one in find_scenes(inbox, options)] == [folder]
    write_band(folder / "aerial.tif", (8, 8), 1.0, "uint8", seed=1)
    found = [(one.family, one.path.name) for one in find_scenes(inbox, options)]
    assert found == [("landsat", f"{Product().id}_MTL.txt"), ("folder", "aerial.tif")]


def test_several_products_in_a_directory_of_one_are_told_apart(
    tmp_path: Path, opened: Open
) -> None:
    path = Product().write(tmp_path)
    other = Product(made="20210101")
    write_metadata(path / f"{other.id}_MTL", other.groups, other.root, ("txt",))
    refused(opened, path, "unsupported", "metadata of 2 products")


def test_other_names_are_not_claimed(tmp_path: Path) -> None:
    (tmp_path / "S2A_MSIL1C_20180101T105441_N0206_R051_T31TDH_20180101T124911.SAFE").mkdir()
    (tmp_path / "LC08.tar").write_bytes(b"")
    (tmp_path / "notes_MTL.md").write_text("")
    (tmp_path / "LANDSAT").mkdir()
    assert not [path for path in tmp_path.iterdir() if landsat.claims(path)]


def test_headers_say_why_a_file_is_of_no_use(tmp_path: Path) -> None:
    cases = {"gone.tif": "incomplete", "empty.tif": "incomplete", "text.tif": "unreadable",
             "complex.tif": "unsupported"}  # fmt: skip
    (tmp_path / "empty.tif").write_bytes(b"")
    (tmp_path / "text.tif").write_text("no raster")
    write_band(tmp_path / "complex.tif", (8, 8), 1.0, "complex64", seed=1)
    for name, reason in cases.items():
        with pytest.raises(SceneError, match=name) as caught:
            read_header(tmp_path / name)
        assert caught.value.reason == reason
