"""The commands of `espcn` about directories of scenes; `workflows.cli` adds them to its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.errors import PipelineError
from workflows.cli_models import INTERRUPTED, AsJson, Assignments, Debug, flag

if TYPE_CHECKING:
    from workflows.batch.job import Batch
    from workflows.batch.outcome import RunSummary

SOME_FAILED = 1
"""Exit code when some scenes failed."""
NONE_READABLE = 3
"""Exit code when scenes were found and none of them could be read."""

batch_app = typer.Typer()
"""Commands that `espcn` shows beside its own."""

ConfigFile = Annotated[Path | None, typer.Option("--config", help="Configuration file (YAML).")]
LogJson = Annotated[bool, typer.Option("--log-json", help="Log JSON lines on stderr.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]
Metrics = Annotated[
    Path | None, typer.Option("--metrics-file", help="Prometheus text file to write.")
]


@batch_app.command(name="batch")
def batch_command(  # noqa: PLR0913 - one parameter per flag
    inbox: Annotated[str | None, typer.Argument(help="Directory of scenes.")] = None,
    outbox: Annotated[str | None, typer.Argument(help="Directory of products.")] = None,
    *,
    config: ConfigFile = None,
    only: Annotated[str | None, flag("batch.only", subject="batch")] = None,
    bands: Annotated[str | None, typer.Option(help="Bands to take, such as B04,B03.")] = None,
    cluster: Annotated[str | None, flag("cluster.cluster", subject="batch")] = None,
    workers: Annotated[int | None, flag("cluster.workers", subject="batch")] = None,
    device: Annotated[str | None, flag("model.device", subject="batch")] = None,
    assignments: Assignments = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done.")] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Take up what was quarantined.")
    ] = False,
    metrics_file: Metrics = None,
    log_json: LogJson = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,  # noqa: ARG001 - `run` looks at it
) -> None:
    """Super-resolve all scenes of a directory that are new.

    Exit code 0 if all went well, 1 if some failed, 3 if none could be read.
    """
    flags = {
        "inbox": inbox and str(Path(inbox).absolute()),
        "outbox": outbox and str(Path(outbox).absolute()),
        "only": only,
        "bands": bands,
        "cluster": cluster,
        "workers": workers,
        "device": device,
    }
    batch = _batch(config, assignments, flags)
    if dry_run:
        _show_plan(batch, retry=retry_failed, as_json=as_json)
        return
    _run(
        batch,
        retry=retry_failed,
        metrics_file=metrics_file,
        log_json=log_json,
        as_json=as_json,
        quiet=quiet,
    )


def exit_code(summary: RunSummary) -> int:
    """What a run is to a scheduler."""
    if summary.interrupted:
        return INTERRUPTED
    wrong = [one for one in summary.scenes if one.went_wrong]
    others = any(one.status in ("done", "skipped") for one in summary.scenes)
    if wrong and not others and all(one.reason not in ("failed", "changed") for one in wrong):
        return NONE_READABLE
    return SOME_FAILED if wrong or summary.problems else 0


def _batch(
    config: Path | None, assignments: list[str] | None, flags: Mapping[str, object]
) -> Batch:
    from workflows.config import make_batch, read_settings

    settings = read_settings(config, assignments or (), flags=flags, subject="batch")
    return make_batch(settings)


def _show_plan(batch: Batch, *, retry: bool, as_json: bool) -> None:
    import json

    from pipeline.serial import to_json
    from workflows.batch.run import plan_batch
    from workflows.batch.show import show_candidates
    from workflows.console import open_console

    listed = plan_batch(batch, retry=retry)
    if as_json:
        rows = [
            {"path": one.found.shown, "family": one.found.family, "key": one.key}
            | {"status": one.status or "new", "message": one.reason}
            for one in listed
        ]
        typer.echo(json.dumps(to_json(rows), indent=2))
    else:
        show_candidates(open_console(), batch, listed)


def _run(
    batch: Batch,
    *,
    retry: bool,
    metrics_file: Path | None,
    log_json: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    from workflows.batch.event_log import log_event
    from workflows.batch.logs import open_log
    from workflows.batch.metrics import write_metrics
    from workflows.batch.page import write_page
    from workflows.batch.run import run_batch
    from workflows.batch.show import watching_batch
    from workflows.console import open_console, show_warning

    if log_json:
        with open_log(json_lines=True):
            summary = run_batch(batch, log_event, retry=retry)
    else:
        with watching_batch(open_console(stderr=True), quiet=quiet) as tell:
            summary = run_batch(batch, tell, retry=retry)
    page, file = None, metrics_file or batch.schedule.metrics_file
    try:
        page, _ = write_page(summary, batch.outbox)
        if file is not None:
            write_metrics(Path(file), summary)
    except PipelineError as error:  # products have landed by now
        show_warning(open_console(stderr=True), str(error))
    _end(summary, page, as_json=as_json, quiet=quiet)


def _end(summary: RunSummary, page: Path | None, *, as_json: bool, quiet: bool) -> None:
    """Show what came of a run, and leave with its exit code."""
    from workflows.batch.page import summary_json
    from workflows.batch.show import show_summary
    from workflows.console import open_console

    if as_json:
        typer.echo(summary_json(summary), nl=False)
    elif not quiet:
        show_summary(open_console(), summary, page)
    code = exit_code(summary)
    if code:
        raise typer.Exit(code)


@batch_app.command(name="nightly")
def nightly_command(
    *,
    config: Annotated[Path, typer.Option("--config", help="Configuration file (YAML).")],
    serve: Annotated[
        str | None,
        typer.Option(metavar="CRON", help="Stay, and run as a Prefect server's schedule says."),
    ] = None,
    assignments: Assignments = None,
    log_json: LogJson = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Do what batch does with all scenes that have settled; for cron and timers.

    Logs to stderr, writes the report, metrics, and runs schedule.on_failure. Exit codes are those
    of batch.
    """
    from workflows.batch.logs import open_log
    from workflows.nightly import run_night
    from workflows.nightly import serve as serve_nights

    batch = _batch(config, assignments, {})
    if serve is not None:
        serve_nights(serve, config, assignments or ())
        return
    with open_log(json_lines=log_json, debug=debug):
        summary = run_night(batch)
    _end(summary, None, as_json=as_json, quiet=quiet or log_json)
