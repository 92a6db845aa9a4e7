"""One image in, one or several out: the story of a job, from top to bottom."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import espcn
from pipeline.cluster import Shape, local_shape, open_cluster
from pipeline.errors import ConfigError, PipelineError, PlanError, PublishError
from pipeline.fate import Provenance
from pipeline.journal import Receipt, append_durably
from pipeline.kernel import make_tiling
from pipeline.plan import Plan, check_fit, choose_side
from pipeline.run import Target, run
from pipeline.serial import from_json
from pipeline.sinks import load_sink, sink_for
from pipeline.sources import Address, Source
from pipeline.stage import begin, clear, damaged, discard, locked, stage_of
from pipeline.survey import survey
from workflows.job import Job

MEMORY_PER_TILE = 2**30
"""Bytes that a tile may use when the plan chooses its size."""
ROUNDS = 3
"""Times that tiles found damaged before publishing are made again."""
FEW_TILES = 2
"""Jobs of so few tiles run in threads of this process: starting others would take longer."""


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


Event = Started | Progress | Publishing | Published


@dataclass(frozen=True, slots=True)
class Prepared:
    """A job of which everything is decided."""

    job: Job
    """What was asked for."""
    card: espcn.Card
    """Facts of the model."""
    upscaler: espcn.Upscaler
    """The model."""
    plans: tuple[tuple[Path, Plan], ...]
    """(target, plan) of each output."""
    shape: Shape
    """Of the local cluster that would be used; remote ones are seen when connected."""
    gpus: int
    """GPUs of this machine that workers would use."""


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


def prepare(job: Job) -> Prepared:
    """Decide everything; reads headers and a few small windows. Raises PipelineError."""
    upscaler = espcn.load(
        job.model.name,
        scale=job.model.scale,
        device=job.model.device,
        precision=job.model.precision,
    )
    address = Address(_absolute(job.source), job.input)
    source = address.open()
    _check_bands(source, upscaler)
    radiometry = survey(source, job.radiometry, input_range=upscaler.card.input_range)
    gpus = 1 if upscaler.address.placement.device == "cuda" else 0
    shape = local_shape(job.cluster, gpus=gpus)
    memory = min(MEMORY_PER_TILE, shape.memory_per_thread)
    side = choose_side(
        source.profile,
        upscaler,
        job.tiling,
        memory=memory,
        threads=shape.total_threads,
        gpu=gpus > 0,
    )
    tiling = make_tiling(source.profile.height, source.profile.width, upscaler, side=side)
    provenance = _provenance(upscaler)
    plans = []
    for target in _targets(job):
        name, sink = sink_for(target)
        plan = Plan(address, source.profile, provenance, radiometry, tiling, job.output, name)
        sink.check(plan)
        plans.append((target, plan))
    return Prepared(job, upscaler.card, upscaler, _agreed(plans, job), shape, gpus)


def upscale(job: Job, on_event: Callable[[Event], None] | None = None) -> Outcome:
    """Do a job: plan, make the tiles that are missing, publish. Raises PipelineError.

    `on_event` is called in this thread. Whatever ends the call early, the outputs' names are
    untouched, and the same job goes on where this one stopped.
    """
    tell = on_event or (lambda _: None)
    started = time.perf_counter()
    prepared = prepare(job)
    with ExitStack() as stack:
        targets = [stack.enter_context(_opened(path, plan)) for path, plan in prepared.plans]
        resumed = min(len(target.journal.receipts) for target in targets)
        shape, tile_seconds = _make_tiles(prepared, targets, resumed, tell)
        publishing = time.perf_counter()
        for target in targets:
            _publish(target, tell)
        receipts = tuple(targets[0].journal.receipts.values())
    ended = time.perf_counter()
    return Outcome(
        prepared, receipts, resumed, shape, ended - started, tile_seconds, ended - publishing
    )


@contextmanager
def _opened(path: Path, plan: Plan) -> Iterator[Target]:
    """A locked stage for an output, resumed if the same plan began it."""
    with locked(path) as stage:
        journal, resumed = begin(stage, plan)
        target = Target(path, stage, plan, journal)
        if not _is_publishing(target):
            load_sink(plan.format).begin(stage, plan)
            journal.forget(damaged(stage, journal, deep=False) if resumed else set())
        yield target


def _make_tiles(
    prepared: Prepared, targets: Sequence[Target], resumed: int, tell: Callable[[Event], None]
) -> tuple[Shape, float]:
    """Make all missing tiles and verify all staged ones; (shape of the cluster, seconds)."""
    lacking = [target for target in targets if not _is_publishing(target)]
    for target in lacking:
        staged = sum(file.size for r in target.journal.receipts.values() for file in r.files)
        memory = prepared.shape.memory_per_thread
        check_fit(target.plan, target.path, memory=memory, staged=staged)
    tiles = len(targets[0].plan.tiling)
    shape, started = prepared.shape, time.perf_counter()
    for _ in range(ROUNDS):
        if any(len(target.journal.receipts) < tiles for target in lacking):
            shape = _round(prepared, lacking, resumed, tell)
        bad = [damaged(target.stage, target.journal, deep=True) for target in lacking]
        for target, tile_set in zip(lacking, bad, strict=True):
            target.journal.forget(tile_set)
        if not any(bad):
            return shape, time.perf_counter() - started
    raise PublishError(
        f"staged tiles were found damaged {ROUNDS} times in a row; check the disk",
        uri=str(targets[0].path),
    )


def _round(
    prepared: Prepared, targets: Sequence[Target], resumed: int, tell: Callable[[Event], None]
) -> Shape:
    """Start a cluster and make all missing tiles."""
    plan = targets[0].plan
    tiles = len(plan.tiling)
    options, few = prepared.job.cluster, tiles <= FEW_TILES and not prepared.gpus
    if options.workers is None and options.cluster == "local" and few:
        options = replace(options, workers=0)
    with open_cluster(options, gpus=prepared.gpus) as (client, shape):
        for target in targets:
            check_fit(target.plan, target.path, memory=shape.memory_per_thread)
        tell(Started(plan, tiles, resumed, shape))
        started, pixels = time.perf_counter(), 0

        def on_tile(receipt: Receipt) -> None:
            nonlocal pixels
            write = plan.tiling.tile(receipt.tile).write
            pixels += write.height * write.width * len(plan.profile.bands)
            done = min(len(target.journal.receipts) for target in targets)
            seconds = time.perf_counter() - started
            tell(Progress(done, tiles, resumed, pixels / 1e6, seconds))

        run(
            client,
            targets,
            prepared.upscaler,
            threads=shape.total_threads,
            attempts=options.attempts,
            on_tile=on_tile,
        )
    return shape


def _publish(target: Target, tell: Callable[[Event], None]) -> None:
    """Put one output in place and remove its stage."""
    tell(Publishing(str(target.path)))
    sink = load_sink(target.plan.format)
    if not _is_publishing(target):
        append_durably(_marker(target.stage), "")
    try:
        sink.publish(target.stage, target.plan, target.journal.receipts, target.path)
    except PublishError:
        clear(target.stage)
        raise
    except OSError as error:
        raise PublishError(
            f"cannot be put in place ({error.strerror or error}); mend that and run the same "
            "command again to go on",
            uri=str(target.path),
        ) from error
    discard(target.stage)
    tell(Published(str(target.path), _size(target.path)))


def _marker(stage: Path) -> Path:
    """Says that all tiles were verified and parts may have shrunk: never go back."""
    return stage / "publishing"


def _is_publishing(target: Target) -> bool:
    return _marker(target.stage).exists()


def _size(path: Path) -> int:
    """Bytes of a file or of all files of a directory."""
    if path.is_file():
        return path.stat().st_size
    return sum(entry.stat().st_size for entry in path.rglob("*") if entry.is_file())


def _targets(job: Job) -> list[Path]:
    """The outputs' paths, refused where they would do harm."""
    paths = [Path(_absolute(output)) for output in job.outputs]
    if len(set(paths)) < len(paths):
        raise ConfigError(f"the same output is named twice: {', '.join(job.outputs)}")
    for path in paths:
        if not path.parent.is_dir():
            raise ConfigError("its directory does not exist", uri=str(path))
        if not os.access(path.parent, os.W_OK):
            raise PublishError("its directory cannot be written to", uri=str(path))
        if not path.exists():
            continue
        if os.path.samefile(path, job.source):
            raise ConfigError("is the input; choose another name", uri=str(path))
        if not job.overwrite and not _marker(stage_of(path)).exists():
            raise ConfigError("exists; replace it with --overwrite", uri=str(path))
    return paths


def _provenance(upscaler: espcn.Upscaler) -> Provenance:
    card, placement = upscaler.card, upscaler.address.placement
    where = f"{placement.backend} {placement.device} {placement.precision}"
    return Provenance(f"espcn {version('espcn')}", card.name, card.sha256, card.scale, where)


def _absolute(path: str) -> str:
    """An absolute path; URLs and /vsi paths as they are."""
    return path if "://" in path else str(Path(path).absolute())


def _check_bands(source: Source, upscaler: espcn.Upscaler) -> None:
    """A network of several bands takes exactly those."""
    light = len(source.profile.light)
    if upscaler.bands > 1 and light != upscaler.bands:
        raise PlanError(
            f"the model {upscaler.card.name} takes {upscaler.bands} bands at once, the source has "
            f"{light}; select them with --bands",
            uri=source.profile.uri,
        )


def _agreed(plans: list[tuple[Path, Plan]], job: Job) -> tuple[tuple[Path, Plan], ...]:
    """The plans, with the tiles of an interrupted run where only their size differs.

    The plan chooses the side from the workers it finds; another number of workers must not throw
    staged tiles away.
    """
    if job.tiling.tile is not None:
        return tuple(plans)
    for path, plan in plans:
        tiling = _staged_tiling(stage_of(path), plan)
        if tiling is not None:
            return tuple((p, replace(other, tiling=tiling.tiling)) for p, other in plans)
    return tuple(plans)


def _staged_tiling(stage: Path, plan: Plan) -> Plan | None:
    """The staged plan, if it is this one but for the side of its tiles."""
    try:
        staged = from_json(Plan, json.loads((stage / "plan.json").read_text()))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return staged if replace(plan, tiling=staged.tiling).digest == staged.digest else None


__all__ = ["Event", "Outcome", "PipelineError", "Prepared", "prepare", "upscale"]
