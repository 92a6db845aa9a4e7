"""What the run report says of a run: a verdict, what needs a person, a row a scene."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from pipeline.scenes.scene import Reason
from workflows.batch.outcome import Check, RunSummary, SceneOutcome, Status
from workflows.batch.page_words import counted

Tone = Literal["good", "warn", "bad", "calm"]
"""How a verdict feels: good, worth a look, a failure, nothing happened."""

ORDER: tuple[Status, ...] = ("failed", "quarantined", "done", "skipped")
"""In which scenes are listed: what needs a person first."""

REASONS: dict[Reason | None, tuple[str, str]] = {
    "unreadable": ("Cannot be read", "Damaged or cut short: deliver them again."),
    "incomplete": ("Incomplete", "Files are missing: deliver the rest."),
    "unsupported": ("Not supported", "A kind of scene or file that is not known."),
    "hostile": ("Refused", "They reach out of their place or claim too much: look who sent them."),
    "changed": ("Changed while it was read", "Still arriving: a longer settle time helps."),
    "failed": ("Failed on the way", "While it was upscaled, checked or published."),
    "crash": ("Crashed the reader", "A worker process died of it; the others went on."),
    None: ("Without a reason", "Look into the log."),
}
"""(title, advice) of why a scene is no product."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The run in one breath."""

    tone: Tone
    """How it feels."""
    headline: str
    """In a few words."""
    line: str
    """What it means."""


@dataclass(frozen=True, slots=True)
class Row:
    """A scene and where its product lies."""

    number: int
    """1-based place in the report; its anchor."""
    scene: SceneOutcome
    """What became of it."""
    product: str | None
    """Link to the product's folder, if that is there."""
    item: str | None
    """Link to its STAC item, if that is there."""

    @property
    def speed(self) -> float:
        """Mpx/s from its first tile to its landing, while other scenes were under way too."""
        return self.scene.megapixels / self.scene.seconds if self.scene.seconds > 0 else 0.0

    @property
    def place(self) -> str:
        """Its folder in the inbox, or its path where that does not follow from its name."""
        folder, slash, name = self.scene.path.rpartition("/")
        return folder + slash if name.startswith(self.scene.scene) else self.scene.path

    @property
    def broken(self) -> tuple[Check, ...]:
        """Checks that did not pass."""
        return tuple(check for check in self.scene.checks if not check.passed)


@dataclass(frozen=True, slots=True)
class Trouble:
    """Scenes that are no products for the same reason."""

    status: Status
    """'failed' or 'quarantined'."""
    title: str
    """The reason."""
    advice: str
    """What a person can do."""
    rows: tuple[Row, ...]
    """The scenes."""


def judge(summary: RunSummary) -> Verdict:
    """The verdict on a run."""
    counts, total = summary.counts, len(summary.scenes)
    done, failed, kept = counts["done"], counts["failed"], counts["quarantined"]
    waiting = f"{counted(kept, 'scene')} in quarantine." if kept else ""
    if summary.interrupted:
        line = "The next run finishes what was begun."
        return Verdict("bad", "Stopped before all scenes were seen to", line)
    if failed:
        line = f"The next run tries {'it' if failed == 1 else 'them'} again. {waiting}"
        return Verdict("bad", f"{failed:,} of {counted(total, 'scene')} failed", line)
    if done:
        headline = "The new scene is done" if done == 1 else f"All {done:,} new scenes are done"
        passed = sum(len(scene.checks) for scene in summary.scenes if scene.status == "done")
        line = f"{counted(passed, 'check')} passed. {waiting}"
        return Verdict("warn" if kept else "good", headline, line)
    if total:
        line = f"{counted(counts['skipped'], 'scene')} skipped. {waiting}"
        return Verdict("warn" if kept else "calm", "Nothing new", line)
    return Verdict("calm", "No scenes", "Nothing in the inbox is a scene.")


def make_rows(summary: RunSummary, outbox: Path) -> tuple[Row, ...]:
    """A row a scene: what needs a person first, then in the order of their paths."""
    ordered = sorted(summary.scenes, key=lambda one: (ORDER.index(one.status), one.path))
    return tuple(_row(number, scene, outbox) for number, scene in enumerate(ordered, 1))


def _row(number: int, scene: SceneOutcome, outbox: Path) -> Row:
    if scene.product is None:
        return Row(number, scene, None, None)
    item = f"{scene.product}/{Path(scene.product).name}.json"
    product = link(scene.product) + "/" if (outbox / scene.product).is_dir() else None
    return Row(number, scene, product, link(item) if (outbox / item).is_file() else None)


def link(path: str) -> str:
    """A path in the outbox as a page in its reports folder refers to it, whatever its bytes."""
    return "../" + quote(os.fsencode(path))


def find_troubles(rows: Iterable[Row]) -> tuple[Trouble, ...]:
    """Failed and quarantined scenes by reason: failures first, the most frequent reason first."""
    bad = [row for row in rows if row.scene.status in ("failed", "quarantined")]
    groups = [tuple(group) for _, group in groupby(sorted(bad, key=_cause), key=_cause)]
    groups.sort(key=lambda group: (ORDER.index(group[0].scene.status), -len(group)))
    return tuple(_trouble(group) for group in groups)


def _cause(row: Row) -> tuple[str, str]:
    return row.scene.status, row.scene.reason or ""


def _trouble(rows: Sequence[Row]) -> Trouble:
    scene = rows[0].scene
    title, advice = REASONS.get(scene.reason, REASONS[None])
    return Trouble(scene.status, title, advice, tuple(rows))
