"""Whether a product lies where its source lies: outer corners, coverage, ground control points."""

from __future__ import annotations

import math
from collections.abc import Sequence

import rasterio

from pipeline.georef import ZOOMED_RPCS, Affine6, Georef
from pipeline.profile import Profile

Point = tuple[float, float]
"""(x, y): column and row in source pixels, corner-based; or easting and northing."""


def corner_distance(source: Profile, product: Profile, *, scale: int) -> float | None:
    """Most distance of an outer corner, or of a control point, from the source's.

    In source pixels. None where the product is tied to the ground in another way than the source.
    """
    corners = corners_in_source(source, product, scale=scale)
    if corners is None:
        return None
    wanted = _square(source.width, source.height)
    farthest = max(math.dist(one, other) for one, other in zip(corners, wanted, strict=True))
    if source.georef.affine is not None:
        return farthest
    others = _other_ties(source.georef.zoom(scale), product.georef)
    return None if others is None else max(farthest, others / scale)


def coverage(source: Profile, product: Profile, *, scale: int) -> float:
    """Share of the source's footprint that the product covers, from 0 to 1."""
    corners = corners_in_source(source, product, scale=scale)
    if corners is None:
        return 0.0
    common = clip(clip(corners, 0, 0, source.width), 1, 0, source.height)
    return abs(area(common)) / (source.width * source.height)


def corners_in_source(source: Profile, product: Profile, *, scale: int) -> list[Point] | None:
    """The product's outer corners in source pixels; None where its ground is another one.

    Without a transform pixels are all there is to compare.
    """
    corners = _square(product.width, product.height)
    old, new = source.georef, product.georef
    if old.affine is None:
        return [(x / scale, y / scale) for x, y in corners]
    if new.affine is None or not same_crs(old.crs, new.crs):
        return None
    back = inverse(old.affine)
    return [apply(back, apply(new.affine, corner)) for corner in corners]


def apply(affine: Affine6, point: Point) -> Point:
    """Where a transform puts a point."""
    a, b, c, d, e, f = affine
    x, y = point
    return a * x + b * y + c, d * x + e * y + f


def inverse(affine: Affine6) -> Affine6:
    """The transform that undoes another one, from ground to pixels."""
    a, b, c, d, e, f = affine
    area = a * e - b * d
    back = e / area, -b / area, -d / area, a / area
    return (
        *back[:2],
        -back[0] * c - back[1] * f,
        *back[2:],
        -back[2] * c - back[3] * f,
    )


def same_crs(one: str | None, other: str | None) -> bool:
    """Whether two WKTs say the same, in whatever words."""
    if one is None or other is None:
        return one is other
    return bool(rasterio.CRS.from_wkt(one) == rasterio.CRS.from_wkt(other))


def clip(ring: Sequence[Point], axis: int, low: float, high: float) -> list[Point]:
    """The part of a polygon whose coordinate on an axis is from `low` to `high`; may be empty.

    I. Sutherland and G. Hodgman, "Reentrant polygon clipping", CACM 17(1), 1974.
    """
    for limit, sign in ((low, 1.0), (high, -1.0)):
        kept: list[Point] = []
        for i, point in enumerate(ring):
            before = ring[i - 1]
            inside, was = (sign * (p[axis] - limit) >= 0 for p in (point, before))
            if inside != was:
                kept.append(_crossing(before, point, axis, limit))
            if inside:
                kept.append(point)
        ring = kept
    return list(ring)


def area(ring: Sequence[Point]) -> float:
    """Signed area of a polygon: positive where y grows upwards and it runs counterclockwise."""
    steps = zip(ring, [*ring[1:], *ring[:1]], strict=True)
    return sum(x * v - u * y for (x, y), (u, v) in steps) / 2


def _crossing(one: Point, other: Point, axis: int, limit: float) -> Point:
    """Where the edge between two points meets a limit on an axis."""
    share = (limit - one[axis]) / (other[axis] - one[axis])
    x, y = (a + share * (b - a) for a, b in zip(one, other, strict=True))
    return (limit, y) if axis == 0 else (x, limit)


def _square(width: int, height: int) -> list[Point]:
    """The outer corners of an image in its own pixels."""
    return [(0.0, 0.0), (float(width), 0.0), (float(width), float(height)), (0.0, float(height))]


def _other_ties(wanted: Georef, found: Georef) -> float | None:
    """How far control points and RPCs are from the wanted ones, in pixels; None if others."""
    if found.affine is not None or len(found.gcps) != len(wanted.gcps):
        return None
    moved = 0.0
    for one, other in zip(wanted.gcps, found.gcps, strict=True):
        if (one.x, one.y, one.z) != (other.x, other.y, other.z):
            return None
        moved = max(moved, math.hypot(one.row - other.row, one.column - other.column))
    if wanted.gcps and not same_crs(wanted.gcps_crs, found.gcps_crs):
        return None
    if bool(wanted.rpcs) != bool(found.rpcs):
        return None
    for name in ZOOMED_RPCS if wanted.rpcs else ():
        moved = max(moved, abs(float(wanted.rpcs[name]) - float(found.rpcs.get(name, "nan"))))
    return moved
