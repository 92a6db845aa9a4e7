"""Stages of outputs: opened, resumed, and mended where they turn out damaged."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import DamagedStageError, PublishError
from pipeline.plan import Plan
from pipeline.sinks import load_sink
from pipeline.stage import clear, damaged, is_publishing, locked
from pipeline.staged_plan import begin
from pipeline.task import Target

logger = logging.getLogger(__name__)

ROUNDS = 3
"""Times that the same tile may be found damaged when it is published."""


@contextmanager
def opened(path: Path, plan: Plan) -> Iterator[Target]:
    """A locked stage for an output, resumed if the same plan began it."""
    with locked(path) as stage:
        journal, resumed = begin(stage, plan)
        if not is_publishing(stage):
            load_sink(plan.format).begin(stage, plan)
            journal.forget(damaged(stage, journal) if resumed else set())
        yield Target(path, stage, plan, journal)


def mend(target: Target, error: DamagedStageError, *, times: int) -> None:
    """Forget what is damaged, so that it is made again; raises PublishError if that is no use."""
    if times == ROUNDS:
        raise PublishError(
            f"{error.message}, {ROUNDS} times in a row; check the disk", uri=error.uri
        ) from error
    logger.warning("%s; it is made again", error)
    if error.tile is not None:
        target.journal.forget({error.tile})
        return
    clear(target.stage)
    begin(target.stage, target.plan)
    load_sink(target.plan.format).begin(target.stage, target.plan)
    target.journal.forget(set(target.journal.receipts))
