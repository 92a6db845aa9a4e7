"""One image in, one or several out: the story of a job, from top to bottom."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.cluster import Shape, open_cluster
from pipeline.errors import DamagedStageError
from pipeline.journal import Receipt
from pipeline.plan import check_memory
from pipeline.publishing import check_unchanged, publish
from pipeline.run import run
from pipeline.stage import discard
from pipeline.task import Target
from workflows.beside import write_beside
from workflows.events import Event, Outcome, Progress, Published, Publishing, Started, Warned
from workflows.facts import known_before
from workflows.fit import check_fit, modest
from workflows.job import Job
from workflows.prepare import Prepared, prepare
from workflows.report import size_on_disk
from workflows.staging import mend, opened


def upscale(job: Job, on_tile: Callable[[Event], None] | None = None) -> Outcome:
    """Do a job: plan, make the tiles that are missing, publish. Raises PipelineError.

    `on_tile` is called in this thread with a Progress for every tile, with Started, Publishing and
    Published around them, and with a Warned before where there is something to know. Whatever ends
    the call early, the outputs' names are untouched, and the same job goes on where this one
    stopped.
    """
    tell = on_tile or (lambda _: None)
    started = time.perf_counter()
    prepared = prepare(job)
    check_fit(prepared)
    for line in known_before(prepared):
        tell(Warned(line))
    with ExitStack() as stack:
        targets = [stack.enter_context(opened(path, plan)) for path, plan in prepared.plans]
        resumed = min(len(target.journal.receipts) for target in targets)
        made, publishing = _make_and_publish(prepared, targets, resumed, tell)
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


@dataclass(frozen=True, slots=True)
class _Made:
    """Tiles that are durable."""

    shape: Shape
    """Of the cluster that made them."""
    seconds: float = 0.0
    """Wall time from the first tile sent to the last one received."""
    megapixels: float = 0.0
    """Output pixels x bands made in this run, in millions."""


def _make_and_publish(
    prepared: Prepared, targets: Sequence[Target], resumed: int, tell: Callable[[Event], None]
) -> tuple[_Made, float]:
    """Make all tiles that are missing, and publish; what is found damaged then is made again.

    Also returns when publishing began. Sinks verify what they take: no tile is read twice for it.
    """
    made, found = _Made(prepared.shape), Counter[tuple[Path, int | None]]()
    while True:
        made = _make_tiles(prepared, targets, resumed, tell, made)
        check_unchanged(targets[0].plan, *(target.stage for target in targets))
        publishing = time.perf_counter()
        for target in targets:
            error = _publish(target, tell)
            if error is not None:
                found[target.path, error.tile] += 1
                mend(target, error, times=found[target.path, error.tile])
                break
        else:
            return made, publishing


def _make_tiles(
    prepared: Prepared,
    targets: Sequence[Target],
    resumed: int,
    tell: Callable[[Event], None],
    before: _Made,
) -> _Made:
    """Make every tile that is missing; what was made before and now."""
    lacking = [t for t in targets if len(t.journal.receipts) < len(t.plan.tiling)]
    if not lacking:
        return before
    now = _round(prepared, lacking, resumed, tell)
    return _Made(now.shape, before.seconds + now.seconds, before.megapixels + now.megapixels)


def _round(
    prepared: Prepared, targets: Sequence[Target], resumed: int, tell: Callable[[Event], None]
) -> _Made:
    """Start a cluster and make every tile that a target lacks."""
    plan = targets[0].plan
    tiles, megapixels = len(plan.tiling), 0.0
    options = modest(prepared)
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


def _publish(target: Target, tell: Callable[[Event], None]) -> DamagedStageError | None:
    """Put one output in place; returns what damage was found that hinders it."""
    tell(Publishing(str(target.path)))
    try:
        publish(target.stage, target.plan, target.journal.receipts, target.path)
    except DamagedStageError as error:
        return error
    tell(Published(str(target.path), size_on_disk(target.path)))
    return None
