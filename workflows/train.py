"""The story of `espcn train`: a network for the user's own images, and what is known of it.

samples   data -> windows that are trained on, windows that are held back
train     a network, measured on the way; interrupted at any time, resumed to the same result
measure   the network that is written, on what was held back, beside bicubic
write     model.safetensors, model.md (its card), model.png (pictures)

    model.training/      checkpoint.safetensors while it runs, split.json, events of TensorBoard
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from espcn import launched
from espcn.material import Material
from espcn.metrics import SSIM_SIDE
from espcn.pairs import Picture
from espcn.recipe import Budget
from pipeline.errors import ConfigError, PublishError
from pipeline.stage import replacing
from workflows.drawing import draw_sheet, png_bytes
from workflows.held_back import judge
from workflows.model_card import Facts, card_text
from workflows.model_origin import band_names_of, origin_of, verdict_of
from workflows.sheet import PANEL
from workflows.train_log import TrainingLog
from workflows.train_options import Training
from workflows.training_data import Samples, read_samples

if TYPE_CHECKING:
    from espcn.course import Progress, Trained
    from workflows.samples import Sample


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a training run."""

    model: Path
    """The weights."""
    card: Path
    """Their card, in Markdown."""
    sheet: Path
    """Pictures: HR, LR, bicubic, SR."""
    facts: Facts
    """Everything that the card says."""

    @property
    def interrupted(self) -> bool:
        """Whether it was stopped before its last step, and may be resumed."""
        return self.facts.trained.interrupted

    @property
    def passed(self) -> bool:
        """Whether the network beats bicubic on what was held back."""
        return self.facts.verdict == "pass"


def train(
    training: Training,
    report: Callable[[Progress], None] = lambda _: None,
    on_samples: Callable[[Samples], None] = lambda _: None,
) -> Outcome | None:
    """Train, measure and write; None in all processes of several but the first.

    Raises ConfigError, SourceError, ModelError and PublishError; what exists stays as it was.
    """
    from espcn.training import train as descend

    _check(training)
    samples = read_samples(
        training.sources,
        training.data,
        scale=training.recipe.scale,
        validation=training.validation,
        exclude=[*training.outputs, training.folder],
    )
    on_samples(samples)
    material = make_material(training, samples)
    with TrainingLog() as log:

        def begin() -> None:
            if launched.first():
                _begin(training, samples, log)

        def note(progress: Progress) -> None:
            log.add(progress)
            report(progress)

        trained = descend(
            training.recipe,
            material,
            budget=Budget(training.run.minutes, training.run.epochs),
            device=training.run.device,
            threads=training.run.threads or _own_cores(),
            checkpoint=training.checkpoint,
            resume=training.resume,
            begin=begin,
            report=note,
        )
    if not launched.first():
        return None
    outcome = _finish(training, samples, material, trained)
    if not outcome.interrupted:
        training.checkpoint.unlink(missing_ok=True)
    return outcome


def make_material(training: Training, samples: Samples) -> Material:
    """The samples with what is done to each, and the range of their values."""

    def pictures(some: Sequence[Sample]) -> list[Picture]:
        return [Picture(one.pixels, training.degradation_of(one.bands)) for one in some]

    low, high = training.run.value_range or _range(samples.train)
    return Material(pictures(samples.train), pictures(samples.validation), high - low, low)


def _check(training: Training) -> None:
    """Refuse what would overwrite or could not be written; raises ConfigError."""
    output, checkpoint = training.output, training.checkpoint
    if output.suffix != ".safetensors":
        raise ConfigError(f"{output}: the name of a weights file ends in .safetensors")
    if not (output.parent.is_dir() or output.parent.parent.is_dir()):
        raise ConfigError(f"{output}: there is no folder {output.parent.parent}")
    wrong = [path for path in training.outputs if path.is_dir()]
    wrong += [training.folder] if training.folder.is_file() else []
    if wrong:
        kind = "folder" if wrong[0].is_dir() else "file"
        raise ConfigError(f"{wrong[0]} is a {kind}; choose another name for the model")
    least = SSIM_SIDE + 2 * training.recipe.scale
    if training.data.side < least:
        raise ConfigError(
            f"data.side {training.data.side} leaves too little to measure: need at least {least}"
        )
    if training.resume and not checkpoint.exists():
        raise ConfigError(f"{output}: there is no interrupted run to resume ({checkpoint})")
    if training.resume or training.overwrite:
        return
    if checkpoint.exists():
        raise ConfigError(
            f"{output}: an interrupted run lies in {checkpoint}; go on with --resume, or begin "
            "anew with --overwrite"
        )
    for path in training.outputs:
        if path.exists():
            raise ConfigError(f"{path} exists; choose another name or give --overwrite")


def _begin(training: Training, samples: Samples, log: TrainingLog) -> None:
    """The run's folder with the split in it, and what TensorBoard shows."""
    folder = training.folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not training.resume:
            training.checkpoint.unlink(missing_ok=True)
        with replacing(folder / "split.json") as file:
            file.write(json.dumps(samples.split, indent=1, ensure_ascii=False).encode())
        log.begin(folder, resumed=training.resume)
    except OSError as error:
        raise PublishError(f"cannot be written ({error.strerror})", uri=str(folder)) from error


def _own_cores() -> int:
    """Cores for each of the processes of this machine."""
    return max(1, (os.cpu_count() or 1) // launched.count_here())


def _range(samples: Sequence[Sample]) -> tuple[float, float]:
    """The least and the greatest value, or all that 8 bits hold."""
    dtypes = {sample.pixels.dtype for sample in samples}
    if dtypes == {np.dtype(np.uint8)}:
        return 0.0, 255.0
    lowest = min(float(sample.pixels.min()) for sample in samples)
    return lowest, max(float(sample.pixels.max()) for sample in samples)


def _finish(training: Training, samples: Samples, material: Material, trained: Trained) -> Outcome:
    """Measure the network, say what it is, and write it, last of all."""
    from espcn.weights_file import weights_to_bytes

    judgement = judge(trained.weights, training, samples, material)
    verdict = verdict_of(*judgement.bands["all"])
    weights = replace(
        trained.weights,
        band_names=band_names_of(training, samples),
        provenance=origin_of(training, samples, material, trained, verdict=verdict),
    )
    facts = Facts(
        name=training.output.stem,
        training=training,
        samples=samples,
        trained=trained,
        origin=weights.provenance,
        bands=judgement.bands,
    )
    model, card, sheet = training.outputs
    _put(
        {
            model: weights_to_bytes(replace(weights, metrics=facts.metrics)),
            card: card_text(facts).encode(),
            sheet: png_bytes(draw_sheet(judgement.rows, panel=PANEL)),
        }
    )
    return Outcome(model, card, sheet, facts)


def _put(contents: Mapping[Path, bytes]) -> None:
    """Write files that belong together, the first one last; none if one cannot be written."""
    try:
        with ExitStack() as stack:
            for path, data in contents.items():
                stack.enter_context(replacing(path)).write(data)
    except OSError as error:
        uri = str(next(iter(contents)))
        raise PublishError(f"cannot be written ({error.strerror})", uri=uri) from error
