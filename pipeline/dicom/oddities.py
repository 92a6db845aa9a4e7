"""What is odd about a stack of slices: tilt, gaps, images at one place, missing positions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from pipeline.dicom.geometry import Plane, Vector, normal
from pipeline.dicom.instances import Instance
from pipeline.dicom.order import TOGETHER, levels

UNEVEN = 0.01
"""Part of the usual distance by which one may differ; headers round them."""
LEAST = 0.02
"""Millimetres by which a distance may always differ."""
SKEWED = 1e-2
"""By which products of directions may differ from those of unit vectors at right angles."""
LEANING = 0.1
"""Degrees from which a stack is tilted."""


def oddities(instances: Sequence[Instance]) -> tuple[str, ...]:
    """Flags of a stack in its order; they tell of no patient."""
    if instances[0].kind == "slide":
        return ()
    planes = [plane for one in instances for plane in one.planes]
    return (*_of_images(instances), *_missing(instances, planes), *_of_places(planes))


def step_of(planes: Sequence[Plane | None]) -> float | None:
    """Usual distance from slice to slice in millimetres; None where there are not two places."""
    steps = _steps([plane for plane in planes if plane is not None])
    return float(np.median(steps)) if len(steps) else None


def lean_of(planes: Sequence[Plane | None]) -> float:
    """Degrees between the normal and the line along which the slices lie."""
    known = [plane for plane in planes if plane is not None]
    if len(known) < 2 or not len(_steps(known)):
        return 0.0
    across = normal(known[0].orientation)
    heights = [float(np.dot(across, plane.position)) for plane in known]
    low, high = known[int(np.argmin(heights))], known[int(np.argmax(heights))]
    way = np.subtract(high.position, low.position)
    along = float(np.dot(way, across))
    return math.degrees(math.atan2(float(np.linalg.norm(way - along * across)), along))


def plural(count: int, what: str) -> str:
    """A number and what it is of: 1 file, 2 files."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def _of_images(instances: Sequence[Instance]) -> Iterator[str]:
    if any(one.localizer for one in instances):
        yield "localizer"
    tilts = {round(one.tilt, 2) for one in instances if abs(one.tilt) > LEANING}
    if tilts:
        yield f"gantry tilt of {max(tilts, key=abs):g} degrees"
    if len({one.rescale for one in instances}) > 1:
        yield "values are rescaled differently from image to image"
    yield from sorted({one.doubt for one in instances if one.doubt})[:1]
    broken = [one.broken for one in instances if one.broken]
    if broken:
        count = f"{len(broken)} of {plural(len(instances), 'file')}"
        yield f"{count} cannot be used, for it {broken[0]}"
    excess = sum(one.excess for one in instances)
    if excess:
        yield f"{plural(excess, 'file')} with more frames than told, which are left out"


def _missing(instances: Sequence[Instance], planes: Sequence[Plane | None]) -> Iterator[str]:
    """Where some say where they lie, and others do not."""
    missing = planes.count(None)
    if 0 < missing < len(planes):
        how = ": ordered by number" if instances[0].kind == "classic" else ""
        yield f"{missing} of {len(planes)} images have no position{how}"


def _of_places(planes: Sequence[Plane | None]) -> Iterator[str]:
    known = [plane for plane in planes if plane is not None]
    facing = np.array([plane.orientation for plane in known]).reshape(-1, 2, 3)
    across = facing @ np.swapaxes(facing, 1, 2)
    if known and np.abs(across - np.eye(2)).max() > SKEWED:
        yield "rows and columns are not at right angles"
    if len(known) < 2:
        return
    if np.abs(facing - facing[0]).max() > 1e-3:
        yield "several orientations"
        return
    lean = lean_of(known)
    if lean > LEANING:
        yield f"slices lie askew by {lean:.1f} degrees, as of a tilted gantry"
    heights = _heights(known)
    if len(np.unique(levels(heights))) < len(known):
        yield "several images at one place"
    steps = _steps(known)
    if len(steps) > 1 and np.abs(steps - np.median(steps)).max() > max(
        UNEVEN * float(np.median(steps)), LEAST
    ):
        yield f"uneven spacing, {steps.min():.4g} to {steps.max():.4g} mm between slices"


def _heights(known: Sequence[Plane]) -> Vector:
    return np.array([plane.position for plane in known]) @ normal(known[0].orientation)


def _steps(known: Sequence[Plane]) -> Vector:
    """Distances between neighbouring places."""
    if len(known) < 2:
        return np.empty(0)
    steps = np.diff(np.sort(_heights(known)))
    return np.asarray(steps[steps > TOGETHER], np.float64)
