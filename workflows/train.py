"""The story of `espcn train`: a network for the user's own images, and what is known of it.

samples   data -> windows that are trained on, windows that are held back
train     a network, measured on the way; interrupted at any time, resumed to the same result
measure   the network that was written, on what was held back, beside bicubic
write     model.safetensors, model.md (its card), model.png (pictures)

    model.training/      while it runs: checkpoint.safetensors, events of TensorBoard
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from espcn import ModelError
from espcn.degradation import Degradation
from espcn.evaluation import Figures, Trial, average, wald
from espcn.material import Material
from espcn.pairs import Picture
from pipeline.errors import ConfigError
from workflows.drawing import draw_sheet, write_png
from workflows.model_card import Facts, card_text
from workflows.sheet import PANEL, Look, make_row
from workflows.train_log import TrainingLog
from workflows.train_options import Training
from workflows.training_data import Samples, read_samples

if TYPE_CHECKING:
    from PIL.Image import Image

    from espcn.architecture import Weights
    from espcn.training import Progress, Trained
    from workflows.samples import Sample

SHOWN = 8
"""Rows of the sheet of pictures."""


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
    from espcn.training import Budget
    from espcn.training import train as descend

    _check(training)
    samples = read_samples(
        training.sources,
        training.data,
        scale=training.recipe.scale,
        validation=training.validation,
    )
    on_samples(samples)
    material = make_material(training, samples)
    folder = folder_of(training.output)
    folder.mkdir(exist_ok=True)
    with _log(folder, training) as log:

        def note(progress: Progress) -> None:
            log.add(progress)
            report(progress)

        trained = descend(
            training.recipe,
            material,
            budget=Budget(training.run.minutes, training.run.epochs),
            device=training.run.device,
            threads=training.run.threads or os.cpu_count() or 1,
            checkpoint=folder / "checkpoint.safetensors",
            resume=training.resume,
            report=note,
        )
    if not trained.leads:
        return None
    outcome = _finish(training, samples, material, trained)
    if not trained.interrupted:
        (folder / "checkpoint.safetensors").unlink(missing_ok=True)
    return outcome


def make_material(training: Training, samples: Samples) -> Material:
    """The samples with what is done to each, and the range of their values."""

    def pictures(some: Sequence[Sample]) -> list[Picture]:
        return [Picture(one.pixels, _degradation(training, one)) for one in some]

    low, high = training.run.value_range or _range([*samples.train])
    return Material(pictures(samples.train), pictures(samples.validation), high - low, low)


def folder_of(model: Path) -> Path:
    """Where a run keeps its checkpoint and its log."""
    return model.with_name(f"{model.stem}.training")


def _check(training: Training) -> None:
    """Refuse what would overwrite or could not be written; raises ConfigError."""
    output = training.output
    if output.suffix != ".safetensors":
        raise ConfigError(f"{output}: the name of a weights file ends in .safetensors")
    if not output.parent.is_dir():
        raise ConfigError(f"{output}: there is no folder {output.parent}")
    checkpoint = folder_of(output) / "checkpoint.safetensors"
    if training.resume and not checkpoint.exists():
        raise ConfigError(f"{output}: there is no interrupted run to resume ({checkpoint})")
    if training.resume or training.overwrite:
        return
    if checkpoint.exists():
        raise ConfigError(
            f"{output}: an interrupted run lies in {checkpoint}; go on with --resume, or begin "
            "anew with --overwrite"
        )
    if output.exists():
        raise ConfigError(f"{output} exists; choose another name or give --overwrite")


def _log(folder: Path, training: Training) -> AbstractContextManager[TrainingLog]:
    """What TensorBoard shows; of several processes the first one's."""
    if os.environ.get("RANK", "0") != "0":
        return nullcontext(TrainingLog(None))
    return TrainingLog(folder, resumed=training.resume)


def _degradation(training: Training, sample: Sample) -> Degradation:
    return training.degradation.of(training.recipe.scale, sample.bands)


def _range(samples: Sequence[Sample]) -> tuple[float, float]:
    """The least and the greatest value, or all that 8 bits hold."""
    dtypes = {sample.pixels.dtype for sample in samples}
    if dtypes == {np.dtype(np.uint8)}:
        return 0.0, 255.0
    lowest = min(float(sample.pixels.min()) for sample in samples)
    return lowest, max(float(sample.pixels.max()) for sample in samples)


# -------------------------------------------------------------------------- afterwards


def _finish(training: Training, samples: Samples, material: Material, trained: Trained) -> Outcome:
    """Write the network, measure what was written, and say what it is."""
    from espcn.weights_file import write_weights

    names = _band_names(training, samples)
    verdict = _verdict(trained)
    weights = replace(trained.weights, band_names=names)
    weights = replace(weights, provenance=_provenance(training, samples, trained, verdict))
    trials = _trials(weights, training, samples, material)
    figures = [(trial.figures(trial.restored), trial.figures(trial.bicubic)) for trial in trials]
    facts = Facts(
        name=training.output.stem,
        training=training,
        samples=samples,
        trained=trained,
        verdict=verdict,
        bands=_by_band(samples, figures),
    )
    weights = replace(weights, metrics=facts.metrics)
    model, card, sheet = (training.output.with_suffix(s) for s in (".safetensors", ".md", ".png"))
    write_png(_sheet(training, samples, trials, figures), sheet)
    _write_text(card, card_text(facts))
    write_weights(model, weights)
    return Outcome(model, card, sheet, facts)


def _verdict(trained: Trained) -> str:
    """pass, or why not."""
    figures = trained.figures
    if figures.gain > 0:
        return "pass"
    return (
        f"fail: {figures.psnr:.2f} dB on what was held back, bicubic reaches "
        f"{figures.psnr_bicubic:.2f} dB"
    )


def _band_names(training: Training, samples: Samples) -> tuple[str, ...]:
    """Those of a joint network, where all are known; any band may go through the others."""
    names = samples.train[0].bands
    return names if training.data.channels == "joint" and all(names) else ()


def _provenance(
    training: Training, samples: Samples, trained: Trained, verdict: str
) -> dict[str, str]:
    """What the weights say of their making."""
    recipe = asdict(trained.recipe)
    said = {
        "verdict": verdict,
        "degradation": _typical(training, samples).text,
        "recipe": ", ".join(f"{name} {value}" for name, value in recipe.items()),
        "steps_taken": str(trained.steps),
        "minutes": f"{trained.seconds / 60:.1f}",
        "device": trained.device,
        "versions": f"espcn {version('espcn')}, torch {version('torch')}",
        "training_set": samples.fingerprint,
        "split": str(samples.split.get("text", training.data.val_region or "by blocks")),
        "title": training.card.title,
        "training_data": training.card.data,
        "terms": training.card.terms,
        "domain": training.card.domain,
    }
    if training.degradation.kind == "sensor":
        said["sensor"] = training.degradation.sensor
    return {name: text for name, text in said.items() if text}


def _typical(training: Training, samples: Samples) -> Degradation:
    """The one of all samples; of a network for any band the mean of the bands' Gaussians."""
    found = list(dict.fromkeys(_degradation(training, sample) for sample in samples.train))
    if len(found) == 1 or not found[0].sigma:
        return found[0]
    sigma = float(np.mean([one.sigma for one in found]))
    return replace(found[0], sigma=(round(sigma, 4),))


def _trials(
    weights: Weights, training: Training, samples: Samples, material: Material
) -> list[Trial]:
    """What the network, as it would be used, makes of what was held back."""
    restore = _restorer(weights, material)
    return [
        wald(_whole(sample, training.recipe.scale), _degradation(training, sample), restore=restore)
        for sample in samples.validation
    ]


def _whole(sample: Sample, scale: int) -> NDArray[np.generic]:
    height, width = (side - side % scale for side in sample.pixels.shape[1:])
    cropped: NDArray[np.generic] = sample.pixels[:, :height, :width]
    return cropped


def _restorer(
    weights: Weights, material: Material
) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """Pixels in counts through ONNX Runtime, mirrored at the borders."""
    from espcn.onnxruntime_session import OnnxRuntimeSession

    session = OnnxRuntimeSession(weights, threads=os.cpu_count() or 1, split=False)
    halo = ((0, 0), (weights.halo,) * 2, (weights.halo,) * 2)

    def restore(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        gain, offset = (material.peak, material.floor) if weights.input_range else (1.0, 0.0)
        if not weights.input_range:
            offset = float(np.rint(pixels.mean(dtype=np.float64)))
        light = ((pixels - offset) / gain).astype(np.float32)
        return session.run(np.pad(light, halo, mode="symmetric")) * np.float32(gain) + offset

    return restore


def _by_band(
    samples: Samples, figures: Sequence[tuple[Figures, Figures]]
) -> dict[str, tuple[Figures, Figures]]:
    """(ours, bicubic's) of every band, averaged over what was held back; 'all' comes first."""
    found: dict[str, list[tuple[Figures, Figures]]] = {}
    for sample, (ours, theirs) in zip(samples.validation, figures, strict=True):
        for number, name in enumerate(sample.bands):
            pair = (
                Figures(ours.bands[number], (ours.bands[number],)),
                Figures(theirs.bands[number], (theirs.bands[number],)),
            )
            found.setdefault(name or f"band {number + 1}", []).append(pair)
    together = {"all": list(figures), **(found if len(found) > 1 else {})}
    return {name: (_mean(pairs, 0), _mean(pairs, 1)) for name, pairs in together.items()}


def _mean(pairs: Sequence[tuple[Figures, Figures]], side: int) -> Figures:
    whole = average([pair[side].whole for pair in pairs])
    return Figures(whole, (whole,))


def _sheet(
    training: Training,
    samples: Samples,
    trials: Sequence[Trial],
    figures: Sequence[tuple[Figures, Figures]],
) -> Image:
    """Pictures of what was held back, evenly chosen."""
    chosen = np.unique(np.linspace(0, len(trials) - 1, SHOWN).round().astype(int)).tolist()
    rows = []
    for number in chosen:
        sample, trial = samples.validation[number], trials[number]
        bands = (0, 1, 2) if len(trial.truth) >= 3 else (0,)
        place = f"{Path(sample.uri).name} [{sample.window.y}, {sample.window.x}]"
        named = ", ".join(filter(None, sample.bands))
        look = Look(
            f"{place} {named}".strip(),
            training.output.stem,
            bands,
            photograph=sample.pixels.dtype == np.uint8,
        )
        ours, theirs = figures[number]
        rows.append(make_row(trial, ours, theirs, look))
    return draw_sheet(rows, panel=PANEL)


def _write_text(path: Path, text: str) -> None:
    from pipeline.stage import replacing

    try:
        with replacing(path) as file:
            file.write(text.encode())
    except OSError as error:
        raise ModelError(f"cannot write {path}: {error.strerror}") from error
