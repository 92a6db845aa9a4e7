"""What a Landsat product says of itself: identity, place, time, and its bands with radiometry."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from pipeline.scenes.footprint import footprint
from pipeline.scenes.headers import UNSAFE
from pipeline.scenes.landsat_bands import instruments, sensor_bands
from pipeline.scenes.mtl import Mtl
from pipeline.scenes.scene import BandFacts, SceneError
from pipeline.serial import Json

CONTENTS = ("PRODUCT_CONTENTS", "PRODUCT_METADATA")
"""Groups that name the files: of Collection 2, and before."""
IDENTITY = (*CONTENTS, "METADATA_FILE_INFO", "LEVEL1_PROCESSING_RECORD")
"""Groups that say which product it is."""
IMAGE = ("IMAGE_ATTRIBUTES", *CONTENTS)
"""Groups that say how it was taken."""
PLACE = ("PROJECTION_ATTRIBUTES", *CONTENTS)
"""Groups that say where it lies."""
MADE = ("LEVEL2_PROCESSING_RECORD", "LEVEL1_PROCESSING_RECORD", "METADATA_FILE_INFO")
"""Groups that say when it was made."""
LEVEL1 = (
    *("LEVEL1_RADIOMETRIC_RESCALING", "LEVEL1_MIN_MAX_PIXEL_VALUE"),
    *("RADIOMETRIC_RESCALING", "MIN_MAX_PIXEL_VALUE"),
)
"""Groups of level-1 radiometry."""
LEVEL2 = ("LEVEL2_SURFACE_REFLECTANCE_PARAMETERS", "LEVEL2_SURFACE_TEMPERATURE_PARAMETERS")
"""Groups of level-2 radiometry."""
QUANTITIES = {
    "REFLECTANCE": None,
    "TEMPERATURE": "kelvin",
    "RADIANCE": "watt/steradian/square_meter/micrometer",
}
"""What counts may be turned into, the first that is given, with its unit."""
CODES = {
    "FILE_NAME_QUALITY_L1_PIXEL": "QA_PIXEL",
    "FILE_NAME_QUALITY_L1_RADIOMETRIC_SATURATION": "QA_RADSAT",
    "FILE_NAME_BAND_QUALITY": "BQA",
}
"""Names of the files that hold quality codes, with the names of their bands."""
FILL = 0.0
"""Value of pixels that were not imaged, at both levels (data format control books)."""


@dataclass(frozen=True, slots=True)
class LandsatBand:
    """A file of a product."""

    facts: BandFacts
    """For the catalogue."""
    file: str
    """Its name, in the folder of the metadata."""
    role: Literal["light", "thermal", "pan", "classes"]
    """What its values are."""
    nodata: float | None = FILL
    """Value of pixels that were not imaged; None for codes."""
    saturated: float | None = None
    """Value of saturated pixels, where it is declared."""


@dataclass(frozen=True, slots=True)
class LandsatMetadata:
    """A product, in whatever notation it came."""

    id: str
    """Product id, safe as a file name."""
    bands: tuple[LandsatBand, ...]
    """Files that may be upscaled, in the order of the metadata."""
    time: datetime | None = None
    """When the centre was sensed, in UTC."""
    platform: str | None = None
    """'landsat-8'."""
    instruments: tuple[str, ...] = ()
    """'oli', 'tirs'."""
    properties: dict[str, Json] = field(default_factory=dict)
    """For the STAC item."""
    footprint: dict[str, Json] | None = None
    """Between the centres of the corner pixels."""
    dataset: str = ""
    """Satellite, level, path and row, day: what a reprocessed product shares with it."""
    version: str = ""
    """Collection, and when it was processed."""
    size: tuple[int, int] | None = None
    """(width, height) of the bands of reflected light, in pixels."""


def from_mtl(mtl: Mtl) -> LandsatMetadata:
    """What an MTL file says; raises SceneError."""
    level = (mtl.text("PROCESSING_LEVEL", *CONTENTS) or mtl.text("DATA_TYPE", *CONTENTS) or "L1")[
        :2
    ]
    spacecraft, sensor = (mtl.text(n, *IMAGE) or "" for n in ("SPACECRAFT_ID", "SENSOR_ID"))
    satellite = int("".join(c for c in spacecraft if c.isdecimal())[:2] or 0)
    platform = f"landsat-{satellite}" if satellite else None
    day = mtl.text("DATE_ACQUIRED", *IMAGE)
    width, height = (mtl.number(f"REFLECTIVE_{n}", *PLACE) for n in ("SAMPLES", "LINES"))
    return LandsatMetadata(
        id=_id(mtl),
        bands=(*_bands(mtl, level, sensor, satellite), *_codes(mtl)),
        time=sensing_time(str(mtl.path), day, mtl.text("SCENE_CENTER_TIME", *IMAGE)),
        platform=platform,
        instruments=instruments(sensor),
        properties=_properties(mtl, level),
        footprint=_footprint(mtl),
        dataset=dataset_name(platform, level, _wrs(mtl), day),
        version=f"{_collection(mtl)} {_made(mtl)}",
        size=None if width is None or height is None else (int(width), int(height)),
    )


def dataset_name(platform: str | None, level: str, wrs: str, day: str | None) -> str:
    """What a reprocessed product shares with this one; "" where that is not all known."""
    return f"{platform} {level} {wrs} {day}" if platform and wrs and day else ""


def sensing_time(uri: str, day: str | None, time: str | None) -> datetime | None:
    """A date and a time of day, with seven digits of a second and a Z; raises SceneError."""
    if day is None:
        return None
    clock = re.sub(r"(\.\d{1,6})\d*", r"\1", (time or "00:00:00").strip('"Z '))
    try:
        return datetime.fromisoformat(f"{day}T{clock}").replace(tzinfo=UTC)
    except ValueError as error:
        raise SceneError(f"says it was sensed at {day} {clock}, which is no time", uri=uri) from (
            error
        )


def outline(corners: Sequence[tuple[float, float]]) -> dict[str, Json] | None:
    """The polygon of (longitude, latitude); None for what is none, which harms nothing else."""
    try:
        return footprint([corners])
    except ValueError:
        return None


def check_file_name(name: str, uri: str) -> str:
    """A name of a file in the same folder; raises SceneError for one that leads elsewhere."""
    if UNSAFE.search(name) or name.startswith("."):
        raise SceneError(
            f"names the file {name!r}, which is not a plain name", uri=uri, reason="hostile"
        )
    return name


def _id(mtl: Mtl) -> str:
    found = mtl.text("LANDSAT_PRODUCT_ID", *IDENTITY) or mtl.text("LANDSAT_SCENE_ID", *IDENTITY)
    if found is None:
        raise SceneError("has no LANDSAT_PRODUCT_ID", uri=str(mtl.path))
    return check_file_name(found, str(mtl.path))


def _bands(mtl: Mtl, level: str, sensor: str, satellite: int) -> list[LandsatBand]:
    """The bands that the metadata name, with what the sensor's table and the radiometry say."""
    known, found = sensor_bands(sensor, satellite), []
    for tag, file in _files(mtl):
        number = int(re.sub(r"^ST_B", "", tag).partition("_")[0])
        if number not in known:
            raise SceneError(
                f"names a band {tag} of the sensor {sensor!r}, which is not known here",
                uri=str(mtl.path),
                reason="unsupported",
            )
        scale, offset, unit = _radiometry(mtl, level, tag)
        name = tag if tag.startswith("ST_") else f"{'SR_' if level == 'L2' else ''}B{tag}"
        band = known[number]
        facts = BandFacts(name, band.common, band.wavelength, band.width, scale, offset, unit)
        found.append(LandsatBand(facts, file, band.role, saturated=_saturated(mtl, level, tag)))
    return found


def _files(mtl: Mtl) -> list[tuple[str, str]]:
    """('1', '6_VCID_1' or 'ST_B10', file name) of each band of the product itself."""
    group = next((mtl.groups[name] for name in CONTENTS if name in mtl.groups), {})
    tags = [re.fullmatch(r"FILE_NAME_BAND_(\d+(_VCID_\d)?|ST_B\d+)", name) for name in group]
    found = [(tag[1], mtl.text(tag[0], *CONTENTS)) for tag in tags if tag]
    files = [(tag, check_file_name(file, str(mtl.path))) for tag, file in found if file]
    if not files:
        raise SceneError(
            "names no files of bands (FILE_NAME_BAND_...): products from before 2012 are not read",
            uri=str(mtl.path),
            reason="unsupported",
        )
    return files


def _codes(mtl: Mtl) -> list[LandsatBand]:
    found = [(name, mtl.text(key, *CONTENTS)) for key, name in CODES.items()]
    return [
        LandsatBand(BandFacts(name), check_file_name(file, str(mtl.path)), "classes", nodata=None)
        for name, file in found
        if file
    ]


def _radiometry(mtl: Mtl, level: str, tag: str) -> tuple[float, float, str | None]:
    """(scale, offset, unit) of the first quantity that is given; raises SceneError if half is.

    Level-1 reflectance is not divided by the sine of the sun's elevation, as in the metadata.
    """
    groups = LEVEL2 if level == "L2" else LEVEL1
    for quantity, unit in QUANTITIES.items():
        names = [f"{quantity}_{part}_BAND_{tag}" for part in ("MULT", "ADD")]
        scale, offset = (mtl.number(name, *groups) for name in names)
        if scale is not None and offset is not None:
            return scale, offset, unit
        if scale is not None or offset is not None:
            raise SceneError(f"has only one of {' and '.join(names)}", uri=str(mtl.path))
    return 1.0, 0.0, None


def _saturated(mtl: Mtl, level: str, tag: str) -> float | None:
    groups = LEVEL2 if level == "L2" else LEVEL1
    found = [mtl.number(f"QUANTIZE_CAL_{word}_BAND_{tag}", *groups) for word in ("MAX", "MAXIMUM")]
    return next((value for value in found if value is not None), None)


def _properties(mtl: Mtl, level: str) -> dict[str, Json]:
    """Cloud cover, sun, WRS-2 and processing, under the names of STAC's extensions."""
    azimuth, cover = (mtl.number(n, *IMAGE) for n in ("SUN_AZIMUTH", "CLOUD_COVER"))
    land = mtl.number("CLOUD_COVER_LAND", *IMAGE)
    roll = mtl.number("ROLL_ANGLE", *IMAGE) or 0.0
    pointing = mtl.text("NADIR_OFFNADIR", *IMAGE)
    found: dict[str, Json] = {
        "eo:cloud_cover": None if cover is None or cover < 0 else cover,
        "view:sun_azimuth": None if azimuth is None else azimuth % 360,
        "view:sun_elevation": mtl.number("SUN_ELEVATION", *IMAGE),
        "view:off_nadir": {"NADIR": 0.0, "OFFNADIR": abs(roll)}.get(pointing or ""),
        "landsat:cloud_cover_land": None if land is None or land < 0 else land,
        "landsat:wrs_type": mtl.text("WRS_TYPE", *IMAGE),
        "landsat:wrs_path": _wrs(mtl)[:3] or None,
        "landsat:wrs_row": _wrs(mtl)[3:] or None,
        "landsat:scene_id": mtl.text("LANDSAT_SCENE_ID", *IDENTITY),
        "landsat:collection_number": mtl.text("COLLECTION_NUMBER", *IDENTITY),
        "landsat:collection_category": mtl.text("COLLECTION_CATEGORY", *IDENTITY),
        "landsat:correction": mtl.text("PROCESSING_LEVEL", *CONTENTS)
        or mtl.text("DATA_TYPE", *CONTENTS),
        "processing:level": level,
    }
    return {name: value for name, value in found.items() if value is not None}


def _wrs(mtl: Mtl) -> str:
    """Path and row, three digits each."""
    found = [mtl.text(f"WRS_{name}", *IMAGE) or "" for name in ("PATH", "ROW")]
    return "".join(one.zfill(3) for one in found) if all(found) else ""


def _collection(mtl: Mtl) -> str:
    return (mtl.text("COLLECTION_NUMBER", *IDENTITY) or "0").zfill(2)


def _made(mtl: Mtl) -> str:
    found = [mtl.text(name, *MADE) for name in ("DATE_PRODUCT_GENERATED", "FILE_DATE")]
    return next((value for value in found if value), "")


def _footprint(mtl: Mtl) -> dict[str, Json] | None:
    corners = []
    for corner in ("UL", "LL", "LR", "UR"):
        names = [f"CORNER_{corner}_{axis}_PRODUCT" for axis in ("LON", "LAT")]
        x, y = (mtl.number(name, *PLACE) for name in names)
        if x is None or y is None:
            return None
        corners.append((x, y))
    return outline(corners)
