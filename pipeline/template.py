"""A tiny GeoTIFF by GDAL that says everything about an image but its pixels."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import rasterio
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import DatasetWriter, MemoryFile

from pipeline.profile import Profile
from pipeline.radiometry import as_code
from pipeline.statistics import Statistics

XMP = "xml:XMP"
"""Domain of XMP packets, which rasterio reads but does not write well: see `xmp_packet`."""
SIDE = 16
"""Side of the image; its pixels are never used."""


class Shift(NamedTuple):
    """A displacement in pixels."""

    rows: float
    """Downwards."""
    columns: float
    """To the right."""


def template(profile: Profile, statistics: Sequence[Statistics] = ()) -> bytes:
    """A classic little-endian GeoTIFF with the georeferencing, colours and metadata of `profile`.

    `statistics` of each band become GDAL's STATISTICS_* tags. It is read back: raises ValueError if
    no form of the CRS survives.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        for crs in _candidates(profile.georef.crs):
            written = _write(profile, statistics, crs, Shift(0.0, 0.0))
            shift = _shift(written, profile)
            if shift != Shift(0.0, 0.0):
                written = _write(profile, statistics, crs, shift)
            if _is_faithful(written, profile):
                return written
    raise ValueError("no GeoTIFF holds its coordinate reference system; write .zarr")


def _candidates(wkt: str | None) -> list[rasterio.CRS | None]:
    """A CRS in the forms that GDAL may or may not write whole: none is right for all."""
    if wkt is None:
        return [None]
    crs = rasterio.CRS.from_wkt(wkt)
    authority = crs.to_authority()
    found = [crs, rasterio.CRS.from_wkt(crs.to_wkt())]
    return found + ([rasterio.CRS.from_authority(*authority)] if authority else [])


def _write(
    profile: Profile, statistics: Sequence[Statistics], crs: rasterio.CRS | None, shift: Shift
) -> bytes:
    """The file, its GCPs moved back by `shift`."""
    with rasterio.Env(GTIFF_WRITE_LINEAR_UNITS=True), MemoryFile() as memory:
        with memory.open(**_creation(profile, crs)) as dataset:
            _describe(dataset, profile, shift)
            for number, found in enumerate(statistics, start=1):
                dataset.update_tags(number, **_statistics_tags(found, profile.dtype))
        return bytes(memory.read())


def _shift(written: bytes, profile: Profile) -> Shift:
    """How far GCPs come out from where they were put.

    GDAL 3.10 adds half a pixel to those of AREA_OR_POINT=Point when writing and when reading.
    """
    with MemoryFile(written) as memory, memory.open() as dataset:
        found, wanted = dataset.gcps[0], profile.georef.gcps
        if not found or not wanted:
            return Shift(0.0, 0.0)
        return Shift(found[0].row - wanted[0].row, found[0].col - wanted[0].column)


def _is_faithful(written: bytes, profile: Profile) -> bool:
    """Whether the CRS and the GCPs of a file are those of the profile."""
    georef = profile.georef
    with MemoryFile(written) as memory, memory.open() as dataset:
        if georef.gcps and georef.affine is None:
            return _shift(written, profile) == Shift(0.0, 0.0)
        wanted = rasterio.CRS.from_wkt(georef.crs) if georef.crs else None
        return bool((dataset.crs or None) == wanted)


def _creation(profile: Profile, crs: rasterio.CRS | None) -> dict[str, object]:
    """Creation options of rasterio.open."""
    options: dict[str, object] = {
        "driver": "GTiff",
        "width": SIDE,
        "height": SIDE,
        "count": len(profile.bands),
        "dtype": profile.dtype,
        "photometric": _photometric(profile),
        "interleave": "pixel",
        "endianness": "LITTLE",
        "bigtiff": "NO",
    }
    if profile.alpha is not None:
        options["alpha"] = "unspecified"
    if holds_nodata(profile):
        options["nodata"] = profile.nodata
    georef = profile.georef
    if georef.affine is not None:
        options["transform"] = rasterio.Affine(*georef.affine)
    if crs is not None:
        options["crs"] = crs
    return options


def holds_nodata(profile: Profile) -> bool:
    """Whether the data type can hold the nodata value; GDAL refuses one that it cannot."""
    return as_code(profile.nodata, np.dtype(profile.dtype)) is not None


def _photometric(profile: Profile) -> str:
    """TIFF's photometric interpretation."""
    colours = [band.colour for band in profile.bands]
    if profile.colormap is not None:
        return "palette"
    if colours[:3] == ["red", "green", "blue"] and profile.dtype in ("uint8", "uint16"):
        return "rgb"
    return "miniswhite" if profile.white_is_zero else "minisblack"


def _describe(dataset: DatasetWriter, profile: Profile, shift: Shift) -> None:
    """Everything that is not a creation option."""
    bands, georef = profile.bands, profile.georef
    for domain, values in profile.tags.items():
        if domain == XMP:
            continue
        dataset.update_tags(ns=domain or None, **values)
    if georef.point:
        dataset.update_tags(AREA_OR_POINT="Point")
    if georef.rpcs:
        dataset.update_tags(ns="RPC", **georef.rpcs)
    if georef.gcps and georef.affine is None:
        crs = rasterio.CRS.from_wkt(georef.gcps_crs) if georef.gcps_crs else rasterio.CRS()
        points = [
            GroundControlPoint(
                g.row - shift.rows,
                g.column - shift.columns,
                g.x,
                g.y,
                g.z,
                g.id or None,
                g.info or None,
            )
            for g in georef.gcps
        ]
        dataset.gcps = (points, crs)
    if profile.colormap is not None:
        dataset.write_colormap(1, profile.colormap)
    dataset.colorinterp = [ColorInterp[band.colour] for band in bands]
    dataset.scales = [band.scale for band in bands]
    dataset.offsets = [band.offset for band in bands]
    for number, band in enumerate(bands, start=1):
        if band.description:
            dataset.set_band_description(number, band.description)
        if band.unit:
            dataset.set_band_unit(number, band.unit)
        if band.tags:
            dataset.update_tags(number, **band.tags)
        for domain, values in band.domains.items():
            dataset.update_tags(number, ns=domain, **values)


def _statistics_tags(found: Statistics, dtype: str) -> dict[str, str]:
    """GDAL's tags; none for a band without a valid pixel."""
    if not found.count:
        return {"STATISTICS_VALID_PERCENT": "0"}
    digits = 9 if dtype == "float32" else 17
    figures = {
        "MINIMUM": found.minimum,
        "MAXIMUM": found.maximum,
        "MEAN": found.mean,
        "STDDEV": found.deviation,
    }
    percent = 100 * found.count / found.total
    # rounded down: 100 means every pixel
    shown = f"{math.floor(percent * 100) / 100:.4g}"
    tags = {f"STATISTICS_{name}": f"{value:.{digits}g}" for name, value in figures.items()}
    return tags | {"STATISTICS_VALID_PERCENT": shown}


def xmp_packet(profile: Profile) -> bytes:
    """The XMP packet, to be written as tag 700; empty for none."""
    return profile.tags.get(XMP, {}).get(XMP, "").encode()
