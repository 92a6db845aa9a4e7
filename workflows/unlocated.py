"""Images that no map knows: which of them show the same ground, as far as that can be told.

    by pixels   images of one size are copies if their first rows and their middle are equal
    by name     single bands whose names differ in the band only are a scene: red.tif, nir.tif
    by size     rasters of one size in one folder, if large enough to be cut, are a scene too

One that goes with a located image lies where that does. Small rasters without georeferencing are as
likely a set of chips as the bands of a scene: they are taken to show different ground, with a note.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import SourceError
from pipeline.tiling import Window
from workflows.band_names import without_number
from workflows.boxes import Grid
from workflows.find_sources import Found, first_of
from workflows.pictures import is_picture, stays_whole
from workflows.places import Place

BAND = re.compile(
    r"(?<![a-z])(red[-_ ]?edge|red|green|blue|nir|swir|tir|pan|coastal|cirrus|vv|vh|hh|hv)\d?"
    r"(?![a-z0-9])",
    re.IGNORECASE,
)
"""Bands in names of files and folders, besides numbers such as B02."""
FEWEST_BLOCKS = 4
"""Blocks that ground must have to be cut."""
PROBE = (16, 512)
"""Rows and columns that are compared."""

Kind = str
Key = tuple[Kind, Hashable]
"""(copy, scene or size, what images of it have in common)."""
KINDS = ("copy", "scene", "size")
"""From the surest to the least sure."""


@dataclass(frozen=True, slots=True)
class Guessed:
    """Where images without georeferencing are taken to lie."""

    places: dict[int, Place]
    """Of each of them."""
    notes: tuple[str, ...]
    """What could not be told, in words."""


def place_unlocated(
    found: Mapping[int, Found],
    places: Mapping[int, Place],
    *,
    block: int,
    held_back: frozenset[int] = frozenset(),
) -> Guessed:
    """The places of those of `found` that have none in `places`.

    What the user names as validation data is not taken for the same ground because of its size.
    """
    keys = _keys(found, places, block=block, held_back=held_back)
    at: dict[Key, list[int]] = defaultdict(list)
    for i in places:
        for key in keys[i]:
            at[key].append(i)
    guessed: dict[int, Place] = {}
    alone: list[int] = []
    joined: list[int] = []
    for members in _together({i: keys[i] for i in found if i not in places}):
        reference = _reference(members, keys, places, at)
        if reference is None:
            reference = max(members, key=lambda i: math.prod(found[i].profile.shape[1:]))
            place = Place(Grid(), f"image {found[reference].address.uri}")
        else:
            place = places[reference]
        size = found[reference].profile.shape[1:]
        guessed |= {i: place.on(found[i].profile.shape[1:], of=size) for i in members}
        (joined if {*members} != {reference} else alone).extend(members)
    return Guessed(guessed, tuple(_notes(found, joined, alone)))


def _keys(
    found: Mapping[int, Found],
    places: Mapping[int, Place],
    *,
    block: int,
    held_back: frozenset[int],
) -> dict[int, list[Key]]:
    """What each image may have in common with others."""
    copies = _copies(found, places, block)
    keys: dict[int, list[Key]] = {i: [] for i in found}
    for i, one in found.items():
        profile, folder = one.profile, Path(one.profile.uri).parent
        if i in copies:
            keys[i].append(("copy", copies[i]))
        scene = _scene(one)
        if scene:
            keys[i].append(("scene", scene))
        if not is_picture(profile) and _is_cut(one, block):
            keys[i].append(("size", (folder, profile.shape[1:], i in held_back)))
    return keys


def _scene(found: Found) -> str:
    """The path of a single band without the band; '' where it has none."""
    path = Path(found.profile.uri)
    folder, name = _without_band(path.parent.name), _without_band(path.stem)
    if len(found.profile.bands) > 1 or (folder, name) == (path.parent.name, path.stem):
        return ""
    return str(path.parent.parent / folder / f"{name}.")


def _without_band(name: str) -> str:
    return BAND.sub("", without_number(name))


def _is_cut(found: Found, block: int) -> bool:
    """Whether it is large enough to be cut into blocks."""
    rows, columns = (max(1, round(side / block)) for side in found.profile.shape[1:])
    return rows * columns >= FEWEST_BLOCKS


def _copies(
    found: Mapping[int, Found], places: Mapping[int, Place], block: int
) -> dict[int, Hashable]:
    """What the pixels of images say that may be copies of each other.

    Images that are cut alike need not be looked at: their samples tell.
    """
    alike: dict[Hashable, list[int]] = defaultdict(list)
    for i, one in found.items():
        alike[one.profile.shape, one.profile.dtype].append(i)
    said: dict[int, Hashable] = {}
    for members in alike.values():
        lost = [i for i in members if i not in places]
        mixed = len({stays_whole(found[i].profile) for i in members}) > 1 or lost != members
        whole = all(stays_whole(found[i].profile) for i in members)
        if lost and len(members) > 1 and (mixed or (_is_cut(found[lost[0]], block) and not whole)):
            said |= _probed({i: found[i] for i in members})
    return said


def _probed(found: Mapping[int, Found]) -> dict[int, Hashable]:
    """Digests of the pixels of images that have the first rows of another."""
    first: dict[str, list[int]] = defaultdict(list)
    for i, one in found.items():
        first[_digest(one, middle=False)].append(i)
    return {
        i: (digest, _digest(found[i], middle=True))
        for digest, members in first.items()
        if digest and len(members) > 1
        for i in members
    }


def _digest(found: Found, *, middle: bool) -> str:
    """sha256 of some pixels; '' where they cannot be read, which reading samples will tell."""
    _, height, width = found.profile.shape
    rows, columns = min(PROBE[0], height), min(PROBE[1], width)
    top, left = ((height - rows) // 2, (width - columns) // 2) if middle else (0, 0)
    try:
        pixels = found.open(shared=False).read(Window(top, left, rows, columns))
    except SourceError:
        return ""
    return hashlib.sha256(pixels.tobytes()).hexdigest()


def _together(keys: Mapping[int, Sequence[Key]]) -> Iterator[list[int]]:
    """Images that share a key, directly or through others."""
    holders: dict[Key, list[int]] = defaultdict(list)
    for i, some in keys.items():
        for key in some:
            holders[key].append(i)
    free, unused = dict.fromkeys(keys), set(holders)
    for start in keys:
        if start not in free:
            continue
        del free[start]
        members = [start]
        for i in members:  # grows as others are found
            for key in unused.intersection(keys[i]):
                unused.remove(key)
                more = [j for j in holders[key] if j in free]
                members += more
                for j in more:
                    del free[j]
        yield sorted(members)


def _reference(
    members: Iterable[int],
    keys: Mapping[int, Sequence[Key]],
    places: Mapping[int, Place],
    at: Mapping[Key, Sequence[int]],
) -> int | None:
    """The located image that some go with; by size only if there is no choice."""
    shared = list(dict.fromkeys(key for i in members for key in keys[i]))
    for kind in KINDS:
        others = [j for key in shared if key[0] == kind for j in at.get(key, ())]
        if others and (kind != "size" or len({places[j].grid for j in others}) == 1):
            return others[0]
    return None


def _notes(
    found: Mapping[int, Found], joined: Sequence[int], alone: Sequence[int]
) -> Iterator[str]:
    if joined:
        names = first_of([found[i].name for i in joined])
        yield (
            "without georeferencing, taken to show the same ground as others by their pixels, "
            f"name, or size and folder: {names}"
        )
    apart = [i for i in alone if not is_picture(found[i].profile)]
    if apart and sum(not is_picture(one.profile) for one in found.values()) > 1:
        yield (
            "without georeferencing, taken to show ground of their own: "
            f"{first_of([found[i].name for i in apart])}; if any of it is the same, georeference "
            "them or name validation data"
        )
