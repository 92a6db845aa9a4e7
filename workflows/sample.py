"""The demo scene: an invented landscape as an optical satellite would deliver it.

Four bands of uint16 reflectance x 10000 on a UTM grid of 10 m, with a wedge of nodata at the edge
of the swath. Drawn window by window, so that it can be as large as the disk.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.windows
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioError
from rasterio.io import DatasetWriter

from pipeline.errors import PublishError
from pipeline.stage import unique
from pipeline.tiling import Window
from workflows.terrain import Light, landscape

BANDS = (("blue", 490), ("green", 560), ("red", 665), ("nir", 842))
"""Names and centre wavelengths in nanometres."""
SIDE = 512
"""Windows that are drawn at once, and blocks of the file."""
STRIP = 16
"""Rows that are drawn at once."""
NOISE = 6.0
"""Standard deviation of the sensor's noise in counts."""
TAGS = {
    "TIFFTAG_IMAGEDESCRIPTION": "An invented landscape, drawn by espcn",
    "TIFFTAG_DATETIME": "2025:06:21 10:20:31",
    "PRODUCT": "DEMO_L2A",
}
"""Dataset tags."""
IMAGERY = {
    "ACQUISITIONDATETIME": "2025-06-21 10:20:31",
    "SATELLITEID": "DEMO",
    "CLOUDCOVER": "0",
}
"""Tags of GDAL's IMAGERY domain."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What is drawn; the same values give the same pixels."""

    height: int = 1000
    """Rows."""
    width: int = 1200
    """Columns."""
    samples: int = 3
    """Ground samples per pixel along each axis, odd: 1 draws nine times as fast, with aliasing."""
    patch: int | None = None
    """Side, a multiple of 512, after which the ground repeats: vast scenes in little time."""
    seed: int = 1
    """Another number, another country."""


def generate(path: Path, scene: Scene = Scene()) -> None:
    """Write a scene as a tiled GeoTIFF, in one step; raises PublishError."""
    temporary = path.with_name(f".{unique()}.{path.name}")
    try:
        with rasterio.open(temporary, "w", **_creation(scene)) as file:
            _describe(file)
            for y in range(0, scene.height, SIDE):
                for x in range(0, scene.width, SIDE):
                    window = Window(y, x, SIDE, SIDE).clip(scene.height, scene.width)
                    native = rasterio.windows.Window(x, y, window.width, window.height)
                    file.write(draw(scene, window), window=native)
        temporary.replace(path)
    except (OSError, RasterioError) as error:
        reason = getattr(error, "strerror", None) or "is its directory there, with room?"
        raise PublishError(f"cannot be written ({reason})", uri=str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def draw(scene: Scene, window: Window) -> NDArray[np.uint16]:
    """(4, height, width) counts of a window no larger than a block; 0 is nodata."""
    patch = scene.patch
    y, x = (window.y, window.x) if patch is None else (window.y % patch, window.x % patch)
    counts = _counts(y, x, scene.samples, scene.seed)[:, : window.height, : window.width]
    rows, columns = np.ogrid[window.y : window.stop_y, window.x : window.stop_x]
    valid = columns + 0.12 * rows > 0.07 * scene.width
    return np.where(valid, counts, 0).astype(np.uint16)


@lru_cache(maxsize=64)
def _counts(y: int, x: int, samples: int, seed: int) -> NDArray[np.uint16]:
    """(4, 512, 512) counts from the ground at (y, x) on."""
    # in strips: temporaries that stay in the cache, and of which few are thrown away
    light = np.hstack([_light(y + top, x, samples, seed) for top in range(0, SIDE, STRIP)])
    grain = np.random.default_rng((seed, y, x)).normal(0, NOISE, light.shape)
    return np.clip(np.rint(light * 10000 + grain), 1, 65535).astype(np.uint16)


def _light(y: int, x: int, samples: int, seed: int) -> Light:
    """(4, STRIP, 512) reflectances from the ground at (y, x) on."""
    margin = samples // 2
    rows, columns = (
        (np.arange(-margin, side * samples + margin, dtype=np.float32) + 0.5) / samples
        for side in (STRIP, SIDE)
    )
    light = landscape((rows + y)[:, None], (columns + x)[None], seed=seed)
    for _ in range(2):
        light = _integrate(light, samples).swapaxes(1, 2)
    return light


def _integrate(light: Light, samples: int) -> Light:
    """Pixels along axis 1: a triangle two pixels wide, which is close to a sensor's response."""
    weights = np.convolve(np.ones(samples), np.ones(samples)) / samples**2
    length = light.shape[1] - 2 * (samples // 2)
    parts = (
        weight * light[:, i : i + length : samples].astype(np.float32)
        for i, weight in enumerate(weights)
    )
    return np.asarray(sum(parts), np.float32)


def _creation(scene: Scene) -> dict[str, Any]:
    """How the file is made."""
    return {
        "driver": "GTiff",
        "dtype": "uint16",
        "count": len(BANDS),
        "height": scene.height,
        "width": scene.width,
        "crs": "EPSG:32633",
        "transform": Affine(10, 0, 399960, 0, -10, 5300040),
        "nodata": 0,
        "tiled": True,
        "blockxsize": SIDE,
        "blockysize": SIDE,
        "compress": "deflate",
        "predictor": 2,
        "zlevel": 1,
        "bigtiff": "IF_SAFER",
    }


def _describe(file: DatasetWriter) -> None:
    """Names, units and tags."""
    file.descriptions = tuple(name for name, _ in BANDS)
    file.colorinterp = tuple(ColorInterp[name] for name, _ in BANDS)
    file.scales, file.units = (1e-4,) * len(BANDS), ("reflectance",) * len(BANDS)
    file.update_tags(**TAGS)
    file.update_tags(ns="IMAGERY", **IMAGERY)
    for number, (_, wavelength) in enumerate(BANDS, start=1):
        file.update_tags(number, WAVELENGTH_NM=str(wavelength))
