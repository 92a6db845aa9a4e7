"""The STAC catalog of an outbox: a collection for each make of scenes, links to all items.

    OUTBOX/catalog.json               links to the collections
    OUTBOX/collections/NAME.json      extent, summaries, links to items
    OUTBOX/PRODUCT/PRODUCT.json       the items: what lies there is what is listed
    OUTBOX/.espcn/catalog.json        what was read of each item, so that only new ones are read

Each file is replaced in one step, collections before the catalog that names them: whoever reads
meanwhile finds whole files whose links lead somewhere.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from pipeline.errors import PublishError
from pipeline.serial import Json, from_json, to_json
from pipeline.stage import replacing
from workflows.batch.stac_item import CATALOG, COLLECTIONS

logger = logging.getLogger(__name__)

VERSION = "1.1.0"
"""Of STAC."""
INDEX = ".espcn/catalog.json"
"""What was read of the items, within the outbox."""
WORDS = ("platform", "instruments", "espcn:model", "proj:code")
"""Fields whose values a collection lists."""
NUMBERS = ("gsd", "espcn:scale", "eo:cloud_cover")
"""Fields of which a collection gives the least and the greatest value."""

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Entry:
    """What the catalog needs to know of an item."""

    size: int
    """Bytes of its file."""
    mtime_ns: int
    """When that was written: with the size, which version was read."""
    collection: str
    """Name of its collection."""
    datetime: str
    """ISO 8601, UTC."""
    bbox: Box | None
    """(west, south, east, north)."""
    words: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Values of WORDS."""
    numbers: dict[str, tuple[float, float]] = field(default_factory=dict)
    """(least, greatest) of NUMBERS."""


def update_catalog(outbox: Path, title: str) -> None:
    """Make catalog and collections agree with the products that lie in the outbox.

    Reads the items that are new; writes what has changed. Raises PublishError.
    """
    try:
        known = _read_index(outbox)
        entries = dict(_entries(outbox, known))
        (outbox / COLLECTIONS).mkdir(exist_ok=True)
        (outbox / INDEX).parent.mkdir(exist_ok=True)
        names = sorted({entry.collection for entry in entries.values()})
        for name in names:
            mine = {p: entry for p, entry in entries.items() if entry.collection == name}
            _write(outbox / COLLECTIONS / f"{name}.json", _collection(name, title, mine))
        _write(outbox / CATALOG, _catalog(title, names))
        for path in (outbox / COLLECTIONS).glob("*.json"):
            if path.stem not in names:
                path.unlink(missing_ok=True)
        if entries != known:
            _write(outbox / INDEX, cast("dict[str, Json]", to_json(entries)))
    except OSError as error:
        raise PublishError(
            f"the catalog cannot be written ({error.strerror})", uri=error.filename or str(outbox)
        ) from error


def _entries(outbox: Path, known: Mapping[str, Entry]) -> Iterator[tuple[str, Entry]]:
    """(product, entry) of every item, in the order of their names."""
    with os.scandir(outbox) as found:
        names = sorted(entry.name for entry in found if not entry.name.startswith("."))
    for name in names:
        path = outbox / name / f"{name}.json"
        try:
            status = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        old = known.get(name)
        if old is not None and (old.size, old.mtime_ns) == (status.st_size, status.st_mtime_ns):
            yield name, old
            continue
        try:
            yield name, _read_item(path, status)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            logger.warning("%s: is no STAC item and is left out of the catalog (%s)", path, error)


def _read_item(path: Path, status: os.stat_result) -> Entry:
    """What an item says; raises what malformed JSON may cause."""
    item = json.loads(path.read_bytes())
    properties, bbox = item["properties"], item.get("bbox")
    parts = [properties, *item["assets"].values()]
    return Entry(
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        collection=str(item["collection"]),
        datetime=str(properties["datetime"]),
        bbox=None if bbox is None else cast("Box", tuple(float(side) for side in bbox)),
        words={name: tuple(map(str, found)) for name in WORDS if (found := _values(parts, name))},
        numbers={name: _range(found) for name in NUMBERS if (found := _values(parts, name))},
    )


def _values(parts: Sequence[Mapping[str, Json]], name: str) -> list[Json]:
    """All values of a field in properties and assets; those of lists one by one."""
    found: list[Json] = []
    for part in parts:
        value = part.get(name)
        found += value if isinstance(value, list) else [] if value is None else [value]
    return found


def _range(values: Sequence[Json]) -> tuple[float, float]:
    numbers = [float(cast("float", value)) for value in values]
    return min(numbers), max(numbers)


def _read_index(outbox: Path) -> dict[str, Entry]:
    """What was read before; nothing where that is missing or damaged."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        data = json.loads((outbox / INDEX).read_bytes())
        return {name: from_json(Entry, entry) for name, entry in data.items()}
    return {}


def _catalog(title: str, collections: Sequence[str]) -> dict[str, Json]:
    """The root."""
    return {
        "type": "Catalog",
        "stac_version": VERSION,
        "id": "espcn",
        "title": title,
        "description": f"{title}: super-resolved images",
        "links": [
            _link("root", f"./{CATALOG}", title),
            *(_link("child", f"./{COLLECTIONS}/{name}.json", name) for name in collections),
        ],
    }


def _collection(name: str, title: str, entries: Mapping[str, Entry]) -> dict[str, Json]:
    """A collection of items."""
    times = sorted(entry.datetime for entry in entries.values())
    boxes = [entry.bbox for entry in entries.values() if entry.bbox is not None]
    return {
        "type": "Collection",
        "stac_version": VERSION,
        "id": name,
        "title": name,
        "description": f"{title}: super-resolved images of {name}",
        "license": "other",
        "extent": {
            "spatial": {"bbox": [list(_union(boxes))]},
            "temporal": {"interval": [[times[0], times[-1]]]},
        },
        "summaries": _summaries(list(entries.values())),
        "links": [
            _link("root", f"../{CATALOG}", title),
            _link("parent", f"../{CATALOG}", title),
            *(
                _link("item", f"../{product}/{product}.json", product, "application/geo+json")
                for product in entries
            ),
        ],
    }


def _union(boxes: Sequence[Box]) -> Box:
    """The box around all boxes; all longitudes if one of them crosses the antimeridian."""
    if not boxes:
        return (-180.0, -90.0, 180.0, 90.0)
    west, south, east, north = zip(*boxes, strict=True)
    if any(box[0] > box[2] for box in boxes):
        west, east = (-180.0,), (180.0,)
    return min(west), min(south), max(east), max(north)


def _summaries(entries: Sequence[Entry]) -> dict[str, Json]:
    """Values that occur, and ranges of those that are measured."""
    summaries: dict[str, Json] = {}
    for name in WORDS:
        words = {word for entry in entries for word in entry.words.get(name, ())}
        if words:
            summaries[name] = [*sorted(words)]
    for name in NUMBERS:
        ends = [end for entry in entries for end in entry.numbers.get(name, ())]
        if ends:
            summaries[name] = {"minimum": min(ends), "maximum": max(ends)}
    return summaries


def _link(rel: str, href: str, title: str, kind: str = "application/json") -> Json:
    return {"rel": rel, "href": href, "type": kind, "title": title}


def _write(path: Path, content: Mapping[str, Json]) -> None:
    """Replace a file in one step, if that changes it."""
    text = json.dumps(to_json(content), indent=1, ensure_ascii=False, allow_nan=False).encode()
    with suppress(FileNotFoundError):
        if path.read_bytes() == text:
            return
    with replacing(path) as file:
        file.write(text)
