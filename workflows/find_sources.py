"""From what a user names to sources: folders are searched, nothing is passed over in silence."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.dicom.files import is_dicomdir
from pipeline.dicom.headers import PREAMBLE, read_header
from pipeline.dicom.instances import text
from pipeline.dicom.privacy import called
from pipeline.dicom.series import find_series
from pipeline.errors import SourceError
from pipeline.options import SourceOptions
from pipeline.profile import Profile
from pipeline.sources import Address, Source, absolute, dicom, open_source, zarr
from workflows.frames import Frame

READ = SourceOptions(drivers=(*SourceOptions().drivers, "BMP"), spacing="warn")
"""What is read to train and to judge: what can be upscaled, and more."""
SUFFIXES = (
    *(".tif", ".tiff", ".jp2", ".j2k", ".png", ".jpg", ".jpeg", ".bmp", ".vrt", ".dcm"),
    ".dicom",
)
"""Names of images; others are images if they begin like one."""
MAGIC = (
    *(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"\x89PNG", b"\xff\xd8\xff"),
    *(b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51", b"<VRTDataset"),
)
"""Beginnings of TIFF, BigTIFF, PNG, JPEG, JPEG 2000 and VRT."""
FOLDERS = re.compile(r"(?<![\w.:/~])/(?:[^\s'\"/]*/)+")
"""Of an absolute path."""
SHOWN = 3
"""Names of many that are listed."""
BESIDE = (".ovr", ".msk")
"""Suffixes of files that belong to the image of the name before it."""
LONGEST_SUFFIX = len(".parquet")
"""Of files that are no images: what is longer may be a name."""
DICOMDIR = "DICOMDIR"
"""A list of files that lie beside it."""
MODEL = ".safetensors"
"""Suffix of models, of which pictures bear the name."""


@dataclass(frozen=True, slots=True)
class Found:
    """A source that can be opened."""

    address: Address
    """Where it is and how it is read."""
    profile: Profile
    """The facts of its header."""
    name: str
    """Its path below the folder that was named, or its own name, and which frame of several."""
    frame: int = 0
    """Which of its frames, counted from 0."""
    patient: bool = False
    """Whether it lies among images of patients: nothing shows its path, its name is an id."""

    @property
    def label(self) -> str:
        """What reports call it: its path, or an id."""
        return called(self.address.uri) if self.patient else self.address.uri

    def open(self, *, shared: bool = True) -> Source:
        """That frame alone; see `Address.open`."""
        return Frame(self.address.open(self.profile.identity, shared=shared), self.frame)


@dataclass(frozen=True, slots=True)
class Skip:
    """What is not used."""

    uri: str
    """Of a file or a folder, or the id of what lies among images of patients."""
    reason: str
    """Why, in one line."""


def find(
    data: Sequence[str], options: SourceOptions = READ, *, exclude: Sequence[Path] = ()
) -> tuple[tuple[Found, ...], tuple[Skip, ...]]:
    """(sources, what was skipped) of files and folders, in the order of their paths and frames.

    Of several that are the same file the first counts. What lies in folders and is, or lies in, one
    of `exclude` is passed over: it is none of the user's data. Raises SourceError for what does not
    exist, and if nothing can be opened.
    """
    found: list[Found] = []
    skipped: list[Skip] = []
    seen: set[str] = set()
    left_out = frozenset(os.path.realpath(path) for path in exclude)
    for item in data:
        opened, refused = _find(item, options, seen, left_out)
        if len(data) > 1 and Path(item).is_dir():
            opened = [_under(item, one) for one in opened]
        found += (one for source in opened for one in _frames(source))
        skipped += refused
    if not found:
        first = f"; {skipped[0].uri}: {skipped[0].reason}" if skipped else ""
        raise SourceError(
            f"nothing that can be read in {', '.join(data) or 'no data'} ({len(skipped)} "
            f"skipped{first})"
        )
    return tuple(found), tuple(skipped)


def _find(
    item: str, options: SourceOptions, seen: set[str], left_out: frozenset[str]
) -> tuple[list[Found], list[Skip]]:
    """Those of one file or folder; `seen` grows by the real paths of what it holds."""
    found: list[Found] = []
    skipped: list[Skip] = []
    patients = False
    for path, name in _named(item, skipped, left_out):
        real = os.path.realpath(path)
        if real in seen:
            skipped.append(Skip(path, "is named twice"))
            continue
        seen.add(real)
        uri = absolute(path)
        patients = patients or dicom.claims(uri)
        try:
            opened, profile = _open(uri, options)
        except SourceError as error:
            skipped.append(Skip(uri, without_folders(error.message, uri)))
            continue
        if opened == uri or opened not in seen:
            found.append(Found(Address(opened, options), profile, name))
        seen.add(opened)
    if patients:  # folders, and what lies beside, are named after them too
        found = [replace(one, name=called(one.address.uri), patient=True) for one in found]
        skipped = [_anonymous(skip) for skip in skipped]
    return found, skipped


def _open(uri: str, options: SourceOptions) -> tuple[str, Profile]:
    """(what is opened, its facts): of a part of a slide the whole; raises SourceError."""
    try:
        return uri, open_source(uri, options).profile
    except SourceError:
        whole = _whole(uri) if dicom.claims(uri) else uri
        if whole == uri:
            raise
        return whole, open_source(whole, options).profile


def _whole(path: str) -> str:
    """`FOLDER#ID` for a file that is a part of a slide, else its path."""
    folder = os.path.dirname(path)
    try:
        if not text(read_header(path), "ConcatenationUID"):
            return path
        holders = [one for one in find_series(folder) if path in one.paths]
    except SourceError:
        return path
    return f"{folder}#{holders[0].id}" if holders else path


def _anonymous(skip: Skip) -> Skip:
    name = called(skip.uri)
    return Skip(name, skip.reason.replace(Path(skip.uri).name, name))


def _under(item: str, found: Found) -> Found:
    """With the folder before its name: several may hold images of one name."""
    return found if found.patient else replace(found, name=f"{Path(item).name}/{found.name}")


def _frames(found: Found) -> list[Found]:
    """Each frame of a source by itself."""
    count = found.profile.frames
    if count == 1:
        return [found]
    return [replace(found, name=f"{found.name}, frame {n + 1}", frame=n) for n in range(count)]


def narrow(found: Found, positions: Sequence[int]) -> Found:
    """The same source with some of its bands only (0-based); raises SourceError."""
    if list(positions) == list(range(len(found.profile.bands))):
        return found
    numbers = tuple(found.profile.bands[position].number for position in positions)
    options = replace(found.address.options, bands=numbers)
    address = replace(found.address, options=options)
    profile = address.open(found.profile.identity, shared=False).profile  # once for all frames
    return replace(found, address=address, profile=profile)


def without_folders(text: str, uri: str) -> str:
    """A text about a source without the folders of paths in it: these differ between machines."""
    folder = os.path.dirname(uri)
    return FOLDERS.sub("", text.replace(f"{folder}/", "") if folder.strip("/") else text)


def first_of(names: Sequence[str]) -> str:
    """The first of many names, and how many more there are."""
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def _named(item: str, skipped: list[Skip], left_out: frozenset[str]) -> Iterator[tuple[str, str]]:
    """(path, name) of every candidate in a file or folder."""
    path = Path(item)
    real = Path(os.path.realpath(item))
    if not left_out.isdisjoint(map(str, (real, *real.parents))):
        skipped.append(Skip(absolute(item), "is written by this run"))
    elif path.is_dir() and not zarr.claims(item):
        root = Path(absolute(item))
        for inner in _walk(root, skipped, left_out):
            yield str(inner), inner.relative_to(root).as_posix()
    elif path.exists() or "://" in item or item.startswith("/vsi"):
        yield item, path.name
    else:
        raise SourceError("does not exist", uri=item)


def _walk(root: Path, skipped: list[Skip], left_out: frozenset[str]) -> Iterator[Path]:
    """Images and stores below a folder, by name; what is neither is counted by its suffix."""

    def note(error: OSError) -> None:
        skipped.append(Skip(str(error.filename), f"may not be read ({error.strerror})"))

    for place, folders, files in os.walk(root, onerror=note):
        folder, others, real = Path(place), Counter[str](), os.path.realpath(place)
        folders[:] = sorted(name for name in folders if os.path.join(real, name) not in left_out)
        names = [name for name in files if os.path.join(real, name) not in left_out]
        stores = [name for name in folders if zarr.claims(str(folder / name))]
        folders[:] = [name for name in folders if name not in stores]
        for path in sorted(folder / name for name in (*stores, *names)):
            if path.name in stores or _is_image(path):
                yield path
            elif not _is_beside(path):
                others[_kind(path)] += 1
        if others:
            listed = ", ".join(f"{count} {suffix}" for suffix, count in sorted(others.items()))
            skipped.append(Skip(str(folder), f"files that are no images: {listed}"))


def _kind(path: Path) -> str:
    """What a file that is no image is counted as: its suffix, if that is not part of a name."""
    if path.name == DICOMDIR:
        return DICOMDIR
    suffix = path.suffix.lower()
    return suffix if 1 < len(suffix) <= LONGEST_SUFFIX else "of other names"


def _is_image(path: Path) -> bool:
    """Whether a file is named or begins like an image; not what lies beside one."""
    if _is_beside(path):
        return False
    if path.suffix.lower() in SUFFIXES:
        return True
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            head = file.read(256)
    except OSError:  # opening it says why not
        return True
    if head[PREAMBLE : PREAMBLE + 4] == b"DICM":
        return not is_dicomdir(path)  # what it lists lies beside it
    return head.startswith(MAGIC)


def _is_beside(path: Path) -> bool:
    """Whether a file belongs to an image, or shows what a model makes of some."""
    if path.suffix == ".png" and path.with_suffix(MODEL).exists():
        return True
    return path.suffix.lower() in BESIDE and path.with_suffix("").exists()
