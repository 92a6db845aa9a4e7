"""Stacks: band files of one grid are one raster that the ordinary source reads, or are refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.testing import assert_array_equal

from pipeline.options import SourceOptions
from pipeline.profile import Profile
from pipeline.scenes.scene import BandFacts, SceneError
from pipeline.scenes.stack import StackBand, write_stack
from pipeline.sources import open_source
from pipeline.sources.safety import check_vrt
from pipeline.tiling import Window

GRID = rasterio.Affine(30, 0, 400000, 0, -30, 5000000)


def write(path: Path, seed: int = 0, **changes: Any) -> str:
    """A GeoTIFF of 40 x 50 random counts; its path."""
    made: dict[str, Any] = {
        "driver": "GTiff", "height": 40, "width": 50, "count": 1, "dtype": "uint16",
        "crs": "EPSG:32632", "transform": GRID,
    }  # fmt: skip
    made |= changes
    shape = (made["count"], made["height"], made["width"])
    pixels = np.random.default_rng(seed).integers(0, 250, shape).astype(made["dtype"])
    with rasterio.open(path, "w", **made) as dataset:
        dataset.write(pixels)
    return str(path)


def band(uri: str, name: str = "B1", **more: Any) -> StackBand:
    return StackBand(uri, BandFacts(name, **{k: more.pop(k) for k in ("scale", "offset", "unit")
                                            if k in more}), **more)  # fmt: skip


def read(path: Path) -> tuple[Profile, np.ndarray]:
    source = open_source(str(path))
    return source.profile, source.read(Window(0, 0, source.profile.height, source.profile.width))


def assert_refused(
    folder: Path, bands: list[StackBand], reason: str, why: str, nodata: float | None = 0
) -> None:
    with pytest.raises(SceneError, match=why) as caught:
        write_stack(folder / "stack.vrt", bands, nodata=nodata)
    assert caught.value.reason == reason
    assert not (folder / "stack.vrt").exists()


def test_pixels_and_facts_are_those_of_the_files(tmp_path: Path) -> None:
    tiled = {"tiled": True, "blockxsize": 32, "blockysize": 48}
    one = write(tmp_path / "one.tif", 1, **tiled)
    two = write(tmp_path / "two & <three>.tif", 2, count=3, **tiled)
    stack = tmp_path / "new" / "stack.vrt"
    bands = [
        band(two, "B4", number=3, colour="red", scale=2.75e-05, offset=-0.2),
        band(one, "B5", unit="K", tags={"a<b": "1 & 2"}),
    ]
    write_stack(stack, bands, nodata=0)
    profile, pixels = read(stack)
    for number, uri, index in ((0, two, 3), (1, one, 1)):
        with rasterio.open(uri) as dataset:
            assert_array_equal(pixels[number], dataset.read(index))
    red, thermal = profile.bands
    assert (red.description, red.colour, red.scale, red.offset) == ("B4", "red", 2.75e-05, -0.2)
    assert (thermal.description, thermal.unit, thermal.scale) == ("B5", "K", 1)
    assert thermal.tags["a<b"] == "1 & 2"
    assert (profile.nodata, profile.block, profile.dtype) == (0, (48, 32), "uint16")
    assert profile.georef.affine == tuple(GRID)[:6]
    assert set(profile.files) == {str(stack), one, two}
    check_vrt(str(stack), SourceOptions())


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "int16", "uint32", "int32", "float32", "float64"]
)
def test_every_data_type_goes_through(dtype: str, tmp_path: Path) -> None:
    nodata = float("nan") if "float" in dtype else 7
    write_stack(tmp_path / "s.vrt", [band(write(tmp_path / "a.tif", dtype=dtype))], nodata=nodata)
    profile, pixels = read(tmp_path / "s.vrt")
    assert profile.dtype == dtype
    assert str(profile.nodata) == str(float(nodata))
    with rasterio.open(tmp_path / "a.tif") as dataset:
        assert_array_equal(pixels, dataset.read())


def test_nodata_is_that_of_the_files_where_none_is_given(tmp_path: Path) -> None:
    files = [write(tmp_path / f"{i}.tif", i, nodata=-9999, dtype="int16") for i in range(2)]
    write_stack(tmp_path / "s.vrt", [band(uri) for uri in files], nodata=None)
    assert read(tmp_path / "s.vrt")[0].nodata == -9999
    other = write(tmp_path / "other.tif", nodata=0, dtype="int16")
    assert_refused(tmp_path / "w", [band(files[0]), band(other)], "incomplete", "nodata", None)


def test_values_that_files_and_metadata_disagree_on_are_refused(tmp_path: Path) -> None:
    uri = write(tmp_path / "a.tif", nodata=5)
    assert_refused(tmp_path, [band(uri)], "unreadable", "nodata 5 in its header, 0 in the metadata")
    with rasterio.open(uri, "r+") as dataset:
        dataset.nodata, dataset.scales, dataset.offsets = 0, (0.5,), (3,)
    why = "offset 3 in its header, 4 in the metadata"
    assert_refused(tmp_path, [band(uri, scale=0.5, offset=4)], "unreadable", why)
    write_stack(tmp_path / "stack.vrt", [band(uri, scale=0.5, offset=3)], nodata=0)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"height": 41}, "another size than B1: B2 50 x 41, B1 50 x 40"),
        ({"dtype": "int16"}, "another data type than B1: B2 int16, B1 uint16"),
        ({"crs": "EPSG:32633"}, "another grid than B1: .*33N.*32N"),
        ({"transform": GRID @ rasterio.Affine.translation(1, 0)}, "another grid .*400030"),
        ({"transform": GRID @ rasterio.Affine.scale(2, 2)}, "another grid"),
        ({"crs": None, "transform": None}, "another grid than B1: B2 None in no CRS"),
    ],
)
def test_bands_that_do_not_fit_are_refused(
    changes: dict[str, Any], why: str, tmp_path: Path
) -> None:
    files = [write(tmp_path / "1.tif"), write(tmp_path / "2.tif", **changes)]
    bands = [band(uri, f"B{i}") for i, uri in enumerate(files, start=1)]
    assert_refused(tmp_path, bands, "incomplete", why)


def test_grids_that_differ_by_rounding_are_one(tmp_path: Path) -> None:
    near = rasterio.Affine(30, 0, 400000.000001, 0, -30, 5000000)
    files = [write(tmp_path / "1.tif"), write(tmp_path / "2.tif", transform=near)]
    write_stack(tmp_path / "s.vrt", [band(uri) for uri in files], nodata=0)
    assert read(tmp_path / "s.vrt")[0].georef.affine == tuple(GRID)[:6]


def test_what_a_stack_would_lose_is_refused(tmp_path: Path) -> None:
    masked = write(tmp_path / "masked.tif")
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(masked, "r+") as dataset:
        dataset.write_mask(np.zeros((40, 50), bool))
    assert_refused(tmp_path, [band(masked)], "unsupported", "has a mask, which a stack")
    points = [
        rasterio.control.GroundControlPoint(r, c, 5 + c / 100, 50 - r / 100)
        for r, c in ((0, 0), (0, 50), (40, 0))
    ]
    placed = write(tmp_path / "points.tif", transform=None, gcps=points, crs="EPSG:4326")
    assert_refused(tmp_path, [band(placed)], "unsupported", "has ground control points")


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    assert_refused(tmp_path, [band(str(tmp_path / "no.tif"))], "incomplete", "is not there")
    (tmp_path / "empty.tif").touch()
    assert_refused(tmp_path, [band(str(tmp_path / "empty.tif"))], "incomplete", "is empty")
    (tmp_path / "text.tif").write_text("no image")
    assert_refused(tmp_path, [band(str(tmp_path / "text.tif"))], "unreadable", "cannot be opened")
    uri = write(tmp_path / "a.tif")
    assert_refused(tmp_path, [band(uri, "B9", number=2)], "incomplete", "B9 should be number 2")


def test_the_same_bands_give_the_same_version(tmp_path: Path) -> None:
    files = [write(tmp_path / f"{i}.tif", i) for i in range(2)]
    os.utime(files[0], (1e9, 1e9))
    stack = tmp_path / "s.vrt"
    write_stack(stack, [band(uri) for uri in files], nodata=0)
    first = read(stack)[0].identity
    assert stack.stat().st_mtime_ns == max(os.stat(uri).st_mtime_ns for uri in files)
    stack.unlink()
    write_stack(stack, [band(uri) for uri in files], nodata=0)
    assert read(stack)[0].identity == first
    write_stack(stack, [band(uri) for uri in files], nodata=1)
    assert read(stack)[0].identity != first
    assert [p.name for p in tmp_path.glob("*vrt*")] == ["s.vrt"]
