"""Putting a directory in place of another, as nearly in one step as the system allows.

Linux exchanges two names atomically: at every moment the target is the old store or the new one,
whole. Where the file system cannot (NFS, some network mounts) the old one steps aside first:

    target           -> .target.espcn-previous      a kill here leaves no target; both stores are
    stage/output     -> target                      whole, and the same command finishes the swap
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
from pathlib import Path

from pipeline.stage import sync_directory, unique

EXCHANGE = 2
"""RENAME_EXCHANGE of renameat2(2)."""
HERE = -100
"""AT_FDCWD: paths are relative to the working directory."""


def put_in_place(new: Path, target: Path) -> None:
    """Rename `new` to `target`, replacing what is there, on one file system. Raises OSError."""
    # an empty directory in the stage would look like a store that was just begun
    if _is_empty(target):
        target.rmdir()
    if not os.path.lexists(target):
        new.rename(target)
    elif exchange(new, target):
        sync_directory(target.parent)
        take_away(new)
    else:
        _step_aside(new, target)
    sync_directory(target.parent)
    remove(previous(target))


def _is_empty(target: Path) -> bool:
    """Whether it is a directory, not a link to one, with nothing in it."""
    return target.is_dir() and not target.is_symlink() and not any(target.iterdir())


def previous(target: Path) -> Path:
    """Where the old output waits while the new one takes its name."""
    return target.with_name(f".{target.name}.espcn-previous")


def exchange(one: Path, other: Path) -> bool:
    """Swap two names atomically; False where the system cannot. Raises OSError for all else."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    if rename(HERE, os.fsencode(one), HERE, os.fsencode(other), EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
        return False
    raise OSError(code, os.strerror(code), str(other))


def _step_aside(new: Path, target: Path) -> None:
    """Two renames; the first is undone if the second fails."""
    aside = previous(target)
    remove(aside)
    target.rename(aside)
    try:
        new.rename(target)
    except OSError:
        aside.rename(target)
        raise


def take_away(path: Path) -> None:
    """Remove a tree in one step: half of one would look like a store that was just begun."""
    if os.path.lexists(path):
        path.rename(aside := path.with_name(f"replaced-{unique()}"))
        remove(aside)


def remove(path: Path) -> None:
    """Remove a file or a tree; what cannot be removed is left to the stage's own end."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
