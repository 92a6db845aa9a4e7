"""A model ready to run: `load` gives an `Upscaler`, which turns pixels into more pixels.

       halo  h  halo                            h * scale
      +----+-----+----+                        +-----------+
      |    :     :    |                        |           |
      |- - +-----+ - -|     upscaler(pixels)   |           |  w * scale
    w |    |     |    |     --------------->   |           |
      |- - +-----+ - -|                        |           |
      |    :     :    |                        +-----------+
      +----+-----+----+

Convolutions are valid and the halo is the receptive field's radius: what comes out depends on the
pixels under it and on nothing else, so tiles fit together exactly.
"""

import threading
from dataclasses import dataclass, field
from functools import lru_cache
from typing import cast

import numpy as np
from numpy.typing import NDArray

from espcn import onnxruntime_session, openvino_session, torch_session
from espcn.card import Card
from espcn.devices import Backend, Device, Placement, Precision, place
from espcn.errors import ModelError
from espcn.models import Model, address_of, read_model
from espcn.nearest import Scalar, replicate
from espcn.sessions import Session

_OPENING = threading.Lock()
"""Threads that need the same session at once wait for one to make it."""


@dataclass(frozen=True, slots=True)
class Address:
    """What names a loaded model, on every process that can see its file."""

    model: str
    """Name, or absolute path of a weights file."""

    scale: int
    """Its enlargement."""

    placement: Placement
    """Resolved where it was loaded, so that all workers of a run compute the same bytes."""

    threads: int
    """Threads of one call."""

    sha256: str
    """Of the weights; a worker that finds others refuses to run."""


@dataclass(frozen=True, slots=True)
class Upscaler:
    """Callable; shared by threads; pickled as an address. The session is made at the first call."""

    card: Card = field(compare=False)
    """The model's facts; they follow from the address, which alone is compared and hashed."""

    address: Address
    """What is pickled in place of a session."""

    @property
    def scale(self) -> int:
        """Output pixels per input pixel along each axis."""
        return self.card.scale

    @property
    def halo(self) -> int:
        """Low-resolution pixels of context that a call consumes on every side."""
        return self.card.halo

    @property
    def bands(self) -> int:
        """Bands taken at once; 1 means any number, one by one."""
        return self.card.bands

    @property
    def band_names(self) -> tuple[str, ...]:
        """What each of `bands` shows, in order; empty where unknown."""
        return self.card.band_names

    @property
    def input_range(self) -> tuple[float, float] | None:
        """Range of values that it was trained on; None where it needs no normalisation."""
        return self.card.input_range

    @property
    def value_range(self) -> tuple[float, float] | None:
        """Values of its training data that `input_range` stands for; None where unknown."""
        return self.card.value_range

    @property
    def native(self) -> bool:
        """Whether any dtype is taken and returned; otherwise float32 only."""
        return self.address.placement.backend == "numpy"

    @property
    def fixed(self) -> bool:
        """Whether every call must have exactly `block` + 2 * `halo` pixels per side.

        Then blocks must also lie on one grid over the whole scene, or results depend on tiling.
        """
        return self.address.placement.backend in ("torch", "openvino")

    @property
    def block(self) -> int:
        """Side, without halo, of the blocks that are fastest here, in low-resolution pixels."""
        placement = self.address.placement
        if placement.backend == "torch":
            return torch_session.BLOCKS[placement.device]
        if placement.backend == "openvino":
            return openvino_session.BLOCK
        return onnxruntime_session.BLOCK

    def __call__(self, pixels: NDArray[Scalar], /) -> NDArray[Scalar]:
        """(band, h + 2*halo, w + 2*halo) float32 -> (band, h*scale, w*scale) float32.

        Values in any unit when the card says equivariant, in its `input_range` otherwise. With
        `card.bands` 1 there may be any number of bands. `nearest` keeps any dtype. Raises
        `ModelError` for other shapes and dtypes.
        """
        self._check(pixels)
        if self.native:
            return replicate(pixels, self.scale)
        return cast("NDArray[Scalar]", self._run(pixels, split=False))

    def planes(self, pixels: NDArray[np.float32], /, *, band: int = 0) -> NDArray[np.float32]:  # noqa: ARG002 - see its docstring
        """The same values before they are put in their places: (band, R, R, y, x) float32.

        Fine pixel (R*y + i, R*x + j) is at [band, i, j, y, x], so whoever converts the values can
        put them in their places as well, which saves a pass over them. R is that of the backend,
        1 where it has nothing to save. Planes may reach beyond h*scale and w*scale, and are good
        until the thread's next call. Which `band` of
        the scene comes first makes no difference here; to `espcn.Consistent` it may.
        """
        if self.address.placement.backend not in ("onnxruntime", "openvino"):
            return self(pixels)[:, None, None]
        self._check(pixels)
        return self._run(pixels, split=True)

    def __reduce__(self) -> "tuple[object, tuple[Address]]":
        return _reopen, (self.address,)

    def _run(self, pixels: NDArray[np.generic], *, split: bool) -> NDArray[np.float32]:
        session, bands = _session(self.address, split=split), self.card.bands
        values = np.ascontiguousarray(pixels, dtype=np.float32)
        if len(values) == bands:
            return session.run(values)
        parts = [session.run(values[i : i + bands]).copy() for i in range(0, len(values), bands)]
        return np.concatenate(parts)

    def _check(self, pixels: NDArray[np.generic]) -> None:
        name, smallest = self.card.name, 2 * self.halo + 1
        if pixels.ndim != 3 or min(pixels.shape[1:]) < smallest or pixels.shape[0] < 1:
            raise ModelError(
                f"{name} cannot take an array of shape {pixels.shape}: need (band, y, x) with "
                f"y and x of at least {smallest}, halo included"
            )
        side = self.block + 2 * self.halo
        if self.fixed and pixels.shape[1:] != (side, side):
            raise ModelError(
                f"{self.address.placement.backend} takes blocks of {side}x{side} px with halo, not "
                f"{pixels.shape[1]}x{pixels.shape[2]}: pad the tile and crop the result"
            )
        if self.card.bands not in (1, pixels.shape[0]):
            raise ModelError(
                f"{name} mixes {self.card.bands} bands and got {pixels.shape[0]}: select the "
                f"bands it was trained on, in their order"
            )
        if not self.native and pixels.dtype != np.float32:
            raise ModelError(f"{name} cannot take {pixels.dtype} pixels: convert them to float32")


def load(
    model: str,
    *,
    scale: int | None = None,
    device: Device = "auto",
    precision: Precision = "fp32",
    backend: Backend = "auto",
    threads: int = 1,
    here: bool = True,
) -> Upscaler:
    """Find a model and decide where it runs; see `describe` for `model` and `scale`.

    A CPU runs float32 in ONNX Runtime and bf16 in OpenVINO; CUDA runs torch. `device` auto is cuda
    where torch finds one. `bicubic` and `nearest` always run on the CPU in full precision.
    `threads` serve one call. What is loaded for other machines only need not run `here`: device
    cuda is then looked for there. Raises `ModelError` when the model, device or package is not
    there.
    """
    if threads < 1:
        raise ModelError(f"{threads} threads cannot run a model: need at least 1")
    found = read_model(model, scale=scale)
    placement = place(device=device, precision=precision, backend=backend, here=here)
    if found.weights is None:
        placement = Placement("cpu", "fp32", "numpy")
    elif not found.weights.layers:
        placement = Placement("cpu", "fp32", "onnxruntime")
    card = found.card
    return Upscaler(card, Address(address_of(model), card.scale, placement, threads, card.sha256))


@lru_cache(maxsize=64)
def _reopen(address: Address) -> Upscaler:
    return Upscaler(_read_again(address).card, address)


def _session(address: Address, *, split: bool) -> Session:
    with _OPENING:
        return _open_session(address, split)


@lru_cache(maxsize=8)
def _open_session(address: Address, split: bool) -> Session:
    weights, placement = _read_again(address).weights, address.placement
    assert weights is not None, "nearest has no session"
    if placement.backend == "torch":
        return torch_session.TorchSession(weights, placement=placement, threads=address.threads)
    if placement.backend == "openvino":
        return openvino_session.OpenVinoSession(weights, threads=address.threads, split=split)
    return onnxruntime_session.OnnxRuntimeSession(weights, threads=address.threads, split=split)


def _read_again(address: Address) -> Model:
    """The model at an address, which must still be the one that was loaded."""
    model = read_model(address.model, scale=address.scale)
    if model.card.sha256 != address.sha256:
        raise ModelError(
            f"{address.model} has sha256 {model.card.sha256[:12]}.. here and "
            f"{address.sha256[:12]}.. where it was loaded: give every worker the same file"
        )
    return model
