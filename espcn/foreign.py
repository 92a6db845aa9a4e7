"""Checkpoints of other ESPCN projects, converted once and explicitly; nothing is ever unpickled.

Their common ancestor names its tensors as we do, trains on luma from 0 to 1 with tanh between the
layers and no skip. What such a file holds is tensors only: torch's weights-only reader refuses the
rest.
"""

import hashlib
import warnings
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from espcn.architecture import Weights, scale_of
from espcn.card import Card, card_of
from espcn.errors import ModelError
from espcn.sessions import missing
from espcn.weights_file import (
    LAYER_NAMES,
    MAX_BYTES,
    METADATA_KEY,
    check_free,
    read_weights,
    tensors_to_layers,
    write_weights,
)

WRAPPERS = (
    *("state_dict", "model_state_dict", "ema_state_dict", "params_ema", "params-ema", "params"),
    *("model", "net", "generator"),
)
"""Keys under which training scripts keep the tensors; the first that is there counts."""

PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "net_g.", "netG.", "generator.")
"""What wrappers put before the names: DataParallel, torch.compile, Lightning, BasicSR."""

NESTING = 4
"""Wrappers within wrappers that are opened."""

MAX_CHECKPOINT = 2**30
"""Largest checkpoint read, in bytes, unpacked; with an optimiser's state an ESPCN takes 1 MB."""

ASSUMED = "tanh between the layers, no skip, values from 0 to 1, as their common ancestor"
"""What tensors do not tell."""


def import_checkpoint(
    path: str | Path, output: str | Path | None = None, *, overwrite: bool = False
) -> Card:
    """Convert a .pth, .pt or bare .safetensors file to `output` (.safetensors); returns its card.

    Without `output` it lies beside the checkpoint and bears its name. Raises `ModelError` when the
    file is not an ESPCN of three convolutions with finite weights, when it is a weights file of
    ours, which says more than a checkpoint does, and for an output that exists, unless `overwrite`.
    """
    source = Path(path)
    target = source.with_suffix(".safetensors") if output is None else Path(output)
    if target.suffix != ".safetensors":
        raise ModelError(f"cannot write {target}: the name of a weights file ends in .safetensors")
    if target.exists() and source.exists() and target.samefile(source):
        raise ModelError(f"{source} would be replaced by what it becomes: choose another name")
    check_free(target, overwrite=overwrite)
    try:
        layers = tensors_to_layers(_named(_read(source)))
        weights = Weights(
            layers,
            scale_of(layers),
            activation="tanh",
            skip=False,
            input_range=(0.0, 1.0),
            provenance={
                "imported_from": source.name,
                "imported_sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
                "assumed": ASSUMED,
            },
        )
    except ModelError as error:
        raise ModelError(f"{source}: {error}") from error
    write_weights(target, weights)
    written, sha256 = read_weights(target)
    return card_of(written, name=target.stem, sha256=sha256)


def _read(path: Path) -> object:
    """Whatever the file holds, on the CPU."""
    try:
        _check_size(path)
    except OSError as error:
        raise ModelError(f"cannot be read: {error.strerror}") from error
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
        raise ModelError(
            f"not a checkpoint of tensors alone ({type(error).__name__}): save the network's "
            "state_dict() and import that"
        ) from error


def _check_size(path: Path) -> None:
    """Raise `ModelError` for a file that would not fit memory; checkpoints are zip archives."""
    size = path.stat().st_size
    with suppress(zipfile.BadZipFile), zipfile.ZipFile(path) as archive:
        size = max(size, sum(entry.file_size for entry in archive.infolist()))
    if size > MAX_CHECKPOINT:
        raise ModelError(f"has {size} bytes: a checkpoint has at most {MAX_CHECKPOINT}")


def _read_safetensors(path: Path) -> dict[str, object]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            ours = METADATA_KEY in (file.metadata() or {})
            content = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except OSError as error:
        raise ModelError(f"cannot be read: {error.strerror or error}") from error
    except SafetensorError as error:
        raise ModelError(f"not a whole safetensors file ({error})") from error
    if ours:
        raise ModelError("is a weights file of ours already: use it as it is")
    return content


def _named(content: object) -> dict[str, NDArray[np.generic]]:
    """Tensors by the field's names, without wrappers and prefixes; biases on all layers or none."""
    content = _unwrapped(content)
    if not isinstance(content, Mapping):
        raise ModelError(f"holds a {type(content).__name__}, not named tensors")
    tensors: dict[str, NDArray[np.generic]] = {}
    for name, value in content.items():
        bare = _bare(str(name))
        if bare in tensors:
            raise ModelError(f"holds {bare} twice, under different prefixes: which one is meant?")
        tensors[bare] = _array(str(name), value)
    biases = [f"{name}.bias" for name in LAYER_NAMES if f"{name}.bias" not in tensors]
    if 0 < len(biases) < len(LAYER_NAMES):
        raise ModelError(f"lacks {biases[0]}, other layers have a bias: the file is damaged")
    return tensors


def _unwrapped(content: object) -> object:
    """What lies within the wrappers; the innermost that holds named values."""
    for _ in range(NESTING):
        if not isinstance(content, Mapping):
            break
        inner = [content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)]
        content = inner[0] if inner else content
    return content


def _bare(name: str) -> str:
    """The name without its prefixes, however many."""
    while prefix := next((prefix for prefix in PREFIXES if name.startswith(prefix)), ""):
        name = name[len(prefix) :]
    return name


def _array(name: str, value: object) -> NDArray[np.generic]:
    """A dense floating-point tensor as float32; raises `ModelError` for everything else."""
    import torch

    if not isinstance(value, torch.Tensor) or not value.is_floating_point():
        raise ModelError(f"{name} is not a floating-point tensor")
    if value.layout != torch.strided or value.is_meta:
        raise ModelError(f"{name} is a sparse tensor or one without values: save it dense")
    if value.numel() * 4 > MAX_BYTES:
        raise ModelError(f"{name} has {value.numel()} values: too many for an ESPCN")
    array: NDArray[np.generic] = value.detach().float().numpy()
    return array
