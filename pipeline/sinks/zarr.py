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
from pipeline.profile import Profile
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



def claims(target: Path, profile: Profile) -> bool:
    """Whether the name ends in .zarr."""
    return target.suffix.lower() == ".zarr" and not profile.medical


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


def write(stage: Path, plan: Plan, tile: Tile, fine: Fine) -> tuple[Staged, ...]:
    """Make a tile durable: its shards of all levels that it makes alone, and its seed."""
    levels = tile_pyramid(plan, tile, fine)
    own, seeds = levels[: plan.tile_levels + 1], levels[plan.tile_levels + 1 :]
    staged = [item for part in own for item in _write_part(stage, plan, part)]
    return (*staged, *(write_seed(stage, seed) for seed in seeds))


def _write_part(stage: Path, plan: Plan, part: Part) -> Iterator[Staged]:
    for key, data in encode(plan, part):
        yield _write_object(stage, key, data)


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
