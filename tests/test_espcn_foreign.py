"""Checkpoints of other projects become ours, or are refused; nothing in them is executed."""

import hashlib
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from espcn_networks import random_weights, scene
from safetensors.torch import save_file

import espcn
from espcn import foreign
from espcn.weights_file import LAYER_NAMES, read_weights, weights_to_tensors, write_weights


@pytest.fixture
def tensors() -> dict[str, object]:
    return {
        name: torch.from_numpy(value)
        for name, value in weights_to_tensors(random_weights(scale=3)).items()
    }


@pytest.mark.parametrize(
    ("wrapper", "prefix"),
    [
        ("", ""),
        ("state_dict", "module."),
        ("model_state_dict", "_orig_mod."),
        ("params_ema", "netG."),
        ("params-ema", ""),
        ("params", "net_g."),
        ("model", "model."),
        ("net", "net."),
        ("state_dict model", "_orig_mod.module."),
        ("model state_dict generator", "generator.module."),
    ],
)
def test_a_checkpoint_becomes_ours(
    tmp_path: Path, tensors: dict[str, object], wrapper: str, prefix: str
) -> None:
    content: object = {f"{prefix}{name}": value for name, value in tensors.items()}
    for key in wrapper.split():
        content = {key: content, "epoch": 40, "optimizer": {"state": {}, "lr": 1e-3}}
    torch.save(content, tmp_path / "best.pth")
    card = espcn.import_checkpoint(tmp_path / "best.pth", tmp_path / "best.safetensors")
    assert (card.scale, card.bands, card.halo) == (3, 1, 4)
    assert (card.activation, card.skip, card.input_range) == ("tanh", False, (0.0, 1.0))
    assert card == espcn.describe(str(tmp_path / "best.safetensors"))
    write_weights(tmp_path / "ours.safetensors", random_weights(scale=3))
    pixels = scene((1, 30, 30))
    imported, ours = (
        espcn.load(str(tmp_path / name), device="cpu")(pixels)
        for name in ("best.safetensors", "ours.safetensors")
    )
    np.testing.assert_array_equal(imported, ours)


def test_what_tensors_do_not_tell_is_said_on_the_card(
    tmp_path: Path, tensors: dict[str, object]
) -> None:
    torch.save(tensors, tmp_path / "best.pth")
    provenance = espcn.import_checkpoint(
        tmp_path / "best.pth", tmp_path / "a.safetensors"
    ).provenance
    digest = hashlib.sha256((tmp_path / "best.pth").read_bytes()).hexdigest()
    assert (provenance["imported_from"], provenance["imported_sha256"]) == ("best.pth", digest)
    assert "tanh" in provenance["assumed"]


def test_averaged_weights_are_preferred(tmp_path: Path, tensors: dict[str, object]) -> None:
    last = {name: torch.zeros_like(value) for name, value in tensors.items()}
    torch.save({"params": last, "params_ema": tensors}, tmp_path / "both.pth")
    espcn.import_checkpoint(tmp_path / "both.pth", tmp_path / "out.safetensors")
    layers = read_weights(tmp_path / "out.safetensors")[0].layers
    np.testing.assert_array_equal(layers[0].weight, tensors["feature_map_layer.0.weight"])


@pytest.mark.parametrize("kind", ["parameters", "half", "bfloat16", "double", "without biases"])
def test_whatever_the_floats_they_become_ours(
    tmp_path: Path, tensors: dict[str, Any], kind: str
) -> None:
    if kind == "parameters":
        content = {name: torch.nn.Parameter(value) for name, value in tensors.items()}
    elif kind == "without biases":
        content = {name: value for name, value in tensors.items() if name.endswith("weight")}
    else:
        content = {name: value.to(getattr(torch, kind)) for name, value in tensors.items()}
    torch.save(content, tmp_path / "a.pth")
    espcn.import_checkpoint(tmp_path / "a.pth", tmp_path / "out.safetensors")
    for layer, name in zip(
        read_weights(tmp_path / "out.safetensors")[0].layers, LAYER_NAMES, strict=True
    ):
        expected = content[f"{name}.weight"].detach().float().numpy()
        np.testing.assert_array_equal(layer.weight, expected)
        assert (layer.bias is None) == (kind == "without biases")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_bare_safetensors_are_taken_too(tmp_path: Path, dtype: str) -> None:
    tensors = weights_to_tensors(random_weights(scale=4, bands=3))
    kind = getattr(torch, dtype)
    content = {f"module.{k}": torch.from_numpy(v).to(kind) for k, v in tensors.items()}
    save_file(content, tmp_path / "bare.safetensors")
    card = espcn.import_checkpoint(tmp_path / "bare.safetensors", tmp_path / "out.safetensors")
    assert (card.scale, card.bands, card.band_names) == (4, 3, ())


def test_a_weights_file_of_ours_is_not_taken_for_tanh(tmp_path: Path) -> None:
    ours, output = tmp_path / "ours.safetensors", tmp_path / "out.safetensors"
    write_weights(ours, random_weights(activation="relu", skip=True))
    with pytest.raises(espcn.ModelError, match="of ours already: use it as it is"):
        espcn.import_checkpoint(ours, output)
    assert not output.exists()


def test_a_checkpoint_is_never_replaced(tmp_path: Path) -> None:
    bare = tmp_path / "bare.safetensors"
    save_file(
        {k: torch.from_numpy(v) for k, v in weights_to_tensors(random_weights()).items()}, bare
    )
    before = bare.read_bytes()
    (tmp_path / "link.safetensors").symlink_to(bare)
    for output in (bare, tmp_path / "link.safetensors"):
        with pytest.raises(espcn.ModelError, match="choose another name"):
            espcn.import_checkpoint(bare, output)
    assert bare.read_bytes() == before


def test_without_a_name_it_lies_beside_the_checkpoint(
    tmp_path: Path, tensors: dict[str, object]
) -> None:
    torch.save(tensors, tmp_path / "best.pth")
    espcn.import_checkpoint(tmp_path / "best.pth")
    assert espcn.describe(str(tmp_path / "best.safetensors")).scale == 3


def test_what_exists_is_replaced_only_where_it_may_be(
    tmp_path: Path, tensors: dict[str, object]
) -> None:
    torch.save(tensors, tmp_path / "best.pth")
    output = tmp_path / "best.safetensors"
    output.write_bytes(b"there before")
    for named in (None, output):
        with pytest.raises(espcn.ModelError, match=r"best\.safetensors exists: .*--overwrite"):
            espcn.import_checkpoint(tmp_path / "best.pth", named)
    assert output.read_bytes() == b"there before"
    assert espcn.import_checkpoint(tmp_path / "best.pth", overwrite=True).name == "best"


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    torch.save({"state_dict": Trap(sprung)}, tmp_path / "trap.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Trap(sprung)))
    for name in ("trap.pth", "plain.pth"):
        with pytest.raises(espcn.ModelError, match="not a checkpoint of tensors alone"):
            espcn.import_checkpoint(tmp_path / name, tmp_path / "out.safetensors")
    assert not sprung.exists()


def test_garbage_is_refused_whatever_the_unpickler_makes_of_it(tmp_path: Path) -> None:
    for number, start in enumerate((b"root:x:0:0", b"\x80\x02", b"PK\x03\x04", b"(((", b"")):
        path = tmp_path / f"{number}.pth"
        path.write_bytes(start + b"0123456789" * (number < 4))
        with pytest.raises(espcn.ModelError, match=r"not a checkpoint of tensors alone|empty"):
            espcn.import_checkpoint(path, tmp_path / "out.safetensors")


def test_what_is_no_espcn_is_refused(tmp_path: Path, tensors: dict[str, object]) -> None:
    output = tmp_path / "out.safetensors"

    def refused(content: object, message: str) -> None:
        torch.save(content, tmp_path / "odd.pth")
        with pytest.raises(espcn.ModelError, match=message) as caught:
            espcn.import_checkpoint(tmp_path / "odd.pth", output)
        assert "odd.pth" in str(caught.value)

    refused([1, 2], "holds a list")
    refused({}, "lacks feature_map_layer")
    refused({"epoch": 3}, "not a floating-point tensor")
    refused(dict(list(tensors.items())[:-2]), "lacks sub_pixel_layer")
    refused(dict(list(tensors.items())[:-1]), r"lacks sub_pixel_layer\.0\.bias, other layers have")
    refused(tensors | {"extra.weight": torch.ones(1)}, r"unknown extra\.weight")
    refused(tensors | {f"module.{k}": v for k, v in tensors.items()}, "twice, under different")
    refused(torch.nn.Conv2d(1, 1, 3), "save the network's state_dict")
    recursive: dict[str, object] = {}
    recursive["state_dict"] = recursive
    refused(recursive, "state_dict is not a floating-point tensor")


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (lambda: torch.full((64, 1, 5, 5), float("nan")), "NaN"),
        (lambda: torch.full((64, 1, 5, 5), float("inf")), "infinite"),
        (lambda: torch.full((64, 1, 5, 5), 1e300, dtype=torch.float64), "infinite"),
        (lambda: torch.ones(64, 1, 5, 4), "k odd"),
        (lambda: torch.ones(64, 1, 4, 4), "k odd"),
        (lambda: torch.ones(64, 5, 5), r"need \(out, in, k, k\)"),
        (lambda: torch.ones(63, 1, 5, 5), "must agree"),
        (lambda: torch.ones(64, 2, 5, 5), "9 outputs for 2 bands"),
        (lambda: torch.ones(64, 9, 5, 5), "scale 1 is not supported"),
        (lambda: torch.ones(64, 1, 5, 5, dtype=torch.int32), "not a floating-point tensor"),
        (lambda: torch.ones(64, 1, 5, 5, dtype=torch.complex64), "not a floating-point tensor"),
        (lambda: torch.ones(64, 1, 5, 5).to_sparse(), "sparse"),
        (lambda: torch.ones(64, 1, 5, 5, device="meta"), "without values"),
        (lambda: torch.ones(1).expand(4096, 4096, 31, 31), "too many for an ESPCN"),
    ],
)
def test_tensors_that_make_no_espcn_are_refused(
    tmp_path: Path, tensors: dict[str, object], tensor: Callable[[], object], message: str
) -> None:
    changed = {"feature_map_layer.0.weight": tensor()}
    if message == "must agree":
        changed["feature_map_layer.0.bias"] = torch.ones(63)
    torch.save(tensors | changed, tmp_path / "odd.pth")
    with pytest.raises(espcn.ModelError, match=message) as caught:
        espcn.import_checkpoint(tmp_path / "odd.pth", tmp_path / "out.safetensors")
    assert "odd.pth" in str(caught.value)
    assert not (tmp_path / "out.safetensors").exists()


def test_an_archive_that_unpacks_to_more_than_memory_is_refused(
    tmp_path: Path, tensors: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(tensors, tmp_path / "large.pth")
    monkeypatch.setattr(foreign, "MAX_CHECKPOINT", 1000)
    with pytest.raises(espcn.ModelError, match="a checkpoint has at most 1000"):
        espcn.import_checkpoint(tmp_path / "large.pth", tmp_path / "out.safetensors")
    packed = tmp_path / "packed.pth"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("packed/data/0", bytes(10_000))
    assert packed.stat().st_size < 1000
    with pytest.raises(espcn.ModelError, match="has 10000 bytes"):
        espcn.import_checkpoint(packed, tmp_path / "out.safetensors")


def test_a_file_that_is_none_is_refused(tmp_path: Path, tensors: dict[str, object]) -> None:
    output = tmp_path / "out.safetensors"
    torch.save(tensors, tmp_path / "odd.pth")
    (tmp_path / "cut.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(espcn.ModelError, match=r"cut\.safetensors: not a whole safetensors"):
        espcn.import_checkpoint(tmp_path / "cut.safetensors", output)
    (tmp_path / "cut.pth").write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(espcn.ModelError, match=r"cut\.pth"):
        espcn.import_checkpoint(tmp_path / "cut.pth", output)
    for name in ("absent.pth", "absent.safetensors"):
        with pytest.raises(espcn.ModelError, match="No such file"):
            espcn.import_checkpoint(tmp_path / name, output)
    with pytest.raises(espcn.ModelError, match=r"ends in \.safetensors"):
        espcn.import_checkpoint(tmp_path / "odd.pth", tmp_path / "out.pth")
    assert not output.exists()
