"""The command that tells somebody when a night went wrong: an e-mail, a webhook."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from workflows.batch.redact import HIDDEN, redact

TAIL = 2000
"""Bytes of what the command says on stderr of which the last line is passed on."""
PATIENCE = 5.0
"""Seconds for which a killed command is waited for."""
LONG = 6
"""Characters from which an argument may be a secret."""


def run_hook(command: str, summary_json: str, *, timeout: float = 60.0) -> str | None:
    """Run a command with a run's summary on its stdin; a warning in one line if that fails.

    No shell takes part: words are split, quotes are honoured, nothing is expanded. What takes
    longer than `timeout` seconds is killed with all it has started. Its arguments are never named
    in the warning, for they may hold the webhook's secret.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        return f"schedule.on_failure cannot be split into words ({error})"
    if not words:
        return "schedule.on_failure is empty"
    with TemporaryFile() as told, TemporaryFile() as said:  # pipes could block, files cannot
        told.write(summary_json.encode("utf-8", "backslashreplace"))
        told.seek(0)
        return _run(words, told, said, timeout)


def _run(words: list[str], told: IO[bytes], said: IO[bytes], timeout: float) -> str | None:
    name = Path(words[0]).name
    try:
        process = subprocess.Popen(
            words, stdin=told, stdout=subprocess.DEVNULL, stderr=said, start_new_session=True
        )
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        return f"schedule.on_failure: {name} cannot be started ({reason})"
    try:
        code = process.wait(timeout)
    except subprocess.TimeoutExpired:
        _kill(process)
        return f"schedule.on_failure: {name} took longer than {timeout:g} s and was killed"
    except BaseException:
        _kill(process)
        raise
    return f"schedule.on_failure: {name} ended with {code}{_last(said, words)}" if code else None


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a process and all it has started, unless it runs as somebody else."""
    with suppress(PermissionError):
        os.killpg(process.pid, signal.SIGKILL)  # its zombie keeps the group's number its own
    with suppress(subprocess.TimeoutExpired):
        process.wait(PATIENCE)


def _last(said: IO[bytes], words: list[str]) -> str:
    """What a command said last, without its own arguments and secrets: ' (...)', or nothing."""
    said.seek(max(said.seek(0, os.SEEK_END) - TAIL, 0))
    spoken = [line for line in said.read().decode("utf-8", "replace").split("\n") if line.strip()]
    if not spoken:
        return ""
    line = " ".join(spoken[-1].split())
    for word in words[1:]:
        line = line.replace(word, HIDDEN) if len(word) >= LONG else line
    return f" ({redact(line)})"
