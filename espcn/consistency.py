"""Back-projection at inference: fine pixels are corrected until they degrade to the input again.

    x  <-  x + enlarge(LR - degrade(x))        N times, after the network

M. Irani and S. Peleg, "Improving resolution by image registration", CVGIP: Graphical Models and
Image Processing 53(3), 1991, with the bicubic kernel on the way back. Each step looks
`reach` LR pixels farther for the degradation and 2 for the enlargement, so the halo grows:

    |<- halo of the network ->|<- steps * (reach + 2) ->|<-  block  ->|<- ...

Every kernel sums to one, so a constant that was subtracted before may be added after.

A network that goes band by band does not know which one it sees. Where `consistent` is told their
names, each band is held against the blur of its own optics, otherwise against the mean one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from espcn.back_projection import Taps, back_project, split, trim
from espcn.card import Card
from espcn.degradation import Degradation, declared
from espcn.errors import ModelError
from espcn.interpolation import RADIUS
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
    """What the fine pixels are held against: one sigma at most, or one per band of the network, or
    of the scene where the network goes band by band."""

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
    def band_names(self) -> tuple[str, ...]:
        """What each of `bands` shows, in order; empty where unknown."""
        return self.network.band_names

    @property
    def input_range(self) -> tuple[float, float] | None:
        """Range of values that the network was trained on; None where it needs no normalisation."""
        return self.network.input_range

    @property
    def value_range(self) -> tuple[float, float] | None:
        """Values of its training data that `input_range` stands for; None where unknown."""
        return self.network.value_range

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

        Units as those of the network; bands are those of the scene from its first one on. Raises
        `ModelError` for other shapes and dtypes.
        """
        planes = self.planes(pixels)
        bands, scale, _, height, width = planes.shape
        fine = planes.transpose(0, 3, 1, 4, 2)
        return np.ascontiguousarray(fine).reshape(bands, height * scale, width * scale)

    def planes(self, pixels: Floats, /, *, band: int = 0) -> Floats:
        """The same as (band, scale, scale, h, w): fine pixel (scale*y + i, scale*x + j) is at
        [band, i, j, y, x]. `band`, counted from 0, is the place in the scene of the first one."""
        self._check(pixels, band)
        fine = self.network(pixels)
        coarse = trim(pixels, self.network.halo)
        height, width = (side - 2 * self.halo for side in pixels.shape[1:])
        planes = np.empty((len(fine), self.scale, self.scale, height, width), np.float32)
        for i, into in enumerate(planes):
            first, weights = self.degradation.taps(i if self.bands > 1 else band + i)
            taps = Taps(self.scale, first, weights, self.degradation.reach)
            into[:] = back_project(split(fine[i], self.scale), coarse[i], taps, self.steps)
        return planes

    def _check(self, pixels: Floats, band: int) -> None:
        smallest = 2 * self.halo + 1
        if pixels.ndim != 3 or min(pixels.shape[1:]) < smallest:
            raise ModelError(
                f"{self.card.name} with {self.steps} steps of consistency cannot take an array of "
                f"shape {pixels.shape}: need (band, y, x) with y and x of at least {smallest}, "
                "halo included"
            )
        known = len(self.degradation.sigma)
        if self.bands == 1 and known > 1 and band + len(pixels) > known:
            raise ModelError(
                f"{self.card.name} with consistency was told the names of {known} bands and got "
                f"band {band + len(pixels)}: name all bands of the scene, or none"
            )


def consistent(
    network: Upscaler, *, steps: int, bands: Sequence[str] = ()
) -> Upscaler | Consistent:
    """The network with `steps` of back-projection behind it; itself for 0.

    The degradation is the one that its weights name, bicubic where they name none. `bands` are the
    names of all bands of the scene, '' where unknown: a network that goes band by band and was
    trained for a sensor takes the sigma of each, for unknown ones and without names the mean.
    Raises `ModelError` for fewer steps than 0, too many for a block, and `nearest`.
    """
    if steps == 0:
        return network
    names = bands if network.bands == 1 else ()
    degradation = declared(network.card.provenance, network.scale, names)
    return Consistent(network, steps, degradation.for_bands(len(names) or network.bands))
