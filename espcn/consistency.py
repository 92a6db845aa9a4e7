"""Back-projection at inference: fine pixels are moved until they degrade to the input again.

    x  <-  x + enlarge(LR - degrade(x))        N times, after the network

M. Irani and S. Peleg, "Improving resolution by image registration", CVGIP: Graphical Models and
Image Processing 53(3), 1991, eq. 3, with the bicubic kernel on the way back. Each step looks
`reach` LR pixels farther for the degradation and 2 for the enlargement, so the halo grows:

    |<- halo of the network ->|<- steps * (reach + 2) ->|  block  |  and so on to the right

All sums run over whole arrays, tap by tap in one order: a pixel has the same bits wherever it lies
in a block. Every kernel sums to one, so a constant that was subtracted before may be added after.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from espcn.card import Card
from espcn.degradation import Degradation, declared
from espcn.errors import ModelError
from espcn.interpolation import RADIUS, bicubic_taps
from espcn.upscaler import Address, Upscaler

Floats = NDArray[np.float32]

SHARE = 4
"""The added halo is at most this part of a block: beyond it most of the work would be halo."""


@dataclass(frozen=True, slots=True)
class Consistent:
    """A network followed by back-projection; called, shared and pickled as an `Upscaler` is."""

    network: Upscaler
    """Gives the first fine pixels."""

    steps: int
    """How often they are corrected, 1 or more."""

    degradation: Degradation
    """What the fine pixels are held against: one sigma at most, or one per band of the network."""

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ModelError(f"{self.steps} steps of consistency cannot be made: need 1 or more")
        if self.network.native:
            raise ModelError(
                f"{self.card.name} copies pixels and leaves nothing to correct: leave consistency "
                "out"
            )
        each, room = self.degradation.reach + RADIUS, self.network.block // SHARE
        if self.context > room:
            raise ModelError(
                f"{self.steps} steps of consistency under '{self.degradation.text}' need "
                f"{self.context} px of context around a block, the limit is {room}: take at most "
                f"{room // each} steps"
            )

    @property
    def card(self) -> Card:
        """The network's facts; its halo alone is not the one that is needed here."""
        return self.network.card

    @property
    def address(self) -> Address:
        """Of the network."""
        return self.network.address

    @property
    def scale(self) -> int:
        """Output pixels per input pixel along each axis."""
        return self.network.scale

    @property
    def context(self) -> int:
        """Low-resolution pixels that the steps consume on every side."""
        return self.steps * (self.degradation.reach + RADIUS)

    @property
    def halo(self) -> int:
        """Low-resolution pixels of context that a call consumes on every side."""
        return self.network.halo + self.context

    @property
    def bands(self) -> int:
        """Bands taken at once; 1 means any number, one by one."""
        return self.network.bands

    @property
    def input_range(self) -> tuple[float, float] | None:
        """Range of values that the network was trained on; None where it needs no normalisation."""
        return self.network.input_range

    @property
    def native(self) -> bool:
        """Never: float32 only."""
        return False

    @property
    def fixed(self) -> bool:
        """Whether every call must have exactly `block` + 2 * `halo` pixels per side, on one grid.

        The network then sees its own block each time, and these lie on the same grid.
        """
        return self.network.fixed

    @property
    def block(self) -> int:
        """Side, without halo, of the blocks that are fastest here, in low-resolution pixels."""
        return self.network.block - (2 * self.context if self.fixed else 0)

    def __call__(self, pixels: Floats, /) -> Floats:
        """(band, h + 2*halo, w + 2*halo) float32 -> (band, h*scale, w*scale) float32.

        Units as those of the network; raises `ModelError` for other shapes and dtypes.
        """
        planes = self.planes(pixels)
        bands, scale, _, height, width = planes.shape
        fine = planes.transpose(0, 3, 1, 4, 2)
        return np.ascontiguousarray(fine).reshape(bands, height * scale, width * scale)

    def planes(self, pixels: Floats, /) -> Floats:
        """The same as (band, scale, scale, h, w): fine pixel (scale*y + i, scale*x + j) is at
        [band, i, j, y, x]."""
        self._check(pixels)
        fine = self.network(pixels)
        coarse = _trim(np.asarray(pixels), self.network.halo)
        planes = np.empty((len(fine), self.scale, self.scale, *self._inner(pixels)), np.float32)
        for band, into in enumerate(planes):
            into[:] = self._correct(_split(fine[band], self.scale), coarse[band], band)
        return planes

    def _inner(self, pixels: Floats) -> tuple[int, int]:
        height, width = (side - 2 * self.halo for side in pixels.shape[1:])
        return height, width

    def _correct(self, planes: Floats, coarse: Floats, band: int) -> Floats:
        """All steps of one band: (r, r, y, x) and (y, x), both smaller by `context` after."""
        reach, scale = self.degradation.reach, self.scale
        first, weights = self.degradation.taps(band if self.bands > 1 else 0)
        for _ in range(self.steps):
            seen = _degrade(planes, first, weights.astype(np.float32), reach)
            correction = _enlarge(_trim(coarse, reach) - seen, scale)
            correction += _trim(planes, reach + RADIUS)
            planes, coarse = correction, _trim(coarse, reach + RADIUS)
        return planes

    def _check(self, pixels: Floats) -> None:
        smallest = 2 * self.halo + 1
        if pixels.ndim != 3 or min(pixels.shape[1:]) < smallest:
            raise ModelError(
                f"{self.card.name} with {self.steps} steps of consistency cannot take an array of "
                f"shape {pixels.shape}: need (band, y, x) with y and x of at least {smallest}, "
                "halo included"
            )


def consistent(network: Upscaler, *, steps: int) -> Upscaler | Consistent:
    """The network with `steps` of back-projection behind it; itself for 0.

    The degradation is the one that its weights name, bicubic where they name none. A network that
    goes band by band cannot know which band it sees: of several sigmas it takes the mean. Raises
    `ModelError` for fewer steps than 0, too many for a block, and `nearest`.
    """
    if steps == 0:
        return network
    degradation = declared(network.card.provenance, network.scale)
    if len(degradation.sigma) not in (0, 1, network.bands):
        mean = sum(degradation.sigma) / len(degradation.sigma)
        degradation = replace(degradation, sigma=(mean,))
    return Consistent(network, steps, degradation)


def _split(fine: Floats, scale: int) -> Floats:
    """(y * r, x * r) to (r, r, y, x): neighbours lie side by side again, as vector units like."""
    height, width = (side // scale for side in fine.shape)
    planes = fine.reshape(height, scale, width, scale).transpose(1, 3, 0, 2)
    return np.ascontiguousarray(planes)


def _trim(values: Floats, margin: int) -> Floats:
    """Without the `margin` outermost of the last two axes."""
    height, width = values.shape[-2:]
    return values[..., margin : height - margin, margin : width - margin]


def _degrade(planes: Floats, first: int, weights: Floats, reach: int) -> Floats:
    """(r, r, y, x) fine pixels to (y, x) LR pixels, less `reach` on every side: rows, columns."""
    scale, (height, width) = len(planes), planes.shape[2:]
    # which phase a tap falls on, and how many LR pixels away
    places = [divmod(first + k, scale) for k in range(len(weights))]
    rows = [
        _sum(
            (w, planes[i, j, reach + y : height - reach + y])
            for w, (y, i) in zip(weights, places, strict=True)
        )
        for j in range(scale)
    ]
    return _sum(
        (w, rows[j][:, reach + x : width - reach + x])
        for w, (x, j) in zip(weights, places, strict=True)
    )


def _enlarge(coarse: Floats, scale: int) -> Floats:
    """(y, x) to (r, r, y, x), less `RADIUS` on every side: rows first, then columns."""
    height, width = (side - 2 * RADIUS for side in coarse.shape)
    taps = bicubic_taps(scale).astype(np.float32)
    planes = np.empty((scale, scale, height, width), np.float32)
    for i, along_y in enumerate(taps):
        rows = _sum((w, coarse[y : y + height]) for y, w in enumerate(along_y) if w)
        for j, along_x in enumerate(taps):
            planes[i, j] = _sum((w, rows[:, x : x + width]) for x, w in enumerate(along_x) if w)
    return planes


def _sum(parts: Iterable[tuple[np.float32, Floats]]) -> Floats:
    """Weighted sum of arrays of one shape, in their order."""
    (weight, values), *others = parts
    total = values * weight
    term = np.empty_like(total)
    for weight, values in others:
        np.multiply(values, weight, out=term)
        total += term
    return total
