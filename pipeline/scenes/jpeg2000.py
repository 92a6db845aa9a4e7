"""Whether a JPEG 2000 file has arrived whole, told by its boxes: no pixel is decoded.

[signature][ftyp][jp2h] .. [jp2c: codestream ... FF D9]      ISO/IEC 15444-1, Annexes A and I
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

from pipeline.scenes.scene import SceneError

SIGNATURE = bytes.fromhex("0000000c6a5020200d0a870a")
"""Box that such a file begins with."""
END = bytes.fromhex("ffd9")
"""Marker that ends a codestream."""


def check_whole(path: Path) -> None:
    """Raise SceneError if a JPEG 2000 file ends before its image does. Other files pass."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            if file.read(len(SIGNATURE)) != SIGNATURE:
                return
            end = _end_of_image(file, size)
            file.seek(max(min(end, size) - len(END), 0))
            whole = end <= size and file.read(len(END)) == END
    except OSError as error:
        raise SceneError(f"cannot be read ({error.strerror})", uri=str(path)) from error
    if not whole:
        raise SceneError(
            f"ends within its image, after {size} bytes: it is truncated, or still arriving",
            uri=str(path),
            reason="incomplete",
        )


def _end_of_image(file: BinaryIO, size: int) -> int:
    """Where the codestream ends; beyond the file if there is none."""
    at = 0
    while at + 8 <= size:
        file.seek(at)
        length, kind = struct.unpack(">I4s", file.read(8))
        if length == 1:  # too long for 32 bits
            length = int.from_bytes(file.read(8), "big")
        if length == 0:  # to the end of the file
            length = size - at
        if kind == b"jp2c" or length < 8:
            return at + length if kind == b"jp2c" else size + 1
        at += length
    return size + 1
