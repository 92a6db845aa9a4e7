"""Reports of runs long past are removed."""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime
from pathlib import Path

logger = logging.getLogger(__name__)

REPORT = re.compile(r"(\d{8}T\d{6}Z)-[0-9a-f]+\.(?:html|json)")
"""Names of reports: when the run began, and a mark of its own. Nothing else is ever removed."""
DAY = 24 * 60 * 60
"""Seconds."""


def prune(reports: Path, days: int, now: float) -> tuple[Path, ...]:
    """Remove the reports of runs that began more than so many days before `now`; what is gone.

    `now` is in seconds since 1970. The latest run's report stays, however old it is. One that
    cannot be removed is logged.
    """
    found = [(began, path) for path in _files(reports) if (began := _began(path)) is not None]
    latest = max((began for began, _ in found), default=0.0)
    old = [path for began, path in sorted(found) if began < min(now - days * DAY, latest)]
    return tuple(path for path in old if _removed(path))


def _files(folder: Path) -> list[Path]:
    """The files of a folder, none where it cannot be listed: then nothing was written to it."""
    try:
        return [path for path in folder.iterdir() if path.is_file() and not path.is_symlink()]
    except OSError:
        return []


def _began(path: Path) -> float | None:
    """When the run of a report began, by its name; None where it is no report."""
    match = REPORT.fullmatch(path.name)
    if match is None:
        return None
    try:
        return datetime.strptime(match[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:  # the 31st of February
        return None


def _removed(path: Path) -> bool:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        logger.warning("%s: an old report cannot be removed (%s)", path, error.strerror)
        return False
    return True
