"""The command `espcn`: parses, calls, prints, and turns errors into exit codes.

0  done
2  wrong usage or configuration
3  the input cannot be processed
4  failed while running
5  trained a network that does not beat bicubic
130  interrupted
"""

from __future__ import annotations

import gc
import json
import logging
import sys
from collections.abc import Sequence
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Annotated

import typer
from typer.main import get_command

from espcn import ModelError
from pipeline.errors import PipelineError
from workflows.batch.redact import redact
from workflows.catalogue import Subject
from workflows.cli_batch import batch_app
from workflows.cli_models import (
    INTERRUPTED,
    AsJson,
    Assignments,
    Bands,
    Debug,
    flag,
    models_app,
)
from workflows.job import Job

app = typer.Typer(help="Exact, restartable super-resolution of huge images.", no_args_is_help=True)
config_app = typer.Typer(no_args_is_help=True)
app.add_typer(batch_app)
app.add_typer(models_app)
app.add_typer(config_app, name="config", help="Explain and check options, also of train.")


ConfigFile = Annotated[Path | None, typer.Option("--config", help="Configuration file (YAML).")]


def main() -> None:
    """Run the command line and exit."""
    # what is imported stays: looking through it 260 times took a sixth of the driver's start
    gc.set_threshold(100_000)
    arguments = sys.argv[1:]
    logging.captureWarnings(capture=True)
    if "--debug" in arguments:
        logging.basicConfig(level=logging.DEBUG)
    else:  # or Python would print warnings itself
        logging.getLogger().addHandler(logging.NullHandler())
    sys.exit(run(arguments))


def run(arguments: Sequence[str]) -> int:
    """Run one command line; its exit code. An error is one line on stderr."""
    try:
        command = get_command(app)
        code = command.main(args=list(arguments), prog_name="espcn", standalone_mode=False)
    except KeyboardInterrupt:  # before the command has begun, which has an ending of its own
        code = INTERRUPTED
    except Exception as error:
        if "--debug" in arguments:
            logging.getLogger(__name__).exception("failed")
        line, code = _explain(error)
        if line:
            typer.echo(f"espcn: error: {redact(' '.join(line.split()))}", err=True)
    if code == INTERRUPTED and arguments[:1] != ["train"]:  # which has said so itself
        typer.echo("espcn: interrupted; the same command goes on where it stopped", err=True)
    return int(code or 0)


def _explain(error: Exception) -> tuple[str, int]:
    """(line, exit code) of an error."""
    match error:
        case PipelineError():
            return str(error), error.exit_code
        case ModelError():
            return str(error), error.exit_code
        case typer.TyperException():
            message = error.format_message()  # empty where typer has shown help instead
            return f"{message} (espcn --help shows what there is)" if message else "", 2
        case _:
            return f"{type(error).__name__}: {error} (a bug; --debug shows where)", 4


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"espcn {package_version('espcn')}")
        raise typer.Exit


@app.callback()
def entry(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Exact, restartable super-resolution of huge images."""


@app.command(name="upscale")
def upscale_command(  # noqa: PLR0913 - one parameter per flag
    source: Annotated[str, typer.Argument(help="GeoTIFF, JP2, VRT, PNG, JPEG, Zarr or DICOM.")],
    output: Annotated[
        str,
        typer.Argument(help="Result: .tif (COG), .zarr or .png; of DICOM a folder or .zarr."),
    ],
    *,
    more: Annotated[
        list[str] | None, typer.Option("--output", help="One more result of the same pass.")
    ] = None,
    model: Annotated[str | None, flag("model.name", "--model", "-m")] = None,
    scale: Annotated[int | None, flag("model.scale")] = None,
    bands: Bands = None,
    precision: Annotated[str | None, flag("model.precision")] = None,
    consistency: Annotated[int | None, flag("model.consistency")] = None,
    device: Annotated[str | None, flag("model.device")] = None,
    cluster: Annotated[str | None, flag("cluster.cluster")] = None,
    workers: Annotated[int | None, flag("cluster.workers")] = None,
    compress: Annotated[str | None, flag("output.compress")] = None,
    syntax: Annotated[str | None, flag("output.syntax")] = None,
    deidentify: Annotated[bool | None, flag("output.deidentify", "--deidentify")] = None,
    categorical: Annotated[str | None, flag("source.categorical")] = None,
    preview: Annotated[bool | None, flag("report.preview", "--preview")] = None,
    config: ConfigFile = None,
    assignments: Assignments = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace results that exist.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and stop.")] = False,
    as_json: AsJson = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
    debug: Debug = False,  # noqa: ARG001 - `run` looks at it
) -> None:
    """Super-resolve one image."""
    from workflows.config import make_job, read_settings

    flags = {
        "model": model,
        "scale": scale,
        "bands": bands,
        "precision": precision,
        "consistency": consistency,
        "device": device,
        "cluster": cluster,
        "workers": workers,
        "compress": compress,
        "syntax": syntax,
        "deidentify": deidentify,
        "categorical": categorical,
        "preview": preview,
    }
    settings = read_settings(config, assignments or (), flags=flags)
    job = make_job(source, (output, *(more or ())), settings, overwrite=overwrite)
    if dry_run:
        _plan(job, as_json=as_json, quiet=quiet)
    else:
        _upscale(job, as_json=as_json, quiet=quiet)


def _plan(job: Job, *, as_json: bool, quiet: bool) -> None:
    """Decide everything and show it; refuse what the job itself would refuse."""
    from workflows.console import open_console, show_facts, show_warning
    from workflows.facts import make_facts
    from workflows.fit import check_fit
    from workflows.prepare import prepare
    from workflows.report import report_json

    prepared = prepare(job)
    check_fit(prepared)
    facts = make_facts(prepared)
    for warning in () if quiet else facts.warnings:
        show_warning(open_console(stderr=True), warning)
    if as_json:
        typer.echo(report_json(facts), nl=False)
    else:
        show_facts(open_console(), facts)


def _upscale(job: Job, *, as_json: bool, quiet: bool) -> None:
    """Do the job and show what came of it."""
    from workflows.console import open_console, show_report
    from workflows.progress import watching
    from workflows.report import report_json
    from workflows.upscale import upscale

    with watching(open_console(stderr=True), quiet=quiet) as on_event:
        outcome = upscale(job, on_event)
    report = outcome.report
    assert report is not None
    if as_json:
        typer.echo(report_json(report), nl=False)
    elif not quiet:
        show_report(open_console(), report, outcome.extras)


@app.command()
def inspect(
    source: Annotated[str, typer.Argument(help="Image, or a folder of DICOM files.")],
    *,
    bands: Bands = None,
    categorical: Annotated[str | None, flag("source.categorical")] = None,
    phi: Annotated[bool, typer.Option("--phi", help="Of DICOM, also show of whom it is.")] = False,
    assignments: Assignments = None,
    as_json: AsJson = False,
    debug: Debug = False,  # noqa: ARG001 - `run` looks at it
) -> None:
    """Show what is known of an image before a pixel is read."""
    from pipeline.serial import to_json
    from workflows.config import make_job, read_settings
    from workflows.console import open_console, show_dicom, show_profile
    from workflows.inspect import read_profile
    from workflows.inspect_dicom import inspect_dicom

    flags = {"bands": bands, "categorical": categorical}
    job = make_job(source, (), read_settings(None, assignments or (), flags=flags))
    if (found := inspect_dicom(source, job.input, phi=phi)) is not None:
        if as_json:
            typer.echo(json.dumps(to_json(found), indent=2, ensure_ascii=False))
        else:
            show_dicom(open_console(), found)
        return
    profile = read_profile(source, job.input)
    if as_json:
        typer.echo(json.dumps(to_json(profile), indent=2, ensure_ascii=False))
    else:
        show_profile(open_console(), profile)


@app.command()
def sample(
    output: Annotated[Path, typer.Argument(help="GeoTIFF to write.")],
    *,
    height: Annotated[int, typer.Option(min=16, help="Rows.")] = 1000,
    width: Annotated[int, typer.Option(min=16, help="Columns.")] = 1200,
    patch: Annotated[
        int | None, typer.Option(help="Repeat the ground after so many pixels: fast, for size.")
    ] = None,
    debug: Debug = False,  # noqa: ARG001 - `run` looks at it
) -> None:
    """Draw the demo scene: four bands, an invented landscape, nodata at the edge."""
    from workflows.sample import Scene, generate

    generate(output, Scene(height, width, patch=patch, samples=3 if patch is None else 1))
    typer.echo(str(output))


ForTraining = Annotated[
    bool, typer.Option("--train", help="Options of train. Default: what the file's sections say.")
]

ForBatch = Annotated[
    bool, typer.Option("--batch", help="Options of batch. Default: what the file's sections say.")
]


def _subject(file: Path | None, *, for_training: bool, for_batch: bool) -> Subject:
    """What a configuration is about."""
    from workflows.config import subject_of

    if for_training and for_batch:
        raise typer.BadParameter("--train excludes --batch: give one")
    return "train" if for_training else "batch" if for_batch else subject_of(file)


@config_app.command()
def show(
    file: Annotated[Path | None, typer.Argument(help="Configuration file; none: defaults.")] = None,
    *,
    for_training: ForTraining = False,
    for_batch: ForBatch = False,
    assignments: Assignments = None,
    as_json: AsJson = False,
    debug: Debug = False,  # noqa: ARG001 - `run` looks at it
) -> None:
    """Explain every option of upscale, of train or of batch: value, who chose it, what it does."""
    from pipeline.serial import to_json
    from workflows.config import read_settings
    from workflows.console import open_console, show_settings

    subject = _subject(file, for_training=for_training, for_batch=for_batch)
    settings = read_settings(file, assignments or (), subject=subject)
    if as_json:
        typer.echo(json.dumps(to_json(settings), indent=2))
    else:
        show_settings(open_console(), settings, subject)


@config_app.command()
def check(
    file: Annotated[Path, typer.Argument(help="Configuration file of upscale, train or batch.")],
    *,
    for_training: ForTraining = False,
    for_batch: ForBatch = False,
    debug: Debug = False,  # noqa: ARG001 - `run` looks at it
) -> None:
    """Check a configuration file; says what is wrong, or that nothing is."""
    from workflows.config import check_settings, read_settings

    subject = _subject(file, for_training=for_training, for_batch=for_batch)
    chosen = check_settings(read_settings(file, subject=subject), subject)
    typer.echo(f"{file}: {chosen} options of espcn {subject} set, all valid")


if __name__ == "__main__":
    main()
