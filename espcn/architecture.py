"""The architecture as values: three convolutions, their activation and what surrounds them.

    x (C) -> conv f1 -> act -> conv f2 -> act -> conv f3 -> (+ bicubic skip) -> sub-pixel shuffle

W. Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel
Convolutional Neural Network", arXiv 1609.05158, section 3.1. Scale and bands follow from shapes:
C = w1.shape[1], r = sqrt(w3.shape[0] / C).
"""

from dataclasses import dataclass, field
from itertools import pairwise
from math import isqrt
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from espcn.errors import ModelError
from espcn.interpolation import RADIUS

Activation = Literal["tanh", "relu", "none"]

MAX_SCALE = 8
"""Largest enlargement that is taken for real; beyond it nothing is left to restore."""

MAX_KERNEL = 31
"""Widest kernel accepted from a file, in pixels."""

MAX_WIDTH = 4096
"""Most channels of a layer accepted from a file."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One valid convolution (cross-correlation, as in every deep-learning library)."""

    weight: NDArray[np.float32]
    """Kernels, (out, in, k, k), k odd."""

    bias: NDArray[np.float32] | None = None
    """One offset per output channel, (out,), or none at all."""

    @property
    def radius(self) -> int:
        """Pixels lost on each side."""
        return int(self.weight.shape[-1]) // 2


@dataclass(frozen=True, slots=True)
class Weights:
    """A network as values. No layers at all and the skip alone is plain bicubic enlargement.

    Raises `ModelError`, naming the tensor, when the layers do not make an ESPCN.
    """

    layers: tuple[Layer, ...]
    """Three convolutions in order, or none."""

    scale: int
    """Enlargement r, 2 to 8; must be what the last layer's shape says."""

    activation: Activation = "relu"
    """Between the layers."""

    skip: bool = True
    """Whether the bicubic enlargement of the input is added to the output."""

    input_range: tuple[float, float] | None = None
    """The range the network was trained on; None when it needs none."""

    metrics: dict[str, float] = field(default_factory=dict)
    """Measured quality, for the card."""

    provenance: dict[str, str] = field(default_factory=dict)
    """Where the network comes from, for the card."""

    band_names: tuple[str, ...] = ()
    """What each band of its input shows, in order; empty where unknown."""

    def __post_init__(self) -> None:
        if not 2 <= self.scale <= MAX_SCALE:
            raise ModelError(f"scale {self.scale} is not supported: need 2 to {MAX_SCALE}")
        if self.activation not in get_args(Activation):
            raise ModelError(f"activation {self.activation!r} is unknown: need tanh, relu or none")
        _check_range(self.input_range)
        _check_range(self.value_range)
        if self.layers and scale_of(self.layers) != self.scale:
            raise ModelError(f"the weights enlarge by {scale_of(self.layers)}, not by {self.scale}")
        if not self.layers and not self.skip:
            raise ModelError("a network without layers and without the bicubic skip is empty")
        _check_names(self.band_names, self.bands)

    @property
    def bands(self) -> int:
        """Bands the network mixes; 1 means that it is applied to each band by itself."""
        return int(self.layers[0].weight.shape[1]) if self.layers else 1

    @property
    def halo(self) -> int:
        """Receptive-field radius in low-resolution pixels: the sum of the kernels' radii."""
        core = sum(layer.radius for layer in self.layers)
        return max(core, RADIUS) if self.skip else core

    @property
    def value_range(self) -> tuple[float, float] | None:
        """The data's values that `input_range` stands for, from `provenance`; None where unknown.

        Its text is like '0 10000'; raises `ModelError` for another.
        """
        recorded = self.provenance.get("value_range", "")
        try:
            low, high = map(float, recorded.split())
        except ValueError as error:
            if not recorded:
                return None
            raise ModelError(
                f"value_range {recorded!r} is not two numbers, such as '0 10000'"
            ) from error
        return low, high

    @property
    def equivariant(self) -> bool:
        """Whether SR(a*x + b) = a*SR(x) + b holds for every a > 0, read off the numbers.

        Without biases and with ReLU the core is positively homogeneous; with zero-mean first
        kernels it does not see the offset, which the skip carries, for its kernels sum to one.
        """
        if not self.skip or self.activation == "tanh":
            return False
        if any(layer.bias is not None and np.any(layer.bias != 0) for layer in self.layers):
            return False
        return not self.layers or _zero_mean(self.layers[0].weight)


def scale_of(layers: tuple[Layer, ...]) -> int:
    """The enlargement told by the shapes; raises `ModelError` when they make no ESPCN."""
    _check_layers(layers)
    bands, last = int(layers[0].weight.shape[1]), int(layers[-1].weight.shape[0])
    scale = isqrt(last // bands)
    if last < bands or bands * scale * scale != last:
        raise ModelError(
            f"sub_pixel_layer.0.weight has {last} outputs for {bands} bands: need bands * scale**2"
        )
    return scale


def _zero_mean(kernels: NDArray[np.float32]) -> bool:
    sums = np.abs(kernels.sum(axis=(2, 3), dtype=np.float64))
    sizes = np.abs(kernels).sum(axis=(2, 3), dtype=np.float64)
    return bool(np.all(sums <= 1e-6 * sizes))


def _check_range(input_range: tuple[float, float] | None) -> None:
    if input_range is None:
        return
    low, high = input_range
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise ModelError(f"the range {input_range} is not (low, high) with low < high")


def _check_names(names: tuple[str, ...], bands: int) -> None:
    if not names:
        return
    if len(names) != bands:
        raise ModelError(f"{len(names)} band names for {bands} bands: need one for each, or none")
    readable = all(name.strip() and name.isprintable() for name in names)
    if not readable or len(set(names)) < bands:
        raise ModelError(f"band names {names} are no names, or not all different")


def _check_layers(layers: tuple[Layer, ...]) -> None:
    if len(layers) != 3:
        raise ModelError(f"an ESPCN has three convolutions, not {len(layers)}")
    for number, layer in enumerate(layers, start=1):
        _check_layer(layer, number)
    for number, (one, two) in enumerate(pairwise(layers), start=1):
        if one.weight.shape[0] != two.weight.shape[1]:
            raise ModelError(
                f"convolution {number} gives {one.weight.shape[0]} channels and convolution "
                f"{number + 1} takes {two.weight.shape[1]}: they must agree"
            )


def _check_layer(layer: Layer, number: int) -> None:
    shape, bias = layer.weight.shape, layer.bias
    if len(shape) != 4 or shape[2] != shape[3] or shape[3] % 2 == 0:
        raise ModelError(f"convolution {number} has shape {shape}: need (out, in, k, k), k odd")
    if max(shape[:2]) > MAX_WIDTH or min(shape) < 1 or shape[3] > MAX_KERNEL:
        raise ModelError(
            f"convolution {number} has shape {shape}: at most {MAX_WIDTH} channels of "
            f"{MAX_KERNEL}x{MAX_KERNEL} px are accepted"
        )
    if bias is not None and bias.shape != shape[:1]:
        raise ModelError(f"bias {number} has shape {bias.shape}: need ({shape[0]},)")
    tensors = [layer.weight] if bias is None else [layer.weight, bias]
    if not all(np.all(np.isfinite(tensor)) for tensor in tensors):
        raise ModelError(f"convolution {number} holds NaN or infinite weights: the file is damaged")
