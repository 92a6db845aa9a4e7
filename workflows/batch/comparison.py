"""Product against source, pixel by pixel, in a few windows spread over the scene.

    product  --degraded as the network has learned to undo it-->  held against the source

Where a value was clipped to its data type, or the source's own came back exactly (gaps, saturated
pixels), a network has no say: pixels that depend on such ones are left out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields

import numpy as np
from numpy.typing import NDArray

from espcn.degradation import Degradation, declared
from pipeline.fill import dilate
from pipeline.kernel import Upscaler
from pipeline.plan import Plan
from pipeline.profile import Profile
from pipeline.radiometry import Mask, Pixels, replicate, validity
from pipeline.sources import Source
from pipeline.tiling import Window
from workflows.band_names import band_names

SIDE = 256
"""Side of a window, in source pixels."""
WINDOWS = 16
"""Most windows of a scene: decoding all of a JPEG 2000 once more would cost a tenth of the
network's time. Scenes up to a megapixel are compared as a whole."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class BandSums:
    """Of one band, over the source pixels that were compared, less a constant of the band."""

    count: float = 0.0
    """Source pixels."""
    low: float = 0.0
    """Sum of the source."""
    squares: float = 0.0
    """Sum of its squares."""
    difference: float = 0.0
    """Sum of degraded product less source."""
    misfit: float = 0.0
    """Sum of the squares of that difference."""
    pairs: float = 0.0
    """Neighbours in the source that were both compared."""
    steps: float = 0.0
    """Sum of the squares of the differences between them."""

    def __add__(self, other: BandSums) -> BandSums:
        sums = zip(astuple(self), astuple(other), strict=True)
        return BandSums(*(one + two for one, two in sums))

    @property
    def deviation(self) -> float:
        """Population standard deviation of the source; 0 where nothing was compared."""
        count = max(self.count, 1)
        return float(max(self.squares / count - (self.low / count) ** 2, 0.0) ** 0.5)

    @property
    def bias(self) -> float:
        """|mean of the product less mean of the source|."""
        return abs(self.difference) / max(self.count, 1)

    @property
    def rms(self) -> float:
        """Root of the mean squared difference."""
        return float((self.misfit / max(self.count, 1)) ** 0.5)

    @property
    def roughness(self) -> float:
        """What the deviation would be if neighbours had nothing to do with each other."""
        return float((self.steps / max(self.pairs, 1) / 2) ** 0.5)


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
    found, sums = [Comparison()], [[BandSums()] for _ in light]
    for window in windows:
        part = _read(source, product, plan, window.grow(degradation.reach))
        found.append(_equality(part, window, light))
        for i, band in enumerate(light):
            own = degradation.of_band(band if upscaler.bands == 1 else i)
            sums[i].append(_likeness(part, window, band, own, reach=degradation.reach))
    totals = (sum(getattr(one, name.name) for one in found) for name in fields(Comparison))
    return Comparison(*totals), tuple(sum(parts, BandSums()) for parts in sums)


def choose_windows(profile: Profile, seed: str) -> tuple[list[Window], int]:
    """(windows to compare, how many there are): one at random of each of WINDOWS equal runs."""
    rows, columns = -(-profile.height // SIDE), -(-profile.width // SIDE)
    total = rows * columns
    count, rng = min(total, WINDOWS), random_of(seed)
    chosen = [int(rng.integers(total * i // count, total * (i + 1) // count)) for i in range(count)]
    corners = [(SIDE * (index // columns), SIDE * (index % columns)) for index in chosen]
    windows = [Window(y, x, SIDE, SIDE).clip(profile.height, profile.width) for y, x in corners]
    return windows, total


def degradation_of(profile: Profile, upscaler: Upscaler) -> Degradation:
    """What the network has learned to undo, band by band; bicubic where nothing says it."""
    card = getattr(upscaler, "card", None)  # a network is more than the kernel asks of it
    told = card.provenance if card is not None else {}
    names = band_names(profile) if upscaler.bands == 1 else ()
    found = declared(told, upscaler.scale, names)
    return found.for_bands(len(names) or upscaler.bands)


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


def _likeness(
    part: _Part, window: Window, band: int, degradation: Degradation, *, reach: int
) -> BandSums:
    """The sums of one band in a window."""
    scale, centre = part.plan.tiling.scale, part.plan.radiometry.centre[band]
    fine, shown = part.fine[band], part.shown[band]
    free = shown & ~_forced(fine, part.plan)
    y, x = window.within(part.window).slices
    where = ~dilate(~(part.good[band] & _all_of(free, scale)), reach)[y, x]
    if not where.any():
        return BandSums()
    values = np.where(shown, fine, 0).astype(np.float64) - centre * shown
    apart = degradation.shrink(values)[y, x]
    low = np.where(where, part.low[band][y, x], 0).astype(np.float64) - centre * where
    difference = np.where(where, apart - low, 0).ravel()
    pairs, steps = _steps(low, where)
    return BandSums(
        count=float(np.count_nonzero(where)),
        low=float(low.sum()),
        squares=float((low**2).sum()),
        difference=float(difference.sum()),
        misfit=float(difference @ difference),
        pairs=pairs,
        steps=steps,
    )


def _forced(fine: Pixels, plan: Plan) -> Mask:
    """Values at the ends of their data type, and saturated ones: the network's were others."""
    forced = np.zeros(fine.shape, bool)
    if plan.radiometry.saturated is not None:
        forced |= fine == plan.radiometry.saturated
    if fine.dtype.kind != "f":
        ends, nodata = np.iinfo(fine.dtype), plan.radiometry.nodata
        forced |= fine <= int(ends.min) + (nodata == ends.min)
        forced |= fine >= int(ends.max) - (nodata == ends.max)
    return forced


def _all_of(mask: Mask, scale: int) -> Mask:
    """Source pixels (y, x) of which all fine pixels are true."""
    rows = np.logical_and.reduce([mask[i::scale] for i in range(scale)])
    return np.asarray(np.logical_and.reduce([rows[:, j::scale] for j in range(scale)]))


def _steps(low: Floats, where: Mask) -> tuple[float, float]:
    """(pairs of neighbours that are both true, sum of their squared differences)."""
    down = np.diff(low, axis=0)[where[1:] & where[:-1]]
    across = np.diff(low, axis=1)[where[:, 1:] & where[:, :-1]]
    return float(len(down) + len(across)), float(down @ down + across @ across)
