"""The GPU's part of `make bench`: the bare network on the device, and whole jobs that feed it.

A job is limited by the cores that read, round and encode, not by the device: threads show that.

    python -m workflows.bench_gpu fp32|bf16     prints the bare network's output Mpx/s
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

import espcn
from pipeline.options import ClusterOptions, ReportOptions
from workflows.events import Event, Outcome, Progress
from workflows.job import Job, ModelOptions
from workflows.upscale import upscale

MODEL = "general-x3"
"""What is timed."""
FEEDERS, SECONDS, WARM = 4, 3.0, 3
"""Threads that feed the bare network, for how long, and blocks of each before that."""
SHAPES = ((1, 2), (1, 4), (1, 8), (1, 16), (4, 4))
"""(workers, threads of each) of the jobs beside the default; several workers share the device."""
LOOK = 0.2
"""Seconds between two looks at the device's memory."""
DEFAULT = ClusterOptions()
"""As many workers and threads as a user gets."""

Row = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Run:
    """A whole job."""

    outcome: Outcome
    """What it says itself."""
    speed: float
    """Output Mpx/s once all threads are at work: start-up is no part of a long job."""
    memory: int | None
    """Most device memory in use meanwhile less what was before, in MiB; None if nobody tells."""


def rows(scene: Path, folder: Path) -> Iterator[Row]:
    """(what, measured, limit) one after the other; needs a CUDA device."""
    bare = {precision: _bare_in_process(precision) for precision in ("fp32", "bf16")}
    for precision, speed in bare.items():
        yield f"(e) bare network on the GPU, {precision}, {MODEL}", f"{speed:.0f} output Mpx/s", ""
    run = _job(scene, folder, DEFAULT)
    usual = run.outcome.shape.workers, run.outcome.shape.threads
    yield f"(e) whole job, {_many(*usual)} by default", _told(run, bare["fp32"]), ""
    for workers, threads in SHAPES:
        if workers * threads <= (os.cpu_count() or 1) and (workers, threads) != usual:
            run = _job(scene, folder, replace(DEFAULT, workers=workers, threads=threads))
            yield f"(e) whole job, {_many(workers, threads)}", _told(run, bare["fp32"]), ""


def _many(workers: int, threads: int) -> str:
    return f"{workers} worker(s) of {threads} threads"


def _told(run: Run, bare: float) -> str:
    """A job in one line."""
    outcome = run.outcome
    memory = "unknown" if run.memory is None else f"{run.memory} MiB"
    cpu = 1000 * sum(receipt.cpu for receipt in outcome.receipts) / outcome.megapixels
    return (
        f"{run.speed:.0f} output Mpx/s, {run.speed / bare:.2f} of the bare network; "
        f"CPU {cpu:.1f} ms per Mpx; "
        f"{outcome.seconds:.1f} s in all, {outcome.tile_seconds:.1f} of tiles, "
        f"{outcome.publish_seconds:.1f} of publishing; device memory {memory}"
    )


def _job(scene: Path, folder: Path, cluster: ClusterOptions) -> Run:
    """Run a job on the GPU, watching its tiles and the device."""
    target = folder / "gpu.tif"
    model = ModelOptions(MODEL, device="cuda")
    options = ReportOptions(report=False)
    job = Job(str(scene), (str(target),), model=model, cluster=cluster, report=options)
    seen: list[Progress] = []

    def on_tile(event: Event) -> None:
        if isinstance(event, Progress):
            seen.append(event)

    with _watched() as memory:
        outcome = upscale(job, on_tile)
    target.unlink()
    used = max(memory) - memory[0] if memory else None
    return Run(outcome, _steady(seen, outcome.shape.total_threads), used)


def _steady(seen: list[Progress], threads: int) -> float:
    """Output Mpx/s from the moment when each thread has made a tile."""
    first, last = seen[min(threads, len(seen) - 1) - 1], seen[-1]
    return (last.megapixels - first.megapixels) / (last.seconds - first.seconds)


@contextmanager
def _watched() -> Iterator[list[int]]:
    """MiB in use on the devices of this machine, before and while the block runs."""
    found, over = list[int](), threading.Event()

    def watch() -> None:
        while not over.is_set():
            found.extend(_memory_in_use())
            over.wait(LOOK)

    found.extend(_memory_in_use())
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield found
    finally:
        over.set()
        watcher.join()


def _memory_in_use() -> list[int]:
    """One number, or none where nvidia-smi does not tell."""
    command = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return [sum(int(line) for line in told.split())]
    except (OSError, subprocess.CalledProcessError, ValueError):
        return []


def _bare_in_process(precision: str) -> float:
    """`bare` in a process of its own: nothing of it is on the device while jobs run."""
    command = [sys.executable, "-m", "workflows.bench_gpu", precision]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def bare(precision: Literal["fp32", "bf16"]) -> float:
    """Output Mpx/s of the network alone: from blocks in ordinary memory to results there."""
    network = espcn.load(MODEL, device="cuda", precision=precision)
    side, start = network.block + 2 * network.halo, threading.Barrier(FEEDERS)
    random = np.random.default_rng(0)
    blocks = [4000 * random.random((1, side, side), np.float32) for _ in range(FEEDERS)]

    def feed(block: NDArray[np.float32]) -> int:
        for _ in range(WARM):
            network(block)
        start.wait()
        until, done = time.perf_counter() + SECONDS, 0
        while time.perf_counter() < until:
            network(block)
            done += 1
        return done

    with ThreadPoolExecutor(FEEDERS) as pool:
        blocks_done = sum(pool.map(feed, blocks))
    return blocks_done * (network.block * network.scale) ** 2 / 1e6 / SECONDS


if __name__ == "__main__":
    print(bare(cast('Literal["fp32", "bf16"]', sys.argv[1])))
