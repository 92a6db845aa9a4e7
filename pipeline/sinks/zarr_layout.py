"""How the store is laid out, and how parts of it become objects.

    out.zarr/                 group: full resolution, opened by xr.open_zarr("out.zarr")
        image                 (band, y, x), stored counts
        mask                  (y, x), 255 where valid; only where the source has a mask
        band  y  x            coordinates; no y and x on rotated grids
        spatial_ref           coordinate reference system and GeoTransform
        1/  2/  ...           groups of the same kind, each half the resolution of the one before

Chunks are one band of 512 x 512 pixels. A shard is one tile of one level with all its bands, so
that one task alone writes each object; levels that no tile can make alone have the shards of the
last one that can. Pixels do not depend on the size of the tiles; objects do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import numcodecs  # type: ignore[import-untyped] # has no stubs
import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.abc.codec import BytesBytesCodec
from zarr.codecs import BloscCodec
from zarr.core.array_spec import ArrayConfigParams
from zarr.core.buffer import Buffer
from zarr.storage import MemoryStore

from pipeline.plan import Plan
from pipeline.pyramid import BLOCK
from pipeline.radiometry import as_code, dataset_mask
from pipeline.serial import Json
from pipeline.tiling import Window
from pipeline.top import Part, part_side

Array = zarr.Array[Any]
Objects = dict[str, Buffer]
"""A store in memory."""

BLOSC = {"deflate": "zlib", "zstd": "zstd"}
"""Blosc's names of the codecs that a Zarr store can have; zlib's streams are DEFLATE. Inside Blosc
because its bit shuffle takes 16-bit images from 0.83 to 0.60 of their size."""
METADATA = ("zarr.json", ".zgroup", ".zarray", ".zattrs", ".zmetadata")
"""Names of the objects that hold no pixels."""


def group_path(level: int) -> str:
    """Where a level lies in the store: full resolution at its root."""
    return str(level) if level else ""


def array_path(level: int, name: str) -> str:
    """Where an array of a level lies in the store."""
    return f"{level}/{name}" if level else name


@dataclass(frozen=True, slots=True)
class Form:
    """How an array is stored."""

    shape: tuple[int, ...]
    """Its size."""
    dtype: np.dtype[Any]
    """Its data type."""
    dims: tuple[str, ...]
    """Names of its axes."""
    chunks: tuple[int, ...]
    """Size of a chunk."""
    shards: tuple[int, ...] | None = None
    """Size of a shard, whole chunks; None for no shards."""
    fill: Any = None
    """Value that means nodata; None for none."""


def create_image(
    objects: Objects, plan: Plan, level: int, attributes: dict[str, Json] | None = None
) -> Array:
    """The image of a level (band, y, x), without pixels."""
    dtype, bands = np.dtype(plan.profile.dtype), len(plan.profile.bands)
    form = Form(
        shape=(bands, *plan.levels[level]),
        dtype=dtype,
        dims=("band", "y", "x"),
        chunks=(1, *chunk_of(plan, level)),
        shards=(bands, *shard_of(plan, level)),
        fill=as_code(plan.fine.nodata, dtype),
    )
    path = array_path(level, "image")
    return create_array(objects, plan, path=path, form=form, attributes=attributes)


def create_mask(
    objects: Objects, plan: Plan, level: int, attributes: dict[str, Json] | None = None
) -> Array:
    """The mask of a level (y, x), without pixels."""
    form = Form(
        shape=plan.levels[level],
        dtype=np.dtype(np.uint8),
        dims=("y", "x"),
        chunks=chunk_of(plan, level),
        shards=shard_of(plan, level),
    )
    path = array_path(level, "mask")
    return create_array(objects, plan, path=path, form=form, attributes=attributes)


def create_values(
    objects: Objects,
    plan: Plan,
    *,
    path: str,
    values: NDArray[Any],
    attributes: dict[str, Json],
) -> None:
    """A coordinate along the axis of its name, or a scalar, with its values in one object."""
    dims = (path.rpartition("/")[2],) if values.ndim else ()
    form = Form(values.shape, values.dtype, dims, chunks=values.shape)
    create_array(objects, plan, path=path, form=form, attributes=attributes)[...] = values


def create_array(
    objects: Objects, plan: Plan, *, path: str, form: Form, attributes: dict[str, Json] | None
) -> Array:
    """An array without pixels, in the version of Zarr and with the codec that the plan names."""
    # all objects exist, also those of fill values only: a missing one is damage
    config: ArrayConfigParams = {"write_empty_chunks": True}
    if plan.output.zarr_format == 2:
        labelled: dict[str, Json] = {"_ARRAY_DIMENSIONS": list(form.dims), **(attributes or {})}
        return zarr.create_array(
            MemoryStore(objects),
            name=path,
            shape=form.shape,
            dtype=form.dtype,
            chunks=form.chunks,
            filters=None,
            compressors=_codec_v2(plan),
            # xarray takes fill_value of v2 for _FillValue: none where nothing is nodata
            fill_value=form.fill,
            zarr_format=2,
            attributes=labelled,  # type: ignore[arg-type] # dict is invariant; zarr only reads it
            chunk_key_encoding={"name": "v2", "separator": "/"},
            config=config,
        )
    return zarr.create_array(
        MemoryStore(objects),
        name=path,
        shape=form.shape,
        dtype=form.dtype,
        chunks=form.chunks,
        shards=form.shards if plan.output.zarr_sharded else None,
        filters=None,
        compressors=_codec_v3(plan),
        fill_value=0 if form.fill is None else form.fill,
        attributes=attributes,  # type: ignore[arg-type] # dict is invariant; zarr only reads it
        dimension_names=form.dims,
        config=config,
    )


def _codec_v3(plan: Plan) -> BytesBytesCodec | None:
    name = BLOSC.get(plan.output.compress)
    return name and BloscCodec(cname=name, clevel=1, shuffle="bitshuffle")  # type: ignore[return-value,arg-type] # None or a name of Blosc's


def _codec_v2(plan: Plan) -> numcodecs.Blosc | None:
    name = BLOSC.get(plan.output.compress)
    return name and numcodecs.Blosc(cname=name, clevel=1, shuffle=numcodecs.Blosc.BITSHUFFLE)


def chunk_of(plan: Plan, level: int) -> tuple[int, int]:
    """(y, x) of a chunk; as small as a level that is smaller."""
    height, width = plan.levels[level]
    return min(BLOCK, height), min(BLOCK, width)


def shard_of(plan: Plan, level: int) -> tuple[int, int]:
    """(y, x) of a shard: a part of the level; whole chunks."""
    side = part_side(plan, level)
    y, x = chunk_of(plan, level)
    height, width = plan.levels[level]
    return min(side, -(-height // y) * y), min(side, -(-width // x) * x)


def encode(plan: Plan, part: Part) -> Iterator[tuple[str, memoryview]]:
    """(key, bytes) of the objects that hold a part of a level."""
    objects: Objects = {}
    side, shape = part_side(plan, part.level), part.pixels.shape[1:]
    window = Window(part.row * side, part.column * side, *shape).slices
    create_image(objects, plan, part.level)[:, *window] = part.pixels
    if plan.fine.mask:
        valid = dataset_mask(part.valid, alpha=plan.profile.alpha, shape=shape)
        create_mask(objects, plan, part.level)[window] = np.where(valid, 255, 0).astype(np.uint8)
    yield from objects_of(objects)


def objects_of(objects: Objects) -> Iterator[tuple[str, memoryview]]:
    """(key, bytes) of what holds pixels."""
    for key in sorted(objects):
        if key.rpartition("/")[2] not in METADATA:
            yield key, data_of(objects[key])


def data_of(value: Buffer) -> memoryview:
    """The bytes of an object, not copied."""
    return cast("NDArray[np.uint8]", value.as_numpy_array()).data
