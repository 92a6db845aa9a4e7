"""Images of several frames, seen one frame at a time: what is checked and shown of them."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.profile import Profile
from pipeline.radiometry import Mask, Pixels
from pipeline.sources import Source
from pipeline.tiling import Window
from workflows.batch.comparison import random_of

CHECKED = 3
"""Most frames of an image that are checked."""


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


def choose_frames(frames: int, seed: str) -> tuple[int, ...]:
    """Frames to check: the first, the last and any other."""
    if frames <= CHECKED:
        return tuple(range(frames))
    return (0, int(random_of(f"{seed} frames").integers(1, frames - 1)), frames - 1)


def middle(source: Source) -> Frame:
    """The frame that is shown."""
    return Frame(source, source.profile.frames // 2)
