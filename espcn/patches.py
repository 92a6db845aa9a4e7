"""Random patches of many pictures, gathered on the device that trains on them.

All pictures lie end to end in one flat buffer per resolution. A patch, turned or mirrored in one of
the eight ways of the square, is then three whole numbers, and its pixel (i, j) lies at

    start + i * down + j * right

    as it is       down = stride, right = 1             transposed    down = 1, right = stride
    upside down    start in its last row, down < 0      left-right    start in its last column, ..

The host draws where patches lie, so that one seed gives the same patches on every device; the
device reads a batch of any size by one indexing per resolution.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Plane = NDArray[np.float32]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Pair:
    """One picture: what the network sees and what it should answer."""

    low: Plane
    """(y + 2*halo, x + 2*halo), with the halo mirrored at the borders."""

    truth: Plane
    """(y * scale, x * scale)."""


@dataclass(frozen=True, slots=True)
class Window:
    """The patches' geometry, in low-resolution pixels."""

    side: int
    """Of the part that is judged."""

    halo: int
    """Context around it, which the network sees and does not answer."""

    scale: int
    """Enlargement r."""


@dataclass(frozen=True, slots=True)
class Choices:
    """Which patches: one entry per patch in every array, all int64."""

    picture: Integers
    """Index of the pair."""

    y: Integers
    """First row that is judged."""

    x: Integers
    """First column that is judged."""

    way: Integers
    """0 to 7: 1 turns upside down, 2 left to right, 4 transposes, in this order."""


class Patches:
    """The pairs on a device, and windows of them."""

    def __init__(self, pairs: list[Pair], window: Window, *, device: str) -> None:
        self.window = window
        self.device = device
        lows, truths = [pair.low for pair in pairs], [pair.truth for pair in pairs]
        self._low, self._truth = (_Buffer.of(planes, device) for planes in (lows, truths))
        margin = 2 * window.halo + window.side - 1
        self._places = np.array([low.shape for low in lows]) - margin
        areas = np.array([truth.size for truth in truths], dtype=np.float64)
        self._chances = areas / areas.sum()

    def choose(self, count: int, random: np.random.Generator) -> Choices:
        """Pictures by their area, places and ways evenly."""
        picture = random.choice(len(self._chances), size=count, p=self._chances)
        y, x = random.integers(self._places[picture].T)
        return Choices(picture, y, x, random.integers(8, size=count))

    def locate(self, choices: Choices) -> Tensor:
        """(start, down, right) of every patch at both resolutions, (n, 2, 3) int64, on the host."""
        scale, side = self.window.scale, self.window.side
        low = self._low.locate(choices, factor=1, side=side + 2 * self.window.halo)
        truth = self._truth.locate(choices, factor=scale, side=side * scale)
        return torch.from_numpy(np.stack([low, truth], axis=1))

    def gather(self, located: Tensor) -> tuple[Tensor, Tensor]:
        """The patches at `located`, on its device: low with halo, and truth, (n, 1, y, x) each.

        Every patch less the mean of its low-resolution pixels, which an affine-equivariant network
        passes on: bfloat16 then resolves contrast rather than brightness.
        """
        side = self.window.side
        low = self._low.gather(located[:, 0], side=side + 2 * self.window.halo)
        truth = self._truth.gather(located[:, 1], side=side * self.window.scale)
        mean = low.mean(dim=(2, 3), keepdim=True)
        return low - mean, truth - mean


@dataclass(frozen=True, slots=True)
class _Buffer:
    pixels: Tensor
    """All planes, row by row, end to end."""

    starts: Integers
    """Where each plane begins."""

    strides: Integers
    """Its width."""

    @classmethod
    def of(cls, planes: list[Plane], device: str) -> Self:
        sizes = np.array([plane.size for plane in planes])
        pixels = np.concatenate([plane.ravel() for plane in planes])
        strides = np.array([plane.shape[1] for plane in planes])
        return cls(torch.from_numpy(pixels).to(device), np.cumsum(sizes) - sizes, strides)

    def locate(self, choices: Choices, *, factor: int, side: int) -> Integers:
        """(start, down, right) of every patch, (n, 3)."""
        stride = self.strides[choices.picture]
        upturned, mirrored, transposed = (choices.way & bit > 0 for bit in (1, 2, 4))
        start = self.starts[choices.picture] + factor * (choices.y * stride + choices.x)
        start = start + (side - 1) * (upturned * stride + mirrored)
        down, right = np.where(upturned, -stride, stride), np.where(mirrored, -1, 1)
        downwards, rightwards = np.where(transposed, (right, down), (down, right))
        return np.stack([start, downwards, rightwards], axis=1)

    def gather(self, located: Tensor, *, side: int) -> Tensor:
        """(n, 3) -> (n, 1, side, side), channels innermost."""
        start, down, right = located[:, :, None, None].unbind(1)
        steps = torch.arange(side, device=located.device)
        return self.pixels[start + down * steps[:, None] + right * steps][..., None].permute(
            0, 3, 1, 2
        )
