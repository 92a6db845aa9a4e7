"""Sources: opened inputs that yield a profile, pixels and a mask by window.

A new format is one new module here (or an entry point in the group `espcn.sources`) with
`claims(uri)` and `open(uri, options)`.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Protocol, cast

from pipeline.errors import ChangedError, SourceError
from pipeline.options import SourceOptions
from pipeline.profile import Identity, Profile
from pipeline.radiometry import Mask, Pixels
from pipeline.sources.shared import SharedSource
from pipeline.tiling import Window

MODULES = tuple(f"pipeline.sources.{name}" for name in ("ome_zarr", "zarr", "dicom", "raster"))
"""Our own formats, most particular first."""


class Source(Protocol):
    """An opened input. Used by one thread at a time."""

    @property
    def profile(self) -> Profile:
        """The facts of the selected bands."""

    def read(self, window: Window, frame: int = 0) -> Pixels:
        """(band, y, x) of the selected bands on a window inside the image; raises SourceError.

        Frames are counted from 0; see `Profile.frames`.
        """

    def mask(self, window: Window, frame: int = 0) -> Mask | None:
        """Per-dataset mask (y, x), True where valid; None where the source has none."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a source is and how to open it: what is pickled instead of an open file."""

    uri: str
    """Absolute path or URL."""
    options: SourceOptions
    """How it is read."""

    def open(self, identity: Identity, *, shared: bool = True) -> Source:
        """The source, opened once per thread and kept open; raises SourceError.

        Only a few at a time. One of another identity is opened anew, and refused if it still is not
        the version that was asked for. Threads of a process share what they decode, unless nothing
        of it will be read again.
        """
        held: dict[Address, SharedSource] = _thread.__dict__.setdefault("held", {})
        source = held.pop(self, None)
        if source is None or source.profile.identity != identity:
            opened = open_source(self.uri, self.options)
            source = SharedSource(opened, (self, opened.profile.identity))
        held[self] = source  # the last one is the one that was used last
        while len(held) > KEPT:
            del held[next(iter(held))]
        if source.profile.identity != identity:
            raise ChangedError(
                "changed while it was being read; run the job again", uri=source.profile.label
            )
        return source if shared else source.source


KEPT = 4
"""Sources that a thread keeps open: those whose tiles are in flight together."""

_thread = threading.local()


def absolute(path: str) -> str:
    """An absolute path; URLs and /vsi paths as they are."""
    return path if "://" in path or path.startswith("/vsi") else str(Path(path).absolute())


def open_source(uri: str, options: SourceOptions | None = None) -> Source:
    """Open a source by its address; reads the header only. Raises SourceError."""
    options = options or SourceOptions()
    for module in _modules():
        if module.claims(uri):
            return cast("Source", module.open(uri, options))
    raise SourceError("no reader knows this format", uri=uri)


@lru_cache
def _modules() -> list[ModuleType]:
    """Readers of others first, then ours."""
    others = [cast("ModuleType", e.load()) for e in entry_points(group="espcn.sources")]
    return others + [import_module(name) for name in MODULES]
