"""Frames: the images of one file, each read and decoded when it is asked for, and no other."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.dicom import encapsulated
from pipeline.dicom.colour import BIG_ENDIAN, read_palette
from pipeline.dicom.decode import decode_frame
from pipeline.dicom.encapsulated import Layout
from pipeline.dicom.headers import PixelElement, damage, find_pixels, open_pixels, quiet
from pipeline.dicom.stored import PALETTE, describe
from pipeline.errors import SourceError
from pipeline.radiometry import Pixels
from pipeline.tiling import Window

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

UNREADABLE = "holds pixels that cannot be read"
SLACK = 2**20
"""Bytes that a compressed frame may take beyond twice its size, for headers and tables."""


class Frames:
    """The frames of one file. Nothing stays open: it can be pickled and shared by threads."""

    def __init__(self, path: str | Path, header: Dataset) -> None:
        self.path = str(path)
        """Where the file lies."""
        self.stored = describe(header)
        """What its header says of the pixels."""
        with damage(path, "describes its frames in a way that is not understood"), quiet():
            self._palette = read_palette(header) if self.stored.photometric == PALETTE else None
            table = header.get("ExtendedOffsetTable")
            self._extended = table if isinstance(table, bytes) else None
        self._element: PixelElement | None = getattr(header, "pixel_element", None)
        self._layout: Layout | None = None
        self._checked = False

    def __getstate__(self) -> dict[str, object]:
        """What travels: offsets of frames are found again."""
        return {**self.__dict__, "_layout": None, "_checked": False}

    def check(self) -> tuple[str, ...]:
        """Look whether all frames are there, decoding none; raises SourceError.

        Returns what is odd about how they are kept, in words.
        """
        with damage(self.path, UNREADABLE):
            excess = self._excess()
        self._checked = True
        return (f"{excess} frames more than the header says, which are left out",) * bool(excess)

    def read(self, index: int) -> Pixels:
        """Frame `index` from 0: (band, y, x) of `stored.dtype`; raises SourceError."""
        return self.window(index, Window(0, 0, self.stored.rows, self.stored.columns))

    def window(self, index: int, window: Window) -> Pixels:
        """A window of it: of uncompressed frames only its rows are read."""
        if not 0 <= index < self.stored.frames:
            raise SourceError(
                f"has {self.stored.frames} frames; there is no frame {index + 1}", uri=self.path
            )
        if not self._checked:
            self.check()
        with damage(self.path, UNREADABLE), _numbered(index, self.stored.frames):
            read = self._native if self.stored.native else self._decoded
            pixels = read(index, window)[:, :, window.slices[1]]
            if self._palette is not None:
                pixels = self._palette.expand(pixels)
            return np.ascontiguousarray(pixels)

    def _place(self) -> PixelElement:
        """Where the pixels lie; raises SourceError where that does not go with the syntax."""
        if self._element is None:
            self._element = find_pixels(self.path)
        if (self._element.length is None) is self.stored.native:
            kind = "compressed" if self.stored.native else "uncompressed"
            raise SourceError(f"is {self.stored.syntax_name}, but its pixel data are {kind}")
        return self._element

    def _excess(self) -> int:
        """Frames beyond those of the header; raises SourceError where there are fewer."""
        if not self.stored.native:
            return self._laid_out().excess
        place, frame = self._place(), self.stored.frame_bytes
        held, wanted = place.length or 0, frame * self.stored.frames
        if place.start is None:
            held = min(held, os.stat(self.path).st_size - place.offset)
        elif held >= wanted:
            with open_pixels(self.path, place) as stream:
                stream.seek(place.offset + wanted - 1)
                held = held if stream.read(1) else 0
        if held < wanted:
            raise SourceError(
                f"is cut off within its pixel data: {wanted} bytes are needed for "
                f"{self.stored.frames} frames where {max(held, 0)} are left"
            )
        more = max(held - wanted - wanted % 2, 0)
        if self.stored.photometric == "YBR_FULL_422" and more >= wanted // 2 - 1:
            raise SourceError("says YBR_FULL_422, but holds three samples for each pixel")
        return more // frame

    def _native(self, index: int, window: Window) -> Pixels:
        """The rows of a window: (sample, y, x) with all columns."""
        stored, place = self.stored, self._place()
        planes = stored.samples if stored.planar else 1
        plane = stored.frame_bytes // planes
        row = plane // stored.rows
        parts = []
        with open_pixels(self.path, place) as stream:
            for number in range(planes):
                at = index * stored.frame_bytes + number * plane + window.y * row
                count = window.height * row
                swapped = stored.syntax == BIG_ENDIAN and place.vr == "OW" and row * planes
                swapped = bool(swapped) and stored.sample_bytes == 1
                first = at % 2 if swapped else 0
                stream.seek(place.offset + at - first)
                wanted = count + first + (count + first) % 2 if swapped else count
                data = stream.read(wanted)
                if at + count > (place.length or 0) or len(data) < count + first:
                    raise SourceError("is cut off within its pixel data")
                if swapped:
                    data = _swapped(data)[first : first + count]
                parts.append(data)
        return decode_frame(b"".join(parts), replace(stored, rows=window.height))

    def _decoded(self, index: int, window: Window) -> Pixels:
        data = self._codestream(index)
        frame = decode_frame(data, self.stored)
        lacking = self.stored.rows - frame.shape[1], self.stored.columns - frame.shape[2]
        if any(lacking):  # at the edge of a slide
            frame = np.pad(frame, ((0, 0), (0, lacking[0]), (0, lacking[1])), mode="edge")
        return frame[:, window.slices[0]]

    def _codestream(self, index: int) -> bytes:
        """The compressed bytes of a frame."""
        layout, place = self._laid_out(), self._place()
        most = 2 * self.stored.frame_bytes + SLACK
        with open_pixels(self.path, place) as stream:
            try:
                return encapsulated.fragments(stream, layout, index, most)
            except SourceError:  # the table may be wrong
                size, frames = os.stat(self.path).st_size, self.stored.frames
                self._layout = encapsulated.scan(stream, base=layout.base, size=size, frames=frames)
                return encapsulated.fragments(stream, self._layout, index, most)

    def _laid_out(self) -> Layout:
        if self._layout is None:
            place = self._place()
            with open_pixels(self.path, place) as stream:
                self._layout = encapsulated.lay_out(
                    stream,
                    offset=place.offset,
                    size=os.stat(self.path).st_size,
                    frames=self.stored.frames,
                    extended=self._extended,
                )
        return self._layout


def _swapped(data: bytes) -> bytes:
    """Bytes of words in their order: big-endian OW holds bytes of 8-bit samples the other way."""
    words = np.frombuffer(data + b"\0" * (len(data) % 2), np.uint16)
    return words.byteswap().tobytes()


@contextmanager
def _numbered(index: int, frames: int) -> Iterator[None]:
    """Say which of several frames it is."""
    try:
        yield
    except SourceError as error:
        which = f" (frame {index + 1} of {frames})" if frames > 1 else ""
        raise SourceError(f"{error.message}{which}") from None
