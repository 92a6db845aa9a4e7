"""What became of the scenes of a run: plain values for summary, report, metrics and programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from pipeline.scenes.scene import Reason

Status = Literal["done", "skipped", "failed", "quarantined"]
"""done: made in this run. skipped: made before, or not settled. quarantined: failed too often."""


@dataclass(frozen=True, slots=True)
class Check:
    """Something that was verified of a product."""

    name: str
    """'coverage', 'valid share', 'mean bias', 'consistency', 'corners', 'recomputed'."""
    passed: bool
    """Whether it is within its limit."""
    value: float | None
    """What was measured."""
    limit: float | None
    """What is allowed at most, or at least."""
    asset: str = ""
    """Key of the asset it is about."""
    note: str = ""
    """In words, where numbers do not say it."""


@dataclass(frozen=True, slots=True)
class SceneOutcome:
    """What became of one scene."""

    scene: str
    """The provider's name, or the file's where the scene could not be opened."""
    path: str
    """Relative to the inbox; of DICOM what the series is called."""
    status: Status
    """In one word."""
    key: str = ""
    """Hash of input, model and options; the correlation id of its log lines is its beginning."""
    family: str = ""
    """'sentinel2', 'landsat', 'stac', 'dicom' or 'folder'."""
    reason: Reason | None = None
    """Why it is no product, for programs."""
    message: str = ""
    """Why, in one line; or why it was skipped."""
    attempts: int = 0
    """How often it was tried, this time included."""
    product: str | None = None
    """Folder of the product, relative to the outbox."""
    model: str = ""
    """Names of the models, with commas."""
    scale: str = ""
    """Their scales, with commas: '2, 6'."""
    tiles: int = 0
    """Tiles made in this run."""
    megapixels: float = 0.0
    """Output pixels x bands made in this run, in millions."""
    bytes: int = 0
    """Size of the product."""
    seconds: float = 0.0
    """From its first tile to its landing."""
    checks: tuple[Check, ...] = ()
    """All of them."""
    notes: tuple[str, ...] = ()
    """What is odd about the scene."""
    pictures: tuple[str, str] | None = None
    """Before and after, relative to the outbox: the same ground at the same size."""

    @property
    def went_wrong(self) -> bool:
        """Whether it failed in this run; what was quarantined by an earlier one is no news."""
        return self.status == "failed" or (self.status == "quarantined" and self.attempts > 0)


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One run over an inbox."""

    run: str
    """Its name, such as 20261126T020000Z-3f2a."""
    started: str
    """ISO 8601, UTC."""
    ended: str
    """ISO 8601, UTC."""
    seconds: float
    """Wall time."""
    inbox: str
    """Absolute path; where there are series of DICOM an id in its place."""
    outbox: str
    """Absolute path."""
    scenes: tuple[SceneOutcome, ...]
    """In the order of their paths."""
    versions: dict[str, str] = field(default_factory=dict)
    """Of the software."""
    interrupted: bool = False
    """Whether it was stopped before all scenes were seen to."""
    problems: tuple[str, ...] = ()
    """What went wrong beside the scenes, a line each: the catalog could not be written."""

    @property
    def counts(self) -> dict[Status, int]:
        """Scenes by status."""
        found = Counter(one.status for one in self.scenes)
        statuses: Sequence[Status] = ("done", "skipped", "failed", "quarantined")
        return {status: found[status] for status in statuses}

    @property
    def megapixels(self) -> float:
        """Output pixels x bands made, in millions."""
        return sum(one.megapixels for one in self.scenes)

    @property
    def bytes(self) -> int:
        """Size of all products of this run."""
        return sum(one.bytes for one in self.scenes if one.status == "done")
