"""Bicubic resizing as MATLAB's `imresize` does it: the degradation and the baseline of the field.

The kernel is Keys' cubic convolution with a = -1/2 (R. Keys, "Cubic convolution interpolation for
digital image processing", IEEE TASSP 29(6), 1981, eq. 4). Shrinking stretches the kernel by the
factor (antialiasing), weights are normalised to sum to one, borders are mirrored with the edge
pixel repeated, and integer images are rounded after each of the two passes. (Releases of MATLAB
from the time of the published Set5 pairs continued the edge pixel instead of mirroring: away from
the borders those pairs are met to the last bit, and with a continued edge everywhere.)
"""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from espcn.errors import ModelError

_Floats = NDArray[np.float64]

Sample = TypeVar("Sample", np.uint8, np.float32, np.float64)


def cubic(distance: _Floats) -> _Floats:
    """Keys' cubic kernel with a = -1/2 at signed distances in pixels; zero from 2 px outwards."""
    x = np.abs(distance)
    near = (1.5 * x - 2.5) * x * x + 1.0
    far = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return np.where(x <= 1.0, near, np.where(x < 2.0, far, 0.0))


def resize(plane: NDArray[Sample], shape: tuple[int, int]) -> NDArray[Sample]:
    """Resize a (y, x) image to `shape`, keeping its dtype: uint8, float32 or float64.

    Rows first, then columns, as MATLAB does for equal factors; sums are float64, and for uint8 each
    pass rounds half up and saturates. Raises `ModelError` for an image that is not
    two-dimensional or has no pixels.
    """
    if plane.ndim != 2 or 0 in plane.shape or min(shape) < 1:
        raise ModelError(
            f"cannot resize an array of shape {plane.shape} to {shape}: need (y, x), all >= 1"
        )
    rows = _along_rows(plane, shape[0])
    return _along_rows(rows.T, shape[1]).T


def shrink(plane: NDArray[Sample], scale: int) -> NDArray[Sample]:
    """Degrade a (y, x) image by an integer factor; its sides must be multiples of `scale`."""
    height, width = plane.shape
    if height % scale or width % scale:
        raise ModelError(
            f"cannot shrink {height}x{width} px by {scale}: crop the sides to multiples of {scale}"
        )
    return resize(plane, (height // scale, width // scale))


def enlarge(plane: NDArray[Sample], scale: int) -> NDArray[Sample]:
    """Enlarge a (y, x) image by an integer factor: the bicubic baseline."""
    height, width = plane.shape
    return resize(plane, (height * scale, width * scale))


def _along_rows(plane: NDArray[Sample], target: int) -> NDArray[Sample]:
    indices, weights = _taps(plane.shape[0], target)
    values = plane.astype(np.float64, copy=False)
    total = np.zeros((target, plane.shape[1]))
    for index, weight in zip(indices.T, weights.T, strict=True):
        total += weight[:, None] * values[index]
    if plane.dtype == np.uint8:
        total = np.clip(np.floor(total + 0.5), 0, 255)
    return total.astype(plane.dtype)


def _taps(length: int, target: int) -> tuple[NDArray[np.int64], _Floats]:
    """For each of `target` output pixels the input pixels it reads and their weights.

    Output pixel o has its centre at u = (o + 1/2) / scale - 1/2 in input pixels: pixel grids share
    their outer edges, not the centres of their first pixels.
    """
    scale = target / length
    shrinking = min(scale, 1.0)
    centre = (np.arange(target) + 0.5) / scale - 0.5
    reach = 2.0 / shrinking
    first = np.floor(centre - reach).astype(np.int64)
    indices = first[:, None] + np.arange(int(np.ceil(2 * reach)) + 2)
    weights = cubic(shrinking * (centre[:, None] - indices))
    weights /= weights.sum(axis=1, keepdims=True)
    used = np.any(weights != 0.0, axis=0)
    mirrored = np.concatenate([np.arange(length), np.arange(length)[::-1]])
    return mirrored[indices[:, used] % (2 * length)], weights[:, used]
