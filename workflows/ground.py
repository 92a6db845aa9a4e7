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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from pyproj.exceptions import ProjError

from pipeline.profile import Profile
from workflows.boxes import Box, Grid, carried, connected, same_directions, whole
from workflows.find_sources import Found
from workflows.pictures import stays_whole
from workflows.places import Place, located, name_maps, on_slide
from workflows.unlocated import place_unlocated

LONGITUDES = "EPSG:4326"
"""In which sources of several reference systems are compared."""


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


@dataclass(frozen=True, slots=True)
class _Member:
    """A source on its way into a group."""

    source: int
    """Which source."""
    profile: Profile
    """Its facts."""
    place: Place
    """Where it lies."""
    box: Box
    """Its ground and half a gap around it, in units that all of its frame have."""
    pixel: float
    """Area of a pixel in these units."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What is known of the ground that sources show."""

    groups: tuple[Group, ...]
    """Of all sources but the unclear ones."""
    unclear: dict[int, str]
    """Why sources cannot be used: nobody knows what ground they share."""
    notes: tuple[str, ...]
    """What could not be told, in words."""


def share_ground(
    sources: Sequence[tuple[int, Found]],
    *,
    block: int,
    gap: int,
    held_back: frozenset[int] = frozenset(),
) -> Ground:
    """The groups of rasters, each with its index; `block` and `gap` in pixels of the finest.

    `held_back` are those that the user names as validation data.
    """
    found = dict(sources)
    own = {i: located(one.profile) for i, one in found.items()}
    places, unclear = name_maps(
        {i: one.profile for i, one in found.items()},
        {i: place for i, place in own.items() if place is not None},
        gap=gap,
    )
    places |= {i: on_slide(one.profile) for i, one in found.items() if one.profile.slide}
    clear = {i: one for i, one in found.items() if i not in unclear}
    guessed = place_unlocated(clear, places, block=block, held_back=held_back)
    groups = _groups(clear, places | guessed.places, block, gap)
    return Ground(groups, unclear, guessed.notes)


def _groups(
    found: Mapping[int, Found], places: Mapping[int, Place], block: int, gap: int
) -> tuple[Group, ...]:
    several = len({place.grid.crs for place in places.values() if place.grid.crs}) > 1
    frames: dict[str, list[_Member]] = defaultdict(list)
    for i, one in found.items():
        profile, place = one.profile, places[i]
        margin = gap / 2 + place.slack
        frame, box = _compared(profile, place, several=several, margin=margin)
        area = (box.bottom - box.top) * (box.right - box.left)
        pixel = area / ((profile.height + 2 * margin) * (profile.width + 2 * margin))
        frames[frame].append(_Member(i, profile, place, box, pixel))
    return tuple(
        _group([held[i] for i in members], block, gap)
        for held in frames.values()
        for members in connected([member.box for member in held])
    )


def _compared(profile: Profile, place: Place, *, several: bool, margin: float) -> tuple[str, Box]:
    """(frame, box with a margin in its pixels): boxes of one frame can be compared."""
    box = whole(profile.shape[1:]).grow(margin)
    if several and place.grid.crs:
        try:
            placed = carried(box, place.grid, Grid(crs=LONGITUDES))
        except ProjError:  # another planet
            placed = None
        if placed and all(map(math.isfinite, (placed.top, placed.left, placed.right))):
            return LONGITUDES, placed
    return place.frame, carried(box, place.grid, Grid(crs=place.grid.crs))


def _group(members: Sequence[_Member], block: int, gap: int) -> Group:
    areas = [member.pixel for member in members]
    finest = members[int(np.argmin(np.round(areas, 12)))]
    footprints = tuple(
        Footprint(
            member.source,
            member.profile.shape[1:],
            carried(whole(member.profile.shape[1:]), member.place.grid, finest.place.grid),
            member.place.grid,
            same_directions(member.place.grid, finest.place.grid),
        )
        for member in members
    )
    slack = max(one.place.slack * math.sqrt(one.pixel / finest.pixel) for one in members)
    small = all(stays_whole(member.profile) for member in members)
    return Group(footprints, finest.place.grid, math.inf if small else float(block), gap + slack)
