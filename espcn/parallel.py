"""Several processes that train one network, as `torchrun` starts them: one GPU or some cores each.

Every process draws the same patches and keeps its share of each batch; gradients are averaged, so
that all of them take the same step. Only the first writes files and reports.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, distributed

from espcn import launched
from espcn.errors import ModelError


@contextmanager
def joined(device: str) -> Iterator[str]:
    """Meet the other processes, if `torchrun` started any; gives this process's device."""
    if not launched.by_torchrun():
        yield device
        return
    if device == "cuda":
        device = f"cuda:{launched.number_here()}"
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield device
    finally:
        distributed.destroy_process_group()


def number_of_processes() -> int:
    """How many train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def share_of(batch: int) -> slice:
    """The patches of a batch that this process takes; raises `ModelError` for uneven shares."""
    count = number_of_processes()
    if batch % count:
        raise ModelError(
            f"a batch of {batch} patches cannot be shared by {count} processes: make it a multiple"
        )
    rank = distributed.get_rank() if distributed.is_initialized() else 0
    return slice(rank * batch // count, (rank + 1) * batch // count)


def averaged(tensors: Sequence[Tensor]) -> Sequence[Tensor]:
    """The mean of each tensor over all processes, in one exchange."""
    count = number_of_processes()
    if count == 1:
        return tensors
    together = torch.cat([tensor.reshape(-1) for tensor in tensors])
    distributed.all_reduce(together)
    parts = torch.split(together.div_(count), [tensor.numel() for tensor in tensors])
    return [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]


@torch.no_grad()
def spread(tensors: Sequence[Tensor]) -> None:
    """Make tensors what they are in the first process, in place."""
    if number_of_processes() == 1:
        return
    for tensor in tensors:
        first = tensor.contiguous()
        distributed.broadcast(first, src=0)
        tensor.copy_(first)


def agreed(number: int) -> int:
    """The first process's number, for all."""
    if number_of_processes() == 1:
        return number
    shared = [number]
    distributed.broadcast_object_list(shared, src=0)
    return shared[0]
