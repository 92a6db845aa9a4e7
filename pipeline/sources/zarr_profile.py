"""The profile of a Zarr image, from its attributes."""

from __future__ import annotations

import base64
import json
import math
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.errors import CRSError

from pipeline.coordinates import (
    check_affine,
    check_dims,
    choose_affine,
    parse_gcps,
    parse_geotransform,
)
from pipeline.errors import SourceError
from pipeline.georef import Affine6, Georef, unusable_rpc
from pipeline.options import SourceOptions
from pipeline.profile import Band, Identity, Profile
from pipeline.radiometry import SUPPORTED
from pipeline.sources.safety import MAX_BLOCK_BYTES
from pipeline.sources.semantics import band_role
from pipeline.sources.zarr_image import Image

UNDERSTOOD = (
    *("grid_mapping", "coordinates", "ancillary_variables", "scale_factor", "add_offset", "scales"),
    *("offsets", "long_name", "units", "missing_value", "nodata", "nodata_declared", "bands"),
    *("tags", "rpcs", "gcps_crs", "colormap", "multiscales", "ome", "zarr_conventions"),
    *("software", "processing", "plan_sha256", "Conventions"),
)
"""Attributes that have a field of their own, or that describe the store."""


def describe(image: Image, options: SourceOptions, *, uri: str, identity: Identity) -> Profile:
    """The facts of an image; raises SourceError for what cannot be super-resolved."""
    check_dims(image.dims, uri=uri)
    _check_size(image, options, uri)
    array, dtype = image.array, np.dtype(image.array.dtype)
    tags = _tags(image)
    bands = _bands(image, options, uri)
    return Profile(
        uri=uri,
        driver="Zarr",
        height=array.shape[-2],
        width=array.shape[-1],
        dtype=_dtype(dtype, uri),
        bands=bands,
        identity=identity,
        georef=_georef(image, tags, uri),
        nodata=_nodata(image) if options.nodata is None else options.nodata,
        mask=image.mask is not None,
        saturated=float(np.iinfo(dtype).max) if dtype.kind in "iu" and dtype.itemsize > 1 else None,
        tags=tags,
        colormap=_colormap(image),
        block=(array.chunks[-2], array.chunks[-1]),
        files=(str(Path(uri).absolute()),),
    )


def _dtype(dtype: np.dtype[Any], uri: str) -> str:
    if dtype.name not in SUPPORTED:
        raise SourceError(
            f"holds {dtype.name} values, which are not supported; convert it to one of "
            f"{', '.join(SUPPORTED)}",
            uri=uri,
        )
    return dtype.name


def _check_size(image: Image, options: SourceOptions, uri: str) -> None:
    """Refuse metadata that claims nothing, or too much."""
    *_, height, width = image.array.shape
    if not math.prod(image.array.shape):
        raise SourceError(f"has no pixels: its shape is {image.array.shape}", uri=uri)
    if height * width > options.max_pixels:
        raise SourceError(
            f"claims {width} x {height} pixels, more than source.max_pixels = {options.max_pixels}",
            uri=uri,
        )
    block = math.prod(image.array.chunks) * np.dtype(image.array.dtype).itemsize
    if block > MAX_BLOCK_BYTES:
        raise SourceError(
            f"is stored in chunks of {image.array.chunks} ({block / 2**20:.0f} MiB each, limit "
            f"{MAX_BLOCK_BYTES / 2**20:.0f} MiB); rewrite it with smaller ones",
            uri=uri,
        )


def _bands(image: Image, options: SourceOptions, uri: str) -> tuple[Band, ...]:
    count = image.array.shape[0] if image.array.ndim == 3 else 1
    numbers = options.bands or tuple(range(1, count + 1))
    wrong = [n for n in numbers if not 1 <= n <= count]
    if wrong:
        raise SourceError(
            f"has bands 1 to {count}; there is no band {wrong[0]} (see --bands)", uri=uri
        )
    facts = _facts(image, count)
    return tuple(_band(n, facts[n - 1], options, uri) for n in numbers)


def _facts(image: Image, count: int) -> list[Mapping[str, object]]:
    """What is known of every band: this package's list, or CF's attributes and labels."""
    attributes = image.attributes
    ours = attributes.get("bands")
    if isinstance(ours, list) and len(ours) == count:
        return cast("list[Mapping[str, object]]", ours)
    names = _per_band(attributes.get("long_name"), count) or list(image.labels())
    columns = {
        "description": names or [None] * count,
        "unit": _per_band(attributes.get("units"), count, same=True) or [None] * count,
        "scale": _per_band(
            attributes.get("scales", attributes.get("scale_factor", 1.0)), count, same=True
        ),
        "offset": _per_band(
            attributes.get("offsets", attributes.get("add_offset", 0.0)), count, same=True
        ),
    }
    return [{name: values[i] for name, values in columns.items()} for i in range(count)]


def _per_band(value: object, count: int, *, same: bool = False) -> list[object]:
    """One value per band from a list of them, or from one that holds for all."""
    if isinstance(value, list) and len(value) == count:
        return value
    if value is None or isinstance(value, list) or not (same or count == 1):
        return []
    return [value] * count


def _band(number: int, facts: Mapping[str, object], options: SourceOptions, uri: str) -> Band:
    description, colour = facts.get("description"), _colour(facts.get("colour"))
    tags = cast("Mapping[str, object]", facts.get("tags") or {})
    return Band(
        number=number,
        description=str(description) if description else None,
        unit=str(facts["unit"]) if facts.get("unit") else None,
        scale=float(cast("float", facts.get("scale", 1.0))),
        offset=float(cast("float", facts.get("offset", 0.0))),
        colour=colour,
        role=band_role(
            uri,
            description=str(description) if description else None,
            alpha=colour == "alpha",
            palette=colour == "palette",
            bits=None,
            options=options,
        ),
        tags={str(key): str(value) for key, value in tags.items()},
    )


def _colour(stated: object) -> str:
    """The name of a colour interpretation that GDAL knows."""
    known = isinstance(stated, str) and stated in ColorInterp.__members__
    return str(stated) if known else ColorInterp.undefined.name


def _georef(image: Image, tags: Mapping[str, Mapping[str, str]], uri: str) -> Georef:
    mapping, attributes = image.mapping, image.attributes
    gcps = parse_gcps(mapping.get("gcps"), uri=uri)
    affine = None if gcps else _affine(image, uri)
    if affine is None and not gcps and (grids := image.grids()):
        raise SourceError(
            f"is located by geolocation arrays ({', '.join(grids)}), which a finer grid would need "
            "too; resample it to a regular grid first",
            uri=uri,
        )
    crs, named = _crs(image, uri), attributes.get("gcps_crs")
    return Georef(
        crs=None if gcps and named in (None, mapping.get("crs_wkt")) else crs,
        affine=affine,
        gcps=gcps,
        gcps_crs=(_wkt(named, uri) if named else crs) if gcps else None,
        rpcs=_rpcs(attributes.get("rpcs"), uri),
        point=tags.get("", {}).get("AREA_OR_POINT", "").upper() == "POINT",
    )


def _rpcs(stated: object, uri: str) -> dict[str, str]:
    """The RPCs; raises SourceError where those that a finer grid changes are no numbers."""
    rpcs = cast("Mapping[str, object]", stated or {})
    found = {str(key): str(value) for key, value in rpcs.items()}
    wrong = unusable_rpc(found)
    if wrong:
        raise SourceError(f"has RPCs whose {wrong} is {found[wrong]!r}", uri=uri)
    return found


def _affine(image: Image, uri: str) -> Affine6 | None:
    declared = parse_geotransform(image.mapping.get("GeoTransform"), uri=uri)
    if declared is None:
        stated = image.attributes.get("spatial:transform") or image.surroundings.get(
            "spatial:transform"
        )
        if stated is not None:
            a, b, c, d, e, f = (float(number) for number in cast("Sequence[float]", stated))
            declared = check_affine((a, b, c, d, e, f), uri=uri)
    return choose_affine(declared, image.coordinate(-2), image.coordinate(-1), uri=uri)


def _crs(image: Image, uri: str) -> str | None:
    """WKT of the coordinate reference system, by CF, GDAL or GeoZarr; None for none."""
    mapping, attributes = image.mapping, {**image.surroundings, **image.attributes}
    gdal = cast("Mapping[str, object]", attributes.get("_CRS") or {})
    stated = (
        *(mapping.get("crs_wkt"), mapping.get("spatial_ref"), gdal.get("wkt"), gdal.get("url")),
        *(attributes.get("proj:wkt2"), attributes.get("proj:code")),
        *(attributes.get("proj:projjson"), gdal.get("projjson")),
    )
    found = next((one for one in stated if one), None)
    if found is None and mapping.get("grid_mapping_name"):
        found = _from_cf(mapping, uri)
    return None if found is None else _wkt(found, uri)


def _from_cf(mapping: Mapping[str, object], uri: str) -> str:
    """A coordinate reference system that is spelled out in CF's parameters only."""
    import pyproj
    from pyproj.exceptions import CRSError as Misunderstood

    try:
        return pyproj.CRS.from_cf(dict(mapping)).to_wkt()
    except (Misunderstood, KeyError) as error:
        raise SourceError(
            f"has a grid mapping that is not understood ({error})", uri=uri
        ) from error


def _wkt(stated: object, uri: str) -> str:
    try:
        text = stated if isinstance(stated, str) else json.dumps(stated)
        return str(CRS.from_user_input(text).to_wkt(version="WKT2_2019"))
    except CRSError as error:
        raise SourceError(
            f"has a coordinate reference system that is not understood ({error})", uri=uri
        ) from error


def _nodata(image: Image) -> float | None:
    """`_FillValue` and its kin; the fill_value of a v2 array where xarray would take it so."""
    attributes = image.attributes
    for name in ("_FillValue", "missing_value", "nodata_declared", "nodata"):
        if attributes.get(name) is not None:
            return _number(attributes[name])
    if image.array.metadata.zarr_format == 2 and "_ARRAY_DIMENSIONS" in attributes:
        fill = image.array.fill_value
        return None if fill is None else float(cast("Any", fill))
    return None


def _number(value: object) -> float:
    """A number, also one that xarray encoded (base64 of a little-endian double)."""
    try:
        return float(cast("Any", value))
    except ValueError:
        (number,) = struct.unpack("<d", base64.standard_b64decode(cast("str", value)))
        return float(number)


def _tags(image: Image) -> dict[str, dict[str, str]]:
    """This package's tags by domain, or all plain attributes that have no other place."""
    ours = image.attributes.get("tags")
    if isinstance(ours, dict):
        return {str(d): {str(k): str(v) for k, v in t.items()} for d, t in ours.items() if t}
    plain = {
        key: str(value)
        for key, value in {**image.surroundings, **image.attributes}.items()
        if isinstance(value, str | int | float)
        and key not in UNDERSTOOD
        and not key.startswith(("_", "proj:", "spatial:"))
    }
    return {"": plain} if plain else {}


def _colormap(image: Image) -> dict[int, tuple[int, int, int, int]] | None:
    table = cast("Mapping[str, Sequence[int]] | None", image.attributes.get("colormap"))
    if not table:
        return None
    entries = {int(key): [int(part) for part in rgba] for key, rgba in table.items()}
    return {key: (r, g, b, a) for key, (r, g, b, a) in entries.items()}
