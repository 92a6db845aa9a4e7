"""The published figures: bicubic on Set5 to both decimals, and what the shipped networks reach."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

import espcn
from espcn import metrics, resample
from espcn.evaluation import Restore, paper

SET5 = Path(__file__).parents[2] / "shared" / "data" / "sr" / "set5"

BICUBIC = {2: 33.66, 3: 30.39, 4: 28.42}
"""Mean PSNR of the luma in the papers' tables, dB."""

LEAST = {
    **{"general-x2": 37.0, "general-x3": 33.05, "general-x4": 30.80},
    **{"paper-x3": 33.15, "paper-x4": 30.92},
}
"""What shipped networks must reach, dB."""


@pytest.fixture(scope="module")
def planes() -> list[np.ndarray]:
    if not SET5.exists():
        pytest.skip("Set5 is not on this machine")
    return [
        metrics.luma(np.asarray(Image.open(path).convert("RGB")))
        for path in sorted(SET5.glob("*.png"))
    ]


def restored_psnr(plane: np.ndarray, scale: int, restore: Restore) -> float:
    trial = paper(plane[None], scale, restore=restore)
    return trial.figures(trial.restored).whole.psnr


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bicubic_on_set5_is_what_the_papers_print(planes: list[np.ndarray], scale: int) -> None:
    def enlarge(low: np.ndarray) -> np.ndarray:
        return resample.enlarge(low[0], scale)[None]

    scores = [restored_psnr(plane, scale, enlarge) for plane in planes]
    assert round(float(np.mean(scores)), 2) == BICUBIC[scale]


@pytest.mark.parametrize("name", LEAST)
def test_a_shipped_network_beats_bicubic_as_its_card_says(
    planes: list[np.ndarray], name: str
) -> None:
    upscaler = espcn.load(name)
    scale = upscaler.scale
    unit = 1.0 if upscaler.card.equivariant else 255.0

    def restore(low: np.ndarray) -> np.ndarray:
        seen = np.pad(low[0] / np.float32(unit), upscaler.halo, mode="symmetric")
        return upscaler(seen[None].astype(np.float32)) * np.float32(unit)

    reached = np.mean([restored_psnr(plane, scale, restore) for plane in planes])
    card = upscaler.card
    assert reached >= LEAST[name]
    assert reached == pytest.approx(card.metrics["set5_psnr_y"], abs=0.005)
    assert card.metrics["set5_psnr_y_bicubic"] == pytest.approx(BICUBIC[scale], abs=0.005)


def test_psnr_is_scikit_images() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 256, (40, 50), dtype=np.uint8)
    restored = random.integers(0, 256, (40, 50), dtype=np.uint8)
    oracle = peak_signal_noise_ratio(truth[3:-3, 3:-3], restored[3:-3, 3:-3], data_range=255)
    assert metrics.psnr(restored, truth, border=3) == pytest.approx(oracle, abs=1e-9)
    assert metrics.psnr(truth, truth) == float("inf")


def test_luma_has_the_studio_range() -> None:
    black_white = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0]]], dtype=np.uint8)
    np.testing.assert_array_equal(metrics.luma(black_white), [[16, 235, 81]])
