"""The contracts, over every format that ships."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
import rasterio.shutil
import xarray as xr
from contracts import SinkContract, SourceContract
from fakes import write_tif

from pipeline.options import OutputOptions
from pipeline.radiometry import Pixels


class TestGeoTiffSource(SourceContract):
    """GDAL's reading of a GeoTIFF."""

    def make(self, folder: Path) -> Path:
        return write_tif(folder / "in.tif", self.pixels, tiled=True, blockxsize=32, blockysize=32)


class TestJpeg2000Source(SourceContract):
    """GDAL's reading of JPEG 2000, without loss."""

    def make(self, folder: Path) -> Path:
        tif = write_tif(folder / "in.tif", self.pixels)
        target = folder / "in.jp2"
        rasterio.shutil.copy(tif, target, driver="JP2OpenJPEG", QUALITY="100", REVERSIBLE="YES")
        return target


class TestVrtSource(SourceContract):
    """A VRT over a local file."""

    def make(self, folder: Path) -> Path:
        tif = write_tif(folder / "in.tif", self.pixels)
        rasterio.shutil.copy(tif, folder / "in.vrt", driver="VRT")
        return folder / "in.vrt"


class TestZarrSource(SourceContract):
    """A store that xarray wrote."""

    def make(self, folder: Path) -> Path:
        array = xr.DataArray(self.pixels, dims=("band", "y", "x"), name="image")
        array.to_dataset().to_zarr(
            folder / "in.zarr", mode="w", zarr_format=2, consolidated=True,
            encoding={"image": {"chunks": (1, 32, 40)}},
        )  # fmt: skip
        return folder / "in.zarr"


class TestCogSink(SinkContract):
    """Cloud-Optimized GeoTIFF."""

    target = "out.tif"

    def read(self, path: Path) -> Pixels:
        with rasterio.open(path) as dataset:
            pixels: Pixels = dataset.read()
        return pixels


class TestPngSink(TestCogSink):
    """PNG."""

    target = "out.png"


class TestZarrSink(SinkContract):
    """Zarr v3, sharded."""

    target = "out.zarr"

    def read(self, path: Path) -> Pixels:
        with xr.open_zarr(path, mask_and_scale=False) as store:
            return np.asarray(store.image)


class TestZarr2Sink(TestZarrSink):
    """Zarr v2."""

    output = OutputOptions(zarr_format=2)


class TestUnshardedZarrSink(TestZarrSink):
    """Zarr v3 with one object per chunk."""

    output = OutputOptions(zarr_sharded=False)
