"""The STAC item of a product: where, when, of what, made how, and that it passed its checks."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pyproj import CRS

from pipeline.profile import Profile
from pipeline.scenes.scene import BandFacts, Scene
from pipeline.serial import Json, to_json
from workflows.batch.footprint import bounding_box, footprint, rings
from workflows.batch.outcome import Check
from workflows.batch.pictures import picture_names, thumbnail_name

if TYPE_CHECKING:
    import pystac

    from workflows.batch.product import Made, MadeAsset

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
MEDIA = {
    "cog": "image/tiff; application=geotiff; profile=cloud-optimized",
    "zarr": "application/vnd.zarr",
}
"""Media types by format."""
COLLECTIONS, CATALOG = "collections", "catalog.json"
"""Where the collections and the catalog lie within the outbox."""
CHECKSUMS = "checksums.sha256"
"""The sums of a product's files, as sha256sum reads them."""


@dataclass(frozen=True, slots=True)
class FileFacts:
    """A file of a product."""

    size: int
    """Bytes."""
    sha256: str
    """Of its bytes, hexadecimal."""


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
        item.add_asset(one.asset.key, pystac.Asset.from_dict(_image(one, files)))
    for key, asset in _others(made, files):
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
    gsds = [gsd for one in made.assets if (gsd := _gsd(one)) is not None]
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
    return kept | _known(facts)


def _lineage(made: Made) -> str:
    """What was done to each asset, in a sentence."""
    done = []
    for one in made.assets:
        how, key = one.plan.provenance, one.asset.key
        step = f"{key} x{how.scale} by {how.model}"
        done.append(f"{step} with {how.consistency} steps" if how.consistency else step)
    return "; ".join(done)


def _image(one: MadeAsset, files: Mapping[str, FileFacts]) -> dict[str, Any]:
    """A super-resolved raster as an asset."""
    how, fine, name = one.plan.provenance, one.plan.fine, one.target.name
    inside = [facts for path, facts in files.items() if path.partition("/")[0] == name]
    whole = files.get(name)
    gsd = _gsd(one)
    facts: dict[str, Any] = {
        "href": f"./{name}",
        "type": MEDIA.get(one.plan.format),
        "title": f"{one.asset.key}, {how.scale} times finer",
        "roles": ["data"],
        "gsd": gsd,
        "file:size": sum(one.size for one in inside) or None,
        "file:checksum": _multihash(whole) if whole else None,
        "espcn:model": how.model,
        "espcn:weights_sha256": how.sha256,
        "espcn:scale": how.scale,
        "espcn:backend": how.backend,
        "espcn:consistency": how.consistency or None,
        **_projection(fine),
        **_bands(one, gsd),
    }
    return _known(facts)


def _projection(fine: Profile) -> dict[str, Any]:
    """The projection extension's fields."""
    facts: dict[str, Any] = {"proj:shape": [fine.height, fine.width]}
    georef, corners = fine.georef, fine.georef.corners(fine.height, fine.width)
    if georef.affine is not None and corners is not None:
        x, y = zip(*corners, strict=True)
        facts["proj:transform"] = list(georef.affine)
        facts["proj:bbox"] = [min(x), min(y), max(x), max(y)]
    if georef.crs is not None:
        authority = CRS.from_wkt(georef.crs).to_authority(min_confidence=100)
        facts["proj:code"] = ":".join(authority) if authority else None
        if not authority:
            facts["proj:wkt2"] = georef.crs
    return facts


def _bands(one: MadeAsset, gsd: float | None) -> dict[str, Any]:
    """All bands, as STAC 1.1 has them and as its extensions had them before."""
    fine, known = one.plan.fine, one.asset.bands
    nodata = None if fine.mask else _number(fine.nodata)
    sampling = "point" if fine.georef.point else "area"
    lists: dict[str, list[dict[str, Any]]] = {"bands": [], "eo:bands": [], "raster:bands": []}
    for i, band in enumerate(fine.bands):
        told = BandFacts(
            band.description or f"b{i + 1}", scale=band.scale, offset=band.offset, unit=band.unit
        )
        facts = known[i] if len(known) == len(fine.bands) else told
        values = {"data_type": fine.dtype, "nodata": nodata, "unit": facts.unit}
        lists["bands"].append(_known({"name": facts.name, **values}))
        light = {
            "name": facts.name,
            "common_name": facts.common,
            "center_wavelength": facts.wavelength,
            "full_width_half_max": facts.width,
        }
        lists["eo:bands"].append(_known(light))
        stored = {
            "scale": facts.scale,
            "offset": facts.offset,
            "spatial_resolution": gsd,
            "sampling": sampling,
        }
        lists["raster:bands"].append(_known(values | stored))
    return lists


def _known(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What is not None."""
    return {name: value for name, value in facts.items() if value is not None}


def _others(made: Made, files: Mapping[str, FileFacts]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Pictures and checksums."""
    before, after = picture_names(made.product)
    pictures = {
        "thumbnail": (thumbnail_name(made.product), "The whole product", "thumbnail"),
        "before": (before, "A part of the source", "overview"),
        "after": (after, "The same part of the product", "overview"),
    }
    for key, (name, title, role) in pictures.items():
        if name in files:
            yield (
                key,
                {
                    "href": f"./{name}",
                    "type": "image/png",
                    "title": title,
                    "roles": [role],
                    "file:size": files[name].size,
                    "file:checksum": _multihash(files[name]),
                },
            )
    yield (
        "checksums",
        {
            "href": f"./{CHECKSUMS}",
            "type": "text/plain",
            "title": "SHA-256 of all files",
            "roles": ["metadata"],
        },
    )


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


def _gsd(one: MadeAsset) -> float | None:
    """Side of a fine pixel, in metres."""
    resolution = one.asset.resolution
    return None if resolution is None else round(resolution / one.plan.provenance.scale, 6)


def _number(value: float | None) -> float | int | str | None:
    """A number for JSON, which knows no NaN; whole numbers without a fraction."""
    if value is None or math.isfinite(value):
        return int(value) if value is not None and value.is_integer() else value
    return str(value)


def _multihash(facts: FileFacts) -> str:
    """A sha256 as the file extension wants it: its code and length before it."""
    return f"1220{facts.sha256}"


def _extensions(item: Mapping[str, Any]) -> Iterator[str]:
    """Of all fields that are there."""
    parts = item["properties"], *item["assets"].values()
    used = {field.partition(":")[0] for part in parts for field in part if ":" in field}
    for prefix, name in EXTENSIONS.items():
        if prefix in used:
            yield f"https://stac-extensions.github.io/{name}/schema.json"
