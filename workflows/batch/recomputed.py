"""Windows of a product made once more, each in one piece, and held against what was published.

+-------+-------+
|     +-|-+     |      The first, third, .. one lies over a corner where tiles meet, where a seam
+-----|-+-|-----+      would show; the others lie anywhere.
|     +-|-+     |
+-------+-------+
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.kernel import Recipe, Upscaler, upscale_tile
from pipeline.plan import Plan
from pipeline.radiometry import Mask, validity
from pipeline.sources import Source
from pipeline.tiling import Tile, Tiling, Window
from workflows.batch.comparison import differing, random_of

SIDE = 128
"""Side of a window, in source pixels."""


@dataclass(frozen=True, slots=True)
class Recomputed:
    """What came of making windows once more."""

    windows: tuple[Window, ...]
    """Where, in source pixels."""
    values: int
    """Values compared."""
    unequal: int
    """Values that were published otherwise, or valid where they are not, or the reverse."""


def recompute(
    source: Source, product: Source, plan: Plan, upscaler: Upscaler, *, count: int, seed: str
) -> Recomputed:
    """Make `count` windows again; `seed` chooses them. Raises SourceError."""
    windows = choose_windows(plan.tiling, count=count, seed=seed)
    found = [_again(source, product, plan, upscaler, window) for window in windows]
    return Recomputed(windows, sum(one[0] for one in found), sum(one[1] for one in found))


def together(parts: Sequence[Recomputed]) -> Recomputed:
    """Several frames as one."""
    return Recomputed(
        tuple(window for one in parts for window in one.windows),
        sum(one.values for one in parts),
        sum(one.unequal for one in parts),
    )


def choose_windows(tiling: Tiling, *, count: int, seed: str) -> tuple[Window, ...]:
    """Windows of the source inside the scene."""
    rng = random_of(seed)
    return tuple(_window(tiling, rng, seam=i % 2 == 0) for i in range(count))


def _window(tiling: Tiling, rng: np.random.Generator, *, seam: bool) -> Window:
    """A random window, around a place where tiles meet if there is any."""
    starts = []
    for size, tiles in ((tiling.height, tiling.rows), (tiling.width, tiling.columns)):
        side = min(SIDE, size)
        start = int(rng.integers(size - side + 1))
        if seam and tiles > 1:
            start = int(rng.integers(1, tiles)) * tiling.side // tiling.scale - side // 2
        starts.append((min(max(start, 0), size - side), side))
    (y, height), (x, width) = starts
    return Window(y, x, height, width)


def _again(
    source: Source, product: Source, plan: Plan, upscaler: Upscaler, window: Window
) -> tuple[int, int]:
    """(values, unequal ones) of one window."""
    ground = window.fine(plan.tiling.scale)
    whole = Tile(0, 0, 0, ground)
    read = plan.tiling.read(whole)
    recipe = Recipe(plan.profile, plan.tiling, plan.radiometry, upscaler)
    made = upscale_tile(recipe, whole, source.read(read), source.mask(read))
    published = product.read(ground)
    shown = validity(product.profile, published, product.mask(ground))
    wrong = differing(made.pixels, published)
    return published.size, wrong + _otherwise(made.valid, shown, published.shape)


def _otherwise(one: Mask | None, other: Mask | None, shape: tuple[int, ...]) -> int:
    """Values that are valid in one and invalid in the other; None means all valid."""
    masks = [np.ones(shape, bool) if mask is None else mask for mask in (one, other)]
    return int(np.count_nonzero(masks[0] != masks[1]))
