"""Weights files: what is read back, and one clear line for everything that is no model."""

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from espcn_networks import random_weights
from safetensors.numpy import save_file

import espcn
from espcn import weights_file
from espcn.architecture import Layer, Weights
from espcn.models import shipped_names
from espcn.weights_file import read_weights, weights_to_tensors, write_weights


@pytest.fixture
def path(tmp_path: Path) -> Path:
    target = tmp_path / "model.safetensors"
    write_weights(target, random_weights(scale=2, bands=3))
    return target


def test_what_is_written_is_read_back_and_the_same_weights_give_the_same_bytes(path: Path) -> None:
    before = path.read_bytes()
    weights, sha256 = read_weights(path)
    assert weights.scale == 2
    assert weights.bands == 3
    assert weights.input_range == (0.0, 1.0)
    for read, written in zip(weights.layers, random_weights(scale=2, bands=3).layers, strict=True):
        np.testing.assert_array_equal(read.weight, written.weight)
    write_weights(path, weights)
    assert path.read_bytes() == before
    assert espcn.describe(str(path)).sha256 == sha256
    assert list(path.parent.iterdir()) == [path], "no temporary file is left"


def test_band_names_are_kept_and_may_be_absent(path: Path) -> None:
    named = replace(random_weights(scale=2, bands=3), band_names=("B02", "B03", "B8A"))
    nameless = path.read_bytes()
    assert b"bands" not in nameless
    assert espcn.describe(str(path)).band_names == ()
    write_weights(path, named)
    assert espcn.describe(str(path)).band_names == ("B02", "B03", "B8A")
    assert read_weights(path)[0].band_names == ("B02", "B03", "B8A")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("B02", "B03"), "2 band names for 3 bands"),
        (("B02", "B03", "B02"), "not all different"),
        (("B02", "B03", " "), "are no names"),
        (("B02", "B03", "B\n4"), "are no names"),
    ],
)
def test_band_names_that_cannot_be_are_refused(names: tuple[str, ...], message: str) -> None:
    with pytest.raises(espcn.ModelError, match=message):
        replace(random_weights(scale=2, bands=3), band_names=names)


@pytest.mark.parametrize("name", shipped_names())
def test_the_weights_that_ship_are_written_with_the_same_bytes(name: str, tmp_path: Path) -> None:
    shipped = Path(espcn.__file__).parent / "weights" / f"{name}.safetensors"
    write_weights(tmp_path / shipped.name, read_weights(shipped)[0])
    assert (tmp_path / shipped.name).read_bytes() == shipped.read_bytes()


@pytest.mark.parametrize(
    ("verdict", "warning"),
    [
        (None, None),
        ("pass", None),
        ("fail: PSNR 30.1 dB, bicubic 30.4 dB", "PSNR 30.1 dB, bicubic 30.4 dB"),
        ("fail:\n two\nlines", "two lines"),
        ("fail", "no reason is given"),
    ],
)
def test_a_model_that_failed_its_validation_warns(
    path: Path, verdict: str | None, warning: str | None
) -> None:
    provenance = {} if verdict is None else {"verdict": verdict}
    write_weights(path, replace(random_weights(scale=2), provenance=provenance))
    card = espcn.describe(str(path))
    assert card.verdict == (verdict or "")
    assert card.warning == (warning and f"the model model failed its validation: {warning}")


@pytest.mark.parametrize(
    ("sides", "skip", "halo"),
    [((5, 3, 3), True, 4), ((1, 1, 1), True, 2), ((1, 1, 1), False, 0), ((9, 1, 5), False, 6)],
)
def test_the_halo_is_the_sum_of_the_kernels_radii(
    sides: tuple[int, int, int], skip: bool, halo: int
) -> None:
    assert random_weights(sides=sides, skip=skip).halo == halo


def test_equivariance_is_read_off_the_numbers() -> None:
    plain = random_weights(activation="relu", bias=False, skip=True)
    first = plain.layers[0].weight
    centred = Layer(first - first.mean(axis=(2, 3), keepdims=True))
    good = replace(plain, layers=(centred, *plain.layers[1:]))
    biased = Layer(centred.weight, np.ones(64, np.float32))
    assert good.equivariant
    assert not plain.equivariant
    assert not replace(good, activation="tanh").equivariant
    assert not replace(good, skip=False).equivariant
    assert not replace(good, layers=(biased, *good.layers[1:])).equivariant


def _damage(path: Path, kind: str) -> None:  # noqa: PLR0912 - one line per kind of damage
    tensors = weights_to_tensors(random_weights())
    facts: dict[str, object] = {
        "version": 1,
        "activation": "tanh",
        "skip": False,
        "input_range": [0, 1],
        "metrics": {},
        "provenance": {},
    }
    match kind:
        case "truncated":
            path.write_bytes(path.read_bytes()[:-100])
            return
        case "empty":
            path.write_bytes(b"")
            return
        case "noise":
            path.write_bytes(b"\xff" * 1000)
            return
        case "pickle":
            path.write_bytes(pickle.dumps({"a": 1}))
            return
        case "zip":
            path.write_bytes(b"PK\x03\x04" + bytes(100))
            return
        case "missing":
            del tensors["feature_map_layer.2.weight"]
        case "odd":
            tensors["extra.weight"] = np.zeros(1, np.float32)
        case "infinite":
            tensors["sub_pixel_layer.0.bias"][0] = np.inf
        case "even":
            tensors["feature_map_layer.0.weight"] = np.zeros((64, 1, 4, 4), np.float32)
        case "channels":
            tensors["feature_map_layer.2.weight"] = np.zeros((32, 63, 3, 3), np.float32)
        case "outputs":
            tensors["sub_pixel_layer.0.weight"] = np.zeros((7, 32, 3, 3), np.float32)
            tensors["sub_pixel_layer.0.bias"] = np.zeros(7, np.float32)
        case "bias":
            tensors["sub_pixel_layer.0.bias"] = np.zeros(3, np.float32)
        case "integer":
            tensors["sub_pixel_layer.0.weight"] = np.zeros((9, 32, 3, 3), np.int32)
        case "flat":
            tensors["feature_map_layer.0.weight"] = np.zeros(25, np.float32)
        case "future":
            facts["version"] = 99
        case "activation":
            facts["activation"] = "gelu"
        case "range":
            facts["input_range"] = [1, 0]
        case "unbounded":
            facts["input_range"] = None
        case "names":
            facts["bands"] = "B02"
        case "metrics":
            facts["metrics"] = {"psnr": "good"}
    save_file(tensors, path, metadata={"espcn": json.dumps(facts)})


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("truncated", "not a whole safetensors file"),
        ("empty", "not a whole safetensors file"),
        ("noise", "not a whole safetensors file"),
        ("pickle", "espcn import"),
        ("zip", "espcn import"),
        ("missing", r"lacks feature_map_layer\.2\.weight"),
        ("odd", r"unknown extra\.weight"),
        ("infinite", "NaN or infinite"),
        ("even", "k odd"),
        ("channels", "takes 63"),
        ("outputs", r"7 outputs for 1 bands"),
        ("bias", r"bias 3 has shape"),
        ("integer", "floating-point"),
        ("flat", r"need \(out, in, k, k\)"),
        ("future", "format version 99"),
        ("activation", "gelu"),
        ("range", "low < high"),
        ("unbounded", "declares no input_range"),
        ("metrics", "metadata is damaged"),
        ("names", "bands is not a list"),
    ],
)
def test_a_damaged_file_is_one_line_that_names_it(path: Path, kind: str, message: str) -> None:
    _damage(path, kind)
    with pytest.raises(espcn.ModelError, match=message) as caught:
        espcn.describe(str(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_a_header_whose_length_looks_like_a_pickle_is_read(path: Path, protocol: int) -> None:
    weights, length = random_weights(scale=2), protocol << 8 | 0x80
    write_weights(path, replace(weights, provenance={"padding": ""}))
    space = length - int.from_bytes(path.read_bytes()[:8], "little")
    write_weights(path, replace(weights, provenance={"padding": "x" * space}))
    assert path.read_bytes()[:2] == bytes([0x80, protocol])
    assert espcn.describe(str(path)).scale == 2


def test_weights_that_would_not_be_read_are_not_written(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights_file, "MAX_BYTES", 10_000)
    with pytest.raises(espcn.ModelError, match="the limit is 10000"):
        write_weights(path.with_name("large.safetensors"), random_weights())
    assert list(path.parent.iterdir()) == [path]


def test_a_file_without_our_metadata_is_sent_to_import(tmp_path: Path) -> None:
    bare = tmp_path / "bare.safetensors"
    save_file(weights_to_tensors(random_weights()), bare)
    with pytest.raises(espcn.ModelError, match="espcn import"):
        espcn.describe(str(bare))


def test_what_is_no_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(espcn.ModelError, match="No such file"):
        espcn.describe(str(tmp_path / "absent.safetensors"))
    with pytest.raises(espcn.ModelError, match="directory"):
        espcn.describe(str(tmp_path))
    with pytest.raises(espcn.ModelError, match="cannot write"):
        write_weights(tmp_path / "absent" / "model.safetensors", random_weights())


def test_weights_that_make_no_network_are_refused() -> None:
    with pytest.raises(espcn.ModelError, match="empty"):
        Weights((), 2, skip=False)
    with pytest.raises(espcn.ModelError, match="three convolutions"):
        Weights(random_weights().layers[:2], 3)
    with pytest.raises(espcn.ModelError, match="enlarge by 3, not by 2"):
        replace(random_weights(), scale=2)
    with pytest.raises(espcn.ModelError, match="scale 9"):
        Weights((), 9)
