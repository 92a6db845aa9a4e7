"""One image in, one or several out: the story of a job, from top to bottom."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.cluster import Shape, open_cluster
from pipeline.errors import DamagedStageError, PublishError, SourceError
from pipeline.journal import Receipt
from pipeline.options import ClusterOptions
from pipeline.plan import Plan, check_disk, check_memory
from pipeline.run import Target, run
from pipeline.sinks import load_sink
from pipeline.sources import open_source
from pipeline.stage import (
    begin,
    clear,
    damaged,
    discard,
    is_publishing,
    locked,
    mark_publishing,
)
from workflows.beside import write_beside
from workflows.events import Event, Outcome, Progress, Published, Publishing, Started
from workflows.job import Job
from workflows.prepare import Prepared, prepare
from workflows.report import size_on_disk

ROUNDS = 3
"""Times that tiles found damaged before publishing are made again."""
FEW_TILES = 2
"""Jobs of so few tiles run in threads of this process: starting others would take longer."""


def upscale(job: Job, on_tile: Callable[[Event], None] | None = None) -> Outcome:
    """Do a job: plan, make the tiles that are missing, publish. Raises PipelineError.

    `on_tile` is called in this thread with a Progress for every tile, and with Started, Publishing
    and Published around them. Whatever ends the call early, the outputs' names are untouched, and
    the same job goes on where this one stopped.
    """
    tell = on_tile or (lambda _: None)
    started = time.perf_counter()
    prepared = prepare(job)
    with ExitStack() as stack:
        targets = [stack.enter_context(_opened(path, plan)) for path, plan in prepared.plans]
        resumed = min(len(target.journal.receipts) for target in targets)
        made = _make_tiles(prepared, targets, resumed, tell)
        _check_unchanged(targets)
        publishing = time.perf_counter()
        for target in targets:
            _publish(target, tell)
        # only now: a job that is killed between two outputs finds both stages and goes on
        for target in targets:
            discard(target.stage)
        receipts = tuple(targets[0].journal.receipts.values())
    ended = time.perf_counter()
    outcome = Outcome(
        prepared=prepared,
        receipts=receipts,
        resumed=resumed,
        shape=made.shape,
        seconds=ended - started,
        tile_seconds=made.seconds,
        publish_seconds=ended - publishing,
        megapixels=made.megapixels,
    )
    report, extras = write_beside(outcome)
    return replace(outcome, report=report, extras=extras)


@contextmanager
def _opened(path: Path, plan: Plan) -> Iterator[Target]:
    """A locked stage for an output, resumed if the same plan began it."""
    with locked(path) as stage:
        journal, resumed = begin(stage, plan)
        if not is_publishing(stage):
            load_sink(plan.format).begin(stage, plan)
            journal.forget(damaged(stage, journal, deep=False) if resumed else set())
        yield Target(path, stage, plan, journal)


@dataclass(frozen=True, slots=True)
class _Made:
    """Tiles that are durable and verified."""

    shape: Shape
    """Of the cluster that made them."""
    seconds: float = 0.0
    """Wall time from the first tile sent to the last one received."""
    megapixels: float = 0.0
    """Output pixels x bands made in this run, in millions."""


def _make_tiles(
    prepared: Prepared, targets: Sequence[Target], resumed: int, tell: Callable[[Event], None]
) -> _Made:
    """Make all tiles that are missing; verify all that are staged, and make bad ones again."""
    lacking = [target for target in targets if not is_publishing(target.stage)]
    check_disk({t.path: t.plan.output_bytes - _staged_bytes(t) for t in lacking})
    tiles = len(targets[0].plan.tiling)
    made = _Made(prepared.shape)
    for _ in range(ROUNDS):
        if any(len(target.journal.receipts) < tiles for target in lacking):
            one = _round(prepared, lacking, resumed, tell)
            made = _Made(one.shape, made.seconds + one.seconds, made.megapixels + one.megapixels)
        bad = [damaged(target.stage, target.journal, deep=True) for target in lacking]
        for target, tile_set in zip(lacking, bad, strict=True):
            target.journal.forget(tile_set)
        if not any(bad):
            return made
    raise PublishError(
        f"staged tiles were found damaged {ROUNDS} times in a row; check the disk",
        uri=str(targets[0].path),
    )


def _staged_bytes(target: Target) -> int:
    """What is on disk of an output already."""
    return sum(file.size for receipt in target.journal.receipts.values() for file in receipt.files)


def _round(
    prepared: Prepared, targets: Sequence[Target], resumed: int, tell: Callable[[Event], None]
) -> _Made:
    """Start a cluster and make every tile that a target lacks."""
    plan = targets[0].plan
    tiles, megapixels = len(plan.tiling), 0.0
    options = _modest(prepared.job.cluster, tiles, prepared.gpus)
    with open_cluster(options, gpus=prepared.gpus) as (client, shape):
        check_memory(plan, memory=shape.memory_per_thread)
        tell(Started(plan, tiles, resumed, shape))
        started = time.perf_counter()

        def on_tile(receipt: Receipt) -> None:
            nonlocal megapixels
            write = plan.tiling.tile(receipt.tile).write
            megapixels += write.height * write.width * len(plan.profile.bands) / 1e6
            done = min(len(target.journal.receipts) for target in targets)
            tell(Progress(done, tiles, resumed, megapixels, time.perf_counter() - started))

        run(
            client,
            targets,
            prepared.upscaler,
            threads=shape.total_threads,
            attempts=options.attempts,
            on_tile=on_tile,
        )
        seconds = time.perf_counter() - started
    return _Made(shape, seconds, megapixels)


def _modest(options: ClusterOptions, tiles: int, gpus: int) -> ClusterOptions:
    """The cluster's options; threads of this process for a few tiles, unless told otherwise."""
    if options.workers is None and options.cluster == "local" and tiles <= FEW_TILES and not gpus:
        return replace(options, workers=0)
    return options


def _check_unchanged(targets: Sequence[Target]) -> None:
    """Raise SourceError if the input changed meanwhile: its tiles may not belong together."""
    plan = targets[0].plan
    if all(is_publishing(target.stage) for target in targets):
        return
    if open_source(plan.source.uri, plan.source.options).profile.identity != plan.profile.identity:
        for target in targets:
            clear(target.stage)
        raise SourceError("changed while it was being read; run the job again", uri=plan.source.uri)


def _publish(target: Target, tell: Callable[[Event], None]) -> None:
    """Put one output in place."""
    tell(Publishing(str(target.path)))
    if not is_publishing(target.stage):
        mark_publishing(target.stage)
    try:
        sink = load_sink(target.plan.format)
        sink.publish(target.stage, target.plan, target.journal.receipts, target.path)
    except DamagedStageError:
        clear(target.stage)
        raise
    except OSError as error:
        raise PublishError(
            f"cannot be put in place ({error.strerror or error}); mend that and run the same "
            "command again to go on",
            uri=str(target.path),
        ) from error
    tell(Published(str(target.path), size_on_disk(target.path)))
