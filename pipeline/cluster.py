"""Where tiles are made: this machine, a running scheduler, or any cluster class of Dask's.

Schedulers and dashboards that we start listen on loopback only. Worker processes are started with
their thread pools sized to one thread per task, so that cores are not oversubscribed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, Any

from pipeline.errors import ConfigError
from pipeline.options import ClusterOptions
from pipeline.quiet import quiet_dask

if TYPE_CHECKING:
    from distributed import Client, Security, SpecCluster

logger = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
THREADS_PER_PROCESS = 4
"""Threads share libraries, weights and caches; more than this wait for each other's Python."""
MEMORY_PER_THREAD = 2**30
"""Bytes that each thread of a GPU worker has at least."""
SHARE = 0.8
"""Part of this machine's memory that workers may use."""
LEAN = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "500ms",
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.worker.memory.monitor-interval": "500ms",
    "distributed.scheduler.work-stealing-interval": "1s",
    "distributed.scheduler.active-memory-manager.start": False,
    "distributed.scheduler.allowed-failures": 1,
    "distributed.diagnostics.nvml": False,
}
"""Dask's settings for our own clusters: looking at itself took it 8 % of a core."""
WORKER_ENVIRONMENT = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    "GDAL_NUM_THREADS": "1",
    "GDAL_CACHEMAX": "64",
}
"""Environment of worker processes: one thread per task, a bounded block cache (MB)."""

TLS_OPTIONS = "see cluster.security, or distributed.comm.tls in Dask's configuration"
"""Where certificates are named."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How many workers there are, and what each has."""

    workers: int
    """Processes; 0 means threads of this process."""
    threads: int
    """Threads per worker."""
    memory: int
    """Bytes per worker."""

    @property
    def total_threads(self) -> int:
        """Tiles that run at once."""
        return max(self.workers, 1) * self.threads

    @property
    def memory_per_thread(self) -> int:
        """Bytes that one tile may use."""
        return self.memory // self.threads


@dataclass(frozen=True, slots=True)
class Gpus:
    """The GPUs that workers of this machine may use."""

    number: int = 0
    """How many."""
    room: int = 1
    """Worker processes that fit into the memory of each."""


NONE = Gpus()
"""Workers that compute on the CPU."""


def local_shape(options: ClusterOptions, *, gpus: Gpus = NONE) -> Shape:
    """The shape of a local cluster: as asked for, or from cores, memory and GPUs."""
    from dask.system import CPU_COUNT
    from dask.utils import parse_bytes
    from distributed.system import MEMORY_LIMIT

    workers = options.workers
    if workers is None:
        workers = _gpu_workers(CPU_COUNT, gpus) or -(-CPU_COUNT // THREADS_PER_PROCESS)
    processes = max(workers, 1)
    memory = int(MEMORY_LIMIT * SHARE) // processes
    if options.memory is not None:
        try:
            memory = parse_bytes(options.memory)
        except ValueError as error:
            raise ConfigError(
                f"cluster.memory = {options.memory!r} is no size ({error})"
            ) from error
    cores = max(CPU_COUNT // processes, 1)
    usual = _gpu_threads(cores, memory) if gpus.number else cores
    return Shape(workers, options.threads or usual, memory)


def _gpu_workers(cores: int, gpus: Gpus) -> int:
    """Worker processes on GPUs: several share one that has more cores than a process can use.

    Threads of one process wait for each other's Python. On an H200 with 16 cores one process of 16
    threads made 262 output Mpx/s of 2303 that the network alone makes, four of 4 threads 495.
    """
    share = cores // max(gpus.number, 1) // THREADS_PER_PROCESS
    return gpus.number * max(min(share, gpus.room), 1)


def _gpu_threads(cores: int, memory: int) -> int:
    """Threads of a GPU worker: all its cores, as far as memory goes.

    A megapixel of one band takes 0.4 ms on an H200 and 17 ms on a core, to be read, rounded and
    encoded. Two at least, so that one works while one waits.
    """
    return max(min(cores, memory // MEMORY_PER_THREAD), 2)


@contextmanager
def open_cluster(options: ClusterOptions, *, gpus: Gpus = NONE) -> Iterator[tuple[Client, Shape]]:
    """A client with at least one worker, and the cluster's shape; closed at the end.

    Raises ConfigError for a cluster that cannot be had.
    """
    import distributed  # noqa: F401 - gives loggers levels that are not for users

    with quiet_dask(), _connect(options, gpus) as client:
        yield client, _shape(client, options)


@contextmanager
def _connect(options: ClusterOptions, gpus: Gpus) -> Iterator[Client]:
    if options.cluster == "local":
        _refuse_security(options)
        with _local(local_shape(options, gpus=gpus), gpus) as client:
            yield client
    elif "://" in options.cluster:
        security = _security(options)
        _greet(options.cluster, options.timeout, security)
        with _client(options.cluster, options, security=security) as client:
            yield client
    else:
        with _of_class(options) as cluster, _client(cluster, options) as client:
            yield client


@contextmanager
def _local(shape: Shape, gpus: Gpus) -> Iterator[Client]:
    """Processes on this machine (threads of this one if `shape.workers` is 0)."""
    import dask
    from distributed import Client

    with dask.config.set(LEAN), _undisturbed():
        cluster = (
            _gpu_cluster(shape, gpus.number)
            if gpus.number and shape.workers
            else _cpu_cluster(shape)
        )
    with cluster, Client(cluster) as client:
        yield client


def _cpu_cluster(shape: Shape) -> SpecCluster:
    from distributed import LocalCluster

    return LocalCluster(
        n_workers=max(shape.workers, 1),
        threads_per_worker=shape.threads,
        processes=shape.workers > 0,
        memory_limit=shape.memory if shape.workers else 0,
        dashboard_address=f"{LOOPBACK}:0",
        worker_dashboard_address=f"{LOOPBACK}:0",
        silence_logs=logging.CRITICAL,
        **({"host": LOOPBACK, "env": WORKER_ENVIRONMENT} if shape.workers else {}),
    )


def _gpu_cluster(shape: Shape, gpus: int) -> SpecCluster:
    from distributed import Nanny, Scheduler, SpecCluster

    return SpecCluster(
        scheduler={
            "cls": Scheduler,
            "options": {"host": LOOPBACK, "dashboard_address": f"{LOOPBACK}:0"},
        },
        workers={
            i: {"cls": Nanny, "options": _gpu_worker(shape, device=i % gpus)}
            for i in range(shape.workers)
        },
        silence_logs=logging.CRITICAL,
    )


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Ctrl-C waits, and the processes and threads that are started now never see one.

    A terminal sends it to the whole process group: workers would die noisily before the driver
    can stop them. Signal masks are inherited, by workers that replace lost ones too.
    """
    resource_tracker.ensure_running()  # whoever starts it lifts the mask
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _device_name(index: int) -> str:
    """The name of one of the devices that this process may see."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",")[index].strip() if visible else str(index)


def _gpu_worker(shape: Shape, *, device: int) -> dict[str, Any]:
    """Options of a nanny whose worker sees one device."""
    return {
        "nthreads": shape.threads,
        "memory_limit": shape.memory,
        "host": LOOPBACK,
        "dashboard_address": f"{LOOPBACK}:0",
        "silence_logs": logging.CRITICAL,
        "env": WORKER_ENVIRONMENT | {"CUDA_VISIBLE_DEVICES": _device_name(device)},
    }


def _refuse_security(options: ClusterOptions) -> None:
    if options.security:
        raise ConfigError(
            "cluster.security is for the address of a scheduler and for cluster classes; with "
            "cluster.cluster = 'local' leave it out, or set cluster.security={}"
        )


def _security(options: ClusterOptions) -> Security:
    """What TLS needs, from the options or Dask's configuration; raises ConfigError."""
    from distributed import Security

    try:
        security = Security(**options.security)
    except (TypeError, ValueError) as error:
        known = ", ".join(name for name in Security.__slots__ if name.startswith("tls_"))
        raise ConfigError(f"cluster.security: {error}; it takes {known}") from error
    named = security.get_tls_config_for_role("client")
    for name in filter(None, (named["ca_file"], named["cert"], named["key"])):
        if "\n" not in name and not os.path.isfile(name):
            raise ConfigError(f"{name}, which is to be used for TLS, is no file; {TLS_OPTIONS}")
    try:
        security.get_connection_args("client")
    except OSError as error:
        raise ConfigError(
            f"{named['cert']} and its key cannot be used for TLS ({error}); {TLS_OPTIONS}"
        ) from error
    return security


def _greet(address: str, timeout: float, security: Security) -> None:
    """Raise ConfigError unless a Dask scheduler answers; `Client` waits for a mute one forever."""
    from distributed.comm import connect

    arguments = security.get_connection_args("client")

    async def greet() -> None:
        if address.startswith("tls://") and arguments["ssl_context"] is None:
            raise ValueError(f"TLS takes certificates; {TLS_OPTIONS}")
        comm = await asyncio.wait_for(connect(address, timeout=timeout, **arguments), timeout)
        await comm.close()

    with ThreadPoolExecutor(1) as own:  # this thread may run a loop already, as notebooks do
        try:
            own.submit(asyncio.run, greet()).result()
        except Exception as error:  # whatever a server says that is none of Dask's
            reason = str(error) or type(error).__name__
            raise ConfigError(
                f"no Dask scheduler answers at {address} within {timeout:g} s ({reason})"
            ) from error


@contextmanager
def _client(
    where: object, options: ClusterOptions, *, security: Security | None = None
) -> Iterator[Client]:
    """A client of a scheduler's address or of a cluster, with a worker to talk to."""
    from distributed import Client

    name = where if isinstance(where, str) else type(where).__name__
    try:
        client = Client(where, timeout=options.timeout, security=security)
    except (OSError, ImportError) as error:
        raise ConfigError(f"cannot work with the scheduler at {name} ({error})") from error
    with client:
        try:
            client.wait_for_workers(1, timeout=options.timeout)
        except TimeoutError as error:
            raise ConfigError(
                f"the scheduler at {name} has had no worker for {options.timeout:g} s; start one "
                "or raise cluster.timeout"
            ) from error
        yield client


@contextmanager
def _of_class(options: ClusterOptions) -> Iterator[Any]:
    """An instance of a cluster class named by its import path, scaled as asked."""
    module, _, name = options.cluster.rpartition(".")
    try:
        kind = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise ConfigError(
            f"cluster.cluster = {options.cluster!r} is neither 'local', an address such as "
            f"tcp://host:8786, nor an importable class ({error}); is its package installed?"
        ) from error
    secured = {"security": _security(options)} if options.security else {}
    try:
        cluster = kind(**options.options, **secured)
    except Exception as error:  # each class has exceptions of its own
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(
            f"{options.cluster} cannot be started with these options ({reason}); see "
            "cluster.options"
        ) from error
    if not all(hasattr(cluster, verb) for verb in ("scale", "adapt", "close")):
        raise ConfigError(f"cluster.cluster = {options.cluster!r} is no class of Dask clusters")
    with _closing(cluster):
        if options.adapt is not None:
            cluster.adapt(minimum=options.adapt[0], maximum=options.adapt[1])
        elif options.scale is not None:
            cluster.scale(options.scale)
        yield cluster


@contextmanager
def _closing(cluster: Any) -> Iterator[None]:
    """Close a cluster in the end; a failure then hides neither an error nor a success."""
    try:
        yield
    finally:
        try:
            cluster.close()
        except Exception as error:  # also assertions, of a class whose workers never started
            logger.warning("%s cannot be closed (%r)", type(cluster).__name__, error)


def _shape(client: Client, options: ClusterOptions) -> Shape:
    """What the connected workers have: the least memory per thread, all threads."""
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    threads = max(1, sum(w["nthreads"] for w in workers) // len(workers))
    limits = [w["memory_limit"] / w["nthreads"] for w in workers if w["memory_limit"]]
    memory = int(min(limits)) if limits else local_shape(options).memory_per_thread
    return Shape(len(workers), threads, memory * threads)
