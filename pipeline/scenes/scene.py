"""A scene: one acquisition as it was delivered, seen as rasters to upscale and facts to pass on."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

from pipeline.errors import SourceError
from pipeline.options import SourceOptions
from pipeline.serial import Json

Kind = Literal["light", "pan", "classes"]
"""light: bands to super-resolve. pan: a panchromatic band. classes: codes, enlarged by nearest."""

Reason = Literal["unreadable", "incomplete", "unsupported", "hostile", "changed", "failed", "crash"]
"""Why a scene is no product: one word for programs."""


@dataclass(frozen=True, slots=True)
class BandFacts:
    """What is known of a band of an asset, for the catalogue."""

    name: str
    """As the sensor's makers call it: 'B04', 'SR_B4'; unique within the scene."""
    common: str | None = None
    """STAC's common name: 'red', 'nir08'."""
    wavelength: float | None = None
    """Centre, in micrometres."""
    width: float | None = None
    """Full width at half maximum, in micrometres."""
    scale: float = 1.0
    """Physical value = value * scale + offset."""
    offset: float = 0.0
    """Physical value = value * scale + offset."""
    unit: str | None = None
    """Of the physical value; None for reflectance and other numbers without one."""


@dataclass(frozen=True, slots=True)
class Asset:
    """One raster of a scene, on a grid of its own."""

    key: str
    """Its name within the scene, as in file names and the STAC item: 'r10m', 'pan', 'scl'."""
    uri: str = field(repr=False)
    """Absolute path that the sources read; a VRT in the scene's work folder for band groups. Dask's
    logs show arguments of tasks, and paths may tell whom an image shows."""
    kind: Kind = "light"
    """What is done with it."""
    bands: tuple[BandFacts, ...] = ()
    """In the raster's order."""
    resolution: float | None = None
    """Side of a pixel on the ground, in metres, where it is known."""
    options: SourceOptions = field(default_factory=SourceOptions)
    """How it is read."""
    saturated: float | None = None
    """Value that marks saturated pixels and comes back exactly; None where none is declared."""


@dataclass(frozen=True, slots=True)
class Scene:
    """An acquisition that can be upscaled."""

    id: str
    """The provider's name for it, safe as a file name."""
    family: str
    """'sentinel2', 'landsat', 'stac', 'dicom' or 'folder'."""
    path: Path = field(repr=False)
    """What was found in the inbox."""
    assets: tuple[Asset, ...]
    """At least one."""
    time: datetime | None = None
    """When it was sensed, in UTC."""
    platform: str | None = None
    """STAC's platform: 'sentinel-2b', 'landsat-8'."""
    instruments: tuple[str, ...] = ()
    """STAC's instruments: 'msi', 'oli', 'tirs'."""
    properties: dict[str, Json] = field(default_factory=dict)
    """More properties for the STAC item, under their full names: 'eo:cloud_cover'."""
    footprint: dict[str, Json] | None = None
    """GeoJSON geometry in longitude and latitude, where the provider gives one."""
    source_item: str | None = None
    """Absolute path or URL of the STAC item that it comes from."""
    dataset: str = ""
    """What a reprocessed delivery of the same data shares with it, as datatake and tile; ''."""
    version: str = ""
    """Of the processing, ordered as text: of two scenes of a dataset the greater one is newer."""
    notes: tuple[str, ...] = ()
    """What is odd about it, a line each: missing bands, a decimated file."""

    @property
    def band_count(self) -> int:
        """Bands of all assets: of two deliveries of the same data the smaller one lacks some."""
        return sum(len(asset.bands) or 1 for asset in self.assets)

    @property
    def medical(self) -> bool:
        """Whether it is of a patient: what is said of it must not tell of whom."""
        return self.family == "dicom"


@dataclass(frozen=True, slots=True)
class SceneOptions:
    """How scenes are found and what is taken of them."""

    families: tuple[str, ...] = ("sentinel2", "landsat", "stac", "dicom", "folder")
    """Kinds of scenes that are looked for, in this order."""
    bands: tuple[str, ...] | None = None
    """Names of the bands to take, such as B04; None for all that are to be super-resolved."""
    classes: bool = True
    """Whether classifications and quality masks are enlarged, by nearest, as extra assets."""
    pan: bool = False
    """Whether a panchromatic band is upscaled too."""
    folder: Literal["file", "folder"] = "file"
    """Plain GeoTIFF and JP2: a scene per file, or per folder."""
    max_unpacked: int = 64 * 2**30
    """Most bytes that an archive may unpack to."""
    modalities: tuple[str, ...] | None = None
    """Of DICOM: series to take, such as CT; None for all."""
    spacing: Literal["refuse", "warn"] = "refuse"
    """Of DICOM: what is done about pixels whose size is zero or not said."""


class SceneError(SourceError):
    """A scene that cannot be opened, with its reason for programs."""

    def __init__(
        self,
        message: str,
        *,
        uri: str | None = None,
        tile: int | None = None,
        reason: Reason = "unreadable",
    ) -> None:
        super().__init__(message, uri=uri, tile=tile)
        self.reason = reason
        """One word."""

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (self.message, self.uri, self.tile, self.reason))


def _rebuild(message: str, uri: str | None, tile: int | None, reason: Reason) -> SceneError:
    """Unpickle an error: exceptions with keyword-only arguments need the help."""
    return SceneError(message, uri=uri, tile=tile, reason=reason)
