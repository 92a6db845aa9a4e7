"""The durable record of which tiles are staged: append-only, fsynced, one JSON object a line.

The first line names the plan. A torn last line, left by a kill in the middle of a write, is cut
off when the journal is opened again; any other damage makes it unusable.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pipeline.serial import from_json, to_json
from pipeline.statistics import Statistics


@dataclass(frozen=True, slots=True)
class Staged:
    """A file of the staging directory."""

    name: str
    """Path relative to the staging directory."""
    size: int
    """Bytes."""
    crc32: int
    """CRC-32 of all bytes."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a worker says of a finished tile: all that travels back."""

    tile: int
    """Index of the tile."""
    files: tuple[Staged, ...]
    """The files that hold it."""
    statistics: tuple[Statistics, ...] = ()
    """Of each band."""
    clipped: int = 0
    """Values that did not fit the data type."""
    seconds: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Wall time of reading, inference and encoding with writing."""
    cpu: float = 0.0
    """CPU time of the thread that made it; the rest of the wall time it waited."""


class Journal:
    """An open journal: the receipts so far, and a way to add one durably."""

    def __init__(self, path: Path, plan: str, receipts: dict[int, Receipt]) -> None:
        self.path = path
        """Where it lies."""
        self.plan = plan
        """Digest of the plan it belongs to."""
        self.receipts = receipts
        """Receipts by tile."""

    def add(self, *receipts: Receipt) -> None:
        """Append receipts and make them durable; raises OSError."""
        lines = [json.dumps(to_json(receipt), separators=(",", ":")) for receipt in receipts]
        append_durably(self.path, "".join(f"{line}\n" for line in lines))
        self.receipts.update({receipt.tile: receipt for receipt in receipts})

    def forget(self, tiles: set[int]) -> None:
        """Drop receipts whose files are damaged: their tiles are made again."""
        self.receipts = {t: r for t, r in self.receipts.items() if t not in tiles}


def create_journal(path: Path, plan: str) -> Journal:
    """Begin a journal."""
    append_durably(path, json.dumps({"plan": plan}) + "\n")
    return Journal(path, plan, {})


def open_journal(path: Path) -> Journal | None:
    """The journal at `path`, without its torn last line; None if it is absent or damaged."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    whole = text[: text.rfind(b"\n") + 1]
    try:
        head, *lines = [json.loads(line) for line in whole.splitlines()]
        found = [from_json(Receipt, line) for line in lines]
        plan = str(head["plan"])
    except (ValueError, KeyError, TypeError):
        return None
    if len(whole) < len(text):
        os.truncate(path, len(whole))
    return Journal(path, plan, {receipt.tile: receipt for receipt in found})


def has_receipts(path: Path) -> bool:
    """Whether a journal is there and holds more than its first line."""
    try:
        with path.open("rb") as file:
            return file.readline().endswith(b"\n") and file.readline().endswith(b"\n")
    except FileNotFoundError:
        return False


def append_durably(path: Path, text: str) -> None:
    """Append to a file and wait until the bytes are on disk; all of them or none."""
    with path.open("ab") as file:
        before = file.tell()
        try:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        except OSError:
            with suppress(OSError):
                os.truncate(path, before)
            raise
