"""Batches: what is made, what is not, and what is left when something goes wrong."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import batch_openers
import psutil
import pytest
import rasterio
import runs
from landsat_files import Product
from runs import Ran

from pipeline.errors import ConfigError, ResumeError
from pipeline.options import ClusterOptions, TilingOptions
from pipeline.scenes.scene import SceneOptions
from pipeline.sources.identity import identify
from workflows.batch import opening
from workflows.batch.job import Batch
from workflows.batch.options import BatchOptions, CheckOptions, ModelsOptions
from workflows.batch.outcome import RunSummary
from workflows.batch.run import Begun, Ended, Event, Tiled, plan_batch, run_batch
from workflows.batch.state import holding
from workflows.job import ModelOptions

LOOSE = CheckOptions(bias=1.0, consistency=10.0)
"""Noise on small images is no picture: means and residuals say nothing."""


def batch_of(folder: Path, **changes: Any) -> Batch:
    """An inbox and an outbox in a folder, on two threads of this process."""
    (folder / "in").mkdir(exist_ok=True)
    made = Batch(
        BatchOptions(str(folder / "in"), str(folder / "out")),
        scenes=SceneOptions(families=("folder",)),
        tiling=TilingOptions(512),
        cluster=ClusterOptions(workers=0, threads=2),
        checks=LOOSE,
    )
    return replace(made, **changes)


def scene(folder: Path, name: str, side: int = 60, *, seed: int = 0) -> Path:
    """A small scene in the inbox."""
    (folder / "in").mkdir(exist_ok=True)
    return runs.write_scene(folder / "in" / name, side, side + 7, seed=seed)


def statuses(summary: RunSummary) -> dict[str, str]:
    return {one.path: one.status for one in summary.scenes}


def image_of(folder: Path, name: str) -> Path:
    (found,) = (folder / "out" / f"{name}_SR").glob("*.tif")
    return found


# -------------------------------------------------------------------------- what is made


def test_every_scene_becomes_a_product_and_a_second_run_does_nothing(tmp_path: Path) -> None:
    for i, name in enumerate(("a.tif", "b.tif", "c.tif")):
        scene(tmp_path, name, 40 + 30 * i, seed=i)
    batch = batch_of(tmp_path)
    first = run_batch(batch)
    assert statuses(first) == dict.fromkeys(("a.tif", "b.tif", "c.tif"), "done")
    for outcome in first.scenes:
        folder = tmp_path / "out" / str(outcome.product)
        assert {path.suffix for path in folder.iterdir()} >= {".tif", ".json", ".png", ".sha256"}
        assert all(check.passed for check in outcome.checks)
        assert not [path for path in folder.iterdir() if path.name.startswith(".")]
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*_SR/*")}
    second = run_batch(batch)
    assert set(statuses(second).values()) == {"skipped"}
    assert {one.product for one in second.scenes} == {one.product for one in first.scenes}
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert not list((tmp_path / "out/.espcn/work").iterdir())


def test_a_changed_scene_model_or_option_makes_a_new_product(tmp_path: Path) -> None:
    scene(tmp_path, "a.tif")
    scene(tmp_path, "b.tif", seed=1)
    batch = batch_of(tmp_path)
    run_batch(batch)
    old = runs.hash_of(image_of(tmp_path, "a"))
    scene(tmp_path, "a.tif", seed=7)
    assert statuses(run_batch(batch)) == {"a.tif": "done", "b.tif": "skipped"}
    assert runs.hash_of(image_of(tmp_path, "a")) != old
    other = replace(batch, models=ModelsOptions({"folder/*": "bicubic"}))
    assert set(statuses(run_batch(other)).values()) == {"done"}
    compressed = replace(other, output=replace(batch.output, compress="deflate"))
    assert set(statuses(run_batch(compressed)).values()) == {"done"}
    assert set(statuses(run_batch(compressed)).values()) == {"skipped"}


@pytest.mark.parametrize("form", ["cog", "zarr"])
def test_a_product_that_lost_an_image_is_made_again(tmp_path: Path, form: str) -> None:
    scene(tmp_path, "a.tif")
    batch = batch_of(tmp_path)
    batch = replace(batch, batch=replace(batch.batch, format=form))
    (outcome,) = run_batch(batch).scenes
    (image,) = (tmp_path / "out" / str(outcome.product)).glob(
        f"*.{'tif' if form == 'cog' else form}"
    )
    if form == "cog":
        whole = image.read_bytes()
        image.write_bytes(whole[:-1])
        assert statuses(run_batch(batch)) == {"a.tif": "done"}
        assert image.read_bytes() == whole
        image.unlink()
    else:
        shutil.rmtree(image)
    assert statuses(run_batch(batch)) == {"a.tif": "done"}
    assert image.exists()
    assert statuses(run_batch(batch)) == {"a.tif": "skipped"}


def test_models_without_weights_have_the_scale_that_is_asked_for(tmp_path: Path) -> None:
    scene(tmp_path, "a.tif")
    batch = replace(batch_of(tmp_path), models=ModelsOptions({"*": "nearest"}))
    for asked, scale in ((None, 2), (3, 3)):
        summary = run_batch(replace(batch, model=ModelOptions(scale=asked)))
        assert statuses(summary) == {"a.tif": "done"}
        with rasterio.open(image_of(tmp_path, "a")) as image:
            assert image.height == 60 * scale


def test_scenes_of_one_name_do_not_overwrite_each_other(tmp_path: Path) -> None:
    for i, folder in enumerate(("monday", "tuesday")):
        (tmp_path / "in" / folder).mkdir(parents=True)
        scene(tmp_path, f"{folder}/field.tif", seed=i)
    first = run_batch(batch_of(tmp_path))
    assert len({one.product for one in first.scenes}) == 2
    assert set(statuses(run_batch(batch_of(tmp_path))).values()) == {"skipped"}


def test_a_folder_can_be_one_scene(tmp_path: Path) -> None:
    (tmp_path / "in/flight").mkdir(parents=True)
    for i, name in enumerate(("flight/north.tif", "flight/south.tif")):
        scene(tmp_path, name, seed=i)
    batch = replace(batch_of(tmp_path), scenes=SceneOptions(("folder",), folder="folder"))
    (outcome,) = run_batch(batch).scenes
    assert outcome.status == "done"
    assert len(list((tmp_path / "out" / str(outcome.product)).glob("*.tif"))) == 2


def test_small_scenes_land_before_a_huge_one_and_tiles_are_in_flight_together(
    tmp_path: Path,
) -> None:
    scene(tmp_path, "huge.tif", 1300)
    scene(tmp_path, "tiny.tif", 300, seed=1)
    events = list[Event]()
    run_batch(batch_of(tmp_path), events.append)
    ended = [event.outcome.path for event in events if isinstance(event, Ended)]
    assert ended == ["tiny.tif", "huge.tif"]
    kinds = [(type(event), getattr(event, "scene", "")) for event in events]
    assert kinds.index((Begun, "huge")) < max(
        i for i, kind in enumerate(kinds) if kind == (Tiled, "tiny")
    )


def test_a_newer_processing_replaces_the_older_product_or_lies_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "open_and_prepare", batch_openers.with_dataset)
    batch = batch_of(tmp_path)
    scene(tmp_path, "tile_0400.tif")
    run_batch(batch)
    scene(tmp_path, "tile_0510.tif", seed=1)
    assert statuses(run_batch(batch))["tile_0510.tif"] == "done"
    assert not (tmp_path / "out/tile_0400_SR").exists()
    again = run_batch(batch)
    assert statuses(again) == dict.fromkeys(("tile_0400.tif", "tile_0510.tif"), "skipped")
    assert "newer processing" in {one.path: one.message for one in again.scenes}["tile_0400.tif"]
    beside = replace(batch, batch=replace(batch.batch, reprocessed="beside"))
    assert statuses(run_batch(beside))["tile_0400.tif"] == "done"
    assert (tmp_path / "out/tile_0510_SR").exists()


def test_the_same_data_twice_are_one_product_and_stay_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "open_and_prepare", batch_openers.with_dataset)
    for folder, side in (("archive", 60), ("unpacked", 70)):
        (tmp_path / "in" / folder).mkdir(parents=True)
        scene(tmp_path, f"{folder}/tile_0400.tif", side)
    batch = batch_of(tmp_path)
    first = run_batch(batch)
    assert sorted(statuses(first).values()) == ["done", "skipped"]
    (left,) = [one for one in first.scenes if one.status == "skipped"]
    assert "is of the same data" in left.message
    events = list[Event]()
    assert set(statuses(run_batch(batch, events.append)).values()) == {"skipped"}
    assert [type(event).__name__ for event in events] == ["Planned"], "nothing is opened again"
    assert len(list((tmp_path / "out").glob("*_SR*"))) == 1


def test_a_complete_copy_takes_the_place_of_one_that_lacks_bands(tmp_path: Path) -> None:
    whole = Product().write(tmp_path / "in/a")
    (tmp_path / "in/loose").mkdir()
    for path in whole.iterdir():
        if not path.name.endswith("_B3.TIF"):
            shutil.copy2(path, tmp_path / "in/loose")
    batch = replace(batch_of(tmp_path), scenes=SceneOptions(("landsat",)))
    assert set(statuses(run_batch(batch)).values()) == {"done"}
    (product,) = (tmp_path / "out").glob("*_SR")
    assert json.loads((product / "product.json").read_text())["path"] == str(whole)
    again = run_batch(batch)
    assert set(statuses(again).values()) == {"skipped"}
    assert [one.message for one in again.scenes if "loose" in one.path] == [
        f"{product.name} is of the same data ({whole.name})"
    ]


def test_a_template_that_names_two_products_alike_costs_the_second(tmp_path: Path) -> None:
    for i, name in enumerate(("a.tif", "b.tif")):
        scene(tmp_path, name, 50 + 20 * i, seed=i)
    batch = batch_of(tmp_path)
    batch = replace(batch, batch=replace(batch.batch, product="{family}"))
    summary = run_batch(batch)
    assert sorted(statuses(summary).values()) == ["done", "failed"]
    (failed,) = [one for one in summary.scenes if one.status == "failed"]
    assert "put {scene} or {key} into batch.product" in failed.message


def test_the_catalog_follows_a_run_that_was_killed_before_it(tmp_path: Path) -> None:
    scene(tmp_path, "a.tif")
    batch = batch_of(tmp_path)
    run_batch(batch)
    (tmp_path / "out/catalog.json").unlink()
    run_batch(batch)
    assert (tmp_path / "out/catalog.json").exists()


# ------------------------------------------------------------------------ what goes wrong


def test_a_bad_scene_costs_itself_only_and_is_quarantined_in_the_end(tmp_path: Path) -> None:
    fine = scene(tmp_path, "fine.tif")
    torn = tmp_path / "in/torn.tif"
    torn.write_bytes(fine.read_bytes()[:2000])
    (tmp_path / "in/empty.tif").touch()
    batch = batch_of(tmp_path)
    batch = replace(batch, batch=replace(batch.batch, attempts=2))
    first = run_batch(batch)
    assert statuses(first) == {"fine.tif": "done", "torn.tif": "failed", "empty.tif": "failed"}
    assert {one.reason for one in first.scenes} <= {None, "unreadable", "incomplete"}
    assert all("\n" not in one.message for one in first.scenes)
    second = run_batch(batch)
    assert statuses(second)["torn.tif"] == "quarantined"
    listed = json.loads((tmp_path / "out/.espcn/quarantine.json").read_text())
    assert len(listed) == 2
    third = run_batch(batch)
    assert statuses(third) == {
        "fine.tif": "skipped",
        "torn.tif": "quarantined",
        "empty.tif": "quarantined",
    }
    assert {one.attempts for one in third.scenes if one.status == "quarantined"} == {0}
    shutil.copy(fine, torn)
    os.utime(torn, ns=(fine.stat().st_mtime_ns, fine.stat().st_mtime_ns))
    assert statuses(run_batch(batch))["torn.tif"] == "done", "a mended file is another input"
    retried = run_batch(batch, retry=True)
    assert statuses(retried)["empty.tif"] == "failed"
    assert {one.attempts for one in retried.scenes if one.path == "empty.tif"} == {1}


def test_quarantined_scenes_are_moved_where_the_configuration_says(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/empty.tif").touch()
    batch = batch_of(tmp_path)
    chosen = replace(batch.batch, attempts=1, quarantine=str(tmp_path / "bad"))
    assert statuses(run_batch(replace(batch, batch=chosen))) == {"empty.tif": "quarantined"}
    assert list((tmp_path / "bad").glob("*/empty.tif"))
    assert not list((tmp_path / "in").iterdir())
    again = run_batch(replace(batch, batch=chosen), retry=True)
    assert statuses(again) == {"empty.tif": "quarantined"}
    assert {one.attempts for one in again.scenes} == {1}


@pytest.mark.parametrize("lacking", ["disk", "memory"])
def test_a_machine_too_small_costs_no_scene_an_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lacking: str
) -> None:
    made = scene(tmp_path, "fine.tif")
    batch = batch_of(tmp_path)
    chosen = replace(batch.batch, attempts=1, quarantine=str(tmp_path / "bad"))
    batch = small = replace(batch, batch=chosen)
    with monkeypatch.context() as patch:
        if lacking == "disk":
            patch.setattr(opening, "open_and_prepare", batch_openers.with_little_room)
        else:
            small = replace(batch, cluster=replace(batch.cluster, memory="5MiB"))
        for _ in range(2):
            (outcome,) = run_batch(small).scenes
            assert (outcome.status, outcome.reason) == ("failed", "failed")
            assert outcome.attempts == 0
            assert "free" in outcome.message or "more memory" in outcome.message
    assert made.exists()
    assert statuses(run_batch(batch)) == {"fine.tif": "done"}


def test_lists_that_cannot_be_written_cost_neither_products_nor_the_summary(
    espcn: Callable[..., Ran], tmp_path: Path
) -> None:
    scene(tmp_path, "a.tif")
    state = tmp_path / "out/.espcn"
    for path in (state / "quarantine.json", tmp_path / "out/catalog.json"):
        path.mkdir(parents=True)
        (path / "in the way").touch()
    options = ("--workers", "0", "--set", "checks.bias=1", "--set", "checks.consistency=10")
    ran = espcn("batch", tmp_path / "in", tmp_path / "out", *options, "--json")
    assert ran.code == 1
    summary = json.loads(ran.out)
    assert [one["status"] for one in summary["scenes"]] == ["done"]
    assert ["quarantine.json: cannot be written" in one for one in summary["problems"]] == [
        False,
        True,
    ]
    assert "catalog cannot be written" in ran.err
    assert list((tmp_path / "out/reports").glob("*.html"))


def test_quarantine_never_takes_other_scenes_along(tmp_path: Path) -> None:
    (tmp_path / "in/sub").mkdir(parents=True)
    (tmp_path / "in/bad.tif").write_bytes(b"II*\0 torn")
    scene(tmp_path, "sub/good.tif")
    for name in ("a", "b"):
        (tmp_path / "in" / name).mkdir()
        (tmp_path / "in" / name / "same.tif").write_bytes(f"torn {name}".encode())
    batch = batch_of(tmp_path)
    chosen = replace(batch.batch, attempts=1, quarantine=str(tmp_path / "bad"))
    for options in (SceneOptions(("folder",), folder="folder"), SceneOptions(("folder",))):
        run_batch(replace(batch, batch=chosen, scenes=options))
        assert (tmp_path / "in/sub/good.tif").exists()
    moved = sorted(path.read_bytes() for path in (tmp_path / "bad").rglob("same.tif"))
    assert moved == [b"torn a", b"torn b"]


def test_copies_and_strange_names_cost_nobody(tmp_path: Path) -> None:
    one = scene(tmp_path, "a.tif")
    (tmp_path / "in/copy").mkdir()
    shutil.copy2(one, tmp_path / "in/copy/a.tif")
    (tmp_path / "in" / os.fsdecode(b"b\xff.tif")).write_bytes(b"torn")
    summary = run_batch(batch_of(tmp_path))
    assert sorted(statuses(summary).values()) == ["done", "failed", "skipped"]
    assert set(statuses(run_batch(batch_of(tmp_path))).values()) <= {"skipped", "failed"}


def test_names_that_become_the_same_and_names_without_ascii_are_products(tmp_path: Path) -> None:
    names = ("a b.tif", "a_b.tif", "日本.tif", "中国.tif")
    for i, name in enumerate(names):
        scene(tmp_path, name, seed=i)
    summary = run_batch(batch_of(tmp_path))
    assert set(statuses(summary).values()) == {"done"}
    assert len({one.product for one in summary.scenes}) == 4
    assert all(str(one.product).isascii() for one in summary.scenes)


def test_a_name_as_long_as_can_be_is_a_product(tmp_path: Path) -> None:
    made = scene(tmp_path, "short.tif")
    made.rename(made.with_name("L" * 250 + ".tif"))
    (outcome,) = run_batch(batch_of(tmp_path)).scenes
    assert outcome.status == "done", outcome.message


def test_failures_count_however_the_inbox_is_spelled(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/gone.tif").symlink_to(tmp_path / "nothing")
    (tmp_path / "link").symlink_to(tmp_path / "in")
    batch = batch_of(tmp_path)
    for number, inbox in enumerate(("in", "link"), start=1):
        chosen = replace(batch.batch, inbox=str(tmp_path / inbox), attempts=9)
        (outcome,) = run_batch(replace(batch, batch=chosen)).scenes
        assert outcome.attempts == number


def test_names_that_are_no_text_are_told_apart_and_identified(tmp_path: Path) -> None:
    for i, folder in enumerate(("d", "e")):
        (tmp_path / "in" / folder).mkdir(parents=True)
        scene(tmp_path, f"{folder}/same.tif", seed=i)
    (tmp_path / "in/d").rename(tmp_path / "in" / os.fsdecode(b"d\xff"))
    marks = [one.apart for one in plan_batch(batch_of(tmp_path))]
    assert len(set(marks)) == 2
    assert all(marks)
    assert statuses(run_batch(batch_of(tmp_path)))["e/same.tif"] == "done"
    odd = tmp_path / "in" / os.fsdecode(b"I\xfd.dcm")
    odd.write_bytes(b"DICM")
    assert identify([odd]).size == 4


def test_a_product_never_takes_the_place_of_what_is_none(tmp_path: Path) -> None:
    (tmp_path / "out/mine").mkdir(parents=True)
    (tmp_path / "out/mine/precious.txt").write_text("mine")
    scene(tmp_path, "mine.tif")
    scene(tmp_path, "reports.tif", seed=1)
    batch = batch_of(tmp_path)
    batch = replace(batch, batch=replace(batch.batch, product="{scene}"))
    summary = run_batch(batch)
    assert set(statuses(summary).values()) == {"failed"}
    assert all("is the name of something else" in one.message for one in summary.scenes)
    assert (tmp_path / "out/mine/precious.txt").read_text() == "mine"


def test_what_was_killed_around_its_landing_is_neither_lost_nor_made_again(tmp_path: Path) -> None:
    scene(tmp_path, "a.tif")
    batch = batch_of(tmp_path)
    run_batch(batch)
    product, state = tmp_path / "out/a_SR", tmp_path / "out/.espcn"
    (state / "journal.jsonl").unlink()  # killed after the rename, before the journal
    assert statuses(run_batch(batch)) == {"a.tif": "skipped"}
    (state / "replaced").mkdir()
    product.rename(state / "replaced/a_SR")  # killed between two renames
    assert statuses(run_batch(batch)) == {"a.tif": "skipped"}
    assert product.is_dir()


def test_a_reader_that_crashes_costs_its_scene_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "open_and_prepare", batch_openers.crash_on_bad)
    for i, name in enumerate(("bad1.tif", "good1.tif", "bad2.tif", "good2.tif", "good3.tif")):
        scene(tmp_path, name, seed=i)
    summary = run_batch(batch_of(tmp_path))
    bad = {one.path: one for one in summary.scenes if one.path.startswith("bad")}
    assert {one.status for one in bad.values()} == {"failed"}
    assert {one.reason for one in bad.values()} == {"crash"}
    assert summary.counts["done"] == 3


def test_a_product_that_fails_a_check_is_not_published(tmp_path: Path) -> None:
    scene(tmp_path, "a.tif")
    strict = replace(batch_of(tmp_path), checks=CheckOptions(coverage=1.1))
    (outcome,) = run_batch(strict).scenes
    assert outcome.status == "failed"
    assert "coverage" in outcome.message
    assert not list((tmp_path / "out").glob("*_SR"))
    assert not list((tmp_path / "out/.espcn/work").iterdir()), "it would be refused again"
    assert not all(check.passed for check in outcome.checks)


# ----------------------------------------------------------------- killed, interrupted, held


DRIVER = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
import test_batch
from workflows.batch.run import Tiled, run_batch

def slow(event):
    print(type(event).__name__, flush=True)
    if isinstance(event, Tiled):
        time.sleep({pause})

run_batch(test_batch.batch_of(Path({folder!r})), slow)
"""


def drive(folder: Path, *, pause: float) -> subprocess.Popen[str]:
    """A batch in a process of its own, which prints a line for every event."""
    code = DRIVER.format(tests=str(Path(__file__).parent), folder=str(folder), pause=pause)
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("after", [2, 7, 12])
def test_a_killed_batch_goes_on_and_makes_the_same_products(tmp_path: Path, after: int) -> None:
    for where in ("killed", "whole"):
        (tmp_path / where).mkdir()
        for i in range(3):
            made = scene(tmp_path / where, f"s{i}.tif", 600, seed=i)
            os.utime(made, ns=(10**18, 10**18))
    run_batch(batch_of(tmp_path / "whole"))
    with drive(tmp_path / "killed", pause=0.05) as driver:
        assert driver.stdout is not None
        for _ in range(after):
            assert driver.stdout.readline()
        children = psutil.Process(driver.pid).children(recursive=True)
        driver.send_signal(signal.SIGKILL)
    runs.wait_until(lambda: not any(child.is_running() for child in children))
    tiles = list[Event]()
    summary = run_batch(batch_of(tmp_path / "killed"), tiles.append)
    assert set(statuses(summary).values()) <= {"done", "skipped"}
    assert sum(isinstance(event, Tiled) for event in tiles) < 3 * 9 + (after == 2)  # none was made
    for i in range(3):
        one, other = (image_of(tmp_path / where, f"s{i}") for where in ("killed", "whole"))
        assert runs.hash_of(one) == runs.hash_of(other)
    assert not list((tmp_path / "killed/out/.espcn/work").iterdir())


def test_an_outbox_is_one_runs_alone(tmp_path: Path) -> None:
    scene(tmp_path, "a.tif")
    batch = batch_of(tmp_path)
    batch.outbox.mkdir()
    with holding(batch.outbox), pytest.raises(ResumeError, match="another run"):
        run_batch(batch)


def test_a_torn_journal_line_is_cut_off(tmp_path: Path) -> None:
    scene(tmp_path, "a.tif")
    batch = batch_of(tmp_path)
    run_batch(batch)
    journal = tmp_path / "out/.espcn/journal.jsonl"
    whole = journal.read_text()
    journal.write_text('{"event": "fail{"event": "left"}\n' + whole + '{"event": "fail')
    assert statuses(run_batch(batch)) == {"a.tif": "skipped"}
    assert journal.read_text().endswith("\n")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"inbox": ""}, "batch.inbox is not given"),
        ({"inbox": "/nowhere/at/all"}, "is no directory"),
        ({"product": "{scene}_{colour}"}, "batch.product"),
    ],
)
def test_a_wrong_configuration_stops_the_run(
    tmp_path: Path, change: dict[str, str], said: str
) -> None:
    scene(tmp_path, "a.tif")
    batch = batch_of(tmp_path)
    with pytest.raises(ConfigError, match=said):
        run_batch(replace(batch, batch=replace(batch.batch, **change)))


@pytest.mark.parametrize(
    ("place", "said"), [("nodir/out", "there is no directory"), ("in/out", "lies in the inbox")]
)
def test_a_refused_outbox_is_not_made(tmp_path: Path, place: str, said: str) -> None:
    scene(tmp_path, "a.tif")
    batch = batch_of(tmp_path)
    batch = replace(batch, batch=replace(batch.batch, outbox=str(tmp_path / place)))
    for attempt in (run_batch, plan_batch):
        with pytest.raises(ConfigError, match=said):
            attempt(batch)
    assert not (tmp_path / place).exists()
    assert not (tmp_path / "nodir").exists()


# ------------------------------------------------------------------------ the command line


def test_the_command_says_what_it_did(espcn: Callable[..., Ran], tmp_path: Path) -> None:
    scene(tmp_path, "a.tif", 90)
    (tmp_path / "in/empty.tif").touch()
    options = ("--workers", "0", "--set", "checks.bias=1", "--set", "checks.consistency=10")
    command = ("batch", tmp_path / "in", tmp_path / "out", *options)
    planned = espcn(*command, "--dry-run", "--retry-failed")
    assert planned.code == 0
    assert "2 of 2 scenes to make" in planned.out
    assert not (tmp_path / "out").exists()
    ran = espcn(*command)
    assert ran.code == 1
    assert "1 done / 0 skipped / 1 failed / 0 quarantined" in " ".join(ran.out.split())
    (page,) = (tmp_path / "out/reports").glob("*.html")
    assert "empty.tif" in page.read_text()
    as_json = espcn(*command, "--json", "--quiet")
    assert json.loads(as_json.out)["scenes"][0]["status"] == "skipped"
    assert as_json.err.startswith("failed  empty.tif: "), "quiet is not silent"
    assert len(as_json.err.splitlines()) == 1
    (tmp_path / "in/a.tif").unlink()
    assert espcn(*command).code == 3
    assert espcn("batch", tmp_path / "nowhere", tmp_path / "out").code == 2
    assert espcn(*command, "--set", "checks.biass=1").line.endswith("did you mean 'checks.bias'?")


def test_ctrl_c_leaves_what_has_landed_and_the_next_run_goes_on(tmp_path: Path) -> None:
    for i in range(2):
        scene(tmp_path, f"s{i}.tif", 700, seed=i)
    with drive(tmp_path, pause=0.1) as driver:
        assert driver.stdout is not None
        for _ in range(5):
            driver.stdout.readline()
        driver.send_signal(signal.SIGINT)
        assert driver.wait(timeout=60) == 0
    assert set(statuses(run_batch(batch_of(tmp_path))).values()) <= {"done", "skipped"}
