"""Reading samples of many areas: no more than there is room for, and what is lost is counted."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain, groupby

from workflows.choose import NARROWEST, Chosen
from workflows.data_options import DataOptions
from workflows.draw import Cut, Stretch, drawn
from workflows.find_sources import Found, Skip, without_folders
from workflows.pictures import WHOLE, is_picture
from workflows.samples import Lost, Placed, read
from workflows.split import Area

LONG = 576
"""Pixels along one axis that are read at once, where a sample is not longer."""
FEWEST = 32
"""Such stretches that there must be room for."""
TOGETHER = 8
"""Stretches that a thread reads of one source before it opens the next."""


@dataclass(slots=True)
class Losses:
    """What did not become samples; grows while data is read."""

    lost: Counter[tuple[int, str]] = field(default_factory=Counter)
    """Samples that were not made, by source and reason."""
    details: dict[int, str] = field(default_factory=dict)
    """What was wrong with a source that could not be read on."""
    beyond: int = 0
    """Samples that there was no room for."""

    def add(self, lost: Lost) -> None:
        """Count a sample that was not made."""
        self.lost[lost.source, lost.reason] += 1
        if lost.detail:
            self.details.setdefault(lost.source, lost.detail)

    @property
    def by_reason(self) -> dict[str, int]:
        """Samples that were not made."""
        total = Counter({"beyond max_pixels": self.beyond})
        for (_, reason), count in self.lost.items():
            total[reason] += count
        return dict(sorted((+total).items()))

    def skips(self, chosen: Sequence[Chosen]) -> list[Skip]:
        """What was lost of each source, in words."""
        return [
            self._skip(source, chosen[source].found, reason) for source, reason in sorted(self.lost)
        ]

    def _skip(self, source: int, found: Found, reason: str) -> Skip:
        count = self.lost[source, reason]
        detail = f": {self.details[source]}" if reason == "unreadable" else ""
        text = f"{count} window{'s' if count > 1 else ''} left out: {reason}{detail}"
        return Skip(found.label, without_folders(text, found.address.uri))


def gather(
    chosen: Sequence[Chosen],
    areas: Sequence[Area],
    options: DataOptions,
    *,
    scale: int,
    room: int,
    losses: Losses,
) -> list[Placed]:
    """Samples of the areas: all of them, or as even a choice as `room` pixels allow.

    Sides are multiples of `scale`. What is lost makes room for more. In the order of sources and
    places.
    """
    made: list[Placed] = []
    cuts = _cuts(chosen, areas, options, scale=scale, room=room, losses=losses)
    order, untouched = drawn(cuts, options.seed), _total(cuts, chosen)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        while stretches := list(_affordable(order, chosen, room)):
            read_ones = pool.map(
                lambda task: read(task[0], chosen[task[0]], task[1]), _tasks(stretches)
            )
            for one in chain.from_iterable(read_ones):
                untouched -= 1
                if isinstance(one, Lost):
                    losses.add(one)
                else:
                    made.append(one)
                    room -= one[1].pixels.size
    losses.beyond += untouched
    return sorted(made, key=lambda placed: placed[0])


def _cuts(
    chosen: Sequence[Chosen],
    areas: Sequence[Area],
    options: DataOptions,
    *,
    scale: int,
    room: int,
    losses: Losses,
) -> list[Cut]:
    """How each area is cut; those that are too narrow are lost."""
    cuts = []
    for area in areas:
        source = chosen[area.source]
        if min(area.window.shape) < max(NARROWEST, scale):
            losses.lost[area.source, "narrow"] += source.samples
            continue
        side = max(options.side, WHOLE) if is_picture(source.found.profile) else options.side
        # long enough for the file's blocks, short enough for an even choice
        run = min(LONG, math.isqrt(room // (FEWEST * source.bands))) // side
        cuts.append(Cut(area, side, scale, max(run, 1)))
    return cuts


def _affordable(order: Iterator[Stretch], chosen: Sequence[Chosen], room: int) -> Iterator[Stretch]:
    """As many of the next stretches as there is room for."""
    for stretch in order:
        window = stretch.window
        room -= window.height * window.width * chosen[stretch.source].bands
        if room < 0:
            return
        yield stretch


def _total(cuts: Sequence[Cut], chosen: Sequence[Chosen]) -> int:
    """Samples of all pieces."""
    return sum(math.prod(cut.shape) * chosen[cut.area.source].samples for cut in cuts)


def _tasks(stretches: Sequence[Stretch]) -> Iterator[tuple[int, list[Stretch]]]:
    """(source, stretches) that one thread reads at once, in the order of the file."""
    for source, group in groupby(sorted(stretches), key=lambda stretch: stretch.source):
        held = list(group)
        for first in range(0, len(held), TOGETHER):
            yield source, held[first : first + TOGETHER]
