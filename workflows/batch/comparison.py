"""Product against source, pixel by pixel, in a few windows spread over the scene."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from pipeline.kernel import Upscaler
from pipeline.plan import Plan
from pipeline.profile import Profile
from pipeline.radiometry import Mask, Pixels, replicate, validity
from pipeline.sources import Source
from pipeline.tiling import Window
from workflows.batch.likeness import BandSums, Pair, degradation_of, liken

SIDE = 128
"""Side of a window, in source pixels."""
WINDOWS = 16
"""Most windows of a scene. Small scenes are compared as a whole; to decode all of a large one once
more would take a tenth of the network's time."""
CHECKED = 3
"""Most frames of an image that are compared."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was found in the windows."""

    windows: int = 0
    """Windows compared."""
    values: int = 0
    """Values of the product that were looked at, all bands together."""
    valid_low: int = 0
    """Of these, valid ones as the source says."""
    valid_fine: int = 0
    """Of these, valid ones as the product says."""
    astray: int = 0
    """Of these, valid or invalid against what the source says."""
    copied: int = 0
    """Values that must equal the source's: alpha, codes, all of a model that copies pixels."""
    unequal: int = 0
    """Of these, others than the source's."""


def compare(
    source: Source,
    product: Source,
    plan: Plan,
    upscaler: Upscaler,
    *,
    light: Sequence[int],
    windows: Sequence[Window],
) -> tuple[Comparison, tuple[BandSums, ...]]:
    """Compare the bands `light` by their values, sums of each, and all others for equality.

    `windows` are of the source. Raises SourceError if either cannot be read.
    """
    degradation = degradation_of(plan.profile, upscaler)
    reach = degradation.reach
    found, sums = [Comparison()], [[BandSums()] for _ in light]
    for window in windows:
        part = _read(source, product, plan, window.grow(reach))
        found.append(_equality(part, window, light))
        inside = window.within(part.window).slices
        for i, band in enumerate(light):
            own = degradation.of_band(band if upscaler.bands == 1 else i)
            pair = part.band(band)
            sums[i].append(liken(pair, inside, plan.radiometry, own, band=band, reach=reach))
    return together(found), tuple(sum(parts, BandSums()) for parts in sums)


def together(parts: Sequence[Comparison]) -> Comparison:
    """Several comparisons as one."""
    totals = (sum(getattr(one, name.name) for one in parts) for name in fields(Comparison))
    return Comparison(*totals)


def choose_windows(profile: Profile, seed: str) -> tuple[list[Window], int]:
    """(windows to compare, how many there are): one at random of each of WINDOWS equal runs."""
    rows, columns = -(-profile.height // SIDE), -(-profile.width // SIDE)
    total = rows * columns
    count, rng = min(total, WINDOWS), random_of(seed)
    chosen = [int(rng.integers(total * i // count, total * (i + 1) // count)) for i in range(count)]
    corners = [(SIDE * (index // columns), SIDE * (index % columns)) for index in chosen]
    windows = [Window(y, x, SIDE, SIDE).clip(profile.height, profile.width) for y, x in corners]
    return windows, total


def choose_frames(frames: int, seed: str) -> tuple[int, ...]:
    """Frames to check: the first, the last and any other."""
    if frames <= CHECKED:
        return tuple(range(frames))
    return (0, int(random_of(f"{seed} frames").integers(1, frames - 1)), frames - 1)


def random_of(seed: str) -> np.random.Generator:
    """The random numbers that go with a text."""
    return np.random.default_rng(int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8]))


def differing(one: Pixels, other: Pixels) -> int:
    """Values whose bits differ: NaN equals itself."""
    bits = f"u{one.dtype.itemsize}"
    return int(np.count_nonzero(one.view(bits) != other.view(bits)))


@dataclass(frozen=True, slots=True)
class _Part:
    """Source and product on the same ground."""

    plan: Plan
    """How the product was made."""
    window: Window
    """The ground, in source pixels."""
    low: Pixels
    """(band, y, x) of the source."""
    good: Mask
    """Which of them are valid."""
    fine: Pixels
    """(band, y, x) of the product."""
    shown: Mask
    """Which of them are valid, as the product says."""

    def band(self, number: int) -> Pair:
        """One band, counted from 0."""
        return Pair(self.low[number], self.good[number], self.fine[number], self.shown[number])


def _read(source: Source, product: Source, plan: Plan, window: Window) -> _Part:
    """As much of the window as lies in the scene."""
    window = window.clip(plan.profile.height, plan.profile.width)
    ground = window.fine(plan.tiling.scale)
    low, fine = source.read(window), product.read(ground)
    good = validity(plan.profile, low, source.mask(window))
    shown = validity(product.profile, fine, product.mask(ground))
    return _Part(plan, window, low, _full(good, low), fine, _full(shown, fine))


def _full(valid: Mask | None, pixels: Pixels) -> Mask:
    return np.ones(pixels.shape, bool) if valid is None else valid


def _equality(part: _Part, window: Window, light: Sequence[int]) -> Comparison:
    """Validity, and the values of all bands but `light`."""
    scale = part.plan.tiling.scale
    here = window.within(part.window)
    y, x = here.slices
    fine_y, fine_x = here.fine(scale).slices
    good, shown = part.good[:, y, x], part.shown[:, fine_y, fine_x]
    others = [band for band in range(len(good)) if band not in light]
    low, fine = part.low[others][:, y, x], part.fine[others][:, fine_y, fine_x]
    return Comparison(
        windows=1,
        values=shown.size,
        valid_low=int(np.count_nonzero(good)) * scale**2,
        valid_fine=int(np.count_nonzero(shown)),
        astray=int(np.count_nonzero(replicate(good, scale=scale) != shown)),
        copied=fine.size,
        unequal=differing(replicate(low, scale=scale), np.ascontiguousarray(fine)),
    )
