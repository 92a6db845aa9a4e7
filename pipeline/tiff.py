"""The bytes of a Cloud-Optimized GeoTIFF: header and directories, given the sizes of its blocks.

    header | ghost area | IFDs: image, mask, overviews, their masks | blocks, smallest level first

The layout, the ghost area, and the frame of every block follow GDAL's COG driver
(https://gdal.org/drivers/raster/cog.html). What describes the image - georeferencing, colours,
metadata - is lifted from a small GeoTIFF that GDAL itself writes, so that GDAL stays the authority.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.pyramid import BLOCK

FRAME = 8
"""Bytes that frame each block: its size before it, its last four bytes again behind it."""

BYTE, SHORT, LONG, LONG8 = 1, 3, 4, 16
TYPE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 16: 8}
SUBFILE, WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC = 254, 256, 257, 258, 259, 262
SAMPLES, PLANAR, PREDICTOR, TILE_WIDTH, TILE_LENGTH = 277, 284, 317, 322, 323
TILE_OFFSETS, TILE_BYTE_COUNTS, SAMPLE_FORMAT, LERC_PARAMETERS = 324, 325, 339, 50674
XMP_TAG = 700
PER_IMAGE = {BITS, PHOTOMETRIC, SAMPLES, PLANAR, SAMPLE_FORMAT, 320, 338, 42113}
"""Tags of the image that every overview repeats: how samples are to be read, and nodata."""
STRUCTURAL = {
    *(SUBFILE, WIDTH, LENGTH, COMPRESSION, PREDICTOR, 266, 273, 278, 279),
    *(TILE_WIDTH, TILE_LENGTH, TILE_OFFSETS, TILE_BYTE_COUNTS, LERC_PARAMETERS),
}
"""Tags that say how blocks are stored: written here, not lifted."""
DEFLATE = 8


@dataclass(frozen=True, slots=True)
class Entry:
    """One tag of an image file directory, little-endian."""

    code: int
    """Tag number."""
    kind: int
    """TIFF data type."""
    count: int
    """Values."""
    data: bytes
    """The values."""


@dataclass(frozen=True, slots=True)
class Image:
    """One image of the file: full resolution, an overview, or the mask of either."""

    level: int
    """0 is full resolution."""
    mask: bool
    """Whether it is a mask."""
    entries: tuple[Entry, ...]
    """Its tags, but for offsets and byte counts."""
    counts: NDArray[np.int64]
    """Bytes of each block, in row-major order."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything goes."""

    header: bytes
    """All bytes before the first block."""
    size: int
    """Bytes of the whole file."""


def lift(template: bytes) -> list[Entry]:
    """The tags of the first image of a classic little-endian TIFF."""
    if template[:4] != b"II*\0":
        raise ValueError("not a classic little-endian TIFF")
    (at,) = struct.unpack_from("<I", template, 4)
    (number,) = struct.unpack_from("<H", template, at)
    return [_entry(template, at + 2 + 12 * i) for i in range(number)]


def _entry(template: bytes, at: int) -> Entry:
    code, kind, count = struct.unpack_from("<HHI", template, at)
    size = TYPE_SIZES[kind] * count
    (start,) = struct.unpack_from("<I", template, at + 8) if size > 4 else (at + 8,)
    return Entry(code, kind, count, template[start : start + size])


def shorts(code: int, *values: int) -> Entry:
    """A tag of 16-bit values."""
    return Entry(code, SHORT, len(values), struct.pack(f"<{len(values)}H", *values))


def longs(code: int, *values: int) -> Entry:
    """A tag of 32-bit values."""
    return Entry(code, LONG, len(values), struct.pack(f"<{len(values)}I", *values))


def image_entries(
    template: list[Entry],
    shape: tuple[int, int],
    *,
    level: int,
    compression: tuple[int, int],
    extra: tuple[Entry, ...] = (),
) -> tuple[Entry, ...]:
    """Tags of an image of `shape` (height, width); overviews repeat only what reading needs.

    `compression` is (scheme, predictor) by their TIFF numbers.
    """
    lifted = [
        e for e in template if e.code not in STRUCTURAL and (level == 0 or e.code in PER_IMAGE)
    ]
    scheme, predictor = compression
    own = [*([longs(SUBFILE, 1)] if level else []), *_geometry(shape), shorts(COMPRESSION, scheme)]
    own += [shorts(PREDICTOR, predictor)] if predictor > 1 else []
    return (*lifted, *own, *extra)


def mask_entries(shape: tuple[int, int], *, level: int) -> tuple[Entry, ...]:
    """Tags of a 1-bit transparency mask of `shape` (height, width)."""
    return (
        longs(SUBFILE, 4 | (1 if level else 0)),
        *_geometry(shape),
        shorts(BITS, 1),
        shorts(COMPRESSION, DEFLATE),
        shorts(PHOTOMETRIC, 4),
        shorts(SAMPLES, 1),
        shorts(PLANAR, 1),
        shorts(SAMPLE_FORMAT, 1),
    )


def _geometry(shape: tuple[int, int]) -> list[Entry]:
    height, width = shape
    sides = [shorts(TILE_WIDTH, BLOCK), shorts(TILE_LENGTH, BLOCK)]
    return [longs(WIDTH, width), longs(LENGTH, height), *sides]


def blocks(shape: tuple[int, int]) -> tuple[int, int]:
    """(rows, columns) of blocks in an image of `shape`."""
    return (-(-shape[0] // BLOCK), -(-shape[1] // BLOCK))


def lay_out(images: list[Image]) -> Layout:
    """Header and size of a file of these images: full resolution first, masks behind overviews.

    Blocks lie in the order smallest level to full resolution, row-major within a level, each
    followed by its mask's block. BigTIFF beyond 4 GiB.
    """
    images = sorted(images, key=lambda i: (i.level > 0 and i.mask, i.level, i.mask))
    for big in (False, True):
        length = len(_header(images, [np.zeros_like(i.counts) for i in images], big=big))
        offsets, size = _offsets(images, length)
        if big or size < 2**32:
            return Layout(_header(images, offsets, big=big), size)
    raise AssertionError("unreachable: BigTIFF holds any size")


def _offsets(images: list[Image], start: int) -> tuple[list[NDArray[np.int64]], int]:
    """Position of every block of every image, and the size of the file."""
    offsets = [np.zeros_like(image.counts) for image in images]
    for level in sorted({image.level for image in images}, reverse=True):
        members = [i for i, image in enumerate(images) if image.level == level]
        members.sort(key=lambda i: images[i].mask)
        framed = np.stack([images[i].counts + FRAME for i in members], axis=1)
        ends = np.cumsum(framed, dtype=np.int64).reshape(framed.shape) + start
        for column, i in enumerate(members):
            offsets[i] = ends[:, column] - framed[:, column] + FRAME // 2
        start = int(ends[-1, -1])
    return offsets, start


def _ghost(masked: bool) -> bytes:
    """GDAL's structural metadata, which tells readers that they may trust the layout."""
    text = (
        "LAYOUT=IFDS_BEFORE_DATA\nBLOCK_ORDER=ROW_MAJOR\nBLOCK_LEADER=SIZE_AS_UINT4\n"
        "BLOCK_TRAILER=LAST_4_BYTES_REPEATED\nKNOWN_INCOMPATIBLE_EDITION=NO\n "
    )
    if masked:
        text += "MASK_INTERLEAVED_WITH_IMAGERY=YES\n"
    return f"GDAL_STRUCTURAL_METADATA_SIZE={len(text):06d} bytes\n{text}".encode()


def _header(images: list[Image], offsets: list[NDArray[np.int64]], *, big: bool) -> bytes:
    """Everything before the first block; its length does not depend on the offsets."""
    head = struct.pack("<2sHHHQ", b"II", 43, 8, 0, 0) if big else struct.pack("<2sHI", b"II", 42, 0)
    out = bytearray(head + _ghost(any(image.mask for image in images)))
    link = 8 if big else 4
    for image, where in zip(images, offsets, strict=True):
        out += b"\0" * (-len(out) % 16)
        struct.pack_into("<Q" if big else "<I", out, link, len(out))
        link = _append_directory(out, _with_blocks(image, where, big=big), big=big)
    return bytes(out + b"\0" * (-len(out) % 16))


def _with_blocks(image: Image, where: NDArray[np.int64], *, big: bool) -> list[Entry]:
    """All tags of an image in ascending order, as the standard asks."""
    number = len(where)
    offsets = Entry(TILE_OFFSETS, LONG8, number, where.astype("<u8").tobytes())
    if not big:
        offsets = replace(offsets, kind=LONG, data=(where & 0xFFFFFFFF).astype("<u4").tobytes())
    counts = Entry(TILE_BYTE_COUNTS, LONG, number, image.counts.astype("<u4").tobytes())
    return sorted([*image.entries, offsets, counts], key=lambda e: e.code)


def _append_directory(out: bytearray, entries: list[Entry], *, big: bool) -> int:
    """Append a directory and its long values; returns where the link to the next one stands."""
    number, row, inline, word = ("<Q", 20, 8, "Q") if big else ("<H", 12, 4, "I")
    start = len(out)
    out += struct.pack(number, len(entries))
    link = start + struct.calcsize(number) + row * len(entries)
    values = bytearray()
    after = link + inline
    for entry in entries:
        data = entry.data.ljust(inline, b"\0")
        if len(data) > inline:
            values += b"\0" * (-(after + len(values)) % 8)
            data, held = struct.pack(f"<{word}", after + len(values)), data
            values += held
        out += struct.pack(f"<HH{word}", entry.code, entry.kind, entry.count) + data
    out += b"\0" * inline + values
    return link
