"""Which instances make one stack: those of a series that are alike in all that a stack has once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.dicom.instances import Instance

TURNED = 1e-3
"""Direction cosines that differ by less are of one orientation: headers round them."""
STRETCHED = 1e-4
"""Pixel sizes that differ by this part of them are one."""

Key = tuple[object, ...]
"""What all instances of a stack have in common."""


@dataclass(frozen=True, slots=True)
class Stack:
    """Instances that belong together."""

    key: Key
    """What tells it from other stacks; the same wherever its files lie."""
    instances: tuple[Instance, ...]
    """In the order in which they were found."""
    again: int
    """How many instances came again, under other names of files, and are left out."""


def group(instances: Iterable[Instance]) -> list[Stack]:
    """The stacks of some instances."""
    found = []
    groups, again = _by_key(instances)
    for key, members in groups.items():
        parts = sorted(_parts(members), key=lambda part: min(one.uid for one in part))
        for number, part in enumerate(parts):
            found.append(Stack((*key, number), tuple(part), 0 if number else again.get(key, 0)))
    return found


def _by_key(
    instances: Iterable[Instance],
) -> tuple[dict[Key, list[Instance]], dict[Key, int]]:
    """(instances by what they have in common, how many of them came again)."""
    groups: dict[Key, list[Instance]] = defaultdict(list)
    again: dict[Key, int] = defaultdict(int)
    seen: set[str] = set()
    # of copies the one that is whole
    for instance in sorted(instances, key=lambda one: one.broken is not None):
        key = _key(instance)
        if instance.uid and instance.uid in seen:
            again[key] += 1
            continue
        seen.add(instance.uid)
        groups[key].append(instance)
    return groups, again


def _key(one: Instance) -> Key:
    """What parts series, but for directions and sizes, which are compared as numbers."""
    series = one.series or f"folder {Path(one.path).parent}"
    if one.kind == "slide":
        return (series, one.kind)
    pixels = one.stored
    return (
        *(series, one.kind, one.sop_class, one.body, pixels.rows, pixels.columns),
        *(pixels.dtype, pixels.bits_stored, pixels.bands, pixels.photometric_read),
    )


def _parts(members: Sequence[Instance]) -> list[list[Instance]]:
    """Instances of one key, parted by orientation and size of pixels."""
    if members[0].kind == "slide":
        return [list(members)]
    placed = _sorted_out([one for one in members if _facing(one) is not None])
    unplaced = [one for one in members if _facing(one) is None]
    if len(placed) == 1 and all(_alike(placed[0][0], one) for one in unplaced):
        return [list(members)]  # a few of its slices do not say where they lie
    return [*placed, *_sorted_out(unplaced)]


def _sorted_out(members: Iterable[Instance]) -> list[list[Instance]]:
    """Each with the first ones that it is like."""
    parts: list[list[Instance]] = []
    for one in members:
        fitting = next((part for part in parts if _alike(part[0], one)), None)
        if fitting is None:
            parts.append([one])
        else:
            fitting.append(one)
    return parts


def _facing(one: Instance) -> tuple[float, ...] | None:
    """Directions of the first frame."""
    plane = one.planes[0] if one.planes else None
    return None if plane is None else plane.orientation


def _alike(one: Instance, other: Instance) -> bool:
    """Whether pixels are of one size, and directions are the same as far as both have any."""
    if one.spacing is None or other.spacing is None:
        if one.spacing is not other.spacing:
            return False
    elif not np.allclose(one.spacing, other.spacing, rtol=STRETCHED, atol=0.0):
        return False
    first, second = _facing(one), _facing(other)
    if first is None or second is None:
        return True
    return bool(np.abs(np.subtract(first, second)).max() < TURNED)
