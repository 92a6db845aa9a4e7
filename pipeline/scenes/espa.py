"""Collection 1, level 2: surface reflectance as ordered from ESPA, with its own XML metadata.

The format is ESPA's internal metadata (espa_internal_metadata_v2_0.xsd): a global part, and an
element `band` for each file, with fill value, saturation value, scale and offset.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from xml.etree import ElementTree

from pipeline.scenes.landsat_bands import instruments, sensor_bands
from pipeline.scenes.landsat_metadata import (
    LandsatBand,
    LandsatMetadata,
    check_file_name,
    dataset_name,
    outline,
    sensing_time,
)
from pipeline.scenes.markup import parse_xml
from pipeline.scenes.scene import BandFacts, SceneError
from pipeline.serial import Json

REFLECTANCE = "sr_refl"
"""Product of the bands to take."""
CODES = ("pixel_qa", "radsat_qa")
"""Bands of quality codes."""


def read_espa(path: Path) -> LandsatMetadata:
    """What an ESPA metadata file says; raises SceneError."""
    markup = parse_xml(path)
    if markup.root != "espa_metadata" or not markup.all("global_metadata"):
        raise SceneError("is no ESPA metadata", uri=str(path))
    facts, bands = markup.all("global_metadata")[0], markup.all("band")
    satellite = int(re.sub(r"\D", "", _text(facts, "satellite"))[:2] or 0)
    platform = f"landsat-{satellite}" if satellite else None
    sensor, day = _text(facts, "instrument"), _text(facts, "acquisition_date") or None
    product = _text(facts, "product_id") or path.stem
    wrs = "".join(_attribute(facts, "wrs", name).zfill(3) for name in ("path", "row"))
    return LandsatMetadata(
        # the product id is that of the level-1 product
        id=f"{check_file_name(product, str(path))}_L2",
        bands=(*_bands(path, bands, sensor, satellite), *_codes(path, bands)),
        time=sensing_time(str(path), day, _text(facts, "scene_center_time") or None),
        platform=platform,
        instruments=instruments(sensor),
        properties=_properties(path, facts, wrs),
        footprint=_footprint(path, facts),
        dataset=dataset_name(platform, "L2", wrs, day),
        version="01 " + max((_text(band, "production_date") for band in bands), default=""),
    )


def _text(parent: ElementTree.Element, name: str) -> str:
    return (parent.findtext(f"{{*}}{name}") or "").strip()


def _attribute(parent: ElementTree.Element, name: str, attribute: str) -> str:
    element = parent.find(f"{{*}}{name}")
    return "" if element is None else element.get(attribute, "").strip()


def _number(path: Path, name: str, text: str | None) -> float | None:
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise SceneError(f"has {name} = {text!r}, which is no number", uri=str(path))
    return number


def _bands(
    path: Path, bands: list[ElementTree.Element], sensor: str, satellite: int
) -> list[LandsatBand]:
    known, found = sensor_bands(sensor, satellite), []
    for band in bands:
        name = band.get("name", "")
        number = re.fullmatch(r"sr_band(\d{1,2})", name)
        if band.get("product") != REFLECTANCE or number is None or int(number[1]) not in known:
            continue
        fill, saturated, scale, offset = (
            _number(path, f"{key} of {name}", band.get(key))
            for key in ("fill_value", "saturate_value", "scale_factor", "add_offset")
        )
        if scale is None:
            raise SceneError(f"has no scale_factor of {name}", uri=str(path))
        seen = known[int(number[1])]
        facts = BandFacts(name, seen.common, seen.wavelength, seen.width, scale, offset or 0.0)
        found.append(LandsatBand(facts, _file(path, band), seen.role, fill, saturated))
    if not found:
        raise SceneError(
            f"names no bands of surface reflectance (product {REFLECTANCE})",
            uri=str(path),
            reason="unsupported",
        )
    return found


def _codes(path: Path, bands: list[ElementTree.Element]) -> list[LandsatBand]:
    return [
        LandsatBand(BandFacts(band.get("name", "")), _file(path, band), "classes", nodata=None)
        for band in bands
        if band.get("name") in CODES
    ]


def _file(path: Path, band: ElementTree.Element) -> str:
    """The file of a band, as GeoTIFF."""
    name = check_file_name(_text(band, "file_name"), str(path))
    return str(Path(name).with_suffix(".tif")) if name else name


def _properties(path: Path, facts: ElementTree.Element, wrs: str) -> dict[str, Json]:
    zenith, azimuth = (
        _number(path, f"solar {name}", _attribute(facts, "solar_angles", name))
        for name in ("zenith", "azimuth")
    )
    found: dict[str, Json] = {
        "view:sun_azimuth": None if azimuth is None else azimuth % 360,
        "view:sun_elevation": None if zenith is None else 90 - zenith,
        "landsat:wrs_type": _attribute(facts, "wrs", "system") or None,
        "landsat:wrs_path": wrs[:3],
        "landsat:wrs_row": wrs[3:],
        "landsat:collection_number": "01",
        "processing:level": "L2",
    }
    return {name: value for name, value in found.items() if value is not None}


def _footprint(path: Path, facts: ElementTree.Element) -> dict[str, Json] | None:
    """The bounding box."""
    west, east, north, south = (
        _number(path, name, facts.findtext(f"{{*}}bounding_coordinates/{{*}}{name}"))
        for name in ("west", "east", "north", "south")
    )
    if west is None or east is None or north is None or south is None:
        return None
    return outline([(west, south), (east, south), (east, north), (west, north)])
