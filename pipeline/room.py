"""How much disk an output will take: an upper estimate, from a few windows of the source."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from pipeline.codec import codec, encode_block
from pipeline.errors import NoRoomError
from pipeline.plan import Plan, mib
from pipeline.pyramid import BLOCK
from pipeline.radiometry import Pixels
from pipeline.sources import Source
from pipeline.survey import probes
from pipeline.tiff import blocks

STAGING = 1.15
"""Of most formats; 1.10 was the most that was measured."""
APART = 8 * 2**20
"""Bytes for what does not shrink with the output: its least step, the journal, the report."""
LEAST_RATIO = 0.25
"""Least that networks are expected to leave of flat pictures."""
FEW = {1: 64, 2: 1024}
"""Distinct values, by bytes of a sample, below which a network makes many of few: the coarse pixels
tell nothing then of how the fine ones pack."""


@dataclass(frozen=True, slots=True)
class Room:
    """Disk space, in bytes; upper estimates."""

    output: int
    """Of the finished output."""
    peak: int
    """Of output and stage together when they take most."""


def measure_room(plan: Plan, source: Source) -> Room:
    """What an output will take; reads the windows that were surveyed."""
    sample = len(plan.profile.bands) * np.dtype(plan.profile.dtype).itemsize
    mask = 1 / 8 if plan.profile.mask else 0
    pixels = plan.tiling.frames * _pixels(plan)
    output = pixels * (sample * _ratio(plan, source) + mask)
    return Room(int(output), int(output * _staging(plan)) + APART)


def _staging(plan: Plan) -> float:
    """Stage and output at their peak over the output."""
    # of DICOM the tiles of a file go when it is whole, and it has those of one of the source's
    return 1 + 1 / len(plan.profile.files) if plan.format == "dicom" else STAGING


def _pixels(plan: Plan) -> int:
    """Of all levels that are written; blocks are whole ones, and empty space may not shrink."""
    if plan.format == "dicom" or _is_packed(plan):
        return sum(math.prod(shape) for shape in plan.levels)
    return sum(math.prod(blocks(shape)) * BLOCK**2 for shape in plan.levels)


def _is_packed(plan: Plan) -> bool:
    """Whether pixels are compressed; those of DICOM may be, but by how much is not known."""
    if plan.format == "dicom" or (plan.format == "slide" and plan.output.syntax == "uncompressed"):
        return False
    return plan.format in ("png", "slide") or plan.output.compress != "none"


def _ratio(plan: Plan, source: Source) -> float:
    """Encoded over plain bytes in the row of windows that packs worst.

    The coarse pixels stand for the fine ones, which differ less from their neighbours.
    """
    if not _is_packed(plan):
        return 1.0
    scheme = codec("deflate" if plan.format in ("png", "slide") else plan.output.compress)
    worst = 0.0
    for _, row in groupby(probes(plan.profile), key=lambda probe: probe[1].y):
        pixels = np.concatenate([source.read(window, frame) for frame, window in row], axis=2)
        packed = len(encode_block(pixels, scheme)) / pixels.nbytes
        worst = max(worst, packed if plan.categorical else _after_network(pixels, packed))
    return worst


def _after_network(pixels: Pixels, packed: float) -> float:
    """What is left of pixels that packed to that share, once a network has refined them."""
    if len(np.unique(pixels)) < FEW.get(pixels.itemsize, 0):
        return 1.0
    return max(packed, LEAST_RATIO)


def check_disk(missing: Mapping[Path, int]) -> None:
    """Raise NoRoomError if the bytes that outputs still need do not fit their disks together."""
    disks: dict[int, int] = {}
    for target, size in missing.items():
        device = target.parent.stat().st_dev
        disks[device] = disks.get(device, 0) + max(size, 0)
        total, _, free = shutil.disk_usage(target.parent)
        if total and disks[device] > free:  # /proc and its like have no size: writing will fail
            raise NoRoomError(
                f"the output and its stage may take {mib(disks[device])} more, {target.parent} has "
                f"{mib(free)} free; make room, choose another place or fewer --bands",
                uri=str(target),
            )
