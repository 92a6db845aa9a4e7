"""Samples: windows of sources as a network learns them, and why some are of no use."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from espcn import metrics
from pipeline.errors import SourceError
from pipeline.profile import Profile
from pipeline.radiometry import Mask, Pixels, as_code, validity
from pipeline.sources import Source
from pipeline.tiling import Window
from workflows.choose import Chosen
from workflows.draw import Stretch


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Pixels to learn from or to judge by."""

    pixels: Pixels
    """(band, y, x) as stored; luma is uint8 from 16 to 235."""
    bands: tuple[str, ...]
    """What each band shows, such as 'B02' or 'Y'; '' where it is unknown."""
    uri: str
    """Absolute path of the source."""
    window: Window
    """Which part of it."""
    name: str
    """What reports call the source."""

    @property
    def digest(self) -> str:
        """sha256 of the pixels, their type and their shape: the same wherever the file lies."""
        said = f"{self.pixels.dtype.name} {self.pixels.shape}\0".encode()
        return hashlib.sha256(said + np.ascontiguousarray(self.pixels).tobytes()).hexdigest()


Where = tuple[int, ...]
"""Place of a sample: (source, y, x, number among those of its window)."""
Placed = tuple[Where, Sample]
"""A sample and where it comes from."""


@dataclass(frozen=True, slots=True)
class Lost:
    """A window that became no sample."""

    source: int
    """Which source."""
    reason: str
    """nodata, saturated, constant or unreadable; of many together also `shares.REPEATED`."""
    detail: str = ""
    """Why it is unreadable."""


def read(source: int, chosen: Chosen, stretches: Sequence[Stretch]) -> list[Placed | Lost]:
    """The samples of some stretches of one source, or what was lost."""
    try:
        opened = chosen.found.open(shared=False)
    except SourceError as error:
        return [lost for one in stretches for lost in _unread(source, chosen, one, error)]
    return [made for one in stretches for made in _read(source, chosen, one, opened)]


def _read(source: int, chosen: Chosen, stretch: Stretch, opened: Source) -> Iterable[Placed | Lost]:
    """One stretch; piece by piece where it cannot be read as a whole."""
    try:
        pixels, mask = opened.read(stretch.window), opened.mask(stretch.window)
    except SourceError as error:
        pieces = [
            Stretch(source, (one.y, one.stop_y), (one.x, one.stop_x)) for one in stretch.pieces()
        ]
        if len(pieces) == 1:
            return _unread(source, chosen, stretch, error)
        return [made for piece in pieces for made in _read(source, chosen, piece, opened)]
    return _cut(source, chosen, stretch, pixels, validity(chosen.found.profile, pixels, mask))


def _unread(
    source: int, chosen: Chosen, stretch: Stretch, error: SourceError
) -> list[Placed | Lost]:
    count = sum(1 for _ in stretch.pieces()) * chosen.samples
    return [Lost(source, "unreadable", error.message)] * count


def _cut(
    source: int, chosen: Chosen, stretch: Stretch, pixels: Pixels, valid: Mask | None
) -> Iterator[Placed | Lost]:
    """The samples of one stretch."""
    profile, name = chosen.found.profile, chosen.found.name
    for piece in stretch.pieces():
        rows, columns = piece.within(stretch.window).slices
        part = pixels[:, rows, columns]
        good = None if valid is None else valid[:, rows, columns]
        for index, (names, bands) in enumerate(_channels(chosen)):
            reason = _fault(part[bands], None if good is None else good[bands], profile)
            if reason:
                yield Lost(source, reason)
                continue
            taken = _luma(part) if chosen.channels == "luma" else part[bands].copy()
            made = Sample(taken, names, profile.uri, piece, name)
            yield (source, piece.y, piece.x, index), made


def _channels(chosen: Chosen) -> list[tuple[tuple[str, ...], slice]]:
    """(names, bands) of each sample of a window."""
    if chosen.channels == "luma":
        return [(("Y",), slice(None))]
    if chosen.channels == "joint":
        return [(chosen.names, slice(None))]
    return [((name,), slice(i, i + 1)) for i, name in enumerate(chosen.names)]


def _fault(pixels: Pixels, valid: Mask | None, profile: Profile) -> str | None:
    """Why (band, y, x) pixels cannot be learned from."""
    if valid is not None and not valid.all():
        return "nodata"
    ceiling = as_code(profile.saturated, pixels.dtype)
    if ceiling is not None and (pixels == ceiling).any():
        return "saturated"
    if (pixels.min(axis=(1, 2)) == pixels.max(axis=(1, 2))).any():
        return "constant"
    return None


def _luma(pixels: Pixels) -> Pixels:
    """(3, y, x) or (1, y, x) uint8 as (1, y, x) luma."""
    rgb = np.moveaxis(np.broadcast_to(pixels, (3, *pixels.shape[1:])), 0, -1)
    return metrics.luma(rgb)[None]
