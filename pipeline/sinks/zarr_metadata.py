"""The attributes of a store: every reader's own way of saying where and what the image is.

    CF            x and y arrays, grid_mapping -> spatial_ref with crs_wkt    xarray, rioxarray
    GDAL          GeoTransform beside it, _CRS on the image                   GDAL, odc-geo
    GeoZarr       proj:, spatial: and multiscales of zarr-conventions          titiler, GDAL 3.13
    OME-NGFF 0.5  ome, for images that lie nowhere on the ground               microscopy viewers

Sources: CF 1.11 sections 5.6 and 8.1; github.com/zarr-conventions; ngff.openmicroscopy.org/0.5.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence
from typing import cast

import numpy as np

from pipeline.coordinates import render_gcps, render_geotransform
from pipeline.plan import Plan
from pipeline.profile import Band
from pipeline.radiometry import as_code
from pipeline.serial import Json, to_json
from pipeline.sinks.zarr_conventions import (
    Attributes,
    level_affine,
    level_crs,
    multiscales,
    ome,
    place,
)
from pipeline.statistics import Statistics

PICTURES = ("PNG", "JPEG")
"""Formats of images that lie nowhere on the ground."""


def is_located(plan: Plan) -> bool:
    """Whether there is anything for a grid mapping to say."""
    georef = plan.fine.georef
    return bool(level_crs(plan) or georef.affine or georef.gcps)


def root_attributes(plan: Plan) -> Attributes:
    """Of the root group: the place and the whole pyramid, and who made it."""
    pyramid = multiscales(plan)
    found: Attributes = {"Conventions": "CF-1.11", **place(plan, 0, pyramid=bool(pyramid))}
    if pyramid:
        found["multiscales"] = pyramid
    if plan.output.zarr_format == 3 and (
        plan.fine.georef.affine is None or plan.fine.driver in PICTURES
    ):
        found["ome"] = ome(plan)
    found["software"] = plan.provenance.software
    found["processing"] = plan.provenance.processing
    found["plan_sha256"] = plan.digest
    return found


def group_attributes(plan: Plan, level: int) -> Attributes:
    """Of the group of an overview."""
    return {"Conventions": "CF-1.11", **place(plan, level, pyramid=False)}


def image_attributes(plan: Plan, level: int, statistics: Sequence[Statistics] = ()) -> Attributes:
    """Of the image of a level; statistics of full resolution, one per band or none."""
    fine = plan.fine
    found: Attributes = {**place(plan, level, pyramid=False), **_mapping(plan)}
    if crs := level_crs(plan):
        found["_CRS"] = {"wkt": crs}
    found |= _nodata(plan) | _packing(fine.bands) | _names(fine.bands)
    found["bands"] = [
        _band(band, statistics[i] if statistics else None) for i, band in enumerate(fine.bands)
    ]
    found["tags"] = cast("Json", fine.tags)
    if fine.mask:
        found["ancillary_variables"] = "mask"
    if fine.georef.rpcs:
        found["rpcs"] = cast("Json", fine.georef.rpcs)
    if fine.georef.gcps_crs:
        found["gcps_crs"] = fine.georef.gcps_crs
    if fine.colormap:
        found["colormap"] = {str(k): list(v) for k, v in fine.colormap.items()}
    return found


def provenance_attributes(plan: Plan) -> Attributes:
    """Of a group of its own, which copies that others make of the image do not carry on.

    `complete` says that every object was written: a missing one is damage, not a chunk of fill
    values.
    """
    return {**cast("Attributes", to_json(plan.provenance)), "complete": True}


def mask_attributes(plan: Plan) -> Attributes:
    """Of the mask: CF flags."""
    flags: Attributes = {"flag_values": [0, 255], "flag_meanings": "invalid valid"}
    return {"long_name": "validity", **flags, **_mapping(plan)}


def mapping_attributes(plan: Plan, level: int) -> Attributes:
    """Of the scalar variable spatial_ref."""
    found: Attributes = {}
    if crs := level_crs(plan):
        found |= _cf_crs(crs) | {"crs_wkt": crs, "spatial_ref": crs}
    if affine := level_affine(plan, level):
        found["GeoTransform"] = render_geotransform(affine)
    if plan.fine.georef.gcps and level == 0:
        found["gcps"] = render_gcps(plan.fine.georef.gcps)
    return found


def axis_attributes(plan: Plan, axis: str) -> Attributes:
    """Of the coordinates x or y: CF's standard name and unit where the system has one."""
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    try:
        axes = CRS.from_wkt(level_crs(plan) or "").cs_to_cf()
    except CRSError:
        axes = []
    found = next((one for one in axes if str(one.get("axis")).lower() == axis), {"axis": axis})
    return {str(key): str(value) for key, value in found.items()}


def _cf_crs(wkt: str) -> Attributes:
    """CF's parameters of a coordinate reference system, as far as CF knows it."""
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    try:
        parameters = CRS.from_wkt(wkt).to_cf()
    except CRSError:
        return {}
    return {key: _plain(value) for key, value in parameters.items()}


def _plain(value: object) -> Json:
    return list(value) if isinstance(value, tuple) else cast("Json", value)


def _mapping(plan: Plan) -> Attributes:
    """Links to spatial_ref; `coordinates` makes xarray load it with the image."""
    if not is_located(plan):
        return {}
    return {"grid_mapping": "spatial_ref", "coordinates": "spatial_ref"}


def _nodata(plan: Plan) -> Attributes:
    """`_FillValue` as xarray encodes it; Zarr v2 has it in the array's fill_value."""
    nodata, dtype = plan.fine.nodata, np.dtype(plan.fine.dtype)
    code = as_code(nodata, dtype)
    if nodata is not None and code is None:
        return {"nodata_declared": nodata if np.isfinite(nodata) else str(nodata)}
    if code is None or plan.output.zarr_format == 2:
        return {}
    if dtype.kind == "f":
        return {"_FillValue": base64.standard_b64encode(struct.pack("<d", float(code))).decode()}
    return {"_FillValue": int(code)}


def _packing(bands: Sequence[Band]) -> Attributes:
    """CF's packing if all bands share it, else rioxarray's lists."""
    packings = {(band.scale, band.offset) for band in bands}
    if packings == {(1.0, 0.0)}:
        return {}
    if len(packings) == 1:
        return {"scale_factor": bands[0].scale, "add_offset": bands[0].offset}
    return {"scales": [band.scale for band in bands], "offsets": [band.offset for band in bands]}


def _names(bands: Sequence[Band]) -> Attributes:
    """Descriptions and units where xarray and rioxarray look for them."""
    found: Attributes = {}
    if any(band.description for band in bands):
        names: list[Json] = [band.description or "" for band in bands]
        found["long_name"] = names[0] if len(names) == 1 else names
    units = {band.unit for band in bands}
    if len(units) == 1 and (unit := units.pop()):
        found["units"] = unit
    return found


def _band(band: Band, statistics: Statistics | None) -> Json:
    """All that is known of one band."""
    found: Attributes = {
        "description": band.description,
        "unit": band.unit,
        "scale": band.scale,
        "offset": band.offset,
        "colour": band.colour,
        "tags": cast("Json", band.tags),
    }
    if statistics and statistics.count:
        found["statistics"] = {
            "STATISTICS_MINIMUM": statistics.minimum,
            "STATISTICS_MAXIMUM": statistics.maximum,
            "STATISTICS_MEAN": statistics.mean,
            "STATISTICS_STDDEV": statistics.deviation,
            "STATISTICS_VALID_PERCENT": 100 * statistics.count / statistics.total,
        }
    return found
