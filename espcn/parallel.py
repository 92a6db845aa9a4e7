"""Several processes that train one network, as `torchrun` starts them: one GPU or some cores each.

Every process draws the same patches and keeps its share of each batch; gradients are averaged, so
that all of them take the same step. Only the first writes files and reports.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, distributed

from espcn.errors import ModelError


@contextmanager
def joined(device: str) -> Iterator[str]:
    """Meet the other processes, if `torchrun` started any; gives this process's device."""
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        yield device
        return
    if device == "cuda":
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield device
    finally:
        distributed.destroy_process_group()


def number_of_processes() -> int:
    """How many train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def is_first() -> bool:
    """Whether this process is the one that writes and reports."""
    return not distributed.is_initialized() or distributed.get_rank() == 0


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
    """The mean of each tensor over all processes; in place."""
    count = number_of_processes()
    if count > 1:
        for tensor in tensors:
            distributed.all_reduce(tensor)
            tensor.div_(count)
    return tensors


def agreed(number: int) -> int:
    """The first process's number, for all."""
    if number_of_processes() == 1:
        return number
    shared = [number]
    distributed.broadcast_object_list(shared, src=0)
    return shared[0]
