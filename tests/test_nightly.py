"""Nights: what is read yet, what is told when it fails, what is tidied up, how it is started."""

from __future__ import annotations

import io
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from fakes import texture, write_tif

from pipeline.errors import ConfigError, ResumeError
from pipeline.serial import from_json
from workflows import nightly
from workflows.batch.event_log import log_event
from workflows.batch.hook import run_hook
from workflows.batch.job import Batch
from workflows.batch.logs import open_log
from workflows.batch.options import BatchOptions, ScheduleOptions
from workflows.batch.outcome import RunSummary, SceneOutcome
from workflows.batch.page import read_summary
from workflows.batch.retention import DAY, prune
from workflows.batch.run import Begun, Ended, Tiled
from workflows.batch.settle import arrived
from workflows.batch.state import holding
from workflows.config import make_batch, read_settings

ROOT = Path(__file__).parents[1]
UNITS = ROOT / "configs" / "systemd"
CRON_JOB = ROOT / "configs" / "kubernetes" / "cronjob.yaml"
NOW = datetime(2026, 11, 26, 2, tzinfo=UTC).timestamp()
TEN = ScheduleOptions(settle=10)

# -------------------------------------------------------------------------------------- settling


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """A directory of two files in a tree that have all been quiet for an hour."""
    scene = tmp_path / "S2A.SAFE"
    (scene / "GRANULE" / "IMG").mkdir(parents=True)
    (scene / "MTD.xml").write_text("<x/>")
    (scene / "GRANULE" / "IMG" / "B04.jp2").write_bytes(b"jp2")
    age(scene, 3600)
    return scene


def age(scene: Path, seconds: float) -> None:
    """Set the times of a scene and all below it to so many seconds before now."""
    for path in (*scene.rglob("*"), scene):
        touch(path, seconds)


def touch(path: Path, seconds: float) -> None:
    os.utime(path, (NOW - seconds, NOW - seconds))


def test_a_quiet_scene_has_arrived(scene: Path) -> None:
    assert arrived(scene, TEN, NOW) is None


@pytest.mark.parametrize("name", ["MTD.xml", "GRANULE/IMG/B04.jp2", "GRANULE/IMG", "GRANULE", "."])
def test_a_file_or_folder_that_just_changed_keeps_a_scene_from_being_read(
    scene: Path, name: str
) -> None:
    touch(scene / name, 599)
    said = arrived(scene, TEN, NOW)
    assert said is not None
    assert "599 s ago" in said
    assert "schedule.settle asks for 10 min" in said
    assert name.removeprefix(".") in said
    assert arrived(scene, TEN, NOW + 1) is None


def test_a_copy_that_keeps_the_times_of_files_is_noticed_while_it_goes_on(
    scene: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.SAFE"
    (copy / "GRANULE" / "IMG").mkdir(parents=True)
    shutil.copy2(scene / "MTD.xml", copy)  # B04 is still to come
    assert arrived(copy, TEN, time.time()) is not None


def test_a_growing_archive_is_not_read(tmp_path: Path) -> None:
    archive = tmp_path / "LC08.tar"
    with archive.open("ab") as file:
        file.write(b"x")
        file.flush()
        began = time.time()
        assert arrived(archive, TEN, began) is not None
        assert arrived(archive, TEN, began + 601) is None
        file.write(b"more")
    os.utime(archive, (began + 300, began + 300))
    assert arrived(archive, TEN, began + 601) is not None


def test_clocks_of_others_that_are_a_little_ahead_count_and_wild_ones_do_not(scene: Path) -> None:
    touch(scene / "MTD.xml", -60)
    assert arrived(scene, TEN, NOW) is not None
    touch(scene / "MTD.xml", -365 * DAY)
    assert arrived(scene, TEN, NOW) is None


def test_no_quiet_asked_for_none_waited_for(scene: Path) -> None:
    age(scene, 0)
    assert arrived(scene, ScheduleOptions(settle=0), NOW) is None


def test_a_scene_that_vanishes_or_loops_is_left_to_whoever_opens_it(scene: Path) -> None:
    (scene / "loop").symlink_to(scene)
    (scene / "nowhere").symlink_to(scene / "missing")
    touch(scene, 3600)
    assert arrived(scene, TEN, NOW) is None
    assert arrived(scene.with_name("missing.tif"), TEN, NOW) is None


@pytest.mark.parametrize(
    ("scene", "marker"),
    [
        ("S2A.SAFE", "S2A.SAFE.done"),
        ("S2A.SAFE", "S2A.done"),
        ("S2A.SAFE", "S2A.SAFE/S2A.done"),
        ("LC08.v1.tar.gz", "LC08.v1.done"),
        ("a.b.tif", "a.b.done"),
    ],
)
def test_a_marker_replaces_the_quiet(tmp_path: Path, scene: str, marker: str) -> None:
    path = tmp_path / scene
    path.mkdir() if path.suffix == ".SAFE" else path.touch()
    options = ScheduleOptions(settle=10, marker="{scene}.done")
    now = time.time()  # everything is brand-new
    assert "its marker" in str(arrived(path, options, now))
    (tmp_path / "other.done").touch()
    assert "(schedule.marker)" in str(arrived(path, options, now))
    (tmp_path / marker).touch()
    assert arrived(path, options, now) is None


def test_a_marker_may_have_one_name_for_all_and_braces_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "S2A.SAFE").mkdir()
    for marker in ("_SUCCESS", "{0}.ok"):
        options = ScheduleOptions(marker=marker)
        assert arrived(tmp_path / "S2A.SAFE", options, NOW) is not None
        (tmp_path / "S2A.SAFE" / marker).touch()
        assert arrived(tmp_path / "S2A.SAFE", options, NOW) is None


# ------------------------------------------------------------------------------------- retention


def reports_of(folder: Path, *days: float) -> list[str]:
    """Pairs of reports of runs that began so many days ago; their names without endings."""
    names = []
    for number, ago in enumerate(days):
        began = datetime.fromtimestamp(NOW - ago * DAY, UTC)
        names.append(f"{began:%Y%m%dT%H%M%SZ}-{number:04x}")
        for ending in (".html", ".json"):
            (folder / f"{names[-1]}{ending}").touch()
    return names


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_only_reports_older_than_is_asked_for_go(tmp_path: Path) -> None:
    young, middle, old = reports_of(tmp_path, 1, 89.9, 90.1)
    gone = prune(tmp_path, 90, NOW)
    assert {path.name for path in gone} == {f"{old}.html", f"{old}.json"}
    assert left(tmp_path) == {f"{n}{e}" for n in (young, middle) for e in (".html", ".json")}


def test_nothing_else_is_ever_removed(tmp_path: Path) -> None:
    kept = ("notes.html", "20200101T000000Z.html", "20200101T000000Z-3f2a.html.bak", "index.json",
            "20209999T000000Z-3f2a.json", "x20200101T000000Z-3f2a.json")  # fmt: skip
    for name in kept:
        (tmp_path / name).touch()
    (tmp_path / "20200101T000000Z-0000.html").mkdir()
    (tmp_path / "20200101T000000Z-0001.html").symlink_to(tmp_path / "notes.html")
    reports_of(tmp_path, 1)
    before = left(tmp_path)
    assert prune(tmp_path, 0, NOW + 10 * DAY) == ()
    assert left(tmp_path) == before


def test_the_latest_report_stays_however_old(tmp_path: Path) -> None:
    latest, _ = reports_of(tmp_path, 100, 200)
    prune(tmp_path, 90, NOW)
    assert left(tmp_path) == {f"{latest}.html", f"{latest}.json"}


def test_without_reports_nothing_happens(tmp_path: Path) -> None:
    assert prune(tmp_path / "reports", 90, NOW) == ()


def test_a_report_that_cannot_be_removed_is_said_and_the_others_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    reports_of(tmp_path, 1, 100, 200)
    unlink = Path.unlink

    def refuse(path: Path, missing_ok: bool = False) -> None:
        if path.name.endswith("0002.html"):
            raise PermissionError(13, "Permission denied")
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)
    assert len(prune(tmp_path, 90, NOW)) == 3
    assert "0002.html: an old report cannot be removed (Permission denied)" in caplog.text


# ------------------------------------------------------------------------------------------ hook


def python(code: str) -> str:
    """A command that runs Python code."""
    return shlex.join([sys.executable, "-c", code])


def test_the_hook_gets_the_summary_whole_on_its_stdin(tmp_path: Path) -> None:
    told = json.dumps({"scenes": ["é" * 10**6]}, ensure_ascii=False)
    target = tmp_path / "told"
    copy = f"import sys,pathlib; pathlib.Path({str(target)!r}).write_bytes(sys.stdin.buffer.read())"
    assert run_hook(python(copy), told) is None
    assert target.read_text() == told


def test_a_hook_that_reads_nothing_and_says_much_is_fine() -> None:
    much = "import sys; print('x' * 10**7); print('y' * 10**7, file=sys.stderr)"
    assert run_hook(python(much), "x" * 10**7) is None


def test_no_shell_sees_the_hook(tmp_path: Path) -> None:
    assert run_hook(f"/bin/echo $(touch {tmp_path}/a) ; touch {tmp_path}/b", "{}") is None
    assert left(tmp_path) == set()


def test_a_hook_that_fails_is_a_warning_with_its_last_words_and_without_its_secrets() -> None:
    code = "import sys; sys.exit('first\\nPOST ' + sys.argv[1] + ' token=qwertz failed\\n')"
    url = "https://chat.example/qwertzuiop"
    said = run_hook(f"{python(code)} {url}", "{}")
    assert said is not None
    assert f"{Path(sys.executable).name} ended with 1 (POST *** token=*** failed)" in said
    assert "qwertz" not in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("/nowhere/mail --to ops", "mail cannot be started (No such file or directory)"),
        (f"{Path(__file__)}", "cannot be started (Permission denied)"),
        ("mail 'to ops", "cannot be split into words (No closing quotation)"),
        ("  ", "schedule.on_failure is empty"),
        ("mail \0", "mail cannot be started (embedded null byte)"),
    ],
)
def test_a_hook_that_cannot_start_is_a_warning(command: str, said: str) -> None:
    warning = run_hook(command, "{}")
    assert warning is not None
    assert said in warning
    assert "ops" not in warning.partition("schedule.on_failure")[2].replace("schedule", "")


def test_a_hook_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    hang = (
        "import os, pathlib, signal, subprocess, sys, time;"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
        f"pathlib.Path({str(pids)!r}).write_text(f'{{os.getpid()}} {{child.pid}}');"
        "time.sleep(600)"
    )
    began = time.monotonic()
    said = run_hook(python(hang), "{}", timeout=3)
    assert said is not None
    assert "took longer than 3 s and was killed" in said
    assert time.monotonic() - began < 30
    for pid in pids.read_text().split():
        assert is_gone(int(pid))


def is_gone(pid: int) -> bool:
    """Whether a process ends within some seconds; a zombie that nobody waits for has ended."""
    for _ in range(500):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state in "ZX":
            return True
        time.sleep(0.01)
    return False


def test_a_hook_that_leaves_something_running_does_not_hold_up_the_night(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    code = (
        "import pathlib, subprocess, sys;"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
        f"pathlib.Path({str(pid)!r}).write_text(str(child.pid))"
    )
    began = time.monotonic()
    assert run_hook(python(code), "{}") is None
    assert time.monotonic() - began < 30
    os.kill(int(pid.read_text()), 9)


# ---------------------------------------------------------------------------------------- nights


@dataclass
class Night:
    """A night whose scenes are made up: `make` stands for the run over them."""

    batch: Batch
    told: Path
    """What the hook was told, if it was run."""
    make: Callable[[], RunSummary]
    settled: list[bool] = field(default_factory=list)
    """Whether each run was asked to wait for scenes to settle."""

    def hooked(self) -> dict[str, object]:
        """What the hook was told."""
        found = json.loads(self.told.read_text())
        assert isinstance(found, dict)
        return found


@pytest.fixture
def night(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Night:
    inbox, outbox, told = (tmp_path / name for name in ("inbox", "outbox", "told"))
    inbox.mkdir()
    outbox.mkdir()
    keep = f"import sys,pathlib; pathlib.Path({str(told)!r}).write_text(sys.stdin.read())"
    schedule = ScheduleOptions(
        on_failure=python(keep), metrics_file=str(tmp_path / "espcn.prom"), keep_reports=30
    )
    batch = Batch(BatchOptions(str(inbox), str(outbox)), schedule=schedule)
    made = Night(batch, told, lambda: run_of(batch, DONE))

    def run_batch(_: Batch, tell: object, *, settled: bool) -> RunSummary:
        assert callable(tell)
        made.settled.append(settled)
        return made.make()

    monkeypatch.setattr(nightly, "run_batch", run_batch)
    return made


DONE = SceneOutcome("S2A", "a.SAFE", "done", "a" * 64, tiles=9, megapixels=4.5, attempts=1)
LOST = SceneOutcome(
    "S2B", "b.SAFE", "failed", "b" * 64, reason="incomplete", message="B04 lacks", attempts=1
)


def run_of(batch: Batch, *scenes: SceneOutcome, interrupted: bool = False) -> RunSummary:
    """A run over some scenes."""
    began = datetime.now(UTC)
    return RunSummary(
        run=f"{began:%Y%m%dT%H%M%SZ}-3f2a",
        started=began.isoformat(timespec="seconds"),
        ended=began.isoformat(timespec="seconds"),
        seconds=1.0,
        inbox=str(batch.inbox),
        outbox=str(batch.outbox),
        scenes=scenes,
        interrupted=interrupted,
    )


def test_a_good_night_leaves_a_report_and_figures_and_tells_nobody(
    night: Night, tmp_path: Path
) -> None:
    reports = night.batch.outbox / "reports"
    reports.mkdir()
    for ending in ("html", "json"):
        (reports / f"20200101T020000Z-0000.{ending}").touch()
    summary = nightly.run_night(night.batch)
    assert night.settled == [True]
    assert left(reports) == {f"{summary.run}.html", f"{summary.run}.json"}
    assert read_summary(reports / f"{summary.run}.json") == summary
    assert 'status="done"} 1' in (tmp_path / "espcn.prom").read_text()
    assert not night.told.exists()


@pytest.mark.parametrize(
    ("scenes", "interrupted", "told"),
    [
        ([DONE, LOST], False, True),
        ([replace(LOST, status="quarantined", attempts=3)], False, True),
        ([DONE, replace(LOST, status="quarantined", attempts=0)], False, False),
        ([DONE], True, True),
        ([], False, False),
    ],
)
def test_somebody_is_told_of_what_failed_this_night(
    night: Night, scenes: list[SceneOutcome], interrupted: bool, told: bool
) -> None:
    night.make = lambda: run_of(night.batch, *scenes, interrupted=interrupted)
    summary = nightly.run_night(night.batch)
    assert night.told.exists() == told
    if told:
        assert from_json(RunSummary, night.hooked()) == summary  # type: ignore[arg-type]


def test_somebody_is_told_of_a_night_that_could_not_begin(night: Night) -> None:
    def refuse() -> RunSummary:
        raise ConfigError("no Dask scheduler answers at tls://:qwertz@host:8786")

    night.make = refuse
    with pytest.raises(ConfigError):
        nightly.run_night(night.batch)
    said = "no Dask scheduler answers at tls://***@host:8786"
    assert night.hooked() == {"error": said, "exit_code": 2}


def test_two_nights_do_not_overlap(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    with holding(night.batch.outbox), pytest.raises(ResumeError, match="another run"):
        nightly.run_night(night.batch)
    assert "another run" in str(night.hooked()["error"])


def test_what_cannot_be_told_is_a_warning(night: Night, caplog: pytest.LogCaptureFixture) -> None:
    night.make = lambda: run_of(night.batch, LOST)
    (night.batch.outbox / "reports").touch()
    schedule = replace(night.batch.schedule, metrics_file="/nowhere/espcn.prom", on_failure="/no")
    summary = nightly.run_night(replace(night.batch, schedule=schedule))
    assert summary.scenes == (LOST,)
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 3
    for said in ("reports: cannot be written", "metrics cannot be written", "no cannot be started"):
        assert said in caplog.text


def test_sigterm_ends_a_night_as_ctrl_c_does(night: Night) -> None:
    before = signal.getsignal(signal.SIGTERM)

    def stop() -> RunSummary:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(30)
        except KeyboardInterrupt:
            return run_of(night.batch, interrupted=True)
        raise AssertionError("slept on")

    night.make = stop
    assert nightly.run_night(night.batch).interrupted
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_run_is_told_in_log_lines_with_one_id_a_scene() -> None:
    stream = io.StringIO()
    with open_log(json_lines=True, stream=stream):
        log_event(Begun(DONE.key, DONE.scene, 9))
        log_event(Tiled(DONE.key, DONE.scene, 0.5))
        log_event(Ended(DONE))
        log_event(Ended(LOST))
    begun, done, lost = map(json.loads, stream.getvalue().splitlines())
    assert (begun["scene"], begun["tiles"], begun["event"]) == ("a" * 12, 9, "S2A begins, 9 tiles")
    assert (done["scene"], done["status"], done["megapixels"]) == ("a" * 12, "done", 4.5)
    assert (lost["scene"], lost["level"], lost["reason"]) == ("b" * 12, "warning", "incomplete")
    assert lost["event"] == "S2B failed: B04 lacks"


# ---------------------------------------------------------------------------------- command lines


@pytest.fixture
def real(tmp_path: Path) -> Path:
    """A folder with a configuration, and an inbox of a settled scene and one still arriving."""
    for name in ("inbox", "outbox"):
        (tmp_path / name).mkdir()
    write_tif(tmp_path / "inbox" / "old.tif", texture((1, 100, 90)))
    touch_now(tmp_path / "inbox" / "old.tif", hours=1)
    write_tif(tmp_path / "inbox" / "new.tif", texture((1, 100, 90), seed=1))
    keep = (
        f"import sys,pathlib; pathlib.Path({str(tmp_path / 'told')!r}).write_text(sys.stdin.read())"
    )
    options = {
        "batch": {"inbox": str(tmp_path / "inbox"), "outbox": str(tmp_path / "outbox")},
        "schedule": {
            "settle": 10,
            "metrics_file": str(tmp_path / "espcn.prom"),
            "on_failure": python(keep),
        },
        "cluster": {"workers": 0, "threads": 1},
    }
    (tmp_path / "nightly.yaml").write_text(yaml.safe_dump(options))
    return tmp_path


def touch_now(path: Path, *, hours: float) -> None:
    moment = time.time() - 3600 * hours
    os.utime(path, (moment, moment))


def by_systemd() -> list[str]:
    """The command line of the unit."""
    lines = (UNITS / "espcn-nightly.service").read_text().splitlines()
    (command,) = (line for line in lines if line.startswith("ExecStart="))
    return shlex.split(command.removeprefix("ExecStart="))


def by_kubernetes() -> list[str]:
    """The command line of the pod."""
    _, job = yaml.safe_load_all(CRON_JOB.read_text())
    (container,) = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    command = container["command"]
    assert isinstance(command, list)
    return command


def start_night(command: list[str], folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Run a scheduler's command line with our configuration, in the environment that cron gives."""
    assert Path(command[0]).name == "espcn"
    config = command[command.index("--config") + 1]
    rest = [str(folder / "nightly.yaml") if word == config else word for word in command[1:]]
    line = shlex.join([sys.executable, "-m", "workflows.cli", *rest, *more])
    return subprocess.run(
        ["/bin/sh", "-c", line],
        env={"HOME": str(folder), "LOGNAME": "espcn", "SHELL": "/bin/sh", "PATH": "/usr/bin:/bin",
             "PYTHONPATH": str(ROOT)},
        cwd="/", stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_nights_as_schedulers_start_them(real: Path) -> None:
    first = start_night(by_systemd(), real, "--json")
    assert first.returncode == 0, first.stderr
    assert statuses(first.stdout) == {"old.tif": "done", "new.tif": "skipped"}
    assert "still arriving" in first.stdout
    lines = [json.loads(line) for line in first.stderr.splitlines()]
    ids = {line["scene"] for line in lines if "scene" in line}
    assert len(ids) == 1
    assert {line["level"] for line in lines} == {"info"}
    assert 'espcn_scenes{inbox="' in (real / "espcn.prom").read_text()
    assert not (real / "told").exists()
    assert (real / "outbox" / "old_SR" / "old_SR.json").is_file()

    touch_now(real / "inbox" / "new.tif", hours=2)
    (real / "inbox" / "broken.tif").write_bytes(b"II*\0 no TIFF")
    touch_now(real / "inbox" / "broken.tif", hours=2)
    second = start_night(by_kubernetes(), real, "--json")
    assert second.returncode == 1, second.stderr
    assert statuses(second.stdout) == {
        "old.tif": "skipped", "new.tif": "done", "broken.tif": "failed",
    }  # fmt: skip
    assert (real / "told").read_text() == second.stdout

    with holding(real / "outbox"):
        third = start_night(by_systemd(), real)
    assert third.returncode == 4
    assert "another run is working on this outbox" in third.stderr.splitlines()[-1]
    assert len(list((real / "outbox" / "reports").glob("*.html"))) == 2


def statuses(summary: str) -> dict[str, str]:
    """What became of each scene, by a summary on stdout."""
    return {one["path"]: one["status"] for one in json.loads(summary)["scenes"]}


# ----------------------------------------------------------------------------------------- units


@pytest.fixture
def systemd() -> str:
    tool = shutil.which("systemd-analyze")
    if tool is None:
        pytest.skip("needs systemd-analyze, of the package systemd")
    return tool


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units, with a program at the place where they expect one."""
    for unit in UNITS.iterdir():
        text = unit.read_text().replace("/opt/espcn/bin/espcn", f"{sys.executable}")
        (tmp_path / unit.name).write_text(text)
    return tmp_path


def analyze(tool: str, *arguments: str) -> str:
    """What systemd-analyze says; it must not complain."""
    ran = subprocess.run(
        [tool, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr


def test_systemd_understands_every_line_of_the_units(systemd: str, units: Path) -> None:
    said = analyze(systemd, "verify", "--man=no", *map(str, sorted(units.iterdir())))
    assert said.strip() == ""


def test_systemd_would_complain_of_a_unit_with_a_mistake(systemd: str, units: Path) -> None:
    service = units / "espcn-nightly.service"
    service.write_text(service.read_text().replace("ProtectHome=", "ProtectHomes="))
    assert "ProtectHomes" in analyze(systemd, "verify", "--man=no", str(service))


def test_the_timer_strikes_once_a_night(systemd: str) -> None:
    (line,) = (
        text for text in (UNITS / "espcn-nightly.timer").read_text().splitlines()
        if text.startswith("OnCalendar=")
    )  # fmt: skip
    said = analyze(systemd, "calendar", "--iterations=2", line.partition("=")[2])
    first, second = (
        datetime.strptime(text.split(": ")[1].strip().rpartition(" ")[0], "%a %Y-%m-%d %H:%M:%S")
        for text in said.splitlines()
        if "Next elapse" in text or "Iter. #2" in text
    )
    assert second - first == timedelta(days=1)
    assert first.hour == 2


def test_the_service_is_confined(systemd: str, units: Path) -> None:
    said = analyze(
        systemd, "security", "--offline=true", "--threshold=40",
        str(units / "espcn-nightly.service"),
    )  # fmt: skip
    assert "Overall exposure level" in said


def check_manifest(text: str) -> None:
    """Raise unless every resource is as the newest Kubernetes that is known wants it."""
    judge = pytest.importorskip("kubernetes_validate", reason="needs kubernetes-validate")
    for resource in yaml.safe_load_all(text):
        judge.validate(resource, judge.latest_version(), strict=True)


def test_the_cron_job_is_valid_kubernetes() -> None:
    check_manifest(CRON_JOB.read_text())


@pytest.mark.parametrize(
    ("right", "wrong"),
    [("concurrencyPolicy:", "concurrentPolicy:"), ("values: [1,", "values: [x,")],
)
def test_kubernetes_would_complain_of_a_manifest_with_a_mistake(right: str, wrong: str) -> None:
    text = CRON_JOB.read_text()
    assert right in text
    with pytest.raises(Exception, match=r"concurrentPolicy|'x' is not of type"):
        check_manifest(text.replace(right, wrong))


def test_the_configuration_in_the_manifest_is_one_of_batches(tmp_path: Path) -> None:
    configuration, job = yaml.safe_load_all(CRON_JOB.read_text())
    for name, text in configuration["data"].items():
        (tmp_path / name).write_text(text)
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    places = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    named = Path(container["command"][container["command"].index("--config") + 1])
    assert str(named.parent) == places["configuration"]
    batch = make_batch(read_settings(tmp_path / named.name, subject="batch"))
    assert (str(batch.inbox), str(batch.outbox)) == (places["inbox"], places["outbox"])
