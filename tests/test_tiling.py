"""Tiles partition the output, and read what they need."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.tiling import Tiling, Window

sizes = st.integers(1, 90)
tilings = st.builds(
    Tiling,
    height=sizes,
    width=sizes,
    scale=st.integers(1, 4),
    side=st.integers(1, 70),
    halo=st.integers(0, 7),
    align=st.sampled_from([1, 1, 8, 13]),
    frames=st.sampled_from([1, 1, 2, 3]),
)
windows = st.builds(
    Window, st.integers(-20, 40), st.integers(-20, 40), st.integers(0, 40), st.integers(0, 40)
)


@given(tilings)
def test_every_output_pixel_is_written_by_exactly_one_tile(tiling: Tiling) -> None:
    written = np.zeros((tiling.frames, *tiling.shape), int)
    for tile in tiling:
        written[tile.frame][tile.write.slices] += 1
    assert (written == 1).all()
    assert [tile.index for tile in tiling] == list(range(len(tiling)))


@given(tilings)
def test_a_tile_reads_every_scene_pixel_within_halo_and_reach_of_what_it_writes(
    tiling: Tiling,
) -> None:
    margin = tiling.halo + tiling.reach
    for tile in tiling:
        need = tile.write.coarse(tiling.scale).grow(margin).clip(tiling.height, tiling.width)
        read = tiling.read(tile)
        assert read.overlap(need) == need
        assert read.clip(tiling.height, tiling.width) == read


@given(tilings)
def test_an_aligned_core_lies_on_the_grid_of_blocks(tiling: Tiling) -> None:
    for tile in tiling:
        core = tiling.core(tile)
        assert {v % tiling.align for v in (core.y, core.x, core.height, core.width)} == {0}


@given(st.integers(0, 30))
def test_no_valid_neighbour_that_matters_lies_beyond_the_reach(halo: int) -> None:
    # an invalid pixel matters if a valid one is within the halo, at most at the corner (halo, halo)
    reach = Tiling(1, 1, 1, 1, halo).reach
    assert reach**2 <= 2 * halo**2 < (reach + 1) ** 2


@given(windows, windows)
def test_the_overlap_of_windows_is_what_both_cover(one: Window, other: Window) -> None:
    def cells(window: Window) -> set[tuple[int, int]]:
        rows, columns = range(window.y, window.stop_y), range(window.x, window.stop_x)
        return {(y, x) for y in rows for x in columns}

    assert cells(one.overlap(other)) == cells(one) & cells(other)


@given(windows, st.integers(1, 5))
def test_coarse_covers_and_fine_is_exact(window: Window, scale: int) -> None:
    assert window.fine(scale).coarse(scale) == window
    assert window.coarse(scale).fine(scale).overlap(window) == window


@given(windows.filter(lambda w: w.height and w.width), st.integers(1, 12))
def test_pieces_of_a_window_are_even_and_partition_it(window: Window, side: int) -> None:
    pieces = list(window.cut(side))
    heights, widths = {p.height for p in pieces}, {p.width for p in pieces}
    assert sum(p.height * p.width for p in pieces) == window.height * window.width
    assert max(heights) - min(heights) <= 1
    assert max(widths) - min(widths) <= 1
    assert max(heights | widths) <= side


def test_what_is_not_a_tiling_is_refused() -> None:
    with pytest.raises(ValueError, match="not a tiling"):
        Tiling(0, 5, 2, 512, 4)
    with pytest.raises(IndexError):
        Tiling(5, 5, 2, 512, 4).tile(1)
