"""What a job has decided before a pixel is read: a dry run shows it, a report begins with it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.doubts import doubts
from pipeline.fate import Fate, Provenance
from pipeline.plan import Plan
from pipeline.radiometry import as_code
from pipeline.room import Room
from pipeline.sinks import load_sink
from pipeline.survey import range_of

if TYPE_CHECKING:
    from pipeline.cluster import Shape
    from workflows.prepare import Prepared


@dataclass(frozen=True, slots=True)
class Input:
    """The source."""

    path: str
    """Absolute path; of DICOM an id in its place."""
    driver: str
    """Format."""
    height: int
    """Rows."""
    width: int
    """Columns."""
    bands: tuple[int, ...]
    """1-based numbers of the bands that were taken."""
    dtype: str
    """Data type, of the outputs too."""
    size: int
    """Bytes of its files."""
    digest: str
    """sha256 of names, sizes, times and heads of its files: which version it was."""
    value_range: tuple[float, float] | None = None
    """Its values that map to the ends of the network's range; None for a network without one."""
    frames: int = 1
    """Images of that size."""


@dataclass(frozen=True, slots=True)
class Output:
    """An output."""

    path: str
    """Absolute path."""
    format: str
    """The sink that writes it."""
    height: int
    """Rows."""
    width: int
    """Columns."""
    bytes_expected: int
    """Of the finished output; an upper estimate."""
    bytes_needed: int
    """Of output and stage together when they take most; an upper estimate."""
    bytes_free: int
    """Free on its file system before the run."""
    metadata: tuple[Fate, ...]
    """What becomes of each piece of the source's metadata."""


@dataclass(frozen=True, slots=True)
class Work:
    """How the work is cut and shared out."""

    tiles: int
    """Number of tiles."""
    side: int
    """Side of a tile in output pixels."""
    halo: int
    """Source pixels that neighbouring tiles share."""
    workers: int
    """Processes; 0 for threads of the driver."""
    threads: int
    """Threads per worker."""
    memory_per_thread: int
    """Bytes that one tile may use."""
    memory_per_tile: int
    """Bytes that one tile needs; an upper estimate."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What was decided before a pixel was read: a dry run ends here."""

    source: Input
    """The input."""
    outputs: tuple[Output, ...]
    """The outputs."""
    provenance: Provenance
    """Software and model."""
    work: Work
    """Tiles, workers, memory."""
    warnings: tuple[str, ...] = ()
    """What a user should know before."""


def make_facts(prepared: Prepared, shape: Shape | None = None) -> Facts:
    """What a job has decided, for the workers it has got or, before that, expects."""
    plan, shape = prepared.plans[0][1], shape or prepared.shape
    profile, tiling = plan.profile, plan.tiling
    source = Input(
        profile.label,
        profile.driver,
        profile.height,
        profile.width,
        tuple(band.number for band in profile.bands),
        profile.dtype,
        profile.identity.size,
        profile.identity.digest,
        range_of(profile, prepared.job.radiometry, prepared.upscaler),
        profile.frames,
    )
    work = Work(
        len(tiling),
        tiling.side,
        tiling.halo,
        shape.workers,
        shape.threads,
        shape.memory_per_thread,
        plan.tile_bytes,
    )
    outputs = tuple(
        _output(path, own, room)
        for (path, own), room in zip(prepared.plans, prepared.rooms, strict=True)
    )
    return Facts(source, outputs, plan.provenance, work, known_before(prepared))


def known_before(prepared: Prepared) -> tuple[str, ...]:
    """What a user should know before: of the model by itself, of it and this scene, of options."""
    card, profile = prepared.upscaler.card, prepared.plans[0][1].profile
    found = doubts(
        profile,
        prepared.upscaler,
        prepared.job.radiometry,
        model=f"the model {card.name}",
        scene="the source",
    )
    nodata = _doubt_nodata(prepared.job.input.nodata, profile.dtype)
    return tuple(line for line in (card.warning, *found, nodata) if line)


def _doubt_nodata(value: float | None, dtype: str) -> str | None:
    """Where a value was asked for that no pixel can have."""
    if value is None or as_code(value, np.dtype(dtype)) is not None:
        return None
    return f"source.nodata = {value:g} marks nothing: it is no {dtype} value"


def _output(path: Path, plan: Plan, room: Room) -> Output:
    height, width = plan.tiling.shape
    fates = load_sink(plan.format).fates(plan)
    free = shutil.disk_usage(path.parent).free
    return Output(str(path), plan.format, height, width, room.output, room.peak, free, fates)
