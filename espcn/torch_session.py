"""Inference in torch: on CUDA devices, and on the CPU where it is asked for.

Kernels are chosen by shape, and another kernel rounds differently: every block has one and the same
shape, one band at a time, so that batching cannot change a bit either. Convolutions are
deterministic, TF32 is off, and nothing is tuned at run time.

On CUDA threads only queue their blocks one after the other, and wait for their own without a lock:

    thread 1   copy in   queue  ...............  take
    thread 2          copy in   queue  ......................  take
    device                        | network 1 | network 2 |
    copier                                    | out 1 |     | out 2 |
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from socket import gethostname
from typing import TYPE_CHECKING, Literal, TypeVar

from espcn.architecture import Weights
from espcn.devices import Placement, require_cuda
from espcn.errors import ModelError
from espcn.sessions import Pixels, missing

if TYPE_CHECKING:
    from torch import Tensor
    from torch.cuda import Event, Stream

    from espcn.network import Network

Result = TypeVar("Result")

BLOCKS: dict[Literal["cpu", "cuda"], int] = {"cpu": 256, "cuda": 1024}
"""Side of a block in low-resolution pixels: 0.5 GB of maps on a CUDA device at 1024."""

_QUEUE = threading.Lock()
"""One thread of a process queues or computes at a time: the next block reuses the maps of the one
before, so that a device holds those of one block only, and cuDNN's flags belong to the process."""


class TorchSession:
    """One network in torch on one device."""

    def __init__(self, weights: Weights, *, placement: Placement, threads: int) -> None:
        try:
            import torch

            from espcn.network import Network
        except ImportError as error:
            raise missing("torch", install="torch") from error
        on_cuda = placement.device == "cuda"
        if on_cuda:
            require_cuda()
        else:
            torch.set_num_threads(threads)
        network = Network(weights).eval().requires_grad_(requires_grad=False)
        network.bf16_layers = 3 if placement.precision == "bf16" else 0
        self._device = placement.device
        self._network = _put(network, placement.device)
        if not on_cuda or placement.precision == "bf16":
            # on an H200 float32 runs 1.5 times as fast the other way
            self._network.use_channels_last()
        self._copier = torch.cuda.Stream() if on_cuda else None  # type: ignore[no-untyped-call]
        block = BLOCKS[placement.device]
        self._side = block + 2 * weights.halo
        self._fine_shape = (weights.bands, block * weights.scale, block * weights.scale)

    def run(self, pixels: Pixels) -> Pixels:
        """(C, b + 2*halo, b + 2*halo) -> (C, b*r, b*r), b being the device's block, no other."""
        fine = self._on_cpu(pixels) if self._copier is None else self._on_cuda(pixels, self._copier)
        result: Pixels = fine.numpy()
        return result

    def _on_cpu(self, pixels: Pixels) -> "Tensor":
        import torch

        return self._patiently(partial(self._forward, torch.tensor(pixels)))

    def _on_cuda(self, pixels: Pixels, copier: "Stream") -> "Tensor":
        """Pinned on both ways, which is several times as fast; torch keeps freed pinned memory."""
        import torch

        coarse = torch.empty(pixels.shape, pin_memory=True)
        coarse.numpy()[:] = pixels
        fine = torch.empty(self._fine_shape, pin_memory=True)
        self._patiently(partial(self._queue, coarse, fine, copier)).synchronize()
        return fine

    def _patiently(self, attempt: Callable[[], Result]) -> Result:
        """`attempt`, one thread at a time; raises ModelError when it finds no room twice."""
        import torch

        with _QUEUE:
            for _ in range(2):
                # what a failed attempt holds on the device is free again behind this block
                with suppress(torch.cuda.OutOfMemoryError):
                    return attempt()
                torch.cuda.empty_cache()
        free, total = (size // 2**20 for size in torch.cuda.mem_get_info())
        raise ModelError(
            f"the CUDA device of {gethostname()} has {free} MiB free of {total}, too little for a "
            f"block of {self._side}x{self._side} px: end other programs on it or use device cpu"
        )

    def _forward(self, coarse: "Tensor") -> "Tensor":
        """(C, y, x) to (C, y, x) on the device; on CUDA it returns before there is anything."""
        with _exact():
            fine: Tensor = self._network(coarse[None].to(self._device, non_blocking=True))
        return fine[0]

    def _queue(self, coarse: "Tensor", fine: "Tensor", copier: "Stream") -> "Event":
        """Queue the way there, the network, and the way back into `fine`; the event ends them."""
        import torch

        light = self._forward(coarse)
        copier.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(copier):
            fine.copy_(light, non_blocking=True)
        light.record_stream(copier)  # or the next block would overwrite it
        # an event that sleeps: others need the core
        copied = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        copied.record(copier)
        return copied


def _put(network: "Network", device: Literal["cpu", "cuda"]) -> "Network":
    """The network on its device; CUDA gives many reasons why not, all as RuntimeError."""
    try:
        return network.to(device)
    except RuntimeError as error:
        raise ModelError(
            f"the CUDA device of {gethostname()} cannot be used "
            f"({str(error).partition(chr(10))[0]}): end other programs on it or use device cpu"
        ) from error


@contextmanager
def _exact() -> Iterator[None]:
    """No gradients, deterministic convolutions in full float32."""
    import torch

    convolutions = torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    )
    with torch.inference_mode(), convolutions:
        yield
