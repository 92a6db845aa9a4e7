"""What batches cost in `make bench`: eight scenes beside the bare network, and 100,000 empty tiles.

Empty tiles go through the pool, the scheduler and a journal as real ones do; workers do nothing.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import psutil

from pipeline.cluster import open_cluster
from pipeline.crew import Crew
from pipeline.errors import PipelineError
from pipeline.journal import Receipt, create_journal
from pipeline.kernel import Upscaler
from pipeline.options import ClusterOptions
from pipeline.plan import Plan
from pipeline.pool import Pool
from pipeline.task import Call, Target
from pipeline.work import Errand, Work
from workflows.bench_gpu import Row
from workflows.bench_turns import take_turns
from workflows.sample import Scene, generate

SCENES, SIDE = 8, 4000
"""A batch: so many scenes of so many pixels a side."""
WORKS, TILES = 200, 100_000
"""Scenes and tiles that are empty."""
TURNS = (1.5, 2.1)
"""Seconds that the bare network and the batch run in turn."""


@dataclass(slots=True)
class _Nobody:
    """Counts."""

    tiles: int = 0
    errors: list[PipelineError] = field(default_factory=list)

    def on_tile(self, receipt: Receipt) -> None:  # noqa: ARG002 - as the pool calls it
        """One more."""
        self.tiles += 1

    def on_end(self, error: PipelineError | None) -> Iterable[Errand]:
        """Nothing follows."""
        self.errors += [error] if error else []
        return ()


def nothing(call: Call, upscaler: object) -> tuple[Receipt, ...]:  # noqa: ARG001 - as a tile
    """An empty tile."""
    return (Receipt(call.tile, ()),)


def batch_rows(folder: Path) -> Iterator[Row]:
    """(f) a batch of scenes, (g) empty tiles."""
    yield from _eight(folder)
    yield from _empty(folder)


def _eight(folder: Path) -> Iterator[Row]:
    """CPU seconds of a whole batch over those of the bare network on the same scenes, in turn."""
    inbox = folder / "inbox"
    inbox.mkdir()
    for number in range(SCENES):
        generate(inbox / f"scene{number}.tif", Scene(SIDE, SIDE, samples=1, seed=number + 1))
    command = [
        *(sys.executable, "-m", "workflows.cli", "batch", str(inbox), str(folder / "outbox")),
        *("--quiet", "--device", "cpu", "--set", "models.rules={'*': general-x3}"),
        *("--set", "cluster.threads=2"),
    ]
    scenes = [str(path) for path in sorted(inbox.iterdir())]
    network = [sys.executable, "-m", "workflows.bench_network", "bare", *scenes]
    with (
        subprocess.Popen(network, stdout=subprocess.PIPE, text=True) as bare,
        subprocess.Popen(command) as batch,
    ):
        usage = take_turns(dict(zip((bare.pid, batch.pid), TURNS, strict=True)))
        assert bare.stdout is not None
        seconds = sum(float(line) for line in bare.stdout)
    (report,) = (folder / "outbox" / "reports").glob("*.json")
    counts = [scene["status"] for scene in json.loads(report.read_text())["scenes"]]
    if counts != ["done"] * SCENES:
        raise SystemExit(f"the batch failed: {counts}")
    used = usage[batch.pid].ru_utime + usage[batch.pid].ru_stime
    what = f"(f) batch of {SCENES} scenes of {SIDE} px / bare network, CPU s"
    yield what, f"{used / seconds:.2f} ({used:.1f} / {seconds:.1f})", "1.40"


def _empty(folder: Path) -> Iterator[Row]:
    """CPU of all processes a tile, and how the driver's memory grows."""
    driver = psutil.Process()
    with open_cluster(ClusterOptions(workers=1, threads=2)) as (client, shape):
        family = [driver, *driver.children(recursive=True)]
        nobody = _Nobody()
        pool = Pool(Crew(client, shape.total_threads), 3, at_once=4, function=nothing)
        before, held, begun = _cpu(family), driver.memory_info().rss, time.perf_counter()
        pool.run(_works(folder, nobody))
        seconds, wall = _cpu(family) - before, time.perf_counter() - begun
        grown = driver.memory_info().rss - held
    if nobody.tiles != TILES or nobody.errors:
        raise SystemExit(f"{nobody.tiles} of {TILES} empty tiles were made: {nobody.errors}")
    what = f"(g) {TILES} empty tiles of {WORKS} scenes, CPU ms a tile"
    told = f"{1e3 * seconds / TILES:.2f}, {wall:.0f} s, driver grew by {grown / 2**20:.0f} MiB"
    yield what, told, "3.00"


def _works(folder: Path, nobody: _Nobody) -> Iterator[Work]:
    for number in range(WORKS):
        stage = folder / f"stage{number}"
        stage.mkdir()
        digest = f"{number:016d}".ljust(64, "0")
        plan = cast("Plan", SimpleNamespace(tiling=range(TILES // WORKS), digest=digest))
        journal = create_journal(stage / "journal.jsonl", digest)
        target = Target(stage / "out.tif", stage, plan, journal)
        yield Work((target,), cast("Upscaler", None), nobody)


def _cpu(processes: Iterable[psutil.Process]) -> float:
    """CPU seconds that processes have used."""
    times = [process.cpu_times() for process in processes]
    return float(sum(one.user + one.system for one in times))
