"""GPU workers: one device each, and the same pixels whatever the cut."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import rasterio
from fakes import texture, upscale_array, write_tif

import espcn
from pipeline.cluster import local_shape, open_cluster
from pipeline.errors import PipelineError
from pipeline.options import ClusterOptions, TilingOptions
from workflows.job import Job, ModelOptions
from workflows.upscale import upscale

needs_gpu = pytest.mark.skipif(not espcn.cuda_devices(), reason="needs a CUDA device")


def visible_device() -> str | None:
    """What the worker's process may see."""
    return os.environ.get("CUDA_VISIBLE_DEVICES")


def test_each_gpu_gets_a_worker_that_sees_it_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    # the environment can be had without any device
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    with open_cluster(ClusterOptions(), gpus=2) as (client, shape):
        assert sorted(client.run(visible_device).values()) == ["2", "3"]
        assert shape.workers == 2
        assert shape.threads >= 2, "one thread reads and encodes while another holds the device"


def test_threads_of_a_gpu_worker_overlap_reading_with_inference() -> None:
    assert local_shape(ClusterOptions(), gpus=1).threads >= 2
    assert local_shape(ClusterOptions(threads=3), gpus=1).threads == 3


@pytest.mark.skipif(bool(espcn.cuda_devices()), reason="there is a CUDA device here")
def test_without_a_device_auto_falls_back_and_cuda_is_refused(tmp_path: Path) -> None:
    assert espcn.load("general-x2", device="auto").address.placement.device == "cpu"
    source = write_tif(tmp_path / "in.tif", texture((1, 20, 20)))
    job = Job(str(source), (str(tmp_path / "o.tif"),), model=ModelOptions(device="cuda"))
    with pytest.raises((PipelineError, espcn.ModelError), match="CUDA"):
        upscale(job)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.tif"]


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
        model = ModelOptions("general-x2", device=device)  # type: ignore[arg-type]
        upscale(Job(str(source), (str(out),), model=model, tiling=TilingOptions(tile)))
        with rasterio.open(out) as dataset:
            results.append(dataset.read().astype(int))
    np.testing.assert_array_equal(results[0], results[1])
    assert np.abs(results[0] - results[2]).max() <= 1
