"""What an upscaler computes, and how it travels."""

import hashlib
import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from espcn_networks import random_weights, require_bf16, scene
from hypothesis import given, settings
from hypothesis import strategies as st

import espcn
from espcn import resample, upscaler
from espcn.devices import Backend, Precision
from espcn.weights_file import read_weights, write_weights

SHIPPED = ["general-x2", "general-x3", "general-x4"]


@pytest.mark.parametrize("name", SHIPPED)
@settings(max_examples=30, deadline=None)
@given(
    gain=st.floats(1e-3, 1e5),
    offset=st.floats(-1e5, 1e5),
    seed=st.integers(0, 2**32 - 1),
)
def test_gain_and_offset_pass_through(name: str, gain: float, offset: float, seed: int) -> None:
    """SR(a*x + b) = a*SR(x) + b, to the rounding of float32 at the size of the values."""
    model = espcn.load(name, device="cpu")
    pixels = np.random.default_rng(seed).random((1, 20, 23)).astype(np.float32)
    changed = (gain * pixels.astype(np.float64) + offset).astype(np.float32)
    expected = gain * model(pixels).astype(np.float64) + offset
    np.testing.assert_allclose(model(changed), expected, atol=3e-6 * (gain + abs(offset)), rtol=0)


@pytest.mark.parametrize("name", [*SHIPPED, "bicubic"])
def test_a_flat_field_stays_flat(name: str) -> None:
    model = espcn.load(name, device="cpu")
    for value in (0.0, 1.0, -1024.0, 65535.0):
        flat = np.full((1, 24, 24), value, np.float32)
        np.testing.assert_allclose(model(flat), value, rtol=1e-6)


@pytest.mark.parametrize("name", [*SHIPPED, "bicubic"])
def test_an_impulse_reaches_exactly_as_far_as_the_halo(name: str) -> None:
    model = espcn.load(name, scale=None, device="cpu")
    halo, scale, side = model.halo, model.scale, 33
    pixels = scene((1, side, side), halo=halo)
    reached = np.zeros((side, side), dtype=bool)
    for height in (30.0, -30.0):
        struck = pixels.copy()
        struck[0, halo + 16, halo + 16] += height
        changed = (model(struck) != model(pixels))[0]
        reached |= changed.reshape(side, scale, side, scale).any(axis=(1, 3))
    rows, columns = np.nonzero(reached)
    assert (rows.min(), rows.max()) == (16 - halo, 16 + halo)
    assert (columns.min(), columns.max()) == (16 - halo, 16 + halo)


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_bicubic_is_the_resize_of_the_field(scale: int) -> None:
    model = espcn.load("bicubic", scale=scale)
    pixels = scene((2, 31, 45), amplitude=255.0)
    padded = np.pad(pixels, [(0, 0), (2, 2), (2, 2)], mode="symmetric")
    for band, plane in zip(model(padded), pixels, strict=True):
        np.testing.assert_allclose(band, resample.enlarge(plane, scale), atol=2e-4)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint32, np.float64, np.complex64, bool])
def test_nearest_replicates_pixels_in_their_own_dtype(dtype: type) -> None:
    model = espcn.load("nearest", scale=3)
    pixels = np.random.default_rng(0).integers(0, 2, (2, 5, 7)).astype(dtype)
    fine = model(pixels)
    assert fine.dtype == dtype
    assert (model.native, model.halo) == (True, 0)
    np.testing.assert_array_equal(fine, pixels.repeat(3, axis=1).repeat(3, axis=2))


@pytest.mark.parametrize("name", [*SHIPPED, "tanh"])
def test_onnxruntime_agrees_with_a_whole_image_in_torch(name: str, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from espcn.network import Network

    path = Path(upscaler.__file__).with_name("weights") / f"{name}.safetensors"
    if name == "tanh":
        path = tmp_path / "tanh.safetensors"
        write_weights(path, random_weights(scale=3))
    model, network = espcn.load(str(path), device="cpu"), Network(read_weights(path)[0])
    amplitude = 1.0 if name == "tanh" else 10_000.0
    pixels = scene((1, 300, 310), halo=4, amplitude=amplitude)
    with torch.inference_mode():
        whole = network(torch.from_numpy(pixels)[None])[0].numpy()
    ours = model(pixels)
    np.testing.assert_allclose(ours, whole, atol=1e-5 * amplitude, rtol=0)
    if name != "tanh":
        assert np.abs(np.rint(ours) - np.rint(whole)).max() <= 1


@pytest.mark.parametrize("name", ["general-x2", "general-x3"])
def test_torch_takes_blocks_of_one_shape_only(name: str) -> None:
    pytest.importorskip("torch")
    model = espcn.load(name, device="cpu", backend="torch")
    side = model.block + 2 * model.halo
    pixels = scene((2, side, side))
    fine = model(pixels)
    assert model.fixed
    np.testing.assert_allclose(fine, espcn.load(name, device="cpu")(pixels), atol=1e-5)
    np.testing.assert_array_equal(fine[1:], model(pixels[1:]))
    with pytest.raises(espcn.ModelError, match="pad the tile"):
        model(pixels[:, :-1])


def test_a_full_device_is_tried_again_and_then_said(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    session = upscaler.torch_session.TorchSession
    compute, failures = session._forward, [1]

    def forward(self: object, pixels: object) -> object:
        if failures and failures.pop():
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return compute(self, pixels)  # type: ignore[arg-type]

    monkeypatch.setattr(session, "_forward", forward)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (2**20, 2**30))
    model = espcn.load("general-x2", device="cpu", backend="torch")
    side = model.block + 2 * model.halo
    pixels = scene((1, side, side))
    once = model(pixels)
    np.testing.assert_array_equal(once, model(pixels))
    failures.extend([1, 1])
    with pytest.raises(espcn.ModelError, match="1 MiB free of 1024"):
        model(pixels)


@pytest.mark.parametrize("name", SHIPPED)
def test_bf16_is_off_by_a_few_counts_in_ten_thousand(name: str) -> None:
    require_bf16()
    exact = espcn.load(name, device="cpu")
    lowered = espcn.load(name, device="cpu", precision="bf16")
    pixels = scene((1, 256, 256), halo=4, amplitude=10_000.0) - np.float32(5_000.0)
    error = lowered(pixels) - exact(pixels)
    assert np.sqrt(np.mean(error**2)) < 15.0, "noise of full contrast is the worst case"
    assert np.abs(error).max() < 120.0
    assert np.abs(error.mean()) < 3.0


@pytest.mark.parametrize("name", [*SHIPPED, "bicubic"])
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 33, 50), (1, 256, 256)])
def test_planes_are_the_fine_pixels_before_they_are_in_their_places(
    name: str, shape: tuple[int, int, int]
) -> None:
    model = espcn.load(name, device="cpu")
    pixels = scene(shape, halo=model.halo)
    assert_same_pixels(model.planes(pixels), model(pixels))


@pytest.mark.parametrize("backend", ["torch", "openvino"])
def test_planes_of_every_backend_are_its_fine_pixels(backend: Backend) -> None:
    if backend == "openvino":
        require_bf16()
    precision: Precision = "bf16" if backend == "openvino" else "fp32"
    model = espcn.load("general-x2", device="cpu", backend=backend, precision=precision)
    pixels = scene((2, model.block, model.block), halo=model.halo)
    assert_same_pixels(model.planes(pixels), model(pixels))


def assert_same_pixels(planes: np.ndarray, fine: np.ndarray) -> None:
    bands, side, _, rows, columns = planes.shape
    joined = planes.transpose(0, 3, 1, 4, 2).reshape(bands, rows * side, columns * side)
    np.testing.assert_array_equal(joined[:, : fine.shape[1], : fine.shape[2]], fine)


def test_threads_share_one_session(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    original = upscaler.onnxruntime_session.OnnxRuntimeSession

    def counting(weights: object, *, threads: int, split: bool) -> object:
        opened.append(threads)
        return original(weights, threads=threads, split=split)  # type: ignore[arg-type]

    monkeypatch.setattr(upscaler.onnxruntime_session, "OnnxRuntimeSession", counting)
    upscaler._open_session.cache_clear()
    model = espcn.load("general-x2", device="cpu")
    pixels = scene((1, 64, 64), halo=4)
    with ThreadPoolExecutor(4) as pool:
        fine = list(pool.map(lambda _: model(pixels), range(8)))
    assert opened == [1]
    assert all(np.array_equal(fine[0], other) for other in fine)


def test_threads_get_the_same_pixels_in_bf16() -> None:
    require_bf16()
    model = espcn.load("general-x3", device="cpu", precision="bf16")
    pixels = scene((2, model.block, model.block), halo=4)
    with ThreadPoolExecutor(4) as pool:
        fine = list(pool.map(lambda _: model(pixels), range(8)))
    assert all(np.array_equal(fine[0], other) for other in fine)


FRESH = """
import hashlib, pickle, sys
import numpy as np
model = pickle.loads(bytes.fromhex(sys.argv[1]))
pixels = np.random.default_rng(0).random((1, 40, 50)).astype(np.float32)
print(hashlib.sha256(model(pixels).tobytes()).hexdigest())
assert pickle.loads(pickle.dumps(model)) is pickle.loads(pickle.dumps(model))
assert not {"torch", "openvino", "PIL"} & set(sys.modules), sorted(sys.modules)
"""


def test_it_travels_as_an_address_and_runs_elsewhere_without_torch() -> None:
    model = espcn.load("general-x3", device="cpu")
    pixels = np.random.default_rng(0).random((1, 40, 50)).astype(np.float32)
    address = pickle.dumps(model)
    assert len(address) < 1000
    printed = _python(FRESH, address.hex())
    assert printed == hashlib.sha256(model(pixels).tobytes()).hexdigest()


def test_importing_and_describing_load_nothing_heavy() -> None:
    _python(
        "import sys, espcn; espcn.shipped(); espcn.load('bicubic'); "
        "heavy = {'torch', 'onnx', 'onnxruntime', 'openvino', 'PIL', 'rasterio', 'dask'}; "
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )


def test_weights_that_changed_on_the_way_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    write_weights(path, random_weights(scale=2))
    travelling = pickle.dumps(espcn.load(str(path), device="cpu"))
    write_weights(path, random_weights(scale=2, skip=True))
    with pytest.raises(espcn.ModelError, match="give every worker the same file"):
        pickle.loads(travelling)
    assert espcn.load(str(path), device="cpu").card.skip


def test_a_relative_path_is_found_from_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_weights(tmp_path / "model.safetensors", random_weights(scale=2))
    monkeypatch.chdir(tmp_path)
    model = espcn.load("model.safetensors", device="cpu")
    monkeypatch.chdir("/")
    assert pickle.loads(pickle.dumps(model))(scene((1, 9, 9))).shape == (1, 2, 2)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino", "torch"])
def test_pixels_may_be_read_only_and_strided_and_are_left_alone(backend: str) -> None:
    precision = "fp32"
    if backend == "openvino":
        require_bf16()
        precision = "bf16"
    model = espcn.load("general-x2", device="cpu", precision=precision, backend=backend)
    side = model.block + 2 * model.halo
    pixels = scene((2, side, side))
    strided = np.repeat(pixels, 2, axis=2)[:, :, ::2]
    strided.flags.writeable = pixels.flags.writeable = False
    before = pixels.copy()
    fine = model(pixels)
    np.testing.assert_array_equal(model(strided), fine)
    np.testing.assert_array_equal(pixels, before)
    assert fine.flags.c_contiguous
    assert fine.flags.writeable


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.zeros((1, 8, 20), np.float32), "at least 9"),
        (np.zeros((20, 20), np.float32), r"need \(band, y, x\)"),
        (np.zeros((0, 20, 20), np.float32), r"need \(band, y, x\)"),
        (np.zeros((1, 20, 20), np.uint16), "convert them to float32"),
    ],
)
def test_pixels_that_do_not_fit_are_refused(pixels: np.ndarray, message: str) -> None:
    with pytest.raises(espcn.ModelError, match=message):
        espcn.load("general-x2", device="cpu")(pixels)


def test_a_network_that_mixes_bands_wants_its_bands(tmp_path: Path) -> None:
    path = tmp_path / "rgb.safetensors"
    write_weights(path, random_weights(scale=2, bands=3))
    model = espcn.load(str(path), device="cpu")
    assert model.bands == 3
    assert model(scene((3, 20, 20))).shape == (3, 24, 24)
    with pytest.raises(espcn.ModelError, match="mixes 3 bands and got 4"):
        model(scene((4, 20, 20)))


@pytest.mark.parametrize(
    ("load", "message"),
    [
        (lambda: espcn.load("general-x2", device="tpu"), "choose from auto, cpu, cuda"),
        (lambda: espcn.load("general-x2", precision="fp64"), "choose from fp32, bf16"),
        (lambda: espcn.load("general-x2", backend="jax"), "choose from auto"),
        (lambda: espcn.load("general-x2", threads=0), "at least 1"),
        (
            lambda: espcn.load("general-x2", device="cpu", backend="openvino"),
            "use backend onnxruntime",
        ),
        (
            lambda: espcn.load("general-x2", device="cpu", backend="onnxruntime", precision="bf16"),
            "use backend openvino",
        ),
    ],
)
def test_what_cannot_be_had_is_said(load: Callable[[], object], message: str) -> None:
    with pytest.raises(espcn.ModelError, match=message):
        load()


def test_cuda_without_a_device_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(espcn.ModelError, match="no CUDA device"):
        espcn.load("general-x2", device="cuda")
    assert espcn.load("general-x2").address.placement.backend == "onnxruntime"


def test_a_missing_package_comes_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    upscaler._open_session.cache_clear()
    model = espcn.load("general-x2", device="cpu", precision="bf16")
    with pytest.raises(espcn.ModelError, match=r"pip install 'espcn\[openvino\]'"):
        model(scene((1, model.block, model.block), halo=model.halo))


def _python(code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
