"""One network on its way down: a step of training without a word from the device.

    patches -> network -> weighed squared error -> gradients -> SOAP or Adam -> moving average

The host only says where the patches lie and how large the rate is; losses add up on the device
until they are asked for. On CUDA the kernels of a step, some two hundred small ones, are recorded
into a graph and started by one launch: 0.7 ms instead of 4.0 on an H200, with 64 patches of 32 px.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from espcn import parallel
from espcn.adam import Adam
from espcn.architecture import Layer, Weights
from espcn.beginnings import first_weights
from espcn.errors import ModelError
from espcn.last_layer import fit_last_layer
from espcn.network import Network
from espcn.patches import Choices, Patches
from espcn.recipe import Recipe
from espcn.soap import Soap

log = logging.getLogger(__name__)

DRAWN = 256
"""Steps whose patches are chosen at once and travel to the device together."""

FITTED = 16_384
"""Low-resolution pixels that a last layer is fitted to, at least: fifty for each of its weights."""

UNRECORDED = 8
"""Steps before the recording, in which libraries choose their kernels and take their memory."""


class Run:
    """One network with its optimiser and its average, and the patches it is shown."""

    def __init__(self, recipe: Recipe, patches: Patches, *, start: Weights | None = None) -> None:
        """Begin with `start`, in the unit of the patches, or with random weights."""
        self.recipe = recipe
        self._start = start or first_weights(recipe, patches.bands)
        self.taken = 0
        self.waited = 0.0
        """Seconds that steps had to wait for the choice of their patches."""
        self._patches = patches
        self._share = parallel.share_of(recipe.batch)
        self._network = self._fresh_network()
        self._kernels = list(self._network.parameters())
        self._places = _places(recipe, patches, first=0)
        self._place = self._next_place().clone()
        if recipe.network == "tanh" and start is None:
            places = first_places(recipe, patches, pixels=FITTED)
            fit_last_layer(self._network, *patches.gather(places))
        parallel.spread([kernel.data for kernel in self._kernels])
        self._losses = torch.zeros(2, device=patches.device)
        """Their sum and their number since they were asked for."""
        self._average = [torch.zeros_like(kernel) for kernel in self._kernels]
        self._optimizer = self._make_optimizer()
        self._places = _places(recipe, patches, first=0)
        self._update: Callable[[], object] = self._unrecorded_update
        self._unrecorded = UNRECORDED

    def advance(self) -> None:
        """Take one step; on CUDA, have it taken later."""
        if self._unrecorded == 0 and self._losses.is_cuda and parallel.number_of_processes() == 1:
            self._update = recorded(self._unrecorded_update)
        self._unrecorded -= 1
        self._place.copy_(self._next_place())
        rate = self.recipe.rate(self.taken) * self._optimizer.correction(self.taken + 1)
        self._optimizer.rate.fill_(rate)
        self._update()
        self.taken += 1
        if self.taken % self.recipe.turn_every == 0:
            self._optimizer.turn()

    def mean_loss(self) -> float:
        """Of the steps since the last call; waits for the device."""
        total, number = parallel.averaged([self._losses])[0].tolist()
        self._losses.zero_()
        return float(total / max(1.0, number))

    def is_finite(self) -> bool:
        """Whether all kernels still are numbers; waits for the device."""
        return all(bool(kernel.isfinite().all()) for kernel in self._kernels)

    @torch.no_grad()
    def averaged(self) -> Weights:
        """The moving average of the weights, with the bias of its start removed."""
        network = self._fresh_network()
        known = 1.0 - self.recipe.average**self.taken
        averages = [average / known for average in self._average] if self.taken else self._kernels
        for parameter, average in zip(network.parameters(), averages, strict=True):
            parameter.copy_(average)
        first, *others = network.layers()
        if self.recipe.network == "equivariant":
            first = _centred(first)
        return replace(self._start, layers=(first, *others))

    def state(self) -> dict[str, Tensor]:
        """All that the steps to come depend on, besides recipe and patches: copies on the host."""
        return {name: tensor.cpu().contiguous().clone() for name, tensor in self._tensors().items()}

    def restore(self, state: Mapping[str, Tensor], taken: int) -> None:
        """Go on after `taken` steps from what `state` gave then; raises `ModelError` for others."""
        own = self._tensors()
        if {n: t.shape for n, t in own.items()} != {n: t.shape for n, t in state.items()}:
            raise ModelError("the checkpoint is of another network: begin anew with --overwrite")
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.copy_(state[name])
        self.taken = taken
        self._places = _places(self.recipe, self._patches, first=taken)

    def _tensors(self) -> dict[str, Tensor]:
        groups = {
            "kernel": [kernel.data for kernel in self._kernels],
            "average": self._average,
            "optimizer": self._optimizer.state(),
            "losses": [self._losses],
        }
        return {f"{name}.{i}": t for name, group in groups.items() for i, t in enumerate(group)}

    def _fresh_network(self) -> Network:
        network = Network(self._start)
        if self.recipe.network == "equivariant":
            network.keep_first_kernels_zero_mean()
        network.bf16_layers = 2 if self.recipe.bf16 else 0
        return network.to(self._patches.device).use_channels_last()

    def _make_optimizer(self) -> Soap | Adam:
        last = {id(kernel) for kernel in self._network.sub_pixel_layer.parameters()}
        shares = [self.recipe.last_layer if id(k) in last else 1.0 for k in self._kernels]
        if self.recipe.optimizer == "adam":
            return Adam(self._kernels, shares)
        soap = Soap(self._kernels, self._gradients(), shares)
        self._losses.zero_()
        return soap

    def _next_place(self) -> Tensor:
        begin = time.perf_counter()
        place = next(self._places)
        self.waited += time.perf_counter() - begin
        return place[self._share]

    def _unrecorded_update(self) -> None:
        self._optimizer.step(self._gradients())
        with torch.no_grad():
            for average, kernel in zip(self._average, self._kernels, strict=True):
                average.lerp_(kernel, 1 - self.recipe.average)

    def _gradients(self) -> tuple[Tensor, ...]:
        low, truth, gains = self._patches.gather(self._place)
        error = self._network(low) - truth
        if self.recipe.sub_image is not None:
            error = torch.where(truth.isnan(), 0.0, error)
        loss = (error * gains).square().mean()
        self._losses[0].add_(loss.detach())
        self._losses[1].add_(1)
        gradients = torch.autograd.grad(loss, self._kernels)
        return tuple(parallel.averaged(gradients))


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


def _centred(layer: Layer) -> Layer:
    """Zero-mean kernels to the last bit of float32.

    Their parameters may drift along the mean, which is taken off them: Adam blows up the rounding
    of gradients that should be zero. After 100,000 steps 4e-6 of the kernels was left by float32.
    """
    weight = layer.weight.astype(np.float64)
    return Layer((weight - weight.mean(axis=(2, 3), keepdims=True)).astype(np.float32))


def _places(recipe: Recipe, patches: Patches, *, first: int) -> Iterator[Tensor]:
    """Where the patches of step `first` and all later ones lie, on the device: (batch, 3, 3)."""
    chunk, skipped = divmod(first, DRAWN)
    while True:
        located = patches.locate(_choices(recipe, patches, chunk)).to(patches.device)
        yield from located.view(DRAWN, recipe.batch, 3, 3)[skipped:]
        chunk, skipped = chunk + 1, 0


def first_places(recipe: Recipe, patches: Patches, *, pixels: int) -> Tensor:
    """Where the first patches lie that have so many low-resolution pixels, of all processes."""
    batches = -(-pixels // (recipe.batch * recipe.window.side**2))
    return torch.cat(list(islice(_places(recipe, patches, first=0), batches)))


def _choices(recipe: Recipe, patches: Patches, chunk: int) -> Choices:
    """The patches of one chunk of steps, which depend on its number and the seed alone."""
    count = DRAWN * recipe.batch
    if recipe.sub_image is None:
        return patches.choose(count, np.random.default_rng([recipe.seed, chunk]))
    numbers = np.arange(chunk * count, (chunk + 1) * count)
    epochs = numbers // patches.cells
    orders = {
        epoch: np.random.default_rng([recipe.seed, epoch]).permutation(patches.cells)
        for epoch in np.unique(epochs).tolist()
    }
    pairs = zip(epochs.tolist(), (numbers % patches.cells).tolist(), strict=True)
    shown = [orders[epoch][number] for epoch, number in pairs]
    return patches.on_grid(np.array(shown))
