"""Running tiles on a Dask cluster: one fused task per tile, nothing but receipts on the wire.

read -> network -> encode -> one or two files per output -> receipt

The driver keeps a bounded number of tiles in flight, refills in batches, and writes each receipt to
the journal as it comes in. All that matters is on disk; Dask may lose anything at any time.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, cast

from pipeline.crew import Crew, scheduler_lost
from pipeline.errors import PipelineError, PublishError, TileError
from pipeline.journal import Journal, Receipt
from pipeline.kernel import Recipe, Upscaler, upscale_tile
from pipeline.memory import keep_freed_memory, scratch
from pipeline.plan import Plan
from pipeline.serial import from_json
from pipeline.sinks import load_sink
from pipeline.stage import is_full
from pipeline.statistics import measure

if TYPE_CHECKING:
    from distributed import Client, Future

logger = logging.getLogger(__name__)

AHEAD = 2
"""Tiles in flight per worker thread: one that runs, one that waits."""


@dataclass(frozen=True, slots=True)
class Target:
    """One output being made."""

    path: Path
    """Where it will be."""
    stage: Path
    """Where its tiles are put meanwhile."""
    plan: Plan
    """How it is made."""
    journal: Journal
    """Which tiles are durable."""


@dataclass(frozen=True, slots=True)
class Call:
    """What a task is told: under a kilobyte."""

    tile: int
    """Index of the tile."""
    attempt: int
    """1 at first."""
    stages: tuple[tuple[str, str], ...]
    """(staging directory, digest of its plan) of every output that lacks the tile."""

    @property
    def key(self) -> str:
        """Dask's name for it: distinct per attempt, or a failed result would come back."""
        return f"tile-{self.stages[0][1][:16]}-{self.tile}-{self.attempt}"


def make_tile(call: Call, upscaler: Upscaler) -> tuple[Receipt, ...]:
    """Make one tile on a worker: a receipt for each output. Raises PipelineError."""
    keep_freed_memory()
    plans = [load_plan(stage, digest) for stage, digest in call.stages]
    plan = plans[0]
    tile = plan.tiling.tile(call.tile)
    window = plan.tiling.read(tile)
    started, busy = time.perf_counter(), time.thread_time()
    try:
        source = plan.source.open(plan.profile.identity)
        pixels, mask = source.read(window), source.mask(window)
        read = time.perf_counter()
        recipe = Recipe(plan.profile, plan.tiling, plan.radiometry, upscaler)
        room = scratch((len(pixels), *tile.write.shape), pixels.dtype)
        fine = upscale_tile(recipe, tile, pixels, mask, into=room)
        inferred = time.perf_counter()
        statistics = measure(fine.pixels, fine.valid) if plan.output.statistics else ()
        receipts = []
        for (stage, _), own in zip(call.stages, plans, strict=True):
            files = load_sink(own.format).write(Path(stage), own, tile, fine)
            receipts.append(Receipt(tile.index, files, statistics, fine.clipped))
    except PipelineError as error:
        error.tile = call.tile
        # GDAL's exceptions cannot be pickled: with one of them this error would arrive as text
        error.__cause__ = error.__context__ = None
        raise
    except OSError as error:
        if is_full(error):
            raise PublishError(
                "the disk is full; make room and run the same command again to go on",
                uri=error.filename or call.stages[0][0],
                tile=call.tile,
            ) from error
        raise
    seconds = (read - started, inferred - read, time.perf_counter() - inferred)
    cpu = time.thread_time() - busy
    return tuple(replace(receipt, seconds=seconds, cpu=cpu) for receipt in receipts)


@lru_cache(maxsize=64)
def load_plan(stage: str, digest: str) -> Plan:
    """The plan of a stage, read once per process; raises TileError if it is not there.

    `digest` keeps plans apart that follow each other in the same directory.
    """
    import json

    path = Path(stage) / "plan.json"
    try:
        plan = from_json(Plan, json.loads(path.read_text()))
    except OSError as error:
        raise TileError(
            f"a worker cannot see {path} ({error.strerror}); all workers must share the output's "
            "file system"
        ) from error
    if plan.digest != digest:
        raise TileError(f"{path} was replaced by another run's plan")
    return plan


def run(
    client: Client,
    targets: Sequence[Target],
    upscaler: Upscaler,
    *,
    threads: int,
    attempts: int,
    on_tile: Callable[[Receipt], None],
) -> None:
    """Make every tile that a target lacks, and journal it.

    `threads` tiles run at once, more or fewer as workers come and go; `on_tile` is called in this
    thread as tiles become durable. A tile that fails for want of a worker is tried `attempts`
    times. Raises PipelineError.
    """
    from distributed import as_completed

    crew = Crew(client, threads)
    waiting, again = _missing(targets), list[Call]()
    calls: dict[Future, Call] = {}
    completed = as_completed([], loop=client.loop, raise_errors=False)
    try:
        while True:
            room = max(AHEAD * crew.threads - len(calls) - len(again), 0)
            more = again + list(itertools.islice(waiting, room))
            sent = crew.send(make_tile, {call.key: call for call in more}, upscaler=upscaler)
            calls.update(sent)
            completed.update(list(sent))
            if not calls:
                return
            settled = [(f, calls.pop(f)) for f in crew.wait(completed)]
            tries = [_settle(crew, f, call, targets, attempts, on_tile) for f, call in settled]
            again = [call for call in tries if call]
    finally:
        crew.forget(list(calls))


def _missing(targets: Sequence[Target]) -> Iterator[Call]:
    """A call for every tile that some target lacks, in the order of the tiling."""
    for tile in range(len(targets[0].plan.tiling)):
        lacking = [t for t in targets if tile not in t.journal.receipts]
        if lacking:
            yield Call(tile, 1, tuple((str(t.stage), t.plan.digest) for t in lacking))


def _settle(
    crew: Crew,
    future: Future,
    call: Call,
    targets: Sequence[Target],
    attempts: int,
    on_tile: Callable[[Receipt], None],
) -> Call | None:
    """Journal a finished tile, or say how to try it again; raises what cannot be mended."""
    if future.status == "finished":
        receipts = cast("tuple[Receipt, ...]", crew.result(future))
        _journal(call, receipts, targets)
        on_tile(receipts[0])
        return None
    if future.status != "error":
        raise scheduler_lost()
    error = future.exception()
    if isinstance(error, PipelineError):
        raise error
    if call.attempt >= attempts:
        raise TileError(
            f"failed {call.attempt} times, at last with {type(error).__name__}: {error}",
            tile=call.tile,
        ) from error
    logger.warning("tile %d: attempt %d failed (%r)", call.tile, call.attempt, error)
    return replace(call, attempt=call.attempt + 1)


def _journal(call: Call, receipts: tuple[Receipt, ...], targets: Sequence[Target]) -> None:
    """Make receipts durable; raises PublishError."""
    by_stage = {str(target.stage): target.journal for target in targets}
    for (stage, _), receipt in zip(call.stages, receipts, strict=True):
        try:
            by_stage[stage].add(receipt)
        except OSError as error:
            raise PublishError(
                f"cannot record finished tiles ({error.strerror}); mend that and run the same "
                "command again to go on",
                uri=stage,
            ) from error
