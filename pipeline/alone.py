"""A tile in a process of its own: whoever crashes there is guilty, and nobody else is harmed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from pipeline.errors import CrashError

T = TypeVar("T")


def process_of_its_own() -> ProcessPoolExecutor:
    """A process that Ctrl-C leaves alone, and that ends when the one that started it does."""
    spawn = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(1, mp_context=spawn, initializer=_follow)


def _follow() -> None:
    """What waits for work would wait for ever, for nobody tells it that its parent was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def run_alone(function: Callable[..., T], call: object, upscaler: object) -> T:
    """What `function(call, upscaler)` returns, or raises; CrashError if it ends its process."""
    with process_of_its_own() as alone:
        try:
            return alone.submit(function, call, upscaler).result()
        except BrokenProcessPool as error:
            raise CrashError(
                "the process that made it crashed, alone as well: the input crashes its reader",
                tile=getattr(call, "tile", None),
            ) from error
