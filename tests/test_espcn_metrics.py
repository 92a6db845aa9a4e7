"""Measures against scikit-image and against answers that are known; the two protocols."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.metrics import (
    mean_squared_error,
    peak_signal_noise_ratio,
    structural_similarity,
)

from espcn import ModelError, metrics, resample
from espcn.degradation import Degradation
from espcn.evaluation import Quality, average, paper, wald

BICUBIC = Degradation("bicubic", 3)


def picture(*shape: int, dtype: str = "uint16", low: float = 100, high: float = 9000) -> np.ndarray:
    """Noise over slopes."""
    random = np.random.default_rng(7)
    y, x = np.mgrid[: shape[-2], : shape[-1]]
    values = random.random(shape) + (y + 2 * x) / (y + 2 * x).max()
    return (low + (high - low) * values / 2).astype(dtype)


def disturbed(truth: np.ndarray) -> np.ndarray:
    spread = 0.1 * float(np.ptp(truth))
    noise = np.random.default_rng(8).normal(0, spread, truth.shape)
    return np.clip(truth + noise, 0, truth.max()).astype(truth.dtype)


@pytest.mark.parametrize("border", [0, 3])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_psnr_ssim_and_rmse_are_scikit_images(dtype: str, border: int) -> None:
    truth = picture(60, 47, dtype=dtype, low=0, high=250)
    restored = disturbed(truth)
    peak = float(np.ptp(truth))
    cut = slice(border, -border or None)
    pair = truth[cut, cut].astype(float), restored[cut, cut].astype(float)
    assert metrics.psnr(restored, truth, border=border, peak=peak) == pytest.approx(
        peak_signal_noise_ratio(*pair, data_range=peak), abs=1e-9
    )
    assert metrics.rmse(restored, truth, border=border) == pytest.approx(
        math.sqrt(mean_squared_error(*pair)), rel=1e-12
    )
    oracle = structural_similarity(
        *pair, data_range=peak, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    ours = metrics.ssim(restored, truth, border=border, peak=peak)
    assert ours == pytest.approx(oracle, abs=1e-9)
    assert 0.1 < ours < 0.99


def test_what_is_the_same_is_perfect() -> None:
    truth = picture(3, 30, 40)
    assert metrics.psnr(truth, truth, peak=9000) == math.inf
    assert metrics.ssim(truth, truth, peak=9000) == pytest.approx(1.0, abs=1e-12)
    assert metrics.rmse(truth, truth) == metrics.bias(truth, truth) == 0.0
    assert metrics.spectral_angle(truth, truth) == pytest.approx(0.0, abs=1e-6)


def test_the_bias_is_positive_where_it_comes_out_brighter() -> None:
    truth = picture(30, 40)
    brighter = truth + np.uint16(12)
    assert metrics.bias(brighter, truth) == pytest.approx(12.0)
    assert metrics.bias(truth, brighter, border=5) == pytest.approx(-12.0)
    assert metrics.rmse(brighter, truth) == pytest.approx(12.0)


@pytest.mark.parametrize("degrees", [0.0, 1e-5, 0.5, 30.0, 90.0, 180.0])
def test_spectra_turned_by_an_angle_are_that_angle_apart(degrees: float) -> None:
    angle = np.radians(degrees)
    truth = np.stack([np.full((4, 5), 3.0), np.zeros((4, 5))])
    turned = np.stack([np.full((4, 5), 70 * np.cos(angle)), np.full((4, 5), 70 * np.sin(angle))])
    assert metrics.spectral_angle(turned, truth) == pytest.approx(degrees, rel=1e-9, abs=1e-12)


def test_pixels_without_a_spectrum_have_no_angle() -> None:
    truth = np.ones((2, 4, 5))
    other = truth * np.array([1.0, 0.0])[:, None, None]
    other[:, 0] = 0
    assert metrics.spectral_angle(other, truth) == pytest.approx(45.0)
    assert math.isnan(metrics.spectral_angle(np.zeros_like(truth), truth))


@given(st.floats(-50, 50), st.floats(0.1, 10))
def test_the_angle_does_not_mind_brightness(exponent: float, factor: float) -> None:
    truth = picture(4, 6, 7).astype(float)
    other = disturbed(picture(4, 6, 7)).astype(float)
    before = metrics.spectral_angle(other, truth)
    assert metrics.spectral_angle(factor * other, truth * 2.0**exponent) == pytest.approx(before)


def test_consistency_is_what_degrading_again_leaves() -> None:
    truth = picture(2, 36, 45).astype(float)
    low = BICUBIC.shrink(truth)
    assert metrics.consistency(truth, low, BICUBIC) == 0.0
    assert metrics.consistency(truth + 4.0, low, BICUBIC) == pytest.approx(4.0)
    gaussian = Degradation("gaussian", 3, (1.5,))
    expected = metrics.rmse(gaussian.shrink(truth), low)
    assert metrics.consistency(truth, low, gaussian) == pytest.approx(expected)
    assert expected > 1


def test_what_cannot_be_compared_is_said() -> None:
    with pytest.raises(ModelError, match="need equal shapes"):
        metrics.rmse(np.zeros((4, 5)), np.zeros((5, 4)))
    with pytest.raises(ModelError, match="need equal shapes and pixels inside"):
        metrics.psnr(np.zeros((6, 6)), np.zeros((6, 6)), border=3)
    with pytest.raises(ModelError, match="SSIM needs 11 x 11 px, got 10 x 14"):
        metrics.ssim(np.zeros((16, 20)), np.zeros((16, 20)), peak=1, border=3)


# ------------------------------------------------------------------------- the protocols


def bicubic(low: np.ndarray) -> np.ndarray:
    return np.stack([resample.enlarge(band, 3) for band in low])


def test_the_paper_s_protocol_takes_the_luma_of_rgb_and_grey_as_it_is() -> None:
    rgb = picture(3, 50, 61, dtype="uint8", low=0, high=255)
    trial = paper(rgb, 3, restore=bicubic)
    assert (trial.truth.shape, trial.low.shape) == ((1, 48, 60), (1, 16, 20))
    np.testing.assert_array_equal(trial.truth[0], metrics.luma(np.moveaxis(rgb, 0, -1))[:48, :60])
    np.testing.assert_array_equal(trial.restored, trial.bicubic)
    low = resample.shrink(trial.truth[0].astype(np.float64), 3).astype(np.float32)
    shown = np.clip(np.floor(resample.enlarge(low, 3) + 0.5), 0, 255)
    np.testing.assert_array_equal(trial.restored[0], shown)
    psnr = metrics.psnr(trial.restored, trial.truth, border=3)
    assert trial.figures(trial.restored).whole.psnr == psnr
    grey = paper(rgb[:1], 3, restore=bicubic)
    np.testing.assert_array_equal(grey.truth[0], rgb[0, :48, :60])
    assert grey.peaks == (255.0,)


@pytest.mark.parametrize("wrong", [picture(3, 30, 30), picture(2, 30, 30, dtype="uint8")])
def test_the_paper_s_protocol_refuses_what_it_is_not_for(wrong: np.ndarray) -> None:
    with pytest.raises(ModelError, match="choose the protocol wald"):
        paper(wrong, 3, restore=bicubic)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32", "float64"])
def test_any_data_type_is_measured_in_its_own_counts(dtype: str) -> None:
    truth = picture(2, 45, 54, dtype=dtype, low=0, high=120)
    trial = wald(truth, BICUBIC, restore=bicubic)
    assert trial.restored.dtype == trial.bicubic.dtype == truth.dtype
    assert trial.peaks == pytest.approx([float(np.ptp(band)) for band in truth])
    whole, bands = (getattr(trial.figures(trial.restored), name) for name in ("whole", "bands"))
    for band, quality in enumerate(bands):
        pair = trial.restored[band], truth[band]
        assert quality.rmse == metrics.rmse(*pair, border=3)
        assert quality.psnr == metrics.psnr(*pair, border=3, peak=trial.peaks[band])
        assert quality.spectral_angle is None
    assert whole.rmse == pytest.approx(metrics.rmse(trial.restored, truth, border=3))
    assert whole.spectral_angle == metrics.spectral_angle(trial.restored, truth, border=3)


def test_values_are_rounded_and_clipped_as_they_would_be_written() -> None:
    truth = np.zeros((1, 33, 33), np.uint8)
    trial = wald(truth, BICUBIC, restore=lambda _: np.full((1, 33, 33), 300.4, np.float32))
    assert (trial.restored == 255).all()
    trial = wald(truth, BICUBIC, restore=lambda _: np.full((1, 33, 33), 7.5, np.float32))
    assert (trial.restored == 8).all()
    assert trial.peaks == (1.0,)


def test_every_band_is_degraded_by_its_own_blur() -> None:
    truth = picture(2, 45, 54)
    sensor = Degradation("sensor", 3, (0.8, 1.6))
    trial = wald(truth, sensor, restore=bicubic)
    np.testing.assert_array_equal(trial.low, sensor.shrink(truth))
    same = wald(truth[:1], sensor, restore=bicubic)
    assert same.degradation.sigma == (pytest.approx(1.2),)


def test_what_cannot_be_measured_is_said() -> None:
    with pytest.raises(ModelError, match="all finite"):
        wald(np.full((1, 30, 30), np.nan), BICUBIC, restore=bicubic)
    with pytest.raises(ModelError, match="does not enlarge by 3"):
        wald(picture(1, 30, 30), BICUBIC, restore=lambda low: low)


def test_averages_are_means_and_roots_of_mean_squares() -> None:
    one = Quality(30.0, 0.8, 3.0, 1.0, 0.0)
    two = Quality(40.0, 0.9, 4.0, -2.0, 2.0, spectral_angle=5.0)
    both = average([one, two])
    assert (both.psnr, both.bias, both.spectral_angle) == (35.0, -0.5, 5.0)
    assert both.ssim == pytest.approx(0.85)
    assert both.rmse == pytest.approx(math.sqrt(12.5))
    assert both.consistency == pytest.approx(math.sqrt(2))
    assert average([one]) == one
