"""The checks that every product must pass before it is published, asset by asset."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import PublishError, SourceError
from pipeline.kernel import Upscaler
from pipeline.options import READ_BACK
from pipeline.plan import Plan
from pipeline.profile import Profile
from pipeline.sources import Source, open_source
from workflows.batch import comparison, recomputed
from workflows.batch.comparison import Comparison, choose_frames, choose_windows, compare
from workflows.batch.jpeg_colours import JpegColours
from workflows.batch.likeness import BandSums
from workflows.batch.options import CheckOptions
from workflows.batch.outcome import Check
from workflows.batch.outline import corner_distance, corners_in_source, coverage
from workflows.batch.placed import moved
from workflows.batch.recomputed import SIDE, Recomputed, recompute
from workflows.frames import Frame

if TYPE_CHECKING:
    from workflows.batch.product import MadeAsset

STEPS = 8
"""Least contrast that deviations are held against, in steps of a whole number: below it rounding
alone would show."""
CONTRAST = 1e-4
"""The same for floats, as a part of their mean: float32 holds seven digits."""
CHANCE = 4.0
"""Standard errors of a mean that chance alone hardly reaches: few pixels say little."""
SWAY = 0.05
"""Bias that a network may have on texture, as a part of its roughness; the most of 8 networks
on 23 rasters, many of them of other sensors than they know, was 0.046."""
LOSS = 0.45
"""Misfit that texture excuses, as a part of its roughness: plain bicubic reached 0.39."""


def check_asset(
    made: MadeAsset, limits: CheckOptions, upscaler: Upscaler, *, key: str
) -> tuple[Check, ...]:
    """All checks of one asset; `key` chooses the places that are looked at.

    Raises SourceError if the source cannot be read any more, PublishError if the product cannot.
    """
    plan, seed = made.plan, f"{key} {made.asset.key}"
    source = plan.source.open(plan.profile.identity)
    with published(made):
        product = open_product(made)
        outline = _outline(made, product, limits)
        if _kind(product.profile) != _kind(plan.fine):
            return (*outline, _other_kind(made, product))
        # copies must equal their source, unless they were compressed with loss
        copies = upscaler.native and not _is_lossy(product.profile)
        light = () if copies else plan.profile.light
        windows, total = choose_windows(plan.profile, seed)
        frames = choose_frames(plan.profile.frames, seed)
        pairs = [(Frame(source, frame), Frame(product, frame)) for frame in frames]
        compared = [
            compare(_held(low, high), high, plan, upscaler, light=light, windows=windows)
            for low, high in pairs
        ]
        found = comparison.together([one for one, _ in compared])
        sums = [sum(parts, BandSums()) for parts in zip(*(own for _, own in compared), strict=True)]
        count = limits.windows if light and not _is_lossy(product.profile) else 0
        again = recomputed.together(
            [recompute(*pair, plan, upscaler, count=count, seed=seed) for pair in pairs]
        )
    where = f"in {len(windows)} of {total} places" + _of_frames(frames, plan.profile)
    return (
        *outline,
        _valid_share(made, found, limits, where),
        *(_likeness(made, sums, limits, light, where) if light else ()),
        *([_recomputed(made, found, again, where)] if found.copied or again.values else []),
    )


def open_product(made: MadeAsset) -> Source:
    """The finished image as anybody would read it; raises SourceError."""
    return open_source(str(made.target), READ_BACK)


@contextmanager
def published(made: MadeAsset) -> Iterator[None]:
    """Turn what is wrong with the finished image, not with the source, into a PublishError."""
    try:
        yield
    except SourceError as error:
        if error.uri is None or not Path(error.uri).is_relative_to(made.target):
            raise
        raise PublishError(
            f"cannot be read back ({error.message}); check the disk and run again",
            uri=str(made.target),
        ) from error


def _outline(made: MadeAsset, product: Source, limits: CheckOptions) -> tuple[Check, Check]:
    """Coverage and corners."""
    old, new, scale = made.plan.profile, product.profile, made.plan.provenance.scale
    note = ""
    if corners_in_source(old, new, scale=scale) is None:
        note = "the product has another coordinate reference system, or none"
    share = coverage(old, new, scale=scale)
    apart = moved(old, new) if old.medical else corner_distance(old, new, scale=scale)
    near = apart is not None and apart <= limits.corners
    # clipping a polygon that is the whole scene may lose a last digit
    whole = share >= limits.coverage - 1e-9
    key = made.asset.key
    return (
        Check("coverage", whole, share, limits.coverage, key, note),
        Check("corners", near, apart, limits.corners, key, note or "in source pixels"),
    )


def _kind(profile: Profile) -> tuple[object, ...]:
    """What pixels must have in common to be compared."""
    return profile.shape, profile.dtype, profile.frames


def _is_lossy(profile: Profile) -> bool:
    """Whether a product of DICOM was compressed with loss, as slides are by choice."""
    return "JPEG Baseline" in profile.dicom.get("TransferSyntax", "")


def _held(source: Source, product: Source) -> Source:
    """The source, in colours that the product's format can hold."""
    lossy = _is_lossy(product.profile) and len(product.profile.bands) == 3
    return JpegColours(source) if lossy else source


def _of_frames(frames: Sequence[int], profile: Profile) -> str:
    if profile.frames == 1:
        return ""
    return f" of {len(frames)} of {profile.frames} frames"


def _other_kind(made: MadeAsset, product: Source) -> Check:
    """A failure: pixels that cannot be compared."""
    (one, other), kinds = (made.plan.fine, product.profile), []
    for profile in (one, other):
        bands, height, width = profile.shape
        kinds.append(f"{bands} bands of {width} x {height} px in {profile.dtype}")
    note = f"the product has {kinds[1]}, not {kinds[0]}"
    return Check("recomputed", False, None, 0.0, made.asset.key, note)


def _valid_share(made: MadeAsset, found: Comparison, limits: CheckOptions, where: str) -> Check:
    """Validity, pixel by pixel: shares that agree by chance do not pass."""
    astray = found.astray / found.values
    low, fine = (100 * valid / found.values for valid in (found.valid_low, found.valid_fine))
    return Check(
        "valid share",
        astray <= limits.valid_difference,
        astray,
        limits.valid_difference,
        made.asset.key,
        f"valid: {low:.2f} % of the source, {fine:.2f} % of the product; {where}",
    )


def _likeness(
    made: MadeAsset,
    sums: Sequence[BandSums],
    limits: CheckOptions,
    light: Sequence[int],
    where: str,
) -> tuple[Check, Check]:
    """Mean bias and consistency, each of the band that comes closest to its limit or beyond.

    The limit of the bias is what the user allows, what networks do to texture, and what chance
    does to the mean of so few pixels. It has no share for JPEG, which moves a colour the same way
    wherever it is, the ground of a slide by 0.4 counts: the source is moved along (`_held`). A
    scanner's slide then had a bias of 0.06 counts at most, whichever 16 of 432 places were looked
    at, with limits of 0.2 to 0.9; so no choice of places fails it, or lets one count pass.
    """
    biases, misfits = [], []
    for band, one in zip(light, sums, strict=True):
        unit, note = _spread(made.plan, one, band), f"in {_name(made, band)}; {where}"
        misfit, rough = _ratio(one.rms, unit), _ratio(one.roughness, unit)
        chance = CHANCE * misfit / max(one.count, 1) ** 0.5
        biases.append((_ratio(one.bias, unit), limits.bias + SWAY * rough + chance, note))
        misfits.append((misfit, max(limits.consistency, LOSS * rough), note))
    bias, misfit_, key = _worst(biases), _worst(misfits), made.asset.key
    return (
        Check("mean bias", bias[0] <= bias[1], bias[0], bias[1], key, bias[2]),
        Check("consistency", misfit_[0] <= misfit_[1], misfit_[0], misfit_[1], key, misfit_[2]),
    )


def _worst(found: Sequence[tuple[float, float, str]]) -> tuple[float, float, str]:
    """The (value, limit, note) that leaves least room."""
    return max(found, key=lambda one: one[0] - one[1])


def _recomputed(made: MadeAsset, found: Comparison, again: Recomputed, where: str) -> Check:
    """Windows made again, and what must equal the source."""
    values, unequal = found.copied + again.values, found.unequal + again.unequal
    said = [f"{len(again.windows)} x {SIDE} x {SIDE} px made again"] if again.values else []
    said += [f"copies of the source {where}"] if found.copied else []
    note = f"{unequal} of {values} values differ; {', '.join(said)}"
    return Check("recomputed", not unequal, unequal / values, 0.0, made.asset.key, note)


def _spread(plan: Plan, sums: BandSums, band: int) -> float:
    """What differences of a band are held against: its standard deviation, but not too small."""
    if np.dtype(plan.profile.dtype).kind != "f":
        return max(sums.deviation, STEPS)
    mean = sums.low / max(sums.count, 1) + plan.radiometry.centre[band]
    return max(sums.deviation, CONTRAST * abs(mean))


def _ratio(difference: float, spread: float) -> float:
    """A difference in units of the spread; 0 where all that was compared is 0: there is no unit."""
    return difference / spread if spread else 0.0


def _name(made: MadeAsset, band: int) -> str:
    """What a band is called."""
    facts, described = made.asset.bands, made.plan.profile.bands[band]
    if len(facts) == len(made.plan.profile.bands):
        return facts[band].name
    return described.description or f"band {described.number}"
