"""What an image is, before a pixel is read."""

from __future__ import annotations

from pipeline.options import SourceOptions
from pipeline.profile import Profile
from pipeline.sources import absolute, open_source


def read_profile(source: str, options: SourceOptions) -> Profile:
    """The profile of an image by path or, where allowed, by URL; raises SourceError."""
    return open_source(absolute(source), options).profile
