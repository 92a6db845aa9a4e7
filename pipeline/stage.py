"""The staging directory beside a destination: locked, resumable, discarded when the plan changes.

    scene.tif                    the destination, untouched until the end
    .scene.tif.espcn/            the stage
        lock                     held while a run works here
        plan.json                what is being made (see `staged_plan`)
        journal.jsonl            which tiles are durable
        publishing               all tiles are in, the output is being put together
        ...                      the sink's own files

Files are written under a temporary name, synced, then renamed: a name that exists is whole.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from isal import isal_zlib

from pipeline.errors import DiskFullError, PublishError, ResumeError
from pipeline.journal import Journal, Staged, has_receipts

SOURCE = "source.json"
"""Where an image of a patient lies; not left behind by a run that ends."""
PUBLISHING = "publishing"
"""Marks a stage whose output is being put together."""
CHUNK = 2**20
"""Bytes read at a time when files are copied or verified: one buffer that stays in the cache."""


def stage_of(target: Path) -> Path:
    """The staging directory of a destination."""
    return target.parent / f".{target.name}.espcn"


@contextmanager
def locked(target: Path) -> Iterator[Path]:
    """The staging directory, created and held by this process alone.

    The lock dies with the process that holds it, however that ends. A run that ends early without
    a durable tile leaves nothing behind. Raises ResumeError if another run holds the lock and
    PublishError if the directory cannot be made or the disk is full.
    """
    stage = stage_of(target)
    with _hold(stage, target) as lock:
        shutil.rmtree(_finished(stage), ignore_errors=True)
        try:
            yield stage
        except OSError as error:
            if not is_full(error):
                raise
            raise DiskFullError(
                "the disk is full; make room and run the same command again to go on",
                uri=str(target),
            ) from error
        finally:
            # never the stage of a run that came after this one had discarded its own
            if _is_at(lock, stage / "lock"):
                (stage / SOURCE).unlink(missing_ok=True)
                if not has_receipts(stage / "journal.jsonl"):
                    discard(stage)


def _hold(stage: Path, target: Path) -> IO[str]:
    """The lock's open file."""
    while True:
        try:
            stage.mkdir(exist_ok=True)
            lock = _open_lock(stage)
        except OSError as error:
            raise PublishError(
                f"cannot write beside the output ({error.strerror})", uri=str(target)
            ) from error
        if lock is None:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.close()
            raise ResumeError(
                "another run is writing this output; wait for it or choose another name",
                uri=str(target),
            ) from error
        except OSError as error:
            lock.close()
            raise PublishError(
                f"its file system cannot lock files ({error.strerror}); choose another place",
                uri=str(target),
            ) from error
        if _is_at(lock, stage / "lock"):
            return lock
        lock.close()


def _open_lock(stage: Path) -> IO[str] | None:
    """The lock's file; None where a run that ends has just removed the stage."""
    try:
        return (stage / "lock").open("a")
    except FileNotFoundError:
        return None


def _is_at(file: IO[str], path: Path) -> bool:
    """Whether an open file is still the one of that name."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def mark_publishing(stage: Path) -> None:
    """Record that every tile is in: from here on parts may shrink, so never go back."""
    write_durably(stage / PUBLISHING, b"")
    sync_directory(stage)


def is_publishing(stage: Path) -> bool:
    """Whether `mark_publishing` was called: publish again, whatever is left of the parts."""
    return (stage / PUBLISHING).exists()


@contextmanager
def at_last_alone(stage: Path) -> Iterator[None]:
    """Wait until no other process puts this output together; `locked` keeps drivers apart only."""
    with (stage / "plan.json").open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def clear(stage: Path) -> None:
    """Remove everything but the lock, the journal first: without it nothing is trusted."""
    (stage / "journal.jsonl").unlink(missing_ok=True)
    for entry in stage.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry.name != "lock":
            entry.unlink()


def discard(stage: Path) -> None:
    """Remove a stage in one step: one that is half removed would look like work to go on with."""
    shutil.rmtree(_finished(stage), ignore_errors=True)
    with suppress(OSError):  # what is left then is resumed or discarded by the next run
        stage.replace(_finished(stage))
    shutil.rmtree(_finished(stage), ignore_errors=True)


def _finished(stage: Path) -> Path:
    """Where a stage goes to be removed; the next run removes what a kill has left there."""
    return stage.with_name(f"{stage.name}.done")


def damaged(stage: Path, journal: Journal) -> set[int]:
    """Tiles whose files are missing or not as they were written."""
    return {
        tile
        for tile, receipt in journal.receipts.items()
        if not all(is_whole(stage, file) for file in receipt.files)
    }


def is_whole(stage: Path, staged: Staged) -> bool:
    """Whether a staged file is as it was written."""
    path = stage / staged.name
    try:
        return path.stat().st_size == staged.size and checksum(path) == staged.crc32
    except OSError:
        return False


def checksum(path: Path, *, length: int | None = None) -> int:
    """CRC-32 of a file, or of its first `length` bytes."""
    crc, left = 0, path.stat().st_size if length is None else length
    buffer = memoryview(bytearray(min(CHUNK, left)))
    with path.open("rb", buffering=0) as file:
        while left and (size := file.readinto(buffer[:left])):
            crc, left = isal_zlib.crc32(buffer[:size], crc), left - size
    return crc


def write_durably(
    path: Path, *parts: bytes | bytearray | memoryview, crc32: int | None = None
) -> Staged:
    """Write a whole file: temporary name, sync, rename. `Staged.name` is relative to its parent.

    `crc32` is that of all parts, if it is known already.
    """
    with replacing(path) as file:
        for part in parts:
            file.write(part)
    if crc32 is None:
        crc32 = 0
        for part in parts:
            crc32 = isal_zlib.crc32(part, crc32)
    return Staged(path.name, sum(map(len, parts)), crc32)


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file that appears under its name only when the block ends well and its bytes are synced."""
    temporary = path.with_name(f".{path.name}.{unique()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def unique() -> str:
    """A name that no other process on any host chooses."""
    return f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:12]}"


def sync_directory(path: Path) -> None:
    """Make renames inside a directory durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_full(error: OSError) -> bool:
    """Whether an error means that the disk or the quota is full: trying again is useless."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)
