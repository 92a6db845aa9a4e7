"""The files that a DICOMDIR lists, as far as they lie in its folder.

DICOM PS3.10, section 8.6: a file is named by up to eight components of a path below the folder.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.dicom.headers import damages, quiet, read_header
from pipeline.dicom.instances import items, text
from pipeline.errors import SourceError

if TYPE_CHECKING:
    from pydicom import Dataset

DEEPEST = 8
"""Components of a file's name. DICOM PS3.10, section 8.2."""
UNSAFE = ("", ".", "..")
"""Components that lead elsewhere."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A file that a DICOMDIR names."""

    components: tuple[str, ...]
    """Its path below the folder."""
    uid: str
    """Of the instance in it; empty where it is not said."""


def read_dicomdir(path: Path) -> tuple[Listed, ...]:
    """What a DICOMDIR lists, in its order; raises SourceError."""
    header = read_header(path)
    with quiet():  # values are looked at when they are asked for
        return listed(header)


def listed(header: Dataset) -> tuple[Listed, ...]:
    """What the records of a DICOMDIR refer to."""
    found = []
    for record in items(header, "DirectoryRecordSequence"):
        components = _components(record)
        if components:
            uid = text(record, "ReferencedSOPInstanceUIDInFile") or text(record, "SOPInstanceUID")
            found.append(Listed(components, uid))
    return tuple(found)


def locate(folder: Path, entry: Listed) -> Path:
    """The file of an entry in its folder; raises SourceError where there is none, or elsewhere.

    Where a DICOMDIR was moved down into one of its folders, as happens with copies of discs, the
    last components are enough; whoever reads the file then sees whether it is the instance.
    """
    if len(entry.components) > DEEPEST or not all(map(_is_safe, entry.components)):
        raise SourceError("the DICOMDIR names a file outside its folder, which is not followed")
    root = os.path.realpath(folder)
    for start in range(len(entry.components)):
        path = _as_written(folder, entry.components[start:])
        if path is None:
            continue
        if not Path(os.path.realpath(path)).is_relative_to(root):
            raise SourceError("the DICOMDIR names a link that leads out of its folder")
        return path
    raise SourceError("the DICOMDIR names a file that is not there")


def _components(record: Dataset) -> tuple[str, ...]:
    """The parts of the name of the file that a record refers to; none if it refers to none."""
    try:
        value = record.get("ReferencedFileID")
        if value is None or value == "":
            return ()
        return (value,) if isinstance(value, str) else tuple(str(part) for part in value)
    except damages():
        return ()


def _is_safe(component: str) -> bool:
    """Whether a component names something within a folder."""
    return component.strip() not in UNSAFE and not set(component) & set("/\\\0:")


def _as_written(folder: Path, components: tuple[str, ...]) -> Path | None:
    """The regular file of that path, whose names may be in lower case on other file systems."""
    for names in (components, tuple(name.lower() for name in components)):
        path = folder.joinpath(*names)
        try:
            if path.is_file():
                return path
        except (OSError, ValueError):
            return None
    return None
