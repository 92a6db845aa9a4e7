"""What `torchrun` tells each of the processes that it starts; nothing here imports torch."""

import os


def by_torchrun() -> bool:
    """Whether this process is one of several that train together."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def first() -> bool:
    """Whether this is the process that writes files and reports; so is one that is alone."""
    return not by_torchrun() or os.environ["RANK"] == "0"


def number_here() -> int:
    """This process's number among those of its machine."""
    return int(os.environ.get("LOCAL_RANK", "0")) if by_torchrun() else 0


def count_here() -> int:
    """How many processes share this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if by_torchrun() else 1
