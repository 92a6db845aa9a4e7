"""The directory of a Zarr store while it is being written, and how it comes to its name.

    stage/output.zarr    objects, written whole by workers in any order
                         publishing adds what is left and, last, the root's metadata
    target               the same directory, renamed

A store with the metadata of its root is whole; `plan_sha256` there says which plan made it.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from pipeline.errors import DamagedStageError, PlanError
from pipeline.journal import Receipt, Staged
from pipeline.plan import Plan
from pipeline.sinks.zarr_layout import BLOSC, Objects, data_of
from pipeline.sinks.zarr_place import previous, put_in_place, remove, take_away
from pipeline.stage import is_whole, sync_directory, write_durably
from pipeline.statistics import Statistics, add_up

STORE = "output.zarr"
"""The store being written, within the stage."""
FOREIGN = "is not a Zarr store and will not be replaced"
"""What is said of a target that holds something else."""


def check(plan: Plan, target: Path) -> None:
    """Raise PlanError for a codec that Zarr lacks, or if what is at `target` is no Zarr store."""
    if plan.output.compress not in (*BLOSC, "none"):
        raise PlanError(
            f"Zarr cannot be compressed with {plan.output.compress}; use --compress "
            f"{', '.join(BLOSC)} or none",
            uri=plan.profile.label,
        )
    if _is_foreign(target):
        raise PlanError(f"{FOREIGN}; move it away or choose another name", uri=str(target))


def _is_foreign(target: Path) -> bool:
    """Whether a file, or a directory of other things, would be replaced for its name."""
    if not target.is_dir():
        return target.exists()
    return any(target.iterdir()) and not _metadata_file(target)


def begin(stage: Path, plan: Plan) -> None:
    """Make the directory of the store; on a resumed stage it stays as it is.

    A finished store of another plan there is the former output, left by a kill right after it
    was exchanged for the new one.
    """
    store = stage / STORE
    if not _is_ours(store, plan):
        take_away(store)
    store.mkdir(exist_ok=True)


def write_object(stage: Path, key: str, data: memoryview) -> Staged:
    """Make an object of the store durable."""
    path = stage / STORE / key
    _make_folder(path.parent, store=stage / STORE)
    return replace(write_durably(path, data), name=f"{STORE}/{key}")


def write_metadata(stage: Path, objects: Objects) -> None:
    """Make all that holds no pixels durable, the root's metadata last."""
    for key in sorted(objects, key=lambda key: (-key.count("/"), key)):
        write_object(stage, key, data_of(objects[key]))


def _make_folder(folder: Path, *, store: Path) -> None:
    """Make a directory below the store, never the store itself.

    A worker that outlives its run would bring a discarded stage back otherwise.
    """
    if folder == store:
        return
    try:
        folder.mkdir(exist_ok=True)
    except FileNotFoundError:
        _make_folder(folder.parent, store=store)
        folder.mkdir(exist_ok=True)


def publish(
    stage: Path,
    plan: Plan,
    receipts: Mapping[int, Receipt],
    target: Path,
    *,
    finish: Callable[[], None],
) -> None:
    """Have the store finished and rename it to `target`; raises OSError and DamagedStageError.

    `finish` writes what tiles do not, the root's metadata last; it may be called again. Replacing
    an existing output is one atomic exchange on Linux's own file systems; elsewhere see
    `zarr_place`.
    """
    store = stage / STORE
    if not _is_ours(store, plan):
        _confirm(plan, target)
        take_away(store)
        return
    if _is_foreign(target):
        raise FileExistsError(errno.EEXIST, FOREIGN, str(target))
    _check_complete(stage, plan, receipts, target)
    finish()
    _sync(os.walk(store))
    put_in_place(store, target)


def _sync(folders: Iterable[tuple[str, list[str], list[str]]]) -> None:
    """Make every name durable; what was being written when somebody was killed goes."""
    for folder, _, names in folders:
        for name in names:
            if name.startswith(".") and name.endswith(".tmp"):
                (Path(folder) / name).unlink()
        sync_directory(Path(folder))


def _confirm(plan: Plan, target: Path) -> None:
    """Called again after the last rename: fine if the target is this plan's."""
    if _plan_of(target) != plan.digest:
        raise DamagedStageError("its staged store has vanished", uri=str(target))
    remove(previous(target))


def _check_complete(stage: Path, plan: Plan, receipts: Mapping[int, Receipt], target: Path) -> None:
    """Raise DamagedStageError unless the store holds all that was recorded, as it was written."""
    lost = [
        tile.index
        for tile in plan.tiling
        if tile.index not in receipts or not _is_there(stage, receipts[tile.index])
    ]
    if lost:
        raise DamagedStageError(
            f"lacks {len(lost)} of {len(plan.tiling)} tiles, the first is {lost[0]}",
            uri=str(target),
            tile=lost[0],
        )


def _is_there(stage: Path, receipt: Receipt) -> bool:
    """Whether a tile's objects are; its seed is looked at, and removed, as it is used."""
    return all(is_whole(stage, file) for file in receipt.files if file.name.startswith(STORE))


def _is_ours(store: Path, plan: Plan) -> bool:
    """Whether a store is being made by this plan, or was finished by it; links never are."""
    if store.is_symlink() or not store.is_dir():
        return False
    return _plan_of(store) in (None, plan.digest)


def _metadata_file(store: Path) -> Path | None:
    """The file with the attributes of a store's root."""
    found = (store / name for name in ("zarr.json", ".zattrs", ".zgroup", ".zarray"))
    return next((path for path in found if path.is_file()), None)


def _plan_of(store: Path) -> str | None:
    """The plan that made a finished store; None for one that is unfinished, '' for others."""
    path = _metadata_file(store)
    if path is None:
        return None
    try:
        data = json.loads(path.read_bytes())
        return str(data.get("attributes", data).get("plan_sha256", ""))
    except (ValueError, AttributeError):
        return ""


def statistics_of(plan: Plan, receipts: Mapping[int, Receipt]) -> tuple[Statistics, ...]:
    """Of each band, or nothing where none were taken."""
    if not plan.output.statistics or not all(r.statistics for r in receipts.values()):
        return ()
    return tuple(
        add_up(receipts[tile].statistics[band] for tile in sorted(receipts))
        for band in range(len(plan.profile.bands))
    )
