"""Products of slides in JPEG against their source: what colours cost is told from a bias."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from fakes import texture
from runs import make_job
from slide_files import write_slide

from pipeline.options import OutputOptions
from pipeline.scenes.scene import Asset
from workflows.batch.checks import check_asset
from workflows.batch.jpeg_colours import as_jpeg_holds
from workflows.batch.options import CheckOptions
from workflows.batch.outcome import Check
from workflows.batch.product import MadeAsset
from workflows.job import Job, ModelOptions
from workflows.prepare import prepare
from workflows.upscale import upscale

GLASS = (246, 243, 243)
"""A white that JPEG cannot hold: it comes back as (245, 244, 242)."""


def slide(folder: Path, *, glass: tuple[int, int, int] = GLASS) -> Path:
    """A tissue of many colours on much glass."""
    pixels = np.empty((3, 300, 333), np.uint8)
    pixels[:] = np.array(glass, np.uint8)[:, None, None]
    pixels[:, 100:150, 200:260] = texture((3, 50, 60), "uint8") // 3 + 90
    return write_slide(folder, pixels)


def job(source: Path, target: Path, model: str) -> Job:
    return make_job(
        source,
        target,
        model=ModelOptions(model, scale=2),
        output=OutputOptions(syntax="jpeg"),
        overwrite=True,
    )


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("slide")
    source = slide(folder / "in")
    upscale(job(source, folder / "out", "general-x2"))
    return folder / "out"


def checked(
    source: Path, product: Path, key: str, *, model: str = "general-x2"
) -> dict[str, Check]:
    """The checks of a product against a source, in the places that the key chooses."""
    found = prepare(job(source, product, model))
    ((_, plan),) = found.plans
    made = MadeAsset(Asset("image", str(source)), plan, product)
    return {one.name: one for one in check_asset(made, CheckOptions(), found.upscaler, key=key)}


@pytest.mark.parametrize("key", ["a", "b", "c"])
def test_glass_that_jpeg_cannot_hold_is_no_bias(product: Path, key: str) -> None:
    found = checked(product.parent / "in", product, key)
    assert all(check.passed for check in found.values()), found
    bias = found["mean bias"]
    assert (bias.value or 0) < (bias.limit or 0) / 3


@pytest.mark.parametrize("band", [0, 1, 2])
@pytest.mark.parametrize("step", [-2, 2])
def test_a_bias_of_two_counts_is_found_all_the_same(
    product: Path, tmp_path: Path, band: int, step: int
) -> None:
    glass = list(GLASS)
    glass[band] += step
    other = slide(tmp_path / "in", glass=(glass[0], glass[1], glass[2]))
    assert not checked(other, product, "a")["mean bias"].passed


def test_copies_in_jpeg_are_held_against_their_source_as_results_are(
    product: Path, tmp_path: Path
) -> None:
    source = product.parent / "in"
    upscale(job(source, tmp_path / "out", "nearest"))
    found = checked(source, tmp_path / "out", "a", model="nearest")
    assert all(check.passed for check in found.values()), found
    other = slide(tmp_path / "in", glass=(246, 243, 245))
    assert not checked(other, tmp_path / "out", "a", model="nearest")["mean bias"].passed


def test_colours_are_those_that_libjpeg_gives_back() -> None:
    colours = np.random.default_rng(0).integers(0, 256, (3, 64, 64)).astype(np.uint8)
    flat = np.moveaxis(colours.repeat(16, 1).repeat(16, 2), 0, -1)
    coded = imagecodecs.jpeg8_encode(
        np.ascontiguousarray(flat),
        level=100,
        colorspace="RGB",
        outcolorspace="YCbCr",
        subsampling="444",
    )
    back = imagecodecs.jpeg8_decode(coded, colorspace="YCbCr", outcolorspace="RGB")
    apart = as_jpeg_holds(colours).astype(int) - np.moveaxis(back, -1, 0)[:, ::16, ::16]
    assert np.abs(apart).max() <= 1
    assert np.count_nonzero(apart) <= 0.001 * apart.size, "its vector code rounds a few otherwise"
