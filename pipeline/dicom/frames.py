"""Frames: the images of one file, each read and decoded when it is asked for, and no other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.dicom.stored import describe
from pipeline.radiometry import Pixels
from pipeline.tiling import Window

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


class Frames:
    """The frames of one file. Nothing stays open: it can be pickled and shared by threads."""

    def __init__(self, path: str | Path, header: Dataset) -> None:
        self.path = str(path)
        """Where the file lies."""
        self.stored = describe(header)
        """What its header says of the pixels."""

    def check(self) -> tuple[str, ...]:
        """What is odd about how the frames are kept; raises SourceError where some are missing."""
        raise NotImplementedError

    def read(self, index: int) -> Pixels:
        """Frame `index` from 0: (band, y, x) of `stored.dtype`; raises SourceError."""
        raise NotImplementedError

    def window(self, index: int, window: Window) -> Pixels:
        """A window of it: of uncompressed frames only these rows are read."""
        return self.read(index)[:, *window.slices]
