"""One tile as a task: read -> network -> encode -> one or two files per output -> receipt.

Nothing but receipts travels. All that matters is on disk; Dask may lose anything at any time.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from pipeline.errors import DiskFullError, PipelineError, TileError
from pipeline.journal import Journal, Receipt
from pipeline.kernel import Recipe, Upscaler, upscale_tile
from pipeline.memory import keep_freed_memory, scratch
from pipeline.plan import Plan
from pipeline.sinks import load_sink
from pipeline.stage import is_full
from pipeline.staged_plan import PLAN, read_plan
from pipeline.statistics import measure


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
        pixels, mask = source.read(window, tile.frame), source.mask(window, tile.frame)
        read = time.perf_counter()
        recipe = Recipe(plan.profile, plan.tiling, plan.radiometry, upscaler)
        room = scratch("tile", (len(pixels), *tile.write.shape), pixels.dtype)
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
            raise DiskFullError(
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
    path = Path(stage) / PLAN
    try:
        plan = read_plan(path.parent)
    except OSError as error:
        raise TileError(
            f"a worker cannot see {path} ({error.strerror}); all workers must share the output's "
            "file system"
        ) from error
    if plan.digest != digest:
        raise TileError(f"{path} was replaced by another run's plan")
    return plan
