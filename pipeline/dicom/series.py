"""Series: the frames of files that belong together, in the order in which they lie in the body.

What a folder holds is parted by series, kind of pixels, size, orientation and frame of reference,
for a stack has one of each. Its slices are ordered by their distance along the normal, not by their
numbers or names:

    normal
      ^        ------- 3     distance = position . normal
      |      ------- 2       slices that move sideways too are those of a tilted gantry
      |    ------- 1

DICOM PS3.3, section C.7.6.2.1.1.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from pipeline.dicom.files import OTHER, Files, Skipped, find_files, parted
from pipeline.dicom.geometry import Plane
from pipeline.dicom.grouping import group
from pipeline.dicom.headers import damages
from pipeline.dicom.instances import Instance, Kind, read_instance
from pipeline.dicom.oddities import oddities, plural, step_of
from pipeline.dicom.order import in_order
from pipeline.dicom.privacy import called, forget_phi, hush
from pipeline.dicom.stored import Stored
from pipeline.dicom.uids import opaque
from pipeline.errors import SourceError

LISTED = 20
"""Series that an error names."""


@dataclass(frozen=True, slots=True)
class Slot:
    """Where one frame of a stack is stored."""

    path: str = field(repr=False)
    """Absolute path of its file."""
    frame: int
    """Which frame of that file, counted from 0."""


@dataclass(frozen=True, slots=True)
class Series:
    """One stack of frames of equal size; of a slide: the files of its levels, in no order."""

    id: str
    """12 hexadecimal digits that tell nothing: what people and logs call it."""
    uid: str = field(repr=False)
    """Series instance UID. Not to be shown."""
    kind: Kind
    """What its files hold."""
    instances: tuple[Instance, ...]
    """Its files in the order of their first frames."""
    flags: tuple[str, ...] = ()
    """What is odd about it, in words that tell of no patient."""

    @property
    def label(self) -> str:
        """What errors call it."""
        return f"DICOM {self.id}"

    @property
    def slots(self) -> tuple[Slot, ...]:
        """The frames in output order; of a slide the first one of each file."""
        return tuple(
            Slot(instance.path, frame)
            for instance in self.instances
            for frame in range(1 if self.kind == "slide" else instance.stored.frames)
        )

    @property
    def planes(self) -> tuple[Plane | None, ...]:
        """Where each slot lies; None where that is not known; empty for slides."""
        return tuple(plane for instance in self.instances for plane in instance.planes)

    @property
    def paths(self) -> tuple[str, ...]:
        """Its files."""
        return tuple(instance.path for instance in self.instances)

    @property
    def first(self) -> Instance:
        """The facts that hold for all of them, by the first."""
        return self.instances[0]

    @property
    def stored(self) -> Stored:
        """Pixels of the first file; those of the others are of the same size and type."""
        return self.first.stored

    @property
    def modality(self) -> str:
        """CT, MR, MG ..."""
        return self.first.modality

    @property
    def size(self) -> str:
        """Frames x rows x columns, as people write it."""
        frames = "" if len(self.slots) == 1 else f"{len(self.slots)} x "
        return f"{frames}{self.stored.rows} x {self.stored.columns}"

    @property
    def step(self) -> float | None:
        """Usual distance in millimetres from slice to slice; None where there is none."""
        return step_of(self.planes)

    @property
    def doubt(self) -> str | None:
        """What is wrong with the size of pixels, in one of its files."""
        return next((one.doubt for one in self.instances if one.doubt), None)


@dataclass(frozen=True, slots=True)
class Search:
    """What was found."""

    series: tuple[Series, ...]
    """By modality and id."""
    skipped: tuple[Skipped, ...]
    """Files that are not used; those that are no DICOM too."""


def find_series(path: str | Path) -> tuple[Series, ...]:
    """The series of a file, a DICOMDIR or a folder; raises SourceError where there are none."""
    return search(path).series


def open_series(uri: str) -> Series:
    """The one series of a path, or of `PATH#ID` where there are several; raises SourceError."""
    path, wanted = parted(uri)
    found = find_series(path)
    chosen = [one for one in found if one.id == wanted] if wanted else _without_localizers(found)
    if len(chosen) == 1:
        return chosen[0]
    listed = "; ".join(f"{one.id} ({one.modality or 'OT'}, {one.size})" for one in found[:LISTED])
    more = f" and {len(found) - LISTED} more" if len(found) > LISTED else ""
    has = "has no series of that name" if wanted else f"holds {len(found)} series"
    raise SourceError(
        f"{has}; choose one by writing # and its name behind the path, or take them all by espcn "
        f"batch. They are: {listed}{more}",
        uri=called(path),
    )


def search(path: str | Path) -> Search:
    """The series of a file, a DICOMDIR or a folder, and what is not used of it.

    A file that cannot be read costs itself only. Raises SourceError where no image is left.
    """
    hush()
    place = Path(path).absolute()
    try:
        files = find_files(place)
    except SourceError as error:
        raise forget_phi(error, place) from None
    found = _search(files, tuple(map(_version, files.paths)))
    if not found.series:
        raise SourceError(_nothing(found.skipped), uri=called(place))
    return found


def _version(path: str) -> tuple[int, ...] | None:
    """What changes when a file does; None where it is gone."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


@lru_cache(maxsize=8)
def _search(
    files: Files,
    versions: tuple[tuple[int, ...] | None, ...],  # noqa: ARG001 - changed files are read again
) -> Search:
    """What some files hold: none of them is read twice, whoever asks and how often."""
    found = [_read(path, uid) for path, uid in zip(files.paths, files.uids, strict=True)]
    skipped = (*files.skipped, *(one for one in found if isinstance(one, Skipped)))
    instances = [one for one in found if isinstance(one, Instance)]
    return Search(tuple(_stacks(instances, skipped)), skipped)


def _read(path: str, uid: str) -> Instance | Skipped:
    try:
        instance = read_instance(path)
    except SourceError as error:
        return Skipped(path, forget_phi(error, path).message)
    except damages() as error:  # without its text, which may repeat a value
        return Skipped(path, f"is damaged ({type(error).__name__})")
    if uid not in ("", instance.uid):
        return Skipped(path, "is not the instance that the DICOMDIR says it is")
    return instance


def _nothing(skipped: Sequence[Skipped]) -> str:
    """Why there is no series."""
    told = [one for one in skipped if one.reason != OTHER]
    if len(skipped) == len(told) == 1:
        return told[0].reason
    reason = f": one {told[0].reason}" if told else ""
    return f"holds no DICOM image that can be read ({len(skipped)} files passed over{reason})"


def _stacks(instances: Iterable[Instance], skipped: Iterable[Skipped]) -> list[Series]:
    """The series, by modality and id."""
    found = []
    unused = Counter(os.path.dirname(one.path) for one in skipped if one.reason != OTHER)
    for stack in group(instances):
        ordered = tuple(in_order(stack.instances))
        unread = sum(unused[folder] for folder in {os.path.dirname(one.path) for one in ordered})
        flags = (
            *oddities(ordered),
            *([f"{plural(stack.again, 'duplicate')} left out"] if stack.again else []),
            *([f"{plural(unread, 'file')} beside it not used"] if unread else []),
        )
        name = opaque("\0".join(map(str, stack.key)))
        found.append(Series(name, ordered[0].series, ordered[0].kind, ordered, flags))
    return sorted(found, key=lambda one: (one.modality, one.id))


def _without_localizers(found: Sequence[Series]) -> list[Series]:
    """Of a series that holds its own localizers: the others."""
    if len({one.uid for one in found}) > 1:
        return list(found)
    return [one for one in found if "localizer" not in one.flags] or list(found)
