"""Keeping freed memory for the next tile, in a process that makes many.

By default glibc maps and unmaps every large temporary array, and Dask tells it to give back all it
can at once: page faults then took a fifth of all CPU time.
"""

from __future__ import annotations

import ctypes
import math
import sys
import threading
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Parameters of mallopt(3)."""
KEPT = 128 * 2**20
"""Bytes of freed memory that a process keeps."""
MAPPED = 32 * 2**20
"""Arrays up to this many bytes come from the heap; the most that glibc allows."""

_kept = threading.local()


@lru_cache(maxsize=1)
def keep_freed_memory() -> None:
    """Do so in this process; nothing happens where the C library is not glibc."""
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(TRIM_THRESHOLD, KEPT)
    mallopt(MMAP_THRESHOLD, MAPPED)


def scratch(use: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """An array that the thread's next call for the same use overwrites; it holds anything.

    Tiles are larger than what the heap keeps: without this each would be mapped and zeroed anew.
    Blocks come in dozens, and one that is in the cache already is written faster.
    """
    size = math.prod(shape) * dtype.itemsize
    buffers: dict[str, NDArray[np.uint8]] = _kept.__dict__
    if use not in buffers or buffers[use].nbytes < size:
        buffers[use] = np.empty(size, np.uint8)
    return np.asarray(buffers[use][:size].view(dtype).reshape(shape))
