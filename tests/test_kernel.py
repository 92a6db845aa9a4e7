"""The tiled result is the untiled one, to the bit, whatever the cut."""

from __future__ import annotations

import numpy as np
import pytest
from espcn_networks import require_bf16
from fakes import FakeNetwork, texture, upscale_array
from hypothesis import given
from hypothesis import strategies as st

import espcn
from espcn.reference import whole_image
from pipeline.radiometry import SUPPORTED, replicate

extents = st.integers(1, 60)
dtypes = st.sampled_from(SUPPORTED)


@st.composite
def images(draw: st.DrawFn, dtype: str | None = None) -> np.ndarray:
    kind = np.dtype(dtype or draw(dtypes))
    shape = (draw(st.integers(1, 3)), draw(extents), draw(extents))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    if kind.kind == "f":
        return rng.integers(-400, 400, shape).astype(kind)
    low, high = (0, 100) if kind.itemsize == 1 else (0, 400)
    return rng.integers(low, high, shape).astype(kind)


def untiled(pixels: np.ndarray, network: FakeNetwork) -> np.ndarray:
    """The definition: mirror the whole image, apply the network once, round to nearest."""
    halo = network.halo
    field = np.pad(pixels, ((0, 0), (halo, halo), (halo, halo)), mode="symmetric")
    fine = network(np.ascontiguousarray(field, np.float32))
    if pixels.dtype.kind == "f":
        return fine.astype(pixels.dtype)
    info = np.iinfo(pixels.dtype)
    return np.clip(np.rint(fine.astype(np.float64)), info.min, info.max).astype(pixels.dtype)


@given(
    images(),
    st.integers(1, 4),
    st.integers(0, 5),
    st.sampled_from([17, 40, 64, 512]),
    st.integers(3, 50),
)
def test_any_cut_gives_the_untiled_result(
    pixels: np.ndarray, scale: int, halo: int, side: int, block: int
) -> None:
    network = FakeNetwork(scale=scale, halo=halo, block=block)
    fine, valid = upscale_array(pixels, network, side=side)
    np.testing.assert_array_equal(fine, untiled(pixels, network))
    assert valid.all()


@given(images("uint16"), st.integers(1, 4), st.sampled_from([17, 40, 512]), st.integers(5, 40))
def test_a_network_that_needs_fixed_blocks_gets_them_and_gives_the_same(
    pixels: np.ndarray, scale: int, side: int, block: int
) -> None:
    free = FakeNetwork(scale=scale)
    fixed = FakeNetwork(scale=scale, block=block, fixed=True)
    one, _ = upscale_array(pixels, fixed, side=side)
    np.testing.assert_array_equal(one, upscale_array(pixels, free, side=512)[0])


@given(images(), st.data(), st.sampled_from([19, 64, 512]))
def test_holes_are_the_same_in_every_cut_and_come_back_exactly(
    pixels: np.ndarray, data: st.DataObject, side: int
) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    share = data.draw(st.sampled_from([0.02, 0.5, 0.98, 1.0]))
    nodata = float("nan") if pixels.dtype.kind == "f" else 77.0
    pixels[rng.random(pixels.shape) < share] = nodata
    network = FakeNetwork(halo=data.draw(st.integers(0, 4)))
    fine, valid = upscale_array(pixels, network, side=side, nodata=nodata)
    whole, _ = upscale_array(pixels, network, side=4096, nodata=nodata)
    np.testing.assert_array_equal(fine, whole)
    hole = np.isnan(pixels) if pixels.dtype.kind == "f" else pixels == nodata
    np.testing.assert_array_equal(valid, ~replicate(hole, scale=2))
    np.testing.assert_array_equal(fine[~valid], replicate(pixels, scale=2)[~valid])


def test_nodata_never_bleeds_into_valid_pixels() -> None:
    network = FakeNetwork()
    pixels = np.full((1, 40, 40), 500, np.uint16)
    flat, _ = upscale_array(pixels, network, side=512)
    pixels[0, 10:20, 5:30] = 65535
    holed, valid = upscale_array(pixels, network, side=64, nodata=65535)
    np.testing.assert_array_equal(holed[valid], flat[valid])


def test_invalid_everywhere_is_written_as_such() -> None:
    pixels = np.full((2, 9, 7), -9999, np.int16)
    fine, valid = upscale_array(pixels, FakeNetwork(), side=512, nodata=-9999)
    assert (fine == -9999).all()
    assert not valid.any()


def test_blocks_without_a_valid_pixel_cost_no_network() -> None:
    seen = list[tuple[int, ...]]()

    class Counting(FakeNetwork):
        def __call__(self, pixels: np.ndarray, /) -> np.ndarray:
            seen.append(pixels.shape)
            return super().__call__(pixels)

    pixels = texture((2, 96, 96))
    pixels[:, :, 48:] = 65535
    pixels[1, 0, 95] = 300
    fine, valid = upscale_array(pixels, Counting(block=48), side=512, nodata=65535)
    assert len(seen) == 2 + 3
    np.testing.assert_array_equal(valid, replicate(pixels != 65535, scale=2))
    np.testing.assert_array_equal(fine[~valid], 65535)


def test_a_mask_excludes_pixels_in_all_bands_and_keeps_their_values() -> None:
    pixels = texture((2, 30, 30))
    mask = np.ones((30, 30), bool)
    mask[5:9, 7:20] = False
    pixels[:, ~mask] = 60000
    fine, valid = upscale_array(pixels, FakeNetwork(), side=24, mask=mask)
    np.testing.assert_array_equal(valid, np.broadcast_to(replicate(mask, scale=2), valid.shape))
    assert (fine[~valid] == 60000).all()
    assert fine[valid].max() < 60000


def test_alpha_and_categories_go_by_nearest_and_transparent_pixels_do_not_bleed() -> None:
    pixels = texture((3, 30, 30), "uint8")
    pixels[1] = np.where(np.add.outer(np.arange(30), np.arange(30)) % 5 == 0, 0, 255)
    fine, valid = upscale_array(
        pixels, FakeNetwork(), side=32, roles=("light", "alpha", "category")
    )
    np.testing.assert_array_equal(fine[1:], replicate(pixels[1:], scale=2))
    opaque = replicate(pixels[1] != 0, scale=2)
    np.testing.assert_array_equal(valid[0], opaque)
    assert valid[1].all()


def test_saturated_pixels_come_back_exactly() -> None:
    pixels = texture((1, 30, 30))
    pixels[0, 4, 5] = pixels[0, 20:25, 9] = 65535
    fine, valid = upscale_array(pixels, FakeNetwork(), side=512, saturated=65535)
    where = replicate(pixels == 65535, scale=2)
    assert (fine[where] == 65535).all()
    assert valid.all()


def test_undeclared_huge_values_are_gaps_and_come_back_exactly() -> None:
    pixels = texture((1, 30, 30)).astype(np.float32)
    clean, _ = upscale_array(pixels, FakeNetwork(), side=512)
    pixels[0, 3:6, 4:9] = np.finfo(np.float32).min
    fine, valid = upscale_array(pixels, FakeNetwork(), side=24)
    hole = replicate(pixels[0] < 0, scale=2)
    np.testing.assert_array_equal(~valid[0], hole)
    assert (fine[0][hole] == np.finfo(np.float32).min).all()
    assert np.abs(fine[0][~hole]).max() <= np.abs(clean).max() * 1.01


def test_what_is_restored_does_not_count_as_clipped() -> None:
    from fakes import make_profile

    from pipeline.kernel import Recipe, make_tiling, upscale_tile
    from pipeline.radiometry import Radiometry

    network = FakeNetwork()
    pixels = np.full((1, 9, 9), 65535, np.uint16)
    tiling = make_tiling(9, 9, network, side=512)
    radiometry = Radiometry("uint16", 1, (0,), saturated=65535)
    recipe = Recipe(make_profile((1, 9, 9)), tiling, radiometry, network)
    done = upscale_tile(recipe, tiling.tile(0), pixels, None)
    assert (done.pixels == 65535).all()
    assert done.clipped == 0


def test_values_that_do_not_fit_are_clipped_to_the_type_and_counted() -> None:
    from fakes import make_profile

    from pipeline.kernel import Recipe, make_tiling, upscale_tile
    from pipeline.radiometry import Radiometry

    network = FakeNetwork(halo=4)
    pixels = np.full((1, 8, 8), 255, np.uint8)
    tiling = make_tiling(8, 8, network, side=512)
    recipe = Recipe(make_profile((1, 8, 8), "uint8"), tiling, Radiometry("uint8", 1, (0,)), network)
    done = upscale_tile(recipe, tiling.tile(0), pixels, None)
    assert (done.pixels == 255).all()
    assert done.clipped == done.pixels.size


@given(images(), st.sampled_from([2, 3, 4]), st.sampled_from([18, 512]))
def test_replication_averaged_over_blocks_is_the_input(
    pixels: np.ndarray, scale: int, side: int
) -> None:
    fine, _ = upscale_array(pixels, espcn.load("nearest", scale=scale), side=side)
    bands, height, width = pixels.shape
    blocks = fine.reshape(bands, height, scale, width, scale).astype(np.float64)
    np.testing.assert_array_equal(blocks.mean(axis=(2, 4)).astype(pixels.dtype), pixels)
    assert fine.dtype == pixels.dtype


@pytest.mark.parametrize("dtype", ["uint32", "int32", "float64"])
def test_wide_types_keep_what_float32_cannot_hold_through_replication(dtype: str) -> None:
    top = 2**31 - 1 if dtype != "float64" else 0.1
    pixels = np.array([[[top, top - 1], [top - 2, 3]]]).astype(dtype)
    fine, _ = upscale_array(pixels, espcn.load("nearest", scale=2), side=512)
    np.testing.assert_array_equal(fine, replicate(pixels, scale=2))


@pytest.mark.parametrize("model", ["general-x2", "general-x3", "general-x4", "bicubic"])
def test_shipped_networks_do_not_depend_on_the_cut(model: str) -> None:
    network = espcn.load(model, device="cpu")
    pixels = texture((2, 131, 77))
    pixels[0, 30:50, 20:30] = 0
    reference, _ = upscale_array(pixels, network, side=4096, nodata=0, centre=1500)
    for side in (61, 128, 200):
        fine, _ = upscale_array(pixels, network, side=side, nodata=0, centre=1500)
        np.testing.assert_array_equal(fine, reference)


@pytest.mark.parametrize("model", ["general-x2", "general-x3"])
def test_bf16_does_not_depend_on_the_cut(model: str) -> None:
    require_bf16()
    network = espcn.load(model, device="cpu", precision="bf16")
    pixels = texture((1, 300, 550))
    pixels[0, 30:50, 220:330] = 0
    reference, _ = upscale_array(pixels, network, side=4096, nodata=0, centre=1500)
    for side in (512, 700):
        fine, _ = upscale_array(pixels, network, side=side, nodata=0, centre=1500)
        np.testing.assert_array_equal(fine, reference)


@pytest.mark.parametrize(("dtype", "unit"), [("uint16", 1), ("int16", 1), ("uint8", 1)])
def test_tiles_agree_with_a_whole_image_forward_in_torch(dtype: str, unit: float) -> None:
    difference = torch_difference(texture((2, 90, 70), dtype))
    assert np.abs(difference).max() <= unit


def test_tiles_of_floats_agree_with_torch_to_float_precision() -> None:
    pixels = texture((1, 90, 70)).astype(np.float32) / 10_000 - 0.05
    assert np.abs(torch_difference(pixels)).max() <= 1e-5 * np.abs(pixels).max()


def torch_difference(pixels: np.ndarray) -> np.ndarray:
    """Tiled ONNX Runtime less one forward of the whole mirrored image in torch, at scale 3."""
    fine, _ = upscale_array(pixels, espcn.load("general-x3", device="cpu"), side=100)
    whole = whole_image("general-x3", pixels.astype(np.float32))
    if pixels.dtype.kind != "f":
        info = np.iinfo(pixels.dtype)
        whole = np.clip(np.rint(whole), info.min, info.max)
    return fine.astype(np.float64) - whole
