"""Measures of super-resolution: errors, likeness, spectra, and fidelity to the pixels before it.

Arrays are (.., y, x), sums float64. Where a measure refers to a range of values it is given, never
guessed from a data type.
"""

from typing import TypeVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from espcn.degradation import Degradation
from espcn.errors import ModelError

Plane = NDArray[np.uint8]
Values = NDArray[np.generic]
Floats = NDArray[np.float64]

Scalar = TypeVar("Scalar", bound=np.generic)

SSIM_SIDE, SSIM_SIGMA, SSIM_K = 11, 1.5, (0.01, 0.03)
"""Window of SSIM and the shares of the range that keep its quotients finite."""


def luma(rgb: NDArray[np.uint8]) -> Plane:
    """Luma of a (y, x, 3) uint8 picture as MATLAB's `rgb2ycbcr`: (y, x) uint8 from 16 to 235.

    Coefficients of ITU-R BT.601 for 8-bit studio range.
    """
    weighted = rgb.astype(np.float64) @ np.array([65.481, 128.553, 24.966]) / 255.0
    rounded: Plane = np.floor(weighted + 16.5).astype(np.uint8)
    return rounded


def psnr(restored: Values, truth: Values, *, border: int = 0, peak: float = 255.0) -> float:
    """Peak signal-to-noise ratio in dB over all values, without `border` pixels on every side.

    Infinite for identical arrays.
    """
    error = float(np.mean(np.square(_difference(restored, truth, border))))
    return float("inf") if error == 0.0 else float(10.0 * np.log10(peak**2 / error))


def rmse(restored: Values, truth: Values, *, border: int = 0) -> float:
    """Root of the mean squared error over all values, in their unit."""
    return float(np.sqrt(np.mean(np.square(_difference(restored, truth, border)))))


def bias(restored: Values, truth: Values, *, border: int = 0) -> float:
    """Mean error over all values, in their unit: positive where `restored` is brighter."""
    return float(np.mean(_difference(restored, truth, border)))


def ssim(restored: Values, truth: Values, *, peak: float, border: int = 0) -> float:
    """Structural similarity, 1 for identical arrays: the mean over all windows that fit.

    Z. Wang et al., "Image quality assessment: from error visibility to structural similarity",
    IEEE TIP 13(4), 2004, eq. 13: Gaussian windows of 11 x 11 px with sigma 1.5, population
    statistics. Raises `ModelError` where no window fits.
    """
    x, y = (inner(values, border).astype(np.float64) for values in (restored, truth))
    if min(x.shape[-2:]) < SSIM_SIDE:
        raise ModelError(
            f"SSIM needs {SSIM_SIDE} x {SSIM_SIDE} px, got {x.shape[-2]} x {x.shape[-1]} without "
            f"the border of {border}: measure a larger picture"
        )
    one, two = ((k * peak) ** 2 for k in SSIM_K)
    mean_x, mean_y = _windowed(x), _windowed(y)
    variance_x = _windowed(x * x) - mean_x**2
    variance_y = _windowed(y * y) - mean_y**2
    covariance = _windowed(x * y) - mean_x * mean_y
    likeness = (2 * mean_x * mean_y + one) * (2 * covariance + two)
    likeness /= (mean_x**2 + mean_y**2 + one) * (variance_x + variance_y + two)
    return float(np.mean(likeness))


def spectral_angle(restored: Values, truth: Values, *, border: int = 0) -> float:
    """Mean angle in degrees between the spectra (band, y, x) of each pixel; scale does not count.

    F. A. Kruse et al., "The spectral image processing system (SIPS)", Remote Sensing of
    Environment 44, 1993. Pixels where either spectrum is all zero have no angle and are left out;
    NaN where none remains.
    """
    x, y = (inner(values, border).astype(np.float64) for values in (restored, truth))
    long_x, long_y = (np.sqrt(np.sum(values * values, axis=0)) for values in (x, y))
    seen = (long_x > 0) & (long_y > 0)
    if not seen.any():
        return float("nan")
    x, y = x[:, seen] / long_x[seen], y[:, seen] / long_y[seen]
    # the arc cosine loses half the digits of small angles
    apart, together = (np.sqrt(np.sum(v * v, axis=0)) for v in (x - y, x + y))
    return float(np.degrees(np.mean(2.0 * np.arctan2(apart, together))))


def consistency(restored: Values, low: Values, degradation: Degradation) -> float:
    """RMSE between `restored` degraded again and the `low` it was made of, in their unit.

    Fine (.., y * r, x * r) and low (.., y, x); raises `ModelError` for others.
    """
    return rmse(degradation.shrink(restored.astype(np.float64)), low)


def crop_to_multiple(fine: NDArray[Scalar], scale: int) -> NDArray[Scalar]:
    """Drop the last rows and columns of (.., y, x) that do not fill a low-resolution pixel."""
    height, width = (side - side % scale for side in fine.shape[-2:])
    return fine[..., :height, :width]


def inner(values: NDArray[Scalar], border: int) -> NDArray[Scalar]:
    """(.., y, x) without `border` pixels on every side."""
    height, width = values.shape[-2:]
    return values[..., border : height - border, border : width - border]


def _difference(restored: Values, truth: Values, border: int) -> Floats:
    if restored.shape != truth.shape or min(truth.shape[-2:]) <= 2 * border:
        raise ModelError(
            f"cannot compare arrays of shape {restored.shape} and {truth.shape} without a border "
            f"of {border}: need equal shapes and pixels inside it"
        )
    return inner(restored, border).astype(np.float64) - inner(truth, border).astype(np.float64)


def _windowed(values: Floats) -> Floats:
    """Gaussian-weighted means of all windows that fit, rows first."""
    distance = np.arange(SSIM_SIDE) - SSIM_SIDE // 2
    weights = np.exp(-0.5 * (distance / SSIM_SIGMA) ** 2)
    weights /= weights.sum()
    rows = sliding_window_view(values, SSIM_SIDE, axis=-2) @ weights
    means: Floats = sliding_window_view(rows, SSIM_SIDE, axis=-1) @ weights
    return means
