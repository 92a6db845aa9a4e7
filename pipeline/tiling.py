"""Which pixels a tile writes, and which it must read to get them right.

The output is cut into square write windows that partition it. All that follows is integer
arithmetic on low-resolution (LR) pixels, drawn here once:

      fine grid (output)               LR grid (input)

    +----+----+----+              read   = core grown by halo + reach, clipped to the scene
    |    |    |    |              +---------------------------+
    +----+----+----+              |  reach: where fills come from
    |    | W  |    |   / scale    |   +-------------------+   |
    +----+----+----+  ------->    |   |  halo             |   |
    |    |    |    |              |   |   +-----------+   |   |
    +----+----+----+              |   |   |  core     |   |   |
                                  |   |   +-----------+   |   |
    W = tile.write                |   +-------------------+   |
                                  +---------------------------+

`core` is W / scale, rounded outwards to whole LR pixels (and to whole blocks where a backend
wants its blocks on a fixed grid). What the halo lacks at the scene's border is mirrored.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangle of pixels; may lie partly outside the image it refers to."""

    y: int
    """First row."""
    x: int
    """First column."""
    height: int
    """Rows."""
    width: int
    """Columns."""

    def __post_init__(self) -> None:
        if self.height < 0 or self.width < 0:
            raise ValueError(f"a window cannot be {self.height} x {self.width}")

    @property
    def stop_y(self) -> int:
        """One past the last row."""
        return self.y + self.height

    @property
    def stop_x(self) -> int:
        """One past the last column."""
        return self.x + self.width

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""
        return (self.height, self.width)

    @property
    def slices(self) -> tuple[slice, slice]:
        """Row and column slices; only for windows that lie inside their image."""
        return (slice(self.y, self.stop_y), slice(self.x, self.stop_x))

    def grow(self, margin: int) -> Window:
        """The window with `margin` more pixels on each side."""
        return Window(
            self.y - margin, self.x - margin, self.height + 2 * margin, self.width + 2 * margin
        )

    def clip(self, height: int, width: int) -> Window:
        """The part inside an image of that size."""
        return self.overlap(Window(0, 0, height, width))

    def fine(self, scale: int) -> Window:
        """The same ground on a grid `scale` times finer."""
        return Window(self.y * scale, self.x * scale, self.height * scale, self.width * scale)

    def coarse(self, scale: int) -> Window:
        """The smallest window on a grid `scale` times coarser that covers this one."""
        y, x = self.y // scale, self.x // scale
        return Window(y, x, -(-self.stop_y // scale) - y, -(-self.stop_x // scale) - x)

    def within(self, outer: Window) -> Window:
        """This window in the coordinates of `outer`."""
        return Window(self.y - outer.y, self.x - outer.x, self.height, self.width)

    def overlap(self, other: Window) -> Window:
        """The part that both windows cover; empty where they do not meet."""
        y, x = max(self.y, other.y), max(self.x, other.x)
        height = max(min(self.stop_y, other.stop_y) - y, 0)
        return Window(y, x, height, max(min(self.stop_x, other.stop_x) - x, 0))

    def blocks(self, side: int) -> Iterator[Window]:
        """Pieces of exactly `side` pixels a side but for the last ones, in row-major order."""
        for y in range(self.y, self.stop_y, side):
            for x in range(self.x, self.stop_x, side):
                yield Window(y, x, side, side).overlap(self)

    def cut(self, side: int) -> Iterator[Window]:
        """Even pieces of at most `side` pixels a side, in row-major order."""
        for y, height in _even(self.height, side):
            for x, width in _even(self.width, side):
                yield Window(self.y + y, self.x + x, height, width)


def _even(length: int, side: int) -> Iterator[tuple[int, int]]:
    """(offset, length) of the fewest pieces of at most `side`, as equal as integers allow."""
    pieces = -(-length // side)
    stops = [length * (i + 1) // pieces for i in range(pieces)]
    start = 0
    for stop in stops:
        yield start, stop - start
        start = stop


@dataclass(frozen=True, slots=True)
class Tile:
    """One unit of work: a square of the output, cut short at the right and lower border."""

    index: int
    """Position in row-major order, frame by frame."""
    row: int
    """Row in the grid of tiles."""
    column: int
    """Column in the grid of tiles."""
    write: Window
    """Fine pixels that this tile alone writes."""
    frame: int = 0
    """The frame that they are of."""


@dataclass(frozen=True, slots=True)
class Tiling:
    """The cut of one scene into tiles."""

    height: int
    """Rows of the scene, in LR pixels."""
    width: int
    """Columns of the scene, in LR pixels."""
    scale: int
    """Fine pixels per LR pixel along one axis."""
    side: int
    """Side of a tile in fine pixels."""
    halo: int
    """LR pixels of context that the network consumes on each side."""
    align: int = 1
    """Cores start and end on multiples of this many LR pixels (1: anywhere)."""
    frames: int = 1
    """Images of that size, each cut alike; no tile sees two of them."""

    def __post_init__(self) -> None:
        sizes = (self.height, self.width, self.scale, self.side, self.align, self.frames)
        if min(sizes) < 1 or self.halo < 0:
            raise ValueError(f"not a tiling: {self}")

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of the output in fine pixels."""
        return (self.height * self.scale, self.width * self.scale)

    @property
    def rows(self) -> int:
        """Rows of tiles."""
        return -(-self.height * self.scale // self.side)

    @property
    def columns(self) -> int:
        """Columns of tiles."""
        return -(-self.width * self.scale // self.side)

    @property
    def reach(self) -> int:
        """How far the fill of an invalid pixel that matters can lie, in LR pixels.

        An invalid pixel matters when a valid one lies within the halo of it, so at most
        halo * sqrt(2) away; its nearest valid pixel is no farther.
        """
        return math.isqrt(2 * self.halo * self.halo)

    def __len__(self) -> int:
        return self.rows * self.columns * self.frames

    def __iter__(self) -> Iterator[Tile]:
        return (self.tile(index) for index in range(len(self)))

    def tile(self, index: int) -> Tile:
        """The tile at `index`, in row-major order, frame by frame; raises IndexError beyond."""
        if not 0 <= index < len(self):
            raise IndexError(f"tile {index} of {len(self)}")
        frame, place = divmod(index, self.rows * self.columns)
        row, column = divmod(place, self.columns)
        square = Window(row * self.side, column * self.side, self.side, self.side)
        return Tile(index, row, column, square.clip(*self.shape), frame)

    def core(self, tile: Tile) -> Window:
        """LR pixels whose fine pixels the tile needs; beyond the scene only if aligned."""
        return tile.write.coarse(self.scale * self.align).fine(self.align)

    def read(self, tile: Tile) -> Window:
        """LR pixels that the tile needs from the source, inside the scene."""
        return self.core(tile).grow(self.halo + self.reach).clip(self.height, self.width)
