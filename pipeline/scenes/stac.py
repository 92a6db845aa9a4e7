"""STAC items: local JSON with rasters beside it, in a directory of its own or as a file.

Each raster asset with data becomes an asset of the same key. Names, radiometry and nodata come from
`bands` (STAC 1.1) or `eo:bands` and `raster:bands` (STAC 1.0), and must agree with the file's own.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pipeline.scenes import landsat_files
from pipeline.scenes.headers import chosen, read_header, safe_name
from pipeline.scenes.image import Image, Said, image_assets
from pipeline.scenes.scene import Scene, SceneError, SceneOptions
from pipeline.scenes.stac_item import (
    files_of,
    holds_codes,
    is_item,
    items_in,
    local_path,
    read_item,
    said_of,
    word,
)
from pipeline.serial import Json

if TYPE_CHECKING:
    import pystac

CATALOGS = ("catalog.json", "collection.json")
"""Files beside which items stand for themselves, not for their directory."""
SCENES = (".tif", ".tiff", ".jp2", ".vrt", ".zip", ".tar", ".gz", ".tgz", ".safe")
"""Suffixes of what may be a scene of its own."""
MEDIA = ("image/tiff", "image/vnd.stac.geotiff", "image/jp2", "image/jpx", "image/geotiff")
"""Beginnings of media types of rasters."""
RASTERS = (".tif", ".tiff", ".jp2")
"""Suffixes of rasters, where an asset has no media type."""
DATA = {"data", "reflectance", "temperature", "radiance"}
"""Roles of assets that are light."""
PICTURES = ("thumbnail", "overview", "visual", "preview", "rendered_preview", "browse")
"""Keys of assets that are pictures, where assets have no roles."""
CARRIED = ("eo:", "view:", "sat:", "landsat:", "s2:", "grid:", "mgrs:", "naip:")
"""Prefixes of properties that hold for the product too."""
COMMON = ("constellation", "mission", "start_datetime", "end_datetime", "license", "providers")
"""Names of further ones."""
ELSEWHERE, MISSING = "on another machine", "not delivered"
"""Why an asset is not taken."""


def claims(path: Path) -> bool:
    """A directory with one item and nothing else that could be a scene, or the file of an item."""
    if path.is_dir():
        items = items_in(path)
        return len(items) == 1 and not _strangers(path, items[0])
    return is_item(path) and not landsat_files.belongs(path)


def _strangers(folder: Path, item: Path) -> bool:
    """Whether a folder holds scenes beside an item. A broken item is taken for all there is."""
    try:
        named = files_of(item)
    except SceneError:
        return False
    inner = {parent for path in named for parent in path.parents}
    for path in Path(os.path.abspath(folder)).iterdir():
        if path.name in CATALOGS or (path.is_dir() and path not in inner):
            return True
        if path.name.lower().endswith(SCENES) and path not in named:
            return True
    return False


def belongs(path: Path) -> bool:
    """Whether a raster is an asset of an item beside it, or in the directory above."""
    path = Path(os.path.abspath(path))
    return any(
        path in _files_of_items(folder, folder.stat().st_mtime_ns)
        for folder in (path.parent, path.parent.parent)
    )


def beside(path: Path) -> list[Path]:
    """The local files that an item names and that do not lie below what was found."""
    below = Path(os.path.abspath(path))
    with suppress(SceneError):
        return sorted(one for one in files_of(_item_file(path)) if not one.is_relative_to(below))
    return []


def open(path: Path, options: SceneOptions, work: Path) -> Scene:
    """The scene; raises SceneError."""
    file = _item_file(path).absolute()
    item = read_item(file)
    images, gone = _images(file, item, options)
    taken: set[str] = set()
    found = [image_assets(image, options, work=work, taken=taken) for image in images]
    assets = tuple(asset for some in found for asset in some)
    notes = tuple(f"without {', '.join(keys)}: {why}" for why, keys in gone.items() if keys)
    if not assets:
        named = f" named {', '.join(options.bands)}" if options.bands else ""
        raise SceneError(
            f"has no rasters with data here{named}{''.join(f'; {note}' for note in notes)}",
            uri=str(file),
            reason="incomplete" if gone[MISSING] else "unsupported",
        )
    instruments = item.properties.get("instruments")
    return Scene(
        id=_id(file, item),
        family="stac",
        path=path,
        assets=assets,
        time=_time(file, item),
        platform=word(item.properties.get("platform")),
        instruments=tuple(filter(word, instruments)) if isinstance(instruments, list) else (),
        properties=_properties(item),
        footprint=item.geometry if isinstance(item.geometry, dict) else None,
        source_item=str(file),
        notes=notes,
    )


# items


def _item_file(path: Path) -> Path:
    if not path.is_dir():
        return path
    items = items_in(path)
    if len(items) != 1:
        raise SceneError(f"holds {len(items)} STAC items, not one", uri=str(path))
    return items[0]


def _id(file: Path, item: pystac.Item) -> str:
    found = safe_name(item.id)
    if not found:
        raise SceneError(f"has the id {item.id!r}, which cannot name a product", uri=str(file))
    return found


def _time(file: Path, item: pystac.Item) -> datetime | None:
    """When it was sensed, or when that began; raises SceneError."""
    from pystac.utils import str_to_datetime

    time, start = item.datetime, item.properties.get("start_datetime")
    if time is None and isinstance(start, str):
        try:
            time = str_to_datetime(start)
        except ValueError as error:
            raise SceneError(f"says it starts at {start!r}, which is no time", uri=str(file)) from (
                error
            )
    return time if time is None or time.tzinfo else time.replace(tzinfo=UTC)


def _properties(item: pystac.Item) -> dict[str, Json]:
    return {
        name: value
        for name, value in item.properties.items()
        if (name.startswith(CARRIED) or name in COMMON) and name != "eo:bands" and value is not None
    }


# assets


def _images(
    file: Path, item: pystac.Item, options: SceneOptions
) -> tuple[list[Image], dict[str, list[str]]]:
    """The rasters that are here, and the keys of those that are not."""
    images: list[Image] = []
    gone: dict[str, list[str]] = {ELSEWHERE: [], MISSING: []}
    for key, asset in item.assets.items():
        codes = holds_codes(asset)
        if not _is_raster(asset) or not (codes or _is_light(key, asset)):
            continue
        said = said_of(file, key, item, asset)
        if not _may_be_wanted(key, said, codes=codes, options=options):
            continue
        path = local_path(file, asset.href)
        if path is None or not os.path.isfile(path):
            gone[ELSEWHERE if path is None else MISSING].append(key)
            continue
        name = safe_name(key)
        if not name or any(image.key.casefold() == name.casefold() for image in images):
            raise SceneError(f"has an asset {key!r}, which cannot name a file", uri=str(file))
        images.append(Image(name, name, read_header(path), said, codes))
    return images, gone


def _is_raster(asset: pystac.Asset) -> bool:
    if asset.media_type:
        return asset.media_type.lower().startswith(MEDIA)
    return urlsplit(asset.href).path.lower().endswith(RASTERS)


def _is_light(key: str, asset: pystac.Asset) -> bool:
    roles = set(asset.roles or ())
    return bool(roles & DATA) if roles else key.casefold() not in PICTURES


def _may_be_wanted(key: str, said: Iterable[Said], *, codes: bool, options: SceneOptions) -> bool:
    """Whether the item alone does not rule an asset out."""
    names = [(one.name, one.common) for one in said]
    if codes:
        return options.classes
    if names and all(common == "pan" for _, common in names) and options.pan:
        return True
    if options.bands is None or not names:
        return True
    return chosen(options.bands, key, *(name for pair in names for name in pair))


# files of items, for the families that come later


@lru_cache(maxsize=64)
def _files_of_items(folder: Path, changed: int) -> frozenset[Path]:  # noqa: ARG001 - it is the key
    """The local files that the items of a folder name, for a version of the folder."""
    found: set[Path] = set()
    for item in items_in(folder):
        with suppress(SceneError):  # a broken one names nothing
            found |= files_of(item)
    return frozenset(found)
