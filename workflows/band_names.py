"""What bands show: by their descriptions, their colours or, failing these, the file's name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from pipeline.profile import COLOURS, Profile

NUMBERED = re.compile(r"(?<![A-Za-z0-9])(B\d{1,2}A?)(?![A-Za-z0-9])", re.IGNORECASE)
"""B02, B8A, B4 in 'T31TDH_20180101T105441_B02_10m', 'SR_B4' or 'B2, central wavelength 490 nm'."""


def band_names(profile: Profile) -> tuple[str, ...]:
    """The name of each band; '' where it is unknown. A file's name tells that of a single band."""
    names = [_described(band.description, band.colour) for band in profile.bands]
    if len(profile.light) == 1:
        only = profile.light[0]
        names[only] = names[only] or number_in(Path(profile.uri).stem)
    return tuple(names)


def number_in(text: str) -> str:
    """The last band number in a text, such as 'B02'; '' if there is none."""
    found = NUMBERED.findall(text)
    return found[-1].upper() if found else ""


def without_number(text: str) -> str:
    """A file's name without its band number: the same for all bands of a scene."""
    return NUMBERED.sub("", text)


def same_band(one: str, other: str) -> bool:
    """Whether two names mean the same band: B2 is B02, in upper and lower case."""
    return _plain(one) == _plain(other)


def select_bands(names: Sequence[str], light: Sequence[int], wanted: Sequence[str]) -> list[int]:
    """Positions of the bands that are wanted, in that order; all of `light` if none is named.

    Bands are wanted by name or by number from 1; those that are not there are left out.
    """
    if not wanted:
        return list(light)
    found = [
        position
        for want in wanted
        for position in light
        if want == str(position + 1) or (names[position] and same_band(names[position], want))
    ]
    return list(dict.fromkeys(found))


def _described(description: str | None, colour: str) -> str:
    if description:
        return number_in(description) or description.strip()
    return colour if colour in COLOURS else ""


def _plain(name: str) -> str:
    return re.sub(r"^B0*(?=\d)", "B", name.strip().upper())
