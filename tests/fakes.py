"""Small stand-ins: networks that are exact by construction, rasters with every kind of metadata."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.lib.stride_tricks import sliding_window_view

from pipeline.georef import Georef
from pipeline.kernel import Recipe, make_tiling, upscale_tile
from pipeline.profile import Band, Identity, Profile, Role
from pipeline.radiometry import Mask, Pixels, Radiometry


@dataclass(frozen=True)
class FakeNetwork:
    """Looks at every pixel of its receptive field: one missing or wrong changes the result.

    Integers in, exactly representable sums out, so equality to the bit is a fair demand.
    """

    scale: int = 2
    halo: int = 4
    bands: int = 1
    band_names: tuple[str, ...] = ()
    block: int = 48
    fixed: bool = False
    native: bool = False
    input_range: tuple[float, float] | None = None
    value_range: tuple[float, float] | None = None

    def __call__(self, pixels: np.ndarray, /) -> np.ndarray:
        side = 2 * self.halo + 1
        if self.fixed:
            assert pixels.shape[1:] == (self.block + 2 * self.halo,) * 2
        assert pixels.dtype == np.float32
        assert pixels.flags.c_contiguous
        windows = sliding_window_view(pixels, (side, side), axis=(1, 2))
        weights = (np.arange(side * side).reshape(side, side) % 7 + 1).astype(np.float32)
        mixed = (windows * weights).sum(axis=(-1, -2)) / np.float32(128)
        fine = mixed.repeat(self.scale, axis=1).repeat(self.scale, axis=2)
        rows, columns = (np.arange(side) % self.scale for side in fine.shape[1:])
        phase = np.add.outer(rows, columns)
        return (fine + phase.astype(np.float32)).astype(np.float32)

    def planes(self, pixels: np.ndarray, /, *, band: int = 0) -> np.ndarray:  # noqa: ARG002
        return as_planes(self(pixels), self.scale)


def as_planes(fine: np.ndarray, side: int) -> np.ndarray:
    """(band, y, x) as planes of that side, with a surplus row and column."""
    bands, height, width = fine.shape
    fine = np.pad(fine, ((0, 0), (0, side + -height % side), (0, side + -width % side)))
    split = fine.reshape(bands, fine.shape[1] // side, side, fine.shape[2] // side, side)
    return np.ascontiguousarray(split.transpose(0, 2, 4, 1, 3))


def make_profile(
    shape: tuple[int, int, int],
    dtype: str = "uint16",
    *,
    nodata: float | None = None,
    mask: bool = False,
    roles: Sequence[Role] = (),
    saturated: float | None = None,
    georef: Georef | None = None,
) -> Profile:
    """A profile of `shape` (band, y, x)."""
    bands, height, width = shape
    roles = roles or ("light",) * bands
    return Profile(
        uri="/nowhere/scene.tif",
        driver="GTiff",
        height=height,
        width=width,
        dtype=dtype,
        bands=tuple(Band(i + 1, role=role) for i, role in enumerate(roles)),
        identity=Identity(1, 2, "0"),
        georef=georef or Georef(),
        nodata=nodata,
        mask=mask,
        saturated=saturated,
    )


def upscale_array(
    pixels: Pixels,
    network: Any,
    *,
    side: int,
    nodata: float | None = None,
    mask: Mask | None = None,
    roles: Sequence[Role] = (),
    saturated: float | None = None,
    centre: float = 0.0,
) -> tuple[Pixels, Mask]:
    """(fine pixels, validity) of a whole array, tile by tile."""
    profile = make_profile(
        pixels.shape, pixels.dtype.name, nodata=nodata, mask=mask is not None, roles=roles
    )
    radiometry = Radiometry(
        pixels.dtype.name,
        1.0,
        (centre,) * len(pixels),
        nodata=None if mask is not None else nodata,
        saturated=saturated,
    )
    tiling = make_tiling(*pixels.shape[1:], network, side=side)
    recipe = Recipe(profile, tiling, radiometry, network)
    fine = np.empty((len(pixels), *tiling.shape), pixels.dtype)
    valid = np.ones(fine.shape, bool)
    for tile in tiling:
        rows, columns = tiling.read(tile).slices
        part = None if mask is None else mask[rows, columns]
        done = upscale_tile(recipe, tile, pixels[:, rows, columns], part)
        here = (slice(None), *tile.write.slices)
        fine[here] = done.pixels
        valid[here] = True if done.valid is None else done.valid
    return fine, valid


def write_tif(path: Path, pixels: Pixels, **options: Any) -> Path:
    """A small GeoTIFF; `options` go to rasterio.open."""
    bands, height, width = pixels.shape
    described = {
        "driver": "GTiff",
        "count": bands,
        "height": height,
        "width": width,
        "dtype": pixels.dtype.name,
        "crs": "EPSG:32633",
        "transform": rasterio.Affine(10, 0, 500_000, 0, -10, 4_000_000),
    }
    with rasterio.open(path, "w", **(described | options)) as dataset:
        dataset.write(pixels)
    return path


def texture(shape: tuple[int, int, int], dtype: str = "uint16", *, seed: int = 0) -> Pixels:
    """Smooth random texture (band, y, x) between 100 and 3100, scaled down to 8 bits if need be."""
    rng = np.random.default_rng(seed)
    coarse = rng.random((shape[0], shape[1] // 4 + 3, shape[2] // 4 + 3))
    fine = coarse.repeat(4, axis=1).repeat(4, axis=2)
    fine = (fine[:, :-4, :-4] + fine[:, 2:-2, 3:-1] + fine[:, 4:, 4:])[:, : shape[1], : shape[2]]
    top = 80 if np.dtype(dtype).itemsize == 1 else 1000
    return (100 + fine / 3 * 3 * top / (1 if top > 80 else 3)).astype(dtype)


@dataclass(frozen=True)
class Box:
    """A network of three lines: a 3 x 3 mean that tells the fine pixels of one pixel apart."""

    scale: int = 2
    halo: int = 1
    bands: int = 1
    band_names: tuple[str, ...] = ()
    block: int = 100
    fixed: bool = False
    native: bool = False
    input_range: tuple[float, float] | None = None
    value_range: tuple[float, float] | None = None

    def __call__(self, pixels: np.ndarray, /) -> np.ndarray:
        height, width = pixels.shape[1] - 2, pixels.shape[2] - 2
        nine = [pixels[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
        fine = (sum(nine[1:], nine[0]) / np.float32(9)).repeat(self.scale, 1).repeat(self.scale, 2)
        fine[:, :: self.scale, :: self.scale] += np.float32(3)
        return fine

    def planes(self, pixels: np.ndarray, /, *, band: int = 0) -> np.ndarray:  # noqa: ARG002
        return self(pixels)[:, None, None]
