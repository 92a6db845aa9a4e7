"""Runs that are killed, interrupted or refused: what is left behind, and how they go on."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import rasterio
import runs

from pipeline.errors import PipelineError, PublishError, ResumeError, SourceError
from pipeline.options import ClusterOptions, OutputOptions, ReportOptions
from pipeline.stage import stage_of
from workflows import upscale as story
from workflows.events import Event, Progress, Started
from workflows.job import Job, ModelOptions

TILES = 16


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return runs.write_scene(tmp_path_factory.mktemp("scene") / "scene.tif", 1000, 1010)


@pytest.fixture(scope="module")
def expected(scene: Path) -> str:
    """sha256 of an uninterrupted run."""
    target = scene.with_name("expected.tif")
    story.upscale(runs.make_job(scene, target))
    return runs.hash_of(target)


@pytest.fixture(scope="module")
def killed(scene: Path) -> Path:
    """A folder with the stage that a driver left when it was killed after a third of its tiles."""
    target = scene.parent / "killed" / "out.tif"
    target.parent.mkdir()
    driver = runs.drive(runs.make_job(scene, target), seconds=0.1)
    runs.wait_until(lambda: runs.journaled(target) >= TILES // 3, alive=driver)
    runs.end(driver)
    assert not target.exists()
    assert TILES // 3 <= runs.journaled(target) < TILES - 2
    return target.parent


@pytest.fixture
def target(killed: Path, tmp_path: Path) -> Path:
    """The output of the killed run, in a copy of that folder."""
    shutil.copytree(killed, tmp_path, dirs_exist_ok=True)
    return tmp_path / "out.tif"


def go_on(job: Job) -> tuple[story.Outcome, int]:
    """Do a job; also the number of tiles that were made."""
    tiles = []
    outcome = story.upscale(job, lambda event: tiles.append(isinstance(event, Progress)))
    return outcome, sum(tiles)


def parts(target: Path) -> list[Path]:
    """The staged parts that the journal knows."""
    lines = (stage_of(target) / "journal.jsonl").read_text().splitlines()[1:]
    return [stage_of(target) / json.loads(line)["files"][0]["name"] for line in lines]


def test_a_killed_driver_resumes_where_it_stopped(scene: Path, expected: str, target: Path) -> None:
    done = runs.journaled(target)
    outcome, made = go_on(runs.make_job(scene, target))
    assert (outcome.resumed, made) == (done, TILES - done)
    assert runs.hash_of(target) == expected
    assert not stage_of(target).exists()


def test_a_truncated_a_missing_and_a_flipped_tile_and_a_torn_journal_are_made_good(
    scene: Path, expected: str, target: Path
) -> None:
    done = runs.journaled(target)
    truncated, flipped, missing = parts(target)[:3]
    os.truncate(truncated, truncated.stat().st_size - 1)
    missing.unlink()
    damaged = bytearray(flipped.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    flipped.write_bytes(damaged)
    journal = stage_of(target) / "journal.jsonl"
    journal.write_bytes(journal.read_bytes() + b'{"tile":15,"files":[{"na')
    outcome, made = go_on(runs.make_job(scene, target))
    assert (outcome.resumed, made) == (done - 3, TILES - done + 3)
    assert runs.hash_of(target) == expected


def test_a_damaged_journal_is_not_trusted(scene: Path, expected: str, target: Path) -> None:
    journal = stage_of(target) / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([lines[0], b"\x00\xff garbage\n", *lines[1:]]))
    outcome, made = go_on(runs.make_job(scene, target))
    assert (outcome.resumed, made) == (0, TILES)
    assert runs.hash_of(target) == expected


def test_a_changed_option_discards_the_stage(scene: Path, target: Path) -> None:
    job = runs.make_job(scene, target, output=OutputOptions(compress="lzw"))
    outcome, made = go_on(job)
    assert (outcome.resumed, made) == (0, TILES)
    again = target.with_name("again.tif")
    story.upscale(replace(job, outputs=(str(again),)))
    assert runs.hash_of(target) == runs.hash_of(again)


def test_a_killed_driver_takes_its_workers_along(scene: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.tif"
    job = runs.make_job(scene, target, cluster=ClusterOptions(workers=2, threads=1))
    driver = runs.drive(job, seconds=0.1)
    runs.wait_until(lambda: runs.journaled(target) >= 2, alive=driver)
    family = psutil.Process(driver.pid).children(recursive=True)
    assert len(family) >= 2
    runs.end(driver)
    assert not psutil.wait_procs(family, timeout=15)[1]


def test_a_killed_worker_does_not_stop_the_run(
    scene: Path, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs.espcn, "load", runs.espcn.load)  # put back at the end
    runs.slow_down(0.05)
    target = tmp_path / "out.tif"
    job = runs.make_job(scene, target, cluster=ClusterOptions(workers=2, threads=1))
    victims = []

    def kill_one(event: Event) -> None:
        if isinstance(event, Progress) and event.done >= 4 and not victims:
            living = [p for p in psutil.Process().children() if p.status() != psutil.STATUS_ZOMBIE]
            workers = [p for p in living if "spawn_main" in str(p.cmdline())]
            victims.append(workers[0])
            workers[0].kill()

    story.upscale(job, kill_one)
    assert victims
    assert runs.hash_of(target) == expected


@pytest.mark.parametrize(("suffix", "stride"), [(".tif", 2), (".png", 11), (".zarr", 23)])
def test_a_run_killed_at_any_step_of_publishing_is_finished_by_the_next(
    suffix: str, stride: int, tmp_path: Path
) -> None:
    scene = runs.write_scene(tmp_path / "scene.tif", 700, 300, bands=1)
    folder = tmp_path / "out"
    folder.mkdir()
    job = runs.make_job(scene, folder / f"out{suffix}", report=ReportOptions(report=False))
    whole = runs.kill_publishing(job, stride)
    other = tmp_path / f"other{suffix}"
    story.upscale(replace(job, outputs=(str(other),)))
    if suffix != ".png":
        assert runs.hash_of(other) == whole
        return
    # the rows of a PNG are packed anew with each step, and those of the sweep are smaller
    with rasterio.open(folder / "out.png") as one, rasterio.open(other) as two:
        np.testing.assert_array_equal(one.read(), two.read())


def test_ctrl_c_stops_within_seconds_and_the_same_command_goes_on(
    scene: Path, expected: str, tmp_path: Path
) -> None:
    target = tmp_path / "out.tif"
    command = [
        "upscale", str(scene), str(target), "--workers", "2", "--set", "cluster.threads=1",
        "--set", "tiling.tile=512",
    ]  # fmt: skip
    code = "import runs; runs.slow_down(0.1); from workflows.cli import main; main()"
    driver = runs.start(code, *command)
    runs.wait_until(lambda: runs.journaled(target) >= 4, alive=driver)
    family = psutil.Process(driver.pid).children(recursive=True)
    pressed = time.monotonic()
    os.killpg(driver.pid, signal.SIGINT)  # a terminal sends it to the whole group
    _, log = runs.finish(driver)
    assert time.monotonic() - pressed < 15
    assert driver.returncode == 130, log
    assert log.splitlines()[-1] == ("espcn: interrupted; the same command goes on where it stopped")
    assert "Traceback" not in log
    assert not psutil.wait_procs(family, timeout=15)[1]
    assert not target.exists()
    done = runs.journaled(target)
    assert 4 <= done < TILES
    outcome, made = go_on(runs.make_job(scene, target))
    assert (outcome.resumed, made) == (done, TILES - done)
    assert runs.hash_of(target) == expected


def test_a_second_run_at_the_same_destination_is_refused(
    scene: Path, expected: str, tmp_path: Path
) -> None:
    target = tmp_path / "out.tif"
    job = runs.make_job(scene, target)
    first = runs.drive(job, seconds=0.1)
    runs.wait_until(lambda: runs.journaled(target) >= 2, alive=first)
    with pytest.raises(ResumeError, match="another run is writing this output"):
        story.upscale(job)
    _, log = runs.finish(first)
    assert first.returncode == 0, log
    assert runs.hash_of(target) == expected


def small_job(folder: Path, **changes: object) -> Job:
    """Four tiles, replaced over an older output, in threads of this process."""
    scene = runs.write_scene(folder / "scene.tif", 400, 400, bands=1)
    (folder / "out").mkdir()
    target = folder / "out" / "out.tif"
    target.write_bytes(b"what was here before")
    return runs.make_job(
        scene, target, overwrite=True, model=ModelOptions("nearest", scale=2), **changes
    )


def test_a_disk_that_fills_up_at_any_moment_leaves_the_old_output_and_a_way_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = small_job(tmp_path)
    target = Path(job.outputs[0])
    old = target.read_bytes()
    whole = target.with_name("whole.tif")
    story.upscale(replace(job, outputs=(str(whole),)))
    expected = runs.hash_of(whole)
    sync, messages = os.fsync, list[str]()
    for step in range(0, 60, 3):
        monkeypatch.setattr(os, "fsync", full_after(step))
        try:
            story.upscale(job)
        except PublishError as error:
            messages.append(str(error))
        else:
            break
        finally:
            monkeypatch.setattr(os, "fsync", sync)
        # the last sync of all is that of the folder, after the new output was put in place
        assert target.read_bytes() == old or runs.hash_of(target) == expected
        go_on(job)
        assert runs.hash_of(target) == expected
        assert not stage_of(target).exists()
        target.write_bytes(old)
    assert len(messages) > 4
    assert not [m for m in messages if "\n" in m or "run the same command again" not in m]


def full_after(calls: int) -> object:
    """An fsync that finds the disk full after some calls, whichever thread makes them."""
    sync, lock, left = os.fsync, threading.Lock(), [calls]

    def fsync(descriptor: int) -> None:
        with lock:
            left[0] -= 1
            if left[0] < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    return fsync


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 6 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(disk)]
    if not shutil.which("mount") or subprocess.call(mount):
        pytest.skip("needs the right to mount a small tmpfs")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_really_full_disk_is_one_clear_error_and_the_run_goes_on_once_there_is_room(
    scene: Path, small_disk: Path, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(story, "check_fit", lambda _: None)  # others fill it meanwhile
    target = small_disk / "out.tif"
    target.write_bytes(b"old")
    job = runs.make_job(scene, target, overwrite=True)
    with pytest.raises(PublishError, match="the disk is full"):
        story.upscale(job)
    assert target.read_bytes() == b"old"
    done = runs.journaled(target)
    assert 0 < done < TILES
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    _, made = go_on(job)
    assert made == TILES - done
    assert runs.hash_of(target) == expected


def test_a_plan_that_does_not_fit_the_disk_never_starts(scene: Path, small_disk: Path) -> None:
    with pytest.raises(PipelineError, match="MiB") as caught:
        story.upscale(runs.make_job(scene, small_disk / "out.tif"))
    assert caught.value.exit_code == 3
    assert list(small_disk.iterdir()) == []


@pytest.mark.parametrize("folder", ["/proc", "/sys"])
def test_a_destination_that_cannot_be_written_is_one_clear_error(scene: Path, folder: str) -> None:
    if not Path(folder).is_dir():
        pytest.skip(f"needs {folder}")
    with pytest.raises(PublishError, match=r"cannot (write beside|be written to)|nor? "):
        story.upscale(runs.make_job(scene, Path(folder) / "out.tif"))


@pytest.mark.parametrize("after", [0, 4])
def test_a_source_truncated_while_it_is_read_is_one_clear_error(
    after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs.espcn, "load", runs.espcn.load)  # put back at the end
    runs.slow_down(0.02)
    source, target = tmp_path / "scene.tif", tmp_path / "out.tif"
    runs.write_scene(source, 1000, 1010)

    def truncate(event: Event) -> None:
        begun = isinstance(event, Started) and after == 0
        if begun or (isinstance(event, Progress) and event.done >= after > 0):
            os.truncate(source, source.stat().st_size // 3)

    with pytest.raises(SourceError) as caught:
        story.upscale(runs.make_job(source, target), truncate)
    assert str(source) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not target.exists()
    assert after > 0 or not stage_of(target).exists()


def test_overwriting_is_atomic_for_readers(tmp_path: Path, scene: Path) -> None:
    target = tmp_path / "out.tif"
    story.upscale(runs.make_job(scene, target))
    hashes, finished = {runs.hash_of(target)}, threading.Event()

    def look() -> None:
        while not finished.is_set():
            hashes.add(runs.hash_of(target))

    reader = threading.Thread(target=look)
    reader.start()
    try:
        changed = OutputOptions(compress="lzw")
        story.upscale(runs.make_job(scene, target, output=changed, overwrite=True))
    finally:
        finished.set()
        reader.join()
    hashes.add(runs.hash_of(target))
    assert len(hashes) == 2


def test_an_output_is_not_replaced_unless_asked(scene: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.tif"
    target.write_bytes(b"old")
    with pytest.raises(PipelineError, match="--overwrite") as caught:
        story.upscale(runs.make_job(scene, target))
    assert caught.value.exit_code == 2
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_the_command_line_says_in_one_line_that_another_run_is_at_work(
    scene: Path, tmp_path: Path
) -> None:
    target = tmp_path / "out.tif"
    first = runs.drive(runs.make_job(scene, target), seconds=0.2)
    try:
        runs.wait_until(lambda: runs.journaled(target) >= 1, alive=first)
        code = "from workflows.cli import main; main()"
        second = runs.start(code, "upscale", str(scene), str(target))
        _, log = runs.finish(second)
    finally:
        runs.end(first)
    assert second.returncode == 4
    assert len(log.splitlines()) == 1
    assert "another run is writing this output" in log
