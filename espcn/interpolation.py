"""Bicubic enlargement as a convolution: one 5x5 kernel per sub-pixel, the network's fixed skip.

    LR pixel i              |-----------i-----------|
    r = 3 sub-pixels        |   0   |   1   |   2   |     phase p has its centre at
                                                          (p + 1/2)/r - 1/2 LR px from i

Four taps of Keys' kernel per axis; over all phases they lie within 2 px of i, hence 5x5.
"""

import numpy as np
from numpy.typing import NDArray

from espcn.resample import cubic

RADIUS = 2
"""Reach of the bicubic kernel in low-resolution pixels."""


def bicubic_taps(scale: int) -> NDArray[np.float64]:
    """Kernels along one axis, (scale, 5): one per phase; each sums to one."""
    phases = (np.arange(scale) + 0.5) / scale - 0.5
    return cubic(phases[:, None] - np.arange(-RADIUS, RADIUS + 1))


def bicubic_kernels(scale: int) -> NDArray[np.float64]:
    """Kernels (scale**2, 5, 5) that enlarge like MATLAB's `imresize`, sub-pixels row by row.

    Each sums to one, so that a flat field stays what it is.
    """
    taps = bicubic_taps(scale)
    kernels = taps[:, None, :, None] * taps[None, :, None, :]
    return kernels.reshape(scale * scale, 2 * RADIUS + 1, 2 * RADIUS + 1)
