"""The same pixels to the bit, whatever the tile: the property the whole project stands on."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from espcn_networks import random_weights, require_bf16, scene
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import espcn
from espcn.architecture import Weights
from espcn.weights_file import write_weights

HEIGHT, WIDTH = 97, 110

NETWORKS: dict[str, Callable[[], Weights]] = {
    "tanh-x3": lambda: random_weights(scale=3),
    "tanh-x2": lambda: random_weights(scale=2),
    "narrow-x3": lambda: random_weights(widths=(20, 12), activation="relu", skip=True),
    "three-bands-x2": lambda: random_weights(scale=2, bands=3, skip=True),
    "small-kernels-x4": lambda: random_weights(scale=4, sides=(1, 1, 1), skip=True),
}

SHIPPED = ["general-x2", "general-x3", "general-x4"]


class Tiled:
    """A scene, its untiled answer, and the answer of any of its windows."""

    def __init__(self, upscaler: espcn.Upscaler, *, amplitude: float) -> None:
        self.upscaler = upscaler
        shape = (upscaler.bands, HEIGHT, WIDTH)
        self.pixels = scene(shape, halo=upscaler.halo, amplitude=amplitude)
        self.whole = upscaler(self.pixels)

    def assert_exact(self, y: int, x: int, height: int, width: int) -> None:
        margin, scale = 2 * self.upscaler.halo, self.upscaler.scale
        tile = self.upscaler(self.pixels[:, y : y + height + margin, x : x + width + margin])
        fine = (slice(scale * y, scale * (y + height)), slice(scale * x, scale * (x + width)))
        np.testing.assert_array_equal(tile, self.whole[:, fine[0], fine[1]])


@pytest.fixture(scope="module", params=[*SHIPPED, *NETWORKS, "bicubic"])
def tiled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tiled:
    folder = tmp_path_factory.mktemp("networks")
    upscaler = espcn.load(_model(request.param, folder), device="cpu")
    return Tiled(upscaler, amplitude=1.0 if upscaler.card.input_range else 10_000.0)


TILINGS = [(9, 7), (31, 33), (32, 64), (HEIGHT, 1), (1, WIDTH), (64, 64), (HEIGHT - 1, WIDTH - 1)]


@pytest.mark.parametrize("tile", TILINGS)
def test_a_tiled_scene_is_the_untiled_one(tiled: Tiled, tile: tuple[int, int]) -> None:
    for window in _windows(*tile):
        tiled.assert_exact(*window)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_window_is_exact(tiled: Tiled, data: st.DataObject) -> None:
    tiled.assert_exact(*data.draw(_any_window()))


def test_blocks_of_the_advised_size_are_exact() -> None:
    upscaler = espcn.load("general-x3", device="cpu")
    side, halo, scale = upscaler.block, upscaler.halo, upscaler.scale
    pixels = scene((1, side + 44, 2 * side + 3), halo=halo, amplitude=10_000.0)
    whole = upscaler(pixels)
    for x in (0, side, 2 * side - 1):
        tile = upscaler(pixels[:, : side + 2 * halo, x : x + side + 2 * halo])
        np.testing.assert_array_equal(
            tile, whole[:, : scale * side, scale * x : scale * (x + side)][..., : tile.shape[-1]]
        )


@pytest.mark.parametrize("name", [*SHIPPED, "tanh-x3", "three-bands-x2"])
def test_a_block_in_bf16_is_the_same_in_any_company(name: str, tmp_path: Path) -> None:
    require_bf16()
    model = espcn.load(_model(name, tmp_path), device="cpu", precision="bf16")
    assert model.fixed
    side, number = model.block + 2 * model.halo, 2 if model.bands == 1 else model.bands
    pixels = scene((number, side, side), amplitude=10_000.0)
    together = model(pixels)
    np.testing.assert_array_equal(model(pixels), together)
    if model.bands == 1:
        np.testing.assert_array_equal(model(pixels[1:]), together[1:])
    with pytest.raises(espcn.ModelError, match="openvino takes blocks of"):
        model(pixels[:, :-1])


def test_threads_of_one_call_do_not_change_a_bit() -> None:
    pixels = scene((1, 130, 131), halo=4)
    one, two = (espcn.load("general-x3", device="cpu", threads=threads) for threads in (1, 2))
    np.testing.assert_array_equal(one(pixels), two(pixels))


def test_bands_do_not_see_each_other() -> None:
    upscaler = espcn.load("general-x2", device="cpu")
    pixels = scene((5, 40, 41), halo=4)
    together = upscaler(pixels)
    for band in range(5):
        np.testing.assert_array_equal(together[band], upscaler(pixels[band : band + 1])[0])


def _windows(height: int, width: int) -> Iterator[tuple[int, int, int, int]]:
    for y in range(0, HEIGHT, height):
        for x in range(0, WIDTH, width):
            yield y, x, min(height, HEIGHT - y), min(width, WIDTH - x)


@st.composite
def _any_window(draw: st.DrawFn) -> tuple[int, int, int, int]:
    y, x = draw(st.integers(0, HEIGHT - 1)), draw(st.integers(0, WIDTH - 1))
    return y, x, draw(st.integers(1, HEIGHT - y)), draw(st.integers(1, WIDTH - x))


def _model(name: str, folder: Path) -> str:
    if name not in NETWORKS:
        return name
    path = folder / f"{name}.safetensors"
    write_weights(path, NETWORKS[name]())
    return str(path)
