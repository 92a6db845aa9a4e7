"""Checkpoints of other ESPCN projects, converted once and explicitly; nothing is ever unpickled.

Their common ancestor names its tensors as we do, trains on luma from 0 to 1 with tanh between the
layers and no skip. What such a file holds is tensors only: torch's weights-only reader refuses the
rest.
"""

import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from espcn.architecture import Weights, scale_of
from espcn.card import Card, card_of
from espcn.errors import ModelError
from espcn.sessions import missing
from espcn.weights_file import read_weights, tensors_to_layers, write_weights

WRAPPERS = ("state_dict", "model_state_dict", "params_ema", "params", "model", "net")
"""Keys under which training scripts keep the tensors."""

PREFIXES = ("module.", "model.", "net.", "netG.", "generator.")
"""What wrappers of modules put before the names."""


def import_checkpoint(path: str | Path, output: str | Path) -> Card:
    """Convert a .pth, .pt or bare .safetensors file to `output` (.safetensors); returns its card.

    Raises `ModelError` when the file is not an ESPCN of three convolutions with finite weights.
    """
    source, target = Path(path), Path(output)
    if target.suffix != ".safetensors":
        raise ModelError(f"cannot write {target}: the name of a weights file ends in .safetensors")
    try:
        layers = tensors_to_layers(_named(_read(source)))
        weights = Weights(
            layers,
            scale_of(layers),
            activation="tanh",
            skip=False,
            input_range=(0.0, 1.0),
            provenance={"imported_from": source.name},
        )
    except ModelError as error:
        raise ModelError(f"{source}: {error}") from error
    write_weights(target, weights)
    written, sha256 = read_weights(target)
    return card_of(written, name=target.stem, sha256=sha256)


def _read(path: Path) -> object:
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    try:
        import torch
    except ImportError as error:
        raise missing("torch", install="torch") from error
    try:
        with warnings.catch_warnings(action="ignore"):
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ModelError(f"cannot be read: {error.strerror}") from error
    except Exception as error:  # the unpickler raises whatever the bytes make of it
        raise ModelError(f"not a checkpoint of tensors alone ({type(error).__name__})") from error


def _read_safetensors(path: Path) -> object:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except OSError as error:
        raise ModelError(f"cannot be read: {error.strerror}") from error
    except SafetensorError as error:
        raise ModelError(f"not a whole safetensors file ({error})") from error


def _named(content: object) -> dict[str, NDArray[np.generic]]:
    """Tensors by the field's names, without wrappers and prefixes."""
    for wrapper in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping):
        raise ModelError(f"holds a {type(content).__name__}, not named tensors")
    return {_bare(str(name)): _array(str(name), value) for name, value in content.items()}


def _bare(name: str) -> str:
    prefix = next((prefix for prefix in PREFIXES if name.startswith(prefix)), "")
    return _bare(name[len(prefix) :]) if prefix else name


def _array(name: str, value: object) -> NDArray[np.generic]:
    if isinstance(value, np.ndarray):
        return value
    import torch

    if not isinstance(value, torch.Tensor) or not value.is_floating_point():
        raise ModelError(f"{name} is not a floating-point tensor")
    array: NDArray[np.generic] = value.detach().float().numpy()
    return array
