"""What a network makes of the samples that were held back: figures by band, and pictures."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from espcn.evaluation import Figures, Trial, average, wald
from espcn.material import Material
from workflows.drawing import Row
from workflows.sheet import Look, make_row
from workflows.train_options import Training
from workflows.training_data import Samples

if TYPE_CHECKING:
    from espcn.architecture import Weights
    from workflows.samples import Sample

SHOWN = 8
"""Rows of the sheet of pictures."""

Both = tuple[Figures, Figures]
"""Ours and bicubic's."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """How well a network does."""

    bands: dict[str, Both]
    """Of every band, averaged over what was held back; 'all' comes first."""
    rows: list[Row]
    """Pictures, evenly chosen."""


def judge(weights: Weights, training: Training, samples: Samples, material: Material) -> Judgement:
    """Degrade what was held back, restore it by the network as it would be used, and compare."""
    restore, held_back = _restorer(weights, material), samples.validation
    shown = set(np.linspace(0, len(held_back) - 1, SHOWN).round().astype(int).tolist())
    figures, rows = list[Both](), list[Row]()
    for number, sample in enumerate(held_back):
        degradation = training.degradation_of(sample.bands)
        trial = wald(sample.pixels, degradation, restore=restore)
        ours, theirs = trial.figures(trial.restored), trial.figures(trial.bicubic)
        figures.append((ours, theirs))
        if number in shown:
            look = _look(sample, trial, training.output.stem)
            rows.append(make_row(trial, ours, theirs, look))
    return Judgement(_by_band(held_back, figures), rows)


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


def _by_band(samples: Sequence[Sample], figures: Sequence[Both]) -> dict[str, Both]:
    found: dict[str, list[Both]] = {}
    for sample, (ours, theirs) in zip(samples, figures, strict=True):
        for number, name in enumerate(sample.bands):
            one, other = ours.bands[number], theirs.bands[number]
            pair = Figures(one, (one,)), Figures(other, (other,))
            found.setdefault(name or f"band {number + 1}", []).append(pair)
    together = {"all": list(figures), **(found if len(found) > 1 else {})}
    return {name: (_mean(pairs, 0), _mean(pairs, 1)) for name, pairs in together.items()}


def _mean(pairs: Sequence[Both], side: int) -> Figures:
    whole = average([pair[side].whole for pair in pairs])
    return Figures(whole, (whole,))


def _look(sample: Sample, trial: Trial, model: str) -> Look:
    place = f"{Path(sample.name).name} [{sample.window.y}, {sample.window.x}]"
    named = ", ".join(filter(None, sample.bands))
    return Look(
        f"{place} {named}".strip(),
        model,
        bands=(0, 1, 2) if len(trial.truth) >= 3 else (0,),
        photograph=sample.pixels.dtype == np.uint8,
    )
