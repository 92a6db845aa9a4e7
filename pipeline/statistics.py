"""Band statistics that do not depend on how the image was cut.

Sums of short integers are exact. Others are taken over fixed blocks of the output grid and added
exactly (as fractions): any tiling and any order of arrival give the same numbers to the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from pipeline.pyramid import BLOCK
from pipeline.radiometry import Mask, Pixels

CHUNK = 65_536
"""Values that are summed at once: as floats they stay close to the core, and the sum of the squares
of so many 16-bit integers is below 2**53, exact in whatever order."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """Of the valid pixels of one band."""

    count: int = 0
    """Valid pixels."""
    total: int = 0
    """All pixels."""
    minimum: float = math.inf
    """Smallest value; infinity where nothing is valid."""
    maximum: float = -math.inf
    """Largest value; minus infinity where nothing is valid."""
    sum: Fraction = Fraction(0)
    """Sum of values."""
    squares: Fraction = Fraction(0)
    """Sum of squared values."""

    def __add__(self, other: Statistics) -> Statistics:
        return Statistics(
            self.count + other.count,
            self.total + other.total,
            min(self.minimum, other.minimum),
            max(self.maximum, other.maximum),
            self.sum + other.sum,
            self.squares + other.squares,
        )

    @property
    def mean(self) -> float:
        """Arithmetic mean; NaN where nothing is valid."""
        return float(self.sum / self.count) if self.count else math.nan

    @property
    def deviation(self) -> float:
        """Population standard deviation; NaN where nothing is valid."""
        if not self.count:
            return math.nan
        variance = self.squares / self.count - (self.sum / self.count) ** 2
        return math.sqrt(max(float(variance), 0.0))


def measure(pixels: Pixels, valid: Mask | None) -> tuple[Statistics, ...]:
    """The statistics of each band of a tile (band, y, x) that starts on the grid of blocks."""
    if _exact(pixels.dtype):
        masks = [None] * len(pixels) if valid is None else valid
        return tuple(_of_short(band, mask) for band, mask in zip(pixels, masks, strict=True))
    return tuple(
        add_up(
            _of_block(pixels[band, y : y + BLOCK, x : x + BLOCK], mask)
            for y in range(0, pixels.shape[1], BLOCK)
            for x in range(0, pixels.shape[2], BLOCK)
            for mask in [None if valid is None else valid[band, y : y + BLOCK, x : x + BLOCK]]
        )
        for band in range(len(pixels))
    )


def add_up(parts: Iterable[Statistics]) -> Statistics:
    """The statistics of all parts together."""
    return sum(parts, Statistics())


def _exact(dtype: np.dtype[Any]) -> bool:
    """Whether float64 holds the sums of a chunk and of its squares exactly."""
    return dtype.kind != "f" and dtype.itemsize <= 2


def _of_short(band: Pixels, valid: Mask | None) -> Statistics:
    """Of integers (y, x) of up to 16 bits."""
    values = np.ravel(band) if valid is None else band[valid]
    if not values.size:
        return Statistics(total=band.size)
    total = squares = 0
    for start in range(0, values.size, CHUNK):
        reals = values[start : start + CHUNK].astype(np.float64)
        total, squares = total + int(reals.sum()), squares + int(reals @ reals)
    extremes = float(values.min()), float(values.max())
    return Statistics(values.size, band.size, *extremes, Fraction(total), Fraction(squares))


def _of_block(block: Pixels, valid: Mask | None) -> Statistics:
    """Summed in float64, in the order that the shape of the block gives."""
    values = block.ravel() if valid is None else block[valid]
    if not values.size:
        return Statistics(total=block.size)
    reals = values.astype(np.float64)
    total, squares = float(reals.sum()), float((reals * reals).sum())
    extremes = float(values.min()), float(values.max())
    return Statistics(values.size, block.size, *extremes, Fraction(total), Fraction(squares))
