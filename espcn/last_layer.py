"""Least squares on the last layer, which is linear: a fit of it, and the end of a mean error.

    f (n, px)    its inputs at every place, nine neighbours of each map
    y (m, px)    what it should give: the truth, or what the skip leaves of it
    W (m, n)     its kernels

What an equivariant network adds to bicubic has no offset, only sums of features that are never
negative. Training on squared errors then leaves a mean error, for one Landsat network of 1.4 % of
the RMSE on every band of every scene. With m and C the means of f and of f f', and k = C^-1 m,

    W + (mean y - W m) k' / (m' k)

has none, and of all kernels without one raises the mean squared error least (by Lagrange).
"""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from espcn.architecture import Layer, Weights
from espcn.network import Network
from espcn.patches import Patches

RIDGE = 1e-4
"""Added to the diagonal of what is inverted, relative to its mean."""

LEAST = 0.01
"""Share of a constant that features must make up: of less no mean can be made."""

TOGETHER = 16
"""Patches whose inputs are held at once."""


@torch.no_grad()
def fit_last_layer(network: Network, low: Tensor, truth: Tensor, gains: Tensor) -> None:
    """Make the last layer, with its offsets, the least-squares fit of its inputs to the truth.

    `low` (n, C, y, x) and `truth` (n, C, y * scale, x * scale) are those of `Patches.gather`.
    """
    inputs, wanted, ones = (part.double().cpu() for part in _equations(network, low, truth, gains))
    inputs = torch.cat([inputs, ones])
    solved = torch.linalg.solve(_ridged(inputs @ inputs.T), inputs @ wanted.T).T
    last = _last(network)
    last.weight.copy_(solved[:, :-1].reshape(last.weight.shape))
    assert last.bias is not None
    last.bias.copy_(solved[:, -1])


@torch.no_grad()
def without_bias(weights: Weights, patches: Patches, located: Tensor) -> Weights:
    """An equivariant network whose mean error on the patches at `located` is zero.

    The network itself where its features say too little of a constant.
    """
    network = Network(weights).eval().to(patches.device)
    count, total, missing, products = 0, *torch.zeros(3, dtype=torch.float64)
    kernels = _last(network).weight.flatten(1)
    for some in torch.split(located, TOGETHER):
        inputs, wanted, _ = _equations(network, *patches.gather(some))
        errors = wanted - kernels @ inputs
        count += inputs.shape[1]
        total = total + inputs.sum(dim=1).double().cpu()
        missing = missing + errors.sum(dim=1).double().cpu()
        products = products + (inputs @ inputs.T).double().cpu()
    if not total.any():
        return weights
    direction = torch.linalg.solve(_ridged(products), total)
    reach = float(total @ direction)
    if reach < LEAST * count:
        return weights
    moved = kernels.double().cpu() + torch.outer(missing, direction) / reach
    *others, last = weights.layers
    weight = moved.float().numpy().reshape(last.weight.shape)
    return replace(weights, layers=(*others, Layer(weight)))


def _equations(
    network: Network, low: Tensor, truth: Tensor, gains: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs (n, px), what is wanted (m, px) and ones (1, px) where it is known, times gains."""
    maps = network.feature_map_layer(low).float()
    columns = functional.unfold(maps, _last(network).kernel_size)
    rest = truth - network.enlarge(low) if network.skip else truth
    wanted = functional.pixel_unshuffle(rest, network.scale).flatten(2)
    together = [columns, wanted, torch.ones_like(columns[:, :1])]
    inputs, wanted, ones = ((p * gains[..., 0]).transpose(0, 1).flatten(1) for p in together)
    known = wanted.isfinite().all(dim=0)
    return inputs[:, known], wanted[:, known], ones[:, known]


def _last(network: Network) -> torch.nn.Conv2d:
    last = network.sub_pixel_layer[0]
    assert isinstance(last, torch.nn.Conv2d)
    return last


def _ridged(products: Tensor) -> Tensor:
    """Products of inputs that can be inverted."""
    return products + RIDGE * products.diagonal().mean() * torch.eye(len(products))
