"""Tiles on Dask: real schedulers and workers in processes of their own, and losing them."""

from __future__ import annotations

import json
import os
import pickle
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import pytest
import runs
from distributed import Client, LocalCluster
from farms import process

import espcn
import pipeline.crew
from pipeline.cluster import open_cluster
from pipeline.errors import ConfigError, TileError
from pipeline.options import ClusterOptions
from pipeline.stage import stage_of
from pipeline.task import Call
from workflows import upscale as story
from workflows.upscale import Progress, Started

TILES = 16
PYTHON = (sys.executable, "-m")


@dataclass
class Farm:
    """A scheduler and workers on loopback, each a process."""

    address: str
    scheduler: subprocess.Popen[bytes]
    workers: list[subprocess.Popen[bytes]]

    def options(self, **changes: object) -> ClusterOptions:
        return replace(ClusterOptions(self.address, timeout=30), **changes)


@contextmanager
def farm(folder: Path, workers: int) -> Iterator[Farm]:
    with ExitStack() as stack:
        file = folder / "scheduler.json"
        scheduler = stack.enter_context(
            process(
                folder / "scheduler.log", *PYTHON, "distributed.cli.dask_scheduler",
                "--host", "127.0.0.1", "--port", "0", "--dashboard-address", "127.0.0.1:0",
                "--scheduler-file", str(file),
            )
        )  # fmt: skip
        # it is there for a moment before it is written
        runs.wait_until(
            lambda: file.exists() and file.read_text().rstrip().endswith("}"), alive=scheduler
        )
        address = json.loads(file.read_text())["address"]
        crew = [
            stack.enter_context(
                process(
                    folder / f"worker{i}.log", *PYTHON, "distributed.cli.dask_worker", address,
                    "--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1",
                    "--death-timeout", "10", "--local-directory", str(folder / f"space{i}"),
                )
            )
            for i in range(workers)
        ]  # fmt: skip
        if crew:
            with Client(address, set_as_default=False) as client:
                client.wait_for_workers(workers, timeout=runs.PATIENCE)
        yield Farm(address, scheduler, crew)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return runs.write_scene(tmp_path_factory.mktemp("scene") / "scene.tif", 1000, 1010)


@pytest.fixture(scope="module")
def expected(scene: Path) -> str:
    """sha256 of what threads of this process make."""
    target = scene.with_name("expected.tif")
    story.upscale(runs.make_job(scene, target))
    return runs.hash_of(target)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    with farm(tmp_path_factory.mktemp("farm"), 2) as found:
        yield found


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles that take long enough to be interrupted."""
    monkeypatch.setattr(espcn, "load", espcn.load)  # put back at the end
    runs.slow_down(0.1)


def test_a_running_scheduler_makes_the_same_bytes(
    scene: Path, expected: str, two: Farm, tmp_path: Path
) -> None:
    target = tmp_path / "out.tif"
    outcome = story.upscale(runs.make_job(scene, target, cluster=two.options()))
    assert runs.hash_of(target) == expected
    assert outcome.shape.total_threads == 2
    assert not stage_of(target).exists()


def test_no_pixel_travels(scene: Path, two: Farm, tmp_path: Path) -> None:
    target = tmp_path / "out.tif"
    with Client(two.address, set_as_default=False) as client:
        client.run_on_scheduler(watch_results)
        outcome = story.upscale(runs.make_job(scene, target, cluster=two.options()))
        sizes = client.run_on_scheduler(seen_results)
        moved = client.run(bytes_moved)
    assert len(sizes) == TILES
    assert max(sizes) < 1500
    assert sum(moved.values()) == 0
    call = Call(0, 1, ((str(stage_of(target)), "0" * 64),))
    assert len(pickle.dumps((call, outcome.prepared.upscaler))) < 1500
    assert max(len(pickle.dumps((receipt,))) for receipt in outcome.receipts) < 1500


def watch_results(dask_scheduler: object) -> None:
    """On the scheduler: note the size of every result."""
    from distributed.diagnostics.plugin import SchedulerPlugin

    class Watch(SchedulerPlugin):
        sizes: list[int] = []  # noqa: RUF012 - one watch only

        def transition(self, _key: str, _start: str, finish: str, *_: object, **more: int) -> None:
            if finish == "memory":
                self.sizes.append(more["nbytes"])

    dask_scheduler.add_plugin(Watch(), name="watch")  # type: ignore[attr-defined]


def seen_results(dask_scheduler: object) -> list[int]:
    """On the scheduler: what was noted."""
    return list(dask_scheduler.plugins["watch"].sizes)  # type: ignore[attr-defined]


def bytes_moved(dask_worker: object) -> int:
    """On a worker: bytes fetched from other workers."""
    return sum(entry["total"] for entry in dask_worker.transfer_incoming_log)  # type: ignore[attr-defined]


def test_a_worker_loads_the_model_once(scene: Path, two: Farm, tmp_path: Path) -> None:
    for name in ("a.tif", "b.tif"):
        story.upscale(runs.make_job(scene, tmp_path / name, cluster=two.options()))
    with Client(two.address, set_as_default=False) as client:
        loads = client.run(models_loaded)
    assert list(loads.values()) == [1, 1]


def models_loaded() -> int:
    """On a worker: how many sessions were made."""
    from espcn.upscaler import _open_session

    return _open_session.cache_info().misses


@pytest.mark.usefixtures("slow")
def test_tiles_in_flight_follow_workers_that_join_late(
    scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline.crew, "LOOK", 0.1)
    with LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        processes=False,
        dashboard_address="127.0.0.1:0",
        worker_dashboard_address="127.0.0.1:0",
    ) as cluster:
        flight = []

        def watch(event: object) -> None:
            if isinstance(event, Started):
                cluster.scale(3)
            flight.append(len(cluster.scheduler.tasks))

        job = runs.make_job(scene, tmp_path / "out.tif")
        story.upscale(replace(job, cluster=ClusterOptions(cluster.scheduler_address)), watch)
    assert max(flight) > 2


@pytest.mark.usefixtures("slow")
def test_losing_one_of_two_workers_does_not_stop_a_run(
    scene: Path, expected: str, tmp_path: Path
) -> None:
    target = tmp_path / "out.tif"
    with farm(tmp_path, 2) as two:

        def kill_one(event: object) -> None:
            if isinstance(event, Progress) and event.done >= 4:
                two.workers[0].kill()

        outcome = story.upscale(runs.make_job(scene, target, cluster=two.options()), kill_one)
        assert two.workers[0].wait(10) == -9
    assert len(outcome.receipts) == TILES
    assert runs.hash_of(target) == expected


@pytest.mark.usefixtures("slow")
def test_a_run_whose_workers_are_all_gone_says_so(
    scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline.crew, "LOOK", 0.5)
    monkeypatch.setattr(pipeline.crew, "ALONE", 1.0)
    with farm(tmp_path, 1) as one:

        def kill_it(event: object) -> None:
            if isinstance(event, Progress) and event.done >= 2:
                one.workers[0].kill()

        job = runs.make_job(scene, tmp_path / "out.tif", cluster=one.options())
        with pytest.raises(TileError, match="all workers are gone"):
            story.upscale(job, kill_it)
    assert not (tmp_path / "out.tif").exists()


@pytest.mark.usefixtures("slow")
def test_a_run_whose_scheduler_is_killed_says_so_at_once_and_goes_on_elsewhere(
    scene: Path, expected: str, tmp_path: Path
) -> None:
    target = tmp_path / "out.tif"
    with farm(tmp_path, 1) as one:
        killed = 0.0

        def kill_it(event: object) -> None:
            nonlocal killed
            if isinstance(event, Progress) and event.done >= 3 and not killed:
                one.scheduler.kill()
                killed = time.monotonic()

        job = runs.make_job(scene, target, cluster=one.options())
        with pytest.raises(TileError, match="connection to the Dask scheduler was lost"):
            story.upscale(job, kill_it)
        assert time.monotonic() - killed < 20
    assert not target.exists()
    outcome = story.upscale(runs.make_job(scene, target))
    assert outcome.resumed >= 3
    assert runs.hash_of(target) == expected


def test_a_tile_that_always_kills_its_process_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(espcn, "load", espcn.load)  # put back at the end
    runs.slow_down(0.0, runs.Deadly)
    scene = runs.write_scene(tmp_path / "small.tif", 300, 300)
    job = runs.make_job(scene, tmp_path / "out.tif")
    options = ClusterOptions(workers=1, threads=1, attempts=2)
    with pytest.raises(TileError, match="crashed, alone as well") as caught:
        story.upscale(replace(job, cluster=options))
    assert caught.value.tile is not None
    assert not (tmp_path / "out.tif").exists()


def test_a_cluster_class_is_started_by_its_import_path(
    scene: Path, expected: str, tmp_path: Path
) -> None:
    target = tmp_path / "out.tif"
    options = ClusterOptions(
        "distributed.LocalCluster",
        options={
            "n_workers": 1,
            "threads_per_worker": 2,
            "host": "127.0.0.1",
            "dashboard_address": "127.0.0.1:0",
        },
        timeout=30,
    )
    outcome = story.upscale(runs.make_job(scene, target, cluster=options))
    assert runs.hash_of(target) == expected
    assert outcome.shape.threads == 2


@pytest.mark.parametrize("workers", [0, 2])
def test_a_local_cluster_listens_on_loopback_only(workers: int) -> None:
    before = listening()
    with open_cluster(ClusterOptions(workers=workers, threads=1)) as (_, shape):
        assert (shape.workers, shape.threads) == (max(workers, 1), 1)
        opened = listening() - before
    assert {host for host, _ in opened} == {"127.0.0.1"}
    assert not listening() - before


def listening() -> set[tuple[str, int]]:
    """(host, port) on which this process and its children listen."""
    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    sockets = [s for p in family for s in p.net_connections("inet")]
    return {tuple(s.laddr) for s in sockets if s.status == psutil.CONN_LISTEN}


def test_a_local_worker_has_one_thread_per_pool() -> None:
    with open_cluster(ClusterOptions(workers=1, threads=2)) as (client, _):
        (environment,) = client.run(environ).values()
    pools = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "GDAL_NUM_THREADS")
    assert [environment[name] for name in pools] == ["1"] * 4


def environ() -> dict[str, str]:
    """On a worker: its environment."""
    return dict(os.environ)


@pytest.mark.parametrize(
    ("cluster", "reason"),
    [
        ("tcp://127.0.0.1:1", "no Dask scheduler answers"),
        ("tcp://host.invalid:8786", "no Dask scheduler answers"),
        ("tls://127.0.0.1:1", "no Dask scheduler answers"),
        ("http://127.0.0.1:1", "no Dask scheduler answers"),
        ("tcp://", "no Dask scheduler answers"),
        ("nowhere.Cluster", "nor an importable class"),
        ("distributed.NoSuchCluster", "nor an importable class"),
        ("collections.OrderedDict", "no class of Dask clusters"),
        ("os.getcwd", "no class of Dask clusters"),
        ("nonsense", "nor an importable class"),
        ("..nonsense", "nor an importable class"),
    ],
)
def test_a_cluster_that_cannot_be_had_is_a_configuration_error(cluster: str, reason: str) -> None:
    started = time.monotonic()
    with pytest.raises(ConfigError, match=reason), open_cluster(ClusterOptions(cluster, timeout=1)):
        pass
    assert time.monotonic() - started < 5


def test_a_server_that_is_no_scheduler_is_a_configuration_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = f"tcp://127.0.0.1:{mute.getsockname()[1]}"
        options = ClusterOptions(address, timeout=1)
        with pytest.raises(ConfigError, match="no Dask scheduler answers"), open_cluster(options):
            pass


def test_a_scheduler_without_workers_is_a_configuration_error(tmp_path: Path) -> None:
    with (
        farm(tmp_path, 0) as none,
        pytest.raises(ConfigError, match="has had no worker for 1 s"),
        open_cluster(none.options(timeout=1.0)),
    ):
        pass
