"""STAC items and plain images as scenes, beside each other and beside Landsat products."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import pytest
import rasterio
from landsat_files import Product, write_band
from rasterio.enums import ColorInterp

from pipeline.scenes import find_scenes, folder, stac
from pipeline.scenes.scene import Asset, Scene, SceneError, SceneOptions
from pipeline.sources import open_source

FAMILIES = ("landsat", "stac", "folder")
NAIP = "data/eo/stactools-packages__naip/tests/data-files"
BANDS_OF_L8 = "data/eo/locationtech__rasterframes/core/src/test/resources"
COG = "image/tiff; application=geotiff; profile=cloud-optimized"
Open = Callable[..., Scene]


@pytest.fixture
def opened(tmp_path: Path) -> Open:
    """Opens an item or an image with options."""

    def call(path: Path, **options: object) -> Scene:
        family = stac if stac.claims(path) or path.suffix == ".json" else folder
        return family.open(path, SceneOptions(**options), tmp_path / "work")

    return call


def assets(scene: Scene) -> dict[str, Asset]:
    return {asset.key: asset for asset in scene.assets}


def bands(asset: Asset) -> list[str]:
    return [band.name for band in asset.bands]


def write_item(
    target: Path, entries: dict[str, dict[str, Any]], *, version: str = "1.0.0", **facts: Any
) -> Path:
    """An item of Prague in April; `facts` replace its own, those of `properties` join them."""
    item = {
        "type": "Feature",
        "stac_version": version,
        "stac_extensions": [],
        "id": "prague-1",
        "geometry": {
            "type": "Polygon",
            "coordinates": [[[14, 50], [15, 50], [15, 51], [14, 51], [14, 50]]],
        },
        "bbox": [14, 50, 15, 51],
        "links": [],
        "assets": entries,
    } | facts  # fmt: skip
    item["properties"] = {"datetime": "2024-04-05T10:11:12Z"} | facts.get("properties", {})
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(item))
    return target


def raster(href: str, **fields: Any) -> dict[str, Any]:
    """An asset with data."""
    return {"href": href, "type": COG, "roles": ["data"]} | fields


def refused(opened: Open, path: Path, reason: str, match: str, **options: object) -> None:
    """One line that names a file, and a reason."""
    with pytest.raises(SceneError, match=match) as caught:
        opened(path, **options)
    assert caught.value.reason == reason
    assert "\n" not in str(caught.value)
    assert caught.value.uri in str(caught.value)


def found_in(inbox: Path, **options: Any) -> list[tuple[str, str]]:
    """(family, path relative to the inbox) of all scenes."""
    chosen = SceneOptions(families=FAMILIES, **options)
    return [(one.family, str(one.path.relative_to(inbox))) for one in find_scenes(inbox, chosen)]


# items


V1_0 = {
    "eo:bands": [
        {"name": "B04", "common_name": "red", "center_wavelength": 0.665,
         "full_width_half_max": 0.038},
    ],
    "raster:bands": [{"scale": 0.0001, "offset": -0.1, "nodata": 0, "unit": "1"}],
}  # fmt: skip
V1_1 = {
    "nodata": 0,
    "raster:scale": 0.0001,
    "bands": [
        {"name": "B04", "eo:common_name": "red", "eo:center_wavelength": 0.665,
         "eo:full_width_half_max": 0.038, "raster:offset": -0.1, "unit": "1"},
    ],
}  # fmt: skip


@pytest.mark.parametrize(("version", "fields"), [("1.0.0", V1_0), ("1.1.0", V1_1)])
def test_an_item_says_of_a_band_what_its_file_does_not(
    tmp_path: Path, opened: Open, version: str, fields: dict[str, Any]
) -> None:
    band = write_band(tmp_path / "item" / "red.tif", (16, 24), 10.0, "uint16", seed=1)
    path = write_item(tmp_path / "item/i.json", {"B04": raster("./red.tif", **fields)},
                      version=version).parent  # fmt: skip
    assert stac.claims(path)
    scene = opened(path)
    (asset,) = scene.assets
    assert (asset.key, asset.kind, asset.resolution) == ("B04", "light", 10)
    (facts,) = asset.bands
    assert (facts.name, facts.common, facts.wavelength, facts.width) == ("B04", "red", 0.665, 0.038)
    assert (facts.scale, facts.offset, facts.unit) == (0.0001, -0.1, "1")
    with rasterio.open(asset.uri) as stack, rasterio.open(band) as plain:
        assert np.array_equal(stack.read(), plain.read())
        assert (stack.scales, stack.offsets) == ((0.0001,), (-0.1,))
        assert stack.descriptions == ("B04",)
        assert stack.nodata == 0
        assert stack.colorinterp == (ColorInterp.red,)
    assert scene.id == "prague-1"
    assert scene.time == datetime(2024, 4, 5, 10, 11, 12, tzinfo=UTC)
    assert scene.footprint == json.loads((path / "i.json").read_text())["geometry"]
    assert scene.source_item == str(path / "i.json")


def test_an_item_that_pystac_wrote(tmp_path: Path, opened: Open) -> None:
    """An outside oracle: pystac's own extensions write what is read here."""
    from pystac.extensions.eo import Band, EOExtension
    from pystac.extensions.raster import RasterBand, RasterExtension

    write_band(tmp_path / "item" / "rgb.tif", (16, 24), 1.0, "uint8", seed=1, bands=3)
    start, end = (datetime(2020, 1, day, tzinfo=UTC) for day in (1, 2))
    facts = {"platform": "plane", "instruments": ["cam"], "eo:cloud_cover": 3.5, "proj:epsg": 32633}
    item = pystac.Item(
        "a/b c", None, None, None, facts, start_datetime=start, end_datetime=end
    )  # fmt: skip
    asset = pystac.Asset("rgb.tif", media_type=pystac.MediaType.GEOTIFF, roles=["data"])
    item.add_asset("image", asset)
    EOExtension.ext(asset, add_if_missing=True).bands = [
        Band.create(name=name, common_name=name) for name in ("red", "green", "blue")
    ]
    RasterExtension.ext(asset, add_if_missing=True).bands = 3 * [
        RasterBand.create(nodata=255, scale=0.5, offset=1.5)
    ]
    item.save_object(include_self_link=False, dest_href=str(tmp_path / "item" / "item.json"))
    scene = opened(tmp_path / "item")
    (image,) = scene.assets
    assert bands(image) == ["red", "green", "blue"]
    assert {(band.scale, band.offset) for band in image.bands} == {(0.5, 1.5)}
    assert open_source(image.uri, image.options).profile.nodata == 255
    assert scene.id == "a_b_c"
    assert (scene.platform, scene.instruments) == ("plane", ("cam",))
    assert scene.time == datetime(2020, 1, 1, tzinfo=UTC)
    assert scene.properties["eo:cloud_cover"] == 3.5
    assert scene.properties["end_datetime"] == "2020-01-02T00:00:00Z"
    assert "proj:epsg" not in scene.properties  # the product has a grid of its own
    assert scene.footprint is None


def test_roles_media_types_and_names_choose_the_rasters(tmp_path: Path, opened: Open) -> None:
    folder = tmp_path / "item"
    for name in ("a", "b", "scl", "cloud", "thumb", "visual", "pan", "bare"):
        write_band(folder / f"{name}.tif", (8, 8), 10.0, "uint8", seed=1)
    (folder / "meta.xml").write_text("<x/>")
    write_item(
        folder / "item.json",
        {
            "a": raster("a.tif"),
            "b": raster("b.tif", roles=["data", "reflectance"]),
            "scl": raster("scl.tif"),  # named like a class layer
            "clouds": raster("cloud.tif", roles=["cloud"]),
            "pan": raster("pan.tif", **{"eo:bands": [{"name": "P", "common_name": "pan"}]}),
            "thumbnail": raster("thumb.tif", roles=["thumbnail"]),
            "visual": {"href": "visual.tif", "type": COG, "roles": ["visual"]},
            "bare": {"href": "bare.tif"},
            "preview": {"href": "thumb.tif"},
            "metadata": {"href": "meta.xml", "type": "application/xml", "roles": ["metadata"]},
        },
    )
    kinds = {asset.key: asset.kind for asset in opened(folder).assets}
    assert kinds == {
        "a": "light", "b": "light", "scl": "classes", "clouds": "classes", "bare": "light"
    }  # fmt: skip
    with_pan = {a.key: a.kind for a in opened(folder, pan=True, classes=False).assets}
    assert with_pan == {"a": "light", "b": "light", "pan": "pan", "bare": "light"}
    clouds = assets(opened(folder))["clouds"]
    assert open_source(clouds.uri, clouds.options).profile.light == ()


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (("red", "nir"), {"image": ["red", "nir"]}),
        (("B11",), {"swir": ["B11"]}),
        (("swir16",), {"swir": ["B11"]}),
        (("image",), {"image": ["red", "green", "nir"]}),
    ],
)
def test_bands_of_items_are_chosen_by_name(
    tmp_path: Path, opened: Open, chosen: tuple[str, ...], expected: dict[str, list[str]]
) -> None:
    folder = tmp_path / "item"
    write_band(folder / "i.tif", (8, 8), 10.0, "uint16", seed=1, bands=3)
    write_band(folder / "s.tif", (4, 4), 20.0, "uint16", seed=2)
    names = [{"name": name} for name in ("red", "green", "nir")]
    swir = [{"name": "B11", "common_name": "swir16"}]
    write_item(
        folder / "item.json",
        {
            "image": raster("i.tif", **{"eo:bands": names}),
            "swir": raster("s.tif", **{"eo:bands": swir}),
            "far": raster("https://example.org/x.tif", **{"eo:bands": [{"name": "far"}]}),
        },
    )
    scene = opened(folder, bands=chosen)
    assert {key: bands(asset) for key, asset in assets(scene).items()} == expected
    assert scene.notes == ()  # what is not wanted is not missed
    image = scene.assets[0]
    profile = open_source(image.uri, image.options).profile
    assert [band.description for band in profile.bands] == bands(image)


def test_names_are_unique_within_a_scene(tmp_path: Path, opened: Open) -> None:
    folder = tmp_path / "item"
    for name in ("a", "b"):
        write_band(folder / f"{name}.tif", (8, 8), 10.0, "uint16", seed=1)
    entry = {"eo:bands": [{"name": "red"}]}
    write_item(folder / "i.json", {n: raster(f"{n}.tif", **entry) for n in ("a", "b")})
    assert [bands(asset) for asset in opened(folder).assets] == [["red"], ["b_red"]]


@pytest.mark.parametrize(
    ("said", "match"),
    [
        ({"scale": 0.5}, "scale = 0.1, its catalogue 0.5"),
        ({"offset": 2}, "offset = 1.0, its catalogue 2.0"),
        ({"nodata": 7}, "nodata = 9.0, its catalogue 7.0"),
        ({"nodata": "nan"}, "nodata = 9.0, its catalogue nan"),
    ],
)
def test_an_item_that_contradicts_its_file_is_refused(
    tmp_path: Path, opened: Open, said: dict[str, Any], match: str
) -> None:
    path = write_band(tmp_path / "item" / "a.tif", (8, 8), 10.0, "int16", seed=1, nodata=9)
    with rasterio.open(path, "r+") as dataset:
        dataset.scales, dataset.offsets = (0.1,), (1.0,)
    agreed = {"scale": 0.1, "offset": 1.0, "nodata": 9}
    item = tmp_path / "item" / "i.json"
    write_item(item, {"a": raster("a.tif", **{"raster:bands": [agreed]})})
    assert opened(item.parent).assets
    write_item(item, {"a": raster("a.tif", **{"raster:bands": [agreed | said]})})
    refused(opened, item.parent, "unsupported", match)


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"eo:bands": [{}, {}]}, "bands = 3, its catalogue 2"),
        ({"eo:bands": [{}], "raster:bands": [{}, {}, {}]}, "lists 1 and 3 bands"),
        ({"bands": [{"nodata": 1}, {"nodata": 2}, {}]}, "different nodata values"),
    ],
)
def test_an_item_with_other_bands_than_its_file_is_refused(
    tmp_path: Path, opened: Open, fields: dict[str, Any], match: str
) -> None:
    write_band(tmp_path / "item" / "a.tif", (8, 8), 10.0, "uint8", seed=1, bands=3)
    write_item(tmp_path / "item" / "i.json", {"a": raster("a.tif", **fields)})
    refused(opened, tmp_path / "item", "unsupported", match)


def test_a_mask_and_an_alpha_band_survive(tmp_path: Path, opened: Open) -> None:
    folder = tmp_path / "item"
    path = write_band(folder / "a.tif", (8, 8), 10.0, "uint8", seed=1, bands=4, photometric="RGB",
                      alpha="yes")  # fmt: skip
    names = [{"name": name, "nodata": 3} for name in ("r", "g", "b")]
    write_item(folder / "i.json", {"a": raster("a.tif", bands=names)}, version="1.1.0")
    (asset,) = opened(folder).assets
    assert bands(asset) == ["r", "g", "b", "alpha"]
    assert asset.uri == str(path)
    profile = open_source(asset.uri, asset.options).profile
    assert profile.alpha == 3
    assert profile.nodata == 3


# where assets lie


@pytest.mark.parametrize(
    "href",
    ["a b.tif", "./a b.tif", "a%20b.tif", "sub/../a b.tif", "{folder}/a b.tif",
     "file://{folder}/a%20b.tif"],
)  # fmt: skip
def test_local_addresses_are_followed(tmp_path: Path, opened: Open, href: str) -> None:
    folder = tmp_path / "item"
    path = write_band(folder / "a b.tif", (8, 8), 10.0, "uint8", seed=1)
    write_item(folder / "i.json", {"a": raster(href.format(folder=folder))})
    assert opened(folder).assets[0].uri == str(path)


@pytest.mark.parametrize("href", ["../a.tif", "sub/../../a.tif", "..%2Fa.tif"])
def test_addresses_that_leave_the_directory_are_hostile(
    tmp_path: Path, opened: Open, href: str
) -> None:
    write_band(tmp_path / "a.tif", (8, 8), 10.0, "uint8", seed=1)
    item = write_item(tmp_path / "item" / "i.json", {"a": raster(href)})
    refused(opened, item.parent, "hostile", "outside of its directory")


REMOTE = ["https://example.org/a.tif?sig=secret", "s3://bucket/a.tif", "/vsicurl/http://x/a.tif"]


@pytest.mark.parametrize("href", REMOTE)
def test_what_lies_elsewhere_is_a_note_or_the_end(tmp_path: Path, opened: Open, href: str) -> None:
    item = write_item(tmp_path / "item" / "i.json", {"far": raster(href)})
    refused(opened, item.parent, "unsupported", "without far: on another machine")
    write_band(tmp_path / "item" / "a.tif", (8, 8), 10.0, "uint8", seed=1)
    write_item(item, {"far": raster(href), "a": raster("a.tif")})
    scene = opened(item.parent)
    assert list(assets(scene)) == ["a"]
    assert scene.notes == ("without far: on another machine",)


def test_what_has_not_arrived_is_a_note_or_incomplete(tmp_path: Path, opened: Open) -> None:
    item = write_item(tmp_path / "item" / "i.json", {"a": raster("a.tif")})
    refused(opened, item.parent, "incomplete", "without a: not delivered")
    write_band(tmp_path / "item" / "b.tif", (8, 8), 10.0, "uint8", seed=1)
    write_item(item, {"a": raster("a.tif"), "b": raster("b.tif")})
    assert opened(item.parent).notes == ("without a: not delivered",)


def test_the_items_of_the_usgs_have_nothing_here(
    shared: Path, opened: Open, tmp_path: Path
) -> None:
    """Real items of STAC 0.7, whose assets lie on a server."""
    source = shared / "data/eo/stactools-packages__landsat/tests/data-files/assets"
    (item,) = source.glob("*_SR_stac.json")
    shutil.copy(item, tmp_path / "item.json")
    assert stac.claims(tmp_path / "item.json")
    with pytest.raises(SceneError) as caught:
        opened(tmp_path / "item.json")
    assert caught.value.reason in ("unsupported", "unreadable")


# items that are none


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"assets": []}, "no usable 'assets'"),
        ({"id": 7}, "no usable 'id'"),
        ({"id": "///"}, "cannot name a product"),
        ({"links": None}, "no usable 'links'"),
        ({"assets": {"a": {"href": 3}}}, "without usable href"),
        ({"assets": {"a": {"href": "x.tif", "roles": [[]]}}}, "without usable href"),
        ({"assets": {"a": 5}}, "without usable href"),
        ({"properties": {"datetime": "yesterday"}}, "pystac can read"),
        ({"stac_version": [1]}, "pystac can read"),
    ],
)
def test_an_item_that_makes_no_sense_is_unreadable(
    tmp_path: Path, opened: Open, change: dict[str, Any], match: str
) -> None:
    write_band(tmp_path / "item" / "x.tif", (8, 8), 10.0, "uint8", seed=1)
    change = {"assets": {"x": raster("x.tif")}} | change
    item = write_item(tmp_path / "item" / "i.json", change.pop("assets"), **change)
    refused(opened, item, "unreadable", match)


@pytest.mark.parametrize("key", ["", "..", "a/b", "A"])
def test_keys_that_cannot_name_files(tmp_path: Path, opened: Open, key: str) -> None:
    """Sanitised where something is left of them and no other asset has that name."""
    write_band(tmp_path / "item" / "x.tif", (8, 8), 10.0, "uint8", seed=1)
    entries = {"a": raster("x.tif"), key: raster("x.tif")}
    item = write_item(tmp_path / "item" / "i.json", entries)
    if key == "a/b":
        assert list(assets(opened(item))) == ["a", "a_b"]
    else:
        refused(opened, item, "unreadable", "cannot name a file")


@pytest.mark.parametrize("end", [100, 300])
def test_half_an_item_is_claimed_and_unreadable(tmp_path: Path, opened: Open, end: int) -> None:
    write_band(tmp_path / "item" / "a.tif", (8, 8), 10.0, "uint8", seed=1)
    item = write_item(tmp_path / "item" / "i.json", {"a": raster("a.tif")})
    item.write_bytes(item.read_bytes()[:end])
    assert found_in(tmp_path) == [("stac", "item")]
    refused(opened, item.parent, "unreadable", "not arrived whole")


def test_deep_json_is_unreadable(tmp_path: Path, opened: Open) -> None:
    item = tmp_path / "i.json"
    item.write_text('{"stac_version": "1.0.0", "type": "Feature", "x": ' + "[" * 100_000)
    refused(opened, item, "unreadable", "is not JSON")


def test_other_json_is_no_item(tmp_path: Path) -> None:
    feature = {"type": "Feature", "properties": {}, "geometry": None}
    item = json.loads(write_item(tmp_path / "x" / "i.json", {}).read_text())
    shutil.rmtree(tmp_path / "x")
    for name, value in {
        "feature.geojson": feature,
        "search.json": {"type": "FeatureCollection", "features": [item]},
        "catalog.json": {"type": "Catalog", "stac_version": "1.0.0", "id": "c", "links": []},
        "list.json": [1, 2],
    }.items():
        (tmp_path / name).write_text(json.dumps(value))
    (tmp_path / "item.txt").write_text(json.dumps(item))
    assert found_in(tmp_path) == []


# plain images


def test_naip_tiles_are_scenes_of_their_own(shared: Path, opened: Open) -> None:
    source = shared / NAIP
    assert found_in(source) == [("folder", path.name) for path in sorted(source.glob("*.tif"))]
    days = {path.name: opened(path).time for path in source.glob("*.tif")}
    assert days["m_3008501_ne_16_1_20110815.tif"] == datetime(2011, 8, 15, tzinfo=UTC)
    # the tag of this one is the time of the file, two months after the flight
    day = days["m_3907864_sw_17_060_20210912_downsampled.tif"]
    assert day == datetime(2021, 9, 12, tzinfo=UTC)
    scene = opened(source / "m_3211605_ne_11_060_20200415.tif")
    (image,) = scene.assets
    assert (image.key, image.kind) == ("image", "light")
    assert bands(image) == ["red", "green", "blue", "alpha"]
    assert image.resolution == pytest.approx(0.599, abs=0.001)


def test_a_folder_of_landsat_bands_is_one_scene(shared: Path, tmp_path: Path, opened: Open) -> None:
    for path in (shared / BANDS_OF_L8).glob("L8-B*-Elkton-VA.tiff"):
        (tmp_path / path.name).symlink_to(path)
    scene = opened(tmp_path)
    found = assets(scene)
    assert len(found) == 12
    assert found["L8-BQA-Elkton-VA"].kind == "classes"
    assert {found[f"L8-B{n}-Elkton-VA"].kind for n in range(1, 12)} == {"light"}
    assert bands(found["L8-B4-Elkton-VA"]) == ["L8-B4-Elkton-VA"]
    assert found["L8-B8-Elkton-VA"].resolution == pytest.approx(14.99, abs=0.01)
    assert all(open_source(a.uri, a.options) for a in scene.assets)
    assert "L8-BQA-Elkton-VA" not in assets(opened(tmp_path, classes=False))


def test_suffixes_tell_images_and_sidecars(tmp_path: Path) -> None:
    for name in ("a.tif", "b.TIFF", "c.jp2"):
        write_band(tmp_path / name, (8, 8), 1.0, "uint8", seed=1)
    sidecars = ("a.tif.aux.xml", "a.tif.ovr", "a.tif.msk", "a.tfw", "notes.txt", ".hidden.tif")
    for name in sidecars:
        (tmp_path / name).write_text("")
    assert [name for _, name in found_in(tmp_path)] == ["a.tif", "b.TIFF", "c.jp2"]
    beside = {path.name for path in folder.beside(tmp_path / "a.tif")}
    assert beside == {"a.tif.aux.xml", "a.tif.ovr", "a.tif.msk", "a.tfw"}


WRITTEN = {"TIFFTAG_DATETIME": "2019:02:03 04:05:06"}


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        (WRITTEN, datetime(2019, 2, 3, 4, 5, 6, tzinfo=UTC)),
        (
            WRITTEN | {"ACQUISITIONDATETIME": "2018-01-02T03:04:05.5Z"},
            datetime(2018, 1, 2, 3, 4, 5, tzinfo=UTC),
        ),
        ({"TIFFTAG_DATETIME": "long ago"}, None),
        ({}, None),
    ],
)  # fmt: skip
def test_the_time_of_an_image_is_that_of_its_tags(
    tmp_path: Path, opened: Open, tags: dict[str, str], expected: datetime | None
) -> None:
    path = write_band(tmp_path / "a.tif", (8, 8), 1.0, "uint8", seed=1)
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(**tags)
    assert opened(path).time == expected


def test_codes_go_by_nearest_and_mixed_files_are_taken_apart(tmp_path: Path, opened: Open) -> None:
    path = write_band(tmp_path / "x.tif", (8, 8), 10.0, "uint8", seed=1, bands=3)
    with rasterio.open(path, "r+") as dataset:
        dataset.descriptions = ("Red", "Fmask", "NIR")
    found = assets(opened(path))
    assert {key: (a.kind, bands(a)) for key, a in found.items()} == {
        "image": ("light", ["Red", "NIR"]),
        "image_classes": ("classes", ["Fmask"]),
    }
    assert [band.common for band in found["image"].bands] == ["red", "nir"]
    for key, light in (("image", 2), ("image_classes", 0)):
        profile = open_source(found[key].uri, found[key].options).profile
        assert len(profile.light) == light
    palette = write_band(tmp_path / "classes.tif", (8, 8), 10.0, "uint8", seed=1)
    with rasterio.open(palette, "r+") as dataset:
        dataset.write_colormap(1, {0: (0, 0, 0, 255), 1: (255, 0, 0, 255)})
    assert [asset.kind for asset in opened(palette).assets] == ["classes"]
    refused(opened, palette, "unsupported", "no bands to upscale", classes=False)
    refused(opened, path, "unsupported", "no bands named B04", bands=("B04",), classes=False)


def test_files_of_one_stem_have_keys_of_their_own(tmp_path: Path, opened: Open) -> None:
    for name in ("a.tif", "a.tiff", "b.tif"):
        write_band(tmp_path / name, (8, 8), 1.0, "uint8", seed=1)
    assert list(assets(opened(tmp_path))) == ["a.tif", "a.tiff", "b"]


def test_images_without_a_place_are_noted(tmp_path: Path, opened: Open) -> None:
    path = tmp_path / "a.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=8, height=8, count=1, dtype="uint8"
    ) as file:
        file.write(np.ones((1, 8, 8), np.uint8))
    assert opened(path).notes == ("a.tif is not georeferenced",)


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"", "incomplete"), (b"no raster", "unreadable"), (b"II*\0" + b"\xff" * 99, "unreadable")],
)
@pytest.mark.parametrize("name", ["a.tif", "a.jp2", "a.vrt"])
def test_broken_images_are_claimed_and_refused(
    tmp_path: Path, opened: Open, data: bytes, reason: str, name: str
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    assert found_in(tmp_path) == [("folder", name)]
    refused(opened, path, reason, name)


def test_a_vrt_that_leads_elsewhere_is_refused(tmp_path: Path, opened: Open) -> None:
    path = tmp_path / "a.vrt"
    path.write_text(
        '<VRTDataset rasterXSize="8" rasterYSize="8"><VRTRasterBand dataType="Byte" band="1">'
        "<SimpleSource><SourceFilename>/vsicurl/http://127.0.0.1:9/x.tif</SourceFilename>"
        "<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    with pytest.raises(SceneError, match="not a local file"):
        opened(path)


def test_an_empty_folder_is_incomplete(tmp_path: Path, opened: Open) -> None:
    refused(opened, tmp_path, "incomplete", "holds no images")


# beside each other


def test_every_scene_of_a_mixed_inbox_is_found_once(tmp_path: Path) -> None:
    Product().write(tmp_path)
    write_band(tmp_path / "aerial.tif", (8, 8), 1.0, "uint8", seed=1)
    write_band(tmp_path / "deep" / "er" / "tile.jp2", (8, 8), 1.0, "uint8", seed=1)
    # an item of its own directory
    write_band(tmp_path / "item" / "data" / "a.tif", (8, 8), 1.0, "uint8", seed=1)
    write_item(tmp_path / "item" / "item.json", {"a": raster("data/a.tif")})
    # items side by side, their rasters beside or below them
    for name in ("one", "two"):
        write_band(tmp_path / "flat" / f"{name}.tif", (8, 8), 1.0, "uint8", seed=1)
        write_band(tmp_path / "flat" / name / "b.tif", (8, 8), 1.0, "uint8", seed=1)
        entries = {"a": raster(f"{name}.tif"), "b": raster(f"./{name}/b.tif")}
        write_item(tmp_path / "flat" / f"{name}.json", entries, id=name)
    # an item in a catalog's directory, and one beside an image that it does not name
    write_item(tmp_path / "catalog" / "i.json", {"a": raster("a.tif")})
    (tmp_path / "catalog" / "collection.json").write_text("{}")
    write_band(tmp_path / "catalog" / "a.tif", (8, 8), 1.0, "uint8", seed=1)
    write_item(tmp_path / "beside" / "i.json", {})
    write_band(tmp_path / "beside" / "other.tif", (8, 8), 1.0, "uint8", seed=1)
    assert found_in(tmp_path) == [
        ("landsat", Product().id),
        ("folder", "aerial.tif"),
        ("stac", "beside/i.json"),
        ("folder", "beside/other.tif"),
        ("stac", "catalog/i.json"),
        ("folder", "deep/er/tile.jp2"),
        ("stac", "flat/one.json"),
        ("stac", "flat/two.json"),
        ("stac", "item"),
    ]
    inside = tmp_path / "item"
    assert found_in(inside) == [("stac", "item.json")]
    flat = tmp_path / "flat"
    assert stac.beside(flat / "one.json") == [flat / "one" / "b.tif", flat / "one.tif"]
    assert stac.beside(inside) == []


def test_a_scene_found_by_another_path_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: Open
) -> None:
    """Relative inboxes, and those with dots in them, claim and exclude the same files."""
    for name in ("one", "two"):
        write_band(tmp_path / "in" / f"{name}.tif", (8, 8), 1.0, "uint8", seed=1)
        write_item(tmp_path / "in" / f"{name}.json", {"a": raster(f"{name}.tif")}, id=name)
    monkeypatch.chdir(tmp_path / "in")
    expected = [("stac", "one.json"), ("stac", "two.json")]
    for inbox in (Path(), Path("../in"), tmp_path / "in" / ".." / "in"):
        assert found_in(inbox) == expected
        scene = opened(inbox / "one.json")
        assert Path(scene.assets[0].uri).is_absolute()


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("field.tif", "folder"),
        ("S2B_MSIL2A_20180101T105441_N0206_R051_T33SVA_20180101T143128.SAFE", "sentinel2"),
        ("S2B_MSIL2A_20180101T105441_N0206_R051_T33SVA_20180101T143128.zip", "sentinel2"),
        ("LC08_L2SP_193024_20190704_20200829_02_T1", "landsat"),
        ("LC08_L2SP_193024_20190704_20200829_02_T1.tar", "landsat"),
        ("notes.txt", None),
    ],
)
def test_links_to_nothing_are_scenes_where_they_are_named_so(
    tmp_path: Path, name: str, family: str | None
) -> None:
    (tmp_path / name).symlink_to(tmp_path / "gone")
    found = [one.family for one in find_scenes(tmp_path, SceneOptions())]
    assert found == ([] if family is None else [family])


def test_a_folder_behind_a_link_is_passed_over_in_words(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write_band(tmp_path / "elsewhere/field.tif", (8, 8), 10, "uint16", seed=0)
    (tmp_path / "in/link").symlink_to(tmp_path / "elsewhere")
    (found,) = find_scenes(tmp_path / "in", SceneOptions())
    assert found.place(tmp_path / "in") == "link"
    assert "is not followed" in found.passed_over


def test_files_of_a_folder_whose_names_become_the_same_have_keys_of_their_own(
    tmp_path: Path, opened: Open
) -> None:
    for name in ("a b.tif", "a_b.tif", "日.tif", "中.tif", "c.tif"):
        write_band(tmp_path / "in" / name, (8, 8), 10, "uint16", seed=0)
    keys = [asset.key for asset in opened(tmp_path / "in").assets]
    assert len(set(keys)) == 5
    assert "c" in keys
    assert all(key.isascii() for key in keys)
