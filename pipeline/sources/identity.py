"""Which version of an input this is, without reading its pixels."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from pipeline.profile import Identity

HEAD = 64 * 1024
"""Bytes of each file that go into the digest: headers lie there."""


def identify(paths: Iterable[str | Path]) -> Identity:
    """The identity of a set of files; those that do not exist (yet) are left out."""
    digest, size, youngest = hashlib.sha256(), 0, 0
    for path in sorted(Path(p) for p in paths):
        if not os.path.isfile(path):  # Path's own raises where a name is too long
            continue
        status = path.stat()
        digest.update(os.fsencode(path.name))
        digest.update(f"\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
        with path.open("rb") as file:
            digest.update(file.read(HEAD))
        size += status.st_size
        youngest = max(youngest, status.st_mtime_ns)
    return Identity(size, youngest, digest.hexdigest())
