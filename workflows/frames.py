"""Images of several frames, seen one frame at a time."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.profile import Profile
from pipeline.radiometry import Mask, Pixels
from pipeline.sources import Source
from pipeline.tiling import Window


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a source, as a source of one."""

    source: Source
    """All frames."""
    number: int
    """Which, counted from 0."""

    @property
    def profile(self) -> Profile:
        """Of all frames."""
        return self.source.profile

    def read(self, window: Window, frame: int = 0) -> Pixels:  # noqa: ARG002 - there is one
        """(band, y, x) of the frame."""
        return self.source.read(window, self.number)

    def mask(self, window: Window, frame: int = 0) -> Mask | None:  # noqa: ARG002 - there is one
        """(y, x) of the frame."""
        return self.source.mask(window, self.number)


def middle(source: Source) -> Frame:
    """The frame that is shown."""
    return Frame(source, source.profile.frames // 2)
