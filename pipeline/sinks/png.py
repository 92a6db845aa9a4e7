"""PNG, for images rather than scenes: staged as a GeoTIFF, then written row by row by GDAL.

PNG cannot be written in pieces, so tiles are staged the way a GeoTIFF is, without overviews, and
copied at the end. GDAL streams the rows: memory does not grow with the image.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import rasterio
import rasterio.shutil
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError

from pipeline.errors import PlanError
from pipeline.fate import Fate
from pipeline.fate import fates as all_fates
from pipeline.journal import Receipt, Staged
from pipeline.kernel import Fine
from pipeline.plan import Plan
from pipeline.sinks import cog
from pipeline.stage import sync_directory, unique
from pipeline.tiling import Tile

MAX_SIDE = 2**31 - 1
"""Most rows or columns that the PNG standard allows."""
LOST = ("coordinate", "transform", "ground", "RPCs", "AREA", "mask", "units", "scales", "band ")
"""Beginnings of what a PNG has no place for."""
PROFILE = "COLOR_PROFILE"
"""Metadata domain of the ICC profile, primaries and gamma."""


def claims(target: Path) -> bool:
    """Whether the name is that of a PNG."""
    return target.suffix.lower() == ".png"


def check(plan: Plan, target: Path) -> None:
    """Raise PlanError for what a PNG cannot hold, or if `target` is a directory."""
    cog.check_file(target)
    bands, dtype = len(plan.profile.bands), plan.profile.dtype
    if dtype not in ("uint8", "uint16"):
        raise PlanError(f"PNG holds uint8 or uint16, not {dtype}; write .tif or .zarr")
    if bands > 4:
        raise PlanError(f"PNG holds 1 to 4 bands, not {bands}; select some with --bands")
    if bands in (2, 4) and plan.profile.alpha != bands - 1:
        raise PlanError(f"the last of {bands} bands of a PNG is alpha; select others with --bands")
    if max(plan.tiling.shape) > MAX_SIDE:
        raise PlanError(f"PNG holds at most {MAX_SIDE} rows and columns; write .tif or .zarr")


def fates(plan: Plan) -> tuple[Fate, ...]:
    """PNG keeps pixels, colours and text; it has no place for georeferencing."""
    return tuple(_fate(fate) for fate in all_fates(plan.profile, plan.provenance))


def _fate(fate: Fate) -> Fate:
    domain, colon, _ = fate.item.removeprefix("tag ").partition(":")
    foreign = bool(colon) and fate.item.startswith("tag ") and domain != PROFILE
    if fate.outcome != "dropped" and (fate.item.startswith(LOST) or foreign):
        return Fate(fate.item, "dropped", "PNG has no place for it")
    return fate


def begin(stage: Path, plan: Plan) -> None:
    """As for a GeoTIFF."""
    cog.begin(stage, _as_tiff(plan))


def write(stage: Path, plan: Plan, tile: Tile, fine: Fine) -> tuple[Staged, ...]:
    """As for a GeoTIFF."""
    return cog.write(stage, _as_tiff(plan), tile, fine)


def publish(stage: Path, plan: Plan, receipts: Mapping[int, Receipt], target: Path) -> None:
    """Copy the staged GeoTIFF into a PNG and rename it to `target`."""
    staged = stage / "image.tif"
    if not staged.exists():
        cog.publish(stage, _as_tiff(plan), receipts, staged)
    output = stage / f"{unique()}.png"
    try:
        with rasterio.Env(GDAL_PAM_ENABLED="NO"):
            rasterio.shutil.copy(
                staged, output, driver="PNG", WRITE_METADATA_AS_TEXT="YES", **_colours(plan)
            )
    except (RasterioError, CPLE_BaseError) as error:
        output.unlink(missing_ok=True)
        raise OSError(f"GDAL could not write the PNG: {error}") from error
    with output.open("rb") as file:
        os.fsync(file.fileno())
    output.replace(target)
    sync_directory(target.parent)


def _colours(plan: Plan) -> dict[str, str]:
    """Creation options that carry primaries and gamma.

    The ICC profile comes with the staged GeoTIFF; GDAL 3.10 garbles one that is given as an option.
    """
    found = plan.fine.tags.get(PROFILE, {})
    return {name: value for name, value in found.items() if not name.startswith("SOURCE_ICC")}


def _as_tiff(plan: Plan) -> Plan:
    """The plan of the GeoTIFF that is staged."""
    output = replace(plan.output, compress="zstd", overviews="none", statistics=False)
    return replace(plan, output=output)
