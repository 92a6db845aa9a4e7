"""Putting a finished output in place, here or on a worker."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipeline.errors import ChangedError, DamagedStageError, DiskFullError, PublishError
from pipeline.journal import Receipt, open_journal
from pipeline.plan import Plan
from pipeline.sinks import load_sink
from pipeline.sources import open_source
from pipeline.stage import at_last_alone, clear, is_full, is_publishing, mark_publishing
from pipeline.task import load_plan


def publish(stage: Path, plan: Plan, receipts: Mapping[int, Receipt], target: Path) -> None:
    """Put one output in place; its tiles must all be staged.

    Raises DamagedStageError for tiles that must be made again, PublishError for what an operator
    must mend.
    """
    if not is_publishing(stage):
        mark_publishing(stage)
    try:
        load_sink(plan.format).publish(stage, plan, receipts, target)
    except OSError as error:
        kind = DiskFullError if is_full(error) else PublishError
        raise kind(
            f"cannot be put in place ({error.strerror or error}); mend that and run the same "
            "command again to go on",
            uri=str(target),
        ) from error


def check_unchanged(plan: Plan, *stages: Path) -> None:
    """Raise ChangedError if the input changed meanwhile: its tiles may not belong together."""
    if all(is_publishing(stage) for stage in stages):
        return
    if open_source(plan.source.uri, plan.source.options).profile.identity != plan.profile.identity:
        for stage in stages:
            clear(stage)
        raise ChangedError(
            "changed while it was being read; run the job again", uri=plan.profile.label
        )


def publish_on_worker(stage: str, digest: str, target: str) -> None:
    """`publish` for a stage whose journal is complete, after a look at the input.

    A worker whose scheduler died, or that was given up for lost, may still be at it: it is waited
    for, and what it has done counts.
    """
    plan, folder = load_plan(stage, digest), Path(stage)
    with at_last_alone(folder):
        journal = open_journal(folder / "journal.jsonl")
        if journal is None:
            raise DamagedStageError("the journal was damaged", uri=stage)
        check_unchanged(plan, folder)
        publish(folder, plan, journal.receipts, Path(target))
