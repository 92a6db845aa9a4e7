"""The lazy façade: a georeferenced array in, a finer one out, nothing read until it is computed.

    import espcn, pipeline, xarray
    scene = xarray.open_zarr("scene.zarr")["image"]
    fine = pipeline.upscale(scene, espcn.load("general-x2"))
    fine[:, :1000, :1000].compute()          # reads and computes the touched tiles only

The kernel is that of the file pipeline, and so are the pixels, but for one thing: a file's scene is
centred on a constant that a few windows of it suggest, here nothing may be read, so it is 0. The
two agree within 1 count for integers and 1e-5 of the range for floats.
"""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Hashable, Sequence
from itertools import accumulate
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph
from numpy.typing import NDArray

from pipeline.bands import check_bands
from pipeline.doubts import doubts
from pipeline.errors import SourceError
from pipeline.kernel import Recipe, Upscaler, make_tiling, upscale_tile
from pipeline.labels import Labels, read_labels
from pipeline.options import RadiometryOptions, TilingOptions
from pipeline.plan import choose_side
from pipeline.profile import Band, Identity, Profile
from pipeline.radiometry import SUPPORTED, Pixels, Radiometry
from pipeline.survey import normalisation
from pipeline.tiling import Tile, Tiling, Window

logger = logging.getLogger(__name__)

TILE_MEMORY = 2**30
"""Bytes that one tile may take where none is asked for."""
SOURCE_CHUNK = 1024
"""Side of the chunks that an array in memory or in a file is cut into."""

OPTIONS = RadiometryOptions()
"""How values are understood: as the network's training and their data type have it."""

Graph = dict[Any, Any]


def upscale(
    data_array: xr.DataArray, upscaler: Upscaler, *, tile: int | None = None
) -> xr.DataArray:
    """The array on a grid `upscaler.scale` times finer: lazy, with its labels.

    Dimensions are (band, y, x) or (y, x); every band is light, none alpha or codes. `tile` is the
    side of a chunk of the result, a multiple of 512. Kept are the data type, name, attributes,
    encoding and coordinates of bands; x, y and spatial_ref become those of the finer grid, whose
    outer corners are the same. Invalid is what `_FillValue` or `nodata` name, and NaN. Raises
    SourceError for arrays that cannot be super-resolved, and PlanError for a wrong `tile` and for
    bands or values that are not those that the network needs; what should be known before is logged
    as a warning.
    """
    labels = read_labels(data_array)
    source = _chunked(data_array, labels)
    recipe = _recipe(data_array, labels, upscaler, tile)
    for line in doubts(recipe.profile, upscaler, OPTIONS, model="the model", scene="the array"):
        logger.warning(line)
    fine = _lazy(source if source.ndim == 3 else source[None], recipe)
    pixels = xr.Variable(data_array.dims, fine if source.ndim == 3 else fine[0])
    return labels.dress(pixels, scale=upscaler.scale)


def _recipe(
    data_array: xr.DataArray, labels: Labels, upscaler: Upscaler, tile: int | None
) -> Recipe:
    """How every tile is made, from the labels alone."""
    dtype = data_array.dtype
    if dtype.name not in SUPPORTED:
        raise SourceError(
            f"holds {dtype.name} values, which are not supported; convert it to one of "
            f"{', '.join(SUPPORTED)}",
            uri=labels.uri,
        )
    *bands, height, width = data_array.shape
    count = bands[0] if bands else 1
    if not count * height * width:
        raise SourceError(f"has no pixels: its shape is {data_array.shape}", uri=labels.uri)
    profile = Profile(
        uri=labels.uri,
        driver="xarray",
        height=height,
        width=width,
        dtype=dtype.name,
        bands=tuple(Band(number, name) for number, name in enumerate(labels.bands(count), 1)),
        identity=Identity(0, 0, ""),
        nodata=labels.nodata,
    )
    check_bands(profile, upscaler, model="the model", scene="the array", select=_by_isel)
    options = TilingOptions(tile=tile)
    side = choose_side(profile, upscaler, options, memory=TILE_MEMORY, threads=1)
    tiling = make_tiling(height, width, upscaler, side=side)
    return Recipe(profile, tiling, _radiometry(profile, upscaler), upscaler)


def _by_isel(numbers: Sequence[int]) -> str:
    """How bands are selected from an array."""
    chosen = str([number - 1 for number in numbers]) if numbers else "..."
    return f"select them with isel(band={chosen})"


def _radiometry(profile: Profile, upscaler: Upscaler) -> Radiometry:
    """As of a scene that nothing was read of; raises PlanError where a range is needed and not
    known."""
    kind = np.dtype(profile.dtype)
    gain, shift = normalisation(profile, OPTIONS, upscaler) or (1.0, 0.0)
    wide = kind.kind != "f" and kind.itemsize > 1
    return Radiometry(
        dtype=profile.dtype,
        gain=gain,
        centre=(shift,) * len(profile.bands),
        nodata=profile.nodata,
        saturated=float(np.iinfo(kind).max) if wide else None,
    )


def _chunked(data_array: xr.DataArray, labels: Labels) -> da.Array:
    """The values as a dask array; what is not one yet is cut without being read."""
    if data_array.chunks is None:
        y, x = data_array.dims[-2:]
        data_array = data_array.chunk({y: SOURCE_CHUNK, x: SOURCE_CHUNK})
    chunked: da.Array = data_array.data
    if any(np.isnan(size) for sizes in chunked.chunks for size in sizes):
        raise SourceError(
            "has chunks of unknown size; call compute_chunk_sizes() on its data", uri=labels.uri
        )
    return chunked


def _lazy(source: da.Array, recipe: Recipe) -> da.Array:
    """One task per tile, which depends on the source chunks that it reads and on nothing else."""
    token = tokenize(source.name, recipe.profile, recipe.tiling, recipe.radiometry, recipe.upscaler)
    name, shared = f"upscale-{token}", f"upscale-recipe-{token}"
    graph: Graph = {shared: recipe}
    starts = [[0, *accumulate(sizes)] for sizes in source.chunks]
    for tile in recipe.tiling:
        blocks, corner = _blocks(source, starts, recipe.tiling.read(tile))
        graph[name, 0, tile.row, tile.column] = (_make, shared, tile.index, corner, blocks)
    layers = HighLevelGraph.from_collections(name, graph, dependencies=[source])  # type: ignore[list-item] # dask's own array
    chunks = ((source.shape[0],), *_sizes(recipe.tiling))
    return da.Array(layers, name, chunks, dtype=source.dtype)  # type: ignore[no-untyped-call] # dask


def _sizes(tiling: Tiling) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Heights of all rows of tiles, and widths of all columns."""
    rows: list[Tile] = [tiling.tile(row * tiling.columns) for row in range(tiling.rows)]
    columns: list[Tile] = [tiling.tile(column) for column in range(tiling.columns)]
    return tuple(t.write.height for t in rows), tuple(t.write.width for t in columns)


def _blocks(
    source: da.Array, starts: list[list[int]], window: Window
) -> tuple[list[list[list[Hashable]]], tuple[int, int]]:
    """Keys of the source chunks that cover a window, nested as `numpy.block` wants them, and the
    first row and column that they hold."""
    rows = _touched(starts[1], window.y, window.stop_y)
    columns = _touched(starts[2], window.x, window.stop_x)
    keys: list[list[list[Hashable]]] = [
        [[(source.name, band, row, column) for column in columns] for row in rows]
        for band in range(source.numblocks[0])
    ]
    return keys, (starts[1][rows[0]], starts[2][columns[0]])


def _touched(starts: list[int], first: int, stop: int) -> range:
    """Numbers of the chunks that hold [first, stop)."""
    return range(bisect_right(starts, first) - 1, bisect_right(starts, stop - 1))


def _make(
    recipe: Recipe, index: int, corner: tuple[int, int], blocks: list[list[list[NDArray[Any]]]]
) -> Pixels:
    """The task of a tile."""
    tile = recipe.tiling.tile(index)
    have: Pixels = np.block(blocks)
    window = recipe.tiling.read(tile).within(Window(*corner, *have.shape[1:]))
    return upscale_tile(recipe, tile, have[:, *window.slices], None).pixels
