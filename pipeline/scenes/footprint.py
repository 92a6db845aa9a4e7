"""Outlines on the ground as GeoJSON: closed, counterclockwise, cut at the antimeridian.

179.3      180     -179.7        Longitudes are unwound first, so that no step is longer than
  +---------|---------+          half the globe; then the outline is cut along the meridian and
  |    1    |    2    |          both parts go back to -180..180 (RFC 7946, section 3.1.9).
  +---------|---------+
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.serial import Json

Point = tuple[float, float]
"""(longitude, latitude), in degrees."""
Ring = list[Point]
"""An outline; the last point is not the first one again."""
SMALLEST = 1e-12
"""Square degrees; an outline of less is a line."""


def footprint(outlines: Sequence[Sequence[Point]]) -> dict[str, Json]:
    """A Polygon or MultiPolygon of outlines; raises ValueError for what is none."""
    rings = [ring for outline in outlines for ring in _cut(_unwound(outline))]
    if not rings:
        raise ValueError("no area is outlined")
    polygons: list[Json] = [[[[x, y] for x, y in (*ring, ring[0])]] for ring in rings]
    if len(polygons) == 1:
        return {"type": "Polygon", "coordinates": polygons[0]}
    return {"type": "MultiPolygon", "coordinates": polygons}


def _unwound(outline: Sequence[Point]) -> Ring:
    """Without repeated points, and with longitudes that go on beyond 180 where they cross it."""
    ring: Ring = []
    for x, y in outline:
        if not (-180 <= x <= 180 and -90 <= y <= 90):
            raise ValueError(f"({x}, {y}) is no longitude and latitude")
        point = (x + 360.0 * (_turns(ring[-1][0] - x) if ring else 0), y)
        if not ring or point != ring[-1]:
            ring.append(point)
    if ring and _turns(ring[-1][0] - ring[0][0]):
        raise ValueError("a pole is inside the outline")
    return ring[:-1] if len(ring) > 1 and ring[-1] == ring[0] else ring


def _cut(ring: Ring) -> list[Ring]:
    """The parts of an unwound outline, each within -180..180 and counterclockwise."""
    if not ring:
        return []
    low, high = min(x for x, _ in ring), max(x for x, _ in ring)
    meridian = next((m for m in (-180.0, 180.0) if low < m < high), None)
    parts = [ring] if meridian is None else _split(ring, meridian)
    return [_wound(part) for part in map(_wrapped, parts) if abs(_area(part)) > SMALLEST]


def _split(ring: Ring, meridian: float) -> list[Ring]:
    """Both sides of a meridian. Along it, the crossings bound inside and outside in turn."""
    nodes: Ring = []
    crossings: list[int] = []
    for one, other in zip(ring, [*ring[1:], ring[0]], strict=True):
        nodes.append(one)
        if (one[0] > meridian) != (other[0] > meridian):
            part = (meridian - one[0]) / (other[0] - one[0])
            crossings.append(len(nodes))
            nodes.append((meridian, one[1] + part * (other[1] - one[1])))
    ordered = sorted(crossings, key=lambda i: nodes[i][1])
    across = dict(zip(ordered[::2], ordered[1::2], strict=True))
    across |= {other: one for one, other in across.items()}
    parts, begun = [], set[int]()
    for start in crossings:
        if start not in begun:
            parts.append(_walk(nodes, start, across, begun))
    return parts


def _walk(nodes: Ring, start: int, across: dict[int, int], begun: set[int]) -> Ring:
    """Along the outline from crossing to crossing, and there over to the one that belongs to it."""
    part, at = [], start
    while at not in begun:
        begun.add(at)
        part.append(nodes[at])
        at = (at + 1) % len(nodes)
        while at not in across:
            part.append(nodes[at])
            at = (at + 1) % len(nodes)
        part.append(nodes[at])
        at = across[at]
    return part


def _wrapped(ring: Ring) -> Ring:
    """Back within -180..180, as a whole, without repeated points."""
    middle = (min(x for x, _ in ring) + max(x for x, _ in ring)) / 2
    back = 360.0 * _turns(middle)
    moved = [(min(max(x - back, -180.0), 180.0), y) for x, y in ring]
    return [point for i, point in enumerate(moved) if point != moved[i - 1]]


def _turns(degrees: float) -> int:
    """Times around the globe, to the nearest."""
    return round(degrees / 360)


def _wound(ring: Ring) -> Ring:
    return ring if _area(ring) > 0 else ring[::-1]


def _area(ring: Ring) -> float:
    """Square degrees, positive where the outline is counterclockwise (shoelace formula)."""
    pairs = zip(ring, [*ring[1:], *ring[:1]], strict=True)
    return sum(x * v - u * y for (x, y), (u, v) in pairs) / 2
