"""Stringing parts together into one file, restartable, without ever holding everything twice.

After each move the file is synced and the progress recorded; only then are the parts cut back. A
kill in between costs at most the move under way.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from isal import isal_zlib

from pipeline.errors import DamagedStageError
from pipeline.stage import CHUNK, checksum, write_durably

RECORD = "assembled.json"
"""Where progress is recorded within the stage."""


@dataclass(frozen=True, slots=True)
class Move:
    """One step of the assembly."""

    runs: tuple[tuple[str, int, int], ...]
    """(part, offset, length) to append, in order."""
    cuts: tuple[tuple[str, int], ...]
    """(part, length) to cut parts back to afterwards; 0 removes them."""


@dataclass(frozen=True, slots=True)
class _Progress:
    """What is durable in the output."""

    moves: int
    """Moves done."""
    size: int
    """Bytes."""
    crc32: int
    """CRC-32 of them."""


def assemble(stage: Path, output: Path, header: bytes, moves: Iterable[Move]) -> None:
    """Write `header` and all moves to `output`, going on where an earlier call stopped.

    Raises DamagedStageError if what is there is not what was recorded.
    """
    record = stage / RECORD
    done = _resume(record, output)
    if done is None:
        output.write_bytes(header)
        done = _Progress(0, len(header), isal_zlib.crc32(header))
    with output.open("r+b") as file:
        file.truncate(done.size)
        file.seek(done.size)
        for move in itertools.islice(moves, done.moves, None):
            size, crc = done.size, done.crc32
            for run in move.runs:
                crc = _append(file, stage, run, crc)
                size += run[2]
            file.flush()
            os.fsync(file.fileno())
            done = _Progress(done.moves + 1, size, crc)
            write_durably(record, json.dumps([done.moves, done.size, done.crc32]).encode())
            _cut(stage, move)


def is_assembled(stage: Path, target: Path, size: int) -> bool:
    """Whether `target` is the finished file: a kill came between its renaming and the clean-up."""
    record = stage / RECORD
    if not record.exists() or not target.is_file() or target.stat().st_size != size:
        return False
    done = _Progress(*json.loads(record.read_text()))
    return done.size == size and checksum(target) == done.crc32


def _resume(record: Path, output: Path) -> _Progress | None:
    """The recorded progress, verified; None if nothing is recorded."""
    if not record.exists():
        return None
    done = _Progress(*json.loads(record.read_text()))
    if not output.exists() or checksum(output, length=done.size) != done.crc32:
        raise DamagedStageError("the half-assembled output was damaged; run again", uri=str(output))
    return done


def _append(file: IO[bytes], stage: Path, run: tuple[str, int, int], crc: int) -> int:
    """Copy one run; returns the checksum so far."""
    name, offset, length = run
    with (stage / name).open("rb") as part:
        part.seek(offset)
        while length:
            chunk = part.read(min(CHUNK, length))
            if not chunk:
                raise DamagedStageError(
                    f"the staged file {name} is too short; run again", uri=str(stage)
                )
            file.write(chunk)
            crc, length = isal_zlib.crc32(chunk, crc), length - len(chunk)
    return crc


def _cut(stage: Path, move: Move) -> None:
    """Give back the space of what was copied."""
    for name, length in move.cuts:
        path = stage / name
        if not length:
            path.unlink(missing_ok=True)
        elif path.stat().st_size > length:
            os.truncate(path, length)
