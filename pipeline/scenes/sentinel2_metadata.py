"""What the metadata of a Sentinel-2 product and of its granules say, of whichever version.

Source: Sentinel-2 Products Specification Document (S2-PDGS-TAS-DI-PSD), issue 14.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from xml.etree.ElementTree import Element

from pipeline.georef import Georef
from pipeline.scenes.footprint import Point
from pipeline.scenes.markup import Markup, number, parse_xml
from pipeline.scenes.scene import SceneError
from pipeline.scenes.sentinel2_names import BAND, BANDS, tile_of
from pipeline.scenes.sentinel2_radiometry import Counts, read_counts

LEVELS = {"Level-1C_User_Product": "L1C", "Level-2A_User_Product": "L2A"}
"""Processing level by the outermost element."""
IMAGES = ("IMAGE_FILE", "IMAGE_ID", "IMAGE_FILE_2A", "IMAGE_ID_2A")
"""Elements that list image files."""


@dataclass(frozen=True, slots=True)
class Product:
    """A product, which has one granule or several."""

    level: str
    """'L1C' or 'L2A'."""
    uri: str
    """What it calls itself; '' if it does not."""
    type: str
    """'S2MSI1C', 'S2MSI2A' or 'S2MSI2Ap'."""
    platform: str
    """'Sentinel-2A'."""
    baseline: str
    """Processing baseline: '05.09'."""
    generated: str
    """When it was made, as it stands there."""
    datatake: str
    """Identifier: 'GS2A_20171207T002051_012840_N02.06'."""
    datatake_type: str
    """'INS-NOBS'."""
    began: datetime | None
    """When sensing began."""
    orbit: float | None
    """Relative orbit."""
    direction: str
    """'DESCENDING'."""
    cloud_cover: float | None
    """In per cent."""
    sun: float | None
    """Factor that corrects for the distance of the sun."""
    counts: Counts
    """What the values of its bands mean."""
    wavelengths: dict[str, float]
    """Centres in micrometres, by band."""
    listed: frozenset[str]
    """Bands that it says it has."""
    tiles: frozenset[str]
    """Tiles that it says it has."""
    outlines: tuple[tuple[Point, ...], ...]
    """Of the footprint."""


@dataclass(frozen=True, slots=True)
class Granule:
    """The part of a product on one tile."""

    id: str
    """Identifier."""
    tile: str
    """Of the military grid: '55JEJ'."""
    datastrip: str
    """Identifier of the strip of the datatake that it was cut from."""
    sensed: datetime | None
    """When it was sensed."""
    sizes: dict[int, tuple[int, int]]
    """(rows, columns) by resolution."""
    places: dict[int, Georef]
    """Where its images lie, by resolution."""
    sun_zenith: float | None
    """Mean, in degrees."""
    sun_azimuth: float | None
    """Mean, in degrees."""

    @property
    def strip_began(self) -> str:
        """When sensing of the datastrip began, which reprocessing leaves as it is; '' if unknown.

        A tile of a datatake can be delivered in two halves, from two strips.
        """
        found = re.search(r"_S(\d{8}T\d{6})(?=_|$)", self.datastrip)
        return found[1] if found else ""


def read_product(path: Path) -> Product:
    """The metadata of a product; raises SceneError."""
    xml = parse_xml(path)
    level = LEVELS.get(xml.root)
    if level is None:
        raise SceneError(
            f"describes a {xml.root}; known are {' and '.join(LEVELS)}",
            uri=str(path),
            reason="unsupported",
        )
    return Product(
        level=level,
        uri=xml.text("PRODUCT_URI", "PRODUCT_URI_2A").removesuffix(".SAFE"),
        type=xml.text("PRODUCT_TYPE"),
        platform=xml.text("SPACECRAFT_NAME"),
        baseline=xml.text("PROCESSING_BASELINE"),
        generated=xml.text("GENERATION_TIME"),
        datatake=_attribute(xml, "Datatake", "datatakeIdentifier"),
        datatake_type=xml.text("DATATAKE_TYPE"),
        began=_time(xml.text("DATATAKE_SENSING_START")) or _time(xml.text("PRODUCT_START_TIME")),
        orbit=xml.number("SENSING_ORBIT_NUMBER"),
        direction=xml.text("SENSING_ORBIT_DIRECTION"),
        cloud_cover=xml.number("Cloud_Coverage_Assessment"),
        sun=xml.number("U"),
        counts=read_counts(xml, level),
        wavelengths=dict(_wavelengths(xml)),
        listed=frozenset(_listed(xml)),
        tiles=frozenset(_tiles(xml)),
        outlines=tuple(_outlines(xml)),
    )


def read_granule(path: Path) -> Granule:
    """The metadata of a granule; raises SceneError."""
    xml = parse_xml(path)
    id = xml.text("TILE_ID", "TILE_ID_2A")
    angle = next(iter(xml.all("Mean_Sun_Angle")), None)
    crs = _crs(xml)
    return Granule(
        id=id,
        tile=tile_of(id) or tile_of(path.parent.name),
        datastrip=xml.text("DATASTRIP_ID", "DATASTRIP_ID_2A"),
        sensed=_time(xml.text("SENSING_TIME")),
        sizes=dict(_sizes(xml)),
        places=dict(_places(xml, crs)),
        sun_zenith=_inside(angle, "ZENITH_ANGLE"),
        sun_azimuth=_inside(angle, "AZIMUTH_ANGLE"),
    )


def _wavelengths(xml: Markup) -> Iterator[tuple[str, float]]:
    for element in xml.all("Spectral_Information"):
        id, nanometres = element.get("bandId", ""), _inside(element, "CENTRAL")
        if id.isdecimal() and int(id) < len(BANDS) and nanometres:
            yield list(BANDS)[int(id)], round(nanometres / 1000, 7)


def _listed(xml: Markup) -> Iterator[str]:
    for element in xml.all(*IMAGES):
        found = BAND.search((element.text or "").strip())
        if found:
            yield found[1].upper()


def _tiles(xml: Markup) -> Iterator[str]:
    for element in xml.all("Granule", "Granules"):
        tile = tile_of(element.get("granuleIdentifier", ""))
        if tile:
            yield tile


def _outlines(xml: Markup) -> Iterator[tuple[Point, ...]]:
    """Outlines of (longitude, latitude); the lists hold latitude first, some a height as third."""
    for element in xml.all("EXT_POS_LIST"):
        numbers = [number(text) for text in (element.text or "").split()]
        values = [value for value in numbers if value is not None]
        flat = values[:2] == values[-2:] and len(values) % 2 == 0
        step = 2 if flat or values[:3] != values[-3:] else 3
        if len(values) == len(numbers) and values and len(values) % step == 0:
            yield tuple(zip(values[1::step], values[::step], strict=True))


def _sizes(xml: Markup) -> Iterator[tuple[int, tuple[int, int]]]:
    for element in xml.all("Size"):
        resolution, rows, columns = (
            element.get("resolution", ""),
            _inside(element, "NROWS"),
            _inside(element, "NCOLS"),
        )
        if resolution.isdecimal() and rows and columns:
            yield int(resolution), (int(rows), int(columns))


def _places(xml: Markup, crs: str | None) -> Iterator[tuple[int, Georef]]:
    for element in xml.all("Geoposition"):
        resolution = element.get("resolution", "")
        x, y, width, height = (_inside(element, n) for n in ("ULX", "ULY", "XDIM", "YDIM"))
        if resolution.isdecimal() and None not in (x, y) and width and height and crs:
            affine = (width, 0.0, x or 0.0, 0.0, height, y or 0.0)
            yield int(resolution), Georef(crs=crs, affine=affine)


def _crs(xml: Markup) -> str | None:
    """WKT of the tile's CRS."""
    from rasterio.crs import CRS
    from rasterio.errors import CRSError

    try:
        return str(CRS.from_user_input(xml.text("HORIZONTAL_CS_CODE")).to_wkt(version="WKT2_2019"))
    except (CRSError, ValueError):
        return None


def _attribute(xml: Markup, tag: str, name: str) -> str:
    return next((element.get(name, "").strip() for element in xml.all(tag)), "")


def _inside(element: Element | None, tag: str) -> float | None:
    """The first number of that name within an element."""
    if element is None:
        return None
    found = (child for child in element.iter() if child.tag.rpartition("}")[2] == tag)
    return number(next((child.text for child in found), None))


def _time(text: str) -> datetime | None:
    """A time in UTC; None for what is none."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
