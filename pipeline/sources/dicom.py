"""DICOM as a source: the door to series and slides, which images of other kinds do not go through.

Every path is asked here whether it is DICOM; what reads it is imported once one is.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.dicom.files import holds_dicom, is_dicom, parted
from pipeline.dicom.privacy import called
from pipeline.errors import SourceError
from pipeline.options import SourceOptions
from pipeline.profile import DICOM

if TYPE_CHECKING:
    from pipeline.sources import Source

SUFFIXES = (".dcm", ".dicom")
"""Names of files that are damaged DICOM if they are none."""


def claims(uri: str) -> bool:
    """Whether a file says that it is DICOM, or a folder holds one that does, by whatever name."""
    path = Path(parted(uri)[0])
    try:
        if path.is_dir():
            return holds_dicom(path)
        return is_dicom(path) or (path.suffix.lower() in SUFFIXES and path.is_file())
    except (OSError, ValueError):  # a name that cannot be: the reader of last resort says so
        return False


def open(uri: str, options: SourceOptions) -> Source:
    """Open the one series of a path, or the one named behind a #; reads headers only.

    Raises SourceError, whose text names no file.
    """
    if DICOM not in options.drivers:
        raise SourceError(
            f"is DICOM, which may not be opened; allow it by adding {DICOM} to source.drivers",
            uri=called(parted(uri)[0]),
        )
    from pipeline.dicom.series import open_series

    series = open_series(uri)
    if series.kind == "slide":
        from pipeline.sources.slide import open_slide_source

        return open_slide_source(uri, series, options)
    from pipeline.sources.series import DicomSource, make_profile

    return DicomSource(make_profile(uri, series, options), series)
