"""The STAC item of a product: where, when, of what, made how, and that it passed its checks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pipeline.scenes.scene import Scene
from pipeline.serial import Json, to_json
from workflows.batch.footprint import bounding_box, footprint, rings
from workflows.batch.outcome import Check
from workflows.batch.stac_assets import FileFacts, gsd_of, image, known, others

if TYPE_CHECKING:
    import pystac

    from workflows.batch.product import Made

EXTENSIONS = {
    "proj": "projection/v2.0.0",
    "raster": "raster/v1.1.0",
    "eo": "eo/v1.1.0",
    "processing": "processing/v1.2.0",
    "file": "file/v2.1.0",
    "view": "view/v1.0.0",
    "sat": "sat/v1.0.0",
    "grid": "grid/v1.1.0",
    "s2": "sentinel-2/v1.0.0",
}
"""STAC extensions by the prefix of their fields. Of raster and eo the versions whose lists of bands
pystac and odc-stac know; what STAC 1.1 itself says of bands stands beside them."""
COARSE = ("proj:", "raster:", "file:", "gsd")
"""Properties of a scene that describe its coarse files."""
COLLECTIONS, CATALOG = "collections", "catalog.json"
"""Where the collections and the catalog lie within the outbox."""


def collection_of(scene: Scene) -> str:
    """Name of the collection of a scene's products: scenes of one make have the same bands."""
    name = "-".join((scene.family, *scene.instruments)).lower()
    return re.sub(r"[^a-z0-9]+", "-", name).strip("-")


def make_item(made: Made, checks: Sequence[Check], files: Mapping[str, FileFacts]) -> pystac.Item:
    """The item, its links as they will be once the product lies in the outbox.

    `files` are those of the product's folder, by their paths within it.
    """
    import pystac

    scene, geometry = made.scene, _geometry(made)
    item = pystac.Item(
        id=made.product,
        geometry=geometry,
        bbox=None if geometry is None else list(bounding_box(geometry)),
        datetime=scene.time or _time_of_files(made),
        properties=_properties(made, checks),
        collection=collection_of(scene),
    )
    for one in made.assets:
        item.add_asset(one.asset.key, pystac.Asset.from_dict(image(one, files)))
    for key, asset in others(made, files):
        if key not in item.assets:  # a file of a folder may have any name
            item.add_asset(key, pystac.Asset.from_dict(asset))
    collection = f"../{COLLECTIONS}/{collection_of(scene)}.json"
    for rel, href in (
        ("root", f"../{CATALOG}"),
        ("parent", collection),
        ("collection", collection),
    ):
        item.add_link(pystac.Link(rel, href, media_type="application/json"))
    item.add_link(_origin(scene))
    item.stac_extensions = list(_extensions(item.to_dict(False, transform_hrefs=False)))
    return item


def _properties(made: Made, checks: Sequence[Check]) -> dict[str, Any]:
    """Those of the scene, and what was done to it."""
    scene, plans = made.scene, [one.plan for one in made.assets]
    software, _, release = plans[0].provenance.software.partition(" ")
    gsds = [gsd for one in made.assets if (gsd := gsd_of(one)) is not None]
    kept = {k: v for k, v in scene.properties.items() if not k.startswith(COARSE)}
    facts: dict[str, Any] = {
        "platform": scene.platform,
        "instruments": list(scene.instruments) or None,
        "gsd": min(gsds, default=None),
        "created": made.made,
        "updated": made.made,
        "processing:datetime": made.made,
        "processing:software": {software: release},
        "processing:lineage": f"Super-resolved from {scene.id}: {_lineage(made)}",
        "espcn:source": scene.id,
        "espcn:time_of_files": True if scene.time is None else None,
        "espcn:key": made.key,
        "espcn:options": made.options,
        "espcn:checks": [to_json(check) for check in checks],
        "espcn:notes": list(scene.notes) or None,
    }
    return kept | known(facts)


def _lineage(made: Made) -> str:
    """What was done to each asset, in a sentence."""
    done = []
    for one in made.assets:
        how, key = one.plan.provenance, one.asset.key
        step = f"{key} x{how.scale} by {how.model}"
        done.append(f"{step} with {how.consistency} steps" if how.consistency else step)
    return "; ".join(done)


def _origin(scene: Scene) -> pystac.Link:
    """The item that it was derived from; without one, what was found in the inbox."""
    import pystac

    if scene.source_item is not None:
        return pystac.Link("derived_from", scene.source_item, media_type="application/geo+json")
    return pystac.Link("via", str(scene.path), title=scene.id)


def _geometry(made: Made) -> dict[str, Json] | None:
    """The provider's footprint, if it is a polygon; else that of the first image with one."""
    if made.scene.footprint is not None:
        try:
            rings(made.scene.footprint)
        except ValueError:
            pass
        else:
            return made.scene.footprint
    found = (footprint(one.plan.profile) for one in made.assets)
    return next((geometry for geometry in found if geometry is not None), None)


def _time_of_files(made: Made) -> datetime:
    """When the source was written: all that is known of some scenes."""
    youngest = max(one.plan.profile.identity.mtime_ns for one in made.assets)
    return datetime.fromtimestamp(youngest // 10**9, UTC)


def _extensions(item: Mapping[str, Any]) -> Iterator[str]:
    """Of all fields that are there."""
    parts = item["properties"], *item["assets"].values()
    used = {field.partition(":")[0] for part in parts for field in part if ":" in field}
    for prefix, name in EXTENSIONS.items():
        if prefix in used:
            yield f"https://stac-extensions.github.io/{name}/schema.json"
