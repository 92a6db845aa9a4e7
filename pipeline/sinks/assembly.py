"""Putting one file together from the ends of parts, restartable, never holding everything twice.

    parts  | d | b |   | c | a |        output  | header | a | b | c | d | end |

The output grows in steps of a few hundredths of its size. After each it is synced and the progress
recorded; only then are the parts cut. A kill in between costs at most the step under way.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Protocol

from isal import isal_zlib

from pipeline.errors import DamagedStageError
from pipeline.serial import from_json, to_json
from pipeline.sinks.parts import Piece, cut, take
from pipeline.stage import checksum, write_durably

RECORD = "assembled.json"
"""Where progress is recorded within the stage, unless another name is given."""
STEPS = 20
"""Steps that an output of usual size grows in: what it may take twice is a twentieth of it."""
LEAST_STEP, MOST_STEP = 2**20, 256 * 2**20
"""Bytes of a step of small and of huge outputs."""

Data = bytes | memoryview
Checked = tuple[Data, int]
"""Bytes with their CRC-32, for everything is checked once."""


class Joiner(Protocol):
    """How pieces become bytes of the output."""

    state: int
    """What it must be told to go on after an interruption; recorded with the progress."""

    def join(self, pieces: Sequence[Piece]) -> Iterator[Checked]:
        """The bytes that come of one step's pieces."""

    def end(self) -> Data:
        """What follows the last of them."""


@dataclass
class Verbatim:
    """Pieces stand in the output as they are."""

    stage: Path
    """Where they lie."""
    tail: bytes = b""
    """What follows the last of them."""
    state: int = 0
    """Not needed."""

    def join(self, pieces: Sequence[Piece]) -> Iterator[Checked]:
        """The bytes of the pieces."""
        return take(self.stage, pieces)

    def end(self) -> Data:
        """The tail."""
        return self.tail


@dataclass(frozen=True, slots=True)
class _Progress:
    """What of the output is durable."""

    steps: int
    """Steps done."""
    size: int
    """Bytes."""
    crc32: int
    """CRC-32 of them."""
    state: int
    """Of the joiner."""
    whole: bool = False
    """Whether nothing is left to do."""


def checked(data: Data) -> Checked:
    """Bytes that have no CRC-32 yet."""
    return data, isal_zlib.crc32(data)


def in_steps(pieces: Iterable[Piece], size: int) -> Iterator[list[Piece]]:
    """Pieces of an output of `size` bytes, gathered in steps."""
    least = min(max(size // STEPS, LEAST_STEP), MOST_STEP)
    step, held = list[Piece](), 0
    for piece in pieces:
        step.append(piece)
        held += piece.length
        if held >= least:
            yield step
            step, held = [], 0
    if step:
        yield step


def assemble(
    stage: Path,
    output: Path,
    header: bytes,
    steps: Iterable[Sequence[Piece]],
    joiner: Joiner,
    *,
    record: str = RECORD,
) -> None:
    """Write `header`, all steps and the end to `output`, going on where an earlier call stopped.

    Raises DamagedStageError if what is there is not what was recorded.
    """
    done = _resume(stage / record, output)
    if done is None:
        output.write_bytes(header)
        done = _Progress(0, len(header), isal_zlib.crc32(header), joiner.state)
    joiner.state = done.state
    with output.open("r+b") as file:
        file.truncate(done.size)
        file.seek(done.size)
        for number, step in enumerate(steps):
            if number >= done.steps:
                done = _append(file, done, joiner.join(step))
                done = replace(done, steps=number + 1, state=joiner.state)
                _record(stage / record, file, done)
            cut(stage, step)
        if not done.whole:
            done = replace(_append(file, done, [checked(joiner.end())]), whole=True)
            _record(stage / record, file, done)


def is_assembled(stage: Path, target: Path, *, record: str = RECORD) -> bool:
    """Whether `target` is the finished file: a kill came between its renaming and the clean-up."""
    done = _recorded(stage / record)
    if done is None or not done.whole or not target.is_file():
        return False
    return target.stat().st_size == done.size and checksum(target) == done.crc32


def _resume(record: Path, output: Path) -> _Progress | None:
    """The recorded progress, verified; None if nothing is recorded."""
    done = _recorded(record)
    if done and not (output.exists() and checksum(output, length=done.size) == done.crc32):
        raise DamagedStageError("the half-assembled output was damaged", uri=str(output))
    return done


def _recorded(record: Path) -> _Progress | None:
    try:
        return from_json(_Progress, json.loads(record.read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedStageError(f"{record.name} was damaged", uri=str(record.parent)) from error


def _append(file: IO[bytes], done: _Progress, data: Iterable[Checked]) -> _Progress:
    """The progress once `data` is written."""
    size, whole = done.size, done.crc32
    for chunk, crc in data:
        file.write(chunk)
        size, whole = size + len(chunk), isal_zlib.crc32_combine(whole, crc, len(chunk))
    return replace(done, size=size, crc32=whole)


def _record(record: Path, file: IO[bytes], done: _Progress) -> None:
    """Make progress durable: the bytes first."""
    file.flush()
    os.fsync(file.fileno())
    write_durably(record, json.dumps(to_json(done)).encode())
