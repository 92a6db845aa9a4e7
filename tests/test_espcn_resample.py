"""MATLAB's bicubic, against Pillow and against the published Set5 pairs."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from espcn import ModelError, resample
from espcn.interpolation import RADIUS, bicubic_kernels

PAIRS = Path(__file__).parents[2] / "shared" / "data" / "sr" / "set5_pairs"


@pytest.fixture
def plane() -> np.ndarray:
    return np.random.default_rng(0).random((36, 48)).astype(np.float32)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_inside_the_borders_it_is_pillows_bicubic(plane: np.ndarray, scale: int) -> None:
    image = Image.fromarray(plane)
    larger = image.resize((48 * scale, 36 * scale), Image.Resampling.BICUBIC)
    smaller = image.resize((48 // scale, 36 // scale), Image.Resampling.BICUBIC)
    inner = slice(3 * scale, -3 * scale)
    np.testing.assert_allclose(
        resample.enlarge(plane, scale)[inner, inner], np.asarray(larger)[inner, inner], atol=1e-6
    )
    np.testing.assert_allclose(
        resample.shrink(plane, scale)[2:-2, 2:-2], np.asarray(smaller)[2:-2, 2:-2], atol=1e-6
    )


def test_a_flat_field_stays_flat_and_its_dtype_stays() -> None:
    for dtype in (np.uint8, np.float32, np.float64):
        flat = np.full((12, 12), 77, dtype)
        for resized in (resample.shrink(flat, 3), resample.enlarge(flat, 3)):
            assert resized.dtype == dtype
            np.testing.assert_allclose(resized, 77, rtol=1e-6)


def test_borders_are_mirrored_with_the_edge_pixel_repeated(plane: np.ndarray) -> None:
    grown = np.pad(plane, 6, mode="symmetric")
    np.testing.assert_allclose(
        resample.enlarge(grown, 2)[12:-12, 12:-12], resample.enlarge(plane, 2), atol=1e-6
    )


@pytest.mark.parametrize("scale", [2, 3, 4, 5, 8])
def test_the_skip_kernels_enlarge_like_the_resize(plane: np.ndarray, scale: int) -> None:
    kernels = bicubic_kernels(scale)
    np.testing.assert_allclose(kernels.sum(axis=(1, 2)), 1.0, atol=1e-12)
    padded = np.pad(plane, RADIUS, mode="symmetric")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5))
    phases = np.einsum("yxij,pij->yxp", windows, kernels).reshape(36, 48, scale, scale)
    fine = phases.transpose(0, 2, 1, 3).reshape(36 * scale, 48 * scale)
    np.testing.assert_allclose(fine, resample.enlarge(plane, scale), atol=1e-6)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_published_low_resolution_files_are_met(scale: int) -> None:
    if not PAIRS.exists():
        pytest.skip("the published Set5 pairs are not on this machine")
    for path in sorted((PAIRS / f"x{scale}").glob("*_HR.png")):
        fine = _channels(path)
        coarse = _channels(path.with_name(path.name.replace("_HR", "_LR")))
        for plane, published in zip(fine, coarse, strict=True):
            ours = resample.shrink(plane, scale)
            np.testing.assert_array_equal(ours[2:-2, 2:-2], published[2:-2, 2:-2])
            continued = resample.shrink(np.pad(plane, 4 * scale, mode="edge"), scale)
            np.testing.assert_array_equal(continued[4:-4, 4:-4], published)


def test_what_cannot_be_resized_is_said() -> None:
    with pytest.raises(ModelError, match="crop the sides to multiples of 3"):
        resample.shrink(np.zeros((9, 10)), 3)
    with pytest.raises(ModelError, match=r"need \(y, x\)"):
        resample.resize(np.zeros((2, 9, 9)), (3, 3))


def _channels(path: Path) -> list[np.ndarray]:
    with Image.open(path) as image:
        picture = np.atleast_3d(np.asarray(image))
    return [np.ascontiguousarray(picture[..., channel]) for channel in range(picture.shape[2])]
