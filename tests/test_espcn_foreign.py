"""Checkpoints of other projects become ours, or are refused; nothing in them is executed."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from espcn_networks import random_weights, scene
from safetensors.numpy import save_file

import espcn
from espcn.weights_file import weights_to_tensors, write_weights

torch = pytest.importorskip("torch")


@pytest.fixture
def tensors() -> dict[str, object]:
    return {
        name: torch.from_numpy(value)
        for name, value in weights_to_tensors(random_weights(scale=3)).items()
    }


@pytest.mark.parametrize(
    ("wrapper", "prefix"),
    [(None, ""), ("state_dict", "module."), ("model_state_dict", ""), ("params_ema", "netG.")],
)
def test_a_checkpoint_becomes_ours(
    tmp_path: Path, tensors: dict[str, object], wrapper: str | None, prefix: str
) -> None:
    content: object = {f"{prefix}{name}": value for name, value in tensors.items()}
    if wrapper:
        content = {wrapper: content, "epoch": 40}
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


def test_bare_safetensors_are_taken_too(tmp_path: Path) -> None:
    save_file(weights_to_tensors(random_weights(scale=4)), tmp_path / "bare.safetensors")
    card = espcn.import_checkpoint(tmp_path / "bare.safetensors", tmp_path / "out.safetensors")
    assert card.scale == 4


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
    refused({"epoch": 3}, "not a floating-point tensor")
    refused(dict(list(tensors.items())[:-2]), "lacks sub_pixel_layer")
    refused(
        tensors | {"feature_map_layer.0.weight": torch.full((64, 1, 5, 5), float("nan"))}, "NaN"
    )
    (tmp_path / "cut.pth").write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(espcn.ModelError, match=r"cut\.pth"):
        espcn.import_checkpoint(tmp_path / "cut.pth", output)
    with pytest.raises(espcn.ModelError, match="No such file"):
        espcn.import_checkpoint(tmp_path / "absent.pth", output)
    with pytest.raises(espcn.ModelError, match=r"ends in \.safetensors"):
        espcn.import_checkpoint(tmp_path / "odd.pth", tmp_path / "out.pth")
    assert not output.exists()
