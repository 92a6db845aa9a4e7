"""Archives: the members that are needed, unpacked once into a directory of their own.

    archive --> .INTO.xxxxxxxx/ in the making --> INTO/                appears by one rename
                                                    .unpacked.json     what it was made of

Names that lead elsewhere, links, devices and bombs are refused before a byte of them is written.
"""

from __future__ import annotations

import errno
import gzip
import json
import os
import re
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Literal, cast

from pipeline.errors import DiskFullError
from pipeline.scenes.scene import Reason, SceneError
from pipeline.serial import Json, from_json, to_json

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")
"""Names of archives end so; what they are, their first bytes tell."""
RATIO = 100
"""Most bytes that members may have for each byte of the archive."""
SMALL = 64 * 2**20
"""Bytes up to which no archive counts as a bomb."""
MEMBERS = 100_000
"""Most members of an archive."""
CHUNK = 2**20
"""Bytes that are copied at once."""
HEADER = 16 * 2**20
"""Most bytes of a header of a tar."""
MADE_OF = ".unpacked.json"
"""File that stands for a complete directory."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors that are the disk's fault."""
CROSSED = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG)
"""Errors that are the names' fault."""


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What a directory was made of."""

    size: int
    """Bytes of the archive."""
    mtime_ns: int
    """Its modification time, in nanoseconds since the epoch."""
    names: tuple[str, ...]
    """Of all files in it."""
    taken: dict[str, int]
    """Bytes of those that were unpacked."""


@dataclass(frozen=True, slots=True)
class Member:
    """One entry of an archive."""

    name: str
    """As it stands there, with slashes."""
    kind: Literal["file", "folder", "other"]
    """other: links, devices and pipes."""
    size: int
    """Bytes, as its header says; no more are read."""
    open: Callable[[], IO[bytes]]
    """Open it for reading."""


def is_archive(path: Path) -> bool:
    """Whether a name is that of an archive."""
    return path.name.lower().endswith(SUFFIXES)


def without_suffix(path: Path) -> str:
    """The name of an archive without its suffix; other names as they are."""
    found = next((s for s in SUFFIXES if path.name.lower().endswith(s)), "")
    return path.name[: len(path.name) - len(found)]


def unpack(archive: Path, into: Path, wanted: Callable[[str], bool], *, most: int) -> Path:
    """The directory `into` with those members of an archive whose names are wanted.

    It is used again where it was made of the same version and the same members. Files have the
    archive's modification time, so that nothing tells when they were unpacked. Raises SceneError:
    hostile, unreadable or unsupported; and DiskFullError.
    """
    with _reading(archive):
        status = archive.stat()
        if _is_made_of(into, status, wanted):
            return into
        into.parent.mkdir(parents=True, exist_ok=True)
        for left in (into, *into.parent.glob(f".{into.name}.????????")):
            shutil.rmtree(left, ignore_errors=True)
        making = Path(tempfile.mkdtemp(prefix=f".{into.name}.", dir=into.parent))
        try:
            made = _extract(archive, status, making, wanted, most)
            (making / MADE_OF).write_text(json.dumps(to_json(made)))
            making.rename(into)
        finally:
            shutil.rmtree(making, ignore_errors=True)
    return into


def _is_made_of(into: Path, status: os.stat_result, wanted: Callable[[str], bool]) -> bool:
    try:
        found = from_json(Unpacked, cast("Json", json.loads((into / MADE_OF).read_text())))
        if (found.size, found.mtime_ns) != (status.st_size, status.st_mtime_ns):
            return False
        there = {name: _inside(into, name).stat().st_size for name in found.taken}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
    return there == found.taken and set(there) == {name for name in found.names if wanted(name)}


def _extract(
    archive: Path, status: os.stat_result, into: Path, wanted: Callable[[str], bool], most: int
) -> Unpacked:
    """Unpack; sizes are believed, for no more is read than they say."""
    allowed = max(SMALL, RATIO * status.st_size)
    names: list[str] = []
    taken: dict[str, int] = {}
    claimed = 0
    for member in _members(archive):
        _check_name(archive, member)
        claimed += member.size
        if claimed > allowed:
            raise _hostile(archive, f"unpacks to {claimed} bytes or more, limit {allowed}: {RATIO} "
                           "times its size")  # fmt: skip
        if member.kind == "folder":
            continue
        names.append(member.name)
        if len(names) > MEMBERS:
            raise _hostile(archive, f"has more than {MEMBERS} members")
        if not wanted(member.name):
            continue
        if sum(taken.values()) + member.size > most:
            raise _hostile(archive, f"unpacks to more than scenes.max_unpacked = {most} bytes")
        _write(archive, member, _inside(into, member.name), status.st_mtime_ns)
        taken[member.name] = member.size
    return Unpacked(status.st_size, status.st_mtime_ns, tuple(names), taken)


def _check_name(archive: Path, member: Member) -> None:
    """Raise SceneError for what must not be unpacked."""
    parts = PurePosixPath(member.name).parts
    if member.name.startswith("/") or ".." in parts or re.match("[A-Za-z]:", member.name):
        raise _hostile(archive, f"has a member that leads out of it: {member.name!r}")
    if member.kind == "other":
        raise _hostile(archive, f"has a member that is no file: {member.name!r}")
    if (member.kind == "file" and not parts) or member.size < 0:
        raise _hostile(archive, "has a member without a name, or of a size below 0")


def _inside(into: Path, name: str) -> Path:
    return into.joinpath(*PurePosixPath(name).parts)


def _write(archive: Path, member: Member, path: Path, mtime_ns: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with member.open() as source, path.open("xb") as target:
        shutil.copyfileobj(source, target, CHUNK)
        written = target.tell()
    if written != member.size:
        raise SceneError(
            f"ends within {member.name}, after {written} of {member.size} bytes: it is damaged or "
            "has not arrived whole",
            uri=str(archive),
        )
    os.utime(path, ns=(mtime_ns, mtime_ns))


def _members(archive: Path) -> Iterator[Member]:
    """All entries, in order; the one that is given is the only one that may be opened."""
    with archive.open("rb") as file:
        start = file.read(4)
        file.seek(0)
        if start[:2] == b"PK":
            yield from _zip_members(archive, file)
        elif start[:2] == b"\x1f\x8b":
            with gzip.GzipFile(fileobj=file) as plain:
                yield from _tar_members(archive, cast("IO[bytes]", plain))
                _check_end(archive, cast("IO[bytes]", plain))
        else:
            yield from _tar_members(archive, file)


def _zip_members(archive: Path, file: IO[bytes]) -> Iterator[Member]:
    with zipfile.ZipFile(file) as found:
        for info in found.infolist():
            if info.flag_bits & 1:
                raise SceneError("is encrypted", uri=str(archive), reason="unsupported")
            kind, name = stat.S_IFMT(info.external_attr >> 16), info.filename.replace("\\", "/")
            plain = kind in (0, stat.S_IFREG, stat.S_IFDIR)
            yield Member(
                name,
                "other" if not plain else "folder" if name.endswith("/") else "file",
                info.file_size,
                lambda info=info: found.open(info),  # type: ignore[misc]
            )


def _tar_members(archive: Path, file: IO[bytes]) -> Iterator[Member]:
    guarded = _Guarded(file, archive)
    with tarfile.open(fileobj=cast("IO[bytes]", guarded), mode="r:") as found:
        for info in found:
            yield Member(
                info.name.replace("\\", "/"),
                "file" if info.isreg() else "folder" if info.isdir() else "other",
                info.size,
                lambda info=info: cast("IO[bytes]", found.extractfile(info)),  # type: ignore[misc]
            )
    # tarfile takes a damaged header, and the end of the file, for the end of the archive
    if guarded.last != bytes(tarfile.BLOCKSIZE):
        raise SceneError(
            "ends without an end mark: it is damaged or has not arrived whole", uri=str(archive)
        )


def _check_end(archive: Path, plain: IO[bytes]) -> None:
    """Read what pads a compressed tar: the checksum of all its bytes comes last."""
    end = plain.tell() + SMALL
    while plain.read(CHUNK):
        if plain.tell() > end:
            raise _hostile(archive, f"goes on for more than {SMALL} bytes after its end mark")


class _Guarded:
    """A file that `tarfile` reads forward; headers, which it reads at once, have a limit."""

    def __init__(self, file: IO[bytes], archive: Path) -> None:
        self._file, self._archive = file, archive
        self.last = b""
        """What was read last."""

    def read(self, size: int = -1) -> bytes:
        """As of a file."""
        if not 0 <= size <= HEADER:
            raise _hostile(self._archive, f"has a header of {size} bytes, limit {HEADER}")
        self.last = self._file.read(size)
        return self.last

    def seek(self, position: int, whence: int = 0) -> int:
        """As of a file."""
        return self._file.seek(position, whence)

    def tell(self) -> int:
        """As of a file."""
        return self._file.tell()


@contextmanager
def _reading(archive: Path) -> Iterator[None]:
    """Turn what the readers of archives raise into one line with a reason."""
    try:
        yield
    except SceneError:
        raise
    except (NotImplementedError, RuntimeError) as error:
        raise _failed(archive, error, "unsupported") from error
    except OSError as error:
        if error.errno in FULL:
            raise DiskFullError(
                f"cannot be unpacked ({error.strerror}); make room and run again", uri=str(archive)
            ) from error
        reason: Reason = "hostile" if error.errno in CROSSED else "unreadable"
        raise _failed(archive, error, reason) from error
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, ValueError) as error:
        raise _failed(archive, error, "unreadable") from error


def _failed(archive: Path, error: Exception, reason: Reason) -> SceneError:
    cause = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    why = {
        "unreadable": ": it is damaged or has not arrived whole",
        "hostile": ": names of its members cross each other or are too long",
    }
    message = f"cannot be unpacked ({cause}){why.get(reason, '')}"
    return SceneError(message, uri=str(archive), reason=reason)


def _hostile(archive: Path, message: str) -> SceneError:
    return SceneError(message, uri=str(archive), reason="hostile")
