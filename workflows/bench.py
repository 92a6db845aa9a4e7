"""`make bench`: what the whole job costs beside the bare network, as ratios measured in one run.

Machines differ and are noisy: one and the same network took 45 to 75 ms a megapixel within minutes.
Ratios of runs that take turns of seconds hold. Nothing here passes or fails: the limits are printed
beside the figures.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

import espcn
from workflows.bench_batch import batch_rows
from workflows.bench_gpu import Row, rows
from workflows.bench_turns import take_turns
from workflows.sample import Scene, generate

MODEL, SCALE = "general-x3", 3
"""What is timed."""
POLL = 0.05
"""Seconds between two looks at the workers' memory."""
TURNS = (1.5, 2.0)
"""Seconds that the bare network and the whole job run in turn, so that both end together."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large the scenes are, in LR pixels a side."""

    timed: int = 8000
    """For CPU seconds."""
    workers: int = 3000
    """For throughput by number of workers."""
    memory: tuple[int, int] = (2_000, 20_000)
    """For peak memory."""
    gpu: int = 8000
    """For CUDA devices."""
    whole: int = 1500
    """For one forward of a whole image in torch, which needs 0.8 GB per megapixel."""
    pairs: int = 2
    """Runs of each side of a ratio, in turn."""


QUICK = Sizes(timed=1500, workers=1500, memory=(1_000, 3_000), gpu=4_000, whole=1000, pairs=1)
"""Minutes become seconds; start-up then counts for more than it does in a real job."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a command used, with all its processes."""

    wall: float
    """Seconds."""
    peak: int
    """Largest resident size of a worker process, in bytes."""
    report: dict[str, object]
    """The report that it wrote."""


def main() -> None:
    """Run all measurements and print them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small scenes, one run each")
    parser.add_argument("--gpu", action="store_true", help="what concerns CUDA devices only")
    asked = parser.parse_args()
    if asked.gpu and not espcn.cuda_devices():
        raise SystemExit("there is no CUDA device here: leave --gpu out")
    sizes, measure = QUICK if asked.quick else Sizes(), _gpu if asked.gpu else _measurements
    console = Console()
    table = Table("what", "measured", "limit", title="espcn bench")
    with tempfile.TemporaryDirectory(prefix="espcn-bench-") as folder:
        for what, measured, limit in measure(Path(folder), sizes):
            console.print(f"{what}: {measured}")
            table.add_row(what, measured, limit)
    console.print(table)


def _measurements(folder: Path, sizes: Sizes) -> Iterator[Row]:
    """(what, measured, limit) one after the other."""
    yield from _ratios(folder, sizes)
    yield from _workers(folder, sizes)
    yield from _memory(folder, sizes)
    yield from batch_rows(folder)
    if espcn.cuda_devices():
        yield from _gpu(folder, sizes)


def _gpu(folder: Path, sizes: Sizes) -> Iterator[Row]:
    """(e): a CUDA device, alone and fed by whole jobs."""
    with _scene(folder, sizes.gpu) as scene:
        yield from rows(scene, folder)


def _ratios(folder: Path, sizes: Sizes) -> Iterator[Row]:
    """(a) and (b): the whole job over the bare network, and over torch."""
    with _scene(folder, sizes.timed) as scene:
        bare, job = zip(*(_pair(scene, folder) for _ in range(sizes.pairs)), strict=True)
    ratios = [one / two for one, two in zip(job, bare, strict=True)]
    shape = f"{sizes.timed} px, 4 bands, x{SCALE}"
    yield f"bare network, CPU s ({shape})", _spread(bare), ""
    yield f"espcn upscale to COG, CPU s ({shape})", _spread(job), ""
    yield "(a) whole job / bare network", _spread(ratios), "1.35"
    with _scene(folder, sizes.whole) as scene:
        whole = [_in_process("torch", scene) for _ in range(sizes.pairs)]
    scaled = statistics.median(whole) * (sizes.timed / sizes.whole) ** 2
    yield "torch eager float32, whole image, same pixels, CPU s", f"{scaled:.1f}", ""
    yield "(b) whole job / torch forward", f"{statistics.median(job) / scaled:.2f}", "0.50"


def _pair(scene: Path, folder: Path) -> tuple[float, float]:
    """CPU seconds of the bare network and of the whole job, which take turns."""
    output = folder / "out.tif"
    with (
        subprocess.Popen(_network("bare", scene), stdout=subprocess.PIPE, text=True) as bare,
        subprocess.Popen(_command(scene, output, MODEL)) as job,
    ):
        usage = take_turns(dict(zip((bare.pid, job.pid), TURNS, strict=True)))
        assert bare.stdout is not None
        seconds = float(bare.stdout.read())
    _read_report(output)
    return seconds, usage[job.pid].ru_utime + usage[job.pid].ru_stime


def _workers(folder: Path, sizes: Sizes) -> Iterator[Row]:
    """(d): throughput with one and two workers, and how long they wait."""
    with _scene(folder, sizes.workers) as scene:
        for workers in (1, 2):
            usage = _upscale(scene, folder, MODEL, "--workers", str(workers), threads=1)
            speed = 4 * (sizes.workers * SCALE) ** 2 / 1e6 / usage.wall
            waiting = f"{_waiting(usage.report):.1%} of the tiles' time waiting"
            yield f"(d) {workers} worker(s)", f"{speed:.1f} output Mpx/s, {waiting}", ""


def _memory(folder: Path, sizes: Sizes) -> Iterator[Row]:
    """(c): peak memory of a worker thread on a small and on a huge scene."""
    for side in sizes.memory:
        with _scene(folder, side) as scene:
            usage = _upscale(scene, folder, "general-x2", "--workers", "1", threads=2)
        peak = usage.peak / 2 / 2**20
        wall = f"{usage.wall:.0f} s in all"
        yield f"(c) {side} px, per worker thread", f"{peak:.0f} MiB, {wall}", "1024 MiB"


@contextmanager
def _scene(folder: Path, side: int) -> Iterator[Path]:
    """A generated scene, removed afterwards."""
    path = folder / f"scene-{side}.tif"
    generate(path, Scene(side, side, samples=1, patch=2048))
    yield path
    path.unlink()


def _upscale(scene: Path, folder: Path, model: str, *flags: str, threads: int = 2) -> Usage:
    """Run `espcn upscale` as a user would, watching its processes."""
    output, started = folder / "out.tif", time.perf_counter()
    command = _command(scene, output, model, *flags, threads=threads)
    with subprocess.Popen(command) as process:
        peak = _watch(process)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed with exit code {process.returncode}")
    return Usage(time.perf_counter() - started, peak, _read_report(output))


def _command(scene: Path, output: Path, model: str, *flags: str, threads: int = 2) -> list[str]:
    return [
        *(sys.executable, "-m", "workflows.cli", "upscale", str(scene), str(output)),
        *("--model", model, "--quiet", "--overwrite", "--device", "cpu"),
        *("--set", f"cluster.threads={threads}", *flags),
    ]


def _read_report(output: Path) -> dict[str, object]:
    """The report of a finished job, which is removed with its output."""
    path = output.with_name(f"{output.name}.report.json")
    report: dict[str, object] = json.loads(path.read_text())
    output.unlink()
    path.unlink()
    return report


def _watch(process: subprocess.Popen[bytes]) -> int:
    """The largest resident size, in bytes, of any descendant until the process ends."""
    peak = 0
    parent = psutil.Process(process.pid)
    while process.poll() is None:
        try:
            for child in parent.children(recursive=True):
                peak = max(peak, child.memory_info().rss)
        except psutil.NoSuchProcess:
            pass
        time.sleep(POLL)
    return peak


def _waiting(report: dict[str, object]) -> float:
    """Share of the tiles' wall time in which their threads did not compute."""
    timings = report["timings"]
    assert isinstance(timings, dict)
    spent = sum(float(timings[part]) for part in ("read", "infer", "write"))
    return max(0.0, 1 - float(timings["cpu"]) / spent)


def _in_process(what: str, scene: Path) -> float:
    """CPU seconds of a measurement in a fresh process: nothing is warm, nothing else runs."""
    done = subprocess.run(_network(what, scene), check=True, capture_output=True, text=True)
    return float(done.stdout)


def _network(what: str, scene: Path) -> list[str]:
    return [sys.executable, "-m", "workflows.bench_network", what, str(scene)]


def _spread(values: Sequence[float]) -> str:
    """Median, and the range where there is one."""
    middle = f"{statistics.median(values):.2f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.2f} - {max(values):.2f})"


if __name__ == "__main__":
    main()
