"""Rectangles of ground, and what they are in pixels of another grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyproj

from pipeline.georef import Affine6
from pipeline.tiling import Window

Point = tuple[float, float]
"""(x, y)."""

NEARLY = 1e-3
"""Of a pixel: what rounding may do to a corner."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle of ground, in pixels of a group's finest source or in units of a map."""

    top: float
    """First row."""
    left: float
    """First column."""
    bottom: float
    """Where it ends."""
    right: float
    """Where it ends."""

    def grow(self, margin: float) -> Box:
        """With `margin` more on each side."""
        return Box(self.top - margin, self.left - margin, self.bottom + margin, self.right + margin)

    def touches(self, other: Box) -> bool:
        """Whether they share more than an edge."""
        return (
            self.top < other.bottom - NEARLY
            and other.top < self.bottom - NEARLY
            and self.left < other.right - NEARLY
            and other.left < self.right - NEARLY
        )

    def holds(self, other: Box) -> bool:
        """Whether all of `other` lies in it."""
        return (
            self.top <= other.top + NEARLY
            and self.left <= other.left + NEARLY
            and self.bottom >= other.bottom - NEARLY
            and self.right >= other.right - NEARLY
        )

    def outwards(self) -> Window:
        """The smallest window of whole pixels that covers it."""
        top, left = math.floor(self.top + NEARLY), math.floor(self.left + NEARLY)
        bottom, right = math.ceil(self.bottom - NEARLY), math.ceil(self.right - NEARLY)
        return Window(top, left, max(bottom - top, 0), max(right - left, 0))

    def inwards(self) -> Window:
        """The largest window of whole pixels within it."""
        top, left = math.ceil(self.top - NEARLY), math.ceil(self.left - NEARLY)
        bottom, right = math.floor(self.bottom + NEARLY), math.floor(self.right + NEARLY)
        return Window(top, left, max(bottom - top, 0), max(right - left, 0))


def around(boxes: Sequence[Box]) -> Box:
    """The smallest box that holds all of them."""
    return Box(
        min(box.top for box in boxes),
        min(box.left for box in boxes),
        max(box.bottom for box in boxes),
        max(box.right for box in boxes),
    )


@dataclass(frozen=True, slots=True)
class Grid:
    """Where pixels lie."""

    affine: Affine6 = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    """Corner-based, from pixels to the map."""
    crs: str = ""
    """WKT of the map; empty for one of its own."""


def carried(box: Box, start: Grid, end: Grid) -> Box:
    """What a box in pixels of `start` covers in pixels of `end`; at least that if they are turned.

    Raises ProjError between maps that have nothing to do with each other.
    """
    places = [_placed(start.affine, x, y) for x, y in _corners(box)]
    if start.crs != end.crs:
        low = _bounding(places)
        west, south, east, north = _between(start.crs, end.crs).transform_bounds(
            low.left, low.top, low.right, low.bottom
        )
        # over the date line
        places = _corners(Box(south, west, north, east + 360.0 if east < west else east))
    back = _inverse(end.affine)
    return _bounding([_placed(back, x, y) for x, y in places])


@lru_cache
def _between(start: str, end: str) -> pyproj.Transformer:
    return pyproj.Transformer.from_crs(start, end, always_xy=True)


def _corners(box: Box) -> list[Point]:
    return [(x, y) for x in (box.left, box.right) for y in (box.top, box.bottom)]


def _bounding(points: Sequence[Point]) -> Box:
    xs, ys = [x for x, _ in points], [y for _, y in points]
    return Box(min(ys), min(xs), max(ys), max(xs))


def _placed(affine: Affine6, x: float, y: float) -> Point:
    a, b, c, d, e, f = affine
    return a * x + b * y + c, d * x + e * y + f


def _inverse(affine: Affine6) -> Affine6:
    a, b, c, d, e, f = affine
    area = a * e - b * d
    return (
        *(e / area, -b / area, (b * f - c * e) / area),
        *(-d / area, a / area, (c * d - a * f) / area),
    )


def whole(shape: tuple[int, int]) -> Box:
    """All pixels of an image (height, width)."""
    return Box(0.0, 0.0, float(shape[0]), float(shape[1]))


def same_directions(one: Grid, other: Grid) -> bool:
    """Whether rows and columns of both run the same way."""
    (a, b, _, d, e, _), (i, j, _, m, n, _) = one.affine, other.affine
    return one.crs == other.crs and _parallel((a, d), (i, m)) and _parallel((b, e), (j, n))


def _parallel(one: Point, other: Point) -> bool:
    lengths = math.hypot(*one) * math.hypot(*other)
    across = abs(one[0] * other[1] - one[1] * other[0])
    return across < NEARLY * 1e-3 * lengths and one[0] * other[0] + one[1] * other[1] > 0


def connected(boxes: Sequence[Box]) -> list[list[int]]:
    """Indices of boxes that overlap, directly or through others; each group in order."""
    if not boxes:
        return []
    top, left, bottom, right = np.array(
        [(box.top, box.left, box.bottom, box.right) for box in boxes]
    ).T
    groups, free = [], np.ones(len(boxes), bool)
    for start in range(len(boxes)):
        if not free[start]:
            continue
        free[start], members = False, [start]
        for i in members:  # grows as neighbours are found
            near = free & (top < bottom[i]) & (top[i] < bottom) & (left < right[i])
            near &= left[i] < right
            free[near] = False
            members.extend(np.flatnonzero(near).tolist())
        groups.append(sorted(members))
    return groups
