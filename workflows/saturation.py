"""Saturation that no header tells: a ceiling of a sensor below that of its data type.

                *         The greatest value of a band is a ceiling if it is far more common
pixels          *         than the next lower one and stands in plateaus, as clouds do. One
  *  *  *       *         brightest pixel is none, nor is the greatest of a few levels.
  *  *  *  * *  *
value           4095
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.radiometry import Pixels
from workflows.choose import Chosen
from workflows.find_sources import first_of
from workflows.pictures import PHOTOGRAPHS
from workflows.samples import Placed, Where

PLATEAU = 1e-3
"""Of a sample's pixels: more are at the ceiling, and 3 x 3 of them fill a square."""
FEWEST = 32
"""Pixels: more are at the ceiling, however small the sample."""
SPIKE = 4
"""Times that a ceiling is more common than the next lower value."""
MOST_WHITE = 0.5
"""Of the samples of a band of 8 bits: a ceiling that more have reached is white, a colour."""


def saturated(made: Sequence[Placed], chosen: Sequence[Chosen]) -> tuple[set[Where], list[str]]:
    """(places of samples with a plateau at the ceiling of their source, notes on what is white).

    Photographs (PNG, JPEG, BMP) have none.
    """
    bands: dict[tuple[int, int, int], list[tuple[Where, Pixels]]] = defaultdict(list)
    for where, sample in made:
        if chosen[where[0]].found.profile.driver not in PHOTOGRAPHS:
            for number, band in enumerate(sample.pixels):
                bands[where[0], where[-1], number].append((where, band))
    found: set[Where] = set()
    white: dict[str, None] = {}
    for (source, *_), members in bands.items():
        flat = [members[i][0] for i in _flat([band for _, band in members])]
        if members[0][1].itemsize == 1 and len(flat) > MOST_WHITE * len(members):
            white[chosen[source].found.name] = None
        else:
            found.update(flat)
    return found, list(_notes([*white]))


def _flat(pixels: Sequence[Pixels]) -> list[int]:
    """Which of all samples (y, x) of one band have a plateau at its ceiling, if it has one."""
    tops = [band.max() for band in pixels]
    ceiling = max(tops)
    highest = [i for i, top in enumerate(tops) if top == ceiling]
    flat = [i for i in highest if _is_plateau(pixels[i] == ceiling)]
    return flat if flat and _is_spike(pixels, ceiling) else []


def _is_plateau(at: NDArray[np.bool_]) -> bool:
    """Whether enough pixels are at the ceiling, and some of them fill a square."""
    if np.count_nonzero(at) <= max(PLATEAU * at.size, FEWEST):
        return False
    rows = at[:-2] & at[1:-1] & at[2:]
    return bool((rows[:, :-2] & rows[:, 1:-1] & rows[:, 2:]).any())


def _is_spike(pixels: Sequence[Pixels], ceiling: np.generic) -> bool:
    """Whether the ceiling is far more common than the greatest value below it."""
    count = sum(int(np.count_nonzero(band == ceiling)) for band in pixels)
    lower = [_greatest(band[band < ceiling]) for band in pixels]
    second = max(value for value, _ in lower)
    return count > SPIKE * sum(times for value, times in lower if value == second)


def _greatest(values: Pixels) -> tuple[Any, int]:
    """(greatest value, how often it is there) of pixels below a ceiling; no sample is constant."""
    greatest = values.max()
    return greatest, int(np.count_nonzero(values == greatest))


def _notes(white: Sequence[str]) -> Iterator[str]:
    if white:
        yield (
            "the greatest value stands in plateaus in most windows and is taken for white, not for "
            f"saturation: {first_of(white)}"
        )
