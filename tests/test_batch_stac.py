"""STAC items of products: valid offline, and what opens them opens the right pixels."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import odc.stac
import pystac
import pytest
import rasterio
import rasterio.warp
import rioxarray
from fakes import texture, write_tif
from jsonschema import Draft7Validator
from product_files import (
    BANDS,
    copied,
    finish,
    item_of,
    landscape,
    make,
    make_scene,
    one_asset_scene,
)
from pystac.validation.local_validator import get_local_schema_cache
from referencing import Registry, Resource

from pipeline.kernel import Upscaler
from workflows.batch.catalog import update_catalog
from workflows.batch.options import CheckOptions
from workflows.batch.product import Made
from workflows.job import ModelOptions

pytestmark = [
    # of rioxarray, odc-geo and odc-stac
    pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The 'shapely.ops.transform:DeprecationWarning"),
]
Product = tuple[Made, dict[str, Upscaler]]
SPEC = "https://schemas.stacspec.org/v1.1.0"


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Product:
    """A finished product of light at 10 m and codes at 20 m, in an outbox with its catalog."""
    folder = tmp_path_factory.mktemp("stac")
    models = {"scl": ModelOptions("nearest", scale=8)}
    staged, upscalers = make(make_scene(folder / "scene"), folder / "made", models=models)
    (folder / "outbox").mkdir()
    made = copied(staged, folder / "outbox" / staged.product)
    finish(made, upscalers)
    update_catalog(folder / "outbox", "Night")
    return made, upscalers


@pytest.fixture
def item(product: Product) -> dict[str, Any]:
    """Its STAC item."""
    return item_of(product[0])


def path_of(made: Made) -> Path:
    """Of the item."""
    return made.assets[0].target.with_name(f"{made.product}.json")


def check_schema(content: dict[str, Any], name: str) -> None:
    """Hold it against STAC's own schema, from pystac's copies, without a network."""
    schemas = get_local_schema_cache()
    registry: Registry[Any] = Registry().with_resources(
        [(uri, Resource.from_contents(schema)) for uri, schema in schemas.items()]
    )
    schema = schemas[f"{SPEC}/{name}-spec/json-schema/{name}.json"]
    errors = list(Draft7Validator(schema, registry=registry).iter_errors(content))
    assert not errors, errors[0]


def test_item_collection_and_catalog_keep_the_schema(product: Product) -> None:
    path = path_of(product[0])
    outbox = path.parents[1]
    check_schema(json.loads(path.read_text()), "item")
    check_schema(json.loads((outbox / "catalog.json").read_text()), "catalog")
    for collection in (outbox / "collections").iterdir():
        check_schema(json.loads(collection.read_text()), "collection")
    with pytest.raises(AssertionError):
        check_schema(json.loads(path.read_text()) | {"assets": {"a": {}}}, "item")


def test_all_links_and_assets_lead_to_files(product: Product, item: dict[str, Any]) -> None:
    folder = path_of(product[0]).parent
    for asset in item["assets"].values():
        assert (folder / asset["href"]).exists()
    for link in item["links"]:
        assert (folder / link["href"]).exists(), link
    assert {link["rel"] for link in item["links"]} == {"root", "parent", "collection", "via"}
    root = pystac.Catalog.from_file(str(folder.parent / "catalog.json"))
    (found,) = root.get_items(recursive=True)
    assert found.id == product[0].product


def test_it_says_where_when_and_of_what(item: dict[str, Any]) -> None:
    properties = item["properties"]
    assert properties["datetime"] == "2018-01-01T10:54:41.024000Z"
    assert properties["platform"] == "sentinel-2b"
    assert properties["instruments"] == ["msi"]
    assert properties["gsd"] == 2.5
    assert properties["eo:cloud_cover"] == 12.5
    assert properties["view:sun_azimuth"] == 170.1
    assert "proj:epsg" not in properties
    assert item["collection"] == "sentinel2-msi"
    ground = (500_000, 3_998_100, 501_700, 4_000_000)
    bounds = rasterio.warp.transform_bounds("EPSG:32633", "EPSG:4326", *ground)
    assert item["bbox"] == pytest.approx(bounds, abs=1e-6)
    assert item["geometry"]["type"] == "Polygon"


def test_it_says_how_it_was_made(product: Product, item: dict[str, Any]) -> None:
    made, _ = product
    properties, light = item["properties"], item["assets"]["r10m"]
    assert properties["processing:software"] == {"espcn": "0.1.0"}
    assert properties["processing:datetime"] == made.made
    assert "r10m x4 by general-x4; scl x8 by nearest" in properties["processing:lineage"]
    assert properties["espcn:key"] == made.key
    assert properties["espcn:notes"] == ["B01 is missing"]
    assert light["espcn:model"] == "general-x4"
    assert light["espcn:weights_sha256"] == made.assets[0].plan.provenance.sha256
    assert light["espcn:scale"] == 4
    checks = properties["espcn:checks"]
    assert len(checks) == 10
    assert all(check["passed"] for check in checks)
    assert {check["name"] for check in checks} >= {"coverage", "consistency", "recomputed"}


def test_pystac_reads_its_extensions(product: Product) -> None:
    made, _ = product
    item = pystac.Item.from_file(str(path_of(made)))
    light = item.assets["r10m"]
    assert light.ext.proj.code == "EPSG:32633"
    assert light.ext.proj.shape == [760, 680]
    assert light.ext.proj.transform == [2.5, 0, 500_000, 0, -2.5, 4_000_000]
    assert light.ext.proj.bbox == [500_000, 3_998_100, 501_700, 4_000_000]
    assert light.ext.raster.bands is not None
    band = light.ext.raster.bands[0]
    assert (band.scale, band.offset, band.nodata) == (0.0001, -0.1, 0)
    assert band.data_type == "uint16"
    assert band.spatial_resolution == 2.5
    assert light.ext.eo.bands is not None
    assert [one.name for one in light.ext.eo.bands] == [facts.name for facts in BANDS]
    assert light.ext.eo.bands[3].common_name == "nir"
    assert light.ext.eo.bands[3].center_wavelength == 0.833
    digest = hashlib.sha256(made.assets[0].target.read_bytes()).hexdigest()
    assert light.ext.file.checksum == f"1220{digest}"
    assert light.ext.file.size == made.assets[0].target.stat().st_size
    assert item.ext.eo.cloud_cover == 12.5
    assert item.ext.view.sun_azimuth == 170.1
    prefixes = {uri.split("/")[3] for uri in item.stac_extensions}
    assert prefixes >= {"projection", "eo", "raster", "processing", "file", "view"}


def test_odc_stac_loads_its_pixels(product: Product) -> None:
    made, _ = product
    item = pystac.Item.from_file(str(path_of(made)))
    loaded = odc.stac.load([item], bands=["red", "B08", "scl"], chunks={})
    assert loaded["red"].shape == (1, 760, 680)
    assert loaded["red"].dtype == np.uint16
    assert loaded["red"].odc.geobox.crs == "EPSG:32633"
    assert tuple(loaded["red"].odc.geobox.affine)[:6] == (2.5, 0, 500_000, 0, -2.5, 4_000_000)
    assert loaded["red"].attrs["nodata"] == 0
    pixels = {name: loaded[name].compute().values[0] for name in ("red", "B08", "scl")}
    with rasterio.open(made.assets[0].target) as dataset:
        np.testing.assert_array_equal(pixels["red"], dataset.read(1))
        np.testing.assert_array_equal(pixels["B08"], dataset.read(4))
    with rasterio.open(made.assets[1].target) as dataset:
        np.testing.assert_array_equal(pixels["scl"], dataset.read(1))


def test_rioxarray_opens_its_images(product: Product, item: dict[str, Any]) -> None:
    folder = path_of(product[0]).parent
    light = item["assets"]["r10m"]
    with rioxarray.open_rasterio(folder / light["href"]) as array:
        assert list(array.shape) == [4, *light["proj:shape"]]
        assert array.rio.crs.to_epsg() == 32633
        assert list(array.rio.transform())[:6] == light["proj:transform"]
        assert array.rio.nodata == 0
        assert array.attrs["long_name"] == ("B04", "B03", "B02", "B08")


def test_a_zarr_product_opens_too(tmp_path: Path) -> None:
    import xarray as xr

    path = write_tif(tmp_path / "scene.tif", landscape(1, 60, 50), nodata=0)
    made, upscalers = make(one_asset_scene(path), tmp_path / "made", suffix=".zarr")
    finish(made, upscalers, CheckOptions())
    asset = item_of(made)["assets"]["scene"]
    assert asset["type"] == "application/vnd.zarr"
    size = sum(p.stat().st_size for p in made.assets[0].target.rglob("*") if p.is_file())
    assert asset["file:size"] == size
    assert "file:checksum" not in asset
    with xr.open_zarr(tmp_path / "made" / asset["href"]) as opened:
        assert opened.rio.crs.to_epsg() == 32633
        assert [opened.sizes["y"], opened.sizes["x"]] == asset["proj:shape"]


def test_the_item_that_it_derives_from_is_linked(product: Product, tmp_path: Path) -> None:
    made, upscalers = product
    source = "https://example.com/items/S2B.json"
    made = replace(made, scene=replace(made.scene, source_item=source))
    made = copied(made, tmp_path / "product")
    finish(made, upscalers)
    links = item_of(made)["links"]
    assert [one["href"] for one in links if one["rel"] == "derived_from"] == [source]
    assert not [one for one in links if one["rel"] == "via"]


def test_the_provider_s_footprint_is_kept(product: Product, tmp_path: Path) -> None:
    made, upscalers = product
    west = [[179.0, -20.0], [180.0, -20.0], [180.0, -19.0], [179.0, -19.0], [179.0, -20.0]]
    east = [[-180.0, -20.0], [-179.5, -20.0], [-179.5, -19.0], [-180.0, -19.0], [-180.0, -20.0]]
    given = {"type": "MultiPolygon", "coordinates": [[west], [east]]}
    made = replace(made, scene=replace(made.scene, footprint=given))
    made = copied(made, tmp_path / "product")
    finish(made, upscalers)
    item = item_of(made)
    assert item["geometry"] == given
    assert item["bbox"] == [179.0, -20.0, -179.5, -19.0]
    check_schema(item, "item")


def test_a_plain_file_of_unknown_time_and_place_is_an_item(tmp_path: Path) -> None:
    path = tmp_path / "photo.tif"
    with rasterio.open(
        path, "w", driver="GTiff", count=1, height=40, width=40, dtype="float32", nodata=math.nan
    ) as dataset:
        dataset.write(texture((1, 40, 40)).astype(np.float32))
    made, upscalers = make(one_asset_scene(path), tmp_path / "made")
    finish(made, upscalers)
    item = item_of(made)
    check_schema(item, "item")
    assert item["geometry"] is None
    assert "bbox" not in item
    written = datetime.fromtimestamp(int(path.stat().st_mtime), UTC)
    assert item["properties"]["datetime"] == written.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert item["properties"]["espcn:time_of_files"] is True
    (band,) = item["assets"]["photo"]["bands"]
    assert band["nodata"] == "nan"
    assert band["name"] == "b1"
    assert "proj:transform" not in item["assets"]["photo"]
    shutil.rmtree(tmp_path / "made")


def test_an_image_keeps_its_name_whatever_that_is(tmp_path: Path) -> None:
    path = write_tif(tmp_path / "thumbnail.tif", texture((1, 40, 40)))
    made, upscalers = make(one_asset_scene(path), tmp_path / "made")
    finish(made, upscalers)
    assert item_of(made)["assets"]["thumbnail"]["href"] == f"./{made.product}_thumbnail.tif"


def test_a_reference_system_without_a_code_is_spelled_out(tmp_path: Path) -> None:
    crs = "+proj=laea +lat_0=51.3 +lon_0=9.7 +ellps=GRS80 +units=m"
    path = write_tif(tmp_path / "scene.tif", texture((1, 40, 40)), crs=crs)
    made, upscalers = make(one_asset_scene(path), tmp_path / "made")
    finish(made, upscalers)
    asset = item_of(made)["assets"]["scene"]
    assert "proj:code" not in asset
    assert asset["proj:wkt2"].startswith("PROJCRS")
    item = pystac.Item.from_file(str(path_of(made)))
    loaded = odc.stac.load([item])
    assert loaded["scene"].shape == (1, 160, 160)
