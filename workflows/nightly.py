"""A batch every night: once, for cron and systemd timers, or as a flow that Prefect schedules.

    settle    scenes that may still be arriving wait for the next night
    make      as `espcn batch` does, alone in the outbox
    tell      the run's page; figures for Prometheus; a command where something failed
    tidy      reports of nights long past go

What cannot be told or tidied is logged: products have landed by then.
"""

from __future__ import annotations

import json
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.errors import ConfigError, PipelineError
from workflows.batch.event_log import log_event
from workflows.batch.hook import run_hook
from workflows.batch.job import Batch
from workflows.batch.logs import open_log
from workflows.batch.metrics import went_wrong, write_metrics
from workflows.batch.outcome import RunSummary
from workflows.batch.page import summary_json, write_page
from workflows.batch.redact import redact
from workflows.batch.retention import prune
from workflows.batch.run import Event, run_batch

logger = logging.getLogger(__name__)

DEPLOYMENT = "nightly"
"""Name of the deployment, of the flow `espcn`."""
ARTIFACT = "espcn-nightly"
"""Key of the table of scenes."""


def run_night(batch: Batch, tell: Callable[[Event], None] | None = None) -> RunSummary:
    """Make what has arrived and settled, and tell of it; raises PipelineError as `run_batch` does.

    The command of `schedule.on_failure` learns of that too. SIGTERM ends a night as Ctrl-C does:
    the summary says that it was interrupted, and the next one goes on.
    """
    with _alarm(batch), _stoppable():
        summary = run_batch(batch, tell or log_event, settled=True)
    conclude(batch, summary)
    return summary


def conclude(batch: Batch, summary: RunSummary) -> None:
    """Page, metrics, tidying, and the command for failures; never raises PipelineError."""
    schedule = batch.schedule
    _try(lambda: write_page(summary, batch.outbox))
    if schedule.metrics_file is not None:
        file = Path(schedule.metrics_file)
        _try(lambda: write_metrics(file, summary))
    prune(batch.outbox / "reports", schedule.keep_reports, time.time())
    if went_wrong(summary):
        _tell(batch, summary_json(summary))


@contextmanager
def _alarm(batch: Batch) -> Iterator[None]:
    """Tell of a night that ends before its scenes were seen to."""
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        said = redact(str(error)) or type(error).__name__
        code = error.exit_code if isinstance(error, PipelineError) else PipelineError.exit_code
        _tell(batch, json.dumps({"error": said, "exit_code": code}) + "\n")
        raise


@contextmanager
def _stoppable() -> Iterator[None]:
    """Schedulers end jobs by SIGTERM: take it for Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _tell(batch: Batch, text: str) -> None:
    """Run the command for failures, if there is one."""
    if batch.schedule.on_failure is not None:
        warning = run_hook(batch.schedule.on_failure, text)
        if warning is not None:
            logger.warning("%s", warning)


def _try(step: Callable[[], object]) -> None:
    try:
        step()
    except PipelineError as error:
        logger.warning("%s", error)


# ------------------------------------------------------------------------------------------ Prefect


def serve(cron: str, config: Path, assignments: Sequence[str] = ()) -> None:
    """Register a flow with the Prefect server of PREFECT_API_URL and run it as `cron` says, in UTC.

    Returns when it is stopped. Every night reads the configuration anew. Raises ConfigError.
    """
    _check_prefect()
    from prefect.client.schemas.schedules import CronSchedule
    from prefect.flows import EntrypointType

    try:
        CronSchedule(cron=cron)
    except ValueError as error:
        raise ConfigError(
            f"--serve {cron!r} is no cron schedule; write minute, hour, day, month and day of the "
            "week, such as '0 2 * * *' for two o'clock UTC"
        ) from error
    _make_flow().serve(
        DEPLOYMENT,
        cron=cron,
        parameters={"config": str(config.absolute()), "assignments": list(assignments)},
        limit=1,
        pause_on_shutdown=False,
        entrypoint_type=EntrypointType.MODULE_PATH,
    )


def _check_prefect() -> None:
    """Raise ConfigError unless there is Prefect and a server to ask for a schedule."""
    try:
        from prefect.settings import get_current_settings
    except ImportError as error:
        raise ConfigError(
            f"--serve needs Prefect ({error}); pip install 'espcn[prefect]'"
        ) from error
    if not get_current_settings().api.url:
        raise ConfigError(
            "--serve needs a Prefect server: without one a schedule never begins; run "
            "'prefect server start' and set PREFECT_API_URL=http://127.0.0.1:4200/api"
        )


def __getattr__(name: str) -> Any:
    """The flow, made when Prefect's runner asks for its entrypoint: nobody else needs Prefect."""
    if name == "night":
        return _make_flow()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _make_flow() -> Any:
    """The flow: one batch, one task run per scene, a table of scenes at the end."""
    from prefect import flow

    def night(
        config: str,
        assignments: list[str] | None = None,
        retries: int = 1,
        retry_delay: float = 60.0,
    ) -> Any:
        """New scenes of an inbox become super-resolved products.

        config is the path of a configuration file, assignments are those of --set. A scene whose
        processing fails is tried so many times more, after retry_delay seconds.
        """
        from workflows.config import make_batch, read_settings

        with open_log():
            settings = read_settings(Path(config), assignments or (), subject="batch")
            return _do_night(make_batch(settings), retries=retries, delay=retry_delay)

    return flow(name="espcn", flow_run_name="night")(night)


def _do_night(batch: Batch, *, retries: int, delay: float) -> Any:
    """The state of a flow run that has done a batch."""
    from prefect.states import Completed, Failed

    from workflows.batch.scene_tasks import SceneTasks

    tasks = SceneTasks(batch, log_event, retries=retries, delay=delay)
    with _alarm(batch), tasks:
        summary = tasks.finish(run_batch(batch, tasks, settled=True))
    conclude(batch, summary)
    _write_table(summary)
    counts = ", ".join(f"{number} {status}" for status, number in summary.counts.items())
    return (Failed if went_wrong(summary) else Completed)(message=counts)


def _write_table(summary: RunSummary) -> None:
    """The scenes as an artifact."""
    from prefect.artifacts import create_table_artifact

    columns = ("scene", "status", "reason", "message", "product", "tiles", "megapixels", "seconds")
    table = [
        {name: redact(str(getattr(one, name) or "")) for name in columns} for one in summary.scenes
    ]
    create_table_artifact(key=ARTIFACT, table=table, description=f"Run {summary.run}")
