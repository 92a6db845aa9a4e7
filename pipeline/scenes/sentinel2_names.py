"""What names say in Sentinel-2 products: old and new ones, bands, classifications, metadata.

S2A_MSIL1C_20171207T002051_N0206_R116_T55JEJ_20171207T032513.SAFE/          since December 2016
    MTD_MSIL1C.xml
    GRANULE/L1C_T55JEJ_A012840_20171207T002252/
        MTD_TL.xml  IMG_DATA/T55JEJ_20171207T002051_B04.jp2

S2A_OPER_PRD_MSIL1C_PDMC_20160905T104813_R002_V2016...SAFE/                before, many tiles
    S2A_OPER_MTD_SAFL1C_PDMC_2016....xml
    GRANULE/S2A_OPER_MSI_L1C_TL_SGS__20160905T073438_A006291_T53HLA_N02.04/
        S2A_OPER_MTD_L1C_TL_SGS__....xml  IMG_DATA/S2A_OPER_MSI_L1C_TL_..._T53HLA_B04.jp2

Level 2A: IMG_DATA/R10m/T55JEJ_20171207T002051_B04_10m.jp2
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

PRODUCT = re.compile(r"S2[A-Z]_(?:(?:OPER|USER)_PRD_)?MSI(L\d[A-Z])", re.IGNORECASE)
"""A product's name begins so; its level."""
PRODUCT_METADATA = re.compile(
    r"(?:MTD_MSIL(?:1C|2A)|S2[A-Z]_(?:OPER|USER)_MTD_SAFL(?:1C|2A)[^/]*)\.xml", re.IGNORECASE
)
"""Name of the file that describes a product."""
TILE_METADATA = re.compile(
    r"(?:MTD_TL|S2[A-Z]_(?:OPER|USER)_MTD_L(?:1C|2A)_T[^/]*)\.xml", re.IGNORECASE
)
"""Name of the file that describes a granule: the part of a product on one tile."""
STRIP_METADATA = re.compile(
    r"(?:MTD_DS|S2[A-Z]_(?:OPER|USER)_MTD_L(?:1C|2A)_DS_[^/]*)\.xml", re.IGNORECASE
)
"""Name of the file that describes a datastrip: a part of a datatake, as it was received."""
TILE = re.compile(r"(?:^|_)T(\d{2}[A-Z]{3})(?=_|$)")
"""Tile of the military grid, in names of granules."""
BAND = re.compile(r"(?:^|_)(B(?:0[1-9]|1[0-2]|8A))(?:_(10|20|60)m)?(?:\.jp2)?$", re.IGNORECASE)
"""A band's file, or what metadata call it."""
CLASSES = re.compile(
    r"(?:^|_)(?:(SCL)(?:_.*)?_(20|60)m|(CLD)(?:PRB)?(?:_.*)?_(20|60)m|MSK_(CLASSI)_B00)\.jp2$",
    re.IGNORECASE,
)
"""A classification's file: scene classes, probability of clouds, or flags of clouds and snow."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is the same for all satellites."""

    resolution: int
    """Side of a pixel in metres, as sensed."""
    common: str
    """STAC's common name."""
    wavelength: float
    """Centre, in micrometres, where the metadata do not say."""
    width: float
    """Full width at half maximum, in micrometres."""
    colour: str = "undefined"
    """Colour interpretation, by rasterio's names."""


BANDS = {
    "B01": Known(60, "coastal", 0.4427, 0.020),
    "B02": Known(10, "blue", 0.4927, 0.065, "blue"),
    "B03": Known(10, "green", 0.5598, 0.035, "green"),
    "B04": Known(10, "red", 0.6646, 0.030, "red"),
    "B05": Known(20, "rededge", 0.7041, 0.014),
    "B06": Known(20, "rededge", 0.7405, 0.014),
    "B07": Known(20, "rededge", 0.7828, 0.019),
    "B08": Known(10, "nir", 0.8328, 0.105),
    "B8A": Known(20, "nir08", 0.8647, 0.021),
    "B09": Known(60, "nir09", 0.9451, 0.019),
    "B10": Known(60, "cirrus", 1.3735, 0.029),
    "B11": Known(20, "swir16", 1.6137, 0.090),
    "B12": Known(20, "swir22", 2.2024, 0.174),
}
"""By name, in the order of `band_id` (Sentinel-2A, from ESA's table of spectral bands)."""


@dataclass(frozen=True, slots=True, order=True)
class Image:
    """What an image file of a granule holds."""

    name: str
    """Name of the band, 'SCL', 'CLD' or 'CLASSI'."""
    resolution: int
    """Side of a pixel in metres, by its name."""


def image_of(path: str) -> Image | None:
    """What a file of a product holds, by its path with slashes; None for what is not used.

    True-colour images, previews, aerosol, water vapour and the masks of single bands are not.
    """
    *folders, name = PurePosixPath(path).parts
    places = {folder.upper() for folder in folders}
    if "IMG_DATA" in places and name.lower().endswith(".jp2") and (found := BAND.search(name)):
        band = found[1].upper()
        return Image(band, int(found[2] or BANDS[band].resolution))
    if places & {"IMG_DATA", "QI_DATA"} and (found := CLASSES.search(name)):
        kind = (found[1] or found[3] or found[5]).upper()
        return Image(kind, int(found[2] or found[4] or 60))
    return None


def band_name(text: str) -> str | None:
    """The name of a band as users may write it: 'b4', 'B04', 'B8a'; None if there is none."""
    padded = re.sub(r"^B(?=\d(?:$|[^\dA]))", "B0", text.strip().upper())
    return padded if padded in BANDS else None


def tile_of(name: str) -> str:
    """The tile in the name of a granule, without its T; '' if there is none."""
    found = TILE.search(name)
    return found[1] if found else ""


def is_metadata(name: str) -> bool:
    """Whether a file's name is that of metadata that are read."""
    return any(p.fullmatch(name) for p in (PRODUCT_METADATA, TILE_METADATA, STRIP_METADATA))
