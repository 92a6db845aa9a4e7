"""The workers as the driver sees them: all talk with Dask's scheduler while tiles are made.

Workers may come, go and die; the scheduler may vanish. The first is counted, the last is said in
one line, whichever of its many exceptions Dask chooses.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from pipeline.errors import PipelineError, TileError

if TYPE_CHECKING:
    from distributed import Client, Future, as_completed

Call = TypeVar("Call")

POLL = 0.1
"""Seconds between looks at finished tasks; each worker has its next one already."""
LOOK = 5.0
"""Seconds between counts of the workers."""
ALONE = 300.0
"""Seconds without any worker after which a run gives up."""


@dataclass(slots=True)
class Crew:
    """A connection to a scheduler, and how many tasks its workers run at once."""

    client: Client
    """Connected to the scheduler."""
    threads: int
    """Tasks that run at once."""
    counted: float = field(default_factory=time.monotonic)
    """When they were last counted."""
    name: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    """Of this run: a killed one may have left tasks of the same keys on the cluster."""

    def send(
        self, function: Callable[..., object], calls: Mapping[str, Call], **others: object
    ) -> dict[Future, Call]:
        """Send `function(call, **others)` for all `calls`, by key, in one message."""
        if not calls:
            return {}
        keys = [f"{key}-{self.name}" for key in calls]
        with self._connected():
            futures = self.client.map(
                function, list(calls.values()), key=keys, pure=False, retries=0, **others
            )
        return dict(zip(futures, calls.values(), strict=True))

    def submit(
        self, function: Callable[..., object], arguments: Sequence[object], *, key: str
    ) -> Future:
        """Send `function(*arguments)`, which is tried once."""
        with self._connected():
            return self.client.submit(
                function, *arguments, key=f"{key}-{self.name}", pure=False, retries=0
            )

    def wait(
        self, completed: as_completed, *, until: Callable[[], bool] = lambda: False
    ) -> list[Future]:
        """The next futures that end, none if `until` says so first.

        Raises TileError when nobody is left to end any.
        """
        while not completed.has_ready():
            self._count()
            time.sleep(POLL)
            if until() and not completed.has_ready():
                return []
        self._count()
        return list(completed.next_batch(block=False))

    @property
    def is_connected(self) -> bool:
        """Whether the scheduler is there, as far as is known."""
        return bool(self.client.status == "running")

    def result(self, future: Future) -> object:
        """The result of a finished task; raises TileError if the scheduler is gone."""
        with self._connected():
            return future.result()

    def forget(self, futures: list[Future]) -> None:
        """Cancel what is not needed any more; a scheduler that is gone has forgotten it."""
        if futures and self.is_connected:
            with suppress(TileError), self._connected():
                self.client.cancel(futures)

    def _count(self) -> None:
        """Count threads now and then; raises TileError if there has been no worker for long."""
        if time.monotonic() - self.counted < LOOK:
            return
        with self._connected():
            try:
                self.client.wait_for_workers(1, timeout=ALONE)
            except TimeoutError as error:
                raise TileError(
                    f"all workers are gone, and none has come back for {ALONE:g} s; start some and "
                    "run the same command again to go on"
                ) from error
            self.threads = sum(self.client.nthreads().values()) or self.threads
        self.counted = time.monotonic()

    @contextmanager
    def _connected(self) -> Iterator[None]:
        try:
            yield
        except PipelineError:
            raise
        except Exception as error:
            if self.is_connected and not isinstance(error, CancelledError | OSError):
                raise
            raise scheduler_lost() from error


def scheduler_lost() -> TileError:
    """What is said when the scheduler died, or cannot be reached."""
    return TileError(
        "the connection to the Dask scheduler was lost; run the same command again to go on"
    )
