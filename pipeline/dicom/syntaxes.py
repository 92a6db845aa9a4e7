"""Transfer syntaxes: which are read, by which codec, and which are not. DICOM PS3.5, annex A."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Codec = Literal["native", "rle", "jpeg", "jpegls", "jpeg2000", "htj2k"]


@dataclass(frozen=True, slots=True)
class Syntax:
    """One transfer syntax that is read."""

    name: str
    """As the standard names it, in short."""
    codec: Codec
    """What its frames are compressed with; "native" where they are not."""
    lossy: bool
    """Whether decoded values may overshoot the bits that are stored."""


BASE = "1.2.840.10008.1.2"
SYNTAXES = {
    BASE: Syntax("Implicit VR Little Endian", "native", False),
    f"{BASE}.1": Syntax("Explicit VR Little Endian", "native", False),
    f"{BASE}.1.99": Syntax("Deflated Explicit VR Little Endian", "native", False),
    f"{BASE}.2": Syntax("Explicit VR Big Endian", "native", False),
    f"{BASE}.5": Syntax("RLE Lossless", "rle", False),
    f"{BASE}.4.50": Syntax("JPEG Baseline", "jpeg", True),
    f"{BASE}.4.51": Syntax("JPEG Extended", "jpeg", True),
    f"{BASE}.4.53": Syntax("JPEG Spectral Selection", "jpeg", True),
    f"{BASE}.4.55": Syntax("JPEG Full Progression", "jpeg", True),
    f"{BASE}.4.57": Syntax("JPEG Lossless", "jpeg", False),
    f"{BASE}.4.70": Syntax("JPEG Lossless SV1", "jpeg", False),
    f"{BASE}.4.80": Syntax("JPEG-LS Lossless", "jpegls", False),
    f"{BASE}.4.81": Syntax("JPEG-LS Near-Lossless", "jpegls", True),
    f"{BASE}.4.90": Syntax("JPEG 2000 Lossless", "jpeg2000", False),
    f"{BASE}.4.91": Syntax("JPEG 2000", "jpeg2000", True),
    f"{BASE}.4.201": Syntax("HTJ2K Lossless", "htj2k", False),
    f"{BASE}.4.202": Syntax("HTJ2K Lossless RPCL", "htj2k", False),
    f"{BASE}.4.203": Syntax("HTJ2K", "htj2k", True),
}
LOSSY = tuple(f"{BASE}.4.{last}" for last in (50, 51, 53, 55, 81))
"""Syntaxes whose pixels lost something whatever the header says; of JPEG 2000 that is open."""
UNSUPPORTED = {
    **dict.fromkeys((f"{BASE}.4.92", f"{BASE}.4.93"), "JPEG 2000 of several components"),
    **dict.fromkeys((f"{BASE}.4.94", f"{BASE}.4.95"), "JPIP, whose pixels lie elsewhere"),
    **dict.fromkeys((f"{BASE}.4.204", f"{BASE}.4.205"), "JPIP, whose pixels lie elsewhere"),
    **dict.fromkeys((f"{BASE}.4.{last}" for last in (110, 111, 112)), "JPEG XL"),
    **dict.fromkeys(
        (
            *(f"{BASE}.4.{last}" for last in (*range(100, 109),)),
            *(f"{BASE}.4.{last}.1" for last in range(100, 107)),
        ),
        "video",
    ),
    f"{BASE}.8.1": "deflated frames",
}
"""Those that are not read, by what they are."""
