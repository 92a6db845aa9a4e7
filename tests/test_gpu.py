"""GPU workers: one device each, and the same pixels whatever the cut."""

from __future__ import annotations

import hashlib
import os
import signal
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import rasterio
import runs
from espcn_networks import scarce_device_memory
from espcn_networks import scene as noise
from fakes import texture, upscale_array, write_tif

import espcn
from pipeline.cluster import Gpus, local_shape, open_cluster
from pipeline.errors import PipelineError, TileError
from pipeline.options import ClusterOptions, TilingOptions
from workflows.job import Job, ModelOptions
from workflows.upscale import upscale

needs_gpu = pytest.mark.skipif(not espcn.cuda_devices(), reason="needs a CUDA device")


CUDA = ModelOptions("general-x2", device="cuda")


def visible_device() -> str | None:
    """What the worker's process may see."""
    return os.environ.get("CUDA_VISIBLE_DEVICES")


def test_each_gpu_gets_a_worker_that_sees_it_alone_and_keeps_quiet(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    # the environment can be had without any device
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    with open_cluster(ClusterOptions(), gpus=Gpus(2)) as (client, shape):
        assert sorted(client.run(visible_device).values()) == ["2", "3"]
        assert shape.workers == 2
        assert shape.threads >= 2, "one thread reads and encodes while another holds the device"
    assert capfd.readouterr() == ("", "")


def test_a_gpu_worker_that_dies_is_replaced_by_one_with_the_same_device(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    with open_cluster(ClusterOptions(threads=2), gpus=Gpus(1)) as (client, _):
        (first,) = client.run(os.getpid).values()
        os.kill(first, signal.SIGKILL)
        look = partial(client.run, os.getpid, on_error="ignore")
        runs.wait_until(lambda: set(look().values()) - {first})
        assert set(client.run(visible_device).values()) == {"3"}


@pytest.mark.parametrize(
    ("cores", "gibibytes", "gpus", "shape"),
    [
        (16, 100, Gpus(1, room=9), (4, 4)),
        (16, 100, Gpus(1, room=2), (2, 8)),
        (128, 800, Gpus(8, room=9), (32, 4)),
        (8, 100, Gpus(2, room=9), (2, 4)),
        (16, 10, Gpus(1), (1, 8)),
        (1, 100, Gpus(1), (1, 2)),
        (8, 1, Gpus(1), (1, 2)),
        (8, 100, Gpus(0, room=0), (2, 4)),
    ],
)
def test_gpu_workers_share_a_device_that_has_more_cores_than_one_can_use(
    cores: int, gibibytes: int, gpus: Gpus, shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dask.system.CPU_COUNT", cores)
    monkeypatch.setattr("distributed.system.MEMORY_LIMIT", gibibytes * 2**30)
    found = local_shape(ClusterOptions(), gpus=gpus)
    assert (found.workers, found.threads) == shape
    assert local_shape(ClusterOptions(threads=3), gpus=gpus).threads == 3


@pytest.mark.skipif(bool(espcn.cuda_devices()), reason="there is a CUDA device here")
def test_without_a_device_auto_falls_back_and_cuda_is_refused(tmp_path: Path) -> None:
    assert espcn.load("general-x2", device="auto").address.placement.device == "cpu"
    source = write_tif(tmp_path / "in.tif", texture((1, 20, 20)))
    job = Job(str(source), (str(tmp_path / "o.tif"),), model=CUDA)
    with pytest.raises((PipelineError, espcn.ModelError), match="CUDA"):
        upscale(job)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.tif"]


@pytest.mark.skipif(bool(espcn.cuda_devices()), reason="there is a CUDA device here")
def test_workers_elsewhere_are_trusted_to_have_a_device_and_say_when_they_have_none(
    tmp_path: Path,
) -> None:
    source, target = write_tif(tmp_path / "in.tif", texture((1, 20, 20))), tmp_path / "o.tif"
    with runs.threads_here() as cluster:
        elsewhere = ClusterOptions(cluster.scheduler_address)
        with pytest.raises(TileError, match="no CUDA device can be used on ") as caught:
            upscale(Job(str(source), (str(target),), model=CUDA, cluster=elsewhere))
    assert caught.value.exit_code == 4
    assert "\n" not in str(caught.value)
    assert not target.exists()


def test_torch_on_a_grid_of_fixed_blocks_does_not_depend_on_the_cut() -> None:
    network = espcn.load("general-x2", device="cpu", backend="torch")
    assert network.fixed
    pixels = texture((1, 300, 270))
    reference, _ = upscale_array(pixels, network, side=4096)
    other, _ = upscale_array(pixels, network, side=512)
    np.testing.assert_array_equal(other, reference)
    onnx, _ = upscale_array(pixels, espcn.load("general-x2", device="cpu"), side=512)
    assert np.abs(onnx.astype(int) - reference).max() <= 1


@pytest.mark.gpu
@needs_gpu
def test_a_gpu_gives_the_same_bytes_for_any_tile_and_agrees_with_the_cpu(tmp_path: Path) -> None:
    source = write_tif(tmp_path / "in.tif", texture((3, 1500, 1300)))
    results = []
    for device, tile in [("cuda", 1024), ("cuda", 4096), ("cpu", 2048)]:
        out = tmp_path / f"{device}-{tile}.tif"
        model = replace(CUDA, device=device)  # type: ignore[arg-type]
        upscale(Job(str(source), (str(out),), model=model, tiling=TilingOptions(tile)))
        with rasterio.open(out) as dataset:
            results.append(dataset.read().astype(int))
    np.testing.assert_array_equal(results[0], results[1])
    assert np.abs(results[0] - results[2]).max() <= 1


def make_job(source: Path, target: Path, **cluster: object) -> Job:
    """Sixteen tiles on the GPU."""
    return runs.make_job(source, target, model=CUDA, cluster=ClusterOptions(**cluster))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return runs.write_scene(tmp_path_factory.mktemp("scene") / "scene.tif", 1000, 1010)


@pytest.fixture(scope="module")
def expected(scene: Path) -> str:
    """sha256 of what one thread at a time makes."""
    target = scene.with_name("expected.tif")
    upscale(make_job(scene, target, threads=1))
    return runs.hash_of(target)


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("cluster", [{"threads": 8}, {"workers": 2}, {"workers": 0, "threads": 4}])
def test_threads_and_workers_that_share_a_gpu_write_the_bytes_of_one(
    cluster: dict[str, object], scene: Path, expected: str, tmp_path: Path
) -> None:
    target = tmp_path / "out.tif"
    upscale(make_job(scene, target, **cluster))
    assert runs.hash_of(target) == expected


@pytest.mark.gpu
@needs_gpu
def test_a_killed_gpu_run_goes_on_to_the_same_bytes(
    scene: Path, expected: str, tmp_path: Path
) -> None:
    target = tmp_path / "out.tif"
    job = make_job(scene, target, threads=2)
    driver = runs.drive(job, seconds=0.2)
    runs.wait_until(lambda: runs.journaled(target) >= 5, alive=driver)
    runs.end(driver)
    assert not target.exists()
    outcome = upscale(job)
    assert 5 <= outcome.resumed < len(outcome.receipts)
    assert runs.hash_of(target) == expected


@pytest.mark.gpu
@needs_gpu
def test_a_device_without_room_is_one_clear_error_and_the_run_goes_on_once_there_is(
    scene: Path, expected: str, tmp_path: Path
) -> None:
    target = tmp_path / "out.tif"
    job = make_job(scene, target, workers=0, threads=2)
    with scarce_device_memory(), pytest.raises(TileError, match="the CUDA device of ") as caught:
        upscale(job)
    assert caught.value.exit_code == 4
    assert "\n" not in str(caught.value)
    assert not target.exists()
    upscale(job)
    assert runs.hash_of(target) == expected


def upscale_there(model: espcn.Upscaler, pixels: np.ndarray) -> tuple[str, int]:
    """On a worker: sha256 of the result, and bytes on the device."""
    import torch

    fine = model(pixels)
    return hashlib.sha256(fine.tobytes()).hexdigest(), torch.cuda.memory_allocated()


@pytest.mark.gpu
@needs_gpu
def test_a_pickled_model_runs_on_the_device_of_the_worker() -> None:
    model = espcn.load("general-x2", device="cuda")
    side = model.block + 2 * model.halo
    pixels = noise((1, side, side))
    here, _ = upscale_there(model, pixels)
    with open_cluster(ClusterOptions(threads=2), gpus=Gpus(1)) as (client, _):
        there, held = client.submit(upscale_there, model, pixels).result()
    assert there == here
    assert held > 0
