"""Networks with random weights, and the untiled answer to compare tiles with."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from numpy.typing import NDArray

from espcn.architecture import Activation, Layer, Weights


def random_weights(
    *,
    scale: int = 3,
    bands: int = 1,
    activation: Activation = "tanh",
    skip: bool = False,
    bias: bool = True,
    widths: tuple[int, int] = (64, 32),
    sides: tuple[int, int, int] = (5, 3, 3),
) -> Weights:
    """An ESPCN nobody trained, with outputs about as large as its inputs."""
    random = np.random.default_rng(0)
    channels = (bands, *widths, bands * scale * scale)

    def layer(number: int) -> Layer:
        taken, given, side = channels[number], channels[number + 1], sides[number]
        weight = random.standard_normal((given, taken, side, side)) / np.sqrt(taken * side * side)
        offsets = 0.1 * random.standard_normal(given)
        return Layer(weight.astype(np.float32), offsets.astype(np.float32) if bias else None)

    return Weights(
        (layer(0), layer(1), layer(2)),
        scale,
        activation=activation,
        skip=skip,
        input_range=(0.0, 1.0),
    )


def scene(shape: tuple[int, ...], *, halo: int = 0, amplitude: float = 1.0) -> NDArray[np.float32]:
    """Noise with some structure, 0 to `amplitude`, of `shape` plus a halo on the last two axes."""
    grown = (*shape[:-2], shape[-2] + 2 * halo, shape[-1] + 2 * halo)
    random = np.random.default_rng(1)
    ramp = np.linspace(0.0, 1.0, grown[-1])
    values = 0.5 * random.random(grown) + 0.5 * ramp
    return (amplitude * values).astype(np.float32)


def require_bf16() -> None:
    """Skip the test where OpenVINO or the processor's bfloat16 instructions are missing."""
    openvino = pytest.importorskip("openvino")
    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this processor has no bfloat16 instructions")


@contextmanager
def scarce_device_memory() -> Iterator[None]:
    """Next to no memory of the CUDA device for this process."""
    import torch

    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(0.001)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
