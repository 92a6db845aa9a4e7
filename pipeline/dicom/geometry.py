"""Where the pixels of a slice lie in a patient, and where those of a finer slice must.

Positions are of the centre of the first pixel, so a finer grid over the same body begins elsewhere:

    +-------+-------+          o  centre of a pixel of the source
    |.   .  |       |          .  centres of its fine pixels, scale 2
    |   o   |   o   |
    |.   .  |       |          first .  =  first o + (1/scale - 1)/2 pixels along both directions
    +-------+-------+

Lengths are millimetres in the patient's axes. DICOM PS3.3, section C.7.6.2.1.1: X, the first three
numbers of an orientation, points along a row; Y, the last three, down a column. PS3.3, section
10.7.1.3: a spacing is (between rows, between columns).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
"""(3,) along the axes of the patient, or several of them (n, 3)."""

LONGEST = 16
"""Characters of a decimal string. DICOM PS3.5, section 6.2."""


@dataclass(frozen=True, slots=True)
class Plane:
    """Where the pixels of one frame lie."""

    position: tuple[float, ...]
    """(x, y, z) of the centre of the first pixel."""
    orientation: tuple[float, ...]
    """Direction along a row, then down a column: six cosines."""
    spacing: tuple[float, float] | None = None
    """(between rows, between columns); None where unknown."""

    def __post_init__(self) -> None:
        if len(self.position) != 3 or len(self.orientation) != 6:
            raise ValueError(f"not a plane: {self}")

    @property
    def height(self) -> float:
        """Distance from the origin along the normal."""
        return float(np.dot(normal(self.orientation), self.position))


def normal(orientation: Sequence[float]) -> Vector:
    """(3,) unit vector across a slice; raises ValueError for directions that span no plane."""
    across = np.cross(orientation[:3], orientation[3:])
    length = float(np.linalg.norm(across))
    if not length > 1e-6:  # a NaN too
        raise ValueError(f"directions {tuple(orientation)} span no plane")
    return np.asarray(across / length, np.float64)


def fine_spacing(spacing: Sequence[float], scale: int) -> tuple[float, ...]:
    """(between rows, between columns) of pixels `scale` times finer."""
    return tuple(size / scale for size in spacing)


def fine_position(
    position: Sequence[float], orientation: Sequence[float], spacing: Sequence[float], scale: int
) -> tuple[float, float, float]:
    """(x, y, z) of the first pixel of a grid `scale` times finer with the same outer corners."""
    shift = (1 / scale - 1) / 2
    return _at(position, orientation, spacing, row=shift, column=shift)


def corners(
    position: Sequence[float],
    orientation: Sequence[float],
    spacing: Sequence[float],
    shape: tuple[int, int],
) -> Vector:
    """(4, 3) outer corners of an image of (rows, columns): what a finer grid may not move."""
    ends = [(row - 0.5, column - 0.5) for row in (0, shape[0]) for column in (0, shape[1])]
    return np.array([_at(position, orientation, spacing, row=y, column=x) for y, x in ends])


def affine(
    position: Sequence[float],
    orientation: Sequence[float],
    spacing: Sequence[float],
    step: Sequence[float],
) -> NDArray[np.float64]:
    """(4, 4) from (column, row, slice, 1) to (x, y, z, 1); `step` leads from slice to slice.

    DICOM PS3.3, equation C.7.6.2.1-1, with the slice as its third column.
    """
    down, right = spacing
    matrix = np.eye(4)
    matrix[:3, 0] = np.multiply(orientation[:3], right)
    matrix[:3, 1] = np.multiply(orientation[3:], down)
    matrix[:3, 2] = step
    matrix[:3, 3] = position
    return matrix


def decimal_string(value: float) -> str:
    """The text of at most 16 characters that is nearest to a finite number.

    Raises ValueError for numbers that are not finite.
    """
    if not math.isfinite(value):
        raise ValueError(f"{value} cannot be written as a decimal string")
    texts = (f"{value:.{digits}{style}}" for style in "gf" for digits in range(LONGEST + 2))
    fitting = [text for text in texts if len(text) <= LONGEST]
    nearest = min(fitting, key=lambda text: (abs(float(text) - value), len(text)))
    return nearest if float(nearest) else "0"


def _at(
    position: Sequence[float],
    orientation: Sequence[float],
    spacing: Sequence[float],
    *,
    row: float,
    column: float,
) -> tuple[float, float, float]:
    """(x, y, z) of a place in an image, in pixels from the centre of the first one."""
    down, right = spacing
    x, y, z = (
        start + along * right * column + across * down * row
        for start, along, across in zip(position, orientation[:3], orientation[3:], strict=True)
    )
    return x, y, z
