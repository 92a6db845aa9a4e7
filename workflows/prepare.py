"""Deciding everything about a job before a tile runs: what cannot be done fails here."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import espcn
from pipeline.bands import check_bands
from pipeline.cluster import Gpus, Shape, local_shape
from pipeline.dicom.files import parted
from pipeline.errors import ConfigError, PlanError, PublishError
from pipeline.fate import Provenance
from pipeline.kernel import make_tiling
from pipeline.plan import Plan, choose_side
from pipeline.profile import Profile
from pipeline.room import Room, measure_room
from pipeline.sinks import sink_for
from pipeline.sources import Address, absolute, open_source
from pipeline.stage import is_publishing, stage_of, unique
from pipeline.staged_plan import is_of, read_plan
from pipeline.survey import survey
from pipeline.tiling import Tiling
from workflows.band_names import band_names
from workflows.job import Job

MEMORY_PER_TILE = 2**30
"""Bytes that a tile may use when the plan chooses its size."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A job of which everything is decided."""

    job: Job
    """What was asked for."""
    upscaler: espcn.Upscaler | espcn.Consistent
    """The model."""
    plans: tuple[tuple[Path, Plan], ...]
    """(target, plan) of each output."""
    rooms: tuple[Room, ...]
    """What each of them takes on disk."""
    shape: Shape
    """Of the local cluster that would be used; remote ones are seen when connected."""
    gpus: Gpus
    """GPUs of this machine that workers would use."""


def prepare(job: Job) -> Prepared:
    """Decide everything; reads headers and a few small windows. Raises PipelineError."""
    network = espcn.load(
        job.model.name,
        scale=job.model.scale,
        device=job.model.device,
        precision=job.model.precision,
        here=job.cluster.cluster == "local",
    )
    address = Address(absolute(job.source), job.input)
    source = open_source(address.uri, address.options)
    check_bands(
        source.profile,
        network,
        model=f"the model {network.card.name}",
        scene="the source",
        select=_by_flag,
    )
    names = band_names(source.profile)
    upscaler = espcn.consistent(network, steps=job.model.consistency, bands=names)
    radiometry = survey(source, job.radiometry, upscaler)
    on_gpu = upscaler.address.placement.device == "cuda"
    gpus = Gpus(espcn.cuda_devices(), espcn.cuda_room()) if on_gpu else Gpus()
    shape = local_shape(job.cluster, gpus=gpus)
    memory = min(MEMORY_PER_TILE, shape.memory_per_thread)
    side = choose_side(
        source.profile,
        upscaler,
        job.tiling,
        memory=memory,
        threads=shape.total_threads,
        gpu=on_gpu,
    )
    height, width, frames = source.profile.height, source.profile.width, source.profile.frames
    tiling = make_tiling(height, width, upscaler, side=side, frames=frames)
    provenance = _provenance(upscaler)
    plans = []
    for target in _targets(job, source.profile):
        name, sink = sink_for(target, source.profile)
        plan = Plan(address, source.profile, provenance, radiometry, tiling, job.output, name)
        try:
            sink.check(plan, target)
        except PlanError as error:
            error.uri = error.uri or str(target)
            raise
        _check_overwrite(job, plan, target)
        plans.append((target, plan))
    agreed = _agreed(plans, job)
    rooms = tuple(measure_room(plan, source) for _, plan in agreed)
    return Prepared(job, upscaler, agreed, rooms, shape, gpus)


def _targets(job: Job, profile: Profile) -> list[Path]:
    """The outputs' paths, refused where they would do harm."""
    paths = [Path(absolute(output)) for output in job.outputs]
    if len({Path(os.path.realpath(path.parent), path.name) for path in paths}) < len(paths):
        raise ConfigError(f"the same output is named twice: {', '.join(job.outputs)}")
    for path in paths:
        if not path.parent.is_dir():
            raise ConfigError("its directory does not exist", uri=str(path))
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise PublishError("its directory cannot be written to", uri=str(path))
        if any(_is_part(Path(file), path) for file in profile.files):
            raise ConfigError("is the input or a part of it; choose another name", uri=str(path))
        if profile.medical and _is_within(path, Path(parted(profile.uri)[0])):
            # a folder is read as a whole: whoever resumes would find two series in it
            raise ConfigError(
                "lies in the input's folder; choose a place outside of it", uri=str(path)
            )
        _check_length(path)
    return paths


def _is_within(path: Path, folder: Path) -> bool:
    """Whether it lies in a folder, whatever links lead there."""
    return folder.is_dir() and path.resolve().is_relative_to(folder.resolve())


def _check_length(path: Path) -> None:
    """Raise ConfigError if a name that is derived from the output's would be too long."""
    longest = f".{path.name}.report.json.{unique()}.tmp"
    beyond = len(os.fsencode(longest)) - os.pathconf(path.parent, "PC_NAME_MAX")
    if beyond > 0:
        raise ConfigError(
            f"its name is {beyond} bytes too long for those of the files beside it", uri=str(path)
        )


def _check_overwrite(job: Job, plan: Plan, target: Path) -> None:
    """Raise ConfigError if an output exists, unless this job was killed while publishing it."""
    stage = stage_of(target)
    if job.overwrite or not target.exists():
        return
    if not is_publishing(stage) or _staged_tiling(stage, plan) is None:
        raise ConfigError("exists; replace it with --overwrite", uri=str(target))


def _is_part(file: Path, target: Path) -> bool:
    """Whether a file of the input is the target, lies in it, or holds it."""
    if not file.exists():
        return False
    one, two = file.resolve(), target.resolve()
    same = target.exists() and file.samefile(target)
    return same or one in two.parents or two in one.parents


def _provenance(upscaler: espcn.Upscaler | espcn.Consistent) -> Provenance:
    card, placement = upscaler.card, upscaler.address.placement
    where = f"{placement.backend} {placement.device} {placement.precision}"
    made = Provenance(f"espcn {version('espcn')}", card.name, card.sha256, card.scale, where)
    if not isinstance(upscaler, espcn.Consistent):
        return made
    return replace(made, consistency=upscaler.steps, degradation=upscaler.degradation.text)


def _by_flag(numbers: Sequence[int]) -> str:
    """How bands are selected on the command line."""
    chosen = ",".join(str(number) for number in numbers)
    return f"select them with --bands {chosen}".rstrip()


def _agreed(plans: list[tuple[Path, Plan]], job: Job) -> tuple[tuple[Path, Plan], ...]:
    """The plans, with the tiles of an interrupted run where only their size differs.

    The plan chooses the side from the workers it finds; another number of workers must not throw
    staged tiles away.
    """
    if job.tiling.tile is not None:
        return tuple(plans)
    for path, plan in plans:
        tiling = _staged_tiling(stage_of(path), plan)
        if tiling is not None:
            return tuple((p, replace(other, tiling=tiling)) for p, other in plans)
    return tuple(plans)


def _staged_tiling(stage: Path, plan: Plan) -> Tiling | None:
    """The tiling of the staged plan, if it is this one but for the side of its tiles."""
    staged = _staged_plan(stage)
    if staged is None or not is_of(stage, replace(plan, tiling=staged.tiling)):
        return None
    return staged.tiling


def _staged_plan(stage: Path) -> Plan | None:
    """The plan of a stage, if there is one that can be read."""
    try:
        return read_plan(stage)
    except (OSError, ValueError, KeyError, TypeError):
        return None
