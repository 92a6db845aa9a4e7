"""Which scenes of an inbox are to be made, and why the others are not."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from pipeline.errors import ConfigError
from pipeline.scenes import files_of, find_scenes
from pipeline.scenes.found import Found
from pipeline.scenes.headers import mark, safe_name
from pipeline.serial import digest
from workflows.batch.job import Batch
from workflows.batch.keys import Inputs, inputs_of, key_of, recipe_of
from workflows.batch.outcome import Status
from workflows.batch.settle import arrived
from workflows.batch.state import State, is_whole, key_in, products


@dataclass(frozen=True, slots=True)
class Candidate:
    """Something that was found in the inbox."""

    found: Found
    """What."""
    key: str
    """Hash of its files, the networks and the options; '' where they could not be read."""
    inputs: Inputs | None
    """Its files as they are now."""
    status: Status | None
    """None for what is to be made."""
    reason: str = ""
    """Why it is not, in one line."""
    apart: str = ""
    """What is added to the product's name, for others in the inbox are called the same."""

    @property
    def name(self) -> str:
        """Of the scene, as long as nothing else is known."""
        return self.found.name


def candidates(
    batch: Batch,
    state: State,
    *,
    settled: bool,
    retry: bool = False,
    only_paths: Sequence[Path] | None = None,
) -> list[Candidate]:
    """Everything in the inbox, those that are to be made in order of size, smallest first.

    Small scenes are then not stuck behind a huge one. `settled` leaves out what may still be
    arriving; `retry` lets off what has failed before. Raises ConfigError.
    """
    recipe, listed = recipe_of(batch), list[Candidate]()
    wanted = None if only_paths is None else {path.absolute() for path in only_paths}
    made, keys = products(batch.outbox), dict[str, str]()
    everything = list(find_scenes(batch.inbox, batch.scenes))
    called = Counter(_bare(found) for found in everything if not found.passed_over)
    for found in everything:
        if wanted is not None and not wanted & {found.path, batch.inbox / found.place(batch.inbox)}:
            continue
        if batch.batch.only and not fnmatchcase(found.name, batch.batch.only):
            continue
        one = _judge(batch, state, found, recipe, made, settled=settled, retry=retry)
        if one.status is None and one.key in keys:
            one = replace(one, status="skipped", reason=f"is a copy of {keys[one.key]}")
        elif one.status is None:
            keys[one.key] = found.place(batch.inbox)
        alike = called[_bare(found)] > 1
        listed.append(replace(one, apart=_mark(batch, found)) if alike else one)
    return sorted(listed, key=lambda one: (one.inputs.size if one.inputs else 0, one.found.path))


def _judge(
    batch: Batch,
    state: State,
    found: Found,
    recipe: str,
    made: Mapping[str, str],
    *,
    settled: bool,
    retry: bool,
) -> Candidate:
    if found.passed_over:
        return Candidate(found, "", None, "skipped", found.passed_over)
    for path in files_of(found) if settled else ():
        waits = arrived(path, batch.schedule, time.time())
        if waits:
            said = waits.replace(path.name, "a file") if found.label else waits
            return Candidate(found, "", None, "skipped", said)
    try:
        inputs = inputs_of(found, full=batch.batch.checksum == "full")
    except OSError as error:  # told, and counted, when it is to be opened
        problem = f"cannot be read ({error.strerror})"
        return _after_failures(
            batch, state, replace(found, problem=problem), _place_key(batch, found), None, retry
        )
    key = key_of(found, inputs, recipe)
    product = made.get(key)
    if product is not None and is_whole(batch.outbox / product):
        return Candidate(found, key, inputs, "skipped", f"made before: {product}")
    left = state.left.get(key) if batch.batch.reprocessed == "replace" else None
    if left is not None and key_in(batch.outbox / left.product) == left.by:
        return Candidate(found, key, inputs, "skipped", left.message)
    return _after_failures(batch, state, found, key, inputs, retry)


def _place_key(batch: Batch, found: Found) -> str:
    """Stands for the key of what cannot be read: where it lies, however the inbox is spelled."""
    return digest([str(batch.inbox.resolve() / found.path.relative_to(batch.inbox))])


def _after_failures(
    batch: Batch, state: State, found: Found, key: str, inputs: Inputs | None, retry: bool
) -> Candidate:
    """To be made, or quarantined where it failed too often."""
    failures = None if retry else state.failures.get(key)
    if failures and failures.number >= batch.batch.attempts:
        return Candidate(
            found,
            key,
            inputs,
            "quarantined",
            f"failed {failures.number} times, at last: {failures.message}; --retry-failed takes it "
            "up again",
        )
    return Candidate(found, key, inputs, None)


def _bare(found: Found) -> str:
    """A scene's name without its ending, in lower case, as products are called."""
    return safe_name(found.name).partition(".")[0].lower()


def _mark(batch: Batch, found: Found) -> str:
    """Tells scenes of one name apart by where they lie."""
    place = str(found.path.relative_to(batch.inbox))
    return f"-{mark(place)}"


def check_places(batch: Batch) -> None:
    """Raise ConfigError for directories that cannot serve; before anything is written to them."""
    for name in ("inbox", "outbox"):
        if not getattr(batch.batch, name):
            raise ConfigError(f"batch.{name} is not given: name a directory")
    if not batch.inbox.is_dir():
        raise ConfigError("is no directory", uri=str(batch.inbox))
    if not os.access(batch.inbox, os.R_OK | os.X_OK):
        raise ConfigError("may not be read", uri=str(batch.inbox))
    inbox, outbox = batch.inbox.resolve(), batch.outbox.resolve()
    if inbox == outbox or inbox in outbox.parents:
        raise ConfigError("lies in the inbox; choose another directory", uri=str(outbox))
    if not outbox.parent.is_dir():
        raise ConfigError(f"there is no directory {outbox.parent}", uri=str(outbox))
