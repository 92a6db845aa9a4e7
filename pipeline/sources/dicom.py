"""DICOM images as training sees them: the stored values of one file's first frame.

Most of what a DICOM file says cannot be carried over yet. So the driver "DICOM" is not among those
that may open an input unless it is asked for, as training and evaluation do.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import SourceError
from pipeline.options import SourceOptions
from pipeline.profile import Band, Profile
from pipeline.radiometry import Mask, Pixels
from pipeline.sources.identity import identify
from pipeline.sources.safety import MAX_BLOCK_BYTES, check_path
from pipeline.tiling import Window

if TYPE_CHECKING:
    from pydicom import Dataset

DRIVER = "DICOM"
"""Name of this reader in `source.drivers`."""
PREAMBLE = 128
"""Bytes before the four that say what a file is. DICOM PS3.10, section 7.1."""
GREY = ("MONOCHROME1", "MONOCHROME2")
"""Photometric interpretations of one sample a pixel that is light, not an index."""
GEOMETRY = (
    *("FrameOfReferenceUID", "SeriesInstanceUID", "InstanceNumber", "PixelSpacing"),
    *("ImagePositionPatient", "ImageOrientationPatient"),
)
"""Attributes that become tags: where a slice lies, and nothing about whom it shows."""
DAMAGE = (
    *(OSError, EOFError, ValueError, TypeError, LookupError, AttributeError),
    *(ArithmeticError, RuntimeError, struct.error),
)
"""What pydicom raises on damaged files, and where nothing installed decodes the pixels."""


def claims(uri: str) -> bool:
    """Whether a file says that it is DICOM; its name does not matter."""
    path = Path(uri)
    try:
        if not path.is_file():  # a pipe would never end
            return False
        with path.open("rb") as file:
            file.seek(PREAMBLE)
            return file.read(4) == b"DICM"
    except (OSError, ValueError):  # a name that cannot be: the reader of last resort says so
        return False


def open(uri: str, options: SourceOptions) -> DicomSource:
    """Open one file; reads its header only. Raises SourceError."""
    if DRIVER not in options.drivers:
        raise SourceError(
            "is DICOM, which can be trained on but not upscaled yet, for what it says besides its "
            "pixels would be lost; convert it to GeoTIFF or Zarr first",
            uri=uri,
        )
    check_path(uri, options)
    with _reading(uri, "cannot be opened"):
        from pydicom import dcmread

        return DicomSource(_profile(uri, dcmread(uri, stop_before_pixels=True), options))


class DicomSource:
    """The first frame of a file: decoded when it is first read, then kept."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        """The facts of its one band."""
        self._frame: Pixels | None = None

    def read(self, window: Window, frame: int = 0) -> Pixels:  # noqa: ARG002 - one frame
        """(1, y, x) as stored; raises SourceError."""
        if self._frame is None:
            self._frame = self._decode()
        return np.ascontiguousarray(self._frame[window.slices])[None]

    def mask(self, window: Window, frame: int = 0) -> Mask | None:  # noqa: ARG002 - as asked
        """None: the value of the padding is nodata."""
        return None

    def _decode(self) -> Pixels:
        uri = self.profile.uri
        with _reading(uri, "cannot be decoded"):
            from pydicom.pixels.utils import pixel_array

            frame: Pixels = pixel_array(uri, index=0, raw=True)
        if frame.shape != self.profile.shape[1:] or frame.dtype.name != self.profile.dtype:
            raise SourceError(
                f"holds {frame.dtype.name} {frame.shape} where its header says "
                f"{self.profile.dtype} {self.profile.shape[1:]}",
                uri=uri,
            )
        return frame


@contextmanager
def _reading(uri: str, what: str) -> Iterator[None]:
    """Turn pydicom's errors into one line that names the file; its warnings are of no use here."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except DAMAGE as error:
        raise SourceError(f"{what} ({error or type(error).__name__})", uri=uri) from error


def _profile(uri: str, header: Dataset, options: SourceOptions) -> Profile:
    """The facts of the header; raises SourceError for what is no grey image of whole numbers."""
    _check_kind(uri, header)
    if options.bands and options.bands != (1,):
        wrong = next(number for number in options.bands if number != 1)
        raise SourceError(f"has one band; there is no band {wrong} (see --bands)", uri=uri)
    height, width, dtype = int(header.Rows), int(header.Columns), _dtype(uri, header)
    if not height or not width or height * width > options.max_pixels:
        raise SourceError(
            f"claims {width} x {height} pixels; from 1 to source.max_pixels = "
            f"{options.max_pixels} are allowed",
            uri=uri,
        )
    if height * width * np.dtype(dtype).itemsize > MAX_BLOCK_BYTES:
        raise SourceError(
            f"has frames of {width} x {height} pixels, which are decoded as a whole; "
            f"{MAX_BLOCK_BYTES / 2**20:.0f} MiB are the limit",
            uri=uri,
        )
    return Profile(
        uri=uri,
        driver=DRIVER,
        height=height,
        width=width,
        dtype=dtype,
        bands=(_band(header),),
        identity=identify([uri]),
        files=(uri,),
        nodata=_padding(uri, header, dtype) if options.nodata is None else options.nodata,
        saturated=_ceiling(header, dtype),
        tags={DRIVER: _geometry(header)},
        forgotten={"frames after the first": "are not read"} if _frames(header) > 1 else {},
        block=(height, width),
    )


def _check_kind(uri: str, header: Dataset) -> None:
    if "Rows" not in header or "Columns" not in header:
        raise SourceError("is DICOM without an image", uri=uri)
    kind = str(header.get("PhotometricInterpretation", "no photometric interpretation"))
    if kind not in GREY or int(header.get("SamplesPerPixel", 1)) != 1:
        raise SourceError(f"is DICOM of {kind}; only {' and '.join(GREY)} are read", uri=uri)


def _dtype(uri: str, header: Dataset) -> str:
    """numpy's name of what is stored. DICOM PS3.3, section C.7.6.3.1."""
    bits = int(header.BitsAllocated)
    if bits not in (8, 16, 32) or "PixelRepresentation" not in header:
        raise SourceError(
            f"is DICOM of {bits} bits a pixel; only integers of 8, 16 and 32 are read", uri=uri
        )
    return f"{'int' if int(header.PixelRepresentation) else 'uint'}{bits}"


def _band(header: Dataset) -> Band:
    """Its band, named after the modality; physical values by the modality's rescaling."""
    return Band(
        number=1,
        description=str(header.get("Modality") or "") or None,
        unit=str(header.get("RescaleType") or "") or None,
        scale=float(header.get("RescaleSlope") or 1.0),
        offset=float(header.get("RescaleIntercept") or 0.0),
        colour="gray",
    )


def _padding(uri: str, header: Dataset, dtype: str) -> float | None:
    """The value around what was imaged, read as the pixels are; raises SourceError for a range."""
    value = header.get("PixelPaddingValue")
    if value is None:
        return None
    if header.get("PixelPaddingRangeLimit") not in (None, value):
        raise SourceError(
            f"pads with a range of values, {value} to {header.PixelPaddingRangeLimit}, which is "
            "not supported",
            uri=uri,
        )
    # written as unsigned by some where the pixels are signed
    return float(np.array(int(value)).astype(dtype))


def _ceiling(header: Dataset, dtype: str) -> float | None:
    """The largest value of the bits that are used, where they are more than 8."""
    used = int(header.get("BitsStored", 8)) - (np.dtype(dtype).kind == "i")
    return float(2**used - 1) if used > 8 else None


def _geometry(header: Dataset) -> dict[str, str]:
    """Attributes as DICOM writes them, numbers parted by backslashes."""
    found = {name: header.get(name) for name in GEOMETRY}
    return {
        name: value if isinstance(value, str) else "\\".join(str(v) for v in _several(value))
        for name, value in found.items()
        if value not in (None, "")
    }


def _several(value: object) -> list[object]:
    return list(value) if hasattr(value, "__iter__") else [value]


def _frames(header: Dataset) -> int:
    return int(header.get("NumberOfFrames") or 1)
