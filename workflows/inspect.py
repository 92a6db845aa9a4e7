"""What an image is, before a pixel is read."""

from __future__ import annotations

from pathlib import Path

from pipeline.options import SourceOptions
from pipeline.profile import Profile
from pipeline.sources import open_source


def read_profile(source: str, options: SourceOptions) -> Profile:
    """The profile of an image by path or, where allowed, by URL; raises SourceError."""
    uri = source if "://" in source else str(Path(source).absolute())
    return open_source(uri, options).profile
