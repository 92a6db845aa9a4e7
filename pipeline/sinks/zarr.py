"""Zarr: a sharded, multiscale store that xarray, rioxarray, odc-geo and GDAL find on the map.

Workers write whole objects into `stage/output.zarr`; `publish` adds the upper levels and, last, the
metadata that makes it a store, then renames it. A store under its final name is always whole.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.coordinates import is_rotated
from pipeline.errors import DamagedStageError, PlanError
from pipeline.fate import Fate
from pipeline.fate import fates as all_fates
from pipeline.journal import Receipt, Staged
from pipeline.kernel import Fine
from pipeline.plan import Plan
from pipeline.radiometry import as_code
from pipeline.sinks.zarr_layout import (
    BLOSC,
    data_of,
    encode,
)
from pipeline.sinks.zarr_place import previous, put_in_place, remove, take_away
from pipeline.sinks.zarr_store import describe
from pipeline.stage import is_whole, sync_directory, write_durably
from pipeline.statistics import Statistics, add_up
from pipeline.tiling import Tile
from pipeline.top import Part, tile_pyramid, upper_parts, write_seed

STORE = "output.zarr"
"""The store being written, within the stage."""
FOREIGN = "is not a Zarr store and will not be replaced"
"""What is said of a target that holds something else."""


def claims(target: Path) -> bool:
    """Whether the name ends in .zarr."""
    return target.suffix.lower() == ".zarr"


def check(plan: Plan, target: Path) -> None:
    """Raise PlanError if Zarr cannot hold the output, or what is at `target` is no Zarr store."""
    if plan.output.compress not in (*BLOSC, "none"):
        raise PlanError(
            f"Zarr cannot be compressed with {plan.output.compress}; use --compress "
            f"{', '.join(BLOSC)} or none",
            uri=plan.profile.uri,
        )
    if _is_foreign(target):
        raise PlanError(f"{FOREIGN}; move it away or choose another name", uri=str(target))


def _is_foreign(target: Path) -> bool:
    """Whether a file, or a directory of other things, would be replaced for its name."""
    if not target.is_dir():
        return target.exists()
    return any(target.iterdir()) and not _metadata_file(target)


def fates(plan: Plan) -> tuple[Fate, ...]:
    """What becomes of the source's metadata: all is kept, some of it in other places."""
    notes = _notes(plan)
    found = all_fates(plan.profile, plan.provenance)
    return tuple(_fate(fate, notes.get(fate.item)) for fate in found)


def _fate(fate: Fate, note: str | None) -> Fate:
    if fate.item.startswith("band metadata "):
        return Fate(fate.item, "dropped", "Zarr has no place for it")
    return replace(fate, note="; ".join(part for part in (fate.note, note) if part))


def _notes(plan: Plan) -> dict[str, str]:
    """Where Zarr differs, by item."""
    georef, bands = plan.profile.georef, plan.profile.bands
    notes = {
        "mask": "as the array mask",
        "palette": "as the attribute colormap",
        "ground control points": "as GeoJSON in spatial_ref",
        "RPCs": "as the attribute rpcs",
        "colour interpretation": "as the attribute bands",
    }
    if georef.affine and is_rotated(georef.affine):
        notes["transform"] = "rotated: as GeoTransform, without x and y arrays"
    if len({(band.scale, band.offset) for band in bands}) > 1:
        notes["scales and offsets"] = "differ between bands: as the attributes scales and offsets"
    if as_code(plan.profile.nodata, np.dtype(plan.profile.dtype)) is None:
        notes["nodata"] = f"no {plan.profile.dtype} pixel can hold it: as nodata_declared"
    return notes


def begin(stage: Path, plan: Plan) -> None:
    """Make the directory of the store; on a resumed stage it stays as it is.

    A finished store of another plan there is the former output, left by a kill right after it
    was exchanged for the new one.
    """
    store = stage / STORE
    if not _is_ours(store, plan):
        take_away(store)
    store.mkdir(exist_ok=True)


def write(stage: Path, plan: Plan, tile: Tile, fine: Fine) -> tuple[Staged, ...]:
    """Make a tile durable: its shards of all levels that it makes alone, and its seed."""
    levels = tile_pyramid(plan, tile, fine)
    own, seeds = levels[: plan.tile_levels + 1], levels[plan.tile_levels + 1 :]
    staged = [item for part in own for item in _write_part(stage, plan, part)]
    return (*staged, *(write_seed(stage, seed) for seed in seeds))


def _write_part(stage: Path, plan: Plan, part: Part) -> Iterator[Staged]:
    for key, data in encode(plan, part):
        yield _write_object(stage, key, data)


def _write_object(stage: Path, key: str, data: memoryview) -> Staged:
    path = stage / STORE / key
    _make_folder(path.parent, store=stage / STORE)
    return replace(write_durably(path, data), name=f"{STORE}/{key}")


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


def publish(stage: Path, plan: Plan, receipts: Mapping[int, Receipt], target: Path) -> None:
    """Finish the store and rename it to `target`; raises OSError and DamagedStageError.

    Replacing an existing output is one atomic exchange on Linux's own file systems; elsewhere see
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
    _finish(stage, plan, receipts)
    put_in_place(store, target)


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


def _finish(stage: Path, plan: Plan, receipts: Mapping[int, Receipt]) -> None:
    """Add the upper levels and the metadata, and make every name durable."""
    for part in upper_parts(stage, plan):
        for _ in _write_part(stage, plan, part):
            pass
    objects = describe(plan, _statistics(plan, receipts))
    for key in sorted(objects, key=lambda key: (-key.count("/"), key)):  # the root last
        _write_object(stage, key, data_of(objects[key]))
    for folder, _, names in os.walk(stage / STORE):
        for name in names:
            if name.startswith(".") and name.endswith(".tmp"):
                (Path(folder) / name).unlink()
        sync_directory(Path(folder))


def _statistics(plan: Plan, receipts: Mapping[int, Receipt]) -> tuple[Statistics, ...]:
    """Of each band, or nothing where none were taken."""
    if not plan.output.statistics or not all(r.statistics for r in receipts.values()):
        return ()
    return tuple(
        add_up(receipts[tile].statistics[band] for tile in sorted(receipts))
        for band in range(len(plan.profile.bands))
    )


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
