"""Steps of back-projection on arrays, to the same bits wherever a pixel lies in them.

Fine pixels are held as planes (r, r, y, x): those of one phase lie side by side, and every tap of a
kernel is one plane, shifted by whole LR pixels.

    fine  a b a b     planes  a a   b b     a: [0, 0]  b: [0, 1]
          c d c d             a a   b b     c: [1, 0]  d: [1, 1]
          a b a b             c c   d d
          c d c d             c c   d d

All sums run over whole arrays, tap by tap in one order. (Matrix products and the convolutions of
libraries sum in orders that depend on shape and position.)
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from espcn.interpolation import RADIUS, bicubic_taps

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Taps:
    """A degradation along either axis."""

    scale: int
    """Fine pixels per LR pixel, r."""

    first: int
    """The first fine pixel that LR pixel 0 depends on."""

    weights: NDArray[np.float64]
    """Of the fine pixels from there on."""

    reach: int
    """Radius in LR pixels within which they all lie."""


def back_project(planes: Floats, coarse: Floats, taps: Taps, steps: int) -> Floats:
    """x + enlarge(LR - degrade(x)), `steps` times.

    (r, r, y, x) and (y, x) on the same ground; a step takes `taps.reach` + `RADIUS` LR pixels off
    every side.
    """
    margin = taps.reach + RADIUS
    for _ in range(steps):
        correction = _enlarge(trim(coarse, taps.reach) - _degrade(planes, taps), taps.scale)
        correction += trim(planes, margin)
        planes, coarse = correction, trim(coarse, margin)
    return planes


def split(fine: Floats, scale: int) -> Floats:
    """(y * r, x * r) to planes (r, r, y, x)."""
    height, width = (side // scale for side in fine.shape)
    planes = fine.reshape(height, scale, width, scale).transpose(1, 3, 0, 2)
    return np.ascontiguousarray(planes)


def trim(values: Floats, margin: int) -> Floats:
    """Without the `margin` outermost of the last two axes."""
    height, width = values.shape[-2:]
    return values[..., margin : height - margin, margin : width - margin]


def _degrade(planes: Floats, taps: Taps) -> Floats:
    """(r, r, y, x) to (y, x) LR pixels, less `reach` on every side: rows first, then columns."""
    reach, (height, width) = taps.reach, planes.shape[2:]
    # (weight, how many LR pixels away, which phase there)
    places = [
        (weight, *divmod(taps.first + k, taps.scale))
        for k, weight in enumerate(taps.weights.astype(np.float32))
    ]
    rows = [
        _sum((w, planes[i, j, reach + y : height - reach + y]) for w, y, i in places)
        for j in range(taps.scale)
    ]
    return _sum((w, rows[j][:, reach + x : width - reach + x]) for w, x, j in places)


def _enlarge(coarse: Floats, scale: int) -> Floats:
    """(y, x) to (r, r, y, x), less `RADIUS` on every side: rows first, then columns."""
    height, width = (side - 2 * RADIUS for side in coarse.shape)
    taps = bicubic_taps(scale).astype(np.float32)
    planes = np.empty((scale, scale, height, width), np.float32)
    for i, along_y in enumerate(taps):
        rows = _sum((w, coarse[y : y + height]) for y, w in enumerate(along_y) if w)
        for j, along_x in enumerate(taps):
            planes[i, j] = _sum((w, rows[:, x : x + width]) for x, w in enumerate(along_x) if w)
    return planes


def _sum(parts: Iterable[tuple[np.float32, Floats]]) -> Floats:
    """Weighted sum of arrays of one shape, in their order."""
    (weight, values), *others = parts
    total = values * weight
    term = np.empty_like(total)
    for weight, values in others:
        np.multiply(values, weight, out=term)
        total += term
    return total
