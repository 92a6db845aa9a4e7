"""Nothing that a run leaves behind tells whom its inputs show, but DICOM outputs themselves.

Names, numbers, dates, UIDs and paths are planted in the inputs and looked for in everything: names
and bytes of files, what is printed and logged, by processes that fail too.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_files import write_dicom
from distributed import Scheduler
from distributed.diagnostics.plugin import SchedulerPlugin
from pydicom import dcmread
from pydicom.uid import RLELossless
from runs import Ran, make_job, threads_here

from pipeline.journal import Receipt
from pipeline.kernel import Fine
from pipeline.sinks import load_sink
from pipeline.task import load_plan
from workflows.prepare import prepare
from workflows.staging import opened

PERSON = {
    "PatientName": "MUSTERMANN^ERIKA^GERTRUD",
    "PatientID": "PID-4711-0815",
    "PatientBirthDate": "19440812",
    "PatientAddress": "Heidestrasse 17, 51147 Koeln",
    "OtherPatientIDs": "OTHER-998877",
    "AccessionNumber": "ACC20210304-77",
    "InstitutionName": "St. Nimmerlein Hospital",
    "ReferringPhysicianName": "SAUERBRUCH^FERDINAND",
    "OperatorsName": "KNAGGE^KNUT",
    "StudyDescription": "Knee of Mrs Mustermann",
    "SeriesDescription": "Tibia Erika left",
    "StationName": "SCANNER-CELLAR",
    "DeviceSerialNumber": "SN-123456789",
    "PatientComments": "comes by tram",
    "StudyID": "STUDY-556677",
    "StudyDate": "20210304",
    "StudyTime": "113355.123456",
}
"""What is planted, by keyword."""
ROOT = "1.2.826.0.1.3680043.9.7777"
"""How all UIDs begin that are planted."""
FOLDER = "Mustermann_Erika_1944-08-12"
"""Of the inputs."""
SLICES = 3


def wrong_date(path: Path) -> None:
    """Make the date of birth one that is none: pydicom would quote it in a warning."""
    path.write_bytes(path.read_bytes().replace(b"19440812", b"19440812"[:-1] + b"x"))


@pytest.fixture
def series(tmp_path: Path) -> Path:
    """A series of somebody, in a folder of the same name."""
    folder = tmp_path / "in" / FOLDER
    folder.mkdir(parents=True)
    rng = np.random.default_rng(5)
    for number in range(SLICES):
        pixels = rng.integers(0, 1000, (64, 80)).astype("int16")
        path = write_dicom(
            folder / f"mustermann-{number}.dcm",
            pixels,
            SOPInstanceUID=f"{ROOT}.3.{number + 1}",
            SeriesInstanceUID=f"{ROOT}.2",
            StudyInstanceUID=f"{ROOT}.1",
            FrameOfReferenceUID=f"{ROOT}.4",
            InstanceNumber=number + 1,
            ImagePositionPatient=[-30.0, -30.0, 2.0 * number],
            ImageOrientationPatient=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
            PixelSpacing=[1.0, 1.0],
            **PERSON,
        )
        wrong_date(path)
    return folder


def compress(folder: Path) -> None:
    """RLE for all files."""
    for path in folder.iterdir():
        image = dcmread(path)
        image.compress(RLELossless)
        image.save_as(path)


def spoil(path: Path) -> None:
    """Make the frame of an RLE file one that ends too early: bytes that stand for nothing."""
    data = bytearray(path.read_bytes())
    at = data.rindex(b"\xfe\xff\x00\xe0") + 8 + 64  # behind the header of the last frame
    data[at : at + 400] = b"\x80" * 400
    path.write_bytes(data)


def tokens(*paths: Path) -> set[str]:
    """What may not be said: parts of names, numbers, dates, UIDs, names of files and folders."""
    found = {part for value in PERSON.values() for part in value.replace("^", " ").split()}
    found |= set(PERSON.values()) | {ROOT, "1944081", FOLDER, "mustermann-"}
    found |= {str(path) for path in paths}
    common = {"of", "by", "Mrs", "left", "St.", "comes", "17,", "Knee", "tram", "Hospital"}
    return {token for token in found - common if len(token) > 4}


def said_in(text: str, secrets: set[str]) -> set[str]:
    """Secrets that a text holds, in whatever case."""
    low = text.casefold()
    return {secret for secret in secrets if secret.casefold() in low}


def left_in(folder: Path, secrets: set[str], *, dicom: bool = False) -> dict[str, set[str]]:
    """Secrets by the file that holds them, in its name or its bytes; of DICOM its name only."""
    found = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        text = name
        if path.is_file() and (dicom or path.suffix != ".dcm"):
            text += path.read_bytes().decode("latin-1")
        if secrets_here := said_in(text, secrets):
            found[name] = secrets_here
    return found


@pytest.fixture
def heard(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], str]]:
    """All that was logged, at every level."""
    with caplog.at_level(logging.DEBUG):
        yield lambda: "\n".join(
            f"{record.getMessage()} {record.exc_text or ''}" for record in caplog.records
        )


# ---------------------------------------------------------------------------------------- one image


def test_the_planted_is_found_where_it_is(series: Path) -> None:
    """The search itself: the inputs are full of it."""
    found = left_in(series.parent, tokens(series), dicom=True)
    assert len(found) == SLICES + 1
    assert len(set().union(*found.values())) > 20


@pytest.mark.parametrize("target", ["out.zarr", "out"])
def test_a_run_leaves_nothing(
    espcn: Callable[..., Ran],
    series: Path,
    tmp_path: Path,
    heard: Callable[[], str],
    target: str,
) -> None:
    outbox = tmp_path / "outbox"
    outbox.mkdir()
    ran = espcn("upscale", series, outbox / target, "--workers", "0", "--preview", "--json")
    assert ran.code == 0, ran.err
    secrets = tokens(series)
    assert (outbox / f"{target}.report.json").exists()
    assert left_in(outbox, secrets) == {}
    assert said_in(ran.out + ran.err + heard(), secrets) == set()


def test_de_identified_outputs_hold_nothing_either(
    espcn: Callable[..., Ran], series: Path, tmp_path: Path
) -> None:
    outbox = tmp_path / "outbox"
    outbox.mkdir()
    ran = espcn("upscale", series, outbox / "out", "--workers", "0", "--deidentify")
    assert ran.code == 0, ran.err
    assert len(list(outbox.glob("out/*.dcm"))) == SLICES
    assert left_in(outbox, tokens(series), dicom=True) == {}


def test_a_dry_run_and_an_inspection_say_nothing(
    espcn: Callable[..., Ran], series: Path, tmp_path: Path
) -> None:
    secrets = tokens(series)
    for arguments in (
        ("inspect", series),
        ("inspect", series, "--json"),
        ("upscale", series, tmp_path / "out", "--dry-run"),
        ("upscale", series, tmp_path / "out.zarr", "--dry-run", "--json"),
    ):
        ran = espcn(*arguments)
        assert ran.code == 0, ran.err
        assert said_in(ran.out + ran.err, secrets) == set(), arguments
    assert "MUSTERMANN" in espcn("inspect", series, "--phi").out


@pytest.mark.parametrize("target", ["out.zarr", "out"])
def test_a_failed_run_leaves_nothing(
    espcn: Callable[..., Ran],
    series: Path,
    tmp_path: Path,
    heard: Callable[[], str],
    target: str,
) -> None:
    compress(series)
    spoil(series / "mustermann-1.dcm")
    outbox = tmp_path / "outbox"
    outbox.mkdir()
    ran = espcn("upscale", series, outbox / target, "--workers", "0")
    assert ran.code in (3, 4)
    assert said_in(ran.out + ran.err + heard(), tokens(series)) == set()
    assert left_in(outbox, tokens(series)) == {}


@pytest.mark.parametrize("name", ["out.zarr", "out"])
def test_a_stage_to_go_on_with_says_nothing(
    espcn: Callable[..., Ran], series: Path, tmp_path: Path, name: str
) -> None:
    outbox, secrets = tmp_path / "outbox", tokens(series)
    outbox.mkdir()
    ((path, plan),) = prepare(make_job(series, outbox / name)).plans
    with opened(path, plan) as target:
        tile = plan.tiling.tile(0)
        fine = Fine(np.zeros((1, *tile.write.shape), "int16"), None)
        target.journal.add(
            Receipt(0, load_sink(plan.format).write(target.stage, plan, tile, fine), ())
        )
        held = target.stage / "source.json"
        assert held.stat().st_mode & 0o777 == 0o600, "as long as it runs, for its owner"
        assert {Path(file).name for file in left_in(outbox, secrets)} == {held.name}
    assert (target.stage / "plan.json").exists()
    assert left_in(outbox, secrets) == {}
    with opened(path, plan) as again:
        assert again.journal.receipts.keys() == {0}
        assert load_plan(str(again.stage), plan.digest) == plan
    chosen = ("--workers", "0", "--set", "output.statistics=false")
    assert espcn("upscale", series, outbox / name, *chosen).code == 0
    assert left_in(outbox, secrets) == {}


def test_errors_say_nothing(espcn: Callable[..., Ran], series: Path, tmp_path: Path) -> None:
    """Of headers that are cut, of what is no folder, of targets that do not fit."""
    secrets = tokens(series)
    first = series / "mustermann-0.dcm"
    whole = first.read_bytes()
    for length in (140, 300, 700, len(whole) - 100):
        first.write_bytes(whole[:length])
        ran = espcn("upscale", first, tmp_path / "out")
        assert ran.code, length
        assert said_in(ran.out + ran.err, secrets) == set(), length
    first.write_bytes(whole)
    for arguments in (
        ("upscale", series, tmp_path / "out.tif"),
        ("upscale", f"{series}#0123456789ab", tmp_path / "out"),
        ("upscale", series, tmp_path / "out", "--set", "output.syntax=jpeg"),
        ("upscale", series, tmp_path / "out.zarr", "--set", "output.zarr_format=2"),
        ("upscale", series, tmp_path / "out", "--bands", "2"),
    ):
        ran = espcn(*arguments)
        assert ran.code, arguments
        assert said_in(ran.err, secrets) == set(), arguments


# ------------------------------------------------------------------------------- processes and Dask


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own, with all that it and its workers print."""
    environment = os.environ | {
        "DASK_DISTRIBUTED__LOGGING__DISTRIBUTED": "debug",
        "PYTHONWARNINGS": "always",
    }
    return subprocess.run(
        [sys.executable, "-m", "workflows.cli", *map(str, arguments)],
        capture_output=True,
        check=False,
        text=True,
        env=environment,
        timeout=250,
    )


def test_workers_that_fail_say_nothing(series: Path, tmp_path: Path) -> None:
    """Dask logs the arguments of tasks that fail."""
    compress(series)
    spoil(series / "mustermann-1.dcm")
    outbox = tmp_path / "outbox"
    outbox.mkdir()
    ran = command("upscale", series, outbox / "out", "--workers", "1", "--debug")
    assert ran.returncode in (3, 4)
    assert said_in(ran.stdout + ran.stderr, tokens(series)) == set()
    assert left_in(outbox, tokens(series)) == {}


# ------------------------------------------------------------------------------------------ batches


class Listener(SchedulerPlugin):
    """Hears all that a scheduler is given: tasks with their names and arguments."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self.heard = list[str]()

    def transition(self, key: Any, start: str, finish: str, *_: Any, **__: Any) -> None:
        """A task changes its state."""
        task = self._scheduler.tasks.get(key)
        if finish == "processing" and task is not None:
            self.heard.append(f"{key} {start} {pickle.dumps(task.run_spec).decode('latin-1')}")


def test_tasks_are_told_nothing(espcn: Callable[..., Ran], series: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text(json.dumps({"checks": {"bias": 1, "consistency": 10}}))
    (tmp_path / "outbox").mkdir()
    with threads_here() as cluster:
        listener = Listener(cluster.scheduler)
        cluster.scheduler.add_plugin(listener)
        address = cluster.scheduler_address
        ran = espcn("upscale", series, tmp_path / "out", "--cluster", address)
        assert ran.code == 0, ran.err
        outbox = tmp_path / "outbox"
        ran = espcn("batch", series.parent, outbox, "--config", mine, "--cluster", address)
        assert ran.code == 0, ran.err
        log = str(cluster.scheduler.transition_log)
    assert len(listener.heard) > 3
    assert any("finish_on_worker" in task for task in listener.heard)
    secrets = tokens(series)
    assert [said for task in listener.heard if (said := said_in(task, secrets))] == []
    assert said_in(log, secrets) == set()


@pytest.mark.parametrize("form", ["zarr", "cog"])
def test_a_batch_leaves_nothing(
    espcn: Callable[..., Ran],
    series: Path,
    tmp_path: Path,
    heard: Callable[[], str],
    form: str,
) -> None:
    bad = series.with_name("Mustermann_Erika_worse")
    bad.mkdir()
    for path in series.iterdir():
        image = dcmread(path)
        image.SeriesInstanceUID += ".77"
        image.save_as(bad / path.name)
    compress(bad)
    spoil(bad / "mustermann-0.dcm")
    outbox = tmp_path / "outbox"
    mine = tmp_path / "mine.yaml"
    options = {"batch": {"format": form, "attempts": 1}, "cluster": {"workers": 0, "threads": 2}}
    mine.write_text(json.dumps({**options, "checks": {"bias": 1, "consistency": 10}}))
    secrets = tokens(series, bad) | {str(series.parent)}
    for log in ("--json", "--log-json", "--dry-run"):
        ran = espcn("batch", series.parent, outbox, "--config", mine, log)
        assert ran.code in (0, 1), ran.err
        assert said_in(ran.out + ran.err + heard(), secrets) == set(), log
    assert len(list(outbox.glob("*/product.json"))) == 1
    assert list((outbox / "reports").glob("*.html"))
    assert left_in(outbox, secrets) == {}
    settled: Any = espcn("batch", series.parent, outbox, "--config", mine, "--retry-failed")
    assert said_in(settled.out + settled.err, secrets) == set()
