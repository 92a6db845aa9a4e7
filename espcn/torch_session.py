"""Inference in torch: on CUDA devices, and on the CPU where it is asked for.

Kernels are chosen by shape, and another kernel rounds differently: every block has one and the same
shape, one band at a time, so that batching cannot change a bit either. Convolutions are
deterministic, TF32 is off, and nothing is tuned at run time.
"""

import threading
from typing import TYPE_CHECKING, Literal

from espcn.architecture import Weights
from espcn.devices import Placement
from espcn.errors import ModelError
from espcn.sessions import Pixels, missing

if TYPE_CHECKING:
    from torch import Tensor

BLOCKS: dict[Literal["cpu", "cuda"], int] = {"cpu": 256, "cuda": 1024}
"""Side of a block in low-resolution pixels: 0.5 GB of maps on a CUDA device at 1024."""

_DEVICE_LOCK = threading.Lock()
"""One thread of a process computes at a time; the others read and encode meanwhile."""


class TorchSession:
    """One network in torch on one device."""

    def __init__(self, weights: Weights, *, placement: Placement, threads: int) -> None:
        try:
            import torch

            from espcn.network import Network
        except ImportError as error:
            raise missing("torch", install="torch") from error
        device = placement.device
        if device == "cpu":
            torch.set_num_threads(threads)
        network = Network(weights).eval().requires_grad_(requires_grad=False)
        network.bf16_layers = 3 if placement.precision == "bf16" else 0
        self._network = network.to(device).use_channels_last()
        self._device = device
        self._side = BLOCKS[device] + 2 * weights.halo

    def run(self, pixels: Pixels) -> Pixels:
        """(C, b + 2*halo, b + 2*halo) -> (C, b*r, b*r), b being the device's block, no other."""
        import torch

        if pixels.shape[1:] != (self._side, self._side):
            raise ModelError(
                f"torch takes blocks of {self._side}x{self._side} px with halo, not "
                f"{pixels.shape[1]}x{pixels.shape[2]}: pad the tile and crop the result"
            )
        with _DEVICE_LOCK:
            try:
                fine = self._forward(torch.tensor(pixels)[None])
            except torch.cuda.OutOfMemoryError:
                torch.cuda.empty_cache()
                fine = self._retry(torch.tensor(pixels)[None])
        result: Pixels = fine[0].numpy()
        return result

    def _forward(self, pixels: "Tensor") -> "Tensor":
        import torch

        exact = torch.backends.cudnn.flags(
            enabled=True, benchmark=False, deterministic=True, allow_tf32=False
        )
        with torch.inference_mode(), exact:
            fine: Tensor = self._network(pixels.to(self._device)).cpu()
        return fine

    def _retry(self, pixels: "Tensor") -> "Tensor":
        import torch

        try:
            return self._forward(pixels)
        except torch.cuda.OutOfMemoryError as error:
            free, total = (size // 2**20 for size in torch.cuda.mem_get_info())
            raise ModelError(
                f"the CUDA device has {free} MiB free of {total}, too little for a block of "
                f"{self._side}x{self._side} px: end other programs on it or use device cpu"
            ) from error
