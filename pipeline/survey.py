"""The constants of a scene, from a few small windows of it: chosen once, never per tile."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import PlanError
from pipeline.kernel import Upscaler
from pipeline.options import RadiometryOptions
from pipeline.profile import Profile
from pipeline.radiometry import HUGE, Radiometry, validity
from pipeline.sources import Source
from pipeline.tiling import Window

Floats = NDArray[np.float64]

BYTES = (0.0, 255.0)
"""Range of 8-bit values; a network that was trained on it knows nothing of other data types."""
TINY = 1e-30
"""Floats below: float32 ends at 1.2e-38, and what weights of 1e-8 add to a sum would be cut off."""
SPREAD_OF_GAPS = 1e-6
"""Most relative difference of the numbers that mark gaps: some programs round their -3.4e38."""
PROBES = 4
"""Windows along each axis."""
PROBE_SIDE = 64
"""Side of a window, in LR pixels."""


def survey(source: Source, options: RadiometryOptions, network: Upscaler) -> Radiometry:
    """How the scene's values go through a network.

    An affine-equivariant one sees them less one constant per band, which keeps float32 exact where
    a large offset carries little contrast. Raises PlanError where a range is needed and not known,
    and where float32 cannot hold the values.
    """
    profile = source.profile
    saturated = profile.saturated if options.saturated == "auto" else options.saturated
    mapped, seen = normalisation(profile, options, network), _look(source)
    if not network.native:
        _check_floats(profile, seen)
    return Radiometry(
        dtype=profile.dtype,
        gain=mapped[0] if mapped else 1.0,
        centre=(mapped[1],) * len(profile.bands) if mapped else _centres(seen),
        nodata=None if profile.mask else profile.nodata,
        saturated=None if saturated in (None, "none") else float(saturated),
        limits=profile.limits,
        padding=profile.padding,
    )


def normalisation(
    profile: Profile, options: RadiometryOptions, network: Upscaler
) -> tuple[float, float] | None:
    """(gain, centre): (value - centre) / gain lies in the network's range; None if it has none.

    The errors are those of `range_of`.
    """
    source = range_of(profile, options, network)
    if source is None or network.input_range is None:
        return None
    (low, high), (first, last) = source, network.input_range
    gain = (high - low) / (last - first)
    return gain, low - first * gain


def range_of(
    profile: Profile, options: RadiometryOptions, network: Upscaler
) -> tuple[float, float] | None:
    """The scene's values that map to the ends of the network's range; None if it has none.

    Those that the user gives; else those that its training recorded; else, of 8 bits, all. Raises
    PlanError for others.
    """
    if network.input_range is None:
        return None
    if options.input_range is not None:
        low, high = options.input_range
        if not low < high:
            raise PlanError(f"radiometry.input_range must rise, got {low} to {high}")
        return low, high
    if network.value_range not in (None, BYTES):
        return network.value_range
    if profile.dtype == "uint8":
        return BYTES
    raise PlanError(
        f"the model was trained on a range of values and cannot know that of {profile.dtype} data; "
        "give it with --set radiometry.input_range='[0, 10000]', or use a general-x* model, which "
        "needs none",
        uri=profile.label,
    )


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a few windows show of every band."""

    means: Floats
    """Of the valid values; 0 where none is seen."""
    largest: Floats
    """The largest valid value, without its sign; 0 where none is seen."""
    beyond: tuple[Floats, Floats]
    """The smallest and the largest finite value from HUGE on, without signs; (inf, 0) for none."""


def _look(source: Source) -> _Seen:
    """Read the windows; raises SourceError."""
    profile = source.profile
    sums, counts, largest, last = np.zeros((4, len(profile.bands)))
    first = np.full(len(profile.bands), np.inf)
    for frame, window in probes(profile):
        pixels, mask = source.read(window, frame), source.mask(window, frame)
        valid = validity(profile, pixels, mask)
        good = np.ones(pixels.shape, bool) if valid is None else valid
        sums += np.where(good, pixels, 0).sum(axis=(1, 2), dtype=np.float64)
        counts += good.sum(axis=(1, 2))
        if pixels.dtype.kind == "f":
            sizes = np.abs(pixels, dtype=np.float64)
            largest = np.maximum(largest, sizes.max(axis=(1, 2), where=good, initial=0))
            far = np.isfinite(sizes) & (sizes >= HUGE) & (True if mask is None else mask)
            first = np.minimum(first, sizes.min(axis=(1, 2), where=far, initial=np.inf))
            last = np.maximum(last, sizes.max(axis=(1, 2), where=far, initial=0))
    return _Seen(sums / np.maximum(counts, 1), largest, (first, last))


def _check_floats(profile: Profile, seen: _Seen) -> None:
    """Raise PlanError where the values of a band of light are none that float32 computes with.

    Gaps are huge as well, but of one number, give or take its last digits.
    """
    if np.dtype(profile.dtype).kind != "f":
        return
    for band in profile.light:
        largest, first, last = seen.largest[band], seen.beyond[0][band], seen.beyond[1][band]
        if 0 < largest < TINY:
            wrong, size = f"of {largest:.3g} at most, and below {TINY:g} digits are lost", largest
        elif not largest and last > first * (1 + SPREAD_OF_GAPS):
            wrong, size = f"of {first:.3g} to {last:.3g}, and from {HUGE:g} on none counts", last
        else:
            continue
        raise PlanError(
            f"holds values {wrong} in a network's float32 (band {profile.bands[band].number}); "
            f"multiply them by 1e{-math.floor(math.log10(size)):+03d} first (gdal_calc), or copy "
            "them with --model nearest",
            uri=profile.label,
        )


def _centres(seen: _Seen) -> tuple[float, ...]:
    """A whole number near the mean of the valid values of each band; 0 where that is small."""
    return tuple(float(np.rint(m)) if abs(m) >= 1 else 0.0 for m in seen.means)


def probes(profile: Profile) -> Iterator[tuple[int, Window]]:
    """(frame, window), spread evenly over the scene."""
    height, width = min(PROBE_SIDE, profile.height), min(PROBE_SIDE, profile.width)
    places = [
        (y, x)
        for y in sorted({(profile.height - height) * i // (PROBES - 1) for i in range(PROBES)})
        for x in sorted({(profile.width - width) * i // (PROBES - 1) for i in range(PROBES)})
    ]
    last = max(len(places) - 1, 1)
    for number, (y, x) in enumerate(places):
        yield (profile.frames - 1) * number // last, Window(y, x, height, width)
