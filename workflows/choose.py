"""Which bands of a source are learned from, and whether sources agree in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.errors import SourceError
from pipeline.profile import COLOURS
from workflows.band_names import band_names, same_band, select_bands
from workflows.data_options import Channels, DataOptions
from workflows.find_sources import Found, Skip, first_of, narrow, without_folders

NARROWEST = 32
"""Least side in pixels of an area that is used: narrower ones are all border."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A source and what is taken of it."""

    found: Found
    """Opened with the chosen bands only."""
    names: tuple[str, ...]
    """Of the chosen bands; '' where unknown."""
    channels: Channels
    """How they become samples."""

    @property
    def bands(self) -> int:
        """Bands of all samples of one window together."""
        return 1 if self.channels == "luma" else len(self.names)

    @property
    def samples(self) -> int:
        """Samples of one window."""
        return len(self.names) if self.channels == "each" else 1


def choose(found: Found, options: DataOptions) -> Chosen | Skip:
    """The bands of a source that are wanted, or why it cannot be used."""
    profile, label = found.profile, found.label
    if min(profile.height, profile.width) < NARROWEST:
        return Skip(label, f"is {profile.width} x {profile.height} px; {NARROWEST} are the least")
    names = band_names(profile)
    positions = select_bands(names, profile.light, options.bands)
    wanted = ", ".join(options.bands)
    if options.channels == "joint" and len(positions) < len(options.bands):
        return Skip(
            label,
            f"has not all of the bands {wanted}; gdalbuildvrt -separate joins files of one band",
        )
    if not positions:
        return Skip(label, f"has none of the bands {wanted}" if wanted else "has no band of light")
    if options.channels == "luma" and (profile.dtype != "uint8" or len(positions) not in (1, 3)):
        return Skip(
            label,
            f"has {len(positions)} bands of {profile.dtype}; luma is that of red, green and blue, "
            "or of grey, of 8 bits",
        )
    if options.channels == "luma" and {names[i] for i in positions} == set(COLOURS):
        positions.sort(key=lambda i: COLOURS.index(names[i]))
    try:
        narrowed = narrow(found, positions)
    except SourceError as error:
        return Skip(label, without_folders(error.message, found.address.uri))
    return Chosen(narrowed, tuple(names[position] for position in positions), options.channels)


def check_agreement(chosen: Sequence[Chosen]) -> tuple[str, ...]:
    """Raise SourceError unless all sources have the same bands in the same order.

    Returns notes on those whose order is not known.
    """
    first = next((one for one in chosen if all(one.names)), chosen[0])
    for other in chosen:
        known = [pair for pair in zip(first.names, other.names, strict=False) if all(pair)]
        if len(first.names) != len(other.names) or not all(same_band(*pair) for pair in known):
            raise SourceError(
                f"{first.found.label} has {_listed(first)}, {other.found.label} has "
                f"{_listed(other)}: to train on bands together they must be the same everywhere; "
                "choose them with --bands, or leave sources out"
            )
    unnamed = [one.found.name for one in chosen if not all(one.names)]
    if not unnamed or not all(first.names):
        return ()
    return (
        f"bands without names, taken to be {', '.join(first.names)} as in {first.found.name}: "
        f"{first_of(unnamed)}",
    )


def _listed(chosen: Chosen) -> str:
    names = ", ".join(name or "?" for name in chosen.names)
    return f"{len(chosen.names)} bands ({names})"
