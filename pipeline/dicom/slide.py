"""A whole slide: which files hold its finest level, and which of their frames a window touches.

    total pixel matrix                TILED_FULL      frame = row * columns + column of tiles
    +---+---+---+                     TILED_SPARSE    every frame says where it lies
    | 0 | 1 | 2 |                     concatenation   frames go on in the next file
    +---+---+-+-+
    | 3 | 4 | 5 |   tiles are whole, what reaches beyond the matrix is cut off
    +---+---+-+-+

Focal planes and optical paths are matrices of their own, one behind the other. Label, overview and
thumbnail are never looked at. DICOM PS3.3, sections C.7.6.17.3 and C.8.12.4.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.dicom.series import open_series
from pipeline.dicom.slide_header import Focus, Layout, Sheet, read_sheet
from pipeline.errors import SourceError
from pipeline.tiling import Window

if TYPE_CHECKING:
    from pydicom import Dataset


@dataclass(frozen=True, slots=True, eq=False)
class Share:
    """What one file holds of a level."""

    sheet: Sheet
    """The file."""
    matrices: tuple[int, ...]
    """Which of the slide's matrices its own are, in their order."""

    def frames(self, window: Window, matrix: int) -> Iterator[tuple[int, Window]]:
        """(frame, window of its pixels in the matrix) of all tiles that touch a window."""
        if matrix not in self.matrices:
            return
        own, layout = self.matrices.index(matrix), self.sheet.layout
        if self.sheet.places is not None:
            yield from _touching(self.sheet.places, own, window, layout.tile)
            return
        for row, column in _grid(window, layout):
            place = (own * layout.rows + row) * layout.columns + column - self.sheet.first
            if 0 <= place < self.sheet.number:
                height, width = layout.tile
                yield place, Window(row * height, column * width, height, width)


def _touching(
    places: NDArray[np.int64], own: int, window: Window, tile: tuple[int, int]
) -> Iterator[tuple[int, Window]]:
    """Of frames that lie anywhere: those that touch a window, in the order of the file."""
    matrix, y, x = places.T
    height, width = tile
    touching = (
        (matrix == own)
        & (y < window.stop_y)
        & (y + height > window.y)
        & (x < window.stop_x)
        & (x + width > window.x)
    )
    for frame in np.flatnonzero(touching).tolist():
        yield frame, Window(int(y[frame]), int(x[frame]), height, width)


def _grid(window: Window, layout: Layout) -> Iterator[tuple[int, int]]:
    """(row, column) of the tiles that a window touches."""
    height, width = layout.tile
    for row in range(window.y // height, -(-window.stop_y // height)):
        for column in range(window.x // width, -(-window.stop_x // width)):
            yield row, column


@dataclass(frozen=True, slots=True, eq=False)
class Slide:
    """The finest level of a slide."""

    layout: Layout
    """Its size and that of its tiles."""
    focuses: tuple[Focus, ...]
    """Optical path and height of each matrix."""
    shares: tuple[Share, ...]
    """The files that hold it."""
    gaps: bool
    """Whether some of its tiles may be missing."""

    @property
    def header(self) -> Dataset:
        """What its first file says, but for its pixels and for where its frames lie."""
        return self.shares[0].sheet.header

    @property
    def paths(self) -> tuple[str, ...]:
        """Identifiers of its optical paths, in order."""
        return tuple(dict.fromkeys(focus.path for focus in self.focuses))

    @property
    def spacing(self) -> tuple[float, float] | None:
        """(between rows, between columns) in millimetres; None where it is not said."""
        return self.shares[0].sheet.spacing


def open_slide(uri: str) -> Slide:
    """The slide of a path, or of `PATH#ID`; read once while its files stay as they are.

    Raises SourceError.
    """
    paths = open_series(uri).paths
    found = map(os.stat, paths)
    return _of_files(paths, tuple((status.st_size, status.st_mtime_ns) for status in found))


@lru_cache(maxsize=4)
def _of_files(paths: tuple[str, ...], versions: tuple[tuple[int, int], ...]) -> Slide:  # noqa: ARG001
    """The slide of a series; files that have changed are read again."""
    return find_slides(paths)[0]


def find_slides(paths: Iterable[str]) -> tuple[Slide, ...]:
    """The slides among files of the class, one a series; raises SourceError for damaged ones."""
    series = dict[str, list[Sheet]]()
    seen = set[str]()
    for path in paths:
        sheet = read_sheet(path)
        if sheet is not None and sheet.uid not in seen:
            series.setdefault(sheet.series, []).append(sheet)
            seen.add(sheet.uid)
    if not series:
        raise SourceError(
            "holds no image of the slide itself, but its label, overview or thumbnail"
        )
    return tuple(_finest(sheets) for sheets in series.values())


def _finest(sheets: Sequence[Sheet]) -> Slide:
    """The slide that is made of the largest matrix of a series."""
    if len({sheet.pyramid for sheet in sheets} - {""}) > 1:
        raise SourceError(
            "holds several pyramids in one series of slides; put each into a directory of its own"
        )
    largest = max(sheets, key=lambda sheet: sheet.layout.height * sheet.layout.width)
    level = [sheet for sheet in sheets if sheet.layout.shape == largest.layout.shape]
    if any(sheet.layout != largest.layout or sheet.kind != largest.kind for sheet in level):
        raise SourceError(
            f"holds several images of {largest.layout.height} x {largest.layout.width} pixels that "
            "are stored in different ways; put each into a directory of its own"
        )
    level.sort(key=lambda sheet: (sheet.order, sheet.first))
    focuses = _focuses(level)
    shares = tuple(
        Share(sheet, tuple(focuses.index(focus) for focus in sheet.focuses)) for sheet in level
    )
    _check_whole(shares)
    return Slide(largest.layout, focuses, shares, _has_gaps(shares, len(focuses)))


def _focuses(sheets: Sequence[Sheet]) -> tuple[Focus, ...]:
    """All optical paths in the order in which they are found, each from the glass upwards."""
    paths = list(dict.fromkeys(focus.path for sheet in sheets for focus in sheet.focuses))
    found = {focus for sheet in sheets for focus in sheet.focuses}
    return tuple(sorted(found, key=lambda focus: (paths.index(focus.path), focus.height)))


def _check_whole(shares: Sequence[Share]) -> None:
    """Raise SourceError unless every image is there once, with all its parts."""
    images = dict[str, list[Share]]()
    for share in shares:
        images.setdefault(share.sheet.concatenation or share.sheet.uid, []).append(share)
    for parts in images.values():
        if len(parts) < parts[0].sheet.parts:
            raise SourceError(
                f"holds {len(parts)} of the {parts[0].sheet.parts} parts of a concatenation; put "
                "all of them into the directory"
            )
    full = [parts for parts in images.values() if parts[0].sheet.places is None]
    held = [matrix for parts in full for matrix in parts[0].matrices]
    if len(set(held)) < len(held):
        raise SourceError(
            "holds two images of the same part of a slide; leave one of them in the directory"
        )
    for parts in full:
        _check_frames(sorted(parts, key=lambda share: share.sheet.first))


def _check_frames(parts: Sequence[Share]) -> None:
    """Raise SourceError unless the frames of TILED_FULL go from the first tile to the last."""
    layout, found = parts[0].sheet.layout, 0
    for share in parts:
        if share.sheet.first != found:
            raise SourceError(
                f"is a concatenation with a part that begins with frame {share.sheet.first} where "
                f"frame {found} comes next"
            )
        found += share.sheet.number
    tiles = layout.rows * layout.columns * len(parts[0].matrices)
    if found != tiles:
        raise SourceError(
            f"has {found} frames where {tiles} tiles of {layout.tile[0]} x {layout.tile[1]} make "
            f"up {layout.height} x {layout.width} pixels"
        )


def _has_gaps(shares: Sequence[Share], matrices: int) -> bool:
    """Whether tiles of a grid may be missing; of those that lie anywhere that is not looked at."""
    layout, found = shares[0].sheet.layout, set[tuple[int, ...]]()
    full = {matrix for s in shares if s.sheet.places is None for matrix in s.matrices}
    for share in shares:
        if share.sheet.places is not None:
            own, y, x = share.sheet.places.T
            if (y % layout.tile[0]).any() or (x % layout.tile[1]).any():
                return True
            global_ones = np.array(share.matrices)[own]
            found |= set(zip(global_ones.tolist(), y.tolist(), x.tolist(), strict=True))
    lacking = layout.rows * layout.columns * (matrices - len(full))
    return len([place for place in found if place[0] not in full]) < lacking
