"""What can be done with a network and a scene, but should be known before: one line each."""

from __future__ import annotations

from pipeline.bands import unnamed
from pipeline.kernel import Upscaler
from pipeline.options import RadiometryOptions
from pipeline.profile import Profile
from pipeline.survey import BYTES, range_of


def doubts(
    profile: Profile,
    upscaler: Upscaler,
    options: RadiometryOptions,
    *,
    model: str,
    scene: str,
) -> tuple[str, ...]:
    """The lines; `model` and `scene` are what they call them."""
    found = (
        _doubt_names(profile, upscaler, model, scene),
        _doubt_range(profile, upscaler, options, model, scene),
    )
    return (*(line for line in found if line is not None), *_oddities(profile, scene))


def _oddities(profile: Profile, scene: str) -> tuple[str, ...]:
    """What is odd about a series of DICOM images, as its reader has told."""
    flags = profile.dicom.get("flags", "")
    return tuple(f"{scene}: {flag}" for flag in flags.split("; ") if flag)


def _doubt_names(profile: Profile, upscaler: Upscaler, model: str, scene: str) -> str | None:
    """Where bands are mixed by what they show, and some do not tell."""
    numbers = [str(band.number) for band in unnamed(profile, upscaler)]
    if not numbers:
        return None
    bands = f"bands {', '.join(numbers)}" if len(numbers) > 1 else f"band {numbers[0]}"
    return (
        f"{model} takes {', '.join(upscaler.band_names)} in this order, and {bands} of {scene} "
        "cannot be told by name: see that they are these"
    )


def _doubt_range(
    profile: Profile, upscaler: Upscaler, options: RadiometryOptions, model: str, scene: str
) -> str | None:
    """Where values of 8 bits are taken for those of another data type."""
    trained = range_of(profile, options, upscaler)
    if profile.dtype != "uint8" or options.input_range is not None or trained in (None, BYTES):
        return None
    low, high = trained
    return (
        f"{model} was trained on values from {low:.9g} to {high:.9g} and takes those of {scene}, 8 "
        "bits, for the same; if they are not, set radiometry.input_range"
    )
