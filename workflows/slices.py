"""DICOM slices that show the same body, placed along it, so that neighbours stay together.

Slices with one frame of reference are a group. They lie along the normal of its first slice, in
units of the widest spacing among its series: a block is one spacing, the gap a few. A slice across
the others has the length of all that it cuts through.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from pipeline.dicom.geometry import Plane, Vector, normal
from pipeline.dicom.geometry import corners as outer_corners
from pipeline.dicom.series import open_series
from pipeline.profile import Profile
from workflows.boxes import Box, Grid
from workflows.find_sources import Found
from workflows.ground import Footprint, Group

HALF = 0.45
"""Of a slice's thickness in spacings: neighbours do not touch."""
SAME = 0.1
"""Of a pixel: slices that are nearer show the same place twice."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Where a slice lies."""

    frame: str
    """Slices of one frame can be compared."""
    series: str
    """Slices of one series have one spacing."""
    corners: Vector
    """(4, 3) its corners."""
    pixel: float
    """Side of a pixel, in the unit of the corners."""
    normal: Vector
    """(3,) unit vector across it."""


def share_body(sources: Sequence[tuple[int, Found]], *, gap: int) -> tuple[Group, ...]:
    """The groups of DICOM slices, each with its index; `gap` in slices. Raises SourceError."""
    frames: dict[str, list[tuple[int, Profile, Slice]]] = defaultdict(list)
    for uri, members in groupby(sources, key=lambda source: source[1].address.uri):
        planes = open_series(uri).planes
        for index, found in members:
            placed = place(found.profile, planes[found.frame])
            frames[placed.frame].append((index, found.profile, placed))
    return tuple(_group(members, gap) for members in frames.values())


def place(profile: Profile, plane: Plane | None) -> Slice:
    """A slice by its geometry; by its number in the series where it has none; else by itself.

    Frames without geometry have one number: films change little from one to the next.
    """
    tags = profile.dicom
    series, number = tags.get("Series", ""), tags.get("InstanceNumber")
    if plane is None:
        frame = f"series {series}" if series and number else f"image {profile.uri}"
        height = float(number or 0)
        up = np.array([0.0, 0.0, 1.0])
        return Slice(frame, series, np.array([height * up] * 4), 1.0, up)
    size = plane.spacing or (1.0, 1.0)
    corners = outer_corners(plane.position, plane.orientation, size, profile.shape[1:])
    frame = tags.get("FrameOfReference") or f"series {series or profile.uri}"
    return Slice(frame, series, corners, min(size), normal(plane.orientation))


def _group(members: Sequence[tuple[int, Profile, Slice]], gap: int) -> Group:
    normal = members[0][2].normal
    spans = np.array(
        [[np.min(s.corners @ normal), np.max(s.corners @ normal)] for *_, s in members]
    )
    spans /= _spacing([placed for *_, placed in members], spans.mean(axis=1))
    footprints = tuple(
        Footprint(
            index,
            (profile.height, profile.width),
            Box(float(first) - HALF, 0.0, float(last) + HALF, 1.0),
            None,
            False,
        )
        for (index, profile, _), (first, last) in zip(members, spans, strict=True)
    )
    return Group(footprints, Grid(), 1.0, float(gap))


def _spacing(slices: Sequence[Slice], middles: Vector) -> float:
    """The widest of the usual distances between neighbours in a series; 1 where there are none."""
    series: dict[str, list[float]] = defaultdict(list)
    for one, middle in zip(slices, middles, strict=True):
        series[one.series].append(middle)
    near = SAME * min(one.pixel for one in slices)
    steps = [np.diff(np.sort(places)) for places in series.values()]
    apart = [float(np.median(step[step > near])) for step in steps if (step > near).any()]
    return max(apart, default=1.0)
