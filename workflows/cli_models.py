"""The commands of `espcn` about models, and what its other commands share with them.

`workflows.cli` adds these to its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from espcn.evaluation import Protocol
from workflows.catalogue import Option, Subject, catalogue

FAILED = 5
"""Exit code of a model that does not beat bicubic."""
INTERRUPTED = 130
"""What shells report for Ctrl-C: 128 + SIGINT."""

models_app = typer.Typer()
"""Commands that `espcn` shows beside its own."""


def flag(key: str, *names: str, subject: Subject = "upscale") -> object:
    """A flag for an option: help, choices and default are those of the option."""
    option = catalogue(subject)[key]
    default = f" Default: {option.default}." if option.default else ""
    return typer.Option(
        *names,
        metavar="|".join(option.choices) or None,
        help=f"{option.doc}{default}",
        autocompletion=_complete(option) if option.choices else None,
    )


def _complete(option: Option) -> Callable[[], list[str]]:
    return lambda: list(option.choices)


Debug = Annotated[bool, typer.Option("--debug", help="Log in detail; tracebacks of errors.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Bands = Annotated[str | None, typer.Option(help="Bands to take, such as 3,2,1.")]
Assignments = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Set any option of config show (of train: config show --train); repeatable.",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a file that exists.")]
Model = Annotated[
    str, typer.Argument(help="Name of a model, or a .safetensors file.", show_default=False)
]
Data = Annotated[
    list[str], typer.Argument(help="Images, and folders of images.", show_default=False)
]


@models_app.command()
def models(*, as_json: AsJson = False, debug: Debug = False) -> None:  # noqa: ARG001
    """List the models that ship: scale, bands, measured quality."""
    from espcn import shipped
    from workflows.console import open_console, show_models

    cards = shipped()
    if as_json:
        typer.echo(json.dumps([card.as_dict() for card in cards], indent=2))
    else:
        show_models(open_console(), cards)


@models_app.command(name="import")
def import_command(
    checkpoint: Annotated[
        Path, typer.Argument(help="Weights of another ESPCN: .pth, .pt or .safetensors.")
    ],
    output: Annotated[
        Path | None,
        typer.Argument(
            help="Weights file to write: .safetensors. Default: beside the checkpoint, by its name."
        ),
    ] = None,
    *,
    overwrite: Overwrite = False,
    debug: Debug = False,  # noqa: ARG001 - `run` looks at it
) -> None:
    """Convert the weights of another ESPCN project; no pickled code is ever run."""
    from espcn import import_checkpoint
    from workflows.console import open_console, show_models

    card = import_checkpoint(checkpoint, output, overwrite=overwrite)
    show_models(open_console(), [card])


@models_app.command(name="train")
def train_command(  # noqa: PLR0913 - one parameter per flag
    data: Annotated[
        list[str] | None,
        typer.Argument(help="Images, and folders of images, to learn from.", show_default=False),
    ] = None,
    *,
    more: Annotated[list[str] | None, typer.Option("--train", "-t", help="The same.")] = None,
    val: Annotated[
        list[str] | None,
        typer.Option("--val", "-v", help="Images to validate with; none: a share is held back."),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Weights file (.safetensors), or its folder.")
    ],
    config: Annotated[
        Path | None, typer.Option("--config", help="Configuration file; see configs/train.")
    ] = None,
    scale: Annotated[int | None, flag("recipe.scale", subject="train")] = None,
    channels: Annotated[str | None, flag("data.channels", subject="train")] = None,
    bands: Annotated[str | None, typer.Option(help="Bands to take, such as B04,B03.")] = None,
    degradation: Annotated[
        str | None, flag("degradation.kind", "--degradation", subject="train")
    ] = None,
    minutes: Annotated[float | None, flag("run.minutes", subject="train")] = None,
    epochs: Annotated[int | None, flag("run.epochs", subject="train")] = None,
    device: Annotated[str | None, flag("run.device", subject="train")] = None,
    val_fraction: Annotated[float | None, flag("data.val_fraction", subject="train")] = None,
    val_region: Annotated[str | None, flag("data.val_region", subject="train")] = None,
    seed: Annotated[int | None, flag("recipe.seed", subject="train")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an interrupted run.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a model that exists.")
    ] = False,
    assignments: Assignments = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
    debug: Debug = False,  # noqa: ARG001 - `run` looks at it
) -> None:
    """Train a network on your own images: weights, card and pictures.

    Exit code 5 if it does not beat bicubic on what was held back.
    """
    from workflows.config import make_training, read_settings
    from workflows.console import open_console
    from workflows.train import train
    from workflows.train_progress import show_interruption, show_outcome, watching_training

    flags = {
        "scale": scale,
        "channels": channels,
        "bands": bands,
        "degradation": degradation,
        "minutes": minutes,
        "epochs": epochs,
        "device": device,
        "val_fraction": val_fraction,
        "val_region": val_region,
        "seed": seed,
    }
    if val and (val_fraction is not None or val_region is not None):
        raise typer.BadParameter("--val excludes --val-fraction and --val-region: give one")
    sources = [*(data or ()), *(more or ())]
    if not sources:
        raise typer.BadParameter("name images, or folders of images, to learn from")
    settings = read_settings(config, assignments or (), flags=flags, subject="train")
    training = make_training(
        sources, output, settings, validation=val or (), overwrite=overwrite, resume=resume
    )
    terminal = open_console(stderr=True)
    try:
        with watching_training(terminal, quiet=quiet) as watcher:
            outcome = train(training, watcher.progress, watcher.samples)
    except KeyboardInterrupt:
        show_interruption(terminal, training)
        raise typer.Exit(INTERRUPTED) from None
    if outcome is None:
        return
    if not quiet:
        show_outcome(open_console(), outcome)
    if outcome.interrupted:
        raise typer.Exit(INTERRUPTED)
    if not outcome.passed:
        raise typer.Exit(FAILED)


@models_app.command(name="evaluate")
def evaluate_command(  # noqa: PLR0913 - one parameter per flag
    model: Model,
    data: Data,
    *,
    protocol: Annotated[
        Protocol,
        typer.Option(
            help="wald: any bands, in their own counts. paper: luma of 8-bit pictures, bicubic."
        ),
    ] = "wald",
    degradation: Annotated[
        str | None,
        typer.Option(
            help="What the data is degraded by: bicubic, sentinel2, landsat, or such as 'gaussian "
            "x3 sigma 1.5'. Default: what the model was trained for, of a sensor band by band."
        ),
    ] = None,
    scale: Annotated[int | None, flag("model.scale")] = None,
    consistency: Annotated[int | None, flag("model.consistency")] = None,
    bands: Bands = None,
    report: Annotated[
        Path | None, typer.Option(help="Folder for evaluation.json and a sheet of pictures.")
    ] = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    debug: Debug = False,  # noqa: ARG001 - `run` looks at it
) -> None:
    """Measure a model on images that are degraded and restored, beside bicubic."""
    from workflows.config import make_job, read_settings
    from workflows.console import open_console, show_evaluation
    from workflows.evaluate import evaluate, evaluation_json
    from workflows.trials import Exam

    flags = {"model": model, "scale": scale, "consistency": consistency, "bands": bands}
    job = make_job("", (), read_settings(None, assignments or (), flags=flags))
    exam = Exam(
        data=tuple(data),
        model=job.model,
        protocol=protocol,
        degradation=degradation,
        input=job.input,
        radiometry=job.radiometry,
        report=report,
    )
    terminal = open_console(stderr=True)
    with terminal.status("measuring") as status:
        evaluation = evaluate(exam, lambda name: status.update(f"measuring {name}"))
    if as_json:
        typer.echo(evaluation_json(evaluation), nl=False)
    else:
        show_evaluation(open_console(), evaluation)


@models_app.command(name="export")
def export_command(
    model: Model,
    output: Annotated[Path, typer.Argument(help="File to write: .onnx.", show_default=False)],
    *,
    scale: Annotated[int | None, flag("model.scale")] = None,
    overwrite: Overwrite = False,
    debug: Debug = False,  # noqa: ARG001 - `run` looks at it
) -> None:
    """Write a model as ONNX for other programs, checked against our own upscaler."""
    from espcn import describe, export_onnx
    from workflows.console import open_console, show_warning

    path = export_onnx(model, output, scale=scale, overwrite=overwrite)
    warning = describe(model, scale=scale).warning
    if warning:
        show_warning(open_console(stderr=True), warning)
    typer.echo(str(path))
