"""STAC items as local JSON: which files are items, what they say of bands, where assets lie."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from pipeline.scenes import landsat_files
from pipeline.scenes.image import Said
from pipeline.scenes.scene import SceneError

if TYPE_CHECKING:
    import pystac

SUFFIXES = (".json", ".geojson")
"""Suffixes of items."""
SNIFFED = 2**20
"""Bytes of a JSON file that are searched for the marks of an item."""
MAX_BYTES = 64 * 2**20
"""Largest item that is parsed."""
MARKS = (re.compile(rb'"stac_version"\s*:'), re.compile(rb'"type"\s*:\s*"Feature"'))
"""What an item has and other JSON has not."""
BANDS = ("eo:bands", "raster:bands", "bands")
"""Lists of bands of an asset: of STAC 1.0's extensions, and STAC 1.1's own."""
CODES = {
    *("cloud", "cloud-shadow", "snow-ice", "land-water", "water-mask", "data-mask"),
    *("saturation", "classification"),
}
"""Roles of assets that are classes or masks."""
REMOTE = re.compile(r"/vsi|[a-z][a-z0-9+.-]*:", re.IGNORECASE)
"""Beginnings of addresses that are no local paths."""


def is_item(path: Path) -> bool:
    """Whether a file has the marks of an item; broken ones have them too."""
    if path.suffix.lower() not in SUFFIXES or not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            start = file.read(SNIFFED)
    except OSError:
        return False
    return all(mark.search(start) for mark in MARKS) and b'"FeatureCollection"' not in start


def items_in(folder: Path) -> list[Path]:
    """The items directly in a folder."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []
    paths = [folder / name for name in names if not name.startswith(".")]
    return [path for path in paths if is_item(path) and not landsat_files.belongs(path)]


def read_item(file: Path) -> pystac.Item:
    """The item; nothing that it links to is read. Raises SceneError."""
    import pystac

    data = _json(file)
    for name, kind in (("properties", dict), ("assets", dict), ("id", str), ("links", list)):
        if not isinstance(data.get(name), kind):
            raise SceneError(f"is no STAC item: it has no usable {name!r}", uri=str(file))
    _check_assets(file, data)
    try:
        return pystac.Item.from_dict(data, href=str(file), migrate=True)
    except (pystac.STACError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise SceneError(f"is no STAC item that pystac can read ({error})", uri=str(file)) from (
            error
        )


def _check_assets(file: Path, data: Mapping[str, object]) -> None:
    """Raise SceneError for assets whose fields are not what they should be."""
    assets = data["assets"]
    for key, asset in assets.items() if isinstance(assets, dict) else ():
        fields = asset if isinstance(asset, dict) else {}
        roles, media = fields.get("roles") or [], fields.get("type") or ""
        listed = isinstance(roles, list) and all(isinstance(role, str) for role in roles)
        if not (isinstance(fields.get("href"), str) and listed and isinstance(media, str)):
            raise SceneError(
                f"has an asset {key!r} without usable href, roles or type", uri=str(file)
            )


def _json(file: Path) -> dict[str, object]:
    try:
        if file.stat().st_size > MAX_BYTES:
            raise SceneError(
                f"has more than {MAX_BYTES} bytes, too much for an item",
                uri=str(file),
                reason="hostile",
            )
        data = json.loads(file.read_bytes())
    except OSError as error:
        raise SceneError(f"cannot be read ({error.strerror})", uri=str(file)) from error
    except (ValueError, RecursionError) as error:
        raise SceneError(
            f"is not JSON ({error}): it is damaged or has not arrived whole", uri=str(file)
        ) from error
    if not isinstance(data, dict):
        raise SceneError("is no STAC item", uri=str(file))
    return data


def local_path(file: Path, href: str) -> Path | None:
    """Where an item's address leads; None for another machine.

    Raises SceneError for a relative one that leaves the item's directory.
    """
    if href.lower().startswith("file:"):
        return Path(unquote(urlsplit(href).path))
    if REMOTE.match(href):
        return None
    if os.path.isabs(href):
        return Path(href)
    folder = Path(os.path.normpath(file.parent))
    found = [Path(os.path.normpath(folder / name)) for name in (href, unquote(href))]
    if not all(path.is_relative_to(folder) for path in found):
        raise SceneError(
            f"names {href!r}, which lies outside of its directory", uri=str(file), reason="hostile"
        )
    return next((path for path in found if os.path.isfile(path)), found[0])


def holds_codes(asset: pystac.Asset) -> bool:
    """Whether an asset is a classification or a mask, by its roles or by what it says of values."""
    fields = asset.extra_fields
    entries = [fields, *(one for name in BANDS for one in _entries(fields.get(name)))]
    classified = any(name.startswith("classification:") for one in entries for name in one)
    return classified or bool(set(asset.roles or ()) & CODES)


def said_of(file: Path, key: str, item: pystac.Item, asset: pystac.Asset) -> tuple[Said, ...]:
    """What the item says of the bands of an asset; () if nothing."""
    fields = asset.extra_fields
    lists = [_entries(fields.get(name)) for name in BANDS]
    counts = {len(one) for one in lists if one}
    if len(counts) > 1:
        raise SceneError(
            f"lists {' and '.join(map(str, sorted(counts)))} bands of the asset {key!r}",
            uri=str(file),
            reason="unsupported",
        )
    inherited = [fields, item.properties]
    if not counts:
        one = _band({}, inherited)
        return (one,) if one != Said() else ()
    merged: list[dict[str, object]] = [{} for _ in range(counts.pop())]
    for entries in filter(None, lists):
        for band, entry in zip(merged, entries, strict=True):
            band.update(entry)
    return tuple(_band(band, inherited) for band in merged)


def _entries(value: object) -> list[Mapping[str, object]]:
    """A list of objects; anything else counts for nothing."""
    if isinstance(value, list) and all(isinstance(one, dict) for one in value):
        return value
    return []


def _band(band: Mapping[str, object], inherited: Iterable[Mapping[str, object]]) -> Said:
    """What an entry says; common metadata hold for bands that do not say otherwise (STAC 1.1)."""

    def find(*names: str) -> object:
        short = [name.partition(":")[2] for name in names if ":" in name]
        found = [band.get(name) for name in (*names, *short)]
        found += [one.get(name) for one in inherited for name in names]
        return next((value for value in found if value is not None), None)

    return Said(
        name=word(band.get("name")),
        common=word(find("eo:common_name")),
        wavelength=_finite(find("eo:center_wavelength")),
        width=_finite(find("eo:full_width_half_max")),
        scale=_finite(find("raster:scale")),
        offset=_finite(find("raster:offset")),
        nodata=_number(find("nodata")),
        unit=word(find("unit")),
    )


def word(value: object) -> str | None:
    """A text that is not empty; None for anything else."""
    return value if isinstance(value, str) and value else None


def _number(value: object) -> float | None:
    """A number, or one that JSON has no word for: "nan", "inf", "-inf"."""
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300:
        return float(value)
    return float(str(value)) if value in ("nan", "inf", "-inf") or value != value else None


def _finite(value: object) -> float | None:
    number = _number(value)
    return number if number is not None and math.isfinite(number) else None


def files_of(file: Path) -> set[Path]:
    """The local files that an item names; raises SceneError if it cannot be read."""
    assets, found = _json(file).get("assets"), set()
    for asset in assets.values() if isinstance(assets, dict) else ():
        href = asset.get("href") if isinstance(asset, dict) else None
        with suppress(SceneError, ValueError):  # leads elsewhere, which is told when it is opened
            path = local_path(Path(os.path.abspath(file)), href) if isinstance(href, str) else None
            if path is not None and os.path.isfile(path):
                found.add(path)
    return found
