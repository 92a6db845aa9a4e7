"""How an OME-Zarr store of a DICOM image is laid out.

    out.zarr/         group: what the axes mean, how the levels lie
        0  1  2 ...   arrays, each half the resolution of the one before

    a volume          ([c,] z, y, x)     slices in the order of their positions
    a film            (t, [c,] y, x)     frames without positions
    a slide           (c, [z,] y, x)     focal planes, where there are several

Chunks are one band of one frame, 512 x 512 pixels of it. A shard is what a tile makes of one level:
all bands of its part of a frame.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pipeline.plan import Plan
from pipeline.profile import Profile
from pipeline.radiometry import as_code
from pipeline.serial import Json
from pipeline.sinks.zarr_layout import (
    Array,
    Form,
    Objects,
    chunk_of,
    create_array,
    objects_of,
    shard_of,
)
from pipeline.top import Part, part_side

ORDER = "tczyx"
"""In which NGFF 0.5 wants axes: time, channels, space."""


def frame_axis(profile: Profile) -> str | None:
    """What leads from frame to frame: z, t, or nothing where there is one frame that lies nowhere.

    Frames of a series are slices; those of one file are a film unless they have positions.
    """
    tags = profile.dicom
    if profile.slide:
        return "z" if profile.frames > 1 else None
    if "ImagePositionPatient" in tags:
        return "z"
    return "t" if profile.frames > 1 else None


def axes(profile: Profile) -> str:
    """Names of the axes in their order, a letter each."""
    colours = "c" if len(profile.bands) > 1 or profile.slide else ""
    found = {*"yx", *colours, *(frame_axis(profile) or "")}
    return "".join(name for name in ORDER if name in found)


def create_level(
    objects: Objects, plan: Plan, level: int, attributes: dict[str, Json] | None = None
) -> Array:
    """The array of a level, without pixels."""
    profile, names = plan.profile, axes(plan.profile)
    dtype, bands = np.dtype(profile.dtype), len(profile.bands)
    size = dict(zip("yx", plan.levels[level], strict=True)) | {"c": bands}
    size |= dict.fromkeys("zt", profile.frames)
    chunk = dict(zip("yx", chunk_of(plan, level), strict=True))
    shard = dict(zip("yx", shard_of(plan, level), strict=True)) | {"c": bands}
    form = Form(
        shape=tuple(size[name] for name in names),
        dtype=dtype,
        dims=tuple(names),
        chunks=tuple(chunk.get(name, 1) for name in names),
        shards=tuple(shard.get(name, 1) for name in names),
        fill=as_code(plan.fine.nodata, dtype),
    )
    return create_array(objects, plan, path=str(level), form=form, attributes=attributes)


def encode(plan: Plan, part: Part, frame: int) -> Iterator[tuple[str, memoryview]]:
    """(key, bytes) of the objects that hold a part of a level of a frame."""
    objects: Objects = {}
    array, side = create_level(objects, plan, part.level), part_side(plan, part.level)
    height, width = part.pixels.shape[1:]
    place: dict[str, slice | int] = {
        "y": slice(part.row * side, part.row * side + height),
        "x": slice(part.column * side, part.column * side + width),
        **dict.fromkeys("zt", frame),
    }
    names = axes(plan.profile)
    pixels = part.pixels if "c" in names else part.pixels[0]
    array[tuple(place.get(name, slice(None)) for name in names)] = pixels
    yield from objects_of(objects)
