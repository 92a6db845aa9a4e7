"""The story of `espcn evaluate`: how well a model restores what was degraded on purpose.

find -> trials of every picture -> figures, and a row of the sheet -> mean -> report
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import espcn
from espcn import ModelError
from espcn.degradation import Sensor, named
from espcn.evaluation import Figures, Protocol, Quality, average
from pipeline.doubts import doubts
from pipeline.errors import ConfigError, PipelineError, PublishError, SourceError
from pipeline.options import SourceOptions
from pipeline.profile import Profile
from pipeline.serial import to_json
from pipeline.stage import replacing
from workflows.drawing import Row, draw_sheet, write_png
from workflows.find_sources import READ, Found, Skip, find
from workflows.sheet import MOST, PANEL, make_row
from workflows.trials import Exam, Network, Tried, make_trials

FIGURES, SHEET = "evaluation.json", "sheet.png"
"""Files of a report."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One picture, or one window of a larger one."""

    name: str
    """Its path below the folder that was named, with the window if it is one."""
    height: int
    """Rows that were restored."""
    width: int
    """Columns that were restored."""
    dtype: str
    """numpy's name of its data type, in whose counts errors are."""
    bands: tuple[str, ...]
    """Names of what was measured; '' where unknown."""
    degradation: str
    """What it was degraded by."""
    peaks: tuple[float, ...]
    """Range of values that PSNR and SSIM of each band refer to."""
    model: Figures
    """Of what the network restored."""
    bicubic: Figures
    """Of bicubic enlargement."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What came of it."""

    model: str
    """Name."""
    sha256: str
    """Of its weights."""
    scale: int
    """Its enlargement."""
    protocol: Protocol
    """How it was measured."""
    mean: Quality
    """Of all pictures, as `espcn.evaluation.average` has it."""
    mean_bicubic: Quality
    """The same of bicubic enlargement."""
    pictures: tuple[Measured, ...]
    """One by one."""
    skipped: tuple[Skip, ...]
    """What was not measured, and why."""
    warnings: tuple[str, ...] = ()
    """What a reader should know."""


def evaluate(exam: Exam, on_picture: Callable[[str], None] = lambda _: None) -> Evaluation:
    """Measure a model; `on_picture` hears the name of each picture before it is tried.

    Raises ModelError for a model that is not there, ConfigError for what cannot be asked for,
    SourceError if nothing could be measured, PublishError if the report cannot be written.
    """
    model = exam.model
    network = espcn.load(
        model.name,
        scale=model.scale,
        device=model.device,
        precision=model.precision,
        threads=os.cpu_count() or 1,
    )
    _check(exam, network)
    espcn.consistent(network, steps=model.consistency)  # refuses too many before data is read
    found, skipped = find(exam.data, _widened(exam.input))
    pictures: list[Measured] = []
    rows: list[Row] = []
    measured: list[Profile] = []
    for each in found:
        on_picture(each.name)
        try:
            for one in make_trials(each, exam, network):
                picture = _measure(one)
                pictures.append(picture)
                if exam.report is not None and len(rows) < MOST:
                    rows.append(make_row(one.trial, picture.model, picture.bicubic, one.look))
            measured.append(each.profile)
        except (PipelineError, ModelError) as error:
            skipped += (_skip(each, error),)
    if not pictures:
        last = skipped[-1]
        raise SourceError(f"nothing could be measured: {last.reason}", uri=last.uri)
    warnings = _warnings(exam, network, measured)
    evaluation = _sum_up(exam, network, tuple(pictures), skipped, warnings)
    if exam.report is not None:
        _write(evaluation, rows, exam.report)
    return evaluation


def evaluation_json(evaluation: Evaluation) -> str:
    """An evaluation as text."""
    return json.dumps(to_json(evaluation), indent=2, ensure_ascii=False) + "\n"


def _widened(options: SourceOptions) -> SourceOptions:
    """What can be read but not upscaled can be measured, unless the user chose the drivers."""
    chosen = options.drivers != SourceOptions().drivers
    drivers = options.drivers if chosen else READ.drivers
    return replace(options, drivers=drivers, spacing=READ.spacing)


def _check(exam: Exam, network: Network) -> None:
    """Refuse what no picture could be measured by."""
    if exam.protocol == "paper" and network.bands > 1:
        raise ConfigError(
            f"the paper's protocol measures luma alone, {network.card.name} mixes {network.bands} "
            "bands; choose --protocol wald"
        )
    if exam.degradation is None:
        return
    if exam.protocol == "paper":
        raise ConfigError(
            f"the paper's protocol degrades by MATLAB's bicubic, not by {exam.degradation!r}; "
            "leave --degradation out or choose --protocol wald"
        )
    if exam.degradation not in get_args(Sensor):
        named(exam.degradation, network.scale)


def _measure(tried: Tried) -> Measured:
    trial = tried.trial
    return Measured(
        name=tried.look.name,
        height=trial.truth.shape[1],
        width=trial.truth.shape[2],
        dtype=trial.truth.dtype.name,
        bands=tried.bands,
        degradation=trial.degradation.text,
        peaks=trial.peaks,
        model=trial.figures(trial.restored),
        bicubic=trial.figures(trial.bicubic),
    )


def _skip(found: Found, error: Exception) -> Skip:
    return Skip(found.label, error.message if isinstance(error, PipelineError) else str(error))


def _warnings(exam: Exam, network: Network, profiles: Sequence[Profile]) -> tuple[str, ...]:
    """What should be known of the model and of what it was measured on, each once."""
    card, found = network.card, list[str]()
    for profile in profiles:
        model = f"the model {card.name}"
        found += doubts(profile, network, exam.radiometry, model=model, scene="the data")
    return tuple(dict.fromkeys([card.warning, *found] if card.warning else found))


def _sum_up(
    exam: Exam,
    network: Network,
    pictures: tuple[Measured, ...],
    skipped: tuple[Skip, ...],
    warnings: tuple[str, ...],
) -> Evaluation:
    return Evaluation(
        model=network.card.name,
        sha256=network.card.sha256,
        scale=network.scale,
        protocol=exam.protocol,
        mean=average([each.model.whole for each in pictures]),
        mean_bicubic=average([each.bicubic.whole for each in pictures]),
        pictures=pictures,
        skipped=skipped,
        warnings=warnings,
    )


def _write(evaluation: Evaluation, rows: list[Row], folder: Path) -> None:
    """The figures and the sheet, each in one step; raises PublishError."""
    path = folder / FIGURES
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            file.write(evaluation_json(evaluation).encode())
    except OSError as error:
        raise PublishError(f"cannot be written ({error.strerror})", uri=str(path)) from error
    write_png(draw_sheet(rows, panel=PANEL), folder / SHEET)
