"""Headers: a file's attributes without its pixels, and where these lie.

Files come from anywhere: an executable that hides in the preamble, an element longer than the
file, a data set that inflates to gigabytes are refused before anything is made of them. No error
repeats a value of the data set, for it may name a patient.
"""

from __future__ import annotations

import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from io import BufferedReader, FileIO
from os import fstat, stat
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING, BinaryIO

from pipeline.dicom.streams import Guarded, Inflated, Stream
from pipeline.errors import SourceError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.tag import BaseTag

PREAMBLE = 128
"""Bytes before the four that say what a file is. DICOM PS3.10, section 7.1."""
EXECUTABLES = {
    **{b"MZ": "a Windows program", b"\x7fELF": "a Linux program", b"#!": "a script"},
    **dict.fromkeys(
        (
            *(b"\xfe\xed\xfa\xce", b"\xfe\xed\xfa\xcf", b"\xce\xfa\xed\xfe", b"\xcf\xfa\xed\xfe"),
            *(b"\xca\xfe\xba\xbe", b"\xbe\xba\xfe\xca"),
        ),
        "a macOS program",
    ),
}
"""How programs begin. CVE-2019-11687: a file can be both."""
MOST_HEADER_BYTES = 64 * 2**20
"""Largest header that is read, inflated: tens of thousands of frames describe themselves in it."""
READ_AHEAD = 2**17
"""Bytes that are read at once: most headers are shorter."""
IMPLICIT, BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
PIXELS = {0x7FE00010: "PixelData", 0x7FE00008: "FloatPixelData", 0x7FE00009: "DoubleFloatPixelData"}
"""Elements that hold pixels, by their tag."""
UNDEFINED = 0xFFFFFFFF
"""The length of what is ended by a delimiter."""
DAMAGE = (
    *(OSError, EOFError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError),
    *(RuntimeError, MemoryError, NotImplementedError, struct.error, zlib.error),
)
"""What is raised on damaged files; pydicom adds two of its own: see `damages`."""
_one_at_a_time = threading.RLock()


@dataclass(frozen=True, slots=True)
class PixelElement:
    """Where the pixels of a file lie."""

    keyword: str
    """PixelData, FloatPixelData or DoubleFloatPixelData."""
    offset: int
    """Of its first byte, in the file or, where `start` is given, among the inflated bytes."""
    length: int | None
    """Bytes; None where it is encapsulated: a delimiter ends it."""
    vr: str | None
    """OB, OW, OF, OD; None where the syntax has none."""
    start: int | None
    """Where the deflated data set begins in the file; None where nothing is deflated."""


def read_header(path: str | Path) -> Dataset:
    """All attributes before the pixels, with `file_meta`; raises SourceError.

    Its attribute `pixel_element` is where the pixels lie.
    """
    with damage(path, "cannot be read as DICOM"), _open(path) as file, quiet():
        header, pixels = _parse(file, tags=None)
        if pixels is None and "Rows" in header and "Columns" in header:
            raise SourceError("has no pixel data: it is cut off, or its pixels lie elsewhere")
    header.filename = str(path)
    header.pixel_element = pixels
    return header


def read_meta(path: str | Path) -> FileMetaDataset:
    """What a file says of itself as a file; raises SourceError."""
    with damage(path, "cannot be read as DICOM"), _open(path) as file, quiet():
        _preamble(file)
        return _meta(Guarded(file, size=fstat(file.fileno()).st_size, most=MOST_HEADER_BYTES))


def find_pixels(path: str | Path) -> PixelElement:
    """Where the pixels of a file lie; raises SourceError where there are none."""
    with damage(path, "cannot be read as DICOM"), _open(path) as file, quiet():
        pixels = _parse(file, tags=[0x00080005])[1]
        if pixels is None:
            raise SourceError("has no pixel data")
    return pixels


@contextmanager
def open_pixels(path: str | Path, element: PixelElement) -> Iterator[Stream]:
    """The bytes in which `element.offset` counts."""
    with Path(path).open("rb") as file:
        yield file if element.start is None else Inflated(file, element.start)


@contextmanager
def quiet() -> Iterator[None]:
    """Without pydicom's warnings, which repeat values. Filters are the process's: one at a time."""
    with _one_at_a_time, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@lru_cache
def damages() -> tuple[type[Exception], ...]:
    """All that is raised on damaged files: `DAMAGE`, and what pydicom derives from nothing else."""
    from pydicom.errors import BytesLengthException, InvalidDicomError

    return (*DAMAGE, BytesLengthException, InvalidDicomError)


@contextmanager
def damage(path: str | Path | None, what: str) -> Iterator[None]:
    """Turn what pydicom and decoders raise into one line that names the file, but no value."""
    uri = None if path is None else str(path)
    try:
        yield
    except SourceError as error:
        raise SourceError(error.message, uri=uri) from None
    except damages() as error:
        # its text, and that of what it came from, may repeat a value
        why = getattr(error, "strerror", None) or f"damaged ({type(error).__name__})"
        raise SourceError(f"{what}: {why}", uri=uri) from None


def _parse(
    file: BinaryIO, *, tags: list[BaseTag | int] | None
) -> tuple[Dataset, PixelElement | None]:
    """Attributes (of `tags` only, where given) and the place of the pixels."""
    from pydicom.dataset import FileDataset
    from pydicom.filereader import read_dataset

    preamble = _preamble(file)
    plain = Guarded(file, size=fstat(file.fileno()).st_size, most=MOST_HEADER_BYTES)
    meta = _meta(plain)
    syntax, start = _syntax(meta), None
    stream: Guarded = plain
    if syntax == DEFLATED:
        start = file.tell()
        stream = Guarded(Inflated(file, start), size=None, most=MOST_HEADER_BYTES)
    implicit, little = syntax == IMPLICIT, syntax != BIG_ENDIAN
    found: list[PixelElement] = []

    def at_pixels(tag: BaseTag, vr: str | None, length: int) -> bool:
        if int(tag) not in PIXELS:
            return False
        size = None if length == UNDEFINED else length
        found.append(PixelElement(PIXELS[int(tag)], stream.tell(), size, vr, start))
        return True

    data = read_dataset(stream, implicit, little, stop_when=at_pixels, specific_tags=tags)  # type: ignore[arg-type]
    _check_whole(data)
    header = FileDataset("", data, preamble, meta, implicit, little)
    header.set_original_encoding(implicit, little, data.original_character_set)
    return header, found[0] if found else None


def _meta(stream: Guarded) -> FileMetaDataset:
    """The meta information, which begins here."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.filereader import read_dataset

    return FileMetaDataset(
        read_dataset(stream, False, True, stop_when=_after_meta)  # type: ignore[arg-type]
    )


@contextmanager
def _open(path: str | Path) -> Iterator[BinaryIO]:
    """Open what is a file: a pipe would be waited for."""
    if not S_ISREG(stat(path).st_mode):
        raise SourceError("is no file")
    with BufferedReader(FileIO(path), READ_AHEAD) as file:
        file.peek()  # slow disks are waited for here, where other threads need not wait too
        yield file


def _after_meta(tag: BaseTag, vr: str | None, length: int) -> bool:  # noqa: ARG001 - pydicom's
    return tag >> 16 != 2


def _preamble(file: BinaryIO) -> bytes:
    """The first bytes; raises SourceError for what is no DICOM, or more than that."""
    preamble = file.read(PREAMBLE)
    if file.read(4) != b"DICM":
        raise SourceError("is no DICOM file: the letters DICM are not where they belong")
    for signature, kind in EXECUTABLES.items():
        if preamble.startswith(signature):
            raise SourceError(
                f"begins as {kind} does, in the 128 bytes before its DICOM part; if you trust it, "
                "overwrite these with zeros"
            )
    return preamble


def _syntax(meta: FileMetaDataset) -> str:
    syntax = meta.get("TransferSyntaxUID")
    if not isinstance(syntax, str) or not syntax:
        raise SourceError("does not name its transfer syntax")
    return str(syntax)


def _check_whole(data: Dataset) -> None:
    """Refuse a data set whose last element is shorter than it says."""
    from pydicom.dataelem import RawDataElement

    for element in data.elements():
        if isinstance(element, RawDataElement) and element.length != UNDEFINED:
            held = len(element.value or b"")
            if held < element.length:
                raise SourceError(
                    f"ends within the element {element.tag}: {held} of {element.length} bytes"
                )
