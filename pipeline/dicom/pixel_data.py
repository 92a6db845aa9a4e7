"""What stands around frames whose lengths are known before they are written.

    compressed     element | basic table | item | frame 0 | item | frame 1 | ... | end
    plain          element with its length | frame 0 | frame 1 | ...

A file that is strung together of frames that lie elsewhere has its table before the first of them.
DICOM PS3.5, section A.4; PS3.3, section C.7.6.3.1.8.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from pipeline.dicom.encode import Syntax
from pipeline.dicom.write import BASIC_LIMIT, ELEMENTS, END, ITEM, NATIVE_LIMIT
from pipeline.errors import PlanError

HEAD = 8
"""Bytes before each item: its tag and its length."""


def framed(frame: bytes, syntax: Syntax) -> tuple[bytes, ...]:
    """A frame as it stands in a file: an item of even length, or by itself if it is plain."""
    if syntax == "uncompressed":
        return (frame,)
    odd = len(frame) % 2
    return ITEM + struct.pack("<L", len(frame) + odd), frame, b"\0" * odd


def before(sizes: NDArray[np.int64], syntax: Syntax, *, bits: int) -> bytes:
    """What stands before framed frames of those sizes, of `bits` a sample; raises PlanError."""
    if syntax == "uncompressed":
        return _plain(int(sizes.sum()), bits)
    offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    if offsets[-1] <= BASIC_LIMIT:
        return _opening(offsets)
    return _element(1, offsets) + _element(2, sizes - HEAD) + _opening(offsets[:0])


def after(total: int, syntax: Syntax) -> bytes:
    """What stands behind framed frames of `total` bytes."""
    return b"\0" * (total % 2) if syntax == "uncompressed" else END


def _plain(total: int, bits: int) -> bytes:
    if total > NATIVE_LIMIT:
        raise PlanError(
            f"{total} bytes of uncompressed pixels are one frame too many for a DICOM file, which "
            f"holds {NATIVE_LIMIT}; use --syntax jpeg2000 or another compressed one"
        )
    kind = b"OB" if bits <= 8 else b"OW"
    return ELEMENTS["PixelData"] + struct.pack("<2sHL", kind, 0, total + total % 2)


def _opening(offsets: NDArray[np.int64]) -> bytes:
    """The element, of undefined length, and the basic table."""
    table = offsets.astype("<u4").tobytes()
    element = ELEMENTS["PixelData"] + struct.pack("<2sHL", b"OB", 0, 2**32 - 1)
    return element + ITEM + struct.pack("<L", len(table)) + table


def _element(number: int, values: NDArray[np.int64]) -> bytes:
    """One of the two elements of the extended table."""
    data = values.astype("<u8").tobytes()
    return struct.pack("<HH2sHL", 0x7FE0, number, b"OV", 0, len(data)) + data
