"""Zarr: a sharded, multiscale store that xarray, rioxarray, odc-geo and GDAL find on the map.

Workers write whole objects into `stage/output.zarr`; `publish` adds the upper levels and, last, the
metadata that makes it a store, then renames it. A store under its final name is always whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from pipeline.coordinates import is_rotated
from pipeline.fate import Fate
from pipeline.fate import fates as all_fates
from pipeline.journal import Receipt, Staged
from pipeline.kernel import Fine
from pipeline.plan import Plan
from pipeline.profile import Profile
from pipeline.radiometry import as_code
from pipeline.sinks import zarr_stage
from pipeline.sinks.zarr_layout import encode
from pipeline.sinks.zarr_stage import write_metadata, write_object
from pipeline.sinks.zarr_store import describe
from pipeline.tiling import Tile
from pipeline.top import Part, tile_pyramid, upper_parts, write_seed

LOST = ("band metadata ", "0 is white")
"""Beginnings of what Zarr has no place for."""


def claims(target: Path, profile: Profile) -> bool:
    """Whether the name ends in .zarr."""
    return target.suffix.lower() == ".zarr" and not profile.medical


def check(plan: Plan, target: Path) -> None:
    """Raise PlanError if Zarr cannot hold the output, or what is at `target` is no Zarr store."""
    zarr_stage.check(plan, target)


def fates(plan: Plan) -> tuple[Fate, ...]:
    """What becomes of the source's metadata: all is kept, some of it in other places."""
    notes = _notes(plan)
    found = all_fates(plan.profile, plan.provenance)
    return tuple(_fate(fate, notes.get(fate.item)) for fate in found)


def _fate(fate: Fate, note: str | None) -> Fate:
    if fate.item.startswith(LOST):
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
    """Make the directory of the store; on a resumed stage it stays as it is."""
    zarr_stage.begin(stage, plan)


def write(stage: Path, plan: Plan, tile: Tile, fine: Fine) -> tuple[Staged, ...]:
    """Make a tile durable: its shards of all levels that it makes alone, and its seed."""
    levels = tile_pyramid(plan, tile, fine)
    own, seeds = levels[: plan.tile_levels + 1], levels[plan.tile_levels + 1 :]
    staged = [item for part in own for item in _write_part(stage, plan, part)]
    return (*staged, *(write_seed(stage, seed) for seed in seeds))


def _write_part(stage: Path, plan: Plan, part: Part) -> Iterator[Staged]:
    for key, data in encode(plan, part):
        yield write_object(stage, key, data)


def publish(stage: Path, plan: Plan, receipts: Mapping[int, Receipt], target: Path) -> None:
    """Finish the store and rename it to `target`; raises OSError and DamagedStageError."""
    finish = partial(_finish, stage, plan, receipts)
    zarr_stage.publish(stage, plan, receipts, target, finish=finish)


def _finish(stage: Path, plan: Plan, receipts: Mapping[int, Receipt]) -> None:
    """Add the upper levels and the metadata."""
    for part in upper_parts(stage, plan):
        for _ in _write_part(stage, plan, part):
            pass
    write_metadata(stage, describe(plan, zarr_stage.statistics_of(plan, receipts)))
