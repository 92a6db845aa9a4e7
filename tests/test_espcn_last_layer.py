"""The last layer: fitted by least squares, and moved until errors have no mean."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from training_runs import squares

pytest.importorskip("torch")

import torch

from espcn.architecture import Layer, Weights
from espcn.beginnings import first_weights
from espcn.degradation import Degradation
from espcn.descent import _centred, first_places
from espcn.last_layer import _equations, without_bias
from espcn.network import Network
from espcn.pairs import Picture, make_pairs
from espcn.patches import Patches
from espcn.recipe import Recipe

RECIPE = Recipe(scale=2, patch=16, batch=4)


def skewed(bands: int = 1) -> Patches:
    """Few bright squares on a dark ground: errors of one sign count more."""
    pictures = []
    for seed in range(3):
        values = squares((bands, 96, 96), "uint8", seed=seed).astype(float)
        bright = np.random.default_rng(seed).random((bands, 96, 96)) < 0.03
        pictures.append(Picture(values + 900 * bright, Degradation("bicubic", RECIPE.scale)))
    return Patches(make_pairs(pictures, RECIPE.window), RECIPE.window, device="cpu")


def untrained(bands: int = 1) -> Weights:
    """One whose last layer is of a size with the others."""
    weights = first_weights(RECIPE, bands)
    first, second, last = weights.layers
    return replace(weights, layers=(_centred(first), second, Layer(3 * last.weight)))


@pytest.mark.parametrize("bands", [1, 2])
def test_the_mean_error_ends_by_the_cheapest_change(bands: int) -> None:
    patches, weights = skewed(bands), untrained(bands)
    places = first_places(RECIPE, patches, pixels=4096)
    made = without_bias(weights, patches, places)
    with torch.no_grad():
        parts = _equations(Network(weights), *patches.gather(places))
    inputs, wanted, _ = (part.double().numpy() for part in parts)
    before, after = (one.layers[2].weight.reshape(len(wanted), -1) for one in (weights, made))
    errors = wanted - before @ inputs
    left = wanted - after @ inputs
    size = np.sqrt(np.mean(errors**2))
    assert np.abs(errors.mean(axis=1)).max() > 0.01 * size
    assert np.abs(left.mean(axis=1)).max() < 1e-5 * size
    # any other change of that mean costs at least as much
    means = inputs.mean(axis=1)
    other = np.outer(errors.mean(axis=1), means) / (means @ means)
    costs = [np.mean(((rows - before) @ inputs) ** 2) for rows in (after, before + other)]
    assert costs[0] < costs[1]
    for one, two in zip(made.layers[:2], weights.layers[:2], strict=True):
        assert one is two
    assert made.equivariant


def test_a_network_without_features_stays_what_it_is() -> None:
    patches, weights = skewed(), untrained()
    first, *others = weights.layers
    blind = replace(weights, layers=(Layer(0 * first.weight), *others))
    assert without_bias(blind, patches, first_places(RECIPE, patches, pixels=1024)) is blind
