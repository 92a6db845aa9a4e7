"""A raster file as an asset: what it says of its bands, together with what a catalogue says.

Where both speak they must agree: which of them is wrong cannot be told from here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.options import SourceOptions
from pipeline.profile import Band, Profile
from pipeline.scenes.headers import chosen, code_bands, resolution
from pipeline.scenes.scene import Asset, BandFacts, SceneError, SceneOptions
from pipeline.scenes.stack import StackBand, write_stack

COMMON = (
    *("coastal", "blue", "green", "yellow", "red", "rededge", "nir", "nir08", "nir09"),
    *("cirrus", "swir16", "swir22", "lwir", "lwir11", "lwir12", "pan"),
)
"""Common names of STAC that colours and descriptions may be."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a catalogue says of a band; None where it says nothing."""

    name: str | None = None
    """Its name."""
    common: str | None = None
    """STAC's common name."""
    wavelength: float | None = None
    """Centre, in micrometres."""
    width: float | None = None
    """Full width at half maximum, in micrometres."""
    scale: float | None = None
    """Physical value = value * scale + offset."""
    offset: float | None = None
    """Physical value = value * scale + offset."""
    nodata: float | None = None
    """Value that marks invalid pixels."""
    unit: str | None = None
    """Of the physical value."""


@dataclass(frozen=True, slots=True)
class Image:
    """A raster file of a scene, with its header."""

    key: str
    """Key of its asset."""
    label: str
    """What its only band is called if nothing names it."""
    profile: Profile
    """Its header."""
    said: tuple[Said, ...] = ()
    """What a catalogue says of its bands; () if nothing."""
    classes: bool = False
    """Whether a catalogue says that it holds codes."""


def image_assets(
    image: Image, options: SceneOptions, *, work: Path, taken: set[str]
) -> list[Asset]:
    """The asset of a file's light, that of its codes, or both, as far as wanted.

    Names of bands are made unique within the scene: those in `taken` are, and the new ones join
    them. A VRT in `work` says what the file itself does not. Raises SceneError.
    """
    profile, said = image.profile, _matched(image)
    facts = [_facts(image, band, one) for band, one in zip(profile.bands, said, strict=True)]
    every = set(range(1, len(facts) + 1))
    codes = every if image.classes else code_bands(profile)
    if all(profile.bands[n - 1].role == "alpha" for n in every - codes):
        codes = every
    found = []
    light = _wanted(image, facts, sorted(every - codes), options)
    if light:
        named = [_unique(facts[n - 1], image.key, taken) for n in light]
        found.append(_light(image, named, light, nodata=_nodata(image, said), work=work))
    if codes and options.classes:
        named = [_unique(facts[n - 1], image.key, taken) for n in sorted(codes)]
        found.append(_codes(image, named, sorted(codes)))
    return found


def _light(
    image: Image, facts: Sequence[BandFacts], numbers: Sequence[int], *, nodata: float | None,
    work: Path,
) -> Asset:  # fmt: skip
    asset = Asset(
        key=image.key,
        uri=image.profile.uri,
        kind="pan" if _is_pan(facts) else "light",
        bands=tuple(facts),
        resolution=resolution(image.profile),
        options=SourceOptions(
            bands=_selection(image, numbers),
            nodata=nodata if image.profile.nodata is None else None,
        ),
    )
    if not _needs_stack(image, facts, numbers):
        return asset
    return _stacked(image, asset, numbers, nodata, work)


def _codes(image: Image, facts: Sequence[BandFacts], numbers: Sequence[int]) -> Asset:
    alone = len(numbers) == len(image.profile.bands)
    return Asset(
        key=image.key if alone else f"{image.key}_classes",
        uri=image.profile.uri,
        kind="classes",
        bands=tuple(facts),
        resolution=resolution(image.profile),
        options=SourceOptions(bands=_selection(image, numbers), categorical="nearest"),
    )


def _selection(image: Image, numbers: Sequence[int]) -> tuple[int, ...] | None:
    """For the source; None for all bands in their order."""
    return None if list(numbers) == list(range(1, len(image.profile.bands) + 1)) else tuple(numbers)


def _matched(image: Image) -> list[Said]:
    """What is said of each band of the file; an alpha band need not be spoken of."""
    bands = image.profile.bands
    if not image.said:
        return [Said()] * len(bands)
    if len(image.said) == len(bands):
        return list(image.said)
    spoken = [band for band in bands if band.role != "alpha"]
    if len(image.said) != len(spoken):
        raise _disagreement(image, "bands", len(bands), len(image.said))
    rest = iter(image.said)
    return [Said() if band.role == "alpha" else next(rest) for band in bands]


def _facts(image: Image, band: Band, said: Said) -> BandFacts:
    described = (band.description or "").casefold()
    words = [word for word in (said.common, described, band.colour) if word in COMMON]
    alone = len(image.profile.bands) == 1
    default = image.label if alone else words[0] if words else f"b{band.number}"
    return BandFacts(
        name="alpha" if band.role == "alpha" else said.name or band.description or default,
        common=said.common or (words[0] if words else None),
        wavelength=said.wavelength,
        width=said.width,
        scale=_agreed(image, "scale", band.scale, said.scale, silent=1.0),
        offset=_agreed(image, "offset", band.offset, said.offset, silent=0.0),
        unit=said.unit or band.unit,
    )


def _agreed(image: Image, what: str, file: float, said: float | None, *, silent: float) -> float:
    """The value of the one that speaks; raises SceneError if both do and differ."""
    if said is None or said == file:
        return file
    if file != silent:
        raise _disagreement(image, what, file, said)
    return said


def _nodata(image: Image, said: Sequence[Said]) -> float | None:
    """The one nodata value of all bands; raises SceneError if there are several."""
    found = {repr(one.nodata): one.nodata for one in said if one.nodata is not None}
    if len(found) > 1:
        raise SceneError(
            f"has bands with different nodata values ({', '.join(found)}) in its catalogue",
            uri=image.profile.uri,
            reason="unsupported",
        )
    value, file = next(iter(found.values()), None), image.profile.nodata
    if value is None or file is None:
        return file if value is None else value
    if value != file and not (math.isnan(value) and math.isnan(file)):
        raise _disagreement(image, "nodata", file, value)
    return file


def _disagreement(image: Image, what: str, file: object, said: object) -> SceneError:
    return SceneError(
        f"says {what} = {file}, its catalogue {said}: one of them is wrong",
        uri=image.profile.uri,
        reason="unsupported",
    )


def _is_pan(facts: Sequence[BandFacts]) -> bool:
    return all(one.common == "pan" for one in facts)


def _wanted(
    image: Image, facts: Sequence[BandFacts], light: Sequence[int], options: SceneOptions
) -> list[int]:
    """1-based numbers of the bands of light to take, by role or by name."""
    pan = _is_pan([facts[n - 1] for n in light])
    if pan and options.pan:
        return list(light)
    if options.bands is None:
        return [] if pan else list(light)
    if chosen(options.bands, image.key):
        return list(light)
    return [n for n in light if chosen(options.bands, facts[n - 1].name, facts[n - 1].common)]


def _unique(facts: BandFacts, key: str, taken: set[str]) -> BandFacts:
    name, number = facts.name, 1
    while name in taken:
        name = f"{key}_{facts.name}" if number == 1 else f"{key}_{facts.name}_{number}"
        number += 1
    taken.add(name)
    return replace(facts, name=name)


def _needs_stack(image: Image, facts: Sequence[BandFacts], numbers: Sequence[int]) -> bool:
    """Whether the file itself does not say what is known of it, and a VRT loses nothing."""
    profile = image.profile
    bands = [profile.bands[n - 1] for n in numbers]
    silent = any(
        (band.description, band.scale, band.offset) != (one.name, one.scale, one.offset)
        for band, one in zip(bands, facts, strict=True)
    )
    georef = profile.georef
    plain = georef.affine is not None and not (georef.gcps or georef.rpcs or profile.mask)
    return bool(image.said) and silent and plain and profile.alpha is None


def _stacked(
    image: Image, asset: Asset, numbers: Sequence[int], nodata: float | None, work: Path
) -> Asset:
    """The same asset by way of a VRT."""
    target = (work / f"{image.key}.vrt").absolute()
    bands = [
        StackBand(
            image.profile.uri,
            one,
            number=n,
            colour=_colour(one, image.profile.bands[n - 1]),
            tags=image.profile.bands[n - 1].tags,
        )
        for n, one in zip(numbers, asset.bands, strict=True)
    ]
    write_stack(target, bands, nodata=nodata)
    return replace(asset, uri=str(target), options=SourceOptions())


def _colour(facts: BandFacts, band: Band) -> str:
    return facts.common if facts.common in ("red", "green", "blue") else band.colour
