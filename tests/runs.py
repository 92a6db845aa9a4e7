"""Whole runs for the tests: scenes to make, slow networks, and drivers in processes of their own.

    python -c "import runs; runs.main()" JOB SECONDS

does a job with a network that sleeps, and prints one line per event: something to kill.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from distributed import LocalCluster

import espcn
from pipeline.errors import ConfigError, PipelineError
from pipeline.options import ClusterOptions, TilingOptions
from pipeline.serial import from_json, to_json
from pipeline.sinks import assembly, png
from pipeline.stage import stage_of
from workflows import upscale as story
from workflows.events import Progress
from workflows.job import Job, ModelOptions

HERE = Path(__file__).parent
PATIENCE = 60.0
"""Seconds that a test waits for another process."""


def write_scene(path: Path, height: int, width: int, *, bands: int = 2, seed: int = 0) -> Path:
    """A tiled uint16 GeoTIFF of noise over a slope: every tile is different, none compresses."""
    noise = np.random.default_rng(seed).integers(0, 800, (bands, height, width), np.uint16)
    slope = np.arange(height, dtype=np.uint16)[:, None] + np.arange(width, dtype=np.uint16)
    with rasterio.open(
        path, "w", driver="GTiff", height=height, width=width, count=bands, dtype="uint16",
        tiled=True, blockxsize=256, blockysize=256, crs="EPSG:32632",
        transform=rasterio.Affine(10, 0, 500000, 0, -10, 5000000),
    ) as dataset:  # fmt: skip
        dataset.write(noise + slope)
    return path


def make_job(source: Path, target: Path, **changes: Any) -> Job:
    """A job of 512-px tiles on two threads of this process."""
    job = Job(
        str(source),
        (str(target),),
        model=ModelOptions("general-x2"),
        tiling=TilingOptions(512),
        cluster=ClusterOptions(workers=0, threads=2),
    )
    return replace(job, **changes)


def hash_of(path: Path) -> str:
    """sha256 of a file, or of the names and bytes of all files of a directory."""
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    files = {
        str(file.relative_to(path)): hash_of(file) for file in path.rglob("*") if file.is_file()
    }
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()


def journaled(target: Path) -> int:
    """Tiles that the stage's journal holds."""
    try:
        return (stage_of(target) / "journal.jsonl").read_bytes().count(b"\n") - 1
    except FileNotFoundError:
        return 0


def wait_until(fact: Callable[[], object], *, alive: subprocess.Popen[str] | None = None) -> None:
    """Wait for a fact; fails when it takes too long or `alive` ends before."""
    deadline = time.monotonic() + PATIENCE
    while not fact():
        if alive is not None and alive.poll() is not None:
            raise AssertionError(f"ended with {alive.returncode}: {alive.communicate()}")
        if time.monotonic() > deadline:
            raise AssertionError(f"waited too long: {alive and end(alive)}")
        time.sleep(0.01)


@dataclass(frozen=True)
class Ran:
    """What a command line left."""

    code: int
    out: str
    err: str

    @property
    def line(self) -> str:
        """The only line of an error, after what was said of the data."""
        assert self.out == ""
        last = self.err.splitlines()[-1]
        assert re.fullmatch(r"espcn: error: [^\n]+", last), self.err
        assert self.err.count("error") == 1, self.err
        return last


@dataclass(frozen=True, slots=True)
class Slow:
    """A network that takes its time, and otherwise is the one it stands for."""

    upscaler: espcn.Upscaler
    seconds: float

    def __getattr__(self, name: str) -> Any:
        return getattr(self.upscaler, name)

    def planes(self, pixels: Any, *, band: int) -> Any:
        time.sleep(self.seconds)
        return self.upscaler.planes(pixels, band=band)

    def __reduce__(self) -> tuple[Any, ...]:
        return Slow, (self.upscaler, self.seconds)


@dataclass(frozen=True, slots=True)
class Deadly(Slow):
    """A network that ends its process, as a crash in a library would."""

    def planes(self, pixels: Any, *, band: int) -> Any:  # noqa: ARG002 - it never gets to look
        os._exit(1)

    def __reduce__(self) -> tuple[Any, ...]:
        return Deadly, (self.upscaler, self.seconds)


def slow_down(seconds: float, kind: type[Slow] = Slow) -> None:
    """Make all networks of this process and its workers slow."""
    load = espcn.load
    espcn.load = lambda *args, **options: kind(load(*args, **options), seconds)


def drive(job: Job, *, seconds: float = 0.0, prelude: str = "") -> subprocess.Popen[str]:
    """Start a job in a process of its own; `prelude` is run first."""
    return start(f"import runs\n{prelude}\nruns.main()", json.dumps(to_json(job)), str(seconds))


def start(code: str, *arguments: str) -> subprocess.Popen[str]:
    """Start Python code in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env=os.environ | {"PYTHONPATH": f"{HERE}{os.pathsep}{HERE.parent}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def end(process: subprocess.Popen[str], number: int = signal.SIGKILL) -> tuple[str, str]:
    """Send a signal to one process (not its children) and return what it has written."""
    process.send_signal(number)
    return process.communicate(timeout=PATIENCE)


def finish(process: subprocess.Popen[str]) -> tuple[str, str]:
    """What a process writes until it ends; it is killed when that takes too long."""
    try:
        return process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        raise AssertionError(f"has not ended: {process.communicate()}") from None


def main() -> None:
    """The driver that is killed: prints a line per event, and an error as one line."""
    job, seconds = from_json(Job, json.loads(sys.argv[1])), float(sys.argv[2])
    if seconds:
        slow_down(seconds)
    try:
        story.upscale(job, lambda event: print(type(event).__name__, event, flush=True))
    except PipelineError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


KILLED = 9
"""Exit code of a process that ended itself as if killed."""
STEPS = ("fsync", "replace", "rename", "unlink", "truncate", "rmdir", "mkdir")
"""System calls before which a run may be killed: the ones that make something durable or gone."""


def die_at(step: int) -> None:
    """End this process without any clean-up before the `step`-th call that counts."""
    calls = iter(range(step + 1))

    def wrap(call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **options: Any) -> Any:
            if next(calls) == step:
                os._exit(KILLED)
            return call(*args, **options)

        return counted

    for name in STEPS:
        setattr(os, name, wrap(getattr(os, name)))


def stop_before_publishing() -> None:
    """End this process, as if killed, when all tiles are in."""
    story._publish = lambda *_: os._exit(KILLED)


def sweep() -> None:
    """Publish the stage of a job again and again, killed one step later each time, then resume.

    Prints for each step what the resumed run made: tiles, sha256, what is left beside the output;
    and at last the two latter of a run that was not killed. The output grows in many small steps.
    Children are forked from this process, which has no threads yet: a run takes milliseconds.
    """
    assembly.LEAST_STEP = png.LEAST_STEP = 2**17
    job, backup = from_json(Job, json.loads(sys.argv[1])), Path(sys.argv[2])
    folder = Path(job.outputs[0]).parent
    other = backup / Path(job.outputs[0]).with_stem("other").name
    story.prepare(replace(job, outputs=(str(other),)))  # imports all there is
    for step in range(0, 10**6, int(sys.argv[3])):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(backup, folder)
        if fork(lambda: die_at(step) or story.upscale(job)) != KILLED:  # noqa: B023
            break
        print(json.dumps([step, fork(lambda: tell_resumed(job)), *tell_left(folder)]))
    print(json.dumps(tell_left(folder)))


def fork(run: Callable[[], Any]) -> int:
    """Exit code of a child that does `run`."""
    child = os.fork()
    if not child:
        try:
            result = run()
            os._exit(result if isinstance(result, int) else 0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def tell_resumed(job: Job) -> int:
    """Resume a job; 0 if that took no tile, or if it finds nothing left to do, 2 otherwise."""
    tiles = []
    try:
        story.upscale(job, lambda event: tiles.append(isinstance(event, Progress)))
    except ConfigError as error:  # the output is there, the stage is gone: nothing is left to do
        return 0 if "exists" in str(error) else 2
    return 2 if any(tiles) else 0


def tell_left(folder: Path) -> tuple[str, list[str]]:
    """sha256 of the output and names of what else lies beside it."""
    (output,) = (p for p in folder.iterdir() if p.stem == "out" and p.suffix != ".json")
    others = [p.name for p in folder.iterdir() if p != output and p.suffix != ".json"]
    return hash_of(output), others


def threads_here() -> LocalCluster:
    """A cluster of two threads of this process: starting one per test would take longer."""
    return LocalCluster(
        n_workers=1,
        threads_per_worker=2,
        processes=False,
        memory_limit=0,
        dashboard_address="127.0.0.1:0",
        worker_dashboard_address="127.0.0.1:0",
    )


def kill_publishing(job: Job, stride: int) -> str:
    """Kill the publishing of a job at every `stride`-th durable step, and let the next run finish.

    What all formats owe is asserted: each finishes, to the same bytes, whose hash is returned, and
    leaves nothing but what it must. See `sweep`.
    """
    target = Path(job.outputs[0])
    driver = drive(job, prelude="runs.stop_before_publishing()")
    _, log = finish(driver)
    assert driver.returncode == KILLED, log
    backup = target.parent.with_name("backup")
    target.parent.rename(backup)
    swept = start("import runs; runs.sweep()", json.dumps(to_json(job)), str(backup), str(stride))
    lines, log = finish(swept)
    assert swept.returncode == 0, log
    *found, (whole, _) = [json.loads(line) for line in lines.splitlines()]
    assert len(found) * stride > 50
    wrong = [line for line in found if line[1:3] != [0, whole]]
    assert not wrong, log
    assert not [left for *_, left in found if left and left != [f".{target.name}.espcn.done"]]
    return str(whole)
