"""Where the voxels of a DICOM image lie, as OME-NGFF can say it: scale and translation, no turn.

Coordinates run along the image's own edges, not the patient's: x along a row, y down a column, z
from slice to slice, askew where the slices lie askew. Lengths are positive; which way they count is
told by the directions. The corner of the first pixel stays where it is on every level:

    corner      centre of the first pixel of a level = corner + half a pixel of that level
      +-----------+-----------+
      |     o     |           |       full resolution
      +-----+-----+-----------+
      |        level 1        |
      |           o           |

The directions that turn these into the patient's coordinates, which NGFF 0.5 lacks, stand beside.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pipeline.dicom.geometry import Plane, Vector, corners, fine_position, normal
from pipeline.dicom.order import TOGETHER

EVEN = 1e-3
"""Part of the usual step by which others may differ to be taken for rounded."""
EXACT = 1e-6
"""Millimetres within which one matrix holds a position."""
FLAT = 1e-2
"""Cosine between step and normal below which a step leads along the slice, not out of it."""
MICROMETRES = 1000.0
"""Of a millimetre."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an image lies, in units of `unit`, along its own edges."""

    spacing: tuple[float, float]
    """(y, x) size of a pixel of the source; 1 where it is unknown."""
    step: float = 1.0
    """From one frame to the next; above 0."""
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """(z, y, x) of the centre of the source's first pixel."""
    directions: tuple[tuple[float, ...], ...] = ()
    """Of x, y and z in the patient's coordinates; empty where they are unknown."""
    planes: tuple[Plane | None, ...] = ()
    """Of every frame, where their steps differ: one matrix does not hold them."""
    apart: float = 0.0
    """Most millimetres between a frame's first pixel and where the matrix has it."""
    unit: str | None = None
    """'millimeter' or 'micrometer'; None for pixels of unknown size."""

    def scale(self, factor: float) -> tuple[float, float, float]:
        """(z, y, x) of a pixel `factor` times as large as the source's."""
        return (self.step, self.spacing[0] * factor, self.spacing[1] * factor)

    def translation(self, factor: float) -> tuple[float, float, float]:
        """(z, y, x) of the centre of the first of such pixels."""
        grown = (factor - 1) / 2
        z, y, x = self.origin
        return (z, y + self.spacing[0] * grown, x + self.spacing[1] * grown)

    @property
    def affine(self) -> list[list[float]] | None:
        """(4, 4) from (x, y, z, 1) in these coordinates to the patient's (LPS), row by row."""
        if not self.directions:
            return None
        matrix = np.eye(4)
        matrix[:3, :3] = np.transpose(self.directions)
        rows: list[list[float]] = matrix.tolist()
        return rows

    def positions(self, scale: int) -> list[tuple[float, float, float] | None]:
        """(x, y, z) in millimetres of every frame's first pixel, `scale` times finer than it was.

        None where a frame's place is unknown; empty where the matrix says it all.
        """
        return [
            None
            if one is None
            else fine_position(one.position, one.orientation, one.spacing or self.spacing, scale)
            for one in self.planes
        ]


def place_frames(
    planes: Sequence[Plane | None], spacing: tuple[float, float] | None, *, step: float | None
) -> Place:
    """The place of frames that lie one behind the other, in millimetres.

    `spacing` and `step`, from frame to frame, count where the planes do not tell.
    """
    first = planes[0] if planes else None
    size = (first and first.spacing) or spacing
    if first is None or size is None:
        unit = None if size is None else "millimeter"
        return Place(size or (1.0, 1.0), step or 1.0, unit=unit)
    way = _way(planes, first, step=step)
    length = math.hypot(*way)
    directions = (*_directions(first.orientation)[:2], tuple((way / length).tolist()))
    x, y, z = np.linalg.solve(np.transpose(directions), first.position).tolist()
    apart = _apart(planes, size, way=way)
    return Place(
        size,
        length,
        origin=(z, y, x),
        directions=directions,
        planes=() if apart <= EXACT and None not in planes else tuple(planes),
        apart=apart,
        unit="millimeter",
    )


def _way(planes: Sequence[Plane | None], first: Plane, *, step: float | None) -> Vector:
    """(3,) from one frame to the next: as usual, or across the slice where frames tell of none."""
    across = normal(first.orientation)
    both = [(one, two) for one, two in pairwise(planes) if one is not None and two is not None]
    steps = np.array([np.subtract(two.position, one.position) for one, two in both]).reshape(-1, 3)
    steps = steps[np.linalg.norm(steps, axis=1) > TOGETHER]
    if len(steps):
        way = np.median(steps, axis=0)
        length = float(np.linalg.norm(way))
        if np.linalg.norm(steps - way, axis=1).max() <= max(EVEN * length, 2 * TOGETHER):
            way = steps.mean(axis=0)  # rounding does not add up
        if length > TOGETHER and abs(float(way @ across)) > FLAT * length:
            return np.asarray(way, np.float64)
    return across * (step or 1.0)


def _apart(planes: Sequence[Plane | None], size: tuple[float, float], *, way: Vector) -> float:
    """Most millimetres between first pixels and evenly spaced ones, at any of their corners."""
    found = {
        number: corners(plane.position, plane.orientation, plane.spacing or size, (1, 1))
        for number, plane in enumerate(planes)
        if plane is not None
    }
    return max(
        float(np.linalg.norm(found[number] - found[0] - number * way, axis=1).max())
        for number in found
    )


def place_slide(
    origin: Sequence[float], orientation: Sequence[float], spacing: tuple[float, float] | None
) -> Place:
    """The place of a slide, in micrometres; origin and orientation in the slide's coordinates.

    `origin` is (x, y) or (x, y, z) in millimetres of the first pixel's centre.
    """
    if spacing is None:
        return Place((1.0, 1.0))
    height, width = spacing
    size = (height * MICROMETRES, width * MICROMETRES)
    if len(orientation) != 6 or len(origin) < 2:
        return Place(size, unit="micrometer")
    directions = _directions(orientation)
    centre = np.array([*origin, 0.0][:3]) * MICROMETRES
    x, y, z = (float(np.dot(one, centre)) for one in directions)
    return Place(size, origin=(z, y, x), directions=directions, unit="micrometer")


def _directions(orientation: Sequence[float]) -> tuple[tuple[float, ...], ...]:
    """Of x, y and z: three numbers each."""
    return (
        tuple(orientation[:3]),
        tuple(orientation[3:]),
        tuple(float(one) for one in normal(orientation)),
    )
