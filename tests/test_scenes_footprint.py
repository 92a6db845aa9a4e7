"""Footprints: valid GeoJSON of the same ground, wherever the outline lies."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, cast

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pipeline.scenes.footprint import footprint

shapely = pytest.importorskip("shapely", reason="needs shapely as the oracle of polygons")

Point = tuple[float, float]


def wrap(x: float) -> float:
    """A longitude as it is written."""
    return (x + 180) % 360 - 180


@st.composite
def stars(draw: st.DrawFn) -> list[Point]:
    """Simple outlines around a point, of longitudes that go on beyond 180; not closed."""
    x, y = draw(st.floats(-190, 190)), draw(st.floats(-60, 60))
    radii = draw(st.lists(st.floats(0.5, 20), min_size=3, max_size=14))
    turn = draw(st.floats(0, 6))
    ways = [turn + 2 * math.pi * i / len(radii) for i in range(len(radii))]
    points = [(x + r * math.cos(w), y + r * math.sin(w)) for r, w in zip(radii, ways, strict=True)]
    return points[:: draw(st.sampled_from([1, -1]))]


def shape(found: dict[str, Any]) -> Any:
    return shapely.geometry.shape(found)


@given(stars(), st.booleans())
def test_the_ground_is_the_same(points: list[Point], closed: bool) -> None:
    written = [(wrap(x), y) for x, y in points]
    found = shape(
        cast("dict[str, Any]", footprint([[*written, written[0]] if closed else written]))
    )
    whole = shapely.Polygon(points)
    assume(whole.is_valid)
    east = shapely.affinity.translate
    unwound = shapely.union_all(
        [
            shapely.intersection(east(found, 360 * turn), whole.envelope.buffer(1))
            for turn in (-1, 0, 1)
        ]
    )
    assert unwound.symmetric_difference(whole).area < 1e-6 * whole.area


@given(stars())
def test_it_is_geojson_that_every_program_reads(points: list[Point]) -> None:
    assume(shapely.Polygon(points).is_valid)
    found = cast("dict[str, Any]", footprint([[(wrap(x), y) for x, y in points]]))
    polygons = found["coordinates"] if found["type"] == "MultiPolygon" else [found["coordinates"]]
    for (ring,) in polygons:
        assert ring[0] == ring[-1]
        assert len(ring) >= 4
        assert all(-180 <= x <= 180 and -90 <= y <= 90 for x, y in ring)
        assert max(x for x, _ in ring) - min(x for x, _ in ring) < 180
        assert shapely.LinearRing(ring).is_ccw
        assert all(one != other for one, other in pairwise(ring))
    if found["type"] == "MultiPolygon":
        assert len(polygons) > 1


def test_an_outline_that_crosses_twice_is_cut_in_three() -> None:
    points = [(179.0, 0.0), (181, 1), (179.5, 2), (181, 3), (179, 4)]
    found = cast("dict[str, Any]", footprint([[(wrap(x), y) for x, y in points]]))
    assert len(found["coordinates"]) == 3
    assert shape(found).is_valid
    assert shape(found).area == pytest.approx(shapely.Polygon(points).area)


@pytest.mark.parametrize(
    "points",
    [
        [(180.0, 0.0), (179, 0), (179, 1), (180, 1)],
        [(-180.0, 0.0), (-179, 0), (-179, 1), (-180, 1)],
        [(-179.0, 0.0), (180, 0), (180, 1), (-179, 1)],
        [(180.0, 0.0), (-179, 0), (-179, 1)],
    ],
)
def test_an_outline_that_touches_the_meridian_stays_whole(points: list[Point]) -> None:
    found = cast("dict[str, Any]", footprint([points]))
    assert found["type"] == "Polygon"
    assert shape(found).area == pytest.approx(0.5 if len(points) == 3 else 1)


@pytest.mark.parametrize(
    ("outlines", "why"),
    [
        ([], "no area"),
        ([[]], "no area"),
        ([[(1.0, 2.0), (3, 4), (1, 2)]], "no area"),
        ([[(200.0, 0.0), (201, 0), (201, 1)]], "no longitude"),
        ([[(0.0, 91.0), (1, 0), (2, 1)]], "no longitude"),
        ([[(math.nan, 0.0), (1, 0), (2, 1)]], "no longitude"),
        ([[(0.0, 80.0), (90, 80), (180, 80), (-90, 80)]], "a pole"),
        ([[(0.0, -80.0), (-120, -80), (120, -80), (0, -80)]], "a pole"),
    ],
)
def test_what_outlines_no_area_is_refused(outlines: list[list[Point]], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        footprint(outlines)


def test_several_outlines_are_several_polygons() -> None:
    one, other = [(0.0, 0.0), (1, 0), (1, 1)], [(5.0, 5.0), (5, 6), (6, 6)]
    found = cast("dict[str, Any]", footprint([one, other]))
    assert found["type"] == "MultiPolygon"
    assert found["coordinates"][0] == [[[0, 0], [1, 0], [1, 1], [0, 0]]]
    assert found["coordinates"][1] == [[[6, 6], [5, 6], [5, 5], [6, 6]]]
