"""The samples that are trained on and those that are held back, as they are read.

What is held back is read first. If nothing of it is of use, other ground is drawn, until all of it
has been: a scene whose third is empty must not fail by the luck of the draw.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from workflows.choose import Chosen
from workflows.data_options import DataOptions
from workflows.gather import Losses, gather
from workflows.ground import Group
from workflows.samples import Lost, Placed, Sample
from workflows.saturation import saturated
from workflows.split import Split, split

MOST_HELD_BACK = 4
"""At most one in so many pixels of all samples is held back."""
REPEATED = "held back under another name"
"""Why pixels that are judged by are not trained on."""


@dataclass(frozen=True, slots=True)
class Shares:
    """What was read."""

    areas: Split
    """Where it lies."""
    train: tuple[Sample, ...]
    """What is trained on."""
    validation: tuple[Sample, ...]
    """What is held back."""
    losses: Losses
    """Windows that became no samples."""
    notes: tuple[str, ...]
    """What should be known of them."""
    turn: int
    """How often ground had to be drawn again."""


def read_shares(
    chosen: Sequence[Chosen],
    groups: Sequence[Group],
    options: DataOptions,
    *,
    scale: int,
    held_back: frozenset[int],
) -> Shares:
    """Both shares; one is empty only if nothing can be done about it. See `split`."""
    drawn = not held_back and options.val_region is None
    turns = math.ceil(1 / options.val_fraction) if drawn else 1
    for turn in range(turns):
        areas = split(groups, options, held_back=held_back, turn=turn)
        last = turn == turns - 1
        shares = _read(chosen, areas, options, scale=scale, turn=turn, last=last)
        if shares.train and shares.validation:
            break
    return shares


def _read(
    chosen: Sequence[Chosen],
    areas: Split,
    options: DataOptions,
    *,
    scale: int,
    turn: int,
    last: bool,
) -> Shares:
    """The samples of one split; if nothing can be held back, no others unless it is the last."""
    losses, room = Losses(), options.max_pixels
    judged = gather(
        chosen,
        areas.validation,
        options,
        scale=scale,
        room=room // MOST_HELD_BACK,
        losses=losses,
    )
    if not judged and not last:
        return Shares(areas, (), (), losses, (), turn)
    room -= sum(sample.pixels.size for _, sample in judged)
    learned = gather(chosen, areas.train, options, scale=scale, room=room, losses=losses)
    full, notes = saturated([*judged, *learned], chosen)
    for where in sorted(full):
        losses.add(Lost(where[0], "saturated"))
    judged, learned = (
        [placed for placed in some if placed[0] not in full] for some in (judged, learned)
    )
    learned = _without_repeats(learned, judged, losses)
    train, validation = (tuple(sample for _, sample in some) for some in (learned, judged))
    return Shares(areas, train, validation, losses, tuple(notes), turn)


def _without_repeats(
    learned: Sequence[Placed], judged: Sequence[Placed], losses: Losses
) -> list[Placed]:
    """What is not held back under another name as well."""
    known = {sample.digest for _, sample in judged}
    kept = []
    for where, sample in learned:
        if sample.digest in known:
            losses.add(Lost(where[0], REPEATED))
        else:
            kept.append((where, sample))
    return kept
