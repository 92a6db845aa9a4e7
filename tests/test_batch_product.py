"""Finished products: what is written, and that each fault makes the right check fail."""

from __future__ import annotations

import hashlib
import pickle
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from fakes import texture, write_tif
from PIL import Image
from product_files import (
    GAP,
    copied,
    failed,
    finish,
    item_of,
    landscape,
    make,
    make_scene,
    one_asset_scene,
    spoil,
)

from pipeline.errors import PipelineError, PublishError, SourceError
from pipeline.kernel import Upscaler
from pipeline.radiometry import Pixels, replicate
from pipeline.tiling import Window
from workflows.batch import comparison, recomputed
from workflows.batch.checks import open_product
from workflows.batch.options import CheckOptions
from workflows.batch.product import Made
from workflows.job import ModelOptions

Product = tuple[Made, dict[str, Upscaler]]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Product:
    """A scene, upscaled x4 in four tiles and its codes x8; nothing else is there yet."""
    folder = tmp_path_factory.mktemp("product")
    models = {"scl": ModelOptions("nearest", scale=8)}
    return make(make_scene(folder / "scene"), folder / "made", models=models)


@pytest.fixture
def product(original: Product, tmp_path: Path) -> Product:
    """A copy to spoil."""
    made, upscalers = original
    return copied(made, tmp_path / "product"), upscalers


def window_of(made: Made) -> Window:
    """Fine pixels of the window that is made again."""
    plan = made.assets[0].plan
    (window,) = recomputed.choose_windows(plan.tiling, count=1, seed=f"{made.key} r10m")
    return window.fine(4)


def test_a_good_product_passes_and_is_whole(product: Product) -> None:
    made, upscalers = product
    folder = made.assets[0].target.parent
    finished = finish(made, upscalers)
    assert not failed(finished.checks), finished.checks
    names = ["coverage", "corners", "valid share", "mean bias", "consistency", "recomputed"]
    assert [c.name for c in finished.checks if c.asset == "r10m"] == names
    exact = ["coverage", "corners", "valid share", "recomputed"]
    assert [c.name for c in finished.checks if c.asset == "scl"] == exact
    assert {path.name for path in folder.iterdir()} == {
        f"{made.product}{suffix}"
        for suffix in (
            "_r10m.tif", "_scl.tif", ".png", ".swipe-before.png", ".swipe-after.png", ".json"
        )
    } | {"checksums.sha256"}  # fmt: skip
    assert finished.bytes == sum(path.stat().st_size for path in folder.iterdir())
    assert item_of(made)["id"] == made.product


def test_checksums_are_those_of_all_files(product: Product) -> None:
    made, upscalers = product
    finish(made, upscalers)
    folder = made.assets[0].target.parent
    lines = (folder / "checksums.sha256").read_text().splitlines()
    sums = {name: digest for digest, name in (line.split("  ") for line in lines)}
    assert set(sums) == {path.name for path in folder.iterdir()} - {"checksums.sha256"}
    for name, digest in sums.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest


def test_a_product_finished_twice_is_the_same(product: Product) -> None:
    made, upscalers = product
    folder = made.assets[0].target.parent
    first = finish(made, upscalers)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / "product.json").write_text("{}")
    assert finish(made, upscalers) == first
    (folder / "product.json").unlink()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_one_wrong_pixel_of_a_window_made_again_is_found(product: Product) -> None:
    made, upscalers = product
    where = window_of(made)

    def change(pixels: Pixels) -> None:
        pixels[2, where.y + 17, where.x + 23] ^= 1

    spoil(made.assets[0].target, change)
    assert failed(finish(made, upscalers).checks) == {"recomputed"}


def test_one_wrong_code_is_found(product: Product) -> None:
    made, upscalers = product

    def change(pixels: Pixels) -> None:
        pixels[0, 700, 600] += 1

    spoil(made.assets[1].target, change)
    checks = finish(made, upscalers).checks
    assert failed(checks, "scl") >= {"recomputed"}
    assert not failed(checks, "r10m")


def test_windows_made_again_lie_where_tiles_meet(original: Product) -> None:
    made, _ = original
    where = window_of(made)
    seam = made.assets[0].plan.tiling.side
    assert where.y < seam < where.stop_y
    assert where.x < seam < where.stop_x


@pytest.mark.parametrize("moved", [10 / 4, 1e-4])
def test_a_shift_is_found(product: Product, moved: float) -> None:
    made, upscalers = product
    with rasterio.open(made.assets[0].target, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as dataset:
        dataset.transform = rasterio.Affine.translation(moved, 0) @ dataset.transform
    checks = finish(made, upscalers).checks
    assert failed(checks) == {"corners", "coverage"}
    (corners,) = (c for c in checks if c.name == "corners" and c.asset == "r10m")
    assert corners.value == pytest.approx(moved / 10, rel=1e-3)


def test_another_reference_system_is_found(product: Product) -> None:
    made, upscalers = product
    with rasterio.open(made.assets[0].target, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as dataset:
        dataset.crs = "EPSG:32634"
    checks = finish(made, upscalers).checks
    assert failed(checks) == {"corners", "coverage"}
    assert all("reference system" in c.note for c in checks if not c.passed)


def test_lost_nodata_is_found(product: Product) -> None:
    made, upscalers = product
    with rasterio.open(made.assets[0].target, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as dataset:
        dataset.nodata = None
    checks = finish(made, upscalers).checks
    assert "valid share" in failed(checks)
    assert not failed(checks) & {"corners", "coverage", "mean bias"}
    (share,) = (c for c in checks if c.name == "valid share" and c.asset == "r10m")
    assert share.value == pytest.approx(30 * 60 / (190 * 170))


def test_biased_values_are_found(product: Product) -> None:
    made, upscalers = product

    def change(pixels: Pixels) -> Pixels:
        return np.where((pixels == 0) | (pixels == 65535), pixels, pixels + 20)

    spoil(made.assets[0].target, change)
    assert failed(finish(made, upscalers).checks) == {"mean bias", "recomputed"}
    checks = finish(made, upscalers, CheckOptions(windows=0)).checks
    assert failed(checks) == {"mean bias"}


def test_another_image_is_found(product: Product) -> None:
    made, upscalers = product

    def change(pixels: Pixels) -> Pixels:
        turned = np.roll(pixels, 16, axis=1)
        gap = replicate(landscape()[:1] == 0, scale=4)
        return np.where(gap, 0, np.where(turned == 0, 1500, turned))

    spoil(made.assets[0].target, change)
    checks = finish(made, upscalers, CheckOptions(windows=0)).checks
    assert "consistency" in failed(checks)
    assert not failed(checks) & {"corners", "coverage", "valid share"}


def test_what_fails_has_no_item_not_even_an_old_one(product: Product) -> None:
    made, upscalers = product
    folder = made.assets[0].target.parent
    finish(made, upscalers)
    assert (folder / f"{made.product}.json").exists()
    assert failed(finish(made, upscalers, CheckOptions(corners=-1.0)).checks) == {"corners"}
    assert not (folder / f"{made.product}.json").exists()


def test_an_image_of_another_size_is_a_failure(product: Product) -> None:
    made, upscalers = product
    write_tif(made.assets[0].target, np.ones((4, 30, 20), np.uint8))
    checks = finish(made, upscalers).checks
    assert failed(checks, "r10m") >= {"coverage", "corners", "recomputed"}
    assert any("20 x 30 px in uint8" in c.note for c in checks)


def test_a_truncated_image_is_an_error_of_ours(product: Product) -> None:
    made, upscalers = product
    target = made.assets[0].target
    target.write_bytes(target.read_bytes()[:-200_000])
    with pytest.raises(PublishError, match="cannot be read back") as caught:
        finish(made, upscalers)
    assert str(target) in str(caught.value)
    assert isinstance(pickle.loads(pickle.dumps(caught.value)), PublishError)
    assert caught.value.__cause__ is None


def test_a_source_that_has_changed_is_an_error_of_its_own(tmp_path: Path) -> None:
    path = write_tif(tmp_path / "scene.tif", texture((1, 40, 40)))
    made, upscalers = make(one_asset_scene(path), tmp_path / "made")
    write_tif(path, texture((1, 40, 40), seed=9))
    with pytest.raises(SourceError, match="changed"):
        finish(made, upscalers)


@pytest.mark.parametrize(
    ("pixels", "options"),
    [
        (np.zeros((1, 40, 40), np.uint16), {}),
        (np.full((1, 40, 40), 7, np.uint8), {}),
        (np.full((1, 40, 40), 0.3, np.float32), {}),
        (np.zeros((2, 40, 40), np.float32), {}),
        (np.zeros((1, 40, 40), np.int16), {"nodata": 0}),
        (np.full((1, 40, 40), np.nan, np.float32), {"nodata": np.nan}),
        (texture((1, 40, 40)).astype(np.float64) * 1e-9, {}),
        (np.full((1, 40, 40), -3.4e38, np.float32), {}),
        (np.full((1, 1, 1), 5, np.uint16), {}),
        (np.full((1, 3, 700), 5, np.int32), {}),
    ],
    ids=[
        *("zeros", "constant", "fraction", "zero floats", "empty"),
        *("NaN", "tiny", "huge", "one", "line"),
    ],
)
def test_images_without_mean_or_contrast_pass(
    tmp_path: Path, pixels: Pixels, options: dict[str, float]
) -> None:
    path = write_tif(tmp_path / "scene.tif", pixels, **options)
    made, upscalers = make(one_asset_scene(path), tmp_path / "made")
    finished = finish(made, upscalers)
    assert not failed(finished.checks), finished.checks
    assert all(c.value is not None and np.isfinite(c.value) for c in finished.checks)


def test_masks_alpha_and_zarr_pass(tmp_path: Path) -> None:
    pixels = landscape(4, 60, 50)
    pixels[3] = 255 * (pixels[0] > 1500)
    alpha = write_tif(tmp_path / "alpha.tif", pixels, photometric="RGB", alpha="yes")
    masked = write_tif(tmp_path / "masked.tif", landscape(1, 60, 50))
    with rasterio.open(masked, "r+") as dataset:
        dataset.write_mask(landscape(1, 60, 50)[0] > 0)
    for path, suffix in ((alpha, ".tif"), (masked, ".tif"), (alpha, ".zarr"), (masked, ".zarr")):
        folder = tmp_path / f"{path.stem}{suffix}-made"
        made, upscalers = make(one_asset_scene(path), folder, suffix=suffix)
        finished = finish(made, upscalers, CheckOptions(consistency=0.3))
        assert not failed(finished.checks), finished.checks
        lines = (folder / "checksums.sha256").read_text().splitlines()
        files = [p for p in folder.rglob("*") if p.is_file() and p.name != "checksums.sha256"]
        assert len(lines) == len(files)


def test_an_alpha_that_differs_is_found(tmp_path: Path) -> None:
    pixels = landscape(4, 60, 50)
    pixels[3] = 255
    path = write_tif(tmp_path / "alpha.tif", pixels, photometric="RGB", alpha="yes")
    made, upscalers = make(one_asset_scene(path), tmp_path / "made")

    def change(fine: Pixels) -> None:
        fine[3, 5, 5] = 254

    spoil(made.assets[0].target, change)
    limits = CheckOptions(consistency=0.3, windows=0)
    assert failed(finish(made, upscalers, limits).checks) == {"recomputed"}


@dataclass(frozen=True)
class Anonymous:
    """A network that does not say what it was trained for."""

    network: Upscaler

    def __getattr__(self, name: str) -> object:
        if name == "card":
            raise AttributeError(name)
        return getattr(self.network, name)


class Slope:
    """A raster of any size that is never in memory; notes what is read."""

    def __init__(self, plan: object, scale: int) -> None:
        self.profile = plan
        self.scale, self.read_windows = scale, list[Window]()

    def read(self, window: Window, frame: int = 0) -> Pixels:  # noqa: ARG002 - it has one
        self.read_windows.append(window)
        y, x = (np.arange(s.start, s.stop) // self.scale for s in window.slices)
        return ((y[:, None] + x) % 4000 + 1).astype(np.uint16)[None]

    def mask(self, window: Window, frame: int = 0) -> None:  # noqa: ARG002 - the signature of a source
        return None


def test_huge_products_are_compared_in_few_small_windows(original: Product) -> None:
    made, upscalers = original
    plan, size = made.assets[0].plan, 100_000
    profile = replace(plan.profile, height=size, width=size, bands=plan.profile.bands[:1])
    huge = replace(plan, profile=profile, tiling=replace(plan.tiling, height=size, width=size))
    source, fine = Slope(profile, 1), Slope(huge.fine, 4)
    windows, total = comparison.choose_windows(profile, "a")
    assert total == (-(-size // 128)) ** 2
    found, _ = comparison.compare(
        source, fine, huge, upscalers["r10m"], light=(0,), windows=windows
    )
    assert found.windows == len(source.read_windows) == 16
    assert max(w.height * w.width for w in fine.read_windows) <= 600**2
    assert {w.y // (size // 4) for w in source.read_windows} == {0, 1, 2, 3}, "all over the scene"
    assert comparison.choose_windows(profile, "b")[0] != windows


def test_a_network_is_held_to_what_it_has_learned_to_undo(tmp_path: Path) -> None:
    path = write_tif(tmp_path / "scene.tif", texture((1, 120, 120)))
    models = {"scene": ModelOptions("sentinel2-x2")}
    made, upscalers = make(one_asset_scene(path), tmp_path / "made", models=models)
    assert not failed(finish(made, upscalers).checks)
    network, one = upscalers["scene"], made.assets[0]
    source, product = one.plan.source.open(one.plan.profile.identity), open_product(one)
    windows, _ = comparison.choose_windows(one.plan.profile, "")
    misfits = []
    for known in (network, Anonymous(network)):
        _, (sums,) = comparison.compare(
            source, product, one.plan, known, light=(0,), windows=windows
        )
        misfits.append(sums.rms)
    assert misfits[0] < misfits[1] / 3, "it sharpens: plain shrinking does not give the source"


def test_pictures_show_the_same_ground_at_the_same_size(product: Product) -> None:
    made, upscalers = product
    folder = made.assets[0].target.parent
    finished = finish(made, upscalers)
    assert finished.pictures is not None
    before, after = (Image.open(folder / name) for name in finished.pictures)
    assert before.size == after.size == (512, 512)
    pair = [np.asarray(image.convert("L").resize((64, 64), 4), float) for image in (before, after)]
    assert np.corrcoef(pair[0].ravel(), pair[1].ravel())[0, 1] > 0.98
    assert np.asarray(before)[:4, :4].std(axis=(0, 1)).max() == 0, "source pixels stay squares"
    thumbnail = np.asarray(Image.open(folder / f"{made.product}.png"))
    assert max(thumbnail.shape[:2]) <= 512
    gap = [slice(s.start * 2 + 4, s.stop * 2 - 4) for s in GAP]
    assert thumbnail[gap[0], gap[1]].std(axis=(0, 1)).max() == 0, "what has no data is one colour"


def test_codes_alone_have_a_thumbnail_and_no_pair(original: Product, tmp_path: Path) -> None:
    made, upscalers = original
    made = copied(replace(made, assets=made.assets[1:]), tmp_path / "codes")
    finished = finish(made, upscalers)
    assert finished.pictures is None
    assert not failed(finished.checks)
    assert (tmp_path / "codes" / f"{made.product}.png").exists()
    assert "before" not in item_of(made)["assets"]


def test_a_full_disk_is_one_line(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    made, upscalers = product

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "somewhere")

    monkeypatch.setattr("workflows.batch.product.write_durably", full)
    with pytest.raises(PipelineError, match=r"the disk is full; .* run again") as caught:
        finish(made, upscalers)
    assert "\n" not in str(caught.value)
