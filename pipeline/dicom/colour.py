"""Colours: palettes expanded, luma and chroma turned into RGB, for a network sees light only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import SourceError
from pipeline.radiometry import Pixels

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

CHANNELS = ("Red", "Green", "Blue")
PLAIN, SEGMENTED = "{}PaletteColorLookupTableData", "Segmented{}PaletteColorLookupTableData"
DISCRETE, LINEAR, INDIRECT = 0, 1, 2
"""Kinds of segments. DICOM PS3.3, section C.7.9.2."""
MOST_DEPTH = 4
"""Indirect segments within indirect segments; the standard forbids any."""
BIG_ENDIAN = "1.2.840.10008.1.2.2"
WEIGHTS = (0.299, 0.587, 0.114)
"""Of red, green and blue in luma. ITU-R BT.601; DICOM PS3.3, section C.7.6.3.1.2."""


@dataclass(frozen=True, slots=True)
class Palette:
    """The colours that indices stand for."""

    first: int
    """Index of the first colour."""
    colours: NDArray[np.generic]
    """(3, entry) uint8."""

    def expand(self, indices: Pixels) -> Pixels:
        """(1, y, x) indices -> (3, y, x) colours; those beyond the ends take the end's colour."""
        last = self.colours.shape[1] - 1
        places = np.clip(indices[0].astype(np.int64) - self.first, 0, last)
        colours: Pixels = self.colours[:, places]
        return colours


def read_palette(header: Dataset) -> Palette:
    """The palette of a header; raises SourceError. DICOM PS3.3, sections C.7.6.3.1.5 and C.7.9.

    Of colours of 16 bits the upper 8 are kept, as screens show them: no class but secondary capture
    may be written with more. They are right however the 8 bits were made 16, by zeros or twice.
    """
    entries, first, depth = (int(value) for value in header.RedPaletteColorLookupTableDescriptor)
    entries = entries % 2**16 or 2**16
    big = str(header.file_meta.TransferSyntaxUID) == BIG_ENDIAN
    channels = [_channel(header, name, entries, depth, big=big) for name in CHANNELS]
    colours = np.stack(channels)
    if colours.max() > 255:
        colours = colours >> 8
    return Palette(first, colours.astype(np.uint8))


def _channel(
    header: Dataset, name: str, entries: int, depth: int, *, big: bool
) -> NDArray[np.generic]:
    """(entry) values of one colour."""
    plain = PLAIN.format(name) in header
    data = bytes(header[(PLAIN if plain else SEGMENTED).format(name)].value)
    if big:
        data = np.frombuffer(data[: len(data) // 2 * 2], ">u2").astype("<u2").tobytes()
    if plain:
        width = min(len(data) // entries, 2)
        values = np.frombuffer(data, f"<u{width}", entries) if width else np.empty(0, np.uint8)
    else:
        width = 2 if depth > 8 else 1
        words = np.frombuffer(data[: len(data) // width * width], f"<u{width}").tolist()
        values = np.array(_segments(words, width, entries, depth=0), f"<u{width}")
    if len(values) != entries:
        raise SourceError(f"has a palette of {len(values)} colours where {entries} are declared")
    return values.astype(values.dtype.newbyteorder("="))


def _segments(words: list[int], width: int, most: int, *, depth: int, last: int = 0) -> list[int]:
    """The values of a segmented table, `most` at most."""
    if depth > MOST_DEPTH:
        raise SourceError("has a palette whose segments refer to each other")
    values: list[int] = []
    at = 0
    while at + 2 < len(words) and len(values) < most:
        kind, count = words[at : at + 2]
        at += 2
        if kind == DISCRETE:
            values += words[at : at + count]
            at += count
        elif kind == LINEAR:
            start, end = values[-1] if values else last, words[at]
            steps = np.arange(1, count + 1) * (end - start) / max(count, 1)
            values += np.rint(start + steps).astype(int).tolist()
            at += 1
        elif kind == INDIRECT:
            size = 4 // width
            place = sum(word << 8 * width * n for n, word in enumerate(words[at : at + size]))
            at += size
            within = _first_segments(words[place // width :], count)
            so_far = values[-1] if values else last
            values += _segments(within, width, most, depth=depth + 1, last=so_far)
        else:
            raise SourceError("has a palette whose segments are damaged")
    return values[:most]


def _first_segments(words: list[int], count: int) -> list[int]:
    """The first `count` segments of a table."""
    at = 0
    for _ in range(count):
        if at + 1 >= len(words):
            break
        at += 2 + (words[at + 1] if words[at] == DISCRETE else 1 if words[at] == LINEAR else 2)
    return words[:at]


def from_ybr(pixels: Pixels, bits: int) -> Pixels:
    """(3, y, x) luma and chroma of full range -> RGB of the same type, halves up."""
    red, green, blue = WEIGHTS
    luma, *chroma = (plane.astype(np.float32) for plane in pixels)
    toward_blue, toward_red = (plane - 2 ** (bits - 1) for plane in chroma)
    toward_blue *= np.float32(2 - 2 * blue)
    toward_red *= np.float32(2 - 2 * red)
    planes = (
        luma + toward_red,
        luma - toward_red * np.float32(red / green) - toward_blue * np.float32(blue / green),
        luma + toward_blue,
    )
    rounded = [np.clip(np.floor(plane + np.float32(0.5)), 0, 2**bits - 1) for plane in planes]
    return np.stack([plane.astype(pixels.dtype) for plane in rounded])


def whole_chroma(words: Pixels, rows: int, columns: int) -> Pixels:
    """Samples Y Y B R of 4:2:2 -> (3, y, x), each pair's chroma twice."""
    fours = words.reshape(rows, columns // 2, 4)
    out = np.empty((3, rows, columns), words.dtype)
    out[0] = fours[..., :2].reshape(rows, columns)
    out[1:] = np.repeat(np.moveaxis(fours[..., 2:], 2, 0), 2, axis=2)
    return out
