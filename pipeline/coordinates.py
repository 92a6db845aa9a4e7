"""Where the pixels of a labelled array lie: GeoTransform, 1-D coordinates, GCPs.

Pure functions on attributes and coordinate values, shared by all that reads or writes xarray's kind
of georeferencing. Coordinates are those of pixel centres, transforms are corner-based.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import SourceError
from pipeline.georef import Affine6, Gcp, Georef, maps_somewhere

Reals = NDArray[np.float64]
"""Coordinates along one axis."""

IRREGULAR = 1e-6
"""Most that a coordinate may be off a regular grid, in pixels."""
STALE = 0.1
"""A declared transform that is farther off the coordinates belonged to another cut; in pixels."""

Y_NAMES = ("y", "lat", "latitude", "northing", "row", "rows")
"""Names of the axis of rows."""
X_NAMES = ("x", "lon", "longitude", "easting", "column", "columns", "col")
"""Names of the axis of columns."""
BAND_NAMES = ("band", "bands", "c", "channel", "channels", "wavelength", "wavelengths", "variable")
"""Names of the axis of bands."""


def check_dims(names: Sequence[object], *, uri: str) -> None:
    """Raise SourceError unless the axes are (band, y, x) or (y, x)."""
    wanted = (BAND_NAMES, Y_NAMES, X_NAMES)[-len(names) :]
    if len(names) in (2, 3) and all(
        str(name).lower() in known for name, known in zip(names, wanted, strict=True)
    ):
        return
    raise SourceError(
        f"has the dimensions ({', '.join(str(name) for name in names)}); select and transpose them "
        "to (band, y, x) or (y, x)",
        uri=uri,
    )


def centres(affine: Affine6, height: int, width: int) -> tuple[Reals, Reals]:
    """(y, x) of pixel centres on a grid that is not rotated."""
    a, _, c, _, e, f = affine
    rows, columns = np.arange(height, dtype=np.float64), np.arange(width, dtype=np.float64)
    return np.asarray((rows + 0.5) * e + f), np.asarray((columns + 0.5) * a + c)


def is_rotated(affine: Affine6) -> bool:
    """Whether rows and columns are not parallel to the axes: then no 1-D coordinates exist."""
    return bool(affine[1] or affine[3])


def choose_affine(
    declared: Affine6 | None, y: Reals | None, x: Reals | None, *, uri: str
) -> Affine6 | None:
    """The transform of an array from its GeoTransform and its coordinates, either may be absent.

    A GeoTransform is exact, coordinates are true even where an array was cut: it is believed if
    they agree. Beside a rotated one coordinates count pixels of its grid, as odc-geo writes them.
    Raises SourceError if coordinates are unevenly spaced.
    """
    if y is None or x is None or not len(y) or not len(x):
        return declared
    if declared is not None and is_rotated(declared):
        return _compose(declared, _from_centres(y, x, (1.0, 1.0), uri))
    if declared is not None and _agree(declared, y, x):
        return declared
    steps = None if declared is None else (declared[4], declared[0])
    return _from_centres(y, x, steps, uri)


def _agree(affine: Affine6, y: Reals, x: Reals) -> bool:
    """Whether coordinates are those of the transform, as exactly as float32 can be expected to."""
    pairs = zip(centres(affine, len(y), len(x)), (y, x), (affine[4], affine[0]), strict=True)
    return all(bool((np.abs(want - have) <= STALE * abs(step)).all()) for want, have, step in pairs)


def _from_centres(y: Reals, x: Reals, steps: tuple[float, float] | None, uri: str) -> Affine6:
    """The transform of evenly spaced coordinates; `steps` (y, x) for axes of one pixel."""
    steps = steps or (0.0, 0.0)
    e, f = _axis("y", y, steps[0], uri)
    a, c = _axis("x", x, steps[1], uri)
    return (a, 0.0, c, 0.0, e, f)


def _axis(name: str, values: Reals, step: float, uri: str) -> tuple[float, float]:
    """(step, outer corner of the first pixel) along one axis."""
    if len(values) > 1:
        step = float(values[-1] - values[0]) / (len(values) - 1)
    if not step or not np.isfinite(step):
        raise SourceError(
            f"tells no pixel size along {name}: its coordinates are one value and it has no "
            "GeoTransform; write one (rio.write_transform)",
            uri=uri,
        )
    # what the type of the values cannot tell apart is no irregularity
    grain = float(np.spacing(np.abs(values).max())) / abs(step)
    off = float(np.abs((values - values[0]) / step - np.arange(len(values))).max())
    if not off <= IRREGULAR + 2 * grain:
        raise SourceError(
            f"has unevenly spaced {name} coordinates (off by {off:.2g} pixels, limit {IRREGULAR:g})"
            "; resample it to a regular grid, or write a GeoTransform if they were rounded",
            uri=uri,
        )
    return step, float(values[0]) - step / 2


def _compose(outer: Affine6, inner: Affine6) -> Affine6:
    """outer after inner, for an inner one that is not rotated."""
    a, b, c, d, e, f = outer
    scale_x, _, shift_x, _, scale_y, shift_y = inner
    return (
        *(a * scale_x, b * scale_y, a * shift_x + b * shift_y + c),
        *(d * scale_x, e * scale_y, d * shift_x + e * shift_y + f),
    )


def parse_geotransform(text: object, *, uri: str) -> Affine6 | None:
    """A transform from six numbers in GDAL's order, in a string or a list; None if absent."""
    if text is None:
        return None
    parts = text.split() if isinstance(text, str) else text
    try:
        c, a, b, f, d, e = (float(part) for part in cast("Sequence[str]", parts))
    except (TypeError, ValueError) as error:
        raise SourceError(f"has a GeoTransform that is not six numbers: {text}", uri=uri) from error
    return check_affine((a, b, c, d, e, f), uri=uri)


def check_affine(affine: Affine6, *, uri: str) -> Affine6:
    """The same transform; raises SourceError if it is not finite or pixels have no area."""
    if not maps_somewhere(affine):
        raise SourceError(
            f"has a transform {affine} that maps pixels to nowhere; mend or remove it", uri=uri
        )
    return affine


def render_geotransform(affine: Affine6) -> str:
    """Six numbers in GDAL's order; read back they are the same to the last bit."""
    a, b, c, d, e, f = affine
    return " ".join(repr(float(number)) for number in (c, a, b, f, d, e))


def parse_gcps(text: object, *, uri: str) -> tuple[Gcp, ...]:
    """Ground control points from GeoJSON, as rioxarray and odc-geo keep them."""
    if text is None:
        return ()
    try:
        data = json.loads(text) if isinstance(text, str) else text
        return tuple(_gcp(feature) for feature in cast("dict[str, list[object]]", data)["features"])
    except (KeyError, TypeError, ValueError) as error:
        raise SourceError(f"has malformed ground control points ({error})", uri=uri) from error


def _gcp(feature: object) -> Gcp:
    item = cast("Mapping[str, Mapping[str, object]]", feature)
    point, more = item["geometry"]["coordinates"], item["properties"]
    x, y, *z = (float(number) for number in cast("list[float]", point))
    row, column = (float(cast("float", more[name])) for name in ("row", "col"))
    names = (str(more.get(name) or "") for name in ("id", "info"))
    numbers = (row, column, x, y, *z)
    if not all(math.isfinite(number) for number in numbers):
        raise ValueError(f"one is at {numbers}")
    return Gcp(row, column, x, y, z[0] if z else 0.0, *names)


def render_gcps(gcps: Sequence[Gcp]) -> str:
    """The same as a GeoJSON feature collection."""
    features = [
        {
            "type": "Feature",
            "properties": {"id": g.id, "info": g.info, "row": g.row, "col": g.column},
            "geometry": {"type": "Point", "coordinates": [g.x, g.y, g.z]},
        }
        for g in gcps
    ]
    return json.dumps({"type": "FeatureCollection", "features": features})


def zoom_gcps(gcps: Sequence[Gcp], *, scale: int) -> tuple[Gcp, ...]:
    """The same ground on a grid `scale` times finer."""
    return Georef(gcps=tuple(gcps)).zoom(scale).gcps
