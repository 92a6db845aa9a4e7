"""A band of a product, degraded as its network has learned to undo it, held against its source.

Where a value was clipped to its data type, or the source's own came back exactly (gaps, saturated
pixels), a network has no say: pixels that depend on such ones are left out.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray

from espcn.degradation import Degradation, declared
from pipeline.fill import dilate
from pipeline.kernel import Upscaler
from pipeline.profile import Profile
from pipeline.radiometry import Mask, Pixels, Radiometry
from workflows.band_names import band_names

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
class Pair:
    """One band of source and product on the same ground, and what of them is valid."""

    low: Pixels
    """(y, x) of the source."""
    good: Mask
    """Where the source is valid."""
    fine: Pixels
    """(y, x) of the product."""
    shown: Mask
    """Where the product is valid, as it says itself."""


def liken(
    pair: Pair,
    inside: tuple[slice, slice],
    radiometry: Radiometry,
    degradation: Degradation,
    *,
    band: int,
    reach: int,
) -> BandSums:
    """The sums of a band over the source pixels `inside`; the others are their context.

    `degradation` is that of the band, `reach` the largest of any.
    """
    scale, centre = degradation.scale, radiometry.centre[band]
    free = pair.shown & ~_forced(pair.fine, radiometry)
    where = ~dilate(~(pair.good & _all_of(free, scale)), reach)[inside]
    if not where.any():
        return BandSums()
    low = _less(pair.low[inside], centre, where)
    apart = degradation.shrink(_less(pair.fine, centre, pair.shown))[inside] - low
    apart[~where] = 0
    pairs, steps = _steps(low, where)
    return BandSums(
        count=float(np.count_nonzero(where)),
        low=float(low.sum()),
        squares=_squares(low),
        difference=float(apart.sum()),
        misfit=_squares(apart),
        pairs=pairs,
        steps=steps,
    )


def degradation_of(profile: Profile, upscaler: Upscaler) -> Degradation:
    """What the network has learned to undo, band by band; bicubic where nothing says it."""
    card = getattr(upscaler, "card", None)  # a network is more than the kernel asks of it
    told = card.provenance if card is not None else {}
    names = band_names(profile) if upscaler.bands == 1 else ()
    found = declared(told, upscaler.scale, names)
    return found.for_bands(len(names) or upscaler.bands)


def _less(pixels: Pixels, centre: float, where: Mask) -> Floats:
    """Values less a constant; 0 where they mean nothing."""
    with np.errstate(invalid="ignore", over="ignore"):
        values = np.subtract(pixels, centre, dtype=np.float64)
    values[~where] = 0
    return values


def _squares(values: Floats) -> float:
    """Sum of squares, in this thread: a product of vectors would start others."""
    return float(np.square(values).sum())


def _forced(fine: Pixels, radiometry: Radiometry) -> Mask:
    """Values at the ends of their data type, and saturated ones: the network's were others."""
    forced = np.zeros(fine.shape, bool)
    if radiometry.saturated is not None:
        forced |= fine == radiometry.saturated
    if fine.dtype.kind != "f":
        ends, nodata = np.iinfo(fine.dtype), radiometry.nodata
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
    return float(len(down) + len(across)), _squares(down) + _squares(across)
