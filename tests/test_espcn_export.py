"""What is exported computes what we compute, and says what it needs."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from espcn_networks import random_weights, scene
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

import espcn
from espcn import export
from espcn.reference import whole_image
from espcn.weights_file import write_weights

NETWORKS = {
    "paper": random_weights(scale=3),
    "skip": random_weights(scale=2, activation="relu", skip=True, bias=False),
    "joint": random_weights(scale=2, bands=3, skip=True),
    "wide": random_weights(scale=4, bands=2, activation="none", sides=(7, 1, 3)),
    "pointwise": random_weights(scale=2, skip=True, sides=(1, 1, 1)),
}


def exported(folder: Path, name: str) -> tuple[str, onnx.ModelProto]:
    """(weights file, graph) of a network, by way of a file."""
    model = str(folder / f"{name}.safetensors")
    write_weights(Path(model), NETWORKS[name])
    path = espcn.export_onnx(model, folder / f"{name}.onnx")
    assert path == folder / f"{name}.onnx"
    return model, onnx.load(path)


def facts_of(graph: onnx.ModelProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in graph.metadata_props}


def ran(graph: onnx.ModelProto, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """`fine`, in ONNX Runtime."""
    session = onnxruntime.InferenceSession(
        graph.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (fine,) = session.run(["fine"], {"pixels": pixels})
    return np.asarray(fine)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_graph_computes_what_our_upscaler_does_for_any_height_and_width(
    tmp_path: Path, name: str
) -> None:
    model, graph = exported(tmp_path, name)
    upscaler = espcn.load(model, device="cpu")
    for sides in ((1, 1), (7, 12), (33, 70)):
        pixels = scene((upscaler.bands, *sides), halo=upscaler.halo)
        fine, ours = ran(graph, pixels[None])[0], upscaler(pixels)
        assert fine.shape == ours.shape
        np.testing.assert_allclose(fine, ours, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_another_reader_of_onnx_computes_the_same(tmp_path: Path, name: str) -> None:
    _, graph = exported(tmp_path, name)
    weights = NETWORKS[name]
    pixels = scene((2, weights.bands, 5, 8), halo=weights.halo)
    (fine,) = ReferenceEvaluator(graph).run(None, {"pixels": pixels})
    assert fine.shape == (2, weights.bands, 5 * weights.scale, 8 * weights.scale)
    np.testing.assert_allclose(fine, ran(graph, pixels), atol=1e-4)


def test_what_a_graph_says_of_itself_is_enough_to_use_it(tmp_path: Path) -> None:
    model, graph = exported(tmp_path, "paper")
    facts, pixels = facts_of(graph), scene((2, 21, 34))
    halo = json.loads(facts["halo"])
    mirrored = np.pad(pixels, ((0, 0), (halo, halo), (halo, halo)), mode="symmetric")
    fine = ran(graph, mirrored[:, None])[:, 0]
    np.testing.assert_allclose(fine, whole_image(model, pixels), atol=1e-5)


def test_a_graph_carries_the_facts_of_its_card(tmp_path: Path) -> None:
    model, metrics = str(tmp_path / "mine.safetensors"), {"rmse": 85.25}
    provenance = {"degradation": "gaussian, sigma 1.2", "verdict": "pass"}
    weights = replace(
        NETWORKS["joint"], metrics=metrics, provenance=provenance, band_names=("B4", "B3", "B2")
    )
    write_weights(Path(model), weights)
    graph = onnx.load(espcn.export_onnx(model, tmp_path / "mine.onnx"))
    facts, card = facts_of(graph), espcn.describe(model)
    assert (facts["name"], facts["activation"], facts["sha256"]) == ("mine", "tanh", card.sha256)
    assert facts["degradation"] == "gaussian, sigma 1.2"
    for key, value in (("scale", 2), ("halo", 4), ("bands", 3), ("skip", True)):
        assert json.loads(facts[key]) == value
    assert json.loads(facts["input_range"]) == [0, 1]
    assert json.loads(facts["band_names"]) == ["B4", "B3", "B2"]
    assert json.loads(facts["metrics"]) == metrics
    assert json.loads(facts["provenance"]) == provenance
    assert graph.producer_name == "espcn"
    for part in ("(batch, 3, height + 8, width + 8)", "from 0 to 1", "B4, B3, B2", "edge pixel"):
        assert part in facts["input"]
        assert part in graph.doc_string


def test_sides_and_batch_are_free_and_channels_are_not(tmp_path: Path) -> None:
    _, graph = exported(tmp_path, "joint")
    taken, given = (
        [side.dim_param or side.dim_value for side in values[0].type.tensor_type.shape.dim]
        for values in (graph.graph.input, graph.graph.output)
    )
    assert taken == ["batch", 3, "pixels_height", "pixels_width"]
    assert given == ["batch", 3, "fine_height", "fine_width"]


def test_an_equivariant_network_takes_any_range_and_bicubic_any_scale(tmp_path: Path) -> None:
    graph = onnx.load(espcn.export_onnx("general-x3", tmp_path / "general.onnx"))
    facts = facts_of(graph)
    assert json.loads(facts["input_range"]) is None
    assert "any unit and range" in facts["input"]
    assert json.loads(facts["metrics"])["set5_psnr_y"] > 30
    bicubic = onnx.load(espcn.export_onnx("bicubic", tmp_path / "bicubic.onnx", scale=3))
    pixels = scene((1, 9, 9), halo=2)
    np.testing.assert_allclose(
        ran(bicubic, pixels[None])[0], espcn.load("bicubic", scale=3)(pixels), atol=1e-5
    )


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    first = espcn.export_onnx("general-x2", tmp_path / "one.onnx")
    other = espcn.export_onnx("general-x2", str(tmp_path / "other.onnx"))
    assert first.read_bytes() == other.read_bytes()
    assert sorted(tmp_path.iterdir()) == [first, other], "no temporary file is left"


def test_what_cannot_be_exported_leaves_nothing(tmp_path: Path) -> None:
    for model, path, message in (
        ("general-x2", "model.pb", r"ends in \.onnx"),
        ("nearest", "model.onnx", "has no graph"),
        ("generl-x2", "model.onnx", "did you mean general-x2"),
        ("general-x2", "absent/model.onnx", "No such file"),
    ):
        with pytest.raises(espcn.ModelError, match=message):
            espcn.export_onnx(model, tmp_path / path)
    assert list(tmp_path.iterdir()) == []


def test_what_exists_is_replaced_only_where_it_may_be(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"there before")
    with pytest.raises(espcn.ModelError, match=r"model\.onnx exists: .*--overwrite"):
        espcn.export_onnx("general-x2", path)
    assert path.read_bytes() == b"there before"
    assert espcn.export_onnx("general-x2", path, overwrite=True) == path
    onnx.load(path)


def test_bicubic_wants_its_scale_chosen(tmp_path: Path) -> None:
    with pytest.raises(espcn.ModelError, match=r"bicubic enlarges by any factor: .*--scale 3"):
        espcn.export_onnx("bicubic", tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_the_values_that_a_range_stands_for_are_named(tmp_path: Path) -> None:
    model = str(tmp_path / "mine.safetensors")
    write_weights(Path(model), replace(NETWORKS["paper"], provenance={"value_range": "-50 9000"}))
    graph = onnx.load(espcn.export_onnx(model, tmp_path / "mine.onnx"))
    facts = facts_of(graph)
    assert json.loads(facts["value_range"]) == [-50, 9000]
    assert "values from 0 to 1, which stand for -50 to 9000 of the data" in facts["input"]
    _, other = exported(tmp_path, "paper")
    assert json.loads(facts_of(other)["value_range"]) is None
    assert "stand for" not in facts_of(other)["input"]


@pytest.mark.parametrize("wrong", ["values", "shape", "nan"])
def test_a_graph_that_computes_something_else_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    other = NETWORKS["skip"] if wrong != "shape" else random_weights(scale=3)
    if wrong == "nan":
        broken = NETWORKS["skip"].layers[2].weight.copy()
        broken.flags.writeable = True
        last = replace(NETWORKS["skip"].layers[2], weight=broken)
        other = replace(NETWORKS["skip"], layers=(*NETWORKS["skip"].layers[:2], last))
        broken[:] = np.nan
    graph = export.whole_graph(other, square=1)
    monkeypatch.setattr(export, "whole_graph", lambda *_, **__: graph)
    path = tmp_path / "model.onnx"
    path.write_bytes(b"there before")
    with pytest.raises(espcn.ModelError, match="differs from its upscaler"):
        espcn.export_onnx("general-x2", path, overwrite=True)
    assert path.read_bytes() == b"there before"
