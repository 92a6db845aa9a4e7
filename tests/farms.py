"""Schedulers and workers as processes of their own: over TLS, on several hosts, and watched.

What runs on a scheduler or worker (`watch` and what follows it) imports nothing of ours.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

HERE = Path(__file__).parent
PATIENCE = 60.0
"""Seconds that a test waits for another process."""
ROLES = ("scheduler", "worker", "client")


# --------------------------------------------------------------------------------- processes


@contextmanager
def process(log: Path, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends with the block, by its pid; what it writes goes to `log`."""
    environment = os.environ | {"PYTHONPATH": f"{HERE}{os.pathsep}{HERE.parent}"}
    with log.open("wb") as file:
        started = subprocess.Popen(command, env=environment, stdout=file, stderr=file)
        try:
            yield started
        finally:
            started.terminate()
            try:
                started.wait(15)
            except subprocess.TimeoutExpired:
                started.kill()
                started.wait()


@dataclass
class Farm:
    """A scheduler, and workers that may join and leave."""

    folder: Path
    stack: ExitStack
    host: str = "127.0.0.1"
    security: dict[str, str] = field(default_factory=dict)
    """Certificates of all roles, by the names of distributed.Security; TLS if there are any."""
    within: tuple[str, ...] = ()
    """What begins the scheduler's command line, such as that of another host."""
    address: str = ""
    scheduler: subprocess.Popen[bytes] = field(init=False)
    workers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        file = self.folder / "scheduler.json"
        self.scheduler = self._start(
            "scheduler", self.within, "distributed.cli.dask_scheduler", "--host", self.host,
            "--port", "0", "--dashboard-address", f"{self.host}:0", "--scheduler-file", str(file),
            "--protocol", "tls" if self.security else "tcp",
        )  # fmt: skip
        wait_for(lambda: file.exists() and file.read_text().rstrip().endswith("}"), self.scheduler)
        self.address = json.loads(file.read_text())["address"]

    def hire(
        self,
        name: str,
        *more: str,
        host: str = "127.0.0.1",
        within: tuple[str, ...] = (),
    ) -> subprocess.Popen[bytes]:
        """Start a worker of one thread; it is not waited for."""
        self.workers[name] = self._start(
            "worker", within, "distributed.cli.dask_worker", self.address, "--nthreads", "1",
            "--name", name, "--host", host, "--dashboard-address", f"{host}:0",
            "--death-timeout", "15",
            "--local-directory", str(self.folder / f"space-{name}"), *(more or ("--no-nanny",)),
        )  # fmt: skip
        return self.workers[name]

    def _start(self, role: str, within: tuple[str, ...], *command: str) -> subprocess.Popen[bytes]:
        files = (
            ("--tls-ca-file", self.security["tls_ca_file"],
             "--tls-cert", self.security[f"tls_{role}_cert"],
             "--tls-key", self.security[f"tls_{role}_key"])
            if self.security else ()
        )  # fmt: skip
        log = self.folder / f"{role}-{len(self.workers)}.log"
        python = (*within, sys.executable, "-m", *command, *files)
        return self.stack.enter_context(process(log, *python))


@contextmanager
def farm(folder: Path, *names: str, **options: Any) -> Iterator[Farm]:
    """A scheduler, and workers of these names, which may take a while to arrive."""
    folder.mkdir(exist_ok=True)
    with ExitStack() as stack:
        made = Farm(folder, stack, **options)
        for name in names:
            made.hire(name)
        yield made


def wait_for(fact: Any, alive: subprocess.Popen[bytes]) -> None:
    """Wait for a fact; fails when that takes too long or `alive` ends before."""
    import time

    deadline = time.monotonic() + PATIENCE
    while not fact():
        assert alive.poll() is None, f"{alive.args} ended with {alive.returncode}"
        assert time.monotonic() < deadline, f"waited too long for {alive.args}"
        time.sleep(0.01)


# ------------------------------------------------------------------------------ certificates


def certificates(folder: Path) -> dict[str, str]:
    """An authority's certificate, and one with its key for each role that it vouches for."""
    if shutil.which("openssl") is None:
        pytest.skip("needs the command openssl, which makes certificates")
    folder.mkdir()
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")

    def openssl(*arguments: str) -> None:
        subprocess.run(("openssl", *arguments), cwd=folder, check=True, capture_output=True)

    openssl("req", "-x509", *key, "-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.pem")
    for role in ROLES:
        openssl("req", *key, "-subj", f"/CN={role}", "-keyout", f"{role}.key", "-out", "request")
        openssl("x509", "-req", "-in", "request", "-CA", "ca.pem", "-CAkey", "ca.key",
                "-CAcreateserial", "-out", f"{role}.pem")  # fmt: skip
    return {"tls_ca_file": str(folder / "ca.pem")} | {
        f"tls_{role}_{kind}": str(folder / f"{role}.{suffix}")
        for role in ROLES
        for kind, suffix in (("cert", "pem"), ("key", "key"))
    }


def of_client(security: dict[str, str]) -> dict[str, str]:
    """What the driver of a batch needs of these."""
    return {name: file for name, file in security.items() if "client" in name or "_ca_" in name}


# ------------------------------------------------------------------------------------- hosts


@contextmanager
def two_hosts() -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Two network namespaces with a cable between them, as what begins a command line in each.

    Their addresses are 198.51.100.1 and 198.51.100.2 (RFC 5737); there is no way to anywhere else.
    """
    names = [f"espcn-{os.getpid()}-{i}" for i in (1, 2)]
    with ExitStack() as stack:
        for name in names:
            _ip("netns", "add", name)
            stack.callback(subprocess.run, ("ip", "netns", "del", name), check=False)
        _ip("-n", names[0], "link", "add", "cable", "type", "veth",
            "peer", "name", "cable", "netns", names[1])  # fmt: skip
        for i, name in enumerate(names, 1):
            _ip("-n", name, "address", "add", f"198.51.100.{i}/30", "dev", "cable")
            for device in ("lo", "cable"):  # a host reaches its own address through lo
                _ip("-n", name, "link", "set", device, "up")
        first, second = (("ip", "netns", "exec", name) for name in names)
        yield first, second


def _ip(*arguments: str) -> None:
    try:
        subprocess.run(("ip", *arguments), check=True, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("needs the command ip (iproute2)")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"network namespaces cannot be made here: {error.stderr.strip()}")


def listening(pid: int) -> set[str]:
    """Addresses on which a process and its children listen, in whichever namespace they are."""
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return {address for one in family for address in _listening(Path("/proc", str(one.pid)))}


def _listening(proc: Path) -> Iterator[str]:
    """From the tables of the process's own namespace (proc(5)): TCP that listens, all of UDP."""
    own = set()
    for link in (proc / "fd").iterdir():
        try:
            own.add(os.readlink(link))
        except FileNotFoundError:  # closed meanwhile
            continue
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in (proc / "net" / table).read_text().splitlines()[1:]:
            words = line.split()
            if f"socket:[{words[9]}]" in own and (words[3] == "0A" or table.startswith("udp")):
                host, port = words[1].split(":")
                quad = bytes.fromhex(host)[::-1] if len(host) == 8 else host
                yield f"{'.'.join(map(str, quad)) if quad != host else host}:{int(port, 16)}"


# ------------------------------------------------------- on the scheduler and on the workers


def watch(
    dask_scheduler: Any, *, kill: dict[str, int] | None = None, pids: dict[str, int] | None = None
) -> None:
    """On the scheduler: note who did each task, and how many bytes each was told and answered.

    `kill` counts tasks by the beginnings of their keys: the worker that is sent such a task is
    killed as it begins, if its name is among `pids`; else the scheduler is.
    """
    import asyncio

    from distributed.batched import BatchedSend
    from distributed.diagnostics.plugin import SchedulerPlugin
    from distributed.protocol import dumps

    class Watch(SchedulerPlugin):
        def __init__(self) -> None:
            self.done: list[tuple[str, str, int]] = []
            self.told: list[tuple[str, int]] = []
            self.left = dict(kill or {})

        def transition(self, key: str, _start: str, finish: str, *_: Any, **more: Any) -> None:
            if finish == "memory":
                name = dask_scheduler.workers[more["worker"]].name
                self.done.append((str(key), str(name), more["nbytes"]))
            kind = str(key).partition("-")[0]
            if finish == "processing" and kind in self.left:
                self.left[kind] -= 1
                if not self.left[kind]:
                    name = dask_scheduler.tasks[key].processing_on.name
                    pid = (pids or {}).pop(name, os.getpid())
                    asyncio.get_running_loop().call_later(0.02, os.kill, pid, 9)

    plugin, send = Watch(), BatchedSend.send

    def noting(self: Any, *messages: Any) -> None:
        for message in messages:
            if message.get("op") == "compute-task":
                plugin.told.append((str(message["key"]), sum(map(len, dumps(message)))))
        send(self, *messages)

    BatchedSend.send = noting
    dask_scheduler.add_plugin(plugin, name="watch")


def seen(dask_scheduler: Any) -> tuple[list[tuple[str, str, int]], list[tuple[str, int]]]:
    """On the scheduler: (key, worker, bytes of the result) of tasks done, (key, bytes) of told."""
    plugin = dask_scheduler.plugins["watch"]
    return plugin.done, plugin.told


def publish_slowly() -> None:
    """On a worker: put outputs together in small steps, and take a while for each."""
    import time

    from pipeline.sinks import assembly

    record = assembly._record

    def late(*arguments: Any) -> None:
        time.sleep(0.6)
        record(*arguments)

    assembly.LEAST_STEP = 2**18
    assembly._record = late


def fetched(dask_worker: Any) -> int:
    """On a worker: bytes that came from other workers."""
    return sum(entry["total"] for entry in dask_worker.transfer_incoming_log)
