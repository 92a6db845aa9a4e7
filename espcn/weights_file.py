"""Weights on disk: safetensors, whose shapes tell scale and bands, and one JSON entry for the rest.

    tensors    feature_map_layer.0.weight  (n1, C, f1, f1)        and .bias where there is one
               feature_map_layer.2.weight  (n2, n1, f2, f2)
               sub_pixel_layer.0.weight    (C * r**2, n2, f3, f3)
    metadata   "espcn": {"version": 1, "activation": "relu", "skip": true,
                         "input_range": null, "metrics": {..}, "provenance": {..},
                         "bands": ["B02", ..]}                 only where they are known

One entry rather than many, because safetensors writes entries in no fixed order, and the same
network should give the same bytes. Nothing here imports torch.
"""

import hashlib
import json
import os
import uuid
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espcn.architecture import Layer, Weights, scale_of
from espcn.errors import ModelError

VERSION = 1
"""Of the metadata; a file with a higher one is refused."""

MAX_BYTES = 64 * 1024**2
"""Largest file read: an ESPCN takes about 100 kB."""

LAYER_NAMES = ("feature_map_layer.0", "feature_map_layer.2", "sub_pixel_layer.0")
"""The field's names for the three convolutions."""

PICKLED = (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
"""How checkpoints of torch begin: zip archives, and pickles of any protocol."""

METADATA_KEY = "espcn"
"""Of the entry that tells our files from others."""


def read_weights(path: Path) -> tuple[Weights, str]:
    """Weights and the SHA-256 of the file's bytes, lower-case hexadecimal.

    Raises `ModelError` for whatever cannot be read as an ESPCN, with the file's name.
    """
    data = _read_bytes(path)
    try:
        metadata, tensors = _parse(data)
        weights = _build(metadata, tensors)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    return weights, hashlib.sha256(data).hexdigest()


def write_weights(path: Path, weights: Weights) -> None:
    """Write atomically; raises `ModelError` if it cannot."""
    write_atomically(path, weights_to_bytes(weights))


def weights_to_bytes(weights: Weights) -> bytes:
    """A weights file; the same weights give the same bytes. Raises `ModelError` for too many."""
    from safetensors.numpy import save

    data = save(
        weights_to_tensors(weights),
        metadata={METADATA_KEY: json.dumps(_facts(weights), sort_keys=True)},
    )
    if len(data) > MAX_BYTES:
        raise ModelError(f"the weights would have {len(data)} bytes: the limit is {MAX_BYTES}")
    return data


def check_free(path: Path, *, overwrite: bool) -> None:
    """Raise `ModelError` where something exists that may not be replaced."""
    if path.exists() and not overwrite:
        raise ModelError(f"{path} exists: choose another name or give --overwrite")


def write_atomically(path: Path, data: bytes, *, temporary: Path | None = None) -> None:
    """Put a file in place whole and durably, or not at all; raises `ModelError` if it cannot.

    `temporary` is its name until it is whole; one that nobody else chooses unless given.
    """
    temporary = temporary or path.with_name(f".{path.name}.{os.getpid()}.{uuid.uuid4().hex}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise ModelError(f"cannot write {path}: {error.strerror}") from error


def tensors_to_layers(tensors: dict[str, NDArray[np.generic]]) -> tuple[Layer, ...]:
    """The three convolutions from exactly the expected tensors; raises `ModelError` otherwise."""
    known = {f"{name}.{part}" for name in LAYER_NAMES for part in ("weight", "bias")}
    missing = [f"{name}.weight" for name in LAYER_NAMES if f"{name}.weight" not in tensors]
    odd = sorted(set(tensors) - known)
    if missing or odd:
        named = f"lacks {missing[0]}" if missing else f"holds the unknown {odd[0]}"
        raise ModelError(f"not an ESPCN: it {named}; need {', '.join(LAYER_NAMES)}")
    return tuple(
        Layer(_floats(tensors, f"{name}.weight"), _optional(tensors, f"{name}.bias"))
        for name in LAYER_NAMES
    )


def weights_to_tensors(weights: Weights) -> dict[str, NDArray[np.float32]]:
    """The tensors of a file by name, float32 and C-contiguous."""
    tensors = {}
    for name, layer in zip(LAYER_NAMES, weights.layers, strict=True):
        tensors[f"{name}.weight"] = np.ascontiguousarray(layer.weight, dtype=np.float32)
        if layer.bias is not None:
            tensors[f"{name}.bias"] = np.ascontiguousarray(layer.bias, dtype=np.float32)
    return tensors


def _read_bytes(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ModelError(f"{path} has {size} bytes: a weights file has at most {MAX_BYTES}")
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read the weights file {path}: {error.strerror}") from error


def _parse(data: bytes) -> tuple[dict[str, str], dict[str, NDArray[np.generic]]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        tensors = load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        # only now: a header of 896 bytes begins like a pickle too
        if data[:2] in PICKLED:
            raise ModelError(
                "is a pickled checkpoint, which can run code: convert it by `espcn import`"
            ) from error
        raise ModelError(
            f"not a whole safetensors file ({error}): copy or train it again"
        ) from error
    return header.get("__metadata__") or {}, tensors


def _build(metadata: dict[str, str], tensors: dict[str, NDArray[np.generic]]) -> Weights:
    if METADATA_KEY not in metadata:
        raise ModelError("has no espcn metadata, so its activation is unknown: use `espcn import`")
    layers = tensors_to_layers(tensors)
    try:
        return _weights(layers, json.loads(metadata[METADATA_KEY]))
    except ModelError:
        raise
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise ModelError(f"its espcn metadata is damaged ({error!r}): write it again") from error


def _weights(layers: tuple[Layer, ...], facts: dict[str, Any]) -> Weights:
    version, span = int(facts["version"]), facts["input_range"]
    if version > VERSION:
        raise ModelError(f"has format version {version}, this espcn reads {VERSION}: update it")
    weights = Weights(
        layers,
        scale_of(layers),
        activation=facts["activation"],
        skip=bool(facts["skip"]),
        input_range=None if span is None else (float(span[0]), float(span[1])),
        metrics={str(key): float(value) for key, value in facts["metrics"].items()},
        provenance={str(key): str(value) for key, value in facts["provenance"].items()},
        band_names=_names(facts.get("bands", [])),
    )
    if span is None and not weights.equivariant:
        raise ModelError("is not equivariant and declares no input_range: write it with one")
    return weights


def _names(names: object) -> tuple[str, ...]:
    if not isinstance(names, list):
        raise TypeError("bands is not a list of names")
    return tuple(str(name) for name in names)


def _facts(weights: Weights) -> dict[str, object]:
    names = {"bands": list(weights.band_names)} if weights.band_names else {}
    return names | {
        "version": VERSION,
        "activation": weights.activation,
        "skip": weights.skip,
        "input_range": weights.input_range,
        "metrics": weights.metrics,
        "provenance": weights.provenance,
    }


def _floats(tensors: dict[str, NDArray[np.generic]], name: str) -> NDArray[np.float32]:
    tensor = tensors[name]
    if not np.issubdtype(tensor.dtype, np.floating):
        raise ModelError(f"{name} is {tensor.dtype}: need a floating-point tensor")
    with np.errstate(over="ignore"):  # what overflows becomes infinite, and is refused as such
        return tensor.astype(np.float32)


def _optional(tensors: dict[str, NDArray[np.generic]], name: str) -> NDArray[np.float32] | None:
    return _floats(tensors, name) if name in tensors else None
