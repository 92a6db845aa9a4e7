"""The facts of a raster, read from its header: what a plan is made of."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from pipeline.georef import Georef

Role = Literal["light", "alpha", "category"]
"""What a band's values are: light is super-resolved, all else goes to the fine grid by nearest."""
DICOM = "DICOM"
"""Driver of images of patients, and the domain of their tags."""
COLOURS = ("red", "green", "blue")
"""Colour interpretations of what is seen by eye, in the order of its bands."""


@dataclass(frozen=True, slots=True)
class Band:
    """The facts of one band."""

    number: int
    """1-based number in the source."""
    description: str | None = None
    """Name, as shown by GIS programs."""
    unit: str | None = None
    """Unit of the scaled values."""
    scale: float = 1.0
    """Physical value = value * scale + offset."""
    offset: float = 0.0
    """Physical value = value * scale + offset."""
    colour: str = "undefined"
    """Colour interpretation, by rasterio's names ('red', 'alpha', ...)."""
    role: Role = "light"
    """Light, alpha or category."""
    tags: dict[str, str] = field(default_factory=dict)
    """Metadata of the band in the default domain."""
    domains: dict[str, dict[str, str]] = field(default_factory=dict)
    """Metadata of the band in other domains."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Tells one version of a file from another without reading its pixels."""

    size: int
    """Bytes of all files of the source."""
    mtime_ns: int
    """Youngest modification time among them, in nanoseconds since the epoch."""
    digest: str
    """sha256 over names, sizes, modification times and the first 64 KiB of each file."""


@dataclass(frozen=True, slots=True)
class Profile:
    """Everything that is known of a raster before a pixel is read."""

    uri: str
    """Absolute path."""
    driver: str
    """Format, by GDAL's short name ('GTiff', 'PNG', 'Zarr', ...)."""
    height: int
    """Rows."""
    width: int
    """Columns."""
    dtype: str
    """numpy's name of the data type, the same for all bands."""
    bands: tuple[Band, ...]
    """The selected bands, in order."""
    identity: Identity
    """Which version of the file this is."""
    files: tuple[str, ...] = ()
    """Absolute paths of all files that it is read from, as far as they are known."""
    georef: Georef = field(default_factory=Georef)
    """Where it lies."""
    nodata: float | None = None
    """Value that marks invalid pixels in every band; NaN where NaN is declared."""
    mask: bool = False
    """Whether a per-dataset mask (internal or .msk) tells validity."""
    saturated: float | None = None
    """Value at which the sensor saturates: comes back exactly."""
    tags: dict[str, dict[str, str]] = field(default_factory=dict)
    """Dataset metadata by domain; '' is the default one."""
    forgotten: dict[str, str] = field(default_factory=dict)
    """What is not carried over, and why."""
    bits: int | None = None
    """Bits that a sample uses, where fewer than its data type has."""
    colormap: dict[int, tuple[int, int, int, int]] | None = None
    """RGBA by value for palette images."""
    white_is_zero: bool = False
    """Whether the smallest value of its first band is white, and not black."""
    block: tuple[int, int] = (1, 1)
    """(height, width) of the blocks that the file is stored in."""
    frames: int = 1
    """Images of that size, one behind the other: slices of a series, frames of a film."""
    limits: tuple[int, int] | None = None
    """Smallest and largest value that a sample may hold, where the data type holds more."""
    padding: tuple[float, float] | None = None
    """Smallest and largest of several values that say that nothing is shown; the mask says where
    they do."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(bands, height, width)."""
        return (len(self.bands), self.height, self.width)

    @property
    def medical(self) -> bool:
        """Whether it is of a patient: outputs are of other formats, and say nothing of whom."""
        return self.driver == DICOM

    @property
    def dicom(self) -> dict[str, str]:
        """What is known of a series of DICOM, in words that tell of no patient; else empty."""
        return self.tags.get(DICOM, {})

    def dicom_numbers(self, name: str) -> tuple[float, ...]:
        """What `dicom` says in numbers; none where it does not, or where one is not finite."""
        found = tuple(float(part) for part in self.dicom.get(name, "").split("\\") if part)
        return found if all(map(math.isfinite, found)) else ()

    @property
    def slide(self) -> bool:
        """Whether it is a slide of a microscope."""
        return self.medical and self.dicom.get("kind") == "slide"

    @property
    def label(self) -> str:
        """What reports and pictures call it: its path, or an id that says nothing of a patient."""
        if not self.medical:
            return self.uri
        return f"DICOM {self.dicom.get('Series', 'series')}"

    @property
    def light(self) -> tuple[int, ...]:
        """0-based positions of the bands to super-resolve."""
        return tuple(i for i, band in enumerate(self.bands) if band.role == "light")

    @property
    def alpha(self) -> int | None:
        """0-based position of the alpha band, if there is one."""
        return next((i for i, band in enumerate(self.bands) if band.role == "alpha"), None)

    @property
    def nbytes(self) -> int:
        """Size of all pixels of all frames, uncompressed."""
        pixels = self.frames * int(np.prod(self.shape, dtype=object))
        return pixels * np.dtype(self.dtype).itemsize
