"""One frame of pixels -> the bytes of a transfer syntax.

name          transfer syntax                    of colours       lossless
uncompressed  explicit VR little endian          RGB              yes
rle           RLE lossless                       RGB              yes
jpeg2000      JPEG 2000 lossless only            YBR_RCT          yes
htj2k         high-throughput JPEG 2000          YBR_RCT          yes
jpeg          JPEG baseline, 8 bits              YBR_FULL_422     no
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Literal, Protocol

import imagecodecs
import numpy as np

from pipeline.errors import PlanError
from pipeline.radiometry import Pixels

if TYPE_CHECKING:
    from pipeline.dicom.stored import Stored

Syntax = Literal["uncompressed", "rle", "jpeg2000", "htj2k", "jpeg"]
"""How pixels are written."""
UIDS: dict[Syntax, str] = {
    "uncompressed": "1.2.840.10008.1.2.1",
    "rle": "1.2.840.10008.1.2.5",
    "jpeg2000": "1.2.840.10008.1.2.4.90",
    "htj2k": "1.2.840.10008.1.2.4.201",
    "jpeg": "1.2.840.10008.1.2.4.50",
}
"""Transfer syntaxes by name. DICOM PS3.6, table A-1."""
COLOURS: dict[Syntax, str] = {
    "uncompressed": "RGB",
    "rle": "RGB",
    "jpeg2000": "YBR_RCT",
    "htj2k": "YBR_RCT",
    "jpeg": "YBR_FULL_422",
}
"""What the photometric interpretation of colours becomes. DICOM PS3.5, section 8.2."""
QUALITY = 90
"""Of JPEG, from 1 to 100: what slide scanners write themselves."""
DEEPEST = 16
"""Bits a sample of JPEG 2000 here: decoders differ beyond."""
SIZ_DEPTH = 40
"""Where the depth of the first component stands, from the marker SIZ. ISO/IEC 15444-1, A.5.1."""


class _Encoder(Protocol):
    """How the frames of one syntax are encoded."""

    def __call__(self, pixels: Pixels, stored: Stored) -> bytes:
        """The bytes of a frame (y, x) or (y, x, band)."""


def encode_frame(pixels: Pixels, syntax: Syntax, stored: Stored) -> bytes:
    """The bytes of one frame (band, y, x); of even length but for the uncompressed ones.

    The values must be within `stored.limits`. Raises PlanError as `check_syntax` does.
    """
    check_syntax(syntax, stored)
    grey = pixels.shape[0] == 1
    together = pixels[0] if grey else np.moveaxis(pixels, 0, -1)
    data = ENCODERS[syntax](np.ascontiguousarray(together), stored)
    # a second end marker would be no error either, but all decoders know a zero
    return data if syntax == "uncompressed" or not len(data) % 2 else data + b"\0"


def check_syntax(syntax: Syntax, stored: Stored) -> None:
    """Raise PlanError if a syntax cannot hold such pixels."""
    kind, depth = np.dtype(stored.dtype).kind, stored.bits
    if syntax != "uncompressed" and kind == "f":
        raise PlanError(
            f"pixels of {stored.dtype} can be written uncompressed only; leave out --syntax "
            f"{syntax}"
        )
    if syntax in ("jpeg2000", "htj2k") and depth > DEEPEST:
        raise PlanError(
            f"JPEG 2000 is written of at most {DEEPEST} bits a sample, these have {depth}; use "
            "--syntax rle or uncompressed"
        )
    if syntax == "jpeg" and (depth != 8 or kind != "u"):
        raise PlanError(
            f"JPEG holds unsigned samples of 8 bits, these are {stored.dtype} of {depth}; use "
            "--syntax jpeg2000 or another lossless one"
        )


def photometric(syntax: Syntax, stored: Stored) -> str:
    """The photometric interpretation of what is written."""
    return COLOURS[syntax] if stored.bands == 3 else stored.photometric_read


def _uncompressed(pixels: Pixels, stored: Stored) -> bytes:  # noqa: ARG001 - as the others
    """Little endian, bands interleaved."""
    return pixels.astype(pixels.dtype.newbyteorder("<"), copy=False).tobytes()


def _rle(pixels: Pixels, stored: Stored) -> bytes:  # noqa: ARG001 - as the others
    """One segment a byte of a sample, the highest first. DICOM PS3.5, annex G."""
    samples = pixels[..., None] if pixels.ndim == 2 else pixels
    raw = samples.astype(samples.dtype.newbyteorder(">"), copy=False).view(np.uint8)
    # a copy, whose strides are what the encoder expects of one column too
    segments = [_packed(raw[..., i].copy()) for i in range(raw.shape[-1])]
    starts = np.cumsum([64, *map(len, segments)])[:-1]
    header = struct.pack("<16L", len(segments), *starts.tolist(), *[0] * (15 - len(segments)))
    return header + b"".join(segments)


def _packed(plane: Pixels) -> bytes:
    """PackBits of bytes (y, x), each row by itself, of even length."""
    packed = bytes(imagecodecs.packbits_encode(plane, axis=-1))
    return packed + b"\0" * (len(packed) % 2)


def _jpeg2000(pixels: Pixels, stored: Stored) -> bytes:
    return bytes(
        imagecodecs.jpeg2k_encode(
            pixels,
            level=0,
            codecformat="j2k",
            reversible=True,
            mct=pixels.ndim == 3,
            bitspersample=stored.bits,
        )
    )


def _htj2k(pixels: Pixels, stored: Stored) -> bytes:
    """The encoder knows whole data types only: fewer bits are told to the header afterwards.

    Unsigned samples are shifted by half their range first, as the standard has it done to them.
    """
    depth, whole = stored.bits, 8 * pixels.dtype.itemsize
    if depth == whole:
        return bytes(imagecodecs.htj2k_encode(pixels, reversible=True))
    signed = pixels.dtype.kind == "i"
    centred = pixels.astype(np.int32) - (0 if signed else 2 ** (depth - 1))
    data = bytearray(imagecodecs.htj2k_encode(centred.astype(f"int{whole}"), reversible=True))
    for component in range(1 if pixels.ndim == 2 else 3):
        data[data.index(b"\xff\x51") + SIZ_DEPTH + 3 * component] = depth - 1 | signed << 7
    return bytes(data)


def _jpeg(pixels: Pixels, stored: Stored) -> bytes:  # noqa: ARG001 - as the others
    if pixels.ndim == 2:
        return bytes(imagecodecs.jpeg8_encode(pixels, level=QUALITY))
    return bytes(
        imagecodecs.jpeg8_encode(
            pixels, level=QUALITY, colorspace="RGB", outcolorspace="YCbCr", subsampling="422"
        )
    )


ENCODERS: dict[Syntax, _Encoder] = {
    "uncompressed": _uncompressed,
    "rle": _rle,
    "jpeg2000": _jpeg2000,
    "htj2k": _htj2k,
    "jpeg": _jpeg,
}
"""How frames are encoded, by name."""
