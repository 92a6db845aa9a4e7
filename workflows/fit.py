"""Whether a job fits memory and disk: asked before it starts, and by a dry run alike."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pipeline.cluster import local_shape
from pipeline.options import ClusterOptions
from pipeline.plan import check_memory
from pipeline.room import check_disk
from pipeline.stage import is_publishing, stage_of
from pipeline.staged_plan import is_of
from workflows.report import size_on_disk

if TYPE_CHECKING:
    from workflows.prepare import Prepared

FEW_TILES = 2
"""Jobs of so few tiles run in threads of this process: starting others would take longer."""


def check_fit(prepared: Prepared) -> None:
    """Raise NoRoomError if a tile does not fit a local worker or the outputs their disks.

    What workers elsewhere have is seen, and checked, once they are connected.
    """
    options = modest(prepared)
    if options.cluster == "local":
        shape = local_shape(options, gpus=prepared.gpus)
        for _, plan in prepared.plans:
            check_memory(plan, memory=shape.memory_per_thread)
    missing = {}
    for (path, plan), room in zip(prepared.plans, prepared.rooms, strict=True):
        stage = stage_of(path)
        if not (is_of(stage, plan) and is_publishing(stage)):
            # what another plan has staged is removed first, what this one has stays
            missing[path] = room.peak - size_on_disk(stage)
    check_disk(missing)


def modest(prepared: Prepared) -> ClusterOptions:
    """The cluster's options; threads of this process for a few tiles, unless told otherwise."""
    options, tiles = prepared.job.cluster, len(prepared.plans[0][1].tiling)
    few = tiles <= FEW_TILES and not prepared.gpus.number
    if options.workers is None and options.cluster == "local" and few:
        return replace(options, workers=0)
    return options
