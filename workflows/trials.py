"""Trials of a model: pictures and windows of pictures, degraded, restored by the pipeline's kernel.

A picture of up to `WHOLE` samples is tried as a whole. Of a larger one, and of one with invalid
pixels, windows without any are, spread evenly over it: memory stays bounded, gaps are not judged.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import espcn
from espcn.degradation import Degradation, declared, named
from espcn.evaluation import Protocol, Restore, Trial, paper, wald
from pipeline.bands import check_bands
from pipeline.errors import SourceError
from pipeline.kernel import Recipe, make_tiling, upscale_tile
from pipeline.options import RadiometryOptions, SourceOptions
from pipeline.profile import Profile
from pipeline.radiometry import Radiometry, validity
from pipeline.sources import Source
from pipeline.survey import normalisation
from pipeline.tiling import Window
from workflows.band_names import band_names
from workflows.find_sources import Found
from workflows.job import ModelOptions
from workflows.pictures import PHOTOGRAPHS
from workflows.sheet import Look

WHOLE = 2**24
"""Samples (pixels x bands) up to which a picture is tried as a whole."""
SIDES, GRID = (512, 128), 4
"""Sides of the windows that are looked for in turn, and how many along each axis at most."""

Network = espcn.Upscaler | espcn.Consistent
"""With steps of consistency or without."""


@dataclass(frozen=True, slots=True)
class Exam:
    """What is measured, and how."""

    data: tuple[str, ...]
    """Files and folders."""
    model: ModelOptions
    """Which network."""
    protocol: Protocol = "wald"
    """How it is measured."""
    degradation: str | None = None
    """bicubic, a sensor's name or a degradation's text; None: the one that the model names."""
    input: SourceOptions = field(default_factory=SourceOptions)
    """How the data is read."""
    radiometry: RadiometryOptions = field(default_factory=RadiometryOptions)
    """How its values are understood."""
    report: Path | None = None
    """Folder for the figures and the sheet."""


@dataclass(frozen=True, slots=True)
class Tried:
    """A trial and what it is of."""

    trial: Trial
    """The pixels."""
    bands: tuple[str, ...]
    """Names of the bands that were tried; '' where unknown."""
    look: Look
    """How it is shown."""


def make_trials(found: Found, exam: Exam, network: espcn.Upscaler) -> Iterator[Tried]:
    """The trials of one source.

    Raises SourceError if it cannot be read or has no window without gaps, PlanError if its bands or
    values are not those that the network needs, ModelError if the protocol does not suit it.
    """
    profile, is_paper = found.profile, exam.protocol == "paper"
    if not is_paper:
        check_bands(
            profile,
            network,
            model=f"the model {network.card.name}",
            scene="it",
            select=lambda numbers: f"select them with --bands {','.join(map(str, numbers))}",
        )
    bands = _rgb(profile) or profile.light if is_paper else profile.light
    names = tuple(band_names(profile)[band] for band in bands)
    tried = espcn.consistent(network, steps=exam.model.consistency, bands=() if is_paper else names)
    restore = _restorer(tried, profile, exam.radiometry)
    degradation = _degradation(exam, network, names)
    photograph = profile.dtype == "uint8" and profile.driver in PHOTOGRAPHS
    source = found.open()
    for window in _windows(source, bands):
        truth = source.read(window)[list(bands)]
        if is_paper:
            trial = paper(truth, network.scale, restore=restore)
        else:
            trial = wald(truth, degradation, restore=restore)
        seen = _visible(profile, bands, len(trial.truth))
        look = Look(_name(found, window), network.card.name, seen, photograph or is_paper)
        yield Tried(trial, names if len(names) == len(trial.truth) else ("luma",), look)


def _rgb(profile: Profile) -> tuple[int, ...]:
    """Positions of red, green and blue; none if one is missing."""
    colours = [band.colour for band in profile.bands]
    wanted = ("red", "green", "blue")
    return tuple(map(colours.index, wanted)) if set(wanted) <= set(colours) else ()


def _visible(profile: Profile, bands: Sequence[int], count: int) -> tuple[int, ...]:
    """Positions among `bands` of those to show."""
    rgb = [list(bands).index(band) for band in _rgb(profile) if band in bands]
    if count < 3:
        return (0,)
    return tuple(rgb) if len(rgb) == 3 else (0, 1, 2)


def _name(found: Found, window: Window) -> str:
    if window.shape == (found.profile.height, found.profile.width):
        return found.name
    return f"{found.name} [{window.y}:{window.stop_y}, {window.x}:{window.stop_x}]"


def _degradation(exam: Exam, network: espcn.Upscaler, bands: Sequence[str]) -> Degradation:
    if exam.degradation is None:
        names = bands if network.bands == 1 else ()
        return declared(network.card.provenance, network.scale, names)
    return named(exam.degradation, network.scale, bands)


def _windows(source: Source, bands: Sequence[int]) -> Iterator[Window]:
    """Windows of which every pixel of the bands is valid; raises SourceError for none."""
    height, width = source.profile.height, source.profile.width
    whole = Window(0, 0, height, width)
    sizes = [[whole]] if height * width * len(bands) <= WHOLE else []
    sizes += [list(_spread(height, width, side)) for side in SIDES]
    for windows in sizes:
        valid = [window for window in windows if _is_valid(source, bands, window)]
        if valid:
            yield from valid
            return
    raise SourceError(
        f"has no window of {SIDES[-1]} x {SIDES[-1]} px without invalid pixels among "
        f"{GRID * GRID} spread over it",
        uri=source.profile.label,
    )


def _spread(height: int, width: int, side: int) -> Iterator[Window]:
    """Up to GRID x GRID windows that do not overlap."""
    for y in _offsets(height, side):
        for x in _offsets(width, side):
            yield Window(y, x, min(side, height), min(side, width))


def _offsets(length: int, side: int) -> list[int]:
    count = min(GRID, max(1, length // side))
    free = max(0, length - side)
    return [free * i // (count - 1) if count > 1 else free // 2 for i in range(count)]


def _is_valid(source: Source, bands: Sequence[int], window: Window) -> bool:
    valid = validity(source.profile, source.read(window), source.mask(window))
    return valid is None or bool(valid[list(bands)].all())


def _restorer(network: Network, profile: Profile, options: RadiometryOptions) -> Restore:
    """What restores pixels in the counts of a source, not rounded; raises PlanError.

    A network without a range sees them less a whole number per band, as in the pipeline.
    """
    mapped = normalisation(profile, options, network)
    gain = mapped[0] if mapped else 1.0

    def restore(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        count, height, width = pixels.shape
        means = [float(np.rint(band.mean(dtype=np.float64))) for band in pixels]
        centre = [mapped[1]] * count if mapped else means
        plain = Profile(
            profile.uri, "", height, width, "float32", profile.bands[:count], profile.identity
        )
        side = max(height, width) * network.scale
        tiling = make_tiling(height, width, network, side=side)
        recipe = Recipe(plain, tiling, Radiometry("float32", gain, tuple(centre)), network)
        fine: NDArray[np.float32] = upscale_tile(recipe, tiling.tile(0), pixels, None).pixels
        return fine

    return restore
