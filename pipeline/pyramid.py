"""Overviews: each level halves the one below, 2 x 2 pixels into one.

A level needs no neighbours, so a tile makes its own as deep as it is divisible; `halve` of the
parts equals the part of `halve`. Averages leave out invalid pixels and are rounded half up.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from pipeline.radiometry import Mask, Pixels, avoid_nodata

Method = Literal["average", "nearest", "mode"]
"""How four pixels become one; mode prefers the first of equally frequent values."""

BLOCK = 512
"""Side of the blocks of tiled outputs, and of the smallest tile."""
STRIP = 128
"""Rows that are halved at once; even."""


def level_shapes(height: int, width: int) -> tuple[tuple[int, int], ...]:
    """(height, width) of each level, full resolution first, until one block holds it."""
    shapes = [(height, width)]
    while max(shapes[-1]) > BLOCK:
        height, width = shapes[-1]
        shapes.append((-(-height // 2), -(-width // 2)))
    return tuple(shapes)


def levels_within(side: int) -> int:
    """How many levels above full resolution are made of whole blocks in a tile of that side."""
    blocks = side // BLOCK
    return (blocks & -blocks).bit_length() - 1


def halve(
    pixels: Pixels, valid: Mask | None, *, method: Method, nodata: float | None = None
) -> tuple[Pixels, Mask | None]:
    """(pixels, valid) at half the resolution; both (band, y, x), odd sizes round up."""
    bands, height, width = pixels.shape
    shape = (bands, -(-height // 2), -(-width // 2))
    coarse, good = np.empty(shape, pixels.dtype), np.ones(shape, bool)
    # strips of one band: the sums of a whole tile would not fit any cache
    for band in range(bands):
        for row in range(0, height, STRIP):
            strip = (slice(band, band + 1), slice(row, row + STRIP))
            target = (slice(band, band + 1), slice(row // 2, (row + STRIP) // 2))
            mask = None if valid is None else valid[strip]
            coarse[target], good[target] = _halve_strip(pixels[strip], mask, method, nodata)
    return coarse, None if good.all() else good


def _halve_strip(
    pixels: Pixels, valid: Mask | None, method: Method, nodata: float | None
) -> tuple[Pixels, Mask | bool]:
    """(pixels, valid) of a few rows at half the resolution; True where all are valid."""
    pixels = _even(pixels)
    valid = None if valid is None or valid.all() else _even(valid)
    if method == "nearest":
        return pixels[:, ::2, ::2], True if valid is None else valid[:, ::2, ::2]
    if method == "mode":
        return _mode(pixels, valid)
    if valid is None:
        return avoid_nodata(_mean(pixels), nodata), True
    return _masked_mean(pixels, valid, nodata)


def _even(values: Pixels) -> Pixels:
    """The last row and column repeated where their number is odd."""
    odd = (values.shape[1] % 2, values.shape[2] % 2)
    if not any(odd):
        return values
    return np.pad(values, ((0, 0), (0, odd[0]), (0, odd[1])), mode="edge")


def _accumulator(values: Pixels) -> np.dtype[np.generic]:
    """A type that holds the sum of four of the values without loss; the narrowest is fastest."""
    if values.dtype.kind == "f":
        return np.dtype(np.float64)
    if values.dtype == np.uint16 and values.max(initial=0) < 2**14 - 1:
        return np.dtype(np.uint16)
    return np.dtype(np.int32 if values.dtype.itemsize <= 2 else np.int64)


def _sums(values: Pixels, dtype: np.dtype[np.generic]) -> Pixels:
    """Sums of 2 x 2."""
    rows = np.add(values[:, ::2], values[:, 1::2], dtype=dtype)
    return rows[:, :, ::2] + rows[:, :, 1::2]


def _mean(pixels: Pixels) -> Pixels:
    """Means of 2 x 2 all-valid pixels."""
    total = _sums(pixels, _accumulator(pixels))
    if pixels.dtype.kind == "f":
        return (total / 4).astype(pixels.dtype)
    total += 2
    total >>= 2
    return total.astype(pixels.dtype, copy=False)


def _masked_mean(pixels: Pixels, valid: Mask, nodata: float | None) -> tuple[Pixels, Mask]:
    """Means of the valid among 2 x 2; where none is, the first pixel stays as it is.

    Gaps are narrow as a rule: only the columns that have one are looked at twice.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # of what gaps hold
        means = avoid_nodata(_mean(pixels), nodata)
    some = np.ones(means.shape, bool)
    gaps = np.flatnonzero(~valid.all(axis=(0, 1))) // 2
    coarse = slice(gaps[0], gaps[-1] + 1)
    fine = slice(2 * coarse.start, 2 * coarse.stop)
    some[..., coarse] = _mend(means[..., coarse], pixels[..., fine], valid[..., fine], nodata)
    return means, some


def _mend(means: Pixels, pixels: Pixels, valid: Mask, nodata: float | None) -> Mask:
    """Correct means over 2 x 2 where not all four are valid; True where any is.

    Edges of gaps are few: their sums are gathered.
    """
    four = _four(valid)
    every, some = np.logical_and.reduce(four), np.logical_or.reduce(four)
    np.copyto(means, pixels[:, ::2, ::2], where=~some)
    edge = some & ~every
    if edge.any():
        dtype = np.dtype(np.float64 if pixels.dtype.kind == "f" else np.int64)
        good = np.stack([one[edge] for one in four])
        values = np.stack([one[edge] for one in _four(pixels)]).astype(dtype)
        total, count = np.where(good, values, 0).sum(axis=0), good.sum(axis=0)
        mean = total / count if dtype.kind == "f" else (2 * total + count) // (2 * count)
        means[edge] = avoid_nodata(mean.astype(pixels.dtype), nodata)
    return np.asarray(some)


def _four(values: Pixels) -> list[Pixels]:
    """The pixels of each 2 x 2, in row-major order."""
    return [values[:, i::2, j::2] for i in (0, 1) for j in (0, 1)]


def _mode(pixels: Pixels, valid: Mask | None) -> tuple[Pixels, Mask | bool]:
    """The most frequent valid value among 2 x 2, the first in row-major order on a tie."""
    four = np.stack(_four(pixels))
    good = np.ones(four.shape, bool) if valid is None else np.stack(_four(valid))
    votes = np.stack([((four == one) & good).sum(axis=0) for one in four]) * good
    chosen = np.take_along_axis(four, votes.argmax(axis=0)[None], axis=0)[0]
    return chosen, True if valid is None else np.asarray(good.any(axis=0))
