"""The assets of a product's STAC item: its images, band by band, its pictures and its checksums."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyproj import CRS

from pipeline.profile import Profile
from pipeline.scenes.scene import BandFacts
from workflows.batch.pictures import picture_names, thumbnail_name

if TYPE_CHECKING:
    from workflows.batch.product import Made, MadeAsset

MEDIA = {
    "cog": "image/tiff; application=geotiff; profile=cloud-optimized",
    "zarr": "application/vnd.zarr",
}
"""Media types by format."""
CHECKSUMS = "checksums.sha256"
"""The sums of a product's files, as sha256sum reads them."""


@dataclass(frozen=True, slots=True)
class FileFacts:
    """A file of a product."""

    size: int
    """Bytes."""
    sha256: str
    """Of its bytes, hexadecimal."""


def image(one: MadeAsset, files: Mapping[str, FileFacts]) -> dict[str, Any]:
    """A super-resolved raster as an asset."""
    how, fine, name = one.plan.provenance, one.plan.fine, one.target.name
    inside = [facts for path, facts in files.items() if path.partition("/")[0] == name]
    whole = files.get(name)
    gsd = gsd_of(one)
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
    return known(facts)


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
    fine, told = one.plan.fine, one.asset.bands
    nodata = None if fine.mask else _number(fine.nodata)
    sampling = "point" if fine.georef.point else "area"
    lists: dict[str, list[dict[str, Any]]] = {"bands": [], "eo:bands": [], "raster:bands": []}
    for i, band in enumerate(fine.bands):
        own = BandFacts(
            band.description or f"b{i + 1}", scale=band.scale, offset=band.offset, unit=band.unit
        )
        facts = told[i] if len(told) == len(fine.bands) else own
        values = {"data_type": fine.dtype, "nodata": nodata, "unit": facts.unit}
        lists["bands"].append(known({"name": facts.name, **values}))
        light = {
            "name": facts.name,
            "common_name": facts.common,
            "center_wavelength": facts.wavelength,
            "full_width_half_max": facts.width,
        }
        lists["eo:bands"].append(known(light))
        stored = {
            "scale": facts.scale,
            "offset": facts.offset,
            "spatial_resolution": gsd,
            "sampling": sampling,
        }
        lists["raster:bands"].append(known(values | stored))
    return lists


def known(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What is not None."""
    return {name: value for name, value in facts.items() if value is not None}


def others(made: Made, files: Mapping[str, FileFacts]) -> Iterator[tuple[str, dict[str, Any]]]:
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


def gsd_of(one: MadeAsset) -> float | None:
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
