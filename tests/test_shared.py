"""Cells: every piece of a source is decoded once per process, and windows of them are right."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from fakes import make_profile
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import SourceError
from pipeline.profile import Profile
from pipeline.sources.shared import KEPT, LARGEST, Cells, SharedSource, cell_shape
from pipeline.tiling import Window


@dataclass
class Counting:
    """A source of numbered pixels that counts the windows it decodes."""

    profile: Profile
    decoded: list[Window] = field(default_factory=list)
    broken: bool = False

    def read(self, window: Window, frame: int = 0) -> np.ndarray:
        self.decoded.append(window)
        if self.broken:
            raise SourceError("is damaged", uri=self.profile.uri)
        whole = np.arange(self.profile.height * self.profile.width, dtype=np.uint32)
        whole = whole.reshape(self.profile.height, self.profile.width)[window.slices]
        whole = whole + np.uint32(7 * frame)
        return np.stack([whole + band for band in range(len(self.profile.bands))])

    def mask(self, window: Window, frame: int = 0) -> np.ndarray | None:
        return self.read(window, frame)[0] % 3 > 0 if self.profile.mask else None


def counting(
    height: int, width: int, block: tuple[int, int], *, bands: int = 1, mask: bool = False
) -> Counting:
    profile = make_profile((bands, height, width), "uint32", mask=mask)
    return Counting(replace(profile, block=block))


@given(st.data(), st.tuples(st.integers(1, 700), st.integers(1, 700)), st.booleans())
def test_a_window_of_cells_is_the_window_of_the_source(
    data: st.DataObject, block: tuple[int, int], mask: bool
) -> None:
    height, width = data.draw(st.integers(1, 1500)), data.draw(st.integers(1, 1500))
    plain = counting(height, width, block, bands=2, mask=mask)
    shared = SharedSource(plain, "key", Cells(limit=2**20))
    for _ in range(2):
        y, x = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
        window = Window(
            y, x, data.draw(st.integers(0, height - y)), data.draw(st.integers(0, width - x))
        )
        for frame in (0, 1):
            found, wanted = shared.read(window, frame), plain.read(window, frame)
            np.testing.assert_array_equal(found, wanted)
        ours, theirs = shared.mask(window), plain.mask(window)
        assert (ours is None) == (theirs is None)
        np.testing.assert_array_equal(ours, theirs)


def test_threads_decode_each_block_once() -> None:
    cells, plain = Cells(), counting(2000, 2000, (512, 512))
    windows = [Window(y, x, 320, 320) for y in range(0, 1600, 160) for x in range(0, 1600, 160)]
    barrier = threading.Barrier(4)

    def read(part: int) -> None:
        mine = SharedSource(plain, "key", cells)  # each thread has its own, the cells are common
        barrier.wait()
        for window in windows[part::4]:
            assert mine.read(window)[0, 0, 0] == window.y * 2000 + window.x

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(read, range(4)))
    assert len(plain.decoded) == len(set(plain.decoded)) == 16


def test_what_was_not_used_for_longest_is_let_go() -> None:
    plain = counting(512, 5 * 512, (512, 512))
    cells = Cells(limit=3 * 512 * 512 * 4)
    shared = SharedSource(plain, "key", cells)
    for column in (0, 1, 2, 0, 3, 0, 1):
        shared.read(Window(0, column * 512, 9, 9))
        assert cells.size <= cells.limit
    assert [window.x // 512 for window in plain.decoded] == [0, 1, 2, 3, 1]


def test_an_error_is_raised_each_time_and_nothing_is_kept() -> None:
    plain = counting(600, 600, (512, 512))
    cells = Cells()
    shared = SharedSource(plain, "key", cells)
    plain.broken = True
    for _ in range(2):
        with pytest.raises(SourceError, match="is damaged"):
            shared.read(Window(0, 0, 9, 9))
    assert (len(cells.held), cells.size) == (0, 0)
    plain.broken = False
    assert shared.read(Window(0, 0, 9, 9)).shape == (1, 9, 9)


def test_sources_of_other_keys_share_nothing_and_cells_are_read_only() -> None:
    cells, one, two = Cells(), counting(9, 9, (9, 9)), counting(9, 9, (9, 9))
    pixels = SharedSource(one, "one", cells).read(Window(0, 0, 9, 9))
    SharedSource(two, "two", cells).read(Window(0, 0, 9, 9))
    assert len(one.decoded) == len(two.decoded) == 1
    with pytest.raises(ValueError, match="read-only"):
        pixels[:] = 0


@pytest.mark.parametrize(
    ("block", "cell"),
    [
        ((512, 512), (512, 512)),
        ((128, 256), (512, 512)),
        ((1024, 1024), (1024, 1024)),
        ((1, 20_000), (LARGEST // (4 * 4 * 20_000), 20_000)),
        ((20_000, 20_000), None),
    ],
)
def test_cells_are_whole_blocks_of_a_bounded_size(
    block: tuple[int, int], cell: tuple[int, int] | None
) -> None:
    plain = counting(20_000, 20_000, block, bands=4)
    assert cell_shape(plain.profile) == cell
    assert cell is None or 4 * 4 * cell[0] * cell[1] <= LARGEST < KEPT
