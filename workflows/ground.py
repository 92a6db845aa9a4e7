"""Which sources show the same ground, so that none of it is both trained on and judged.

Sources that overlap, or lie closer than the gap, are a group: the bands of a scene, neighbouring
scenes, a mosaic and its parts. The ground of a group is measured in pixels of its finest source:

      0        512       1024   columns of the finest source
    0 +---------+---------+-----
      |  10 m   |         |         A source of 60 m has the box of its ground here, and a box
      |    +----|-------------+     here is a window of its own pixels, by `carried`.
      |    | 60 m             |
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pyproj.exceptions import ProjError

from pipeline.profile import Profile
from workflows.band_names import number_in, without_number
from workflows.boxes import Box, Grid, carried, same_directions, whole
from workflows.find_sources import Found

LONGITUDES = "EPSG:4326"
"""In which sources of several reference systems are compared."""
PHOTOGRAPHS = ("PNG", "JPEG", "BMP")
"""Drivers of pictures, where they are not located."""
WHOLE = 1024
"""Largest side in pixels of a picture that is never cut."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """The ground that a source shows."""

    source: int
    """Which source."""
    shape: tuple[int, int]
    """(height, width) in its own pixels."""
    box: Box
    """In the group's coordinates."""
    grid: Grid | None
    """Of its pixels; None where it cannot be cut: a slice."""
    exact: bool
    """Whether its pixels have the directions of the group's, so that boxes are windows."""


@dataclass(frozen=True, slots=True)
class Group:
    """Sources that share ground."""

    footprints: tuple[Footprint, ...]
    """What each of them shows."""
    grid: Grid
    """Of the group's coordinates."""
    block: float
    """Side of a block of ground; infinite where it must stay whole."""
    gap: float
    """Width of what is neither trained on nor held back, between the two."""


def is_picture(profile: Profile) -> bool:
    """Whether it is a photograph rather than a measurement of some place."""
    return profile.driver in PHOTOGRAPHS and profile.georef.affine is None


def share_ground(
    sources: Sequence[tuple[int, Found]], *, block: int, gap: int
) -> tuple[Group, ...]:
    """The groups of rasters, each with its index; `block` and `gap` in pixels of the finest."""
    frames: dict[str, list[tuple[int, Found, Grid, Box]]] = defaultdict(list)
    systems = {found.profile.georef.crs for _, found in sources if found.profile.georef.affine}
    for index, found in sources:
        grid = _grid(found.profile)
        frame, box = _compared(found.profile, grid, several=len(systems) > 1, gap=gap)
        frames[frame].append((index, found, grid, box))
    return tuple(
        _group([held[i] for i in members], block, gap)
        for held in frames.values()
        for members in _connected([box for *_, box in held])
    )


def _grid(profile: Profile) -> Grid:
    affine = profile.georef.affine
    return Grid() if affine is None else Grid(affine, profile.georef.crs or "")


def _compared(profile: Profile, grid: Grid, *, several: bool, gap: int) -> tuple[str, Box]:
    """(frame, box): boxes of one frame can be compared. Half the gap is added on each side."""
    box = whole((profile.height, profile.width)).grow(gap / 2)
    if profile.georef.affine is None:
        return _unplaced(profile), box
    if several and grid.crs:
        try:
            placed = carried(box, grid, Grid(crs=LONGITUDES))
        except ProjError:  # another planet
            placed = None
        if placed and all(map(math.isfinite, (placed.top, placed.left, placed.right))):
            return LONGITUDES, placed
    return f"map {grid.crs}", carried(box, grid, Grid(crs=grid.crs))


def _unplaced(profile: Profile) -> str:
    """The frame of an image that no map knows: its own, or that of the bands of its scene."""
    path = Path(profile.uri)
    if len(profile.bands) == 1 and number_in(path.stem):
        return f"scene {path.parent / without_number(path.stem)} {profile.shape}"
    return f"image {profile.uri}"


def _connected(boxes: Sequence[Box]) -> list[list[int]]:
    """Indices of boxes that overlap, directly or through others."""
    top, left, bottom, right = np.array(
        [(box.top, box.left, box.bottom, box.right) for box in boxes]
    ).T
    groups, free = [], np.ones(len(boxes), bool)
    for start in range(len(boxes)):
        if not free[start]:
            continue
        free[start], members = False, [start]
        for i in members:  # grows as neighbours are found
            near = free & (top < bottom[i]) & (top[i] < bottom) & (left < right[i])
            near &= left[i] < right
            free[near] = False
            members.extend(np.flatnonzero(near).tolist())
        groups.append(sorted(members))
    return groups


def _group(members: Sequence[tuple[int, Found, Grid, Box]], block: int, gap: int) -> Group:
    profiles = [found.profile for _, found, _, _ in members]
    pixel = [
        (box.bottom - box.top)
        * (box.right - box.left)
        / ((profile.height + gap) * (profile.width + gap))
        for profile, (*_, box) in zip(profiles, members, strict=True)
    ]
    finest = members[int(np.argmin(np.round(pixel, 12)))][2]
    footprints = tuple(
        Footprint(
            index,
            (found.profile.height, found.profile.width),
            carried(whole((found.profile.height, found.profile.width)), grid, finest),
            grid,
            same_directions(grid, finest),
        )
        for index, found, grid, _ in members
    )
    small = all(is_picture(p) and max(p.height, p.width) <= WHOLE for p in profiles)
    return Group(footprints, finest, math.inf if small else float(block), float(gap))
