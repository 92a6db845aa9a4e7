"""What a weights file says of where its network comes from."""

from __future__ import annotations

from dataclasses import asdict, replace
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np

from espcn.degradation import Degradation
from espcn.evaluation import Figures
from espcn.material import Material
from workflows.train_options import Training
from workflows.training_data import Samples

if TYPE_CHECKING:
    from espcn.course import Trained


def verdict_of(ours: Figures, bicubic: Figures) -> str:
    """pass, or fail and why: by the mean PSNR of what was held back."""
    one, other = ours.whole.psnr, bicubic.whole.psnr
    if one > other:
        return "pass"
    return f"fail: {one:.2f} dB on what was held back, bicubic reaches {other:.2f} dB"


def band_names_of(training: Training, samples: Samples) -> tuple[str, ...]:
    """Those of a joint network, where all are known; any band may go through the others."""
    named = [sample.bands for sample in samples.train if all(sample.bands)]
    return named[0] if training.data.channels == "joint" and named else ()


def origin_of(
    training: Training, samples: Samples, material: Material, trained: Trained, *, verdict: str
) -> dict[str, str]:
    """Provenance, for the weights file."""
    said = {
        "verdict": verdict,
        "degradation": _typical(training, samples).text,
        "recipe": ", ".join(f"{name} {value}" for name, value in asdict(trained.recipe).items()),
        "steps_taken": str(trained.steps),
        "minutes": f"{trained.seconds / 60:.1f}",
        "device": trained.device,
        "versions": f"espcn {version('espcn')}, torch {version('torch')}",
        "training_set": samples.fingerprint,
        "split": str(samples.split["text"]),
        "title": training.card.title,
        "training_data": training.card.data,
        "terms": training.card.terms,
        "domain": training.card.domain,
    }
    if training.degradation.kind == "sensor":
        said["sensor"] = training.degradation.sensor
    if trained.weights.input_range is not None:
        said["value_range"] = f"{material.floor:.9g} {material.floor + material.peak:.9g}"
    return {name: text for name, text in said.items() if text}


def _typical(training: Training, samples: Samples) -> Degradation:
    """The one of all samples; of a network for any band the mean of the bands' Gaussians."""
    found = list(dict.fromkeys(training.degradation_of(sample.bands) for sample in samples.train))
    if len(found) == 1 or not found[0].sigma:
        return found[0]
    sigma = float(np.mean([one.sigma for one in found]))
    return replace(found[0], sigma=(round(sigma, 4),))
