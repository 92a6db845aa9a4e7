"""What is known from run to run: an append-only journal in the outbox, and a lock.

    {"time": .., "event": "done", "scene": .., "key": .., "product": ..}
    {"time": .., "event": "failed", "scene": .., "key": .., "reason": .., "message": ..}
    {"time": .., "event": "left", "scene": .., "key": .., "product": .., "by": .., "message": ..}
    {"time": .., "event": "retry", "key": ..}

Files beside the products, no server. A torn last line, left by a kill, is cut off.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from pipeline.errors import PublishError, ResumeError
from pipeline.journal import append_durably
from pipeline.stage import replacing

logger = logging.getLogger(__name__)

PRODUCT = "product.json"
"""What a product says of itself."""


@dataclass(slots=True)
class Failures:
    """What went wrong with a key so far."""

    number: int = 0
    """Runs in which it failed since it was last let off."""
    reason: str = ""
    """The last one, in one word."""
    message: str = ""
    """And in one line."""


@dataclass(frozen=True, slots=True)
class Left:
    """Why a scene is left out: as long as a product stands for it."""

    product: str
    """Its name."""
    by: str
    """Its key."""
    message: str
    """Why, in one line."""


@dataclass(slots=True)
class State:
    """The journal, read once and appended to."""

    folder: Path
    """OUTBOX/.espcn."""
    done: dict[str, str] = field(default_factory=dict)
    """Name of the product's folder by key."""
    left: dict[str, Left] = field(default_factory=dict)
    """What is not made although it could be, by key."""
    failures: dict[str, Failures] = field(default_factory=dict)
    """By key."""

    @property
    def path(self) -> Path:
        """The journal."""
        return self.folder / "journal.jsonl"

    def add(self, event: str, key: str, **facts: object) -> None:
        """Record an event durably; raises PublishError."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        line = {"time": now, "event": event, "key": key, **facts}
        try:
            append_durably(self.path, json.dumps(line) + "\n")
        except OSError as error:
            raise _unwritten(self.path, error) from error
        self._apply(line)

    def quarantine(self, attempts: int) -> None:
        """Write the list of keys that failed as often as is allowed; raises PublishError."""
        listed = {
            key: {"attempts": one.number, "reason": one.reason, "message": one.message}
            for key, one in self.failures.items()
            if one.number >= attempts
        }
        path = self.folder / "quarantine.json"
        try:
            with replacing(path) as file:
                file.write(json.dumps(listed, indent=1).encode())
        except OSError as error:
            raise _unwritten(path, error) from error

    def _apply(self, line: dict[str, object]) -> None:
        key = str(line["key"])
        if line["event"] == "done":
            self.done[key] = str(line["product"])
            self.failures.pop(key, None)
        elif line["event"] == "left":
            self.left[key] = Left(str(line["product"]), str(line["by"]), str(line["message"]))
        elif line["event"] == "failed":
            known = self.failures.setdefault(key, Failures())
            known.number += 1
            known.reason, known.message = str(line["reason"]), str(line["message"])
        elif line["event"] == "retry":
            self.failures.pop(key, None)


def _unwritten(path: Path, error: OSError) -> PublishError:
    return PublishError(f"cannot be written ({error.strerror})", uri=str(path))


def read_state(folder: Path, *, mend: bool = False) -> State:
    """The state in a folder, empty if there is none; damaged lines are passed over.

    `mend` cuts off a torn last line; only who holds the lock may.
    """
    state = State(folder)
    try:
        text = state.path.read_bytes()
    except FileNotFoundError:
        return state
    whole = text[: text.rfind(b"\n") + 1]
    if mend and len(whole) < len(text):
        os.truncate(state.path, len(whole))
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            state._apply(json.loads(line))
        except (ValueError, KeyError, TypeError):
            # products say themselves what they were made of
            logger.warning("%s: line %d was damaged and is passed over", state.path, number)
    return state


def products_of(outbox: Path, name: str = "*") -> Iterator[tuple[str, dict[str, object]]]:
    """(name, what it says of itself) of every product, or of one."""
    for path in sorted(outbox.glob(f"{name}/{PRODUCT}")):
        with suppress(OSError, ValueError):
            yield path.parent.name, _facts(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=2**16)
def _facts(path: Path, mtime_ns: int) -> dict[str, object]:  # noqa: ARG001 - which version
    """What a product says of itself: every scene of a run asks all products of its outbox."""
    facts: dict[str, object] = json.loads(path.read_text())
    return facts


def products(outbox: Path) -> dict[str, str]:
    """Name of every product by its key, as the products say themselves."""
    return {str(facts["key"]): name for name, facts in products_of(outbox) if _has_key(facts)}


def key_in(product: Path) -> str | None:
    """The key that a product was made by, if it is there."""
    try:
        facts = json.loads((product / PRODUCT).read_text())
    except (OSError, ValueError):
        return None
    return str(facts["key"]) if _has_key(facts) else None


def sizes_of(folder: Path, names: Iterable[str]) -> dict[str, int | None]:
    """Bytes of a product's images by name; None of directories: their files are many."""
    return {
        name: None if (folder / name).is_dir() else (folder / name).stat().st_size for name in names
    }


def is_whole(product: Path) -> bool:
    """Whether all images that a product says it has are there, files in their size."""
    try:
        images = json.loads((product / PRODUCT).read_text()).get("images", {})
        return bool(sizes_of(product, images) == images)
    except (OSError, ValueError, AttributeError):
        return False


def bands_in(facts: dict[str, object]) -> int:
    """The bands of the scene that a product was made of; 0 where it does not say."""
    bands = facts.get("bands")
    return bands if isinstance(bands, int) else 0


def _has_key(facts: object) -> bool:
    return isinstance(facts, dict) and "key" in facts


@contextmanager
def holding(outbox: Path) -> Iterator[State]:
    """The state of an outbox, held by this process alone; raises ResumeError if another has it.

    The lock dies with the process that holds it, however that ends.
    """
    folder = outbox / ".espcn"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("a")
    except OSError as error:
        raise PublishError(f"cannot be written to ({error.strerror})", uri=str(outbox)) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ResumeError(
                "another run is working on this outbox; wait for it", uri=str(outbox)
            ) from error
        except OSError as error:
            raise ResumeError(
                f"its file system cannot lock files ({error.strerror}); choose another place",
                uri=str(outbox),
            ) from error
        yield read_state(folder, mend=True)
