"""The constants of a scene, from a few small windows of it: chosen once, never per tile."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pipeline.errors import PlanError
from pipeline.kernel import Upscaler
from pipeline.options import RadiometryOptions
from pipeline.profile import Profile
from pipeline.radiometry import Radiometry, validity
from pipeline.sources import Source
from pipeline.tiling import Window

BYTES = (0.0, 255.0)
"""Range of 8-bit values; a network that was trained on it knows nothing of other data types."""
PROBES = 4
"""Windows along each axis."""
PROBE_SIDE = 64
"""Side of a window, in LR pixels."""


def survey(source: Source, options: RadiometryOptions, network: Upscaler) -> Radiometry:
    """How the scene's values go through a network.

    An affine-equivariant one sees them less one constant per band, which keeps float32 exact where
    a large offset carries little contrast. Raises PlanError where a range is needed and not known.
    """
    profile = source.profile
    saturated = profile.saturated if options.saturated == "auto" else options.saturated
    mapped = normalisation(profile, options, network)
    return Radiometry(
        dtype=profile.dtype,
        gain=mapped[0] if mapped else 1.0,
        centre=(mapped[1],) * len(profile.bands) if mapped else _centres(source),
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


def _centres(source: Source) -> tuple[float, ...]:
    """A whole number near the mean of the valid values of each band; 0 where none is seen."""
    profile = source.profile
    sums, counts = np.zeros(len(profile.bands)), np.zeros(len(profile.bands))
    for frame, window in probes(profile):
        pixels = source.read(window, frame)
        valid = validity(profile, pixels, source.mask(window, frame))
        good = np.ones(pixels.shape, bool) if valid is None else valid
        sums += np.where(good, pixels, 0).sum(axis=(1, 2), dtype=np.float64)
        counts += good.sum(axis=(1, 2))
    means = sums / np.maximum(counts, 1)
    return tuple(float(np.rint(m)) if abs(m) >= 1 else 0.0 for m in means)


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
