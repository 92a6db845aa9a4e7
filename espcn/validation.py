"""How a network does on pictures that it is not trained on, beside bicubic."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from espcn.architecture import Weights
from espcn.evaluation import BEST
from espcn.network import Network
from espcn.pairs import Picture, Unit, make_pairs
from espcn.patches import Pair, Planes
from espcn.recipe import Recipe, Window


@dataclass(frozen=True, slots=True)
class Figures:
    """Means over the pictures of a validation set."""

    psnr: float
    """PSNR in dB of the network."""

    psnr_bicubic: float
    """PSNR in dB of bicubic enlargement."""

    @property
    def gain(self) -> float:
        """Decibels over bicubic."""
        return self.psnr - self.psnr_bicubic


class Validation:
    """A set of pictures on a device, of each of which a network restores the whole.

    PSNR is 10 log10(peak**2 / mean squared error), without a border of `scale` fine pixels and
    without rounding, and at most `espcn.evaluation.BEST`.
    """

    def __init__(
        self, pictures: Sequence[Picture], recipe: Recipe, unit: Unit, *, peak: float, device: str
    ) -> None:
        self._scale, self._device, self._peak = recipe.scale, device, peak / unit.spread
        # one LR pixel is the least that a patch needs: nothing is continued by mirroring
        window = Window(1, recipe.window.halo, recipe.scale)
        self._pairs = make_pairs(pictures, window, unit=unit)
        ways = [picture.degradation for picture in pictures]
        halo = slice(window.halo, -window.halo)
        self._bicubic = [
            self._error(way.enlarge(pair.low[:, halo, halo]).astype(np.float32), pair)
            for way, pair in zip(ways, self._pairs, strict=True)
        ]

    @torch.inference_mode()
    def figures(self, weights: Weights) -> Figures:
        """What a network in the unit of the pictures reaches."""
        network = Network(weights).eval().to(self._device)
        errors = []
        for pair in self._pairs:
            low = torch.from_numpy(pair.low)[None].to(self._device)
            errors.append(self._error(network(low)[0].cpu().numpy(), pair))
        return Figures(self._mean(errors), self._mean(self._bicubic))

    def _error(self, restored: Planes, pair: Pair) -> float:
        border = self._scale
        if min(pair.truth.shape[1:]) <= 2 * border:
            border = 0
        inner = slice(border, -border or None)
        difference = restored[:, inner, inner] - pair.truth[:, inner, inner]
        return float(np.mean(np.square(difference, dtype=np.float64)))

    def _mean(self, errors: Sequence[float]) -> float:
        """Mean of the pictures' PSNR in dB."""
        ratios = np.maximum(np.array(errors) / self._peak**2, 10 ** (-BEST / 10))
        return float(np.mean(-10.0 * np.log10(ratios)))
