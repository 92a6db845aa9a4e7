"""Batches over schedulers and workers that are processes of their own, or hosts; and losing them.

    python -c "import test_batch_cluster; test_batch_cluster.slow_command()" batch ...

is the command line with networks that take long enough to be interrupted.
"""

from __future__ import annotations

import json
import socket
import ssl
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import dask
import farms
import pytest
import runs
import yaml
from distributed import Client, LocalCluster
from distributed.batched import BatchedSend
from distributed.protocol import dumps
from farms import Farm, farm
from runs import Ran
from scene_files_s2 import Safe
from test_batch import batch_of, scene, statuses

import pipeline.crew
from pipeline.cluster import open_cluster
from pipeline.errors import ConfigError, TileError
from pipeline.options import ClusterOptions
from pipeline.scenes.found import Found
from pipeline.scenes.scene import SceneOptions
from pipeline.sinks import assembly
from workflows.batch import opening
from workflows.batch.job import Batch
from workflows.batch.options import ModelsOptions
from workflows.batch.run import Event, Tiled, run_batch
from workflows.cli import main
from workflows.config import make_batch, read_settings

CONFIGS = Path(__file__).resolve().parents[1] / "configs" / "cluster"
SCENES = ("s0.tif", "s1.tif", "s2.tif")
TILES = 12
"""Of all scenes."""
SLOW = 0.1
"""Seconds that a band of a tile takes more."""
FEW_KB = 8192


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an inbox, and an outbox that threads of this process made of it."""
    folder = tmp_path_factory.mktemp("home")
    for seed, name in enumerate(SCENES):
        scene(folder, name, 190, seed=seed)
    summary = run_batch(small(folder, folder / "out", ClusterOptions(workers=0, threads=2)))
    assert sum(one.tiles for one in summary.scenes) == TILES
    return folder


def small(home: Path, outbox: Path, cluster: ClusterOptions) -> Batch:
    """The inbox of `home`, four tiles a scene, into an outbox over a cluster."""
    batch = batch_of(home, cluster=cluster, models=ModelsOptions({"*": "general-x4"}))
    return replace(batch, batch=replace(batch.batch, outbox=str(outbox)))


def over(running: Farm, **changes: Any) -> ClusterOptions:
    return ClusterOptions(running.address, timeout=30, **changes)


def products(outbox: Path) -> dict[str, str]:
    """Every file of every product, but for the time at which it was made."""
    found = {}
    for file in sorted(outbox.glob("*_SR/*")):
        name = str(file.relative_to(outbox))
        if file.name.endswith("_SR.json"):
            item = json.loads(file.read_text())
            for when in ("created", "updated", "processing:datetime"):
                del item["properties"][when]
            found[name] = json.dumps(item)
        elif file.name == "checksums.sha256":
            lines = file.read_text().splitlines()
            found[name] = "\n".join(line for line in lines if not line.endswith("_SR.json"))
        else:
            found[name] = runs.hash_of(file)
    return found


def assert_same(outbox: Path, home: Path) -> None:
    """Nothing is missing, nothing differs, nothing is left over."""
    made, expected = products(outbox), products(home / "out")
    assert made.keys() == expected.keys()
    assert {name for name in made if made[name] != expected[name]} == set()
    assert not list((outbox / ".espcn/work").iterdir())


def open_slowly(batch: Batch, found: Found, key: str, work: Path, apart: str) -> opening.Opened:
    """Stands for `open_and_prepare`, with networks that take their time."""
    opened = opening.open_and_prepare(batch, found, key, work, apart)
    slow = tuple(
        replace(part, prepared=replace(part.prepared, upscaler=runs.Slow(upscaler, SLOW)))
        for part in opened.parts
        for upscaler in (part.prepared.upscaler,)
    )
    return replace(opened, parts=slow)


@pytest.fixture
def slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles that take long enough for something to happen meanwhile."""
    monkeypatch.setattr(opening, "open_and_prepare", open_slowly)
    monkeypatch.setattr(pipeline.crew, "LOOK", 0.3)


def slow_command() -> None:
    """The command line of `espcn`, likewise."""
    opening.open_and_prepare = open_slowly
    main()


# ---------------------------------------------------------------------------------------- TLS


@pytest.fixture(scope="module")
def trusted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Certificates of all roles."""
    return farms.certificates(tmp_path_factory.mktemp("trusted") / "files")


@pytest.fixture(scope="module")
def secure(trusted: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    """A scheduler and a worker with its nanny, each a process, that talk over TLS."""
    with farm(tmp_path_factory.mktemp("secure"), security=trusted) as made:
        made.hire("w0", "--nanny")
        yield made


def test_a_batch_over_tls_by_a_cluster_file(
    home: Path, secure: Farm, trusted: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "tls.yaml"
    options = {"cluster": secure.address, "security": farms.of_client(trusted), "timeout": 30}
    file.write_text(yaml.safe_dump(options))
    cluster = cluster_of(file)
    assert cluster == over(secure, security=farms.of_client(trusted))
    summary = run_batch(small(home, tmp_path / "out", cluster))
    assert set(statuses(summary).values()) == {"done"}
    assert_same(tmp_path / "out", home)


def test_every_server_talks_tls_on_loopback_and_presents_its_own_certificate(
    secure: Farm, trusted: dict[str, str]
) -> None:
    with open_cluster(over(secure, security=farms.of_client(trusted))) as (client, _):
        ((worker, facts),) = client.scheduler_info(n_workers=-1)["workers"].items()
    owner = {secure.address: "scheduler", worker: "worker", facts["nanny"]: "worker"}
    assert all(address.startswith("tls://127.0.0.1:") for address in owner)
    for address, role in owner.items():
        certificate = Path(trusted[f"tls_{role}_cert"]).read_text()
        assert ssl.get_server_certificate(host_and_port(address)).split() == certificate.split()
    pids = (secure.scheduler.pid, secure.workers["w0"].pid)
    opened = {one for pid in pids for one in farms.listening(pid)}
    assert opened >= {address.removeprefix("tls://") for address in owner}
    assert {address.split(":")[0] for address in opened} == {"127.0.0.1"}


def host_and_port(address: str) -> tuple[str, int]:
    host, port = address.rpartition("/")[2].split(":")
    return host, int(port)


def test_certificates_of_dask_s_own_configuration_are_taken(
    secure: Farm, trusted: dict[str, str]
) -> None:
    own = {
        "distributed.comm.require-encryption": True,
        "distributed.comm.tls.ca-file": trusted["tls_ca_file"],
        "distributed.comm.tls.client.cert": trusted["tls_client_cert"],
        "distributed.comm.tls.client.key": trusted["tls_client_key"],
    }
    with dask.config.set(own), open_cluster(over(secure)) as (client, shape):
        assert client.security.require_encryption
        assert shape.workers == 1


def test_who_has_no_certificate_or_another_authority_s_is_refused(
    secure: Farm, trusted: dict[str, str], tmp_path: Path
) -> None:
    stranger = farms.of_client(farms.certificates(tmp_path / "stranger"))
    known = farms.of_client(trusted)
    mixed = known | {name: stranger[name] for name in stranger if "client" in name}
    for security, said in (
        ({}, "TLS takes certificates; see cluster.security"),
        (stranger, "TLS certificate does not match"),
        (mixed, "no Dask scheduler answers"),
    ):
        begun = time.monotonic()
        options = replace(over(secure, security=security), timeout=3)
        with pytest.raises(ConfigError, match=said) as caught, open_cluster(options):
            pass
        assert "\n" not in str(caught.value)
        assert time.monotonic() - begun < 10
    plain = replace(over(secure), cluster=secure.address.replace("tls", "tcp"), timeout=1)
    for options in (plain, replace(plain, security=known)):
        with pytest.raises(ConfigError, match="no Dask scheduler answers"), open_cluster(options):
            pass


def test_what_is_wrong_with_certificates_is_said(trusted: dict[str, str], tmp_path: Path) -> None:
    known, absent = farms.of_client(trusted), str(tmp_path / "absent.pem")
    for security, said in (
        (known | {"tls_ca_file": absent}, f"{absent}, which is to be used for TLS, is no file"),
        (known | {"tls_client_key": absent}, f"{absent}, which is to be used for TLS, is no file"),
        (
            known | {"tls_client_key": trusted["tls_worker_key"]},
            "cannot be used for TLS .*MISMATCH",
        ),
        (known | {"tls_client_crt": absent}, "tls_client_crt.*it takes .*tls_client_cert"),
        ({"tls_ca_file": known["tls_ca_file"]}, "TLS takes certificates"),
    ):
        options = ClusterOptions("tls://127.0.0.1:1", security=security, timeout=1)
        with pytest.raises(ConfigError, match=said), open_cluster(options):
            pass
    for cluster, said in (
        ("local", "cluster.security is for the address of a scheduler"),
        ("distributed.LocalCluster", "cannot be started with these options"),
    ):
        with (
            pytest.raises(ConfigError, match=said),
            open_cluster(ClusterOptions(cluster, security=known, timeout=1)),
        ):
            pass


def test_a_cluster_class_is_given_the_certificates(trusted: dict[str, str]) -> None:
    options = ClusterOptions(
        "distributed.LocalCluster",
        options={"n_workers": 1, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"},
        security=trusted,
    )
    with open_cluster(options) as (client, _):
        addresses = client.scheduler_info(n_workers=-1)["workers"]
        assert [address[:6] for address in (client.scheduler.address, *addresses)] == ["tls://"] * 2


# --------------------------------------------------------------------------------- two hosts


def test_two_hosts_that_share_a_directory(
    home: Path, trusted: dict[str, str], tmp_path: Path
) -> None:
    with (
        farms.two_hosts() as (first, second),
        farm(tmp_path / "farm", host="198.51.100.1", within=first, security=trusted) as far,
    ):
        worker = far.hire("w0", host="198.51.100.2", within=second)
        options = {"cluster": far.address, "security": farms.of_client(trusted), "timeout": 30}
        file, said = tmp_path / "batch.yaml", tmp_path / "said"
        file.write_text(yaml.safe_dump({"cluster": options} | settings_of(home)))
        code = "from workflows.cli import main; main()"
        command = ("batch", str(home / "in"), str(tmp_path / "out"), "--config", str(file))
        with farms.process(said, *first, sys.executable, "-c", code, *command) as driver:
            runs.wait_until(lambda: "198.51.100.2" in " ".join(farms.listening(worker.pid)))
            opened = [farms.listening(one.pid) for one in (far.scheduler, worker, driver)]
            assert driver.wait(runs.PATIENCE) == 0, said.read_text()
        hosts = [{address.split(":")[0] for address in one} for one in opened]
        assert hosts == [{"198.51.100.1"}, {"198.51.100.2"}, set()]
        for host in ("198.51.100.1", "198.51.100.2"):
            assert not reachable(host, host_and_port(far.address)[1]), "they are on this host"
    assert_same(tmp_path / "out", home)


def settings_of(home: Path) -> dict[str, object]:
    """What `small` is, as a configuration file says it."""
    batch = small(home, home / "out", ClusterOptions())
    return {
        "scenes": {"families": list(batch.scenes.families)},
        "models": {"rules": batch.models.rules},
        "tiling": {"tile": batch.tiling.tile},
        "checks": {"bias": batch.checks.bias, "consistency": batch.checks.consistency},
    }


def reachable(host: str, port: int) -> bool:
    try:
        with closing(socket.create_connection((host, port), timeout=0.5)):
            return True
    except OSError:
        return False


# ----------------------------------------------------------------------------- what travels


def test_no_task_is_told_more_than_a_few_kilobytes(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graphs, send = list[int](), BatchedSend.send

    def weigh(self: Any, *messages: Any) -> None:
        for message in messages:
            if message["op"].startswith("update-graph"):
                graphs.append(sum(map(len, dumps(message))))
        send(self, *messages)

    monkeypatch.setattr(BatchedSend, "send", weigh)
    with (
        farm(tmp_path / "farm", "w0", "w1") as two,
        Client(two.address, set_as_default=False) as client,
    ):
        client.run_on_scheduler(farms.watch)
        run_batch(small(home, tmp_path / "home", over(two)))
        many = batch_of(tmp_path, cluster=over(two), models=ModelsOptions({"*": "bicubic"}))
        Safe("L2A", size=120).write(tmp_path / "in")
        (outcome,) = run_batch(replace(many, scenes=SceneOptions())).scenes
        assert (outcome.status, outcome.tiles) == ("done", 5), "five images make a product"
        done, told = client.run_on_scheduler(farms.seen)
        moved = client.run(farms.fetched)
    kinds = {key.partition("-")[0] for key, _ in told}
    assert kinds == {"tile", "publish", "finish"}
    assert max(size for _, size in told) < FEW_KB
    assert max(size for *_, size in done) < FEW_KB
    # a busy scheduler may move a task that waits, and tell two workers of it
    assert sorted({key for key, _ in told}) == sorted(key for key, *_ in done)
    assert sum(graphs) < FEW_KB * len(told)
    assert sum(moved.values()) == 0
    assert_same(tmp_path / "home", home)


# --------------------------------------------------------------- workers that come and go


@pytest.mark.usefixtures("slowly")
def test_a_worker_that_joins_late_makes_tiles(home: Path, tmp_path: Path) -> None:
    with (
        farm(tmp_path / "farm", "w0") as one,
        Client(one.address, set_as_default=False) as client,
    ):
        client.run_on_scheduler(farms.watch)
        tiles = list[Event]()

        def hire(event: Event) -> None:
            tiles.extend([event] * isinstance(event, Tiled))
            if isinstance(event, Tiled) and len(tiles) == 2:
                one.hire("late")
                client.wait_for_workers(2, timeout=runs.PATIENCE)

        summary = run_batch(small(home, tmp_path / "out", over(one)), hire)
        done, _ = client.run_on_scheduler(farms.seen)
    assert set(statuses(summary).values()) == {"done"}
    makers = [worker for key, worker, _ in done if key.startswith("tile")]
    assert makers.count("late") >= 2
    assert_same(tmp_path / "out", home)


@pytest.mark.usefixtures("slowly")
def test_workers_that_are_killed_do_not_stop_a_batch(home: Path, tmp_path: Path) -> None:
    names = ("w0", "w1", "w2", "w3")
    with (
        farm(tmp_path / "farm", *names) as crew,
        Client(crew.address, set_as_default=False) as client,
    ):
        client.wait_for_workers(len(names), timeout=runs.PATIENCE)
        kill = {"tile": 6, "publish": 1, "finish": 2}
        pids = {name: worker.pid for name, worker in crew.workers.items()}
        client.run_on_scheduler(farms.watch, kill=kill, pids=pids)
        summary = run_batch(small(home, tmp_path / "out", over(crew)))
        ended = [worker.poll() for worker in crew.workers.values()]
    assert (ended.count(-9), ended.count(None)) == (3, 1)
    assert set(statuses(summary).values()) == {"done"}
    assert_same(tmp_path / "out", home)


# --------------------------------------------------------------- a scheduler that is killed


def test_a_batch_whose_scheduler_is_killed_says_so_and_the_next_run_goes_on(
    home: Path, tmp_path: Path
) -> None:
    """Among tiles, then while a scene is published, then while the next one is finished."""
    for number, kill in enumerate(({"tile": 7}, {"publish": 2}, {"finish": 2})):
        with farm(tmp_path / f"farm{number}", "w0") as lost:
            with Client(lost.address, set_as_default=False) as client:
                client.run_on_scheduler(farms.watch, kill=kill)
            ran = run_slowly(home, tmp_path, lost)
            assert lost.scheduler.wait(1) == -9
        assert ran.code == 4
        assert "the connection to the Dask scheduler was lost; run the same command" in ran.line
        assert ran.err.count("\n") == 1, ran.err
    tiles = list[Event]()
    again = small(home, tmp_path / "out", ClusterOptions(workers=0, threads=2))
    summary = run_batch(again, lambda event: tiles.extend([event] * isinstance(event, Tiled)))
    assert set(statuses(summary).values()) <= {"done", "skipped"}
    assert len(tiles) <= TILES - 7, "what was made before is not made again"
    assert_same(tmp_path / "out", home)


def test_a_worker_that_outlives_its_scheduler_is_waited_for(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes on for half a minute: with what it was publishing, beside the next run."""
    with farm(tmp_path / "farm", "w0") as lost:
        with Client(lost.address, set_as_default=False) as client:
            client.wait_for_workers(1, timeout=runs.PATIENCE)
            client.run(farms.publish_slowly)
            client.run_on_scheduler(farms.watch, kill={"publish": 1})
        with pytest.raises(TileError, match="connection to the Dask scheduler was lost"):
            run_batch(small(home, tmp_path / "out", over(lost)))
        for name in ("LEAST_STEP", "_record"):
            monkeypatch.setattr(assembly, name, getattr(assembly, name))  # put back at the end
        farms.publish_slowly()
        again = small(home, tmp_path / "out", ClusterOptions(workers=0, threads=2))
        assert set(statuses(run_batch(again)).values()) == {"done"}
    assert_same(tmp_path / "out", home)


def run_slowly(home: Path, folder: Path, cluster: Farm) -> Ran:
    """What `espcn batch` says, in a process of its own."""
    (folder / "batch.yaml").write_text(yaml.safe_dump(settings_of(home)))
    code = "import test_batch_cluster; test_batch_cluster.slow_command()"
    files = (home / "in", folder / "out", "--config", folder / "batch.yaml")
    command = ("batch", *map(str, files), "--quiet", "--cluster", cluster.address)
    driver = runs.start(code, *command)
    out, err = runs.finish(driver)
    return Ran(driver.returncode, out, err)


# ------------------------------------------------------------------------- configuration files


class StandIn(LocalCluster):
    """A cluster class that is not installed here: a thread, and what was asked of it."""

    def __init__(self, **options: Any) -> None:
        self.options, self.scaled = options, dict[str, object]()
        super().__init__(
            n_workers=1,
            threads_per_worker=1,
            processes=False,
            dashboard_address="127.0.0.1:0",
            worker_dashboard_address="127.0.0.1:0",
        )

    def scale(self, n: int) -> None:
        self.scaled["scale"] = n

    def adapt(self, **limits: int) -> None:
        self.scaled["adapt"] = (limits["minimum"], limits["maximum"])


FILES = {
    "local": ("local", {}, {}),
    "address": ("tcp://127.0.0.1:8786", {}, {}),
    "tls": ("tls://scheduler.example.org:8786", {}, {}),
    "cuda": ("dask_cuda.LocalCUDACluster", {"threads_per_worker": 8}, {}),
    "slurm": ("dask_jobqueue.SLURMCluster", {"cores": 8, "queue": "normal"}, {"adapt": (1, 16)}),
    "gateway": ("dask_gateway.GatewayCluster", {"shutdown_on_close": True}, {"adapt": (1, 32)}),
    "kubernetes": ("dask_kubernetes.operator.KubeCluster", {"quiet": True}, {"scale": 8}),
}
"""Class, some of its options, scaling."""


def test_every_cluster_file_is_among_these() -> None:
    assert {file.stem for file in CONFIGS.iterdir()} == FILES.keys()


@pytest.mark.parametrize("name", FILES)
def test_a_cluster_file_says_class_options_and_scaling(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    where, options, scaling = FILES[name]
    found = cluster_of(CONFIGS / f"{name}.yaml")
    assert found.cluster == where
    assert found.options.items() >= options.items()
    asked = {"scale": found.scale, "adapt": found.adapt}
    assert {verb: value for verb, value in asked.items() if value is not None} == scaling
    assert bool(found.security) == (name == "tls")
    if not options:
        return
    module, _, kind = where.rpartition(".")
    monkeypatch.setitem(sys.modules, module.partition(".")[0], ModuleType("package"))
    monkeypatch.setitem(sys.modules, module, ModuleType(module))
    monkeypatch.setattr(sys.modules[module], kind, StandIn, raising=False)
    with open_cluster(found) as (client, _):
        assert client.cluster.options == found.options
        assert client.cluster.scaled == scaling


def cluster_of(file: Path, *assignments: str) -> ClusterOptions:
    settings = read_settings(None, assignments, flags={"cluster": str(file)}, subject="batch")
    return make_batch(settings).cluster


def test_a_class_that_fails_in_its_own_way_is_a_configuration_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class RefusedError(Exception):
        """Of a package's own."""

    class Broken(StandIn):
        def scale(self, n: int) -> None:  # noqa: ARG002 - no number is right
            self.loop.add_callback(self.submit)

        def submit(self) -> None:
            raise RefusedError("sbatch: invalid\npartition")

        def close(self, timeout: float | None = None) -> None:
            super().close(timeout)
            raise AssertionError("never started")

        def __init__(self, *, fit: bool) -> None:
            if not fit:
                raise RefusedError("no\nquota")
            super().__init__()
            self.sync(self.workers[0].close)

    module = ModuleType("broken")
    module.Broken = Broken  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "broken", module)
    unfit = ClusterOptions("broken.Broken", options={"fit": False})
    with pytest.raises(ConfigError, match=r"with these options \(no quota\)"), open_cluster(unfit):
        pass
    silent = replace(unfit, options={"fit": True}, scale=2, timeout=1)
    with pytest.raises(ConfigError, match="has had no worker for 1 s"), open_cluster(silent):
        pass
    assert "Dask: RefusedError: sbatch: invalid partition" in caplog.messages
    assert "Broken cannot be closed (AssertionError('never started'))" in caplog.messages
    assert caplog.text.count("Traceback") == 0


def test_slurm_s_jobs_make_a_batch(
    home: Path, trusted: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shipped file, its real class, and TLS; what stands for Slurm runs the job at once."""
    pytest.importorskip("dask_jobqueue", reason="needs the package dask-jobqueue")
    jobs = tmp_path / "jobs"
    scripts = {
        "sbatch": f'echo "$$" >> {jobs}; cp "$1" {tmp_path}/job.sh\n'
        f'setsid sh {tmp_path}/job.sh > {tmp_path}/job.log 2>&1 &\necho "Submitted batch job $!"',
        "scancel": 'for job; do kill -- "-$job"; done',
    }
    for name, script in scripts.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    local = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    cluster = cluster_of(
        CONFIGS / "slurm.yaml",
        f"cluster.security={json.dumps(trusted)}",
        f"cluster.options.scheduler_options={json.dumps(local)}",
        "cluster.options.worker_extra_args=[--host, 127.0.0.1, --lifetime, 55m]",
        "cluster.options.cores=2",
        "cluster.options.memory=2GiB",
        "cluster.adapt=[2, 2]",
        "cluster.timeout=60",
    )
    summary = run_batch(small(home, tmp_path / "out", cluster))
    assert set(statuses(summary).values()) == {"done"}
    assert len(jobs.read_text().splitlines()) == 1
    assert "tls://127.0.0.1" in (tmp_path / "job.sh").read_text()
    assert_same(tmp_path / "out", home)
