"""Which device and backend run a model, decided once, when it is loaded."""

import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from socket import gethostname
from typing import Literal, get_args

from espcn.errors import ModelError

PER_PROCESS = 3 * 2**30
"""Bytes of device memory that a process is counted on to use; 2.5 GB were seen."""
Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["fp32", "bf16"]
Backend = Literal["auto", "onnxruntime", "openvino", "torch"]


@dataclass(frozen=True, slots=True)
class Placement:
    """Where and how a model runs."""

    device: Literal["cpu", "cuda"]
    """The kind of processor."""

    precision: Precision
    """bf16 lowers the convolutions; pixels and the bicubic skip stay float32."""

    backend: Literal["onnxruntime", "openvino", "torch", "numpy"]
    """What computes; numpy for `nearest` alone."""


def place(
    *, device: Device, precision: Precision, backend: Backend, here: bool = True
) -> Placement:
    """Resolve what was asked for; raises `ModelError` when it cannot be had.

    Unless the model is to run `here`, device cuda is believed: the session looks for it.
    """
    _check("device", device, get_args(Device))
    _check("precision", precision, get_args(Precision))
    _check("backend", backend, get_args(Backend))
    if device == "cuda" and here:
        require_cuda()
    wants_torch = backend in ("auto", "torch")
    on_cuda = device == "cuda" or (device == "auto" and wants_torch and cuda_available())
    if on_cuda:
        _require(backend, ("auto", "torch"), "device cuda")
        return Placement("cuda", precision, "torch")
    if backend == "torch":
        return Placement("cpu", precision, "torch")
    if precision == "bf16":
        _require(backend, ("auto", "openvino"), "precision bf16 on a CPU")
        return Placement("cpu", precision, "openvino")
    _require(backend, ("auto", "onnxruntime"), "precision fp32 on a CPU")
    return Placement("cpu", precision, "onnxruntime")


def cuda_available() -> bool:
    """Whether torch can compute on a CUDA device; imports torch only where one may exist."""
    if find_spec("torch") is None or not _may_have_cuda():
        return False
    import torch

    return bool(torch.cuda.is_available())


def require_cuda() -> None:
    """Raise `ModelError` unless torch can compute on a CUDA device of this machine."""
    if not cuda_available():
        raise ModelError(
            f"no CUDA device can be used on {gethostname()}: check nvidia-smi there and that "
            "torch is a CUDA build, or use device cpu"
        )


def cuda_devices() -> int:
    """How many CUDA devices torch can compute on here."""
    if not cuda_available():
        return 0
    import torch

    return int(torch.cuda.device_count())


def cuda_room() -> int:
    """How many processes the CUDA device with the least memory has room for; 0 without devices."""
    if not cuda_available():
        return 0
    import torch

    found = range(torch.cuda.device_count())
    return min(torch.cuda.get_device_properties(i).total_memory for i in found) // PER_PROCESS


def _may_have_cuda() -> bool:
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1"):
        return False
    devices = Path("/dev")
    return os.name == "nt" or (devices / "dxg").exists() or any(devices.glob("nvidia*"))


def _check(option: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ModelError(f"{option} {value!r} is unknown: choose from {', '.join(allowed)}")


def _require(backend: Backend, allowed: tuple[str, ...], reason: str) -> None:
    if backend not in allowed:
        raise ModelError(f"backend {backend} cannot serve {reason}: use backend {allowed[-1]}")
