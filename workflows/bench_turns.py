"""Processes that take turns, each with all its children: what is slow for one is slow for both."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from resource import struct_rusage

import psutil

LOOK = 0.05
"""Seconds between two looks at whether the running one has ended."""


def take_turns(turns: Mapping[int, float]) -> dict[int, struct_rusage]:
    """What each child process used with its children, by pid; `turns` are seconds, by pid.

    One runs while the others are stopped. Raises SystemExit when one fails; the others then end.
    """
    used = dict[int, struct_rusage]()
    try:
        for pid in turns:
            _tell(pid, psutil.Process.suspend)
        while len(used) < len(turns):
            for pid in turns.keys() - used.keys():
                _tell(pid, psutil.Process.resume)
                ended = _wait(pid, turns[pid])
                if ended is None:
                    _tell(pid, psutil.Process.suspend)
                else:
                    used[pid] = ended
    finally:
        for pid in turns.keys() - used.keys():
            _tell(pid, psutil.Process.kill)
    return used


def _wait(pid: int, seconds: float) -> struct_rusage | None:
    """What a process had used when it ended; None if it is still there after so many seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        ended, status, usage = os.wait4(pid, os.WNOHANG)
        if ended and status:
            code = os.waitstatus_to_exitcode(status)
            raise SystemExit(f"process {pid} failed with exit code {code}")
        if ended:
            return usage
        time.sleep(LOOK)
    return None


def _tell(pid: int, what: Callable[[psutil.Process], None]) -> None:
    """Suspend, resume or kill a process and all that came from it, as far as they are there."""
    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        for process in [parent, *parent.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                what(process)
