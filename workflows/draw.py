"""Windows of many areas, drawn evenly without ever being listed.

area of a source                  A window is a piece; areas are cut into the fewest even
+----+----+----+----+             pieces of at most the side. A stretch of some pieces each way
| piece   |    |    |             is read at once, for files are stored in blocks and strips,
+--- stretch --+----+             and is what is drawn.
|    |    |    |    |
+----+----+----+----+
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from pipeline.tiling import Window
from workflows.split import Area


@dataclass(frozen=True, slots=True, order=True)
class Stretch:
    """Neighbouring pieces of one source, which are read together."""

    source: int
    """Which source."""
    rows: tuple[int, ...]
    """Where rows of pieces begin, and where the last ends."""
    columns: tuple[int, ...]
    """Where columns of pieces begin, and where the last ends."""

    @property
    def window(self) -> Window:
        """All of it."""
        return _window(self.rows[0], self.columns[0], self.rows[-1], self.columns[-1])

    def pieces(self) -> Iterator[Window]:
        """Its pieces, in row-major order."""
        for top, bottom in pairwise(self.rows):
            for left, right in pairwise(self.columns):
                yield _window(top, left, bottom, right)


def _window(top: int, left: int, bottom: int, right: int) -> Window:
    return Window(top, left, bottom - top, right - left)


@dataclass(frozen=True, slots=True)
class Cut:
    """An area, and how it is cut."""

    area: Area
    """What is cut."""
    side: int
    """Most pixels of a piece along one axis."""
    scale: int
    """Sides of pieces are multiples of it: up to scale - 1 rows and columns are left over."""
    run: int
    """Pieces of a stretch along one axis."""

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) of pieces."""
        window = self.area.window
        return (self._count(window.height), self._count(window.width))

    @property
    def stretches(self) -> int:
        """How many there are."""
        rows, columns = (-(-count // self.run) for count in self.shape)
        return rows * columns

    def stretch(self, index: int) -> Stretch:
        """The stretch at `index`, in row-major order."""
        window = self.area.window
        row, column = divmod(index, -(-self.shape[1] // self.run))
        rows = self._edges(window.y, window.height, row)
        return Stretch(self.area.source, rows, self._edges(window.x, window.width, column))

    def _count(self, length: int) -> int:
        return -(-(length // self.scale) // (self.side // self.scale))

    def _edges(self, start: int, length: int, place: int) -> tuple[int, ...]:
        count, coarse = self._count(length), length // self.scale
        first = place * self.run
        numbers = range(first, min(first + self.run, count) + 1)
        return tuple(start + coarse * i // count * self.scale for i in numbers)


def drawn(cuts: Sequence[Cut], seed: int) -> Iterator[Stretch]:
    """Every stretch of all areas once, in an order that the seed decides."""
    ends = list(accumulate(cut.stretches for cut in cuts))
    for index in shuffled(ends[-1] if ends else 0, seed):
        which = bisect_right(ends, index)
        yield cuts[which].stretch(index - ends[which] + cuts[which].stretches)


def shuffled(count: int, seed: int) -> Iterator[int]:
    """0 to count - 1 in random order; holds only what has been drawn.

    R. A. Fisher and F. Yates's shuffle, of which only the places that changed are kept.
    """
    draw, moved = random.Random(seed), dict[int, int]()
    for i in range(count):
        j, here = draw.randrange(i, count), moved.pop(i, i)
        yield here if j == i else moved.get(j, j)
        if j != i:
            moved[j] = here
