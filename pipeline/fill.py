"""Filling invalid pixels from their nearest valid neighbours, the same in every tile.

Only pixels within `reach` of a valid one are filled; the rest cannot influence a valid output
pixel and become a constant. Ties between equally near neighbours are broken by a fixed order of
offsets, so that the result does not depend on the window that happens to be read.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


def fill_nearest(
    pixels: NDArray[np.float32], valid: NDArray[np.bool_], *, reach: int, constant: float = 0.0
) -> NDArray[np.float32]:
    """A copy of `pixels` (y, x) whose invalid pixels hold their nearest valid neighbour.

    Nearest is Euclidean, ties go to the upper, then the left neighbour. Pixels with no valid
    neighbour within `reach` rows and columns hold `constant`.
    """
    filled = np.where(valid, pixels, np.float32(constant))
    if valid.all() or not valid.any():
        return filled
    y, x = np.nonzero(dilate(valid, reach) & ~valid)
    height, width = valid.shape
    for dy, dx in _offsets(reach):
        if not len(y):
            break
        from_y, from_x = y + dy, x + dx
        inside = (from_y >= 0) & (from_y < height) & (from_x >= 0) & (from_x < width)
        found = np.zeros(len(y), bool)
        found[inside] = valid[from_y[inside], from_x[inside]]
        filled[y[found], x[found]] = pixels[from_y[found], from_x[found]]
        y, x = y[~found], x[~found]
    return filled


def dilate(mask: NDArray[np.bool_], reach: int) -> NDArray[np.bool_]:
    """Pixels within `reach` rows and columns of a true one."""
    for axis in (0, 1):
        grown = mask.copy()
        for step in range(1, min(reach, mask.shape[axis] - 1) + 1):
            ahead, behind = _shifted(axis, step)
            grown[ahead] |= mask[behind]
            grown[behind] |= mask[ahead]
        mask = grown
    return mask


def _shifted(axis: int, step: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Index pairs that look `step` ahead and behind along an axis."""
    whole = (slice(None),) * axis
    return (*whole, slice(step, None)), (*whole, slice(None, -step))


@lru_cache
def _offsets(reach: int) -> tuple[tuple[int, int], ...]:
    """All (dy, dx) within `reach`, nearest first, in a fixed order."""
    span = range(-reach, reach + 1)
    return tuple(
        sorted(
            ((dy, dx) for dy in span for dx in span if dy or dx),
            key=lambda d: (d[0] * d[0] + d[1] * d[1], d),
        )
    )
