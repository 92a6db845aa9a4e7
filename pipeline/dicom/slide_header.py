"""What the header of one file of a slide says of its tiles."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.dicom.elements import elements, items
from pipeline.dicom.headers import DAMAGE, quiet, read_header
from pipeline.errors import SourceError

if TYPE_CHECKING:
    from pydicom import Dataset

MOST_MATRICES = 4096
"""Optical paths times focal planes of a slide; real ones have a few dozen."""
FRAMES = 0x52009230
"""Per-frame functional groups."""
POSITION, COLUMN, ROW, HEIGHT = 0x0048021A, 0x0048021E, 0x0048021F, 0x0040074A
"""Where a frame lies, and what stands in it: from 1, from 1, in micrometres."""
PATH, NAME = 0x00480207, 0x00480106
"""Which optical path a frame was seen by: its identifier."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The total pixel matrix and its tiles."""

    height: int
    """Rows of the matrix."""
    width: int
    """Columns of the matrix."""
    tile: tuple[int, int]
    """(rows, columns) of a tile."""

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""
        return self.height, self.width

    @property
    def rows(self) -> int:
        """Rows of tiles."""
        return -(-self.height // self.tile[0])

    @property
    def columns(self) -> int:
        """Columns of tiles."""
        return -(-self.width // self.tile[1])


@dataclass(frozen=True, slots=True)
class Focus:
    """What one matrix shows."""

    path: str
    """Identifier of the optical path; empty where there is none."""
    height: float
    """Above the glass, in micrometres."""


@dataclass(frozen=True, slots=True, eq=False)
class Sheet:
    """The facts of one file."""

    path: str
    """Where it lies."""
    header: Dataset
    """What it says, but for its pixels and for where its frames lie."""
    uid: str
    """Of the instance."""
    series: str
    """UID of its series."""
    pyramid: str
    """UID of its pyramid; empty where it says none."""
    order: int
    """Instance number."""
    layout: Layout
    """Its tiles."""
    kind: tuple[str, int, int]
    """Photometric interpretation, bits a sample and samples a pixel."""
    spacing: tuple[float, float] | None
    """(between rows, between columns) in millimetres."""
    focuses: tuple[Focus, ...]
    """Its matrices, in order."""
    number: int
    """Frames."""
    concatenation: str
    """UID of the concatenation that it is a part of; empty for none."""
    first: int
    """Place of its first frame in the concatenation."""
    parts: int
    """Files of the concatenation; 1 where it does not say how many."""
    places: NDArray[np.int64] | None
    """(frame, 3) matrix, first row and first column of each frame; None for TILED_FULL."""


def read_sheet(path: str) -> Sheet | None:
    """The facts of a file, None of a label, an overview or a thumbnail; raises SourceError."""
    header = read_header(path)
    try:
        with quiet():
            return _sheet(path, header) if header.ImageType[2] == "VOLUME" else None
    except DAMAGE:  # its text may repeat a value
        raise SourceError(
            "is a slide whose header lacks what it takes to place its tiles", uri=path
        ) from None


def _sheet(path: str, header: Dataset) -> Sheet:
    layout = Layout(
        _positive(header, "TotalPixelMatrixRows"),
        _positive(header, "TotalPixelMatrixColumns"),
        (_positive(header, "Rows"), _positive(header, "Columns")),
    )
    spacing = _spacing(header)
    if _is_sparse(header):
        focuses, places = _places(header)
    else:
        focuses, places = _full_focuses(header), None
    _forget_frames(header)
    return Sheet(
        path=path,
        header=header,
        uid=str(header.SOPInstanceUID),
        series=str(header.SeriesInstanceUID),
        pyramid=str(header.get("PyramidUID") or ""),
        order=int(header.get("InstanceNumber") or 0),
        layout=layout,
        kind=(
            str(header.PhotometricInterpretation),
            int(header.BitsAllocated),
            int(header.SamplesPerPixel),
        ),
        spacing=spacing,
        focuses=focuses,
        number=int(header.get("NumberOfFrames") or 1),
        concatenation=str(header.get("ConcatenationUID") or ""),
        first=int(header.get("ConcatenationFrameOffsetNumber") or 0),
        parts=int(header.get("InConcatenationTotalNumber") or 1),
        places=places,
    )


def _forget_frames(header: Dataset) -> None:
    """Drop what is said of each frame, a thousand times what was read from it; but for the size of
    pixels, which is that of all."""
    if FRAMES not in header:
        return
    shared = header.get("SharedFunctionalGroupsSequence") or []
    if shared and "PixelMeasuresSequence" not in shared[0]:
        frames = header.PerFrameFunctionalGroupsSequence
        if frames and "PixelMeasuresSequence" in frames[0]:
            shared[0].PixelMeasuresSequence = frames[0].PixelMeasuresSequence
    del header[FRAMES]


def _positive(header: Dataset, name: str) -> int:
    value = int(header[name].value)
    if value < 1:
        raise SourceError(f"is a slide with {name} = {value}")
    return value


def _is_sparse(header: Dataset) -> bool:
    """Whether frames say where they lie; old files do not say of which kind they are."""
    kind = header.get("DimensionOrganizationType")
    if kind in ("TILED_FULL", "TILED_SPARSE"):
        return bool(kind == "TILED_SPARSE")
    frames = header.get("PerFrameFunctionalGroupsSequence") or []
    return bool(frames) and "PlanePositionSlideSequence" in frames[0]


def _spacing(header: Dataset) -> tuple[float, float] | None:
    """Of the pixels of all frames, or else of the first."""
    for name in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        try:
            down, right = header[name][0].PixelMeasuresSequence[0].PixelSpacing
            found = float(down), float(right)
        except DAMAGE:
            continue
        if all(math.isfinite(size) and size > 0 for size in found):
            return found
    return None


def _full_focuses(header: Dataset) -> tuple[Focus, ...]:
    """Of TILED_FULL: path by path, of each all focal planes from the glass upwards."""
    number = int(header.get("NumberOfOpticalPaths") or len(_paths(header)) or 1)
    planes, origin = int(header.get("TotalPixelMatrixFocalPlanes") or 1), _origin(header)
    if not 0 < number * planes <= MOST_MATRICES:
        raise SourceError(
            f"claims {number} optical paths of {planes} focal planes; {MOST_MATRICES} in all are "
            "the limit"
        )
    paths = (_paths(header) + [""] * number)[:number]
    step = 1000 * _step(header) if planes > 1 else 0.0
    return tuple(Focus(path, origin + step * i) for path in paths for i in range(planes))


def _paths(header: Dataset) -> list[str]:
    """Identifiers of the optical paths."""
    return [str(item.OpticalPathIdentifier) for item in header.get("OpticalPathSequence") or []]


def _origin(header: Dataset) -> float:
    """Height of the first focal plane above the glass, in micrometres."""
    try:
        return float(header.TotalPixelMatrixOriginSequence[0].ZOffsetInSlideCoordinateSystem)
    except DAMAGE:
        return 0.0


def _step(header: Dataset) -> float:
    """Between focal planes, in millimetres; any, where it is not said: it only orders them."""
    try:
        groups = header.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
        return float(groups.SpacingBetweenSlices)
    except DAMAGE:
        return 1.0


def _places(header: Dataset) -> tuple[tuple[Focus, ...], NDArray[np.int64]]:
    """Of TILED_SPARSE: (matrices, where each frame lies)."""
    focuses, places = dict[Focus, int](), list[tuple[int, int, int]]()
    for focus, y, x in _positions(header):
        places.append((focuses.setdefault(focus, len(focuses)), y, x))
    if len(places) != int(header.get("NumberOfFrames") or 1):
        raise SourceError(
            f"is a slide of {header.get('NumberOfFrames') or 1} frames that tells of {len(places)} "
            "where they lie"
        )
    return tuple(focuses), np.array(places, np.int64).reshape(-1, 3)


def _positions(header: Dataset) -> Iterator[tuple[Focus, int, int]]:
    """(matrix, first row, first column) of each frame, counted from 0."""
    shared = (header.get("SharedFunctionalGroupsSequence") or [None])[0]
    named = (shared is not None and _path(shared)) or (_paths(header) or [""])[0]
    for path, height, row, column in _frames(header):
        yield Focus(path or named, height), row - 1, column - 1


def _frames(header: Dataset) -> Iterable[tuple[str, float, int, int]]:
    """(optical path or "", height, row, column) of each frame, as they are written."""
    raw, (implicit, little) = header.get_item(FRAMES), header.original_encoding
    data = getattr(raw, "value", None)
    if isinstance(data, bytes) and little and implicit is not None:
        try:
            return list(_scanned(data, implicit=implicit))
        except ValueError:  # odd, or damaged: pydicom knows more
            pass
    return map(_parsed, header.PerFrameFunctionalGroupsSequence)


def _scanned(data: bytes, *, implicit: bool) -> Iterator[tuple[str, float, int, int]]:
    """The same of a sequence's bytes."""
    for frame in items(data, (0, len(data)), implicit=implicit):
        found = dict[int, bytes]()
        for tag, value in elements(data, frame, implicit=implicit):
            if tag in (POSITION, PATH):
                for group in islice(items(data, value, implicit=implicit), 1):
                    for inner, (start, stop) in elements(data, group, implicit=implicit):
                        found[inner] = data[start:stop]
        if COLUMN not in found or ROW not in found:
            raise ValueError("a frame without a place")
        row, column = (int.from_bytes(found[tag], "little", signed=True) for tag in (ROW, COLUMN))
        height = found.get(HEIGHT, b"").strip(b" \0").decode("ascii")
        yield _identifier(found.get(NAME, b"")), float(height or 0), row, column


@lru_cache
def _identifier(data: bytes) -> str:
    """A short string; almost all of them are the same."""
    return data.decode("ascii").strip(" \0")


def _parsed(groups: Dataset) -> tuple[str, float, int, int]:
    """The same of one frame's groups."""
    position = groups.PlanePositionSlideSequence[0]
    return (
        _path(groups),
        float(position.get("ZOffsetInSlideCoordinateSystem") or 0),
        int(position.RowPositionInTotalImagePixelMatrix),
        int(position.ColumnPositionInTotalImagePixelMatrix),
    )


def _path(groups: Dataset) -> str:
    """The optical path that functional groups name; empty for none."""
    named = groups.get("OpticalPathIdentificationSequence")
    return str(named[0].OpticalPathIdentifier) if named else ""
