"""What a user may choose about training data, with its defaults."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from pipeline.errors import ConfigError
from pipeline.tiling import Window

Channels = Literal["luma", "each", "joint"]

LARGEST_SHARE = 0.5
"""Of the data that may be held back from training."""
FEWEST = 4
"""Low-resolution pixels along a side of a sample."""


@dataclass(frozen=True, slots=True)
class DataOptions:
    """How data becomes samples; raises ConfigError for what cannot be."""

    channels: Channels = "each"
    """luma: Y of red, green and blue of 8 bits. each: every band by itself. joint: all bands of a
    source together."""
    bands: tuple[str, ...] = ()
    """Names of the bands to take ('B02', 'B2') or their numbers in the file ('1'); empty: all."""
    val_fraction: float = 0.1
    """Share of the data that is held back for validation."""
    val_region: str | None = None
    """What is held back instead, as 'columns 1450:' or 'rows 0:512 columns 100:300': in pixels of
    the finest source wherever several show the same ground."""
    side: int = 192
    """Largest side of a sample in pixels; rounded down to a multiple of the scale. Also the gap
    between what is trained on and what is held back."""
    block: int = 512
    """Side in pixels of the blocks of ground of which some are held back."""
    slice_gap: int = 2
    """Slices of a DICOM series between those that are trained on and those held back."""
    max_pixels: int = 64_000_000
    """Most pixels of all samples together; of more, an even choice is drawn. A quarter of it at
    most is held back."""
    nodata: float | None = None
    """Value that marks invalid pixels, where files do not say or say it wrong."""
    seed: int = 0
    """Of what is held back and what is drawn."""

    def __post_init__(self) -> None:
        if not 0.0 < self.val_fraction <= LARGEST_SHARE:
            raise ConfigError(
                f"a share of {self.val_fraction:g} cannot be held back: give one above 0, at most "
                f"{LARGEST_SHARE:g}"
            )
        if min(self.block - self.side, self.max_pixels - 1, self.slice_gap) < 0:
            raise ConfigError(
                f"blocks of {self.block} px, {self.max_pixels} pixels and {self.slice_gap} slices "
                f"cannot be: need at least {self.side}, 1 and 0"
            )
        self.check_scale(1)
        if self.val_region is not None:
            parse_region(self.val_region)

    def check_scale(self, scale: int) -> None:
        """Raise ConfigError unless samples have room for some pixels of that enlargement."""
        if self.side < FEWEST * scale:
            raise ConfigError(
                f"samples of {self.side} px are too small for scale {scale}: need at least "
                f"{FEWEST * scale}"
            )


@dataclass(frozen=True, slots=True)
class Region:
    """Rows and columns of an image; None for no limit."""

    rows: tuple[int, int | None] = (0, None)
    """(first, one past the last)."""
    columns: tuple[int, int | None] = (0, None)
    """(first, one past the last)."""

    def within(self, height: int, width: int) -> Window:
        """Its part of an image of that size; may be empty."""
        top, left = self.rows[0], self.columns[0]
        bottom = height if self.rows[1] is None else self.rows[1]
        right = width if self.columns[1] is None else self.columns[1]
        return Window(top, left, bottom - top, right - left).clip(height, width)


def parse_region(text: str) -> Region:
    """A region as a user writes it: 'columns 1450:', 'rows :512', or both; raises ConfigError."""
    pattern = r"(rows|columns)\s+(\d*):(\d*)"
    if not re.fullmatch(rf"\s*{pattern}(?:[\s,]+{pattern})?\s*", text):
        raise ConfigError(f"{text!r} is no region: write 'columns 1450:' or 'rows 0:512'")
    found = {
        axis: (int(first or 0), int(stop) if stop else None)
        for axis, first, stop in re.findall(pattern, text)
    }
    if any(stop is not None and stop <= first for first, stop in found.values()):
        raise ConfigError(f"the region {text!r} is empty")
    return Region(**found)
