"""The order of a series' files: along the body where they say where they lie, else by number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.dicom.geometry import Vector, normal
from pipeline.dicom.instances import Instance

TOGETHER = 1e-3
"""Millimetres within which slices lie at one place: positions are rounded."""


def in_order(instances: Sequence[Instance]) -> list[Instance]:
    """Classic slices by distance along the normal, then by number; all else by number.

    Frames of a file keep their order. Names of files decide only what nothing else does.
    """
    heights = None
    if all(one.kind == "classic" for one in instances):
        heights = heights_of(instances)
    places = np.zeros(len(instances), int) if heights is None else levels(heights)
    ranked = sorted(
        zip(places.tolist(), instances, strict=True), key=lambda both: (both[0], *_rank(both[1]))
    )
    return [one for _, one in ranked]


def heights_of(instances: Sequence[Instance]) -> Vector | None:
    """(n,) distances along the normal of the first; None unless all say where they lie."""
    planes = [one.planes[0] if one.planes else None for one in instances]
    known = [plane for plane in planes if plane is not None]
    if not known or len(known) < len(planes):
        return None
    # one normal for all: those of each would multiply rounding by the distance from the origin
    return np.array([plane.position for plane in known]) @ normal(known[0].orientation)


def levels(heights: Vector) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """(n,) numbers from 0 along the heights (n,), the same for slices at one place."""
    order = np.argsort(heights, kind="stable")
    steps = np.diff(heights[order], prepend=heights[order[:1]]) > TOGETHER
    numbers = np.empty(len(heights), np.int64)
    numbers[order] = np.cumsum(steps)
    return numbers


def _rank(one: Instance) -> tuple[bool, int, int, str, str]:
    """By number, those without one last."""
    return one.number is None, one.number or 0, one.part, one.uid, one.path
