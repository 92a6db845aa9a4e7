"""Enlargement by pixel replication, in the dtype of the input: no network, nothing lost."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Scalar = TypeVar("Scalar", bound=np.generic)


def replicate(pixels: NDArray[Scalar], scale: int) -> NDArray[Scalar]:
    """(band, y, x) of any dtype -> (band, y * scale, x * scale) of the same, C-contiguous."""
    bands, height, width = pixels.shape
    fine = np.empty((bands, height, scale, width, scale), pixels.dtype)
    fine[:] = pixels[:, :, None, :, None]
    return fine.reshape(bands, height * scale, width * scale)
