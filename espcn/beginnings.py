"""Networks before their first step.

`equivariant` starts as plain bicubic enlargement: the skip is part of it, and its last layer
begins small.

`tanh`, the published ESPCN, has no skip. Its first two layers begin at random, as wide as tanh is
steep, and its last as the least-squares fit of the first patches to what is behind them: it starts
close to bicubic, with all weights of a size. (Carrying the bicubic enlargement through a few
channels, damped before tanh and raised again after it, started exactly there and was 0.5 dB behind
after 300 steps: its large last weights hardly move, its small first ones at once.)
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from espcn.architecture import Layer, Weights
from espcn.errors import ModelError
from espcn.models import read_model
from espcn.recipe import HALO, KERNELS, Recipe

WIDTHS = (64, 32)
"""Channels n1 and n2 of arXiv 1609.05158."""

SMALL = 0.1
"""Size of an equivariant network's last layer, relative to He's."""


def first_weights(recipe: Recipe, bands: int) -> Weights:
    """A random network before its first step; the last layer of tanh networks is to be fitted.

    He initialisation for ReLU (arXiv 1502.01852, eq. 10), an eighth of its variance for tanh.
    """
    random = np.random.default_rng(recipe.seed)
    outputs = (*WIDTHS, bands * recipe.scale**2)
    inputs = (bands, *WIDTHS)
    equivariant = recipe.network == "equivariant"

    def kernels(layer: int, variance: float) -> NDArray[np.float32]:
        side = KERNELS[layer]
        deviation = np.sqrt(variance / (inputs[layer] * side * side))
        shape = (outputs[layer], inputs[layer], side, side)
        return random.normal(0.0, deviation, shape).astype(np.float32)

    variance = 2.0 if equivariant else 0.25
    layers = kernels(0, variance), kernels(1, variance), kernels(2, 2.0 * SMALL**2)
    if equivariant:
        return Weights(tuple(Layer(weight) for weight in layers), recipe.scale)
    biased = tuple(Layer(weight, np.zeros(len(weight), np.float32)) for weight in layers)
    return Weights(biased, recipe.scale, activation="tanh", skip=False, input_range=(0.0, 1.0))


def weights_of(model: str, recipe: Recipe, bands: int) -> Weights:
    """Another model to start from, a name or a file; {scale} stands for the recipe's.

    Raises `ModelError` when it is none of the recipe's kind.
    """
    model = model.replace("{scale}", str(recipe.scale))
    found = read_model(model).weights
    if found is None or not found.layers or _kind(found) != recipe.network:
        raise ModelError(
            f"{model} is no {recipe.network} network to start from: choose one that is"
        )
    if (found.scale, found.bands) != (recipe.scale, bands):
        raise ModelError(
            f"{model} enlarges {found.bands} band(s) by {found.scale}, to train is a network of "
            f"{bands} by {recipe.scale}: choose another to start from"
        )
    if found.halo != HALO:
        raise ModelError(f"{model} sees {found.halo} px around, not {HALO}: choose another")
    return replace(found, band_names=(), provenance={}, metrics={})


def _kind(weights: Weights) -> str:
    """The kind of network that a recipe would call it."""
    if weights.equivariant:
        return "equivariant"
    plain = weights.activation == "tanh" and not weights.skip
    biased = all(layer.bias is not None for layer in weights.layers)
    return "tanh" if plain and biased and weights.input_range == (0.0, 1.0) else "other"
