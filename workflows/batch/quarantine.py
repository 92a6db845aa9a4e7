"""Where scenes go that fail again and again, if the configuration says so, and how they come back.

QUARANTINE/<key>/       one scene with all that belongs to it
    origin.json         where each of its files lay
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

from pipeline.scenes import files_of
from pipeline.scenes.found import Found
from pipeline.stage import replacing

logger = logging.getLogger(__name__)

ORIGIN = "origin.json"
"""Name of the list."""


def put_away(found: Found, key: str, folder: Path, *, inbox: Path, others: Sequence[Path]) -> None:
    """Move a scene out of the inbox, unless it holds the inbox or other scenes."""
    paths = [path for path in files_of(found) if path.exists()]
    if len({path.name for path in paths}) < len(paths):
        logger.warning("%s stays where it is: files of it share a name", found.shown)
        return
    for path in paths:
        if path in (inbox, *inbox.parents) or any(path in other.parents for other in others):
            logger.warning("%s stays where it is: other scenes lie in it", found.shown)
            return
    own = folder / key[:16]
    try:
        own.mkdir(parents=True, exist_ok=True)
        with replacing(own / ORIGIN) as file:
            file.write(json.dumps({path.name: str(path) for path in paths}).encode())
        for path in paths:
            shutil.move(path, own / path.name)
    except OSError as error:
        logger.warning("%s cannot be moved to %s (%s)", found.shown, own, error.strerror)


def take_back(folder: Path) -> None:
    """Move all scenes back to where they were; what has been replaced there meanwhile stays."""
    for listed in sorted(folder.glob(f"*/{ORIGIN}")):
        try:
            origins = json.loads(listed.read_text())
            for name, origin in origins.items():
                here, there = listed.parent / name, Path(origin)
                if here.exists() and not there.exists():
                    there.parent.mkdir(parents=True, exist_ok=True)
                    shutil.move(here, there)
            listed.unlink()
            listed.parent.rmdir()
        except (OSError, ValueError, AttributeError) as error:
            logger.warning("%s: not all could be moved back (%s)", listed.parent, error)
