"""What a compressed frame says of itself, read before anything is decoded.

Decoders make room for what a codestream claims, and some hand over half a picture without a word
where its end is missing. So its size must be the header's, and it must be there to its last marker.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from pipeline.errors import SourceError

if TYPE_CHECKING:
    from pipeline.dicom.stored import Stored

SOC_SIZ = b"\xff\x4f\xff\x51"
"""How a JPEG 2000 codestream begins. ITU-T T.800, annex A."""
JP2 = b"\x00\x00\x00\x0cjP  \r\n\x87\n"
"""How a JP2 file begins, in which some wrap the codestream against the standard."""
SOT, COD, EOC, HEADER_ONLY = 0xFF90, 0xFF52, 0xFFD9, range(0xFF30, 0xFF40)
MOST_TILES = 65535
"""Tiles that JPEG 2000 can number."""
RLE_HEADER = struct.Struct("<16I")
"""Number of segments and the offsets of 15. DICOM PS3.5, section G.5."""


@dataclass(frozen=True, slots=True)
class Codestream:
    """The facts of one compressed frame."""

    rows: int
    """Pixels down."""
    columns: int
    """Pixels across."""
    components: int
    """Samples a pixel."""
    precision: int
    """Bits of a sample."""
    signed: bool
    """Whether samples are signed; JPEG and JPEG-LS know unsigned ones only."""
    colour: Literal["RGB", "YBR"] | None
    """What the codestream itself says that its three components are, if it says anything."""
    lossless: bool
    """Whether it is of a kind that gives back what went in."""
    start: int
    """Where the codestream begins in the frame."""
    end: int
    """Where it ends: padding may follow."""


def check(found: Codestream, stored: Stored) -> None:
    """Refuse a codestream that is not what the header describes; raises SourceError."""
    fits = (
        stored.least[0] <= found.rows <= stored.rows
        and stored.least[1] <= found.columns <= stored.columns
        and found.components == stored.samples
    )
    if not fits:
        raise SourceError(
            f"holds a frame of {found.columns} x {found.rows} pixels of {found.components} samples "
            f"where its header says {stored.columns} x {stored.rows} of {stored.samples}"
        )
    if not 2 <= found.precision <= stored.bits_allocated:
        raise SourceError(
            f"holds a frame of {found.precision} bits a sample where its header allows "
            f"{stored.bits_allocated}"
        )


def incomplete(kind: str) -> SourceError:
    """What to say of a frame whose end is missing."""
    return SourceError(f"holds a frame that is cut off: its {kind} codestream has no end")


def read_jpeg2000(data: bytes) -> Codestream:
    """The facts of a JPEG 2000 or HTJ2K frame; raises SourceError."""
    start = _unwrap(data)
    if data[start : start + 4] != SOC_SIZ:
        raise SourceError("holds a frame that is no JPEG 2000 codestream")
    try:
        facts = _size(data, start)
        end = _walk_tiles(data, start, facts)
    except struct.error:
        raise incomplete("JPEG 2000") from None
    (_, x1, y1, x0, y0, *_), (bits, *_) = facts
    return Codestream(
        rows=y1 - y0,
        columns=x1 - x0,
        components=len(facts[1]),
        precision=(bits & 127) + 1,
        signed=bool(bits & 128),
        colour=None,
        lossless=False,
        start=start,
        end=end,
    )


def _size(data: bytes, start: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The fields of the SIZ marker, and the depths of the components. ITU-T T.800, A.5.1."""
    length, *fields, count = struct.unpack_from(">HH8IH", data, start + 4)
    parts = data[start + 42 : start + 42 + 3 * count]
    if not count or length != 38 + 3 * count or len(parts) < 3 * count:
        raise SourceError("holds a JPEG 2000 frame whose header is damaged")
    _, x1, y1, x0, y0, tile_width, tile_height, tile_x, tile_y = fields
    if not (x0 < x1 and y0 < y1 and tile_width and tile_height and tile_x <= x0 and tile_y <= y0):
        raise SourceError("holds a JPEG 2000 frame whose size is damaged")
    if set(parts[1::3]) != {1} or set(parts[2::3]) != {1} or len(set(parts[::3])) != 1:
        raise SourceError("holds a JPEG 2000 frame whose components differ, which is not read")
    return tuple(fields), tuple(parts[::3])


def _walk_tiles(data: bytes, start: int, facts: tuple[tuple[int, ...], tuple[int, ...]]) -> int:
    """Go from part to part of each tile; where the codestream ends. ITU-T T.800, A.4.2."""
    _, x1, y1, _, _, width, height, x, y = facts[0]
    tiles = -(-(x1 - x) // width) * -(-(y1 - y) // height)
    if tiles > MOST_TILES:
        raise SourceError(f"holds a JPEG 2000 frame of {tiles} tiles; {MOST_TILES} are allowed")
    at, seen = start + 2, set()
    while (marker := struct.unpack_from(">H", data, at)[0]) != EOC:
        if marker != SOT:
            at += 2 if marker in HEADER_ONLY else 2 + struct.unpack_from(">H", data, at + 2)[0]
            continue
        tile, size = struct.unpack_from(">HI", data, at + 4)
        seen.add(tile)
        end = data.rfind(b"\xff\xd9", at) if size == 0 else at + size
        if end < at + 14:
            raise incomplete("JPEG 2000")
        at = end
    if seen != set(range(tiles)):
        raise SourceError(
            f"holds a JPEG 2000 frame that lacks {tiles - len(seen)} of {tiles} tiles"
        )
    return at + 2


def _unwrap(data: bytes) -> int:
    """Where the codestream begins: some wrap it into boxes. ITU-T T.800, annex I."""
    at = 0
    while data.startswith(JP2) and at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        head = 16 if size == 1 else 8
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16], "big")
        if kind == b"jp2c":
            return at + head
        if size < head:
            break
        at += size
    return 0


def read_rle(data: bytes, stored: Stored) -> list[slice]:
    """Where the segments of an RLE frame lie, one for each byte of a sample; raises SourceError."""
    if len(data) < RLE_HEADER.size:
        raise incomplete("RLE")
    count, *offsets = RLE_HEADER.unpack_from(data)
    wanted = stored.samples * stored.sample_bytes
    if count != wanted:
        raise SourceError(f"holds an RLE frame of {count} segments where {wanted} are needed")
    offsets = [*offsets[:count], len(data)]
    if offsets[0] < RLE_HEADER.size or any(here >= after for here, after in pairwise(offsets)):
        raise incomplete("RLE")
    return [slice(here, after) for here, after in pairwise(offsets)]
