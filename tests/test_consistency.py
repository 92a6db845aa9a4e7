"""Back-projection: the fine pixels degrade to the input, to the same bits whatever the tile."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr
from espcn_networks import random_weights, require_bf16, scene
from fakes import make_profile, texture, upscale_array, write_tif
from hypothesis import given, settings
from hypothesis import strategies as st

import espcn
import pipeline
from espcn.architecture import Weights
from espcn.back_projection import trim
from espcn.degradation import Degradation, mtf_sigma
from espcn.devices import cuda_available
from espcn.weights_file import write_weights
from pipeline.options import ClusterOptions, RadiometryOptions, SourceOptions, TilingOptions
from pipeline.plan import choose_side
from workflows import cli
from workflows.job import Job, ModelOptions
from workflows.prepare import prepare
from workflows.upscale import upscale

HEIGHT, WIDTH = 61, 70

NETWORKS: dict[str, Callable[[], Weights]] = {
    "tanh-x3": random_weights,
    "gaussian-x3": lambda: with_degradation("gaussian x3 sigma 1.6", scale=3),
    "sensor-x2": lambda: with_degradation("sensor x2 sigma 1.0 1.1", scale=2, bands=2),
    "small-kernels-x4": lambda: random_weights(scale=4, sides=(1, 1, 1)),
}


def with_degradation(text: str, *, scale: int, bands: int = 1) -> Weights:
    weights = random_weights(scale=scale, bands=bands, skip=True, widths=(20, 12))
    return replace(weights, provenance={"degradation": text})


def load(name: str, folder: Path, *, steps: int) -> espcn.Consistent:
    """A shipped model or one of `NETWORKS` with so many steps."""
    if name in NETWORKS:
        path = folder / f"{name}.safetensors"
        write_weights(path, NETWORKS[name]())
        name = str(path)
    found = espcn.consistent(espcn.load(name, device="cpu"), steps=steps)
    assert isinstance(found, espcn.Consistent)
    return found


class Tiled:
    """A scene, its untiled answer, and the answer of any of its windows."""

    def __init__(self, model: espcn.Consistent) -> None:
        self.model = model
        amplitude = 1.0 if model.input_range else 10_000.0
        self.pixels = scene((model.bands, HEIGHT, WIDTH), halo=model.halo, amplitude=amplitude)
        self.whole = model(self.pixels)

    def assert_exact(self, y: int, x: int, height: int, width: int) -> None:
        margin, scale = 2 * self.model.halo, self.model.scale
        tile = self.model(self.pixels[:, y : y + height + margin, x : x + width + margin])
        rows = slice(scale * y, scale * (y + height))
        columns = slice(scale * x, scale * (x + width))
        np.testing.assert_array_equal(tile, self.whole[:, rows, columns])


CASES = [("general-x2", 1), ("general-x3", 3), ("bicubic", 2), *((name, 2) for name in NETWORKS)]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case[0]}-{case[1]}")
def tiled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tiled:
    name, steps = request.param
    return Tiled(load(name, tmp_path_factory.mktemp("networks"), steps=steps))


@pytest.mark.parametrize("tile", [(9, 7), (31, 33), (HEIGHT, 1), (1, WIDTH)])
def test_a_tiled_scene_is_the_untiled_one(tiled: Tiled, tile: tuple[int, int]) -> None:
    height, width = tile
    for y in range(0, HEIGHT, height):
        for x in range(0, WIDTH, width):
            tiled.assert_exact(y, x, min(height, HEIGHT - y), min(width, WIDTH - x))


@settings(max_examples=15)
@given(data=st.data())
def test_any_window_is_exact(tiled: Tiled, data: st.DataObject) -> None:
    y, x = data.draw(st.integers(0, HEIGHT - 1)), data.draw(st.integers(0, WIDTH - 1))
    height = data.draw(st.integers(1, HEIGHT - y))
    tiled.assert_exact(y, x, height, data.draw(st.integers(1, WIDTH - x)))


def test_planes_hold_the_same_pixels_as_a_call(tiled: Tiled) -> None:
    planes = tiled.model.planes(tiled.pixels)
    bands, scale, _, height, width = planes.shape
    fine = planes.transpose(0, 3, 1, 4, 2).reshape(bands, height * scale, width * scale)
    np.testing.assert_array_equal(fine, tiled.whole)
    assert planes.flags.writeable


def test_steps_are_what_the_formula_says(tiled: Tiled) -> None:
    """Against the degradation and the enlargement of whole images, in float64."""
    model, degradation = tiled.model, tiled.model.degradation
    scale, context = model.scale, model.context
    coarse = tiled.pixels.astype(np.float64)
    margin = model.network.halo
    coarse = coarse[:, margin : coarse.shape[1] - margin, margin : coarse.shape[2] - margin]
    fine = model.network(tiled.pixels).astype(np.float64)
    for _ in range(model.steps):
        fine = fine + degradation.enlarge(coarse - degradation.shrink(fine))
    inside = slice(scale * context, -scale * context)
    tolerance = 2e-6 * np.abs(fine).max()
    np.testing.assert_allclose(tiled.whole, fine[:, inside, inside], rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", ["general-x2", "general-x3", "gaussian-x3", "sensor-x2"])
def test_what_the_pixels_degrade_to_comes_closer_with_every_step(name: str, tmp_path: Path) -> None:
    errors = []
    for steps in (1, 2, 4):
        model = load(name, tmp_path, steps=steps)
        amplitude = 1.0 if model.input_range else 10_000.0
        pixels = scene((model.bands, 40, 44), halo=model.halo, amplitude=amplitude)
        if not errors:
            errors.append(inconsistency(model.network, pixels, model.degradation))
        errors.append(inconsistency(model, pixels, model.degradation))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.4 * errors[0]


def inconsistency(
    model: espcn.Upscaler | espcn.Consistent, pixels: np.ndarray, degradation: Degradation
) -> float:
    """Root mean square of degrade(SR) - LR, away from the border."""
    border = model.halo + degradation.reach
    coarse = pixels[:, border : pixels.shape[1] - border, border : pixels.shape[2] - border]
    again = degradation.shrink(model(pixels).astype(np.float64))
    inside = slice(degradation.reach, -degradation.reach)
    return float(np.sqrt(np.mean((again[:, inside, inside] - coarse) ** 2)))


def test_the_halo_grows_by_the_reach_of_both_kernels(tmp_path: Path) -> None:
    assert load("general-x2", tmp_path, steps=3).halo == 4 + 3 * (2 + 2)
    # sigma 1.6 at x3 ends 6.4 fine px from the centre: in the second LR pixel beside it
    assert load("gaussian-x3", tmp_path, steps=1).halo == 4 + (2 + 2)
    assert load("gaussian-x3", tmp_path, steps=2).degradation.reach == 2


def test_no_step_is_the_network_itself() -> None:
    network = espcn.load("general-x2", device="cpu")
    assert espcn.consistent(network, steps=0) is network


def test_a_flat_scene_stays_flat_and_an_offset_passes(tmp_path: Path) -> None:
    flat = np.full((1, 60, 60), 8192, np.float32)
    np.testing.assert_allclose(load("bicubic", tmp_path, steps=3)(flat), 8192, rtol=1e-6)
    shipped = load("general-x3", tmp_path, steps=3)
    pixels = scene((1, 40, 40), halo=shipped.halo, amplitude=1000.0)
    moved = shipped(pixels + np.float32(4096)) - np.float32(4096)
    np.testing.assert_allclose(moved, shipped(pixels), atol=0.02)


def test_a_network_that_goes_band_by_band_takes_the_mean_of_several_sigmas(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    write_weights(path, with_degradation("sensor x2 sigma 1.0 1.2", scale=2))
    found = espcn.consistent(espcn.load(str(path), device="cpu"), steps=1)
    assert isinstance(found, espcn.Consistent)
    assert found.degradation == Degradation("sensor", 2, (1.1,))


SENSOR = {"degradation": "sensor x2 sigma 1.05", "sensor": "sentinel2"}


def for_a_sensor(folder: Path, *, bands: int = 1, text: str = SENSOR["degradation"]) -> Path:
    """Weights of a network at x2 that was trained for Sentinel-2."""
    path = folder / "sensor.safetensors"
    weights = random_weights(scale=2, bands=bands, skip=True, widths=(12, 8))
    write_weights(path, replace(weights, provenance=SENSOR | {"degradation": text}))
    return path


def test_the_blur_is_that_of_each_band_where_names_are_known(tmp_path: Path) -> None:
    network = espcn.load(str(for_a_sensor(tmp_path)), device="cpu")
    bands = ("B05", "", "B12", "red")
    found = espcn.consistent(network, steps=2, bands=bands)
    assert isinstance(found, espcn.Consistent)
    expected = (mtf_sigma(2, 0.38), 1.05, mtf_sigma(2, 0.23), 1.05)
    assert found.degradation == Degradation("sensor", 2, expected)
    assert found.halo == network.halo + 2 * (found.degradation.reach + 2)
    pixels = scene((4, 30, 40), halo=found.halo)
    fine = found(pixels)
    for number, sigma in enumerate(expected):
        # the halo is that of the widest blur: the band by itself needs no more
        alone = espcn.Consistent(network, 2, Degradation("sensor", 2, (sigma,)))
        own = trim(pixels[number : number + 1], found.halo - alone.halo)
        np.testing.assert_array_equal(fine[number : number + 1], alone(own))
        planes = found.planes(pixels[number : number + 1], band=number)
        np.testing.assert_array_equal(planes, found.planes(pixels)[number : number + 1])
    with pytest.raises(espcn.ModelError, match="names of 4 bands and got band 5"):
        found.planes(pixels[:2], band=3)


def test_without_known_names_the_blur_is_the_mean(tmp_path: Path) -> None:
    network = espcn.load(str(for_a_sensor(tmp_path)), device="cpu")
    mean = Degradation("sensor", 2, (1.05,))
    for names in ((), ("", ""), ("red", "B99")):
        found = espcn.consistent(network, steps=1, bands=names)
        assert isinstance(found, espcn.Consistent)
        assert found.degradation == mean
    joint = for_a_sensor(tmp_path, bands=2, text="sensor x2 sigma 1.0 1.1")
    found = espcn.consistent(espcn.load(str(joint), device="cpu"), steps=1, bands=("B02", "B05"))
    assert isinstance(found, espcn.Consistent)
    assert found.degradation.sigma == (1.0, 1.1)


def test_it_is_pickled_as_an_address() -> None:
    model = espcn.consistent(espcn.load("general-x2", device="cpu"), steps=2)
    travelling = pickle.dumps(model)
    assert len(travelling) < 1500
    again = pickle.loads(travelling)
    assert again == model
    pixels = scene((1, 20, 20), halo=model.halo)
    np.testing.assert_array_equal(again(pixels), model(pixels))


@pytest.mark.parametrize(
    ("name", "steps", "message"),
    [
        ("general-x2", -1, "need 1 or more"),
        ("general-x2", 17, "need 68 px of context around a block, the limit is 64: .* 16 steps"),
        ("nearest", 1, "copies pixels and leaves nothing to correct"),
    ],
)
def test_what_cannot_be_done_is_refused(name: str, steps: int, message: str) -> None:
    with pytest.raises(espcn.ModelError, match=message):
        espcn.consistent(espcn.load(name, device="cpu"), steps=steps)


@pytest.mark.parametrize("shape", [(20, 20), (1, 16, 40), (0, 40, 40)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    model = espcn.consistent(espcn.load("general-x2", device="cpu"), steps=1)
    with pytest.raises(espcn.ModelError, match="cannot take an array of shape"):
        model(np.zeros(shape, np.float32))


def test_scenes_with_holes_do_not_depend_on_the_cut() -> None:
    model = espcn.consistent(espcn.load("general-x3", device="cpu"), steps=2)
    assert_cuts_agree(model, texture((2, 131, 77)), (61, 128, 200))


def test_blocks_of_one_shape_do_not_depend_on_the_cut_in_torch() -> None:
    network = espcn.load("general-x2", device="cpu", backend="torch")
    model = espcn.consistent(network, steps=2)
    assert (model.fixed, model.block) == (True, network.block - 16)
    assert_cuts_agree(model, texture((1, 270, 330)), (300,))


def test_blocks_of_one_shape_do_not_depend_on_the_cut_in_bf16() -> None:
    require_bf16()
    model = espcn.consistent(espcn.load("general-x3", device="cpu", precision="bf16"), steps=3)
    assert_cuts_agree(model, texture((1, 270, 330)), (512, 700))


@pytest.mark.gpu
@pytest.mark.skipif(not cuda_available(), reason="there is no CUDA device")
def test_blocks_of_one_shape_do_not_depend_on_the_cut_on_cuda() -> None:
    model = espcn.consistent(espcn.load("general-x2", device="cuda"), steps=2)
    assert_cuts_agree(model, texture((1, 1100, 1300)), (1024, 2000))


def assert_cuts_agree(
    model: espcn.Upscaler | espcn.Consistent, pixels: np.ndarray, sides: tuple[int, ...]
) -> None:
    pixels[0, 30:50, 20:30] = 0
    reference, _ = upscale_array(pixels, model, side=4096, nodata=0, centre=1500)
    for side in sides:
        fine, _ = upscale_array(pixels, model, side=side, nodata=0, centre=1500)
        np.testing.assert_array_equal(fine, reference)


def test_tiles_that_no_grid_of_blocks_fits_stay_of_a_usual_size() -> None:
    network = espcn.load("general-x3", device="cpu", backend="torch")
    model = espcn.consistent(network, steps=3)
    profile = make_profile((1, 4000, 4000))
    side = choose_side(profile, model, TilingOptions(), memory=2**30, threads=2)
    assert (model.block * model.scale, side) == (696, 2048)


def job(source: Path, target: Path, *, steps: int, tile: int | None = 512) -> Job:
    return Job(
        str(source),
        (str(target),),
        model=ModelOptions("general-x3", consistency=steps),
        tiling=TilingOptions(tile),
        cluster=ClusterOptions(workers=0, threads=2),
    )


def test_the_bytes_do_not_depend_on_the_tile_and_the_output_names_the_steps(tmp_path: Path) -> None:
    pixels = texture((2, 400, 500))
    pixels[:, 100:200, :150] = 0
    source = write_tif(tmp_path / "in.tif", pixels, nodata=0)
    files = []
    for tile in (512, 1024):
        out = tmp_path / f"{tile}.tif"
        upscale(job(source, out, steps=2, tile=tile))
        files.append(out.read_bytes())
    assert files[0] == files[1]
    with rasterio.open(out) as dataset:
        assert dataset.tags()["PROCESSING"].endswith("; scale=3; consistency=2 (bicubic x3)")
    report = json.loads((tmp_path / "512.tif.report.json").read_text())
    provenance = report["facts"]["provenance"]
    assert (provenance["consistency"], provenance["degradation"]) == (2, "bicubic x3")
    assert report["facts"]["work"]["halo"] == 4 + 2 * 4


def test_a_file_s_bands_are_held_against_the_blur_of_their_own_optics(tmp_path: Path) -> None:
    model = str(for_a_sensor(tmp_path))
    source = write_tif(tmp_path / "in.tif", texture((3, 300, 280)))
    with rasterio.open(source, "r+") as file:
        file.descriptions = ("B05", None, "B2, central wavelength 490 nm")
    radiometry = RadiometryOptions(input_range=(0.0, 4000.0))
    files = []
    for tile in (512, 1024):
        out = tmp_path / f"{tile}.tif"
        work = job(source, out, steps=2, tile=tile)
        options = replace(work.model, name=model, device="cpu")
        upscale(replace(work, model=options, radiometry=radiometry))
        files.append(out.read_bytes())
    assert files[0] == files[1]
    text = Degradation("sensor", 2, (mtf_sigma(2, 0.38), 1.05, mtf_sigma(2, 0.26))).text
    with rasterio.open(out) as file:
        assert file.tags()["PROCESSING"].endswith(f"; consistency=2 ({text})")
        fine = file.read()
    for number in range(3):
        alone = tmp_path / f"band{number}.tif"
        work = job(source, alone, steps=2)
        options = replace(work.model, name=model, device="cpu")
        bands = SourceOptions(bands=(number + 1,))
        upscale(replace(work, model=options, radiometry=radiometry, input=bands))
        with rasterio.open(alone) as file:
            # float32 sums of one order: to the bit
            np.testing.assert_array_equal(file.read(1), fine[number])


def test_another_number_of_steps_is_another_plan(tmp_path: Path) -> None:
    source = write_tif(tmp_path / "in.tif", texture((1, 60, 50)))
    out = tmp_path / "out.tif"
    digests = {prepare(job(source, out, steps=n)).plans[0][1].digest for n in range(3)}
    assert len(digests) == 3
    plan = prepare(job(source, out, steps=0)).plans[0][1]
    assert "consistency" not in plan.provenance.processing


def test_the_command_line_takes_steps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_tif(tmp_path / "in.tif", texture((1, 60, 50)))
    arguments = ["upscale", str(source), str(tmp_path / "out.tif"), "--dry-run", "--consistency"]
    assert cli.run([*arguments, "3"]) == 0
    assert "3 steps of consistency with bicubic x2" in capsys.readouterr().out
    assert cli.run([*arguments, "-1"]) == 2
    assert "--consistency: model.consistency = -1 must be 0 or more" in capsys.readouterr().err
    assert cli.run([*arguments, "99"]) == 2
    assert "take at most 16 steps" in capsys.readouterr().err


def test_a_lazy_array_takes_them_too() -> None:
    pixels = texture((1, 90, 80))
    model = espcn.consistent(espcn.load("general-x2", device="cpu"), steps=2)
    scene = xr.DataArray(pixels, dims=("band", "y", "x"))
    fine = pipeline.upscale(scene, model, tile=512)
    other = pipeline.upscale(scene, espcn.load("general-x2", device="cpu"), tile=512)
    assert fine.data.name != other.data.name
    expected, _ = upscale_array(pixels, model, side=1024)
    np.testing.assert_array_equal(fine.to_numpy(), expected)
