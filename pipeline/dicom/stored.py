"""What a header says of its pixels: type and number, how they are kept, as what they are read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.dicom.colour import read_palette
from pipeline.dicom.headers import damage, quiet
from pipeline.dicom.syntaxes import LOSSY, SYNTAXES, UNSUPPORTED
from pipeline.errors import SourceError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

GREY = ("MONOCHROME1", "MONOCHROME2")
"""One sample a pixel that is light, not an index. Inverted light stays inverted."""
YBR = ("YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
"""Luma and chroma: read as RGB. DICOM PS3.3, section C.7.6.3.1.2."""
PALETTE = "PALETTE COLOR"
COLOUR = ("RGB", *YBR)
OTHERS = ("HSV", "ARGB", "CMYK", "YBR_PARTIAL_422", "YBR_PARTIAL_420", "XYB")
"""Other photometric interpretations of the standard, most of them retired."""
PUBLIC = re.compile(r"1\.2\.840\.10008\.1\.2[.\d]{0,16}")
"""Transfer syntaxes of the standard: no other UID is repeated, for it might tell of a patient."""
MAX_FRAME_BYTES = 512 * 2**20
"""Largest frame that is decoded; a bigger one would not leave memory for work."""
FLOATS = {"FloatPixelData": 32, "DoubleFloatPixelData": 64}
"""Bits of a sample of elements that hold floats."""
SEGMENTATION = ("1.2.840.10008.5.1.4.1.1.66.", "SEG")
RADIOTHERAPY = ("1.2.840.10008.5.1.4.1.1.481.", "RT")
"""How SOP classes begin, and modalities, whose pixels are no picture that could be sharpened."""


@dataclass(frozen=True, slots=True)
class Stored:
    """The pixels of one instance: as stored, and as read."""

    dtype: str
    """numpy's name of what is read: int8 to uint32, float32 or float64."""
    bits_allocated: int
    """Bits of a stored sample: 8, 16, 32 or, of floats, 64."""
    bits_stored: int
    """Bits of it that count; those above may hold anything."""
    high_bit: int
    """The highest of these; `bits_stored` - 1 but in files from before 1993."""
    signed: bool
    """Whether stored integers are in two's complement."""
    rows: int
    """Pixels down."""
    columns: int
    """Pixels across."""
    frames: int
    """Images in the file, at least 1."""
    samples: int
    """Samples a stored pixel: 1 or 3; 1 of a palette's indices."""
    bands: int
    """Bands as read: 1, or 3 of all that is coloured."""
    photometric: str
    """As stored: MONOCHROME1, MONOCHROME2, PALETTE COLOR, RGB or YBR_*."""
    photometric_read: str
    """As read: MONOCHROME1, MONOCHROME2 or RGB."""
    planar: int
    """1 where a colour follows the other as a whole, else 0."""
    syntax: str
    """UID of the transfer syntax."""
    syntax_name: str
    """Its name."""
    lossy: bool
    """Whether the pixels ever went through lossy compression."""
    padding: tuple[float, float] | None
    """Smallest and largest stored value of what shows nothing; None where none are declared."""
    limits: tuple[int, int] | None
    """Smallest and largest value that can be read; None of floats."""

    least: tuple[int, int]
    """Smallest rows and columns of a compressed frame: those of slides may be cut at the edges."""

    @property
    def stored_dtype(self) -> str:
        """numpy's name of what is stored: `dtype` but where a palette stands between them."""
        kind = "float" if self.floating else "int" if self.signed else "uint"
        return f"{kind}{self.bits_allocated}"

    @property
    def stored_limits(self) -> tuple[int, int]:
        """Smallest and largest integer that the stored bits can say."""
        if self.signed:
            return -(2 ** (self.bits_stored - 1)), 2 ** (self.bits_stored - 1) - 1
        return 0, 2**self.bits_stored - 1

    @property
    def bits(self) -> int:
        """Bits a sample that is read: those in use, or all where a palette was expanded."""
        whole = 8 * int(np.dtype(self.dtype).itemsize)
        return whole if self.bands != self.samples else min(self.bits_stored, whole)

    @property
    def sample_bytes(self) -> int:
        """Bytes of a stored sample."""
        return self.bits_allocated // 8

    @property
    def floating(self) -> bool:
        """Whether the pixels are Float or Double Float Pixel Data."""
        return self.dtype.startswith("float")

    @property
    def frame_bytes(self) -> int:
        """Bytes of a frame where it is not compressed: 4:2:2 keeps two samples a pixel."""
        samples = 2 if self.photometric == "YBR_FULL_422" and self.native else self.samples
        return self.rows * self.columns * samples * self.sample_bytes

    @property
    def native(self) -> bool:
        """Whether frames lie end to end, uncompressed."""
        return SYNTAXES[self.syntax].codec == "native"


def describe(header: Dataset) -> Stored:
    """The facts of a header; raises SourceError for what is no image that can be sharpened."""
    path = str(getattr(header, "filename", None) or "") or None
    with damage(path, "describes its pixels in a way that is not understood"), quiet():
        return _describe(header)


def _describe(header: Dataset) -> Stored:
    _check_kind(header)
    syntax = _syntax(header)
    photometric, samples = _photometric(header)
    bits, stored, high, signed, dtype = _bits(header)
    if photometric == PALETTE:
        dtype = read_palette(header).colours.dtype.name
    grey = photometric in GREY
    rows, columns = int(header.Rows), int(header.Columns)
    facts = Stored(
        dtype=dtype,
        bits_allocated=bits,
        bits_stored=stored,
        high_bit=high,
        signed=signed,
        rows=rows,
        columns=columns,
        frames=_frames(header),
        samples=samples,
        bands=1 if grey else 3,
        photometric=photometric,
        photometric_read=photometric if grey else "RGB",
        planar=int(header.get("PlanarConfiguration") or 0) if samples > 1 else 0,
        syntax=syntax,
        syntax_name=SYNTAXES[syntax].name,
        lossy=header.get("LossyImageCompression") == "01" or syntax in LOSSY,
        padding=_padding(header, dtype, stored) if grey else None,
        limits=_limits(dtype, None if photometric == PALETTE else stored),
        least=_least(header, rows, columns),
    )
    _check_size(facts)
    return facts


def _check_kind(header: Dataset) -> None:
    """Refuse what is no picture, in the words that say what it is."""
    sop, modality = str(header.get("SOPClassUID") or ""), str(header.get("Modality") or "")
    if "WaveformSequence" in header:
        raise SourceError("holds waveforms, not an image")
    if sop.startswith(SEGMENTATION[0]) or modality == SEGMENTATION[1]:
        raise SourceError("is a segmentation, whose labels cannot be sharpened; give its image")
    if sop.startswith(RADIOTHERAPY[0]) or modality.startswith(RADIOTHERAPY[1]):
        raise SourceError(
            "is a radiotherapy object, not an image; give the images that it refers to"
        )
    if "Rows" not in header or "Columns" not in header:
        raise SourceError("is DICOM without an image")
    if header.get("BitsAllocated") == 1:
        raise SourceError("is an image of 1 bit a pixel, which cannot be sharpened")


def _syntax(header: Dataset) -> str:
    syntax = str(header.file_meta.TransferSyntaxUID)
    if syntax not in SYNTAXES:
        other = f"the transfer syntax {syntax}" if PUBLIC.fullmatch(syntax) else "something private"
        name = UNSUPPORTED.get(syntax, other)
        raise SourceError(
            f"is stored as {name}, which is not read; convert it, for instance to "
            "Explicit VR Little Endian"
        )
    return syntax


def _photometric(header: Dataset) -> tuple[str, int]:
    """The photometric interpretation and the samples a pixel."""
    kind = str(header.get("PhotometricInterpretation") or "")
    samples = int(header.get("SamplesPerPixel") or 1)
    if kind not in (*GREY, PALETTE, *COLOUR):
        name = kind if kind in OTHERS else "none" if not kind else "one that is not standard"
        raise SourceError(
            f"has as photometric interpretation {name}; those that are read are "
            f"{', '.join((*GREY, PALETTE, *COLOUR))}"
        )
    if samples != (3 if kind in COLOUR else 1):
        raise SourceError(f"has {samples} samples a pixel, which does not go with {kind}")
    return kind, samples


def _bits(header: Dataset) -> tuple[int, int, int, bool, str]:
    """Bits allocated, stored, the highest, whether signed, and the data type of stored values."""
    bits = int(header.BitsAllocated)
    if floats := FLOATS.get(_keyword(header)):
        return floats, floats, floats - 1, True, f"float{floats}"
    if bits not in (8, 16, 32):
        raise SourceError(f"has {bits} bits a sample; 8, 16 and 32 are read")
    stored, signed = int(header.get("BitsStored") or bits), bool(int(header.PixelRepresentation))
    high = int(header.get("HighBit", stored - 1))
    if not 1 < stored <= bits or not stored - 1 <= high < bits:
        raise SourceError(f"stores {stored} bits up to bit {high} in {bits}, which cannot be")
    return bits, stored, high, signed, f"{'int' if signed else 'uint'}{bits}"


def _keyword(header: Dataset) -> str:
    """Which element holds the pixels; without the element, floats are told by what they lack."""
    if (element := getattr(header, "pixel_element", None)) is not None:
        return str(element.keyword)
    if "PixelRepresentation" in header:
        return "PixelData"
    return "DoubleFloatPixelData" if header.get("BitsAllocated") == 64 else "FloatPixelData"


def _limits(dtype: str, stored: int | None) -> tuple[int, int] | None:
    """The range of a type, of which `stored` bits are in use where they are given."""
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return None
    bits = kind.itemsize * 8 if stored is None else stored
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if kind.kind == "i" else (0, 2**bits - 1)


def _least(header: Dataset, rows: int, columns: int) -> tuple[int, int]:
    """The smallest tile of a slide: what its matrix leaves for the last row and column of tiles."""
    down, across = header.get("TotalPixelMatrixRows"), header.get("TotalPixelMatrixColumns")
    if not down or not across or not rows or not columns:
        return rows, columns
    return (int(down) - 1) % rows + 1, (int(across) - 1) % columns + 1


def _frames(header: Dataset) -> int:
    count = int(header.get("NumberOfFrames") or 1)
    if count < 1:
        raise SourceError(f"claims {count} frames")
    return count


def _padding(header: Dataset, dtype: str, stored: int) -> tuple[float, float] | None:
    """The declared range of padding, as pixels are read. DICOM PS3.3, section C.7.5.1.1.2."""
    prefix = {"float32": "Float", "float64": "DoubleFloat"}.get(dtype, "")
    value = header.get(f"{prefix}PixelPaddingValue")
    if value is None:
        return None
    limit = header.get(f"{prefix}PixelPaddingRangeLimit")
    ends = [float(value), float(value if limit is None else limit)]
    if not prefix:
        ends = [float(stored_value(int(end), dtype, stored)) for end in ends]
    return min(ends), max(ends)


def stored_value(value: int, dtype: str, stored: int) -> int:
    """A number as its stored bits say it: some write signed padding as unsigned."""
    low: int = value & (2**stored - 1)
    signed = np.dtype(dtype).kind == "i"
    return low - 2**stored if signed and low >= 2 ** (stored - 1) else low


def _check_size(facts: Stored) -> None:
    if not facts.rows or not facts.columns:
        raise SourceError(f"claims {facts.columns} x {facts.rows} pixels")
    size = facts.rows * facts.columns * facts.bands * np.dtype(facts.dtype).itemsize
    if size > MAX_FRAME_BYTES:
        raise SourceError(
            f"has frames of {facts.columns} x {facts.rows} pixels, {size / 2**20:.0f} MiB, which "
            f"are decoded as a whole; {MAX_FRAME_BYTES / 2**20:.0f} MiB are the limit"
        )
