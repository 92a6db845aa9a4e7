"""One network on its way down: a step of training without a word from the device.

    patches -> network -> mean squared error -> gradients -> SOAP -> moving average

The host only says where the patches lie and how large the rate is; losses add up on the device
until they are asked for. On CUDA the kernels of a step, some two hundred small ones, are recorded
into a graph and started by one launch: 0.7 ms instead of 4.0 on an H200, with 64 patches of 32 px.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from espcn.architecture import Layer, Weights
from espcn.network import Network, initial_weights
from espcn.patches import Patches, Window
from espcn.soap import Soap, correction

log = logging.getLogger(__name__)

DRAWN = 256
"""Steps whose patches are chosen at once and travel to the device together."""

UNRECORDED = 8
"""Steps before the recording, in which libraries choose their kernels and take their memory."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides the result besides the pictures."""

    scale: int = 3
    """Enlargement r."""

    steps: int = 10_000
    """Updates of the weights."""

    patch: int = 48
    """Side of the low-resolution part of a patch that is judged, without its context."""

    batch: int = 16
    """Patches per step."""

    learning_rate: float = 12e-3
    """Of SOAP, at its highest. Half and twice as much lost 0.02 and 0.1 dB within 2,400 steps."""

    warm_up: float = 0.03
    """Share of the steps over which the rate rises from zero; it falls along a cosine. Without
    it 0.05 dB were lost within 600 steps."""

    turn_every: int = 32
    """Steps between two turns of SOAP's bases; turning them three times as often won nothing."""

    average: float = 0.999
    """Decay per step of the moving average of the weights, which is what is kept."""

    seed: int = 0
    """Of the first weights and of the choice of patches."""

    @property
    def window(self) -> Window:
        """The geometry of a patch."""
        return Window(self.patch, initial_weights(self.scale).halo, self.scale)

    def rate(self, step: int) -> float:
        """The learning rate of step 0, 1, ..."""
        rising = min(1.0, (step + 1) / (1.0 + self.warm_up * self.steps))
        falling = 0.5 * (1.0 + float(np.cos(np.pi * step / self.steps)))
        return self.learning_rate * rising * falling


class Run:
    """One network with its optimiser and its average, and the patches it is shown."""

    def __init__(self, recipe: Recipe, patches: Patches) -> None:
        self.recipe = recipe
        self.taken = 0
        self._patches = patches
        self._network = _fresh_network(recipe, patches.device)
        self._kernels = list(self._network.parameters())
        self._places = _places(recipe, patches)
        self._place = next(self._places).clone()
        self._loss = torch.zeros((), device=patches.device)
        self._counted = 0
        self._average = [torch.zeros_like(kernel) for kernel in self._kernels]
        self._soap = Soap(self._kernels, self._gradients())
        self._update: Callable[[], object] = self._unrecorded_update

    def advance(self) -> None:
        """Take one step; on CUDA, have it taken later."""
        if self.taken == UNRECORDED and self._loss.is_cuda:
            self._update = recorded(self._unrecorded_update)
        self._place.copy_(next(self._places))
        self._soap.rate.fill_(self.recipe.rate(self.taken) * correction(self.taken + 1))
        self._update()
        self.taken += 1
        if self.taken % self.recipe.turn_every == 0:
            self._soap.turn()

    def mean_loss(self) -> float:
        """Of the steps since the last call; waits for the device."""
        loss = self._loss.item() / max(1, self.taken - self._counted)
        self._loss.zero_()
        self._counted = self.taken
        return loss

    @torch.no_grad()
    def averaged(self) -> Weights:
        """The moving average of the weights, with the bias of its start removed."""
        network = _fresh_network(self.recipe, self._patches.device)
        known = 1.0 - self.recipe.average**self.taken
        for parameter, average in zip(network.parameters(), self._average, strict=True):
            parameter.copy_(average / known)
        first, *others = network.layers()
        return Weights((_centred(first), *others), self.recipe.scale)

    def _unrecorded_update(self) -> None:
        self._soap.step(self._gradients())
        with torch.no_grad():
            for average, kernel in zip(self._average, self._kernels, strict=True):
                average.lerp_(kernel, 1 - self.recipe.average)

    def _gradients(self) -> tuple[Tensor, ...]:
        low, truth = self._patches.gather(self._place)
        loss = functional.mse_loss(self._network(low), truth)
        self._loss.add_(loss.detach())
        return torch.autograd.grad(loss, self._kernels)


def recorded(update: Callable[[], object]) -> Callable[[], object]:
    """What starts the kernels of `update` again by one launch; recording runs none of them.

    Falls back to `update` itself, with a warning, where the driver cannot record it.
    """
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            update()
    except RuntimeError as error:
        log.warning("steps are launched kernel by kernel, for CUDA cannot record one: %s", error)
        return update
    return graph.replay


def _fresh_network(recipe: Recipe, device: str) -> Network:
    network = Network(initial_weights(recipe.scale, seed=recipe.seed))
    network.keep_first_kernels_zero_mean()
    network.bf16_layers = 2
    return network.to(device).use_channels_last()


def _centred(layer: Layer) -> Layer:
    """Zero-mean kernels to the last bit of float32.

    Their parameters may drift along the mean, which is taken off them: Adam blows up the rounding
    of gradients that should be zero. After 100,000 steps 4e-6 of the kernels was left by float32.
    """
    weight = layer.weight.astype(np.float64)
    return Layer((weight - weight.mean(axis=(2, 3), keepdims=True)).astype(np.float32))


def _places(recipe: Recipe, patches: Patches) -> Iterator[Tensor]:
    """Where the patches of one step after the other lie, on the device: (batch, 2, 3)."""
    random = np.random.default_rng(recipe.seed)
    while True:
        choices = patches.choose(DRAWN * recipe.batch, random)
        located = patches.locate(choices).to(patches.device)
        yield from located.view(DRAWN, recipe.batch, 2, 3)
