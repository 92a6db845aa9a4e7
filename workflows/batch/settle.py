"""Whether a scene has arrived: its files are quiet, or a marker says so."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from workflows.batch.options import ScheduleOptions

ARCHIVES = (".tar.gz", ".tgz", ".tar", ".zip", ".SAFE")
"""Endings that the name of a scene may have and its marker may lack."""


def arrived(path: Path, options: ScheduleOptions, now: float) -> str | None:
    """Why a scene is not read yet, in one line; None when it is all there.

    `now` is in seconds since 1970. A size never changes without its file's time. Directories count
    as files do: copies that keep the times of files still touch the directory that they go to. A
    time beyond `now` by more than the quiet that is asked for is a wrong clock's and tells nothing.
    """
    if options.marker is not None:
        return _unmarked(path, options.marker)
    quiet = 60 * options.settle
    for file, changed in _times(path):
        if abs(now - changed) < quiet:
            name = file.name if file == path else file.relative_to(path).as_posix()
            ago = max(round(now - changed), 0)
            return (
                f"still arriving: {name} changed {ago} s ago, schedule.settle asks for "
                f"{options.settle:g} min of quiet"
            )
    return None


def _unmarked(path: Path, marker: str) -> str | None:
    """Why a scene counts as not arrived for want of its marker, beside it or inside it."""
    names = {marker.replace("{scene}", name) for name in (path.name, _bare(path.name))}
    folders = [path.parent, *([path] if path.is_dir() else [])]
    if any((folder / name).exists() for folder in folders for name in names):
        return None
    return f"not arrived: its marker {min(names, key=len)} is missing (schedule.marker)"


def _bare(name: str) -> str:
    """A scene's name without the ending that says how it is packed."""
    for ending in ARCHIVES:
        if name.lower().endswith(ending.lower()):
            return name[: -len(ending)]
    return Path(name).stem


def _times(path: Path) -> Iterator[tuple[Path, float]]:
    """(path, time of change) of a file, or of a directory and all that is in it.

    What vanishes meanwhile is passed over: its directory has changed then. What may not be looked
    at is left to whoever opens the scene. Links to directories are not followed.
    """
    try:
        status = path.stat()
        yield path, status.st_mtime
        if not stat.S_ISDIR(status.st_mode):
            return
        with os.scandir(path) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return
    for entry in found:
        if not (entry.is_symlink() and entry.is_dir()):
            yield from _times(Path(entry.path))
