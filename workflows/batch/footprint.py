"""Where a raster lies, as GeoJSON in longitude and latitude (RFC 7946).

       unwrapped: longitudes run on           cut at the antimeridian, turned back

    170      180      190 (-170)              -180 -170            170  180
     +--------|--------+                        +---+                +---+
     |        |        |            ->          |   |                |   |
     +--------|--------+                        +---+                +---+

Edges follow the raster's own, bent as they are in longitude and latitude. A raster around a pole is
bounded by the pole's line on a plate carrée.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, cast

import rasterio.transform
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError
from rasterio.control import GroundControlPoint

from pipeline.georef import Affine6, Georef
from pipeline.profile import Profile
from pipeline.serial import Json
from workflows.batch.outline import Point, apply, area, clip

STEPS = 8
"""Parts that each edge is bent in."""
DIGITS = 7
"""Decimals of a degree: a centimetre."""
LEAST = 1e-9
"""Square degrees below which a piece is nothing."""

Box = tuple[float, float, float, float]
"""(west, south, east, north) in degrees; west is greater across the antimeridian."""


def footprint(profile: Profile) -> dict[str, Json] | None:
    """The polygon, or the polygons, of a raster's outer edge; None where it is not on the Earth."""
    placed = _transform(profile.georef)
    if placed is None:
        return None
    affine, crs = placed
    ring = [apply(affine, pixel) for pixel in _edge(profile.width, profile.height)]
    try:
        to_degrees = Transformer.from_crs(CRS.from_wkt(crs), "OGC:CRS84", always_xy=True)
        x, y = to_degrees.transform([x for x, _ in ring], [y for _, y in ring], errcheck=True)
    except ProjError:  # the Moon, or a corner beyond what the projection can show
        return None
    if not all(map(math.isfinite, (*x, *y))):
        return None
    return geometry_of(list(zip(x, y, strict=True)))


def geometry_of(ring: Sequence[Point]) -> dict[str, Json] | None:
    """GeoJSON of a closed line of (longitude, latitude), however it runs over the antimeridian."""
    ring = _unwrapped(ring)
    pieces = []
    for turn in range(-2, 3):
        part = clip(ring, 0, 360.0 * turn - 180, 360.0 * turn + 180)
        if part and abs(area(part)) > LEAST:
            pieces.append(_closed([(x - 360 * turn, y) for x, y in part]))
    if not pieces:
        return None
    if len(pieces) == 1:
        return {"type": "Polygon", "coordinates": [pieces[0]]}
    return {"type": "MultiPolygon", "coordinates": [[piece] for piece in pieces]}


def bounding_box(geometry: dict[str, Json]) -> Box:
    """The box of a polygon or of several that together may cross the antimeridian.

    Pieces that end at 180 and others that begin at -180 are one box, as RFC 7946 (5.2) has it.
    """
    boxes = [_box(ring) for ring in rings(geometry)]
    west, south = min(box[0] for box in boxes), min(box[1] for box in boxes)
    east, north = max(box[2] for box in boxes), max(box[3] for box in boxes)
    here = [box for box in boxes if box[2] < 180]
    beyond = [box for box in boxes if box[0] > -180]
    if west > -180 or east < 180 or len(here) + len(beyond) != len(boxes):
        return west, south, east, north
    return min(b[0] for b in beyond), south, max(b[2] for b in here), north


def rings(geometry: dict[str, Json]) -> list[list[Point]]:
    """The outer rings of a Polygon or MultiPolygon; raises ValueError for anything else."""
    kind, found = geometry.get("type"), cast("Any", geometry.get("coordinates"))
    try:
        polygons = {"Polygon": [found], "MultiPolygon": found}[cast("str", kind)]
        return [[(float(p[0]), float(p[1])) for p in polygon[0]] for polygon in polygons]
    except (TypeError, IndexError, KeyError) as error:
        raise ValueError(f"is no polygon but a {kind}") from error


def _transform(georef: Georef) -> tuple[Affine6, str] | None:
    """(pixels to ground, WKT); through control points the best that an affine can do."""
    if georef.affine is not None and georef.crs:
        return georef.affine, georef.crs
    if len(georef.gcps) < 3 or not georef.gcps_crs:
        return None
    points = [GroundControlPoint(g.row, g.column, g.x, g.y) for g in georef.gcps]
    a, b, c, d, e, f, *_ = rasterio.transform.from_gcps(points)
    return (a, b, c, d, e, f), georef.gcps_crs


def _edge(width: int, height: int) -> list[Point]:
    """Points along the outer edge in pixels, from the first corner round to it."""
    corners = [(0, 0), (0, height), (width, height), (width, 0), (0, 0)]
    return [
        (x + (u - x) * i / STEPS, y + (v - y) * i / STEPS)
        for (x, y), (u, v) in pairwise(corners)
        for i in range(STEPS)
    ]


def _unwrapped(ring: Sequence[Point]) -> list[Point]:
    """Longitudes that run on beyond 180."""
    unwrapped = [ring[0]]
    for x, y in [*ring[1:], ring[0]]:
        before = unwrapped[-1][0]
        unwrapped.append((x - 360 * round((x - before) / 360), y))
    if abs(unwrapped[-1][0] - unwrapped[0][0]) < 180:
        return unwrapped[:-1]
    return _around_pole(unwrapped)


def _around_pole(ring: Sequence[Point]) -> list[Point]:
    """A ring that runs once around the Earth, from -180 to 180 or back, closed along its pole."""
    turn = math.copysign(360.0, ring[-1][0] - ring[0][0])
    pole, start = math.copysign(90.0, sum(y for _, y in ring)), turn / 2
    at = next(i for i, (p, q) in enumerate(pairwise(ring)) if (p[0] - start) * (q[0] - start) <= 0)
    (x, y), (u, v) = ring[at], ring[at + 1]
    level = y + (v - y) * (start - x) / (u - x) if u != x else y
    round_it = [*ring[at + 1 :], *((x + turn, y) for x, y in ring[1 : at + 1])]
    end = start + turn
    return [(start, level), *round_it, (end, level), (end, pole), (start, pole)]


def _closed(ring: list[Point]) -> list[Json]:
    """Counterclockwise, rounded, its first point repeated at the end."""
    if area(ring) < 0:
        ring = ring[::-1]
    points: list[Json] = [[round(x, DIGITS), round(y, DIGITS)] for x, y in ring]
    return [*points, points[0]]


def _box(ring: Sequence[Point]) -> Box:
    x, y = zip(*ring, strict=True)
    return min(x), min(y), max(x), max(y)
