"""Where products lie: outlines against sources, footprints in longitude and latitude."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from typing import Any

import pytest
import rasterio
import shapely
import shapely.geometry
from fakes import make_profile
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from pipeline.georef import Affine6, Gcp, Georef
from pipeline.profile import Profile
from workflows.batch.footprint import bounding_box, footprint, geometry_of, rings
from workflows.batch.outline import clip, corner_distance, coverage

UTM = rasterio.CRS.from_epsg(32633).to_wkt(version="WKT2_2019")


def profile(epsg: int | str, affine: Affine6, height: int = 100, width: int = 80) -> Profile:
    """A raster somewhere."""
    crs = rasterio.CRS.from_user_input(epsg).to_wkt(version="WKT2_2019")
    return make_profile((1, height, width), georef=Georef(crs=crs, affine=affine))


def fine(source: Profile, scale: int = 3) -> Profile:
    """The product that belongs to it."""
    return replace(
        source,
        height=source.height * scale,
        width=source.width * scale,
        georef=source.georef.zoom(scale),
    )


@given(
    st.tuples(st.floats(-60, 60), st.floats(-60, 60), st.floats(5e5, 9e5), st.floats(1e6, 9e6)),
    st.integers(2, 8),
)
def test_a_product_on_its_source_covers_it(
    numbers: tuple[float, float, float, float], scale: int
) -> None:
    a, b, x, y = numbers
    if math.hypot(a, b) < 1e-3:
        return
    source = profile(32633, (a, b, x, b, -a, y))
    product = fine(source, scale)
    assert corner_distance(source, product, scale=scale) == pytest.approx(0, abs=1e-6)
    assert coverage(source, product, scale=scale) == pytest.approx(1, abs=1e-9)


@given(st.floats(-90, 90), st.floats(-110, 110))
def test_a_moved_product_covers_what_is_left(right: float, down: float) -> None:
    source = profile(32633, (10, 0, 500_000, 0, -10, 4_000_000))
    a, b, c, d, e, f = fine(source).georef.affine or (0.0,) * 6
    moved = Georef(crs=source.georef.crs, affine=(a, b, c + 10 * right, d, e, f - 10 * down))
    product = replace(fine(source), georef=moved)
    left = max(80 - abs(right), 0) * max(100 - abs(down), 0) / 8000
    assert coverage(source, product, scale=3) == pytest.approx(left, abs=1e-6)
    distance = corner_distance(source, product, scale=3)
    assert distance == pytest.approx(math.hypot(right, down), abs=1e-6)


@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9)), min_size=3, max_size=9))
def test_clipping_is_that_of_shapely(points: list[tuple[float, float]]) -> None:
    hull = shapely.MultiPoint(points).convex_hull
    if hull.geom_type != "Polygon" or hull.area < 1e-3:
        return
    ring = list(hull.exterior.coords)[:-1]
    mine = clip(clip(ring, 0, -2, 3), 1, -4, 1)
    want = hull.intersection(shapely.box(-2, -4, 3, 1)).area
    assert (shapely.Polygon(mine).area if len(mine) > 2 else 0) == pytest.approx(want, abs=1e-9)


def test_lost_georeferencing_is_no_cover() -> None:
    source = profile(32633, (10, 0, 500_000, 0, -10, 4_000_000))
    bare = replace(fine(source), georef=Georef())
    assert corner_distance(source, bare, scale=3) is None
    assert coverage(source, bare, scale=3) == 0


def test_pixels_are_compared_where_there_is_no_ground() -> None:
    source = make_profile((1, 100, 80))
    assert corner_distance(source, fine(source), scale=3) == 0
    short = replace(fine(source), height=297)
    assert corner_distance(source, short, scale=3) == pytest.approx(1)
    assert coverage(source, short, scale=3) == pytest.approx(0.99)


def test_control_points_and_rpcs_are_corners_too() -> None:
    points = tuple(Gcp(y, x, x * 10.0, -y * 10.0, 0.0) for y in (0, 100) for x in (0, 80))
    rpcs = {"LINE_OFF": "50", "SAMP_OFF": "40", "LINE_SCALE": "50", "SAMP_SCALE": "40"}
    source = make_profile((1, 100, 80), georef=Georef(gcps=points, gcps_crs=UTM, rpcs=rpcs))
    product = fine(source)
    assert corner_distance(source, product, scale=3) == pytest.approx(0, abs=1e-12)
    off = replace(product.georef, gcps=tuple(replace(g, row=g.row + 1.5) for g in points))
    assert corner_distance(source, replace(product, georef=off), scale=3) != 0
    moved = replace(product.georef.gcps[0], row=product.georef.gcps[0].row + 1.5)
    off = replace(product.georef, gcps=(moved, *product.georef.gcps[1:]))
    distance = corner_distance(source, replace(product, georef=off), scale=3)
    assert distance == pytest.approx(0.5)
    off = replace(product.georef, rpcs=product.georef.rpcs | {"LINE_OFF": "155"})
    assert (corner_distance(source, replace(product, georef=off), scale=3) or 0) > 1
    for lost in ({"gcps": ()}, {"rpcs": {}}, {"gcps_crs": None}):
        other = replace(product, georef=replace(product.georef, **lost))
        assert corner_distance(source, other, scale=3) is None


def test_a_footprint_is_that_of_odc_geo() -> None:
    source = profile(32633, (30, 0, 300_000, 0, -30, 5_000_000), 7000, 7000)
    box = GeoBox((7000, 7000), rasterio.Affine(30, 0, 300_000, 0, -30, 5_000_000), "EPSG:32633")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of shapely, within odc-geo
        want = box.extent.to_crs("EPSG:4326", resolution=10_000).geom
    found = footprint(source)
    assert found is not None
    mine = shapely.geometry.shape(found)
    assert mine.symmetric_difference(want).area / want.area < 1e-4
    assert mine.exterior.is_ccw
    assert bounding_box(found) == pytest.approx(mine.bounds)


def test_the_antimeridian_cuts_a_footprint() -> None:
    # UTM zone 1, reaching over its western border
    source = profile(32601, (60, 0, 200_000, 0, -60, 7_000_000), 1000, 5000)
    found = footprint(source)
    assert found is not None
    assert found["type"] == "MultiPolygon"
    parts = shapely.geometry.shape(found).geoms
    assert sorted(part.bounds[2] > 0 for part in parts) == [False, True]
    assert all(part.is_valid and part.exterior.is_ccw for part in parts)
    west, south, east, north = bounding_box(found)
    assert 170 < west < 180
    assert -180 < east < -170
    assert south < north


def test_a_pole_is_inside_its_footprint() -> None:
    for epsg, sign in ((3995, 1), (3031, -1)):
        found = footprint(profile(epsg, (5000, 0, -250_000, 0, -5000, 200_000), 80, 100))
        assert found is not None
        shape = shapely.geometry.shape(found)
        assert shape.is_valid
        assert shape.bounds[0] == -180
        assert shape.bounds[2] == 180
        for longitude in (-170, -90, 0, 45, 179):
            assert shape.contains(shapely.Point(longitude, sign * 89.9))
            assert not shape.contains(shapely.Point(longitude, sign * 80))
        assert bounding_box(found)[::2] == (-180, 180)


def test_control_points_give_a_footprint() -> None:
    points = tuple(
        Gcp(y, x, 500_000 + 10 * x, 4_000_000 - 10 * y, 0.0) for y in (0, 100) for x in (0, 80)
    )
    placed = profile(32633, (10, 0, 500_000, 0, -10, 4_000_000))
    by_points = replace(placed, georef=Georef(gcps=points, gcps_crs=UTM))
    mine, want = (footprint(one) for one in (by_points, placed))
    assert mine is not None
    assert want is not None
    assert bounding_box(mine) == pytest.approx(bounding_box(want))


@pytest.mark.parametrize(
    "georef",
    [
        Georef(),
        Georef(affine=(1, 0, 0, 0, 1, 0)),
        Georef(crs=rasterio.CRS.from_string("IAU_2015:30100").to_wkt(), affine=(1, 0, 0, 0, 1, 0)),
        Georef(crs=UTM, affine=(1e6, 0, 1e9, 0, -1e6, 1e9)),
    ],
    ids=["none", "no CRS", "Moon", "nowhere"],
)
def test_what_is_not_on_the_earth_has_no_footprint(georef: Georef) -> None:
    assert footprint(make_profile((1, 100, 80), georef=georef)) is None


@given(st.floats(-180, 180), st.floats(-80, 70), st.floats(0.01, 170), st.floats(0.01, 10))
def test_boxes_keep_their_size_wherever_they_lie(
    west: float, south: float, width: float, height: float
) -> None:
    ring = [(west, south), (west + width, south), (west + width, south + height)]
    ring = [*ring, (west, south + height)]
    wrapped = [((x + 180) % 360 - 180, y) for x, y in ring]
    found = geometry_of(wrapped)
    assert found is not None
    shape = shapely.geometry.shape(found)
    assert shape.area == pytest.approx(width * height, rel=1e-3, abs=1e-5)
    assert -180 <= shape.bounds[0] <= shape.bounds[2] <= 180
    left, bottom, right, top = bounding_box(found)
    assert (right - left) % 360 == pytest.approx(width, abs=1e-6)
    assert top - bottom == pytest.approx(height, abs=1e-6)


@pytest.mark.parametrize(
    "geometry", [{}, {"type": "Point", "coordinates": [1, 2]}, {"type": "Polygon"}]
)
def test_other_geometry_is_no_footprint(geometry: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no polygon"):
        rings(geometry)
