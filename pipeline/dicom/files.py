"""Which files belong to what a user names: a file, a DICOMDIR, a folder and those below it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.dicom.headers import PREAMBLE
from pipeline.dicom.privacy import called
from pipeline.errors import SourceError

if TYPE_CHECKING:
    from pipeline.dicom.dicomdir import Listed

DIRECTORY = re.compile(rb"1\.2\.840\.10008\.1\.3\.10(?![0-9.])")
"""SOP class of a DICOMDIR. DICOM PS3.4, annex I.4."""
LOOKED_AT = 10_000
"""Files of a folder that are looked at to find out whether any of them is DICOM."""
OTHER = "is not DICOM"
"""Why files of other kinds are passed over."""
STAGE = ".espcn"
"""How the names of our own unfinished outputs end: they are no inputs."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that is not used."""

    path: str = field(repr=False)
    """Where it is; not to be shown but to who asks for it."""
    reason: str
    """Why, in words that name neither a file nor a patient."""


@dataclass(frozen=True, slots=True)
class Files:
    """What is there to read."""

    paths: tuple[str, ...]
    """Absolute paths of DICOM files, in order; of one file one path only."""
    uids: tuple[str, ...]
    """The instance that each must hold; empty where any will do."""
    skipped: tuple[Skipped, ...]
    """What is not read."""


def parted(uri: str) -> tuple[str, str]:
    """(path, name of a series or "") of an address; a # in the name of what exists is its own."""
    path, mark, name = uri.rpartition("#")
    return (path, name) if mark and not os.path.lexists(uri) else (uri, "")


def find_files(path: Path) -> Files:
    """The DICOM files that belong to a path; raises SourceError where it cannot be read at all."""
    try:
        if path.is_dir():
            return _of_folder(path)
        if not path.exists():
            raise SourceError("does not exist", uri=called(path))
    except OSError as error:  # a name too long, a loop of links
        raise SourceError(f"cannot be opened ({error.strerror})", uri=called(path)) from None
    if is_dicomdir(path):
        return _of_dicomdir(path)
    return Files((str(path),), ("",), ())


def is_dicom(path: Path) -> bool:
    """Whether a regular file says that it is DICOM; its name does not matter."""
    try:
        return _says_dicom(_head(path))
    except (OSError, ValueError):  # a name that cannot be: the reader of last resort says so
        return False


def is_dicomdir(path: Path) -> bool:
    """Whether a file is a DICOMDIR, by what it says in its first kilobyte."""
    try:
        return _lists_others(_head(path))
    except OSError:
        return False


def holds_dicom(folder: Path) -> bool:
    """Whether one of the first files in and below a folder is DICOM."""
    return any(map(is_dicom, islice(_walk(folder, []), LOOKED_AT)))


def _of_folder(folder: Path) -> Files:
    """The files in and below a folder; each once, and none that a link leads out to."""
    skipped: list[Skipped] = []
    seen: dict[str, str] = {}
    root = os.path.realpath(folder)
    for path in _walk(folder, skipped):
        real = os.path.realpath(path)
        if not Path(real).is_relative_to(root):
            skipped.append(Skipped(str(path), "is a link that leads out of the folder"))
            continue
        try:
            head = _head(path)
        except OSError as error:
            skipped.append(Skipped(str(path), f"may not be read ({error.strerror})"))
            continue
        if not _says_dicom(head):
            nowhere = path.is_symlink() and not path.exists()
            skipped.append(Skipped(str(path), "is a link to nothing" if nowhere else OTHER))
        elif not _lists_others(head):
            seen.setdefault(real, str(path))
    paths = tuple(seen.values())
    return Files(paths, ("",) * len(paths), tuple(skipped))


def _head(path: Path) -> bytes:
    """The first kilobyte of a regular file, nothing of others; raises OSError."""
    if not path.is_file():  # a pipe would never end
        return b""
    with path.open("rb") as file:
        return file.read(1024)


def _says_dicom(head: bytes) -> bool:
    return head[PREAMBLE : PREAMBLE + 4] == b"DICM"


def _lists_others(head: bytes) -> bool:
    return DIRECTORY.search(head) is not None


def _walk(folder: Path, skipped: list[Skipped]) -> Iterator[Path]:
    """Whatever is no folder in and below a folder, in the order of paths; links are not walked."""

    def note(error: OSError) -> None:
        skipped.append(Skipped(str(error.filename), f"may not be read ({error.strerror})"))

    for place, folders, names in os.walk(folder, onerror=note):
        folders[:] = sorted(n for n in folders if not (n.startswith(".") and n.endswith(STAGE)))
        linked = [name for name in folders if os.path.islink(os.path.join(place, name))]
        for name in linked:
            skipped.append(Skipped(os.path.join(place, name), "is a folder behind a link"))
        yield from (Path(place, name) for name in sorted(names))


def _of_dicomdir(path: Path) -> Files:
    """The files that a DICOMDIR lists; raises SourceError if it cannot be read."""
    # imported here: every source is asked whether it is DICOM, and hardly any is a DICOMDIR
    from pipeline.dicom.dicomdir import locate, read_dicomdir

    found: dict[str, tuple[str, str]] = {}
    skipped = []
    for entry in read_dicomdir(path):
        try:
            file = locate(path.parent, entry)
        except SourceError as error:
            skipped.append(Skipped(_shown(path, entry), error.message))
        else:
            found.setdefault(os.path.realpath(file), (str(file), entry.uid))
    paths, uids = zip(*found.values(), strict=True) if found else ((), ())
    return Files(paths, uids, tuple(skipped))


def _shown(path: Path, entry: Listed) -> str:
    """The path of an entry, as it is written."""
    return str(path.parent / "/".join(entry.components))
