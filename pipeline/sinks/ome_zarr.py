"""OME-Zarr: what becomes of DICOM images for those who read arrays (OME-NGFF 0.5).

As in `zarr`, workers write whole shards and publishing adds the upper levels and, last, the root's
metadata. Nothing that tells whom the image shows comes along.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import zarr
from zarr.storage import MemoryStore

from pipeline.errors import DamagedStageError, PlanError
from pipeline.fate import Fate
from pipeline.journal import Receipt, Staged
from pipeline.kernel import Fine
from pipeline.plan import Plan
from pipeline.profile import Profile
from pipeline.sinks import zarr_stage
from pipeline.sinks.ome_layout import axes, create_level, encode
from pipeline.sinks.ome_metadata import root_attributes
from pipeline.sinks.ome_place import Place
from pipeline.sinks.ome_source import check_place, place_of
from pipeline.sinks.zarr_layout import Objects
from pipeline.sinks.zarr_stage import write_metadata, write_object
from pipeline.statistics import Statistics
from pipeline.tiling import Tile
from pipeline.top import Part, tile_pyramid, upper_parts, write_seed


def claims(target: Path, profile: Profile) -> bool:
    """Whether the name ends in .zarr and the source is DICOM."""
    return target.suffix.lower() == ".zarr" and profile.medical


def check(plan: Plan, target: Path) -> None:
    """Raise PlanError if OME-Zarr cannot hold the output, or what is at `target` is no store.

    The source's headers are read for it; raises SourceError.
    """
    if plan.output.zarr_format != 3:
        raise PlanError("OME-Zarr 0.5 is Zarr 3; leave out output.zarr_format=2")
    check_place(plan)
    zarr_stage.check(plan, target)


def fates(plan: Plan) -> tuple[Fate, ...]:
    """What becomes of the source's metadata: the image and its place are kept, nothing else is."""
    profile, band = plan.profile, plan.profile.bands[0]
    found = [
        Fate("size", "changed", f"x {plan.provenance.scale}"),
        Fate("axes", "kept", ", ".join(axes(profile))),
        Fate("data type", "kept", profile.dtype),
        Fate("place and size of pixels", "changed", "as scale and translation, corners stay"),
        Fate("orientation", "kept", "as the attribute dicom, beside what OME-Zarr can say"),
        *_uneven(plan),
    ]
    if (band.scale, band.offset) != (1.0, 0.0):
        found.append(Fate("rescaling", "kept", "as the attribute dicom"))
    if profile.nodata is not None:
        found.append(Fate("padding", "kept", f"{profile.nodata:g}, as fill value and in dicom"))
    if profile.mask:
        found.append(
            Fate(
                "mask", "dropped", "OME-Zarr has none; pixels that it marks come back as they were"
            )
        )
    found.append(Fate("patient, study and all other attributes", "dropped", "only DICOM has them"))
    return tuple(found)


def _uneven(plan: Plan) -> Iterator[Fate]:
    """Of frames that no matrix holds."""
    place = Place((1.0, 1.0)) if plan.profile.slide else place_of(plan)
    unknown = place.planes.count(None)
    if unknown:
        lie = f"{unknown} of {len(place.planes)} are unknown"
    else:
        lie = f"steps differ, frames lie up to {place.apart:.2g} mm beside an even stack"
    if place.planes:
        note = f"{lie}, which one matrix cannot hold; each is in the attribute dicom"
        yield Fate("positions of frames", "kept", note)


def begin(stage: Path, plan: Plan) -> None:
    """Make the directory of the store; on a resumed stage it stays as it is."""
    zarr_stage.begin(stage, plan)


def write(stage: Path, plan: Plan, tile: Tile, fine: Fine) -> tuple[Staged, ...]:
    """Make a tile durable: its shards of all levels that it makes alone, and its seed."""
    levels = tile_pyramid(plan, tile, fine)
    own, seeds = levels[: plan.tile_levels + 1], levels[plan.tile_levels + 1 :]
    staged = [item for part in own for item in _write_part(stage, plan, part, tile.frame)]
    return (*staged, *(_write_seed(stage, seed, tile.frame) for seed in seeds))


def _write_part(stage: Path, plan: Plan, part: Part, frame: int) -> Iterator[Staged]:
    for key, data in encode(plan, part, frame):
        yield write_object(stage, key, data)


def _write_seed(stage: Path, seed: Part, frame: int) -> Staged:
    """Seeds of a frame lie by themselves: what is above tiles is made frame by frame."""
    folder = _folder(stage, frame)
    folder.mkdir(exist_ok=True)
    staged = write_seed(folder, seed)
    return replace(staged, name=f"{folder.name}/{staged.name}")


def _folder(stage: Path, frame: int) -> Path:
    return stage / f"frame-{frame}"


def publish(stage: Path, plan: Plan, receipts: Mapping[int, Receipt], target: Path) -> None:
    """Finish the store and rename it to `target`; raises OSError and DamagedStageError."""
    finish = partial(_finish, stage, plan, receipts)
    zarr_stage.publish(stage, plan, receipts, target, finish=finish)


def _finish(stage: Path, plan: Plan, receipts: Mapping[int, Receipt]) -> None:
    """Add the upper levels and the metadata."""
    for frame in range(plan.profile.frames):
        try:
            for part in upper_parts(_folder(stage, frame), plan):
                for _ in _write_part(stage, plan, part, frame):
                    pass
        except DamagedStageError as error:
            raise _of_frame(error, plan, frame) from error
    objects = _describe(plan, place_of(plan), zarr_stage.statistics_of(plan, receipts))
    write_metadata(stage, objects)


def _of_frame(error: DamagedStageError, plan: Plan, frame: int) -> DamagedStageError:
    """The same of a tile of the whole, not of its frame."""
    if error.tile is None:
        return error
    before = frame * plan.tiling.rows * plan.tiling.columns
    return DamagedStageError(error.message, uri=error.uri, tile=before + error.tile)


def _describe(plan: Plan, place: Place, statistics: tuple[Statistics, ...]) -> Objects:
    """All objects that hold no pixels."""
    objects: Objects = {}
    attributes = root_attributes(plan, place, statistics)
    zarr.create_group(MemoryStore(objects), zarr_format=3, attributes=dict(attributes))
    for level in range(len(plan.levels)):
        create_level(objects, plan, level)
    return objects
