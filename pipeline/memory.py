"""Keeping freed memory for the next tile, in a process that makes many.

By default glibc maps and unmaps every large temporary array, and Dask tells it to give back all it
can at once: page faults then took a fifth of all CPU time.
"""

from __future__ import annotations

import ctypes
import sys
from functools import lru_cache

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Parameters of mallopt(3)."""
KEPT = 128 * 2**20
"""Bytes of freed memory that a process keeps."""
MAPPED = 32 * 2**20
"""Arrays up to this many bytes come from the heap; the most that glibc allows."""


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
