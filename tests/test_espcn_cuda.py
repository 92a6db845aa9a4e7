"""The CUDA path: one shape of block, the same bits each time, and float32 meant as such."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from espcn_networks import scarce_device_memory, scene
from numpy.typing import NDArray

import espcn
from espcn.devices import cuda_available

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not cuda_available(), reason="there is no CUDA device"),
]


def blocks(
    model: espcn.Upscaler, count: int, *, amplitude: float = 10_000.0
) -> NDArray[np.float32]:
    """`count` different blocks with halo, (block, 1, y, x)."""
    side = model.block + 2 * model.halo
    return scene((count, 1, side, side), amplitude=amplitude)


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


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_many_threads_at_once_get_the_bits_of_one(precision: str) -> None:
    model = espcn.load("general-x3", device="cuda", precision=precision)  # type: ignore[arg-type]
    pixels = blocks(model, 6)
    alone = [model(block) for block in pixels]
    with ThreadPoolExecutor(6) as pool:
        for _ in range(5):
            for one, other in zip(alone, pool.map(model, pixels), strict=True):
                np.testing.assert_array_equal(other, one)


def test_a_result_is_the_callers_own_and_the_input_may_be_read_only() -> None:
    model = espcn.load("general-x2", device="cuda")
    pixels = blocks(model, 2)
    pixels.flags.writeable = False
    first = model(pixels[0])
    kept = first.copy()
    model(pixels[1])[:] = 0
    np.testing.assert_array_equal(first, kept)


def test_device_memory_does_not_grow_with_threads_but_for_results() -> None:
    import torch

    model = espcn.load("general-x3", device="cuda")
    pixels = blocks(model, 8)

    def peak(threads: int) -> int:
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        with ThreadPoolExecutor(threads) as pool:
            for _ in range(4):
                list(pool.map(model, pixels))
        return int(torch.cuda.max_memory_allocated())

    result = 4 * (model.block * model.scale) ** 2
    assert peak(8) <= peak(1) + 8 * (result + pixels[0].nbytes)


def test_too_little_device_memory_is_one_clear_error_and_no_harm_for_later() -> None:
    model = espcn.load("general-x3", device="cuda")
    (pixels,) = blocks(model, 1)
    before = model(pixels)
    with scarce_device_memory(), pytest.raises(espcn.ModelError, match="too little") as caught:
        model(pixels)
    assert "\n" not in str(caught.value)
    np.testing.assert_array_equal(model(pixels), before)


def test_bf16_on_cuda_keeps_the_skip_exact() -> None:
    model = espcn.load("general-x3", device="cuda", precision="bf16")
    exact = espcn.load("general-x3", device="cuda")
    (pixels,) = blocks(model, 1) - np.float32(5_000.0)
    error = model(pixels) - exact(pixels)
    assert np.sqrt(np.mean(error**2)) < 12.0
    # in bfloat16 this is 4320 or 4352, and the kernels' sums are only nearly zero
    flat = np.full(pixels.shape, 4336.0, np.float32)
    np.testing.assert_allclose(model(flat), 4336.0, atol=4.0)


def test_auto_finds_the_device() -> None:
    model = espcn.load("general-x2")
    assert model.address.placement.device == "cuda"
    assert model.fixed
