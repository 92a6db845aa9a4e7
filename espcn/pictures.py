"""Folders of pictures, as planes of luma and as what a network is trained and steered with.

    folder -> names -> luma (uint8) --held back--> validation
                                    `-> at several sizes -> degraded -> balanced -> Pair

Balanced: both planes of a pair are divided by the error that plain bicubic leaves in the picture.
The papers' figure is the mean over pictures of a logarithm of their errors, so that the derivative
of each picture's error weighs as much as that error is small; the mean squared error over balanced
pairs has these weights. To an affine-equivariant network it is the same picture. Balancing won 0.01
to 0.1 dB on every set that was not trained on, hard ones too, and 0.01 dB of their pooled error.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import numpy as np

from espcn import metrics, resample
from espcn.errors import ModelError
from espcn.patches import Pair, Window

Planes = list[metrics.Plane]

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")

SIZES = (1.0, 0.8, 0.6)
"""Every picture is trained on at each of these sizes: smaller ones are sharper, and less of them is
JPEG's. It won 0.02 dB on pictures held back and 0.04 dB on Set5. C. Dong et al., "Accelerating the
Super-Resolution Convolutional Neural Network", arXiv 1608.00367, section 4.1."""

EVERY = 20
"""Every twentieth picture of a folder, by name, is held back from training."""

LEAST_ERROR = 0.5
"""Of bicubic, in counts: below it lies the rounding of the picture itself."""


def read(folders: list[Path]) -> tuple[Planes, Planes]:
    """The luma of all pictures of the folders: what is trained on, and what is held back."""
    seen: Planes = []
    held_back: Planes = []
    for folder in folders:
        for index, plane in enumerate(read_folder(folder), start=1):
            (seen if index % EVERY else held_back).append(plane)
    return seen, held_back


def read_folder(folder: Path) -> Planes:
    """The luma of a folder's pictures by name; raises `ModelError` when there are none."""
    paths = sorted(path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise ModelError(f"there are no pictures ({', '.join(SUFFIXES)}) in {folder}")
    return [luma(path) for path in paths]


def luma(path: Path) -> metrics.Plane:
    """Luma of one picture, (y, x) uint8."""
    from PIL import Image

    with Image.open(path) as image:
        return metrics.luma(np.asarray(image.convert("RGB")))


def pairs_of(planes: Planes, window: Window) -> list[Pair]:
    """Every plane at every size, degraded by bicubic and balanced."""
    tasks = product(SIZES, planes)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(lambda task: _pair(_resized(task[1], task[0]), window), tasks))


def _resized(plane: metrics.Plane, size: float) -> metrics.Plane:
    height, width = (max(1, round(size * side)) for side in plane.shape)
    return resample.resize(plane, (height, width))


def _pair(plane: metrics.Plane, window: Window) -> Pair:
    """One plane degraded; one that is smaller than a patch is continued by mirroring it."""
    scale = window.scale
    truth = metrics.crop_to_multiple(plane, scale).astype(np.float64)
    low = resample.shrink(truth, scale)
    error = float(np.sqrt(np.mean((resample.enlarge(low, scale) - truth) ** 2)))
    missing = [(0, max(0, window.side - side)) for side in low.shape]
    low = np.pad(low, missing, mode="symmetric")
    truth = np.pad(truth, [(0, scale * after) for _, after in missing], mode="symmetric")
    low = np.pad(low, window.halo, mode="symmetric")
    low, truth = (side / max(error, LEAST_ERROR) for side in (low, truth))
    return Pair(low.astype(np.float32), truth.astype(np.float32))
