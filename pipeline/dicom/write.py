"""DICOM files (PS3.10), written frame by frame: a file under its name is whole and durable.

    preamble of zeros | DICM | file meta | data set | pixel data

Encapsulated frames follow a table of their offsets: the basic one as long as they lie below 4 GiB,
the extended one, which stands before the pixels, beyond.

    offsets | frame 0 | frame 1 | ... | end          each an item of its own, of even length
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING

from pipeline.dicom.encode import UIDS, Syntax
from pipeline.dicom.headers import damages, quiet
from pipeline.errors import PlanError
from pipeline.stage import CHUNK, replacing

if TYPE_CHECKING:
    from pydicom import Dataset

IMPLEMENTATION_UID = "2.25.206480347254098713262815443203410371294"
"""Who wrote a file, for its meta information: made once from a random UUID."""
IMPLEMENTATION_NAME = "ESPCN"
"""The same for people, at most 16 characters."""
BASIC_LIMIT = 2**32 - 1
"""Largest offset of the basic table. DICOM PS3.5, section A.4."""
NATIVE_LIMIT = 2**32 - 2
"""Most bytes of a value with a length: 2^32 - 1 means an undefined one. PS3.5, section 7.1."""
ITEM, END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0\x00\x00\x00\x00"
"""Tag of an item; delimiter of a sequence of them, with its length."""
ELEMENTS = {
    "PixelData": b"\xe0\x7f\x10\x00",
    "FloatPixelData": b"\xe0\x7f\x08\x00",
    "DoubleFloatPixelData": b"\xe0\x7f\x09\x00",
}
"""Tags of the elements that hold pixels."""


def write_instance(
    path: Path,
    dataset: Dataset,
    frames: Iterable[bytes],
    *,
    syntax: Syntax,
    number: int,
    element: str = "PixelData",
) -> None:
    """Write one instance: `dataset` without pixels, then `number` encoded frames as they come.

    Appears under `path` in one step, when all is on disk. Raises OSError, PlanError for native
    pixels of 4 GiB, and ValueError if there are not `number` frames.
    """
    head = header(dataset, syntax)
    with replacing(path) as file:
        file.write(head)
        if syntax == "uncompressed":
            _native(file, dataset, frames, number, element)
        else:
            _encapsulated(file, frames, number)


def header(dataset: Dataset, syntax: Syntax) -> bytes:
    """Everything before the pixels: preamble, file meta of our own, data set.

    Of the source's meta information nothing is kept. Raises PlanError for what cannot be encoded.
    """
    from pydicom.dataset import FileMetaDataset
    from pydicom.filewriter import dcmwrite
    from pydicom.uid import UID

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = UID(UIDS[syntax])
    meta.ImplementationClassUID = UID(IMPLEMENTATION_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_NAME
    dataset.file_meta, dataset.preamble = meta, bytes(128)
    buffer = BytesIO()
    try:
        with quiet():
            dcmwrite(buffer, dataset, enforce_file_format=True)
    except damages() as error:  # its text may quote values
        raise PlanError(
            f"an attribute of its header cannot be written ({type(error).__name__}); mend the "
            "header, or write to .zarr"
        ) from None
    return buffer.getvalue()


def _native(
    file: IO[bytes], dataset: Dataset, frames: Iterable[bytes], number: int, element: str
) -> None:
    """Frames one after the other, in one value of known length."""
    samples = int(dataset.Rows) * int(dataset.Columns) * int(dataset.SamplesPerPixel)
    each = samples * int(dataset.BitsAllocated) // 8
    size = each * number
    if size > NATIVE_LIMIT:
        raise PlanError(
            f"{number} uncompressed frames take {size} bytes, {NATIVE_LIMIT} fit one DICOM file; "
            "use --syntax jpeg2000 or another compressed one"
        )
    kind = {"FloatPixelData": b"OF", "DoubleFloatPixelData": b"OD"}.get(
        element, b"OB" if int(dataset.BitsAllocated) <= 8 else b"OW"
    )
    file.write(ELEMENTS[element] + kind + struct.pack("<HL", 0, size + size % 2))
    count = 0
    for frame in frames:
        if len(frame) != each:
            raise ValueError(f"frame {count} has {len(frame)} bytes instead of {each}")
        file.write(frame)
        count += 1
    _check_number(count, number)
    file.write(b"\0" * (size % 2))


def _encapsulated(file: IO[bytes], frames: Iterable[bytes], number: int) -> None:
    """Frames as items behind a table of their offsets, which is filled in at the end."""
    start = file.tell()
    file.write(_opening([0] * number))
    first = file.tell()
    offsets, lengths = _items(file, frames)
    _check_number(len(offsets), number)
    if offsets and offsets[-1] > BASIC_LIMIT:
        opening = _extended(offsets, lengths) + _opening([])
        _shift(file, first, start + len(opening) - first)
    else:
        opening = _opening(offsets)
    file.seek(start)
    file.write(opening)


def _opening(table: Sequence[int]) -> bytes:
    """What stands before the items: the element, of undefined length, and the basic table."""
    element = ELEMENTS["PixelData"] + struct.pack("<2sHL", b"OB", 0, 2**32 - 1)
    return element + ITEM + struct.pack(f"<L{len(table)}L", 4 * len(table), *table)


def _extended(offsets: Sequence[int], lengths: Sequence[int]) -> bytes:
    """The two elements of the extended table. DICOM PS3.3, section C.7.6.3.1.8."""
    found = b""
    for tag, values in ((1, offsets), (2, lengths)):
        data = struct.pack(f"<{len(values)}Q", *values)
        found += struct.pack("<HH2sHL", 0x7FE0, tag, b"OV", 0, len(data)) + data
    return found


def _items(file: IO[bytes], frames: Iterable[bytes]) -> tuple[list[int], list[int]]:
    """(offsets, lengths) of the frames, which are written, and the end after them."""
    start, offsets, lengths = file.tell(), list[int](), list[int]()
    for frame in frames:
        offsets.append(file.tell() - start)
        lengths.append(len(frame) + len(frame) % 2)
        file.write(ITEM + struct.pack("<L", lengths[-1]))
        file.write(frame)
        file.write(b"\0" * (len(frame) % 2))
    file.write(END)
    return offsets, lengths


def _shift(file: IO[bytes], first: int, by: int) -> None:
    """Move everything from `first` on towards the end, the last chunk first, for want of room."""
    file.flush()
    with open(file.name, "rb") as written:
        stop = file.tell()
        while stop > first:
            at = max(first, stop - CHUNK)
            written.seek(at)
            chunk = written.read(stop - at)
            file.seek(at + by)
            file.write(chunk)
            file.flush()
            stop = at


def _check_number(found: int, number: int) -> None:
    if found != number:
        raise ValueError(f"{found} frames were given, {number} announced")
