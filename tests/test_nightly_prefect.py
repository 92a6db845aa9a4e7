"""Nights under Prefect: a task run per scene, and a real server that strikes the hour."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from fakes import texture, write_tif
from runs import PATIENCE

from pipeline.errors import ConfigError
from workflows import nightly
from workflows.batch import scene_tasks
from workflows.batch.job import Batch
from workflows.batch.options import BatchOptions
from workflows.batch.outcome import RunSummary, SceneOutcome
from workflows.batch.run import Begun, Ended, Event
from workflows.batch.scene_tasks import SceneFailedError, SceneTasks, StoppedError, is_worth_it

BATCH = Batch(BatchOptions("/data/in", "/data/out"))
MANY = 20
"""Seconds after which a thread of a test hangs."""


@dataclass
class FakeRun:
    """A task run in a thread, tried again as Prefect would."""

    scene: str
    thread: threading.Thread
    result: Any = None
    error: Exception | None = None
    calls: int = 0

    def wait(self) -> None:
        self.thread.join(MANY)
        assert not self.thread.is_alive()


@dataclass
class FakeTask:
    """Stands for a task of Prefect's with one retry."""

    call: Callable[[str, str], str | None]
    runs: list[FakeRun] = field(default_factory=list)

    def submit(self, *, scene: str, key: str) -> FakeRun:
        run = FakeRun(scene, threading.Thread(target=lambda: self._do(run, key), daemon=True))
        self.runs.append(run)
        run.thread.start()
        return run

    def _do(self, run: FakeRun, key: str) -> None:
        while run.calls < 2:
            run.calls += 1
            try:
                run.result, run.error = self.call(run.scene, key), None
                return
            except Exception as error:
                run.error = error
            if not is_worth_it(self, run, _State(run.error)):
                return


@dataclass
class _State:
    error: Exception

    def result(self) -> object:
        raise self.error


def scene(name: str, status: Any = "done", reason: Any = None) -> SceneOutcome:
    """What became of a scene; its key is its name."""
    product = f"{name}_SR" if status == "done" else None
    return SceneOutcome(
        name, f"{name}.tif", status, name, reason=reason, message=f"{name} {status}",
        attempts=1, product=product,
    )  # fmt: skip


def run_of(*scenes: SceneOutcome, **changes: Any) -> RunSummary:
    """A run over scenes."""
    moment = "2026-11-26T02:00:00+00:00"
    run = RunSummary("20261126T020000Z-3f2a", moment, moment, 1.0, "/data/in", "/data/out", scenes)
    return replace(run, **changes)


@dataclass
class Followed:
    """A batch whose events are made up."""

    tasks: SceneTasks
    task: FakeTask
    told: list[Event]
    again: list[str] = field(default_factory=list)
    """Names of what was made alone, in order."""


@pytest.fixture
def followed(monkeypatch: pytest.MonkeyPatch) -> Followed:
    made: list[FakeTask] = []
    told: list[Event] = []

    def as_task(call: Callable[[str, str], str | None]) -> FakeTask:
        made.append(FakeTask(call))
        return made[0]

    tasks = SceneTasks(BATCH, told.append, as_task)
    found = Followed(tasks, made[0], told)
    busy = threading.Lock()

    def run_batch(
        batch: Batch, _: object, *, settled: bool, only_paths: Sequence[Path]
    ) -> RunSummary:
        assert busy.acquire(blocking=False), "two runs over one outbox"
        try:
            time.sleep(0.02)
            (path,) = only_paths
            assert batch is BATCH
            assert settled
            found.again.append(path.relative_to("/data/in").stem)
            return run_of(scene(path.stem))
        finally:
            busy.release()

    monkeypatch.setattr(scene_tasks, "run_batch", run_batch)
    return found


def test_a_task_run_lasts_as_long_as_its_scene(followed: Followed) -> None:
    tasks, task = followed.tasks, followed.task
    with tasks:
        tasks(Begun("a", "a", 9))
        tasks(Begun("b", "b", 9))
        tasks(Ended(scene("b")))
        task.runs[1].wait()
        assert task.runs[0].thread.is_alive()
        tasks(Ended(scene("a")))
        summary = tasks.finish(run_of(scene("a"), scene("b")))
    assert [run.result for run in task.runs] == ["a_SR", "b_SR"]
    assert [run.calls for run in task.runs] == [1, 1]
    assert summary == run_of(scene("a"), scene("b"))
    assert [type(event) for event in followed.told] == [Begun, Begun, Ended, Ended]


def test_what_failed_in_processing_is_tried_again_alone_and_after_all_others(
    followed: Followed,
) -> None:
    tasks = followed.tasks
    failed = [scene(name, "failed", "failed") for name in "abc"]
    with tasks:
        for one in (*failed, scene("d")):
            tasks(Begun(one.key, one.scene, 1))
            tasks(Ended(one))
        time.sleep(0.1)
        assert followed.again == []  # the batch goes on
        summary = tasks.finish(run_of(*failed, scene("d")))
    assert sorted(followed.again) == ["a", "b", "c"]
    assert [one.status for one in summary.scenes] == ["done"] * 4
    assert [run.result for run in followed.task.runs] == ["a_SR", "b_SR", "c_SR", "d_SR"]
    assert summary.seconds > 1.0


@pytest.mark.parametrize("reason", ["unreadable", "incomplete", "unsupported", "hostile"])
def test_what_is_wrong_with_the_scene_itself_is_not_tried_again(
    followed: Followed, reason: str
) -> None:
    lost = scene("a", "failed", reason)
    with followed.tasks:
        followed.tasks(Ended(lost))  # it never began: it could not be opened
        summary = followed.tasks.finish(run_of(lost))
    (run,) = followed.task.runs
    assert (run.calls, followed.again) == (1, [])
    assert isinstance(run.error, SceneFailedError)
    assert summary.scenes == (lost,)


def test_quarantined_scenes_are_not_tried_again(followed: Followed) -> None:
    with followed.tasks:
        followed.tasks(Ended(scene("a", "quarantined", "failed")))
        followed.tasks.finish(run_of())
    assert followed.again == []


def test_skipped_scenes_have_no_task_run(followed: Followed) -> None:
    with followed.tasks:
        followed.tasks(Ended(scene("a", "skipped")))
        summary = followed.tasks.finish(run_of(scene("a", "skipped")))
    assert followed.task.runs == []
    assert summary.scenes == (scene("a", "skipped"),)


def test_two_scenes_of_one_key_do_not_wait_for_each_other(followed: Followed) -> None:
    with followed.tasks:
        followed.tasks(Begun("a", "a", 1))
        followed.tasks(Begun("a", "a", 1))
        followed.tasks(Ended(scene("a")))
        followed.tasks(Ended(scene("a")))
        followed.tasks.finish(run_of())
    assert [run.result for run in followed.task.runs] == ["a_SR"]


def test_no_task_run_outlives_a_batch_that_ends_early(followed: Followed) -> None:
    def end_early() -> None:
        with followed.tasks:
            followed.tasks(Begun("a", "a", 1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        end_early()
    (run,) = followed.task.runs
    run.wait()
    assert isinstance(run.error, StoppedError)
    assert run.calls == 1


def test_no_task_run_outlives_an_interrupted_batch(followed: Followed) -> None:
    with followed.tasks:
        followed.tasks(Begun("a", "a", 1))
        summary = followed.tasks.finish(run_of(interrupted=True))
    assert isinstance(followed.task.runs[0].error, StoppedError)
    assert summary.interrupted


def test_a_server_that_is_away_does_not_stop_the_batch(
    followed: Followed, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: str) -> FakeRun:
        raise ConnectionError("server is away")

    monkeypatch.setattr(followed.task, "submit", refuse)
    with followed.tasks:
        followed.tasks(Begun("a", "a", 1))
        followed.tasks(Ended(scene("a")))
        assert followed.tasks.finish(run_of(scene("a"))).scenes == (scene("a"),)
    assert "Prefect takes no task run for a (server is away)" in caplog.text


def test_a_task_runs_error_has_no_secrets() -> None:
    lost = replace(
        scene("a", "failed", "failed"), message="https://ann:qwertz@host/a.tif?sig=qwertz"
    )
    assert str(SceneFailedError(lost)) == "https://***@host/a.tif?***"


def test_without_prefect_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("prefect", "prefect.client", "prefect.client.orchestration"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match=r"pip install 'espcn\[prefect\]'"):
        nightly.serve("0 2 * * *", Path("night.yaml"))


def test_the_module_has_the_flow_and_nothing_else_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'day'"):
        _ = nightly.day


# ----------------------------------------------------------------------------------- a real server


@dataclass
class Server:
    """A Prefect server on loopback."""

    url: str
    environment: dict[str, str]

    def ask(self, path: str, **body: object) -> Any:
        """POST to its API; the answer. A server whose database is busy is asked again."""
        request = urllib.request.Request(
            f"{self.url}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        until = time.monotonic() + PATIENCE
        while True:
            try:
                with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                if error.code != 503 or time.monotonic() > until:
                    raise
            time.sleep(1)

    def is_healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def nights(self) -> list[Any]:
        """Flow runs that are over, in order."""
        over = {"state": {"type": {"any_": ["COMPLETED", "FAILED", "CRASHED", "CANCELLED"]}}}
        found = self.ask("/flow_runs/filter", sort="START_TIME_ASC", flow_runs=over)
        assert isinstance(found, list)
        return found

    def night(self, identity: str) -> Any:
        """A flow run if it is over, else None."""
        return next((run for run in self.nights() if run["id"] == identity), None)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def stop(process: subprocess.Popen[bytes]) -> None:
    """End what we have started: by its own number, and its process group if it does not listen."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    pytest.importorskip("prefect", reason="needs prefect, of the extra [prefect]")
    port, home = free_port(), tmp_path / "prefect"
    home.mkdir()
    url = f"http://127.0.0.1:{port}/api"
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT")}
    environment = kept | {
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": url,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PYTHONPATH": str(Path(__file__).parents[1]),
        "PREFECT_RUNNER_POLL_FREQUENCY": "2",
        "no_proxy": "127.0.0.1",
    }
    with (home / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1",
             "--port", str(port)],
            env=environment, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        found = Server(url, environment)
        patiently(found.is_healthy, process, home / "server.log")
        yield found
    finally:
        stop(process)


def patiently(
    fact: Callable[[], object], process: subprocess.Popen[bytes], log: Path, seconds: float = 180
) -> None:
    """Wait for a fact as long as a process lives; its log is shown where that is in vain."""
    deadline = time.monotonic() + seconds
    while not fact():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.5)


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    """Two good scenes, one whose product cannot land and one that cannot be read."""
    inbox, outbox = tmp_path / "inbox", tmp_path / "outbox"
    inbox.mkdir()
    for number, name in enumerate(("one", "two", "stuck")):
        write_tif(inbox / f"{name}.tif", texture((1, 100, 90), seed=number))
    (outbox / "stuck_SR").mkdir(parents=True)
    (outbox / ".espcn").mkdir()
    (outbox / ".espcn" / "replaced").touch()  # where what stands in the way would go
    (inbox / "broken.tif").write_bytes(b"II*\0 no TIFF")
    return inbox


@pytest.mark.timeout(600)  # the hour may be a minute away, and Prefect starts slowly
def test_a_server_strikes_the_hour_and_shows_every_scene(
    server: Server, inbox: Path, tmp_path: Path
) -> None:
    config = tmp_path / "night.yaml"
    outbox = tmp_path / "outbox"
    config.write_text(
        f"batch: {{inbox: {inbox}, outbox: {outbox}}}\n"
        "schedule: {settle: 0}\ncluster: {workers: 0, threads: 2}\n"
    )
    code = (
        "from pathlib import Path; from workflows import nightly;"
        f"nightly.serve('* * * * *', Path({str(config)!r}), retry_delay=0.1)"
    )
    log = tmp_path / "serve.log"
    with log.open("wb") as file:
        serving = subprocess.Popen(
            [sys.executable, "-c", code],
            env=server.environment, stdout=file, stderr=file, start_new_session=True, cwd=tmp_path,
        )  # fmt: skip
    try:
        patiently(lambda: len(server.nights()) >= 1, serving, log)
        check_first_night(server, server.nights()[0], log)
        for name in ("stuck", "broken"):
            (inbox / f"{name}.tif").unlink()
        (deployment,) = server.ask("/deployments/filter")
        asked_for = server.ask(f"/deployments/{deployment['id']}/create_flow_run")["id"]
        patiently(lambda: server.night(asked_for) is not None, serving, log)
        last = server.night(asked_for)  # stopping might call it cancelled
    finally:
        stop(serving)
    assert serving.returncode == 0, log.read_text()
    assert last["state"]["message"] == "0 done, 2 skipped, 0 failed, 0 quarantined", log.read_text()
    assert runs_of(server, last) == {}
    (deployment,) = server.ask("/deployments/filter")
    assert [each["active"] for each in deployment["schedules"]] == [True]  # for the next start
    assert not deployment["paused"]
    assert {item.parent.name for item in outbox.glob("*_SR/*.json")} == {"one_SR", "two_SR"}


def check_first_night(server: Server, first: Any, log: Path) -> None:
    """Task runs, retries, the table and the log of a night in which two of four scenes fail."""
    said = log.read_text()
    assert first["auto_scheduled"], said
    assert first["state_type"] == "FAILED", said
    assert first["state"]["message"] == "2 done, 0 skipped, 2 failed, 0 quarantined", said
    assert runs_of(server, first) == {
        "one": ("COMPLETED", 1),
        "two": ("COMPLETED", 1),
        "stuck": ("FAILED", 2),
        "broken.tif": ("FAILED", 1),
    }
    mine = {"id": {"any_": [first["id"]]}}
    (table,) = server.ask("/artifacts/filter", flow_runs=mine)
    assert (table["type"], table["key"]) == ("table", nightly.ARTIFACT)
    rows = {row["scene"]: row for row in json.loads(table["data"])}
    assert rows["one"]["status"] == "done"
    assert rows["one"]["product"] == "one_SR"
    assert (rows["broken.tif"]["status"], rows["broken.tif"]["reason"]) == ("failed", "unreadable")
    assert "is the name of something else" in rows["stuck"]["message"]
    logs = server.ask("/logs/filter", logs={"flow_run_id": {"any_": [first["id"]]}})
    lines = [line["message"] for line in logs]
    assert any("4 of 4 scenes to make" in line for line in lines)
    assert said.count("4 of 4 scenes to make") == 1


def runs_of(server: Server, night: Any) -> dict[str, tuple[str, int]]:
    """State and number of tries of every task run of a flow run, by name."""
    found = server.ask("/task_runs/filter", flow_runs={"id": {"any_": [night["id"]]}})
    return {run["name"]: (run["state_type"], run["run_count"]) for run in found}


@pytest.mark.parametrize(
    ("url", "cron", "said"),
    [
        ("", "0 2 * *", "--serve '0 2 * *' is no cron schedule; write minute, hour"),
        ("", "0 2 * * *", "set PREFECT_API_URL="),
        ("http://127.0.0.1:9/api", "0 2 * * *", "no Prefect server answers at http://127.0.0.1:9"),
    ],
)
def test_a_schedule_or_a_server_that_is_none_is_an_error_in_one_line(
    tmp_path: Path, url: str, cron: str, said: str
) -> None:
    pytest.importorskip("prefect", reason="needs prefect, of the extra [prefect]")
    code = (
        "import sys; from pathlib import Path; from pipeline.errors import ConfigError;"
        "from workflows import nightly\n"
        f"try: nightly.serve({cron!r}, Path('night.yaml'))\n"
        "except ConfigError as error: sys.exit(str(error))"
    )
    environment = os.environ | {
        "PREFECT_HOME": str(tmp_path),
        "PREFECT_API_URL": url,
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }
    ran = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True,
        timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert ran.returncode == 1
    assert said in ran.stderr.splitlines()[-1]
