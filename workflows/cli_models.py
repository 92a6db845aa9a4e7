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
from workflows.catalogue import catalogue

models_app = typer.Typer()
"""Commands that `espcn` shows beside its own."""


def flag(key: str, *names: str) -> object:
    """A flag for an option: help, choices and default are those of the option."""
    option = catalogue()[key]
    default = f" Default: {option.default}." if option.default else ""
    return typer.Option(
        *names,
        metavar="|".join(option.choices) or None,
        help=f"{option.doc}{default}",
        autocompletion=_complete(key) if option.choices else None,
    )


def _complete(key: str) -> Callable[[], list[str]]:
    return lambda: list(catalogue()[key].choices)


Debug = Annotated[bool, typer.Option("--debug", help="Log in detail; tracebacks of errors.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Bands = Annotated[str | None, typer.Option(help="Bands to take, such as 3,2,1.")]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Set any option of config show; repeatable."),
]
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
    output: Annotated[Path, typer.Argument(help="Weights file to write: .safetensors.")],
    *,
    debug: Debug = False,  # noqa: ARG001 - `run` looks at it
) -> None:
    """Convert the weights of another ESPCN project; no pickled code is ever run."""
    from espcn import import_checkpoint
    from workflows.console import open_console, show_models

    card = import_checkpoint(checkpoint, output)
    show_models(open_console(), [card])


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
            "x3 sigma 1.5'. Default: what the model was trained for."
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
    debug: Debug = False,  # noqa: ARG001 - `run` looks at it
) -> None:
    """Write a model as ONNX for other programs, checked against our own upscaler."""
    from espcn import export_onnx

    typer.echo(str(export_onnx(model, output, scale=scale)))
