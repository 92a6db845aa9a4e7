"""Where compressed frames lie: offset tables where they can be trusted, else a look at every item.

    PixelData  item: offsets of frames | item: fragment | item: fragment | ... | delimiter
               (may be empty)            └─── a frame, often one item ──┘

DICOM PS3.5, section A.4.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.dicom.codestreams import JP2, SOC_SIZ
from pipeline.dicom.headers import UNDEFINED
from pipeline.dicom.streams import Stream
from pipeline.errors import SourceError

ITEM, DELIMITER = 0xFFFEE000, 0xFFFEE0DD
HEAD = struct.Struct("<HHI")
"""Group, element and length of an item."""
JPEG_START = b"\xff\xd8\xff"
RLE_START = struct.pack("<I", 64)
"""Offset of the first segment, the second number of a frame in RLE."""
Offsets = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Layout:
    """The places of all frames, by position in the file."""

    starts: Offsets
    """Of the first item of each."""
    ends: Offsets
    """After the last item of each."""
    excess: int
    """Frames that the header knows nothing of."""
    base: int
    """Where the first item after the offset table lies."""


def lay_out(
    stream: Stream, *, offset: int, size: int, frames: int, extended: bytes | None
) -> Layout:
    """Where `frames` frames lie in pixel data at `offset` of a file of `size` bytes.

    `extended` is the extended offset table. Raises SourceError where some are missing.
    """
    stream.seek(offset)
    length = _head(stream, size)
    if length is None:
        raise SourceError("has no frames: its pixel data are empty")
    basic, base = stream.read(min(length, 4 * frames + 4096)), offset + HEAD.size + length
    tables = [np.frombuffer(extended[: len(extended) // 8 * 8], "<u8")] if extended else []
    tables.append(np.frombuffer(basic[: len(basic) // 4 * 4], "<u4"))
    for table in tables:
        found = _by_table(stream, base, size, frames, table.astype(np.int64))
        if found is not None:
            return found
    return scan(stream, base=base, size=size, frames=frames)


def scan(stream: Stream, *, base: int, size: int, frames: int) -> Layout:
    """The same by a look at every item from `base` on."""
    items = list(walk(stream, base, size))
    starts = np.array([start for start, _ in items], np.int64)
    ends = np.array([start + HEAD.size + length for start, length in items], np.int64)
    if frames == 1 and items:
        firsts = np.zeros(1, np.int64)
    elif len(items) == frames:
        firsts = np.arange(frames)
    else:
        firsts = np.array(
            [at for at, (start, _) in enumerate(items) if _begins(stream, start)], np.int64
        )
    if len(firsts) < frames:
        raise SourceError(f"holds {len(firsts)} of the {frames} frames that its header promises")
    lasts = np.append(firsts[1:], len(items)) - 1
    return Layout(starts[firsts[:frames]], ends[lasts[:frames]], len(firsts) - frames, base)


def fragments(stream: Stream, layout: Layout, index: int, most: int) -> bytes:
    """One frame, its items joined; raises SourceError where they do not fill its place."""
    start, end = int(layout.starts[index]), int(layout.ends[index])
    if end - start > most:
        raise SourceError(
            f"has a compressed frame of {(end - start) / 2**20:.0f} MiB, which is more than it "
            "would take uncompressed"
        )
    parts, at = [], start
    while at < end:
        stream.seek(at)
        length = _head(stream, end)
        if length is None:
            raise SourceError("has offsets of frames that are wrong")
        parts.append(stream.read(length))
        at += HEAD.size + length
    return b"".join(parts)


def walk(stream: Stream, at: int, size: int) -> Iterator[tuple[int, int]]:
    """Position and length of each item up to the delimiter or the end of the file."""
    while at < size:
        stream.seek(at)
        length = _head(stream, size)
        if length is None:
            return
        yield at, length
        at += HEAD.size + length


def _head(stream: Stream, size: int) -> int | None:
    """The length of the item here; None for the delimiter. Raises SourceError."""
    here = stream.tell()
    head = stream.read(HEAD.size)
    if len(head) < HEAD.size:
        raise SourceError("is cut off within its pixel data")
    group, element, length = HEAD.unpack(head)
    tag = group << 16 | element
    if tag == DELIMITER:
        return None
    if tag != ITEM or length == UNDEFINED:
        raise SourceError("has pixel data that are damaged: an item is not where it should be")
    if here + HEAD.size + length > size:
        raise SourceError(
            f"is cut off within its pixel data: {length} bytes are promised where "
            f"{size - here - HEAD.size} are left"
        )
    return int(length)


def _by_table(stream: Stream, base: int, size: int, frames: int, table: Offsets) -> Layout | None:
    """The layout that a table of offsets gives; None where it cannot be right."""
    if len(table) < frames or not frames or table[0] != 0 or (np.diff(table) <= 0).any():
        return None
    starts = base + table
    if starts[-1] + HEAD.size > size or table[-1] < 0:
        return None  # of more than 4 GiB, whose offsets have wrapped, or cut off
    try:
        last = 0
        for at, length in walk(stream, int(starts[-1]), size):
            last = at + HEAD.size + length
    except SourceError:
        return None  # whoever looks at all items says what is wrong
    if not last:
        return None
    ends = np.append(starts[1:], last)
    return Layout(starts[:frames], ends[:frames], len(table) - frames, base)


def _begins(stream: Stream, start: int) -> bool:
    """Whether a fragment is the first of a frame."""
    stream.seek(start + HEAD.size)
    head = stream.read(12)
    return head.startswith((JPEG_START, SOC_SIZ, JP2)) or head[4:8] == RLE_START
