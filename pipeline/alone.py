"""A tile in a process of its own: whoever crashes there is guilty, and nobody else is harmed."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from pipeline.errors import TileError

T = TypeVar("T")


def run_alone(function: Callable[..., T], call: object, upscaler: object) -> T:
    """What `function(call, upscaler)` returns, or raises; TileError if it ends its process."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as alone:
        try:
            return alone.submit(function, call, upscaler).result()
        except BrokenProcessPool as error:
            raise TileError(
                "the process that made it crashed, alone as well: the input crashes its reader",
                tile=getattr(call, "tile", None),
            ) from error
