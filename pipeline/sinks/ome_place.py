"""Where the voxels of a DICOM image lie, as OME-NGFF can say it: scale and translation, no turn.

Coordinates run along the image's own edges, not the patient's: x along a row, y down a column, z
from slice to slice. The corner of the first pixel stays where it is on every level:

    corner      centre of the first pixel of a level = corner + half a pixel of that level
      +-----------+-----------+
      |     o     |           |       full resolution
      +-----+-----+-----------+
      |        level 1        |
      |           o           |

The directions that turn these into the patient's coordinates, which NGFF 0.5 lacks, stand beside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.dicom.geometry import Plane, normal

EVEN = 1e-3
"""Most that a gap between slices may differ from the others, as a part of it, to count as even."""
MICROMETRES = 1000.0
"""Of a millimetre."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an image lies, in units of `unit`, along its own edges."""

    spacing: tuple[float, float]
    """(y, x) size of a pixel of the source; 1 where it is unknown."""
    step: float = 1.0
    """From one frame to the next."""
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """(z, y, x) of the centre of the source's first pixel."""
    directions: tuple[tuple[float, ...], ...] = ()
    """Of x, y and z in the patient's coordinates; empty where they are unknown."""
    depths: tuple[float, ...] = ()
    """z of every frame, where their gaps differ."""
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


def place_frames(
    planes: Sequence[Plane | None], spacing: tuple[float, float] | None, *, step: float | None
) -> Place:
    """The place of frames that lie one behind the other, in millimetres.

    `spacing` and `step`, from frame to frame, count where the planes do not tell.
    """
    first = planes[0] if planes else None
    known = spacing or (None if first is None else first.spacing)
    size, unit = known or (1.0, 1.0), "millimeter" if known else None
    if first is None or unit is None:
        return Place(size, step or 1.0, unit=unit)
    directions = _directions(first.orientation)
    depths = [plane.height for plane in planes if plane is not None]
    gaps = np.diff(depths) if len(depths) == len(planes) else np.array([])
    middle = float(np.median(gaps)) if len(gaps) else step or 1.0
    uneven = len(gaps) > 0 and float(np.abs(gaps - middle).max()) > EVEN * abs(middle)
    x, y, z = (float(np.dot(one, first.position)) for one in directions)
    return Place(
        size,
        middle or step or 1.0,
        origin=(z, y, x),
        directions=directions,
        depths=tuple(depths) if uneven else (),
        unit=unit,
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
