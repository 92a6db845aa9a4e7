"""A Prefect task run per scene of a batch: it lasts as long as its scene, and may try it again.

    the flow     run_batch: all scenes over one cluster        finish
    a task run     | waits for its scene ............ |  failed: ... | the scene alone |

Only what is tried again runs by itself, after all the others and one at a time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from datetime import UTC, datetime
from threading import Event as Signal
from threading import Lock
from types import TracebackType
from typing import Protocol, Self

from workflows.batch.job import Batch
from workflows.batch.outcome import RunSummary, SceneOutcome
from workflows.batch.redact import redact
from workflows.batch.run import Begun, Ended, Event, run_batch

logger = logging.getLogger(__name__)

AGAIN = ("failed", "crash", "changed")
"""Reasons that another try may overcome; the others are in the scene itself."""


class TaskRun(Protocol):
    """What Prefect returns for a task that was submitted."""

    def wait(self) -> None:
        """Until it is over, however it ends."""


class Task(Protocol):
    """A function that Prefect calls, as often as its retries say."""

    def submit(self, *, scene: str, key: str) -> TaskRun:
        """Call it in a thread of its own."""
        ...


class State(Protocol):
    """What a task run has come to."""

    def result(self) -> object:
        """What it returned; raises what it raised."""


class SceneFailedError(Exception):
    """A scene is no product."""

    def __init__(self, outcome: SceneOutcome) -> None:
        super().__init__(redact(outcome.message))
        self.outcome = outcome
        """What became of it."""


class StoppedError(Exception):
    """The batch ended before a scene did."""


class SceneTasks:
    """Follows the events of a batch with task runs; used as its `tell`, and to be closed."""

    def __init__(
        self,
        batch: Batch,
        tell: Callable[[Event], None],
        as_task: Callable[[Callable[[str, str], str | None]], Task],
    ) -> None:
        """`tell` is given all events; `as_task` makes a task of a function."""
        self._batch, self._tell = batch, tell
        self._task = as_task(self._see_to)
        self._ends: dict[str, Future[SceneOutcome]] = {}
        self._seen: set[str] = set()
        self._outcomes: dict[str, SceneOutcome] = {}
        self._runs: list[TaskRun] = []
        self._over, self._alone = Signal(), Lock()

    def __call__(self, event: Event) -> None:
        """Begin and end task runs as scenes do."""
        self._tell(event)
        match event:
            case Begun(key=key, scene=scene):
                self._begin(key, scene)
            case Ended(outcome=outcome) if outcome.status != "skipped":
                self._begin(outcome.key, outcome.scene)
                if not self._ends[outcome.key].done():
                    self._ends[outcome.key].set_result(outcome)

    def finish(self, summary: RunSummary) -> RunSummary:
        """Wait for what is tried again; the run's summary with what became of that."""
        began = time.monotonic()
        self._release()
        for run in self._runs:
            run.wait()
        if not self._outcomes:
            return summary
        return replace(
            summary,
            scenes=tuple(self._outcomes.get(one.path, one) for one in summary.scenes),
            ended=datetime.now(UTC).isoformat(timespec="seconds"),
            seconds=summary.seconds + time.monotonic() - began,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._release()

    def _begin(self, key: str, scene: str) -> None:
        """Start a task run, once a key; a server that is away does not stop the batch."""
        if key in self._ends:
            return
        self._ends[key] = Future()
        try:
            self._runs.append(self._task.submit(scene=scene, key=key))
        except Exception as error:
            logger.warning("Prefect takes no task run for %s (%s)", scene, error)

    def _release(self) -> None:
        """The batch is over: no task run may wait for it any longer."""
        for end in self._ends.values():
            if not end.done():
                end.set_exception(StoppedError("the run ended before this scene did"))
        self._over.set()

    def _see_to(self, scene: str, key: str) -> str | None:  # noqa: ARG002 - names the task run
        """Wait for a scene, or make it if that was in vain before; the product's folder."""
        again = key in self._seen
        self._seen.add(key)
        outcome = self._ends[key].result()
        if again:
            outcome = self._make_alone(outcome)
        if outcome.status not in ("done", "skipped"):
            raise SceneFailedError(outcome)
        return outcome.product

    def _make_alone(self, failed: SceneOutcome) -> SceneOutcome:
        """Try a scene once more, when nothing else runs; it may be gone or arriving anew by now."""
        self._over.wait()
        path = self._batch.inbox / failed.path
        with self._alone:
            summary = run_batch(self._batch, self._tell, settled=True, only_paths=[path])
        for outcome in summary.scenes:
            self._outcomes[outcome.path] = outcome
        return summary.scenes[0] if summary.scenes else failed


def is_worth_it(task: object, run: object, state: State) -> bool:  # noqa: ARG001 - Prefect's
    """Whether a failed task run is tried again: a retry condition of Prefect's."""
    try:
        state.result()
    except SceneFailedError as error:
        return error.outcome.status == "failed" and error.outcome.reason in AGAIN
    except Exception:
        return False
    return False
