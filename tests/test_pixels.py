"""Filling, rounding, overviews and statistics."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pipeline.fill import dilate, fill_nearest
from pipeline.pyramid import BLOCK, halve, level_shapes, levels_within
from pipeline.radiometry import Radiometry, as_code, avoid_nodata, keep_off, round_to
from pipeline.statistics import add_up, measure

WHOLE = [((slice(None),), (slice(None), slice(None)))]
"""All rows."""

masks = arrays.arrays(bool, arrays.array_shapes(min_dims=2, max_dims=2, max_side=14))


@given(masks, st.integers(0, 5))
def test_a_hole_takes_its_nearest_valid_neighbour(valid: np.ndarray, reach: int) -> None:
    pixels = np.arange(valid.size, dtype=np.float32).reshape(valid.shape) + 1
    filled = fill_nearest(np.where(valid, pixels, np.nan), valid, reach=reach, constant=-1)
    for y, x in np.ndindex(valid.shape):
        near = [
            ((v - y) ** 2 + (u - x) ** 2, v - y, u - x)
            for v, u in zip(*np.nonzero(valid), strict=True)
            if max(abs(v - y), abs(u - x)) <= reach
        ]
        expected = -1.0
        if near:
            _, dy, dx = min(near)
            expected = pixels[y + dy, x + dx]
        assert filled[y, x] == expected


@given(masks, st.integers(0, 20))
def test_dilation_reaches_so_far_and_no_farther(mask: np.ndarray, reach: int) -> None:
    expected = np.zeros_like(mask)
    for y, x in zip(*np.nonzero(mask), strict=True):
        expected[max(y - reach, 0) : y + reach + 1, max(x - reach, 0) : x + reach + 1] = True
    np.testing.assert_array_equal(dilate(mask, reach), expected)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32"])
def test_integers_round_to_nearest_and_clip_at_their_own_ends(dtype: str) -> None:
    info = np.iinfo(dtype)
    values = np.array([info.min - 1e3, info.min, 0.49, 1.51, info.max, info.max + 1e3])
    pixels = np.zeros(values.shape, dtype)
    assert round_to(values, (info.min, info.max), into=pixels) == 2
    assert pixels.tolist() == [info.min, info.min, 0, 2, info.max, info.max]


reals = st.one_of(
    st.integers(-140_000, 140_000).map(lambda n: n / 2),  # halves, and what does not fit
    st.sampled_from([-3e38, -1e9, -(2.0**23), 2.0**22, 2.0**24, 1e9, 3e38]),
    st.floats(-70_000, 70_000, width=32),
)


@given(
    st.sampled_from(["uint8", "int8", "uint16", "int16", "int32"]),
    st.lists(reals, min_size=1, max_size=40),
    st.sampled_from([0.0, 1.0, 2083.0, -300.0, 65535.0, 0.25, 70_000.0]),
    st.sampled_from([None, 0.0, 99.0, 255.0, -9999.0, 65535.0, 7.0, 0.5, math.nan, math.inf]),
    st.sampled_from([None, (0, 99), (0, 127)]),
)
def test_what_a_network_says_becomes_the_nearest_value_that_is_not_nodata(
    dtype: str,
    light: list[float],
    centre: float,
    nodata: float | None,
    limits: tuple[int, int] | None,
) -> None:
    info, into = np.iinfo(dtype), np.zeros((1, len(light)), dtype)
    lowest, highest = limits or (int(info.min), int(info.max))
    values = np.array([light], np.float32)
    exact = values.astype(np.float64) + centre
    if not (centre.is_integer() and abs(centre) <= 65536):
        exact = (values + np.float32(centre)).astype(np.float64)
    nearest = np.rint(exact)
    clipped = np.clip(nearest, lowest, highest)
    if nodata is not None:
        step = -1 if nodata == highest else 1
        clipped[clipped == nodata] += step
    radiometry = Radiometry(dtype, 1.0, (centre,), nodata=nodata, limits=limits)
    assert radiometry.from_network(values, band=0).write(WHOLE, into) == (
        np.count_nonzero((nearest < lowest) | (nearest > highest))
    )
    np.testing.assert_array_equal(into, clipped)


@given(
    st.sampled_from(["int16", "uint16", "float32"]),
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=1, max_size=30),
    st.integers(1, 50),
    st.integers(0, 9),
)
def test_a_range_is_left_to_the_side_of_the_source(
    dtype: str, values: list[tuple[int, int]], low: int, length: int
) -> None:
    fine, near = np.array(values, dtype).T[:, None]
    before, high = fine.copy(), low + length
    keep_off(fine, near, (low, high))
    hit = (before >= low) & (before <= high)
    within = (near >= low) & (near <= high)
    moved = hit & ~within
    np.testing.assert_array_equal(fine[~moved], before[~moved])
    assert (fine[moved & (near > high)] > high).all()
    assert (fine[moved & (near < low)] < low).all()
    assert (np.abs(fine[moved] - np.where(near > high, high, low)[moved]) <= 1).all()


@given(
    st.sampled_from(["uint8", "int16", "uint16", "uint32", "int32"]),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_values_survive_the_way_to_the_network_and_back(
    dtype: str, where: float, centre: float
) -> None:
    info = np.iinfo(dtype)
    span = min(int(info.max) - int(info.min), 2**20)
    middle = int(info.min) + int(centre * (int(info.max) - int(info.min) - span))
    pixels = np.array([[middle + int(where * span)]], dtype)
    radiometry = Radiometry(dtype, 1.0, (float(middle),))
    light = radiometry.to_network(pixels, band=0)
    assert light.dtype == np.float32
    back = np.zeros_like(pixels)
    clipped = radiometry.from_network(light, band=0).write(WHOLE, back)
    assert back.tolist() == pixels.tolist()
    assert clipped == 0


def test_a_range_is_mapped_linearly_and_values_beyond_it_survive() -> None:
    radiometry = Radiometry("uint16", 10_000.0, (0.0,))
    pixels = np.array([[0, 5_000, 10_000, 20_000]], np.uint16)
    light = radiometry.to_network(pixels, band=0)
    np.testing.assert_allclose(light, [[0, 0.5, 1, 2]])
    back = np.zeros_like(pixels)
    radiometry.from_network(light, band=0).write(WHOLE, back)
    assert back.tolist() == pixels.tolist()


@pytest.mark.parametrize(
    ("dtype", "nodata", "moved"),
    [("uint8", 0, 1), ("uint8", 255, 254), ("int16", -9999, -9998), ("uint16", 65535, 65534)],
)
def test_a_valid_value_never_reads_as_nodata(dtype: str, nodata: float, moved: int) -> None:
    pixels = np.array([[nodata, 7]], dtype)
    assert avoid_nodata(pixels, nodata).tolist() == [[moved, 7]]


def test_a_float_that_equals_nodata_moves_by_the_smallest_step() -> None:
    pixels = np.array([-9999.0, 1.0], np.float32)
    assert avoid_nodata(pixels, -9999.0)[0] == np.nextafter(np.float32(-9999), np.float32(0))


@pytest.mark.parametrize(
    ("value", "dtype", "held"),
    [(0.0, "uint8", True), (-1.0, "uint8", False), (0.5, "int16", False), (1e40, "float64", True)],
)
def test_nodata_counts_only_where_the_type_can_hold_it(
    value: float, dtype: str, held: bool
) -> None:
    assert (as_code(value, np.dtype(dtype)) is not None) is held


shapes = st.tuples(st.integers(1, 2), st.integers(1, 150), st.integers(1, 150))


@given(shapes, st.sampled_from(["uint8", "int16", "uint32", "float32"]), st.integers(0, 99))
def test_an_overview_pixel_is_the_mean_of_the_valid_ones_below(
    shape: tuple[int, int, int], dtype: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0 if dtype[0] == "u" else -90, 120, shape).astype(dtype)
    valid = rng.random(shape) < rng.choice([0.0, 0.3, 1.0])
    coarse, good = halve(pixels, valid, method="average")
    for band, y, x in np.ndindex(coarse.shape):
        here = (band, slice(2 * y, 2 * y + 2), slice(2 * x, 2 * x + 2))
        values = pixels[here][valid[here]].astype(float)
        assert bool(values.size) == bool(True if good is None else good[band, y, x])
        if not values.size:
            assert coarse[band, y, x] == pixels[band, 2 * y, 2 * x]
        elif dtype == "float32":
            assert coarse[band, y, x] == pytest.approx(values.mean(), rel=1e-6)
        else:
            assert coarse[band, y, x] == math.floor(values.mean() + 0.5)


def test_an_overview_never_reads_as_nodata_where_something_is_valid() -> None:
    pixels = np.array([[[-1, 1], [1, -1]]], np.int16)
    assert halve(pixels, None, method="average", nodata=0)[0].tolist() == [[[1]]]


def test_modes_are_values_that_occur_and_ties_go_to_the_first() -> None:
    pixels = np.array([[[5, 9, 1, 2], [9, 7, 2, 1]]], np.uint8)
    assert halve(pixels, None, method="mode")[0].tolist() == [[[9, 1]]]
    valid = np.array([[[1, 0, 0, 1], [0, 1, 0, 0]]], bool)
    coarse, good = halve(pixels, valid, method="mode")
    assert coarse.tolist() == [[[5, 2]]]
    assert good is None


@given(st.integers(1, 300_000), st.integers(1, 300_000))
def test_levels_halve_until_one_block_holds_them(height: int, width: int) -> None:
    shapes = level_shapes(height, width)
    assert shapes[0] == (height, width)
    assert max(shapes[-1]) <= BLOCK
    assert all(max(shape) > BLOCK for shape in shapes[:-1])
    for fine, coarse in itertools.pairwise(shapes):
        assert coarse == ((fine[0] + 1) // 2, (fine[1] + 1) // 2)


def test_a_tile_makes_the_levels_that_are_whole_blocks_of_it() -> None:
    assert [levels_within(BLOCK * n) for n in (1, 2, 3, 4, 6, 8)] == [0, 1, 0, 2, 1, 3]


@given(st.sampled_from(["uint8", "int16", "uint16", "float32", "float64"]), st.integers(0, 99))
def test_statistics_do_not_depend_on_the_cut(dtype: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pixels = (rng.random((2, 2 * BLOCK + 7, BLOCK + 3)) * 250).astype(dtype)
    valid = rng.random(pixels.shape) < 0.7
    whole = measure(pixels, valid)
    rows = [slice(0, BLOCK), slice(BLOCK, 2 * BLOCK + 7)]
    parts = [measure(pixels[:, r], valid[:, r]) for r in reversed(rows)]
    for band, found in enumerate(whole):
        assert add_up(part[band] for part in parts) == found
        values = pixels[band][valid[band]].astype(float)
        assert (found.minimum, found.maximum) == (values.min(), values.max())
        assert found.count == values.size
        assert found.mean == pytest.approx(values.mean())
        assert found.deviation == pytest.approx(values.std())


def test_sums_of_integers_are_exact() -> None:
    found = measure(np.full((1, BLOCK, BLOCK), 65535, np.uint16), None)[0]
    assert found.sum == Fraction(65535 * BLOCK * BLOCK)
    assert found.squares == Fraction(65535**2 * BLOCK * BLOCK)
    assert found.deviation == 0


def test_nothing_valid_has_no_mean() -> None:
    found = measure(np.zeros((1, 3, 3), np.uint8), np.zeros((1, 3, 3), bool))[0]
    assert (found.count, found.total) == (0, 9)
    assert math.isnan(found.mean)
    assert math.isnan(found.deviation)
