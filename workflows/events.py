"""What a job tells its caller: events while it runs, an outcome at the end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.cluster import Shape
from pipeline.journal import Receipt
from pipeline.plan import Plan
from workflows.prepare import Prepared

if TYPE_CHECKING:
    from workflows.report import Report


@dataclass(frozen=True, slots=True)
class Warned:
    """The job can be done, but there is something to know before."""

    message: str
    """One line."""


@dataclass(frozen=True, slots=True)
class Started:
    """The cluster is up and tiles begin."""

    plan: Plan
    """Of the first output."""
    tiles: int
    """All tiles of the image."""
    resumed: int
    """Tiles that an earlier run has left."""
    shape: Shape
    """Of the cluster."""


@dataclass(frozen=True, slots=True)
class Progress:
    """A tile is durable."""

    done: int
    """Tiles that are durable, the resumed ones among them."""
    tiles: int
    """All tiles of the image."""
    resumed: int
    """Tiles that an earlier run has left."""
    megapixels: float
    """Output pixels x bands made in this run, in millions."""
    seconds: float
    """Since the first tile was sent."""


@dataclass(frozen=True, slots=True)
class Publishing:
    """All tiles are in: the output is being put together."""

    target: str
    """Path of the output."""


@dataclass(frozen=True, slots=True)
class Published:
    """An output is in place."""

    target: str
    """Path of the output."""
    size: int
    """Bytes."""


Event = Warned | Started | Progress | Publishing | Published


@dataclass(frozen=True, slots=True)
class Outcome:
    """What happened."""

    prepared: Prepared
    """What was decided."""
    receipts: tuple[Receipt, ...]
    """Of every tile of the first output."""
    resumed: int
    """Tiles that an earlier run had left."""
    shape: Shape
    """Of the cluster."""
    seconds: float
    """Wall time of the whole job."""
    tile_seconds: float
    """Wall time from the first tile sent to the last one received."""
    publish_seconds: float
    """Wall time of putting the outputs together."""
    megapixels: float
    """Output pixels x bands made in this run, in millions."""
    report: Report | None = None
    """All of it for people and programs; None until the outputs are in place."""
    extras: tuple[Path, ...] = ()
    """What was written beside the outputs: previews and reports."""
