"""DICOM files of every transfer syntax, written for the tests; items are laid out by hand."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import imagecodecs
import numpy as np
from dicom_files import CT
from pydicom.dataset import Dataset, FileMetaDataset

from pipeline.radiometry import Pixels

BASE = "1.2.840.10008.1.2"
IMPLICIT, EXPLICIT, DEFLATED, BIG = BASE, f"{BASE}.1", f"{BASE}.1.99", f"{BASE}.2"
RLE, JPEG, JPEG12, JPEG_LOSSLESS = f"{BASE}.5", f"{BASE}.4.50", f"{BASE}.4.51", f"{BASE}.4.57"
JPEG_SV1, JPEG_LS, JPEG_LS_NEAR = f"{BASE}.4.70", f"{BASE}.4.80", f"{BASE}.4.81"
JPEG2000_LOSSLESS, JPEG2000 = f"{BASE}.4.90", f"{BASE}.4.91"
HTJ2K_LOSSLESS, HTJ2K_RPCL, HTJ2K = f"{BASE}.4.201", f"{BASE}.4.202", f"{BASE}.4.203"
Table = Literal["basic", "empty", "extended"]


def encode_rle(pixels: Pixels) -> bytes:
    """(y, x) or (y, x, sample) -> an RLE frame."""
    planes = pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, 2, 0)
    width = pixels.dtype.itemsize
    segments = []
    for plane in planes:
        big = np.ascontiguousarray(plane).astype(pixels.dtype.newbyteorder(">")).view(np.uint8)
        for byte in range(width):
            one = imagecodecs.packbits_encode(big.reshape(-1, width)[:, byte].tobytes())
            segments.append(one + b"\0" * (len(one) % 2))
    offsets = 64 + np.cumsum([0, *map(len, segments)])[:-1]
    header = struct.pack("<I", len(segments)) + offsets.astype("<u4").tobytes()
    return header.ljust(64, b"\0") + b"".join(segments)


def encode_jpeg_lossless(pixels: Pixels, predictor: int) -> bytes:
    """Signed values as the unsigned ones of the same bits, for JPEG knows no others."""
    codes, bits = pixels.view(f"u{pixels.dtype.itemsize}"), 8 * pixels.dtype.itemsize
    frame: bytes = imagecodecs.jpeg8_encode(
        codes, lossless=True, predictor=predictor, bitspersample=bits
    )
    return frame


LOSSLESS: dict[str, Callable[[Pixels], bytes]] = {
    RLE: encode_rle,
    JPEG_LOSSLESS: lambda pixels: encode_jpeg_lossless(pixels, 6),
    JPEG_SV1: lambda pixels: encode_jpeg_lossless(pixels, 1),
    JPEG_LS: lambda pixels: imagecodecs.jpegls_encode(pixels.view(f"u{pixels.dtype.itemsize}")),
    JPEG2000_LOSSLESS: lambda p: imagecodecs.jpeg2k_encode(p, codecformat="j2k", level=0),
    HTJ2K_LOSSLESS: lambda pixels: imagecodecs.htj2k_encode(pixels, reversible=True),
    HTJ2K_RPCL: lambda pixels: imagecodecs.htj2k_encode(pixels, reversible=True),
}
"""Encoders that lose nothing, by transfer syntax. (y, x) of 8 or 16 bits."""


def header_of(pixels: Pixels, syntax: str, **attributes: Any) -> Dataset:
    """Attributes of an image of (y, x) or (y, x, sample) pixels, without them."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CT, "1.2.3"
    image = Dataset()
    image.file_meta = meta
    image.SOPClassUID, image.SOPInstanceUID, image.Modality = CT, "1.2.3", "CT"
    image.Rows, image.Columns = pixels.shape[:2]
    image.SamplesPerPixel = 1 if pixels.ndim == 2 else pixels.shape[2]
    image.PhotometricInterpretation = "MONOCHROME2" if pixels.ndim == 2 else "RGB"
    if pixels.ndim == 3:
        image.PlanarConfiguration = 0
    image.BitsAllocated = 8 * pixels.dtype.itemsize
    if pixels.dtype.kind != "f":
        image.BitsStored, image.HighBit = image.BitsAllocated, image.BitsAllocated - 1
        image.PixelRepresentation = int(pixels.dtype.kind == "i")
    for name, value in attributes.items():
        setattr(image, name, value)
    return image


def write_native(
    path: Path, data: bytes, like: Pixels, syntax: str = EXPLICIT, vr: str = "OW", **attributes: Any
) -> Path:
    """Uncompressed `data`, described as a frame `like` this one."""
    image = header_of(like, syntax, **attributes)
    name = {"f4": "FloatPixelData", "f8": "DoubleFloatPixelData"}.get(like.dtype.str[1:])
    image.add_new(name or "PixelData", {"f4": "OF", "f8": "OD"}.get(like.dtype.str[1:], vr), data)
    image.save_as(
        path, implicit_vr=syntax == IMPLICIT, little_endian=syntax != BIG, enforce_file_format=True
    )
    return path


def write_frames(
    path: Path,
    frames: Sequence[bytes],
    like: Pixels,
    syntax: str,
    *,
    table: Table = "basic",
    pieces: int = 1,
    **attributes: Any,
) -> Path:
    """Codestreams in items: `pieces` of each frame, with the table of offsets that is asked for."""
    padded = [frame + b"\0" * (len(frame) % 2) for frame in frames]
    groups = [_cut(frame, pieces) for frame in padded]
    lengths = [sum(8 + len(piece) for piece in group) for group in groups]
    offsets = np.cumsum([0, *lengths])[:-1]
    image = header_of(like, syntax, **attributes)
    if len(frames) > 1:
        image.NumberOfFrames = attributes.get("NumberOfFrames", len(frames))
    if table == "extended":
        image.ExtendedOffsetTable = offsets.astype("<u8").tobytes()
        image.ExtendedOffsetTableLengths = np.array([*map(len, padded)], "<u8").tobytes()
    basic = offsets.astype("<u4").tobytes() if table == "basic" else b""
    items = [basic, *(piece for group in groups for piece in group)]
    image.PixelData = b"".join(b"\xfe\xff\x00\xe0" + struct.pack("<I", len(i)) + i for i in items)
    image["PixelData"].VR, image["PixelData"].is_undefined_length = "OB", True
    image.save_as(path, enforce_file_format=True)
    return path


def _cut(frame: bytes, pieces: int) -> list[bytes]:
    size = -(-len(frame) // pieces)
    size += size % 2
    return [frame[at : at + size] for at in range(0, len(frame), size)]
