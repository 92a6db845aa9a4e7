"""What a network is trained on, the unit it computes in meanwhile, and the way back to counts."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from espcn.architecture import Layer, Weights
from espcn.pairs import Picture, Unit, unit_of
from espcn.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Material:
    """What a network is trained on and measured with."""

    training: Sequence[Picture]
    """Pictures to learn from."""

    validation: Sequence[Picture]
    """Pictures it never sees; they choose among its states."""

    peak: float
    """Range of the values, in counts, to which PSNR refers."""

    floor: float = 0.0
    """The smallest value, which `tanh` networks call 0 (the largest, floor + peak, is 1)."""


def unit_for(recipe: Recipe, material: Material) -> Unit:
    """Counts for equivariant networks, to which any unit is the same; else mean 0 and spread 1."""
    return Unit() if recipe.network == "equivariant" else unit_of(material.training)


def in_counts(weights: Weights, unit: Unit, material: Material) -> Weights:
    """The network of a unit as one of its input range, 0 to 1: the unit is folded into its ends.

    z = (p * x + f - c) / s, for x from 0 to 1, peak p, floor f, centre c and spread s of the unit.
    """
    return _folded(weights, *_unit_of_range(unit, material))


def in_unit(weights: Weights, unit: Unit, material: Material) -> Weights:
    """The network of an input range as one of the unit: the inverse of `in_counts`."""
    gain, offset = _unit_of_range(unit, material)
    return _folded(weights, 1.0 / gain, -offset / gain)


def _unit_of_range(unit: Unit, material: Material) -> tuple[float, float]:
    """(gain, offset) of z = gain * x + offset, for x from 0 to 1 and z in the unit."""
    return material.peak / unit.spread, (material.floor - unit.centre) / unit.spread


def _folded(weights: Weights, gain: float, offset: float) -> Weights:
    """The network of z as one of x, z = gain * x + offset; equivariant ones stay what they are."""
    if weights.input_range is None:
        return weights
    first, second, last = weights.layers
    assert first.bias is not None
    assert last.bias is not None
    bias = first.bias + offset * first.weight.sum(axis=(1, 2, 3))
    return replace(
        weights,
        layers=(
            Layer((first.weight * gain).astype(np.float32), bias.astype(np.float32)),
            second,
            Layer(
                (last.weight / gain).astype(np.float32),
                ((last.bias - offset) / gain).astype(np.float32),
            ),
        ),
    )


def fingerprint(material: Material) -> str:
    """SHA-256 of all pixels and of what is done to them, in order."""
    digest = hashlib.sha256(repr((material.peak, material.floor)).encode())
    for picture in (*material.training, *material.validation):
        pixels = np.ascontiguousarray(picture.pixels)
        digest.update(repr((pixels.shape, pixels.dtype.str, picture.degradation.text)).encode())
        digest.update(pixels.tobytes())
    return digest.hexdigest()
