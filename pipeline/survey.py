"""The constants of a scene, from a few small windows of it: chosen once, never per tile."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pipeline.errors import PlanError
from pipeline.options import RadiometryOptions
from pipeline.profile import Profile
from pipeline.radiometry import Radiometry, validity
from pipeline.sources import Source
from pipeline.tiling import Window

PROBES = 4
"""Windows along each axis."""
PROBE_SIDE = 64
"""Side of a window, in LR pixels."""


def survey(
    source: Source, options: RadiometryOptions, *, input_range: tuple[float, float] | None
) -> Radiometry:
    """How the scene's values go through a network.

    `input_range` is the range that the network was trained on, None for an affine-equivariant one:
    that one sees the values less one constant per band, which keeps float32 exact where a large
    offset carries little contrast. Raises PlanError where a range is needed and not known.
    """
    profile = source.profile
    saturated = profile.saturated if options.saturated == "auto" else options.saturated
    gain, centre = 1.0, _centres(source)
    if input_range is not None:
        low, high = range_of(profile.dtype, options, uri=profile.uri)
        gain = (high - low) / (input_range[1] - input_range[0])
        centre = (low - input_range[0] * gain,) * len(profile.bands)
    return Radiometry(
        dtype=profile.dtype,
        gain=gain,
        centre=centre,
        nodata=None if profile.mask else profile.nodata,
        saturated=None if saturated in (None, "none") else float(saturated),
    )


def range_of(dtype: str, options: RadiometryOptions, *, uri: str) -> tuple[float, float]:
    """The source's values that map to the ends of a network's range; raises PlanError."""
    if options.input_range is not None:
        low, high = options.input_range
        if not low < high:
            raise PlanError(f"radiometry.input_range must rise, got {low} to {high}")
        return low, high
    if dtype == "uint8":
        return 0.0, 255.0
    raise PlanError(
        f"the model was trained on a range of values and cannot know that of {dtype} data; "
        "give it with --set radiometry.input_range='[0, 10000]', or use a general-x* model, which "
        "needs none",
        uri=uri,
    )


def _centres(source: Source) -> tuple[float, ...]:
    """A whole number near the mean of the valid values of each band; 0 where none is seen."""
    profile = source.profile
    sums, counts = np.zeros(len(profile.bands)), np.zeros(len(profile.bands))
    for window in probes(profile):
        pixels = source.read(window)
        valid = validity(profile, pixels, source.mask(window))
        good = np.ones(pixels.shape, bool) if valid is None else valid
        sums += np.where(good, pixels, 0).sum(axis=(1, 2), dtype=np.float64)
        counts += good.sum(axis=(1, 2))
    means = sums / np.maximum(counts, 1)
    return tuple(float(np.rint(m)) if abs(m) >= 1 else 0.0 for m in means)


def probes(profile: Profile) -> Iterator[Window]:
    """Windows spread evenly over the scene."""
    height, width = min(PROBE_SIDE, profile.height), min(PROBE_SIDE, profile.width)
    for y in sorted({(profile.height - height) * i // (PROBES - 1) for i in range(PROBES)}):
        for x in sorted({(profile.width - width) * i // (PROBES - 1) for i in range(PROBES)}):
            yield Window(y, x, height, width)
