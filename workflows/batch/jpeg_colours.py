"""A source as JPEG's colours hold it, so that a product in JPEG is held against what it could say.

    R G B  ->  Y Cb Cr, rounded to whole numbers  ->  R G B, rounded

Of 16.8 million colours a quarter come back. What is photographed in one colour, as the glass of a
slide is, moves as a whole then, by up to one count and the same way everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.profile import Profile
from pipeline.radiometry import Mask, Pixels
from pipeline.sources import Source
from pipeline.tiling import Window

BITS = 16
"""Of the fractions that libjpeg computes with."""
HALF = 1 << BITS - 1
"""What makes a shift by BITS round."""
FORWARD = (
    (0.299, 0.587, 0.114),
    (-0.168735892, -0.331264108, 0.5),
    (0.5, -0.418687589, -0.081312411),
)
"""Y, Cb and Cr by R, G and B. ITU-T T.871, clause 7."""
BACK = ((0.0, 1.402), (-0.344136286, -0.714136286), (1.772, 0.0))
"""R, G and B less Y, by Cb and Cr. The same."""


@dataclass(frozen=True, slots=True)
class JpegColours:
    """A source of red, green and blue of 8 bits, after a way through JPEG's colours."""

    source: Source
    """As it is."""

    @property
    def profile(self) -> Profile:
        """Of the source."""
        return self.source.profile

    def read(self, window: Window, frame: int = 0) -> Pixels:
        """(3, y, x)."""
        return as_jpeg_holds(self.source.read(window, frame))

    def mask(self, window: Window, frame: int = 0) -> Mask | None:
        """(y, x) of the source."""
        return self.source.mask(window, frame)


def as_jpeg_holds(pixels: Pixels) -> Pixels:
    """Red, green and blue (3, y, x) of uint8 to YCbCr of 8 bits and back, as libjpeg rounds."""
    colours = pixels.astype(np.int32)
    # libjpeg's half of a chroma goes down, that of a luma goes up
    coded = [_weighed(colours, row, HALF - (i > 0)) for i, row in enumerate(FORWARD)]
    back = np.stack([coded[0] + _weighed(coded[1:], row, HALF) for row in BACK])
    found: Pixels = np.clip(back, 0, 255).astype(np.uint8)
    return found


def _weighed(planes: Pixels | list[Pixels], row: tuple[float, ...], half: int) -> Pixels:
    """Rounded sum of planes (y, x) by weights; chroma is counted from 0."""
    weights = [round(weight * (1 << BITS)) for weight in row]
    total: Pixels = sum(weight * plane for weight, plane in zip(weights, planes, strict=True))
    return (total + half) >> BITS
