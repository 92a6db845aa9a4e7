"""What is trained on and what is held back: blocks of ground, and a gap between the two.

    +-------+-------+-------+-------+     Blocks are counted like a snake crawls, so that a run of
    |   1   |   2   |   3   |   4   |     them hangs together: the gap around it costs least. Which
    +-------+-------+=======+=======+     run is held back (here 5 to 6) is drawn from the seed.
    |   8   |   7   |   6   |   5   |
    +-------+-------+=======+=======+

A group no larger than the share to be held back is not cut: some of these are held back as a whole,
as small pictures and chips are.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from pipeline.tiling import Window
from workflows.boxes import Box, around, carried
from workflows.data_options import DataOptions, parse_region
from workflows.ground import Footprint, Group
from workflows.unlocated import FEWEST_BLOCKS

MOST = 200
"""Blocks along one axis: they are larger in a group that would have more."""


@dataclass(frozen=True, slots=True)
class Area:
    """A rectangle of one source."""

    source: int
    """Which source."""
    window: Window
    """In its pixels."""


@dataclass(frozen=True, slots=True)
class Split:
    """Areas of which none of one kind touches one of the other."""

    train: tuple[Area, ...]
    """What is trained on."""
    validation: tuple[Area, ...]
    """What is held back."""


def split(
    groups: Sequence[Group], options: DataOptions, *, held_back: frozenset[int], turn: int = 0
) -> Split:
    """The areas of all sources; those of the sources `held_back`, if any, are all of validation.

    Each `turn` draws other blocks; after as many as the share to be held back goes into 1 almost
    all have been drawn.
    """
    if held_back:
        boxes = [_named(group, held_back) for group in groups]
    elif options.val_region is not None:
        boxes = [_region(group, options.val_region) for group in groups]
    else:
        boxes = _drawn(groups, options, turn)
    train: list[Area] = []
    validation: list[Area] = []
    for group, rough in zip(groups, boxes, strict=True):
        held = _snapped(rough, group)
        for one in group.footprints:
            if one.source in held_back:
                validation.append(Area(one.source, Window(0, 0, *one.shape)))
                continue
            train += [Area(one.source, window) for window in _free(one, group, held)]
            if not held_back:
                validation += [Area(one.source, window) for window in _held(one, group, held)]
    return Split(tuple(train), tuple(validation))


def _named(group: Group, held_back: frozenset[int]) -> list[Box]:
    return [one.box for one in group.footprints if one.source in held_back]


def _region(group: Group, text: str) -> list[Box]:
    """The region in each of the finest sources of a group."""
    boxes = []
    for one in group.footprints:
        finest = one.exact and one.box.bottom - one.box.top < 1.01 * one.shape[0]
        if finest and one.grid is not None:
            window = parse_region(text).within(*one.shape)
            if window.height and window.width:
                box = Box(window.y, window.x, window.stop_y, window.stop_x)
                boxes.append(carried(box, one.grid, group.grid))
    return boxes


def _drawn(groups: Sequence[Group], options: DataOptions, turn: int) -> list[list[Box]]:
    """Boxes that are about the share of all ground, for each group."""
    draw = random.Random(options.seed)
    sizes = [_size(group) for group in groups]
    cuts = [_blocks(group) for group in groups]
    share = options.val_fraction * sum(sizes)
    large = {i for i, size in enumerate(sizes) if size > share and len(cuts[i]) >= FEWEST_BLOCKS}
    boxes: list[list[Box]] = [[] for _ in groups]
    for i in sorted(large):
        count = max(1, round(options.val_fraction * len(cuts[i])))
        places = len(cuts[i]) - count + 1
        first = (draw.randrange(places) + turn * count) % places
        boxes[i] = _joined(cuts[i][first : first + count])
    small = [i for i in range(len(groups)) if i not in large]
    order = draw.sample(small, len(small))
    start = turn * max(1, round(options.val_fraction * len(small))) % max(1, len(small))
    for i in _some([*order[start:], *order[:start]], sizes, options):
        boxes[i] = [around([one.box for one in groups[i].footprints])]
    if not any(boxes) and len(groups) > 1:
        i = sorted(range(len(groups)), key=lambda i: sizes[i])[turn % len(groups)]
        boxes[i] = [around([one.box for one in groups[i].footprints])]
    return boxes


def _some(order: Sequence[int], sizes: Sequence[int], options: DataOptions) -> list[int]:
    """The first of the groups: as near to the share of their pixels as adding one by one comes."""
    wanted, taken, chosen = options.val_fraction * sum(sizes[i] for i in order), 0, []
    for i in order:
        if taken + sizes[i] / 2 <= wanted:
            taken += sizes[i]
            chosen.append(i)
    return chosen


def _size(group: Group) -> int:
    return sum(math.prod(one.shape) for one in group.footprints)


def _blocks(group: Group) -> list[Box]:
    """The blocks of a group that any source touches, in the snake's order."""
    bounds = around([one.box for one in group.footprints])
    rows = _edges(bounds.top, bounds.bottom, group.block)
    columns = _edges(bounds.left, bounds.right, group.block)
    found = []
    for number, (top, bottom) in enumerate(pairwise(rows)):
        row = [Box(top, left, bottom, right) for left, right in pairwise(columns)]
        whole = around(row)
        inside = [one for one in group.footprints if one.box.touches(whole)]
        row = [box for box in row if any(one.box.touches(box) for one in inside)]
        found += row[::-1] if number % 2 else row
    return found


def _edges(start: float, stop: float, side: float) -> list[float]:
    count = min(max(1, round((stop - start) / side)), MOST)
    return [start + (stop - start) * i / count for i in range(count + 1)]


def _joined(blocks: Iterable[Box]) -> list[Box]:
    """Neighbours of one row as one box."""
    joined: list[Box] = []
    for block in blocks:
        last = joined[-1] if joined else None
        meet = last and (last.right == block.left or last.left == block.right)
        if last and meet and last.top == block.top:
            joined[-1] = around([last, block])
        else:
            joined.append(block)
    return joined


def _snapped(boxes: Sequence[Box], group: Group) -> list[Box]:
    """The boxes, or around what cannot be cut: those whose middle they hold, but for long ones."""
    if any(one.grid for one in group.footprints):
        return list(boxes)
    held = [
        [one.box for one in group.footprints if _is_thin(one.box) and box.holds(_middle(one.box))]
        for box in boxes
    ]
    return [around(inside) for inside in held if inside]


def _is_thin(box: Box) -> bool:
    return box.bottom - box.top <= 1.0


def _middle(box: Box) -> Box:
    middle = (box.top + box.bottom) / 2
    return Box(middle, box.left, middle, box.right)


def _free(one: Footprint, group: Group, held: Sequence[Box]) -> list[Window]:
    """What of a source does not come nearer than the gap to what is held back."""
    inside = [Window(0, 0, *one.shape)]
    for box in held:
        wide = box.grow(group.gap)
        if not wide.touches(one.box):
            continue
        if one.grid is None:
            return []
        hole = carried(wide, group.grid, one.grid).outwards()
        inside = [part for window in inside for part in without(window, hole)]
    return inside


def _held(one: Footprint, group: Group, held: Sequence[Box]) -> list[Window]:
    """What of a source is held back: of one that is turned against the others all or nothing."""
    everything = Window(0, 0, *one.shape)
    if any(box.holds(one.box) for box in held):
        return [everything]
    if one.grid is None or not one.exact:
        return []
    found: list[Window] = []
    for box in held:
        parts = [carried(box, group.grid, one.grid).inwards().overlap(everything)]
        for other in found:
            parts = [part for window in parts for part in without(window, other)]
        found += [part for part in parts if part.height and part.width]
    return found


def without(window: Window, hole: Window) -> list[Window]:
    """The rest of a window beside a hole: above, below, left and right of it."""
    both = window.overlap(hole)
    if not both.height or not both.width:
        return [window]
    parts = [
        Window(window.y, window.x, both.y - window.y, window.width),
        Window(both.stop_y, window.x, window.stop_y - both.stop_y, window.width),
        Window(both.y, window.x, both.height, both.x - window.x),
        Window(both.y, both.stop_x, both.height, window.stop_x - both.stop_x),
    ]
    return [part for part in parts if part.height and part.width]
