"""Reading Zarr stores: what this package, xarray, rioxarray, GeoZarr and OME-Zarr writers leave.

Stored values are read as they are: CF packing stays in the profile. Only local directories are
opened, and nothing outside them is followed.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import os
import struct
import warnings
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path

import numpy as np
from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import LocalStore

from pipeline.errors import SourceError
from pipeline.options import SourceOptions
from pipeline.profile import Identity, Profile
from pipeline.radiometry import Mask, Pixels
from pipeline.sources.identity import identify
from pipeline.sources.zarr import MARKERS
from pipeline.sources.zarr_image import Array, Image, find_image
from pipeline.sources.zarr_profile import describe
from pipeline.tiling import Window

MAX_METADATA_BYTES = 64 * 2**20
"""Largest metadata file that is parsed."""
MAX_OBJECTS = 100_000
"""Objects of an array that go into its identity."""

DAMAGE = (
    *(OSError, EOFError, ValueError, TypeError, LookupError, AttributeError),
    *(ArithmeticError, RuntimeError, zlib.error, lzma.LZMAError, struct.error),
)
"""What zarr and its codecs raise on malformed metadata and damaged chunks: they check little.

Not MemoryError: the store is as good as before when there is room again."""


def open_store(uri: str, options: SourceOptions) -> ZarrSource:
    """Open the image of a store, or one array or group within it by its path.

    Reads metadata and coordinates only. Raises SourceError.
    """
    if "Zarr" not in options.drivers:
        raise SourceError("is a Zarr store, which source.drivers does not allow", uri=uri)
    root, path = _locate(uri)
    with _reading(uri), _quiet():
        image = find_image(Enclosed(root, read_only=True), path, uri=uri)
        folders = [root / one.path for one in (image.array, image.mask) if one is not None]
        profile = describe(image, options, uri=uri, identity=_identity(root, folders))
    return ZarrSource(root, image, profile)


class ZarrSource:
    """An open Zarr image and its profile."""

    def __init__(self, root: Path, image: Image, profile: Profile) -> None:
        self._root = root
        self._image = image
        self._complete = image.complete
        self.profile = profile
        """The facts of the selected bands."""
        numbers = [band.number - 1 for band in profile.bands]
        run = slice(numbers[0], numbers[-1] + 1)
        self._bands = run if numbers == list(range(run.start, run.stop)) else np.array(numbers)

    def read(self, window: Window, frame: int = 0) -> Pixels:  # noqa: ARG002 - it has one
        """(band, y, x) of the selected bands as stored; raises SourceError."""
        array = self._image.array
        with _reading(self.profile.uri, window):
            self._require(array, window)
            if array.ndim == 2:
                pixels = np.asarray(array[window.slices])[None]
            else:
                pixels = np.asarray(array.oindex[self._bands, *window.slices])
        return np.ascontiguousarray(pixels, dtype=self.profile.dtype)

    def mask(self, window: Window, frame: int = 0) -> Mask | None:  # noqa: ARG002 - it has one
        """Per-dataset mask (y, x), True where valid, or None; raises SourceError."""
        array = self._image.mask
        if array is None:
            return None
        with _reading(self.profile.uri, window):
            self._require(array, window)
            return np.asarray(np.asarray(array[window.slices]) != 0)

    def _require(self, array: Array, window: Window) -> None:
        """Raise FileNotFoundError for a missing object of an array that lacks none.

        Elsewhere a missing object is no error: it stands for fill values.
        """
        if not self._complete:
            return
        size = array.shards or array.chunks
        spans = [
            range(start // step, -(-stop // step))
            for start, stop, step in zip(
                (window.y, window.x), (window.stop_y, window.stop_x), size[-2:], strict=True
            )
        ]
        if array.ndim == 3:
            spans.insert(0, range(-(-array.shape[0] // size[0])))
        for place in product(*spans):
            key = array.metadata.encode_chunk_key(place)
            if not (self._root / array.path / key).is_file():
                raise FileNotFoundError(f"its object {key} is missing")


class Enclosed(LocalStore):
    """A store whose links lead nowhere outside it, and whose metadata is of sane size."""

    async def get(
        self,
        key: str,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """The bytes of an object, or None; raises PermissionError for what is elsewhere."""
        path = self.root / key
        if not path.resolve().is_relative_to(self.root.resolve()):
            raise PermissionError(f"{key} is a link that leads out of the store")
        if path.name in MARKERS and path.is_file() and path.stat().st_size > MAX_METADATA_BYTES:
            raise PermissionError(f"{key} has more than {MAX_METADATA_BYTES} bytes")
        return await super().get(key, prototype, byte_range)


def _locate(uri: str) -> tuple[Path, str]:
    """(directory of the group, path within it): an array is opened through its group, which
    knows where it lies."""
    path = Path(uri)
    if "://" in uri or uri.startswith("/vsi"):
        raise SourceError("is not local; Zarr stores are read from local directories only", uri=uri)
    if not path.exists():
        raise SourceError("does not exist", uri=uri)
    if not path.is_dir():
        raise SourceError("is not a directory, as Zarr stores are; unpack it first", uri=uri)
    if not any((path / name).is_file() for name in MARKERS):
        raise SourceError("holds no Zarr metadata (zarr.json, .zgroup or .zarray)", uri=uri)
    path = path.resolve()
    if _is_array(path) and any((path.parent / name).is_file() for name in ("zarr.json", ".zgroup")):
        return path.parent, path.name
    return path, ""


def _is_array(path: Path) -> bool:
    """Whether a directory is an array rather than a group."""
    file = path / "zarr.json"
    if not file.is_file() or file.stat().st_size > MAX_METADATA_BYTES:
        return (path / ".zarray").is_file()
    try:
        return bool(json.loads(file.read_bytes())["node_type"] == "array")
    except (ValueError, LookupError, TypeError):
        return False


def _identity(root: Path, folders: Iterable[Path]) -> Identity:
    """Of the metadata, and of the sizes and times of all objects that hold pixels.

    Bounded: beyond MAX_OBJECTS only the metadata tells versions apart.
    """
    files = [root / name for name in MARKERS]
    digest, size, youngest = hashlib.sha256(), 0, 0
    for count, (name, status) in enumerate(_objects(folders)):
        if count == MAX_OBJECTS:
            break
        if Path(name).name in MARKERS:
            files.append(Path(name))
            continue
        digest.update(
            f"{name[len(str(root)) :]}\0{status.st_size}\0{status.st_mtime_ns}\0".encode()
        )
        size, youngest = size + status.st_size, max(youngest, status.st_mtime_ns)
    head = identify(files)
    digest.update(head.digest.encode())
    return Identity(head.size + size, max(head.mtime_ns, youngest), digest.hexdigest())


def _objects(folders: Iterable[Path]) -> Iterator[tuple[str, os.stat_result]]:
    """(path, status) of all files below, in a fixed order."""
    for folder in folders:
        for place, inner, names in os.walk(folder):
            inner.sort()
            for name in sorted(names):
                path = os.path.join(place, name)
                yield path, os.lstat(path)


@contextmanager
def _reading(uri: str, window: Window | None = None) -> Iterator[None]:
    """Turn the errors of zarr and its codecs into one line that names the store and the place."""
    what = "cannot be opened: its metadata is damaged or not understood"
    # zarr checks metadata by assertions; anywhere else they tell of a defect in code
    damage = (*DAMAGE, AssertionError) if window is None else DAMAGE
    if window is not None:
        what = (
            f"cannot read rows {window.y}-{window.stop_y - 1}, columns "
            f"{window.x}-{window.stop_x - 1}: the store is damaged or truncated"
        )
    try:
        yield
    except damage as error:
        raise SourceError(f"{what} ({error or type(error).__name__})", uri=uri) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Stray files and young data types are the writer's affair: no warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
