"""Stand-ins for what opens a scene in a process of its own."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

from pipeline.scenes.found import Found
from workflows.batch import opening
from workflows.batch.job import Batch


def crash_on_bad(batch: Batch, found: Found, key: str, work: Path, apart: str) -> opening.Opened:
    """Ends the process, as a reader that crashes does, for names that begin with 'bad'."""
    if found.path.name.startswith("bad"):
        os.abort()
    return opening.open_and_prepare(batch, found, key, work, apart)


def with_dataset(batch: Batch, found: Found, key: str, work: Path, apart: str) -> opening.Opened:
    """Scenes named DATASET_VERSION.tif."""
    opened = opening.open_and_prepare(batch, found, key, work, apart)
    dataset, _, version = found.path.stem.partition("_")
    return replace(opened, scene=replace(opened.scene, dataset=dataset, version=version))


def with_little_room(
    batch: Batch, found: Found, key: str, work: Path, apart: str
) -> opening.Opened:
    """Opens where a disk has a megabyte left."""
    shutil.disk_usage = lambda _: (2**40, 2**40 - 2**20, 2**20)
    return opening.open_and_prepare(batch, found, key, work, apart)
