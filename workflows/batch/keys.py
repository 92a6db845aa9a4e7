"""What makes two runs over a scene the same: its files, the networks and the options."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import espcn
from pipeline.errors import ConfigError
from pipeline.scenes import files_of
from pipeline.scenes.found import Found
from pipeline.serial import digest, to_json
from workflows.batch.job import Batch

HEAD = 4096
"""Bytes of each file that count when not all do: headers begin there."""
CHUNK = 2**20
"""Bytes read at once."""
VERSION = 1
"""Of the products: another one makes all of them anew."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """The files of a scene as they are now."""

    size: int
    """Bytes."""
    youngest: float
    """Latest modification, in seconds since the epoch."""
    digest: str
    """sha256 over names, sizes, modification times and contents as far as they count."""


def inputs_of(scene: Found, *, full: bool) -> Inputs:
    """The files of what was found: itself or all below it, and what lies beside it.

    Raises OSError.
    """
    found, size, youngest = hashlib.sha256(), 0, 0
    for file in (file for path in files_of(scene) for file in _files(path)):
        status = file.stat()
        name = os.path.relpath(file, scene.path.parent)
        found.update(os.fsencode(name))
        found.update(f"\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
        with file.open("rb") as opened:
            while data := opened.read(CHUNK if full else HEAD):
                found.update(data)
                if not full:
                    break
        size, youngest = size + status.st_size, max(youngest, status.st_mtime_ns)
    return Inputs(size, youngest / 1e9, found.hexdigest())


def _files(path: Path) -> Iterator[Path]:
    """Regular files, in the order of their names."""
    if not path.is_dir():
        yield path
        return
    for folder, folders, names in os.walk(path):
        folders.sort()
        yield from (file for n in sorted(names) if (file := Path(folder, n)).is_file())


def recipe_of(batch: Batch) -> str:
    """Digest of all that decides the pixels of products besides the inputs; raises ConfigError."""
    shas = {}
    for model in batch.models.rules.values():
        try:
            shas[model] = espcn.describe(model).sha256
        except espcn.ModelError as error:
            raise ConfigError(f"models.rules: {error}") from error
    chosen = batch.batch
    return digest(
        {
            "version": VERSION,
            "models": shas,
            "rules": list(batch.models.rules.items()),
            "product": [chosen.product, chosen.format],
            "precision": [batch.model.precision, batch.model.consistency],
            "scale": batch.model.scale,
            **{
                name: to_json(getattr(batch, name))
                for name in ("scenes", "radiometry", "output", "checks")
            },
        }
    )


def key_of(found: Found, inputs: Inputs, recipe: str) -> str:
    """The key of a scene: equal for equal products."""
    return digest([found.family, found.name, inputs.digest, recipe])
