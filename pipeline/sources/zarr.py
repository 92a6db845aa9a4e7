"""Zarr stores, told apart from files without importing zarr: most inputs are files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.options import SourceOptions

if TYPE_CHECKING:
    from pipeline.sources.zarr_reader import ZarrSource

MARKERS = ("zarr.json", ".zgroup", ".zarray", ".zattrs", ".zmetadata")
"""Files that make a directory a Zarr store; those that hold metadata."""


def claims(uri: str) -> bool:
    """Whether the name ends in .zarr or the directory holds Zarr metadata."""
    path = Path(uri)
    try:
        return path.suffix.lower() == ".zarr" or any((path / name).is_file() for name in MARKERS)
    except OSError:  # a name too long: the reader of files says so
        return False


def open(uri: str, options: SourceOptions) -> ZarrSource:
    """Open the image of a store, or one array or group within it by its path.

    Reads metadata and coordinates only. Raises SourceError.
    """
    from pipeline.sources.zarr_reader import open_store

    return open_store(uri, options)
