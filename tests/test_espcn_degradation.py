"""Degradations: exact on flat fields, unbiased, as sharp as asked, and as far-reaching as said."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from espcn import ModelError, resample
from espcn.degradation import (
    LANDSAT_MTF,
    SENTINEL2_MTF,
    Degradation,
    declared,
    mtf_sigma,
    named,
    sensor_degradation,
)

SCALES = (2, 3, 4, 5, 8)


def degradations() -> list[Degradation]:
    """One of every kind at every scale, blurred a little and a lot."""
    found = [Degradation("bicubic", scale) for scale in SCALES]
    for scale in SCALES:
        for share in (0.05, 0.5, 2.0):
            found.append(Degradation("gaussian", scale, (max(0.1, share * scale),)))
    return [*found, sensor_degradation(3, "sentinel2", ["B8"])]


@st.composite
def any_degradation(draw: st.DrawFn) -> Degradation:
    scale = draw(st.integers(2, 8))
    kind = draw(st.sampled_from(["bicubic", "gaussian", "sensor"]))
    if kind == "bicubic":
        return Degradation("bicubic", scale)
    sigmas = st.lists(st.floats(0.1, 8.0 * scale), min_size=1, max_size=4)
    return Degradation(kind, scale, tuple(draw(sigmas)))  # type: ignore[arg-type]


every = pytest.mark.parametrize("degradation", degradations(), ids=lambda d: d.text)


@every
def test_a_flat_field_stays_what_it_is(degradation: Degradation) -> None:
    scale = degradation.scale
    flat = np.full((2, 5 * scale, 3 * scale), 10_000.0)
    low = degradation.shrink(flat)
    assert (low.shape, low.dtype) == ((2, 5, 3), np.float64)
    np.testing.assert_allclose(low, 10_000.0, rtol=1e-14)


@every
def test_nothing_is_shifted(degradation: Degradation) -> None:
    """A ramp keeps its values at the centres of the LR pixels, along both axes."""
    scale, reach = degradation.scale, degradation.reach
    side = (2 * reach + 3) * scale
    y, x = np.mgrid[:side, :side].astype(np.float64)
    low = degradation.shrink(3 * y - 7 * x)
    centre = (np.arange(side // scale) + 0.5) * scale - 0.5
    expected = 3 * centre[:, None] - 7 * centre
    inner = slice(reach, -reach or None)
    np.testing.assert_allclose(low[inner, inner], expected[inner, inner], atol=1e-10)


@every
def test_an_impulse_reaches_as_far_as_is_said(degradation: Degradation) -> None:
    scale, reach = degradation.scale, degradation.reach
    count = 2 * reach + 5
    answers = degradation.shrink(np.eye(count * scale)[:, None].repeat(scale, axis=1))[:, 0]
    middle = answers[:, count // 2]
    touched = np.flatnonzero(middle) // scale
    assert np.abs(touched - count // 2).max() == reach


@pytest.mark.parametrize("scale", SCALES)
def test_bicubic_is_matlabs(scale: int) -> None:
    fine = np.random.default_rng(0).random((3, 7 * scale, 5 * scale))
    low = Degradation("bicubic", scale).shrink(fine)
    for band, plane in zip(low, fine, strict=True):
        np.testing.assert_allclose(band, resample.shrink(plane, scale), atol=1e-14)
    larger = Degradation("bicubic", scale).enlarge(low)
    np.testing.assert_array_equal(larger[1], resample.enlarge(low[1], scale))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bicubic_is_within_a_count_of_the_published_pairs(shared: Path, scale: int) -> None:
    """Those are rounded after each of the two passes; `resample` meets them to the bit."""
    pairs = sorted((shared / "data/sr/set5_pairs" / f"x{scale}").glob("*_HR.png"))
    assert pairs
    for path in pairs:
        fine, low = _picture(path), _picture(path.with_name(path.name.replace("_HR", "_LR")))
        grown = np.pad(fine, [(0, 0), *[(4 * scale, 4 * scale)] * 2], mode="edge")
        ours = Degradation("bicubic", scale).shrink(grown)[:, 4:-4, 4:-4]
        difference = np.abs(np.clip(np.floor(ours + 0.5), 0, 255) - low)
        assert np.mean(difference <= 1) > 0.999
        assert np.mean(difference == 0) > 0.8


def _picture(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.moveaxis(np.atleast_3d(np.asarray(image)), -1, 0).astype(np.float64)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("mtf", [0.22, 0.26, 0.38])
def test_the_mtf_at_nyquist_is_what_was_asked(scale: int, mtf: float) -> None:
    degradation = Degradation("gaussian", scale, (mtf_sigma(scale, mtf),))
    count = 2 * degradation.reach + 3
    impulses = np.eye(count * scale)[:, None].repeat(scale, axis=1)
    spread = degradation.shrink(impulses)[:, 0, count // 2]  # the weight of every fine pixel
    position = np.arange(spread.size)
    frequency = 1 / (2 * scale)
    transfer = abs(np.sum(spread * np.exp(-2j * np.pi * frequency * position)))
    assert transfer == pytest.approx(mtf, abs=3e-4)


def test_sigma_is_the_field_s_formula() -> None:
    assert mtf_sigma(3, 0.26) == pytest.approx(3 * math.sqrt(-2 * math.log(0.26) / math.pi**2))
    for mtf in (0.0, 1.0, -1.0, math.nan):
        with pytest.raises(ModelError, match="between 0 and 1"):
            mtf_sigma(3, mtf)


def test_the_sensors_have_their_bands_by_either_spelling() -> None:
    found = sensor_degradation(2, "sentinel2", ["B02", "b8a", " B11 "])
    assert found.kind == "sensor"
    assert found.sigma == tuple(mtf_sigma(2, SENTINEL2_MTF[band]) for band in ("B2", "B8A", "B11"))
    assert sensor_degradation(3, "sentinel2", ["B02", "B08"]).sigma == (mtf_sigma(3, 0.26),)
    assert sensor_degradation(3, "landsat", ["B4", "B05"]).sigma == (mtf_sigma(3, 0.31),)
    assert set(LANDSAT_MTF.values()) == {0.31}
    with pytest.raises(ModelError, match=r"sentinel2 has no band B10: choose from B1, B2"):
        sensor_degradation(3, "sentinel2", ["B2", "B10"])
    with pytest.raises(ModelError, match="no band"):
        sensor_degradation(3, "landsat", [])


def test_every_band_has_its_own_blur() -> None:
    fine = np.random.default_rng(1).random((2, 24, 30)).astype(np.float32)
    both = Degradation("sensor", 3, (0.8, 1.6))
    for band, sigma in enumerate(both.sigma):
        alone = Degradation("gaussian", 3, (sigma,)).shrink(fine[band])
        np.testing.assert_array_equal(both.shrink(fine)[band], alone)
    assert both.reach == Degradation("gaussian", 3, (1.6,)).reach
    with pytest.raises(ModelError, match="2 bands does not fit"):
        both.shrink(np.zeros((3, 24, 30)))
    with pytest.raises(ModelError, match="2 bands does not fit"):
        both.shrink(np.zeros((24, 30)))


def test_a_degradation_of_bands_serves_one_of_them_and_any_number() -> None:
    both = Degradation("sensor", 3, (0.8, 1.6))
    assert both.of_band(1) == Degradation("sensor", 3, (1.6,))
    assert both.for_bands(2) == both
    assert both.for_bands(5).sigma == pytest.approx((1.2,))
    for single in (Degradation("bicubic", 2), Degradation("gaussian", 2, (1.0,))):
        assert single.of_band(3) == single.for_bands(3) == single


def test_a_user_names_a_degradation() -> None:
    assert named("bicubic", 3) == Degradation("bicubic", 3)
    assert named("sentinel2", 2, ["B02"]) == sensor_degradation(2, "sentinel2", ["B2"])
    assert named("gaussian x3 sigma 1.5", 3) == Degradation("gaussian", 3, (1.5,))
    with pytest.raises(ModelError, match="does not degrade by 2: give a degradation x2"):
        named("gaussian x3 sigma 1.5", 2)
    with pytest.raises(ModelError, match="is no degradation"):
        named("sensor", 2)


@pytest.mark.parametrize(
    "degradation", [Degradation("bicubic", 3), Degradation("gaussian", 4, (3.0,))]
)
def test_borders_are_mirrored_with_the_edge_repeated(degradation: Degradation) -> None:
    scale, margin = degradation.scale, degradation.reach
    fine = np.random.default_rng(2).random((9 * scale, 8 * scale))
    grown = np.pad(fine, margin * scale, mode="symmetric")
    cut = slice(margin, -margin)
    np.testing.assert_array_equal(degradation.shrink(grown)[cut, cut], degradation.shrink(fine))


@every
def test_a_window_with_its_reach_gives_the_same_bits(degradation: Degradation) -> None:
    scale, reach = degradation.scale, degradation.reach
    fine = np.random.default_rng(3).random(((2 * reach + 9) * scale, (2 * reach + 6) * scale))
    whole = degradation.shrink(fine)
    window = slice(2 * scale, (2 * reach + 5) * scale)
    cut = degradation.shrink(fine[window, window])
    np.testing.assert_array_equal(
        cut[reach : cut.shape[0] - reach, reach : cut.shape[1] - reach],
        whole[2 + reach : 5 + reach, 2 + reach : 5 + reach],
    )


@given(any_degradation())
def test_the_text_can_be_read_back(degradation: Degradation) -> None:
    assert Degradation.parse(degradation.text) == degradation
    assert "\n" not in degradation.text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is no degradation"),
        ("lanczos x3", "choose from bicubic, gaussian, sensor"),
        ("bicubic x99", "choose a scale from 2 to 8"),
        ("bicubic x3 sigma 1", "bicubic takes no sigma"),
        ("gaussian x3", "one for all bands"),
        ("gaussian x3 sigma 1.1.1", "is no degradation"),
        ("gaussian x3 sigma 99", "give 0.1 to 24 fine px"),
        ("sensor x3 sigma 1.5, 1.6", "write it like"),
    ],
)
def test_what_is_no_degradation_is_said(text: str, reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        Degradation.parse(text)


def test_a_card_that_names_no_degradation_means_bicubic() -> None:
    own = Degradation("sensor", 3, (1.57,))
    assert declared({"degradation": own.text}, 3) == own
    assert declared({}, 2) == Degradation("bicubic", 2)
    assert (
        declared({"degradation": "MATLAB bicubic, antialiased, of the luma"}, 4).kind == "bicubic"
    )
    assert declared({"degradation": own.text}, 2) == Degradation("bicubic", 2)


def test_sides_must_be_multiples_of_the_scale() -> None:
    for shape in ((9, 10), (0, 9), (9,)):
        with pytest.raises(ModelError, match="multiples of 3"):
            Degradation("bicubic", 3).shrink(np.zeros(shape))


def test_a_card_s_sensor_tells_the_blur_of_each_band_by_its_name() -> None:
    card = {"degradation": "sensor x3 sigma 1.5", "sensor": "sentinel2"}
    assert declared(card, 3, ("B03",)) == sensor_degradation(3, "sentinel2", ["B3"])
    mixed = declared(card, 3, ("b8a", "", "B12", "red"))
    assert mixed.sigma == (mtf_sigma(3, 0.33), 1.5, mtf_sigma(3, 0.23), 1.5)
    assert declared(card, 3, ("", "red")) == declared(card, 3) == Degradation("sensor", 3, (1.5,))
    assert declared(card, 3, ("B02", "B08")).sigma == (mtf_sigma(3, 0.26),)


@pytest.mark.parametrize(
    "card",
    [
        {"degradation": "sensor x3 sigma 1.4 1.6"},
        {"degradation": "sensor x3 sigma 1.4 1.6", "sensor": "unheard of"},
        {"degradation": "gaussian x3 sigma 1.5", "sensor": "sentinel2"},
    ],
)
def test_a_card_without_a_known_sensor_has_one_blur_for_all_bands(card: dict[str, str]) -> None:
    found = declared(card, 3, ("B02", "B03"))
    assert (found.kind, found.sigma) == (card["degradation"].split()[0], (1.5,))
    assert declared({"sensor": "sentinel2"}, 3, ("B02",)) == Degradation("bicubic", 3)
