"""The field's measure of super-resolution: PSNR of the luma, by the protocol of the papers.

Luma of MATLAB's `rgb2ycbcr`, degraded with MATLAB's antialiased bicubic, restored, rounded to
8 bits, compared without a border of `scale` pixels (W. Shi et al., arXiv 1609.05158, section 3).
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from espcn import resample

Plane = NDArray[np.uint8]


def luma(rgb: NDArray[np.uint8]) -> Plane:
    """Luma of a (y, x, 3) uint8 picture as MATLAB's `rgb2ycbcr`: (y, x) uint8 from 16 to 235.

    Coefficients of ITU-R BT.601 for 8-bit studio range.
    """
    weighted = rgb.astype(np.float64) @ np.array([65.481, 128.553, 24.966]) / 255.0
    rounded: Plane = np.floor(weighted + 16.5).astype(np.uint8)
    return rounded


def psnr(restored: Plane, truth: Plane, *, border: int = 0) -> float:
    """Peak signal-to-noise ratio in dB of two (y, x) uint8 planes, peak 255, without `border`.

    Infinite for identical planes.
    """
    inner = (slice(border, truth.shape[0] - border), slice(border, truth.shape[1] - border))
    difference = restored[inner].astype(np.float64) - truth[inner].astype(np.float64)
    error = float(np.mean(difference * difference))
    return float("inf") if error == 0.0 else float(10.0 * np.log10(255.0**2 / error))


def crop_to_multiple(plane: Plane, scale: int) -> Plane:
    """Drop the last rows and columns that do not fill a low-resolution pixel."""
    height, width = (side - side % scale for side in plane.shape)
    return plane[:height, :width]


def restored_psnr(
    truth: Plane, scale: int, *, restore: Callable[[NDArray[np.float32]], NDArray[np.float32]]
) -> float:
    """PSNR in dB of one (y, x) luma plane degraded by `scale` and restored by `restore`.

    `restore` takes the low-resolution (y, x) float32 plane in counts from 0 to 255, not rounded,
    and returns (y * scale, x * scale) in counts. The paper's bicubic figures come out of an
    unrounded degradation to both decimals.
    """
    truth = crop_to_multiple(truth, scale)
    low = resample.shrink(truth.astype(np.float64), scale).astype(np.float32)
    restored = np.clip(np.floor(restore(low) + 0.5), 0, 255).astype(np.uint8)
    return psnr(restored, truth, border=scale)
