"""The CUDA path: one shape of block, the same bits each time, and float32 meant as such."""

import pickle

import numpy as np
import pytest
from espcn_networks import scene

import espcn
from espcn.devices import cuda_available

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not cuda_available(), reason="there is no CUDA device"),
]


@pytest.mark.parametrize("name", ["general-x2", "general-x3", "general-x4"])
def test_float32_on_cuda_agrees_with_the_cpu(name: str) -> None:
    model, reference = espcn.load(name, device="cuda"), espcn.load(name, device="cpu")
    side = model.block + 2 * model.halo
    pixels = scene((2, side, side))
    np.testing.assert_allclose(model(pixels), reference(pixels), atol=1e-5)


def test_a_block_is_the_same_in_whatever_company_and_however_often() -> None:
    model = espcn.load("general-x3", device="cuda")
    side = model.block + 2 * model.halo
    pixels = scene((3, side, side), amplitude=10_000.0)
    together = model(pixels)
    np.testing.assert_array_equal(together, model(pixels))
    np.testing.assert_array_equal(together[2:], model(pixels[2:]))
    np.testing.assert_array_equal(together, pickle.loads(pickle.dumps(model))(pixels))


def test_bf16_on_cuda_keeps_the_skip_exact() -> None:
    model = espcn.load("general-x3", device="cuda", precision="bf16")
    exact = espcn.load("general-x3", device="cuda")
    side = model.block + 2 * model.halo
    pixels = scene((1, side, side), amplitude=10_000.0) - np.float32(5_000.0)
    error = model(pixels) - exact(pixels)
    assert np.sqrt(np.mean(error**2)) < 12.0
    flat = np.full((1, side, side), 4321.0, np.float32)
    np.testing.assert_allclose(model(flat), 4321.0, rtol=1e-6)


def test_auto_finds_the_device() -> None:
    model = espcn.load("general-x2")
    assert model.address.placement.device == "cuda"
    assert model.fixed
