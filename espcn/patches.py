"""Patches of many pictures, gathered on the device that trains on them.

All pictures lie end to end in one flat buffer per resolution. A patch, turned or mirrored in one of
the eight ways of the square, is then three whole numbers, and its pixel (i, j) lies at

    start + i * down + j * right

    as it is       down = stride, right = 1             transposed    down = 1, right = stride
    upside down    start in its last row, down < 0      left-right    start in its last column, ..

The host draws where patches lie, so that one seed gives the same patches on every device; the
device reads a batch of any size by one indexing per resolution.

Sub-images, the paper's patches, lie on a grid instead. Of each the network sees nothing but its
own pixels: the context that its valid convolutions need beyond them repeats the outermost.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from espcn.recipe import Window

Planes = NDArray[np.float32]
"""(band, y, x)."""
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Pair:
    """One picture: what the network sees and what it should answer."""

    low: Planes
    """(band, y + 2*halo, x + 2*halo), with the halo mirrored at the borders."""

    truth: Planes
    """(band, y * scale, x * scale); NaN where nothing is to be answered."""

    gain: float = 1.0
    """What errors are multiplied by before they are squared."""


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

    def __init__(
        self, pairs: list[Pair], window: Window, *, device: str, centred: bool = True
    ) -> None:
        self.window = window
        self.device = device
        self.bands = pairs[0].low.shape[0]
        self._centred = centred
        lows, truths = [pair.low for pair in pairs], [pair.truth for pair in pairs]
        self._low, self._truth = (_Buffer.of(planes, device) for planes in (lows, truths))
        self._gains = torch.tensor([pair.gain for pair in pairs], dtype=torch.float32).to(device)
        inner = np.array([low.shape[1:] for low in lows]) - 2 * window.halo
        self._places = inner - window.side + 1
        areas = np.prod(inner, axis=1, dtype=np.float64)
        self._chances = areas / areas.sum()
        self._cells = inner // window.side
        self._counts = np.prod(self._cells, axis=1)

    @property
    def cells(self) -> int:
        """Patches on the grid, over all pictures."""
        return int(self._counts.sum())

    @property
    def area(self) -> int:
        """Low-resolution pixels of all pictures together."""
        return int(np.prod(self._places + self.window.side - 1, axis=1).sum())

    def choose(self, count: int, random: np.random.Generator) -> Choices:
        """Pictures by their area, places and ways evenly."""
        picture = random.choice(len(self._chances), size=count, p=self._chances)
        y, x = random.integers(self._places[picture].T)
        return Choices(picture, y, x, random.integers(8, size=count))

    def on_grid(self, numbers: Integers) -> Choices:
        """The patches of these numbers, from 0 to `cells` - 1, as they are."""
        picture = np.searchsorted(np.cumsum(self._counts), numbers, side="right")
        within = numbers - (np.cumsum(self._counts) - self._counts)[picture]
        row, column = np.divmod(within, self._cells[picture, 1])
        side = self.window.side
        return Choices(picture, row * side, column * side, np.zeros_like(numbers))

    def locate(self, choices: Choices) -> Tensor:
        """(n, 3, 3) int64, on the host: (start, down, right) at both resolutions, the picture."""
        scale, side = self.window.scale, self.window.side
        low = self._low.locate(choices, factor=1, side=side + 2 * self.window.halo)
        truth = self._truth.locate(choices, factor=scale, side=side * scale)
        picture = np.zeros_like(low)
        picture[:, 0] = choices.picture
        return torch.from_numpy(np.stack([low, truth, picture], axis=1))

    def gather(self, located: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The patches at `located`, on its device: low with halo, and truth, (n, C, y, x) each, and
        their gains (n, 1, 1, 1).

        For an equivariant network each band of a patch comes less its mean, which such a network
        passes on: bfloat16 then resolves contrast rather than brightness.
        """
        side, seen = self.window.side, self.window.seen
        steps = torch.arange(side + 2 * self.window.halo, device=located.device)
        low = self._low.gather(located[:, 0], steps.clamp(seen.start, seen.stop - 1))
        steps = torch.arange(side * self.window.scale, device=located.device)
        truth = self._truth.gather(located[:, 1], steps)
        gains = self._gains[located[:, 2, 0]][:, None, None, None]
        if not self._centred:
            return low, truth, gains
        mean = low.mean(dim=(2, 3), keepdim=True)
        return low - mean, truth - mean, gains


@dataclass(frozen=True, slots=True)
class _Buffer:
    pixels: Tensor
    """All pictures, row by row, end to end: (pixels, band)."""

    starts: Integers
    """Where each picture begins."""

    strides: Integers
    """Its width."""

    @classmethod
    def of(cls, pictures: list[Planes], device: str) -> Self:
        sizes = np.array([picture[0].size for picture in pictures])
        pixels = np.concatenate([picture.reshape(len(picture), -1).T for picture in pictures])
        strides = np.array([picture.shape[2] for picture in pictures])
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

    def gather(self, located: Tensor, steps: Tensor) -> Tensor:
        """(n, 3) -> (n, C, side, side), channels innermost; `steps` are the rows and columns."""
        start, down, right = located[:, :, None, None].unbind(1)
        return self.pixels[start + down * steps[:, None] + right * steps].permute(0, 3, 1, 2)
