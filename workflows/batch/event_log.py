"""What a run tells, as log lines: each about its scene, with its facts for programs."""

from __future__ import annotations

import logging

from workflows.batch.logs import about
from workflows.batch.outcome import SceneOutcome
from workflows.batch.run import Begun, Ended, Event, Planned, Troubled

logger = logging.getLogger(__name__)

FACTS = ("status", "family", "reason", "attempts", "product", "tiles", "megapixels", "bytes")
"""Of an outcome, in its log line."""


def log_event(event: Event) -> None:
    """Log an event; tiles are not worth a line."""
    match event:
        case Planned(candidates=found, waiting=waiting):
            facts: dict[str, object] = {"found": len(found), "waiting": len(waiting)}
            logger.info("%(waiting)d of %(found)d scenes to make", facts, extra={"facts": facts})
        case Begun(key=key, scene=scene, tiles=tiles):
            with about(key):
                facts = {"name": scene, "tiles": tiles}
                logger.info("%(name)s begins, %(tiles)d tiles", facts, extra={"facts": facts})
        case Ended(outcome=outcome):
            with about(outcome.key):
                _log_outcome(outcome)
        case Troubled(message=message):
            logger.warning("%s", message)


def _log_outcome(outcome: SceneOutcome) -> None:
    level = logging.INFO if outcome.status in ("done", "skipped") else logging.WARNING
    what = outcome.message or f"{outcome.tiles} tiles, {outcome.megapixels:.1f} Mpx"
    facts = {name: getattr(outcome, name) for name in FACTS}
    facts |= {"name": outcome.scene, "seconds": round(outcome.seconds, 3)}
    logger.log(level, "%s %s: %s", outcome.scene, outcome.status, what, extra={"facts": facts})
