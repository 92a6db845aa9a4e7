"""The lazy façade: same pixels as the kernel, right labels, nothing read before it is needed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import odc.geo.xr  # noqa: F401 - gives arrays their .odc
import pytest
import rasterio
import rioxarray
import xarray as xr
from affine import Affine
from fakes import Box, texture, write_tif
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr, xr_zeros
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS

from pipeline.errors import PlanError, SourceError
from pipeline.kernel import Recipe, make_tiling, upscale_tile
from pipeline.lazy import upscale
from pipeline.radiometry import Radiometry
from pipeline.sources import open_source

# rioxarray, odc-geo and rasterio multiply affines the old way
pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")

UTM = CRS.from_epsg(32633)
GRIDS = {
    "north-up": Affine(10, 0, 500_000, 0, -10, 5_000_000),
    "south-up": Affine(10, 0, 500_000, 0, 10, 5_000_000),
    "not square": Affine(1 / 3, 0, -18.1, 0, -1 / 7, 89.9),
}
ROTATED = Affine(10, 2, 500_000, 3, -10, 5_000_000)


SEEN: list[float] = []
"""The largest value of each call of a spy. Here, for dask copies classes made within a test."""


@dataclass(frozen=True)
class Spy(Box):
    """Notes what it is called with."""

    def __call__(self, pixels: NDArray[np.float32], /) -> NDArray[np.float32]:
        SEEN.append(float(pixels.max()))
        return Box.__call__(self, pixels)


def scene(*shape: int, dtype: str = "uint16") -> NDArray[Any]:
    return np.random.default_rng(3).integers(1, 100, shape).astype(dtype)


def georeferenced(affine: Affine, pixels: NDArray[Any] | None = None) -> xr.DataArray:
    pixels = scene(60, 50) if pixels is None else pixels
    return wrap_xr(pixels, GeoBox(pixels.shape[:2], affine, "EPSG:32633"))


def plain(values: Any, **options: Any) -> xr.DataArray:
    return xr.DataArray(values, dims=("band", "y", "x")[-values.ndim :], name="red", **options)


def whole(path: Path, upscaler: Any) -> NDArray[Any]:
    """What the file pipeline makes of a file, in one tile, with nothing subtracted."""
    source = open_source(str(path))
    profile = source.profile
    tiling = make_tiling(profile.height, profile.width, upscaler, side=4096)
    centre = (0.0,) * len(profile.bands)
    radiometry = Radiometry(profile.dtype, 1.0, centre, profile.nodata, profile.saturated)
    window = tiling.read(tiling.tile(0))
    recipe = Recipe(profile, tiling, radiometry, upscaler)
    fine = upscale_tile(recipe, tiling.tile(0), source.read(window), source.mask(window))
    return fine.pixels


class TestPixels:
    @pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32", "float64"])
    @pytest.mark.parametrize("tile", [512, 1024, None])
    def test_they_are_those_of_the_file_pipeline(
        self, tmp_path: Path, dtype: str, tile: int | None
    ) -> None:
        pixels = scene(2, 350, 520, dtype=dtype)
        pixels[:, 40:60, 300:350] = 7
        pixels[0, 5, 5] = np.iinfo(dtype).max if np.dtype(dtype).kind in "iu" else 1
        path = tmp_path / "a.tif"
        shape = {"height": 350, "width": 520, "count": 2, "dtype": dtype, "nodata": 7}
        affine = GRIDS["north-up"]
        with rasterio.open(path, "w", driver="GTiff", crs=UTM, transform=affine, **shape) as file:
            file.write(pixels)
        chunked = rioxarray.open_rasterio(path, chunks={"x": 130, "y": 99})
        fine = upscale(chunked, Box(), tile=tile)
        assert fine.dtype == dtype
        np.testing.assert_array_equal(fine.values, whole(path, Box()))

    @given(data=st.data())
    @settings(max_examples=25, deadline=None)
    def test_they_do_not_depend_on_chunks(self, data: st.DataObject) -> None:
        height, width = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 600))
        scale = data.draw(st.integers(2, 4))
        values = scene(2, height, width)
        chunks = (data.draw(st.integers(1, 2)), data.draw(st.integers(1, 40)), 97)
        one = upscale(plain(values), Box(scale), tile=4096)
        other = upscale(plain(da.from_array(values, chunks=chunks)), Box(scale), tile=512)
        assert one.shape == (2, height * scale, width * scale)
        with dask.config.set(scheduler="synchronous"):
            np.testing.assert_array_equal(one.values, other.values)

    def test_two_dimensions_are_one_band(self) -> None:
        values = scene(30, 40)
        flat, deep = upscale(plain(values), Box()), upscale(plain(values[None]), Box())
        assert flat.dims == ("y", "x")
        np.testing.assert_array_equal(flat.values, deep.values[0])

    def test_nan_stays_nan_and_does_not_bleed(self) -> None:
        values = scene(40, 40, dtype="float32")
        values[10:20, 10:20] = np.nan
        fine = upscale(plain(values), Box()).values
        np.testing.assert_array_equal(np.isnan(fine), np.isnan(values).repeat(2, 0).repeat(2, 1))

    @pytest.mark.parametrize("name", ["_FillValue", "nodata", "missing_value"])
    def test_nodata_of_the_attributes_comes_back_exactly(self, name: str) -> None:
        values = scene(40, 40)
        values[10:20, 10:20] = 60_000
        fine = upscale(plain(values, attrs={name: 60_000}), Box()).values
        assert (fine[20:40, 20:40] == 60_000).all()
        assert np.delete(fine, slice(20, 40), axis=0).max() < 200

    def test_an_encoded_nodata_value_has_become_nan(self) -> None:
        values = scene(40, 40, dtype="float32")
        array = plain(values)
        array.encoding["_FillValue"] = 50.0
        bare = plain(values)
        np.testing.assert_array_equal(upscale(array, Box()).values, upscale(bare, Box()).values)

    def test_a_network_with_a_range_gets_it_from_bytes(self) -> None:
        values = scene(20, 20, dtype="uint8")
        SEEN.clear()
        upscale(plain(values), Spy(input_range=(0.0, 1.0))).compute(scheduler="synchronous")
        assert pytest.approx(values.max() / 255) == SEEN[0]

    def test_a_network_with_a_range_refuses_other_values(self) -> None:
        for declared in ((0.0, 1.0), (0.0, 255.0)):
            with pytest.raises(PlanError, match="cannot know that of uint16 data"):
                upscale(plain(scene(20, 20)), Spy(input_range=declared))


class TestLaziness:
    @staticmethod
    def counted(touched: list[tuple[int, int]]) -> xr.DataArray:
        """2 x 1024 x 1024 in chunks of 128 that note when they are made."""

        def chunk(block_info: Any = None) -> NDArray[Any]:
            _, y, x = block_info[None]["chunk-location"]
            touched.append((y, x))
            return np.full((2, 128, 128), y * 8 + x, "uint16")

        return plain(da.map_blocks(chunk, chunks=((2,), (128,) * 8, (128,) * 8), dtype="uint16"))

    def test_nothing_is_read_while_building(self) -> None:
        touched: list[tuple[int, int]] = []
        fine = upscale(self.counted(touched), Box(), tile=512)
        fine[:, 5:100, 5:100].isel(band=0)
        assert touched == []

    def test_slicing_reads_only_the_touched_chunks(self) -> None:
        touched: list[tuple[int, int]] = []
        fine = upscale(self.counted(touched), Box(), tile=512)
        fine[:, 600:700, 10:20].compute(scheduler="synchronous")
        # the tile of rows 512-1023, columns 0-511 reads rows 256-511 and the halo beside it
        assert sorted(touched) == [(y, x) for y in range(1, 5) for x in range(3)]

    def test_slicing_computes_only_the_touched_tiles(self) -> None:
        fine = upscale(self.counted([]), Spy(block=512), tile=512)
        SEEN.clear()
        fine[0, 500:520, 500:520].compute(scheduler="synchronous")
        assert len(SEEN) == 4 * 2  # tiles x bands

    def test_a_tile_is_one_task(self) -> None:
        source = self.counted([])
        fine = upscale(source, Box(), tile=512)
        added = len(fine.__dask_graph__()) - len(source.__dask_graph__())
        assert added == 16 + 1  # and one for what they share

    def test_a_store_that_is_not_chunked_is_not_read_either(self, tmp_path: Path) -> None:
        path = tmp_path / "a.zarr"
        plain(scene(2, 64, 64)).to_dataset(name="a").to_zarr(path, consolidated=False)
        array = xr.open_zarr(path, chunks=None, consolidated=False)["a"]
        for file in path.glob("a/c/**/*"):
            if file.is_file():
                file.write_bytes(b"damaged")
        fine = upscale(array, Box())
        with pytest.raises(RuntimeError):
            fine.compute(scheduler="synchronous")

    def test_equal_inputs_make_equal_graphs(self) -> None:
        values = da.ones((1, 64, 64), chunks=32, dtype="uint8")
        names = {upscale(plain(values), Box(scale)).data.name for scale in (2, 2, 3)}
        assert len(names) == 2


class TestLabels:
    @pytest.mark.parametrize("grid", GRIDS)
    def test_outer_corners_stay(self, grid: str) -> None:
        array = georeferenced(GRIDS[grid])
        fine = upscale(array, Box())
        want = GRIDS[grid] @ Affine.scale(0.5)
        assert fine.odc.geobox.affine.almost_equals(want, 1e-9)
        assert fine.odc.geobox.crs == UTM
        assert fine.odc.geobox.shape == (120, 100)
        assert fine.rio.transform().almost_equals(want, 1e-9)
        assert fine.rio.transform(recalc=True).almost_equals(want, 1e-6)
        assert fine.rio.bounds() == pytest.approx(array.rio.bounds(), abs=1e-6)
        assert fine.rio.crs == UTM

    def test_a_rotated_grid_of_odc(self) -> None:
        fine = upscale(georeferenced(ROTATED), Box())
        assert fine.odc.geobox.affine.almost_equals(ROTATED @ Affine.scale(0.5), 1e-9)
        assert fine.rio.transform().almost_equals(ROTATED @ Affine.scale(0.5), 1e-9)

    def test_a_cut_of_a_rotated_grid_of_odc(self) -> None:
        array = georeferenced(ROTATED)[7:, 9:]
        want = array.odc.geobox.affine @ Affine.scale(0.5)
        assert upscale(array, Box()).odc.geobox.affine.almost_equals(want, 1e-9)

    def test_a_rotated_grid_of_rioxarray(self) -> None:
        array = plain(scene(1, 20, 30)).rio.write_crs(UTM).rio.write_transform(ROTATED)
        fine = upscale(array, Box())
        assert "x" not in fine.coords
        assert fine.rio.transform().almost_equals(ROTATED @ Affine.scale(0.5), 1e-9)

    @pytest.mark.parametrize("cut", [(slice(None), slice(None)), (slice(3, 15), slice(7, None))])
    def test_a_rotated_file_as_rioxarray_opens_it(
        self, tmp_path: Path, cut: tuple[slice, slice]
    ) -> None:
        path = write_tif(tmp_path / "in.tif", texture((1, 20, 30)), transform=ROTATED)
        array = rioxarray.open_rasterio(path, chunks={"x": 16, "y": 16})
        assert "xc" in array.coords
        fine = upscale(array[:, *cut], Box())
        start = Affine.translation(cut[1].start or 0, cut[0].start or 0)
        want = ROTATED @ start @ Affine.scale(0.5)
        assert fine.rio.transform().almost_equals(want, 1e-6)
        with pytest.raises(SourceError, match="xc, yc"):
            upscale(array[:, ::2], Box())

    def test_a_cut_with_a_stale_transform_lies_where_its_coordinates_say(self) -> None:
        array = xr_zeros(
            GeoBox((60, 50), GRIDS["north-up"], UTM), dtype="uint8"
        ).rio.write_transform()
        fine = upscale(array[10:, 20:], Box())
        want = Affine(5, 0, 500_200, 0, -5, 4_999_900)
        assert fine.odc.geobox.affine.almost_equals(want, 1e-9)
        assert fine.rio.transform().almost_equals(want, 1e-9)

    def test_coordinates_without_a_system(self) -> None:
        array = plain(scene(20, 30), coords={"y": np.arange(20) + 0.5, "x": np.arange(30) * 2.0})
        fine = upscale(array, Box())
        np.testing.assert_allclose(fine.y[:3], [0.25, 0.75, 1.25])
        np.testing.assert_allclose(fine.x[:3], [-0.5, 0.5, 1.5])
        assert fine.rio.crs is None

    def test_no_coordinates_at_all(self) -> None:
        fine = upscale(plain(scene(20, 30)), Box(3))
        assert (fine.shape, dict(fine.coords)) == ((60, 90), {})

    def test_ground_control_points_are_scaled(self) -> None:
        gcps = [GroundControlPoint(r, c, 15 + c, 45 - r) for r, c in ((0, 0.5), (0, 9), (9, 0))]
        array = plain(scene(1, 9, 9)).rio.write_gcps(gcps, "EPSG:4326")
        found = upscale(array, Box()).rio.get_gcps()
        assert [(g.row, g.col, g.x, g.y) for g in found] == [
            (2 * g.row, 2 * g.col, g.x, g.y) for g in gcps
        ]

    def test_names_attributes_bands_and_encoding_are_kept(self) -> None:
        array = plain(
            scene(2, 20, 30),
            coords={"band": ["red", "nir"], "wavelength": ("band", [0.66, 0.85]), "time": 7},
            attrs={"units": "K", "STATISTICS_MEAN": 3, "transform": list(ROTATED)[:6]},
        )
        array.encoding = {"dtype": "uint16", "scale_factor": 0.1, "chunks": (1, 10, 10)}
        fine = upscale(array, Box())
        assert fine.name == "red"
        assert fine.attrs == {
            "units": "K",
            "transform": [5, 1, 500_000, 1.5, -5, 5_000_000],
        }
        assert fine.encoding == {"dtype": "uint16", "scale_factor": 0.1}
        assert fine.band.values.tolist() == ["red", "nir"]
        assert fine.wavelength.values.tolist() == [0.66, 0.85]
        assert fine.time.item() == 7

    def test_nodata_is_known_to_rioxarray(self) -> None:
        fine = upscale(georeferenced(GRIDS["north-up"]).rio.write_nodata(9), Box())
        assert fine.rio.nodata == 9

    def test_the_input_is_not_changed(self) -> None:
        array = georeferenced(GRIDS["north-up"]).rio.write_transform()
        before = array.copy(deep=True)
        upscale(array, Box()).compute(scheduler="synchronous")
        xr.testing.assert_identical(array, before)
        assert array.spatial_ref.attrs == before.spatial_ref.attrs


class TestRefusals:
    @pytest.mark.parametrize(
        ("array", "why"),
        [
            (plain(scene(20, 30)).T, r"dimensions \(x, y\)"),
            (plain(scene(20, 30)).rename(y="time"), r"dimensions \(time, x\)"),
            (plain(scene(20, 30).astype("complex64")), "complex64"),
            (plain(scene(20, 30).astype("int64")), "int64"),
            (plain(scene(20, 30)[:0]), "has no pixels"),
            (plain(scene(2, 3), coords={"lon": (("y", "x"), np.ones((2, 3)))}), "drop_vars"),
            (plain(scene(1, 3), coords={"y": [0.0], "x": [0.0, 1, 3]}), "coordinates"),
            (plain(scene(1, 2), coords={"y": ["a"], "x": [0.0, 1]}), "not numbers"),
            (plain(da.ones((4, 4), dtype="uint8")[da.arange(4) > 1]), "unknown size"),
        ],
    )
    def test_what_cannot_be_super_resolved_is_refused(self, array: xr.DataArray, why: str) -> None:
        with pytest.raises(SourceError, match=why):
            upscale(array, Box())

    @pytest.mark.parametrize("count", [1, 2, 4])
    def test_a_network_of_three_bands_takes_three(self, count: int) -> None:
        with pytest.raises(PlanError, match=f"takes 3 bands at once, the array has {count}"):
            upscale(plain(scene(count, 20, 30)), Box(bands=3))
        assert upscale(plain(scene(3, 20, 30)), Box(bands=3)).shape == (3, 40, 60)

    @pytest.mark.parametrize("transform", ["0 nan 0 0 0 1", "0 1 0 inf 0 1", "0 1 1 0 1 1"])
    def test_a_transform_that_maps_nowhere_is_refused(self, transform: str) -> None:
        array = plain(scene(20, 30)).assign_coords(spatial_ref=0)
        array.spatial_ref.attrs["GeoTransform"] = transform
        with pytest.raises(SourceError, match="maps pixels to nowhere"):
            upscale(array, Box())

    def test_a_tile_is_a_multiple_of_512(self) -> None:
        with pytest.raises(PlanError, match="multiple of 512, got 100"):
            upscale(plain(scene(20, 30)), Box(), tile=100)
