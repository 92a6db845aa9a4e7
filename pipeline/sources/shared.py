"""Decoding each piece of a source once per process, whichever of its threads needs it.

+------+------+------+        Tiles that run in different threads meet in the same blocks of the
| cell | cell | cell |        file. Every thread has a dataset of its own, with a cache of its
|   +--|------|--+   |        own: the blocks between them were decoded once per thread, which
+---|--+------+--|---+        for JPEG 2000 costs more than the network. Here windows are put
|   | window     |   |        together from cells: whole blocks, decoded by the first thread
|   +--|------|--+   |        that asks and kept for the others.
+------+------+------+
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.profile import Profile
from pipeline.radiometry import Mask, Pixels
from pipeline.tiling import Window

if TYPE_CHECKING:
    from pipeline.sources import Source

KEPT = 256 * 2**20
"""Bytes of cells that a process keeps."""
SIDE = 512
"""Cells are whole blocks, of at least this side where blocks are smaller."""
LARGEST = KEPT // 8
"""Bytes of a cell; sources whose blocks are larger are read as they are."""

Cell = NDArray[Any]
"""(band, y, x) pixels or a (y, x) mask; read-only."""


@dataclass
class Cells:
    """The cells that were used last, by key; safe to use from many threads."""

    limit: int = KEPT
    """Bytes that are kept."""
    size: int = 0
    """Bytes that are held."""
    held: OrderedDict[Hashable, Future[Cell]] = field(default_factory=OrderedDict)
    """Cells, and those that a thread is about to decode; the one used last at the end."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    """Held while the fields change, never while a cell is decoded."""

    def get(self, key: Hashable, decode: Callable[[], Cell]) -> Cell:
        """The cell of that key; `decode` is called by one of the threads that want it at once.

        What it raises is raised in that thread; the others try for themselves.
        """
        with self.lock:
            found = self.held.get(key)
            if found is None:
                mine = self.held[key] = Future[Cell]()
            else:
                self.held.move_to_end(key)
        if found is None:
            return self._decode(key, mine, decode)
        try:
            return found.result()
        except Exception:
            return decode()

    def _decode(self, key: Hashable, mine: Future[Cell], decode: Callable[[], Cell]) -> Cell:
        try:
            cell = decode()
        except BaseException as error:
            with self.lock:
                self.held.pop(key, None)
            mine.set_exception(error)
            raise
        cell.flags.writeable = False
        mine.set_result(cell)
        self._keep(cell.nbytes)
        return cell

    def _keep(self, size: int) -> None:
        """Count a new cell, and let go of the ones that were not used for longest."""
        with self.lock:
            self.size += size
            ready = [key for key, cell in self.held.items() if cell.done()]
            for key in ready[:-1]:
                if self.size <= self.limit:
                    return
                self.size -= self.held.pop(key).result().nbytes


CELLS = Cells()
"""Of this process."""


@dataclass(frozen=True, slots=True)
class SharedSource:
    """A thread's own source, read through the cells of its process."""

    source: Source
    """Decodes; used by one thread."""
    key: Hashable
    """What tells it from others."""
    cells: Cells = field(default_factory=lambda: CELLS)
    """Shared with the other threads."""

    @property
    def profile(self) -> Profile:
        """That of the source."""
        return self.source.profile

    def read(self, window: Window, frame: int = 0) -> Pixels:
        """(band, y, x) of the selected bands, to be left as they are; raises SourceError."""
        return self._joined(window, ("pixels", frame), lambda cell: self.source.read(cell, frame))

    def mask(self, window: Window, frame: int = 0) -> Mask | None:
        """Per-dataset mask (y, x), True where valid, or None; raises SourceError."""
        if not self.profile.mask:
            return self.source.mask(window, frame)
        return self._joined(
            window, ("mask", frame), lambda cell: np.asarray(self.source.mask(cell, frame))
        )

    def _joined(self, window: Window, kind: Hashable, decode: Callable[[Window], Cell]) -> Cell:
        """A window of the cells that it touches."""
        side = cell_shape(self.profile)
        if side is None or not window.height or not window.width:
            return decode(window)
        joined: Cell | None = None
        for place in _touched(window, side, self.profile):
            cell = self.cells.get((self.key, kind, place), partial(decode, place))
            both = place.overlap(window)
            if both == window:
                return cell[..., *window.within(place).slices]
            if joined is None:
                joined = np.empty((*cell.shape[:-2], *window.shape), cell.dtype)
            joined[..., *both.within(window).slices] = cell[..., *both.within(place).slices]
        assert joined is not None
        return joined


def cell_shape(profile: Profile) -> tuple[int, int] | None:
    """(height, width) of cells: whole blocks; None where blocks are too large to be kept.

    Strips that are as wide as the image make cells of as many rows as may be.
    """
    rows, columns = profile.block
    width = min(-(-SIDE // columns) * columns, profile.width)
    row = len(profile.bands) * np.dtype(profile.dtype).itemsize * width
    height = min(max(SIDE, rows), LARGEST // row) // rows * rows
    return (height, width) if height else None


def _touched(window: Window, shape: tuple[int, int], profile: Profile) -> list[Window]:
    """The cells that a window touches, in row-major order, clipped to the image."""
    height, width = shape
    return [
        Window(y, x, height, width).clip(profile.height, profile.width)
        for y in range(window.y // height * height, window.stop_y, height)
        for x in range(window.x // width * width, window.stop_x, width)
    ]
