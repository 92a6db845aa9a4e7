"""DICOM of classic and multi-frame images: one derived instance for each one of the source.

Workers stage plain tiles. Publishing joins those of a frame, encodes frames in threads, and writes
instance by instance; the tiles of a written one are removed.

    stage/tiles/0000012.raw       a tile's pixels (band, y, x), little endian
    stage/output/3f2a6c01d9be.dcm the instances, named by a hash of their identifiers
    stage/instances.jsonl         which of them are durable, with size and CRC-32
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import numpy as np

from pipeline.dicom.derived import Derivation
from pipeline.dicom.instance import write_derived
from pipeline.dicom.series import Series, open_series
from pipeline.dicom.uids import opaque
from pipeline.fate import Fate
from pipeline.journal import Receipt, Staged, append_durably
from pipeline.kernel import Fine
from pipeline.plan import Plan
from pipeline.profile import Profile
from pipeline.serial import digest, from_json, to_json
from pipeline.sinks.dicom_check import check_plan, fates_of, syntax_of
from pipeline.sinks.dicom_frames import TILES, encode_ahead, remove_tiles, write_tile
from pipeline.sinks.zarr_place import previous, put_in_place, remove, take_away
from pipeline.stage import checksum, is_whole, sync_directory
from pipeline.tiling import Tile

OUTPUT = "output"
"""The directory of instances being made, within the stage."""
RECORD = "instances.jsonl"
"""Which of them are durable."""


def claims(target: Path, profile: Profile) -> bool:
    """Whether a directory or one file is asked for, of an image that is no slide."""
    return profile.medical and not profile.slide and target.suffix.lower() in ("", ".dcm")


def check(plan: Plan, target: Path) -> None:
    """Raise PlanError for what DICOM cannot hold, or if `target` is of another kind."""
    check_plan(plan, open_series(plan.source.uri), target)


def fates(plan: Plan) -> tuple[Fate, ...]:
    """What becomes of the attributes, by groups of them."""
    return fates_of(plan)


def begin(stage: Path, plan: Plan) -> None:  # noqa: ARG001 - the plan is of use to other sinks
    """Make the directories."""
    for name in (TILES, OUTPUT):
        (stage / name).mkdir(exist_ok=True)


def write(stage: Path, plan: Plan, tile: Tile, fine: Fine) -> tuple[Staged, ...]:  # noqa: ARG001
    """Stage a tile's pixels as they are."""
    return (write_tile(stage, tile, fine.pixels),)


def publish(stage: Path, plan: Plan, receipts: Mapping[int, Receipt], target: Path) -> None:
    """Write the instances that are not there yet, and rename their directory, or the only one."""
    series = open_series(plan.source.uri)
    names = _names(plan, series)
    if _is_published(stage, names, target):
        if (stage / OUTPUT).exists():  # what was there before, exchanged for the new one
            take_away(stage / OUTPUT)
        remove(previous(target))
        return
    _write_all(stage, plan, receipts, series, names)
    sync_directory(stage / OUTPUT)
    if target.suffix.lower() == ".dcm":
        (stage / OUTPUT / names[0]).replace(target)
        sync_directory(target.parent)
    else:
        put_in_place(stage / OUTPUT, target)


def _names(plan: Plan, series: Series) -> list[str]:
    """Names of the instances, which tell nothing of a patient."""
    derivation = derivation_of(plan, datetime.now(UTC))
    return [f"{opaque(derivation.uid(one.uid or one.path))}.dcm" for one in series.instances]


def _is_published(stage: Path, names: list[str], target: Path) -> bool:
    """Whether a kill came between the last renaming and the clean-up."""
    known = _recorded(stage)
    if set(known) != set(names):
        return False
    if target.is_file():
        return is_whole(target.parent, replace(known[names[0]], name=target.name))
    return all(is_whole(target, known[name]) for name in names)


def _recorded(stage: Path) -> dict[str, Staged]:
    """The instances that were durable, by name; a torn last line is left out."""
    found = {}
    with suppress(FileNotFoundError):
        for line in (stage / RECORD).read_bytes().splitlines():
            with suppress(ValueError, KeyError, TypeError):
                staged = from_json(Staged, json.loads(line))
                found[staged.name] = staged
    return found


def _write_all(
    stage: Path, plan: Plan, receipts: Mapping[int, Receipt], series: Series, names: list[str]
) -> None:
    """Write what is not there, and remove the tiles of what is."""
    known = _recorded(stage)
    for left in (stage / OUTPUT).glob(".*.tmp"):
        left.unlink()
    starts = np.cumsum([0, *(one.stored.frames for one in series.instances)]).tolist()
    todo = [
        (one, name, range(start, start + one.stored.frames))
        for one, name, start in zip(series.instances, names, starts, strict=False)
        if not (name in known and is_whole(stage / OUTPUT, known[name]))
    ]
    derivation = derivation_of(plan, _begun(stage))
    wanted = [frame for _, _, numbers in todo for frame in numbers]
    encoded = encode_ahead(stage, plan, receipts, wanted, series.stored)
    with closing(encoded):
        for one, name, numbers in todo:
            frames = islice(encoded, len(numbers))
            write_derived(
                stage / OUTPUT / name,
                one.path,
                frames,
                derivation,
                anonymous=plan.output.deidentify,
            )
            _record(stage, name)
            remove_tiles(stage, plan, numbers)


def _record(stage: Path, name: str) -> None:
    """Note that an instance is durable."""
    path = stage / OUTPUT / name
    staged = Staged(name, path.stat().st_size, checksum(path))
    append_durably(stage / RECORD, json.dumps(to_json(staged)) + "\n")


def derivation_of(plan: Plan, created: datetime) -> Derivation:
    """How the pixels are made, for the headers."""
    made = plan.provenance
    options = (
        *(made.backend, made.consistency, made.degradation, plan.radiometry),
        *(plan.output.syntax, plan.output.deidentify, plan.output.private_tags),
    )
    return Derivation(
        scale=made.scale,
        model=made.model,
        sha256=made.sha256,
        software=made.software,
        backend=made.backend,
        options=digest(options),
        syntax=syntax_of(plan),
        created=created,
        private=plan.output.private_tags,
    )


def _begun(stage: Path) -> datetime:
    """When the job was begun: the same when it is resumed, so that its files are too."""
    plan = stage / "plan.json"
    if not plan.exists():
        return datetime.now(UTC)
    return datetime.fromtimestamp(int(plan.stat().st_mtime), UTC)
