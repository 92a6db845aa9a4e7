"""What a user may choose about batches, with its defaults."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """Where scenes come from and products go, and what counts as the same."""

    inbox: str = ""
    """Directory of scenes."""
    outbox: str = ""
    """Directory of products, on the file system of all workers."""
    only: str | None = None
    """Pattern, such as 'S2?_*T33*', that the name of a scene must match."""
    product: str = "{scene}_SR"
    """Name of a product; {scene}, {family}, {platform}, {date} and {key} are filled in."""
    checksum: Literal["quick", "full"] = "quick"
    """What tells versions of an input apart: size, time and first bytes of its files, or all."""
    reprocessed: Literal["replace", "beside"] = "replace"
    """Whether a newer processing of the same data replaces the older product."""
    attempts: int = 3
    """Runs in which a scene may fail before it is quarantined."""
    quarantine: str | None = None
    """Directory that quarantined scenes are moved to; null leaves them where they are."""
    format: Literal["cog", "zarr"] = "cog"
    """Format of the products' images."""
    open_scenes: int = 4
    """Scenes whose tiles are in flight together."""


@dataclass(frozen=True, slots=True)
class ModelsOptions:
    """Which network a raster gets, by the first rule that fits it."""

    rules: dict[str, str] = field(default_factory=lambda: {"*": "general-x2"})
    """Model by pattern over 'family/asset', such as sentinel2/r10m: sentinel2-x3; the first that
    fits counts."""


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """Limits that every product must keep; what fails one is not published."""

    coverage: float = 1.0
    """Least share of the source's footprint that the product covers."""
    valid_difference: float = 0.001
    """Most difference of the shares of valid pixels, of 1."""
    bias: float = 0.002
    """Most |mean(SR) - mean(LR)|, relative to the standard deviation of the LR; rough textures and
    few pixels raise it, by what chance and networks add there."""
    consistency: float = 0.15
    """Most RMS of SR, degraded as its network has learned to undo, against LR, relative to the
    standard deviation of the LR; rough textures raise it to 0.45 of their roughness."""
    corners: float = 1e-6
    """Most distance of an outer corner from the source's, in source pixels."""
    windows: int = 1
    """Windows recomputed untiled and compared for equality."""


@dataclass(frozen=True, slots=True)
class ScheduleOptions:
    """What a nightly run adds."""

    settle: float = 10.0
    """Minutes for which size and time of a scene's files must be quiet before it is read."""
    marker: str | None = None
    """File that says that a scene has arrived, such as '{scene}.done'; it replaces the quiet."""
    keep_reports: int = 90
    """Days for which reports are kept."""
    on_failure: str | None = None
    """Command that is run when scenes failed; it gets the run's summary as JSON on stdin."""
    metrics_file: str | None = None
    """Prometheus text file, for node-exporter's textfile collector."""
