"""GeoZarr and OME-NGFF: where an image lies and how its pyramid is built, for readers of each.

Sources: github.com/zarr-conventions (spatial, multiscales), github.com/zarr-experimental/geo-proj,
ngff.openmicroscopy.org/0.5.
"""

from __future__ import annotations

from pipeline.georef import Affine6, Georef
from pipeline.plan import Plan
from pipeline.serial import Json
from pipeline.sinks.zarr_layout import array_path

Attributes = dict[str, Json]


def level_affine(plan: Plan, level: int) -> Affine6 | None:
    """The transform of a level: its upper left corner stays, its pixels double each time."""
    affine = plan.fine.georef.affine
    if affine is None:
        return None
    a, b, c, d, e, f = affine
    by = 2**level
    return (a * by, b * by, c, d * by, e * by, f)


def level_crs(plan: Plan) -> str | None:
    """WKT of the one coordinate reference system of a store."""
    return plan.fine.georef.crs or plan.fine.georef.gcps_crs


def place(plan: Plan, level: int, *, pyramid: bool) -> Attributes:
    """GeoZarr's account of where a level lies."""
    found: Attributes = {}
    crs, affine = level_crs(plan), level_affine(plan, level)
    if crs:
        found["proj:wkt2"] = crs
    if affine:
        found |= {"spatial:dimensions": ["y", "x"], "spatial:registration": "pixel"}
        found |= _extent(plan, level, affine)
    used = [n for n, on in (("proj:", crs), ("spatial", affine), ("multiscales", pyramid)) if on]
    if used:
        found["zarr_conventions"] = [_convention(name) for name in used]
    return found


def multiscales(plan: Plan) -> Attributes:
    """The pyramid, by the paths of its arrays; empty if there is one level only."""
    if len(plan.levels) == 1:
        return {}
    layout: list[Json] = []
    for level in range(len(plan.levels)):
        factor = 2.0 if level else 1.0
        entry: Attributes = {"asset": array_path(level, "image")}
        if level:
            entry["derived_from"] = array_path(level - 1, "image")
        entry["transform"] = {"scale": [factor, factor], "translation": [0.0, 0.0]}
        if affine := level_affine(plan, level):
            extent = _extent(plan, level, affine)
            entry |= {name: extent[name] for name in ("spatial:transform", "spatial:shape")}
        layout.append(entry)
    return {"layout": layout, "resampling_method": plan.method}


def ome(plan: Plan) -> Attributes:
    """OME-NGFF 0.5: centre-based, in pixels of full resolution."""
    axes: list[Json] = [{"name": "band", "type": "channel"}]
    axes += [{"name": name, "type": "space"} for name in ("y", "x")]
    datasets: list[Json] = []
    for level in range(len(plan.levels)):
        by, shift = float(2**level), (2**level - 1) / 2
        transforms: list[Json] = [{"type": "scale", "scale": [1.0, by, by]}]
        transforms.append({"type": "translation", "translation": [0.0, shift, shift]})
        path = array_path(level, "image")
        datasets.append({"path": path, "coordinateTransformations": transforms})
    return {
        "version": "0.5",
        "multiscales": [{"name": "image", "axes": axes, "datasets": datasets}],
    }


def _extent(plan: Plan, level: int, affine: Affine6) -> Attributes:
    corners = Georef(affine=affine).corners(*plan.levels[level]) or ()
    x, y = [c[0] for c in corners], [c[1] for c in corners]
    return {
        "spatial:transform": list(affine),
        "spatial:shape": list(plan.levels[level]),
        "spatial:bbox": [min(x), min(y), max(x), max(y)],
    }


def _convention(name: str) -> Json:
    """The entry by which zarr-conventions announces one of its members."""
    project, uuid, description = {
        "proj:": (
            "zarr-experimental/geo-proj",
            "f17cb550-5864-4468-aeb7-f3180cfb622f",
            "Coordinate reference system information for geospatial data",
        ),
        "spatial": (
            "zarr-conventions/spatial",
            "689b58e2-cf7b-45e0-9fff-9cfc0883d6b4",
            "Spatial coordinate information",
        ),
        "multiscales": (
            "zarr-conventions/multiscales",
            "d35379db-88df-4056-af3a-620245f8e347",
            "Multiscale layout of zarr datasets",
        ),
    }[name]
    return {
        "schema_url": f"https://raw.githubusercontent.com/{project}/refs/tags/v1/schema.json",
        "spec_url": f"https://github.com/{project}/blob/v1/README.md",
        "uuid": uuid,
        "name": name,
        "description": description,
    }
