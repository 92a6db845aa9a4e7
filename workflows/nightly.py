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
from workflows.batch.logs import forward_log
from workflows.batch.metrics import went_wrong, write_metrics
from workflows.batch.outcome import RunSummary
from workflows.batch.page import summary_json, write_page
from workflows.batch.redact import redact
from workflows.batch.retention import prune
from workflows.batch.run import Event, run_batch
from workflows.batch.scene_tasks import SceneTasks, is_worth_it

logger = logging.getLogger(__name__)

DEPLOYMENT = "nightly"
"""Name of the deployment, of the flow `espcn`."""
ARTIFACT = "espcn-nightly"
"""Key of the table of scenes."""
RETRIES = 1
"""Times that a scene whose processing failed is tried again in the same night."""
RETRY_DELAY = 60.0
"""Seconds before that, at least."""


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


def serve(
    cron: str,
    config: Path,
    assignments: Sequence[str] = (),
    *,
    retries: int = RETRIES,
    retry_delay: float = RETRY_DELAY,
) -> None:
    """Register a flow with the Prefect server of PREFECT_API_URL and run it as `cron` says, in UTC.

    Returns when it is stopped. Every night reads the configuration anew. Raises ConfigError.
    """
    try:
        from prefect.types.entrypoint import EntrypointType
    except ImportError as error:
        raise ConfigError(
            f"--serve needs Prefect ({error}); pip install 'espcn[prefect]'"
        ) from error
    _check_cron(cron)
    _check_server()
    _make_flow().serve(
        DEPLOYMENT,
        cron=cron,
        parameters={
            "config": str(config.absolute()),
            "assignments": list(assignments),
            "retries": retries,
            "retry_delay": retry_delay,
        },
        limit=1,
        pause_on_shutdown=False,
        entrypoint_type=EntrypointType.MODULE_PATH,
    )


def _check_cron(cron: str) -> None:
    from prefect.client.schemas.schedules import CronSchedule

    try:
        CronSchedule(cron=cron)
    except ValueError as error:
        raise ConfigError(
            f"--serve {cron!r} is no cron schedule; write minute, hour, day, month and day of the "
            "week, such as '0 2 * * *' for two o'clock UTC"
        ) from error


def _check_server() -> None:
    """Raise ConfigError unless there is a server to ask for a schedule."""
    from prefect.client.orchestration import get_client
    from prefect.settings import get_current_settings

    url = get_current_settings().api.url
    if not url:
        raise ConfigError(
            "--serve needs a Prefect server, for without one a schedule never begins: run "
            "'prefect server start' and set PREFECT_API_URL=http://127.0.0.1:4200/api"
        )
    with get_client(sync_client=True) as client:
        failure = client.api_healthcheck()
    if failure is not None:
        said = redact(f"no Prefect server answers at {url} ({failure})")
        raise ConfigError(f"{said}; see PREFECT_API_URL")


def __getattr__(name: str) -> object:
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
        retries: int = RETRIES,
        retry_delay: float = RETRY_DELAY,
    ) -> object:
        """New scenes of an inbox become super-resolved products.

        config is the path of a configuration file, assignments are those of --set. A scene whose
        processing fails is tried so many times more, after retry_delay seconds.
        """
        return _do_night(Path(config), assignments or [], retries=retries, delay=retry_delay)

    return flow(name="espcn", flow_run_name="night")(night)


def _do_night(config: Path, assignments: Sequence[str], *, retries: int, delay: float) -> object:
    """The state of a flow run that has done a batch; its log lines are the flow run's."""
    from prefect import get_run_logger, task
    from prefect.cache_policies import NO_CACHE
    from prefect.states import Completed, Failed

    as_task = task(
        name="scene",
        task_run_name="{scene}",
        retries=retries,
        retry_delay_seconds=delay,
        retry_condition_fn=is_worth_it,
        cache_policy=NO_CACHE,
        persist_result=False,
    )
    log = get_run_logger()
    with forward_log(lambda level, line: log.log(level, "%s", line)):
        try:
            summary = _make_scenes(config, assignments, as_task)
        except PipelineError as error:
            return Failed(message=redact(str(error)))
    counts = ", ".join(f"{number} {status}" for status, number in summary.counts.items())
    return (Failed if went_wrong(summary) else Completed)(message=counts)


def _make_scenes(config: Path, assignments: Sequence[str], as_task: Any) -> RunSummary:
    """What `run_night` does, with a task run per scene and a table of them."""
    from workflows.config import make_batch, read_settings

    batch = make_batch(read_settings(config, assignments, subject="batch"))
    tasks = SceneTasks(batch, log_event, as_task)
    with _alarm(batch), tasks:
        summary = tasks.finish(run_batch(batch, tasks, settled=True))
    conclude(batch, summary)
    _write_table(summary)
    return summary


def _write_table(summary: RunSummary) -> None:
    """The scenes as an artifact."""
    from prefect.artifacts import create_table_artifact

    columns = ("scene", "status", "reason", "message", "product", "tiles", "megapixels", "seconds")
    table = [
        {name: redact(str(getattr(one, name) or "")) for name in columns} for one in summary.scenes
    ]
    create_table_artifact(key=ARTIFACT, table=table, description=f"Run {summary.run}")
