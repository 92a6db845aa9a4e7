"""Band statistics that do not depend on how the image was cut.

Sums are taken over fixed blocks of the output grid and added exactly (as fractions), so that any
tiling and any order of arrival give the same numbers to the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from pipeline.pyramid import BLOCK
from pipeline.radiometry import Mask, Pixels

ROWS = 32
"""Rows of a block that are summed at once: as floats they stay close to the core."""


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


def _of_block(block: Pixels, valid: Mask | None) -> Statistics:
    # once in one piece: every pass over a part of a tile would copy it anew
    values = np.ascontiguousarray(block) if valid is None else block[valid][None]
    if not values.size:
        return Statistics(total=block.size)
    exact = values.dtype.kind != "f" and values.dtype.itemsize <= 2
    total, squares = _whole_sums(values) if exact else _real_sums(values)
    return Statistics(
        values.size, block.size, float(values.min()), float(values.max()), total, squares
    )


def _whole_sums(values: Pixels) -> tuple[Fraction, Fraction]:
    """(sum, sum of squares) of integers of up to 16 bits: exact, in whatever order."""
    total = squares = 0.0
    for row in range(0, len(values), ROWS):
        reals = values[row : row + ROWS].astype(np.float64).ravel()
        total, squares = total + float(reals.sum()), squares + float(reals @ reals)
    return Fraction(total), Fraction(squares)


def _real_sums(values: Pixels) -> tuple[Fraction, Fraction]:
    """(sum, sum of squares) in float64, in the order that the shape of the block gives."""
    reals = values.ravel().astype(np.float64)
    return Fraction(float(reals.sum())), Fraction(float((reals * reals).sum()))
