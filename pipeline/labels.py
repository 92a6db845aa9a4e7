"""The labels of an xarray array: what its grid and nodata are, and how a finer array wears them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.coordinates import (
    Reals,
    centres,
    check_dims,
    choose_affine,
    is_rotated,
    parse_gcps,
    parse_geotransform,
    render_gcps,
    render_geotransform,
    zoom_gcps,
)
from pipeline.errors import SourceError
from pipeline.fate import STATISTICS
from pipeline.georef import Affine6, zoom_affine

if TYPE_CHECKING:
    import xarray as xr

NODATA = ("_FillValue", "missing_value", "fill_value", "nodata")
"""Attributes that name nodata, in rioxarray's order."""
STORED = ("chunks", "preferred_chunks", "chunksizes", "shards", "source", "original_shape")
"""Encoding that describes the coarse array's storage."""

DERIVED = ("xc", "yc")
"""Coordinates of each pixel that rioxarray works out of a rotated GeoTransform."""


@dataclass(frozen=True, slots=True)
class Labels:
    """What a plain array of pixels lacks."""

    array: xr.DataArray
    """The coarse array; its values are never touched."""
    mapping: str | None
    """Name of the coordinate that holds the coordinate reference system."""
    affine: Affine6 | None
    """Corner-based transform from pixel to ground."""
    nodata: float | None
    """Value that marks invalid pixels; NaN is invalid with or without it."""

    @property
    def uri(self) -> str:
        """What errors call the array."""
        return str(self.array.name or "array")

    def bands(self, count: int) -> tuple[str | None, ...]:
        """Names of the `count` bands: their coordinate, or what it numbers in long_name.

        A selection leaves the attribute as it was; without a coordinate it must name every band.
        """
        names = self.array.attrs.get("long_name")
        known = [str(name) for name in names] if isinstance(names, list | tuple) else []
        numbers = list(range(1, count + 1)) if len(known) == count else []
        axis = self.array.dims[0]
        if self.array.ndim == 3 and axis in self.array.coords:
            values = self.array.coords[axis].values
            if values.dtype.kind in "UOT":
                return tuple(str(value) for value in values)
            numbers = [int(value) for value in values] if values.dtype.kind in "iu" else []
        fits = numbers and set(numbers) <= set(range(1, len(known) + 1))
        return tuple(known[number - 1] for number in numbers) if fits else (None,) * count

    def dress(self, pixels: xr.Variable, *, scale: int) -> xr.DataArray:
        """Finer pixels with their labels; lazy ones stay so."""
        import xarray as xr

        fine = xr.DataArray(
            pixels.data,
            coords=self._coordinates(scale, pixels.shape[-2], pixels.shape[-1]),
            dims=pixels.dims,
            name=self.array.name,
            attrs=_fine_attributes(self.array.attrs, scale),
        )
        fine.encoding = {k: v for k, v in self.array.encoding.items() if k not in STORED}
        return fine

    def _coordinates(self, scale: int, height: int, width: int) -> dict[str, Any]:
        """Coordinates of the finer grid; those of bands and scalars as they are."""
        axes = self.array.dims[-2:]
        gone = (*axes, *DERIVED, self.mapping)
        kept = {str(n): c for n, c in self.array.coords.items() if n not in gone}
        if self.mapping is not None:
            kept[self.mapping] = self._fine_mapping(scale)
        if self.affine is None or not set(axes) <= set(self.array.coords):
            return kept
        fine = zoom_affine(self.affine, scale=scale)
        # beside a rotated transform coordinates count pixels
        grid = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0) if is_rotated(fine) else fine
        for axis, values in zip(axes, centres(grid, height, width), strict=True):
            kept[str(axis)] = (axis, values, self._axis_attributes(str(axis), scale, grid))
        return kept

    def _axis_attributes(self, axis: str, scale: int, grid: Affine6) -> dict[str, Any]:
        """Of x or y; odc-geo notes the pixel size there."""
        attributes = dict(self.array.coords[axis].attrs)
        if "resolution" in attributes and grid[0] != 1.0:
            attributes["resolution"] = attributes["resolution"] / scale
        return attributes

    def _fine_mapping(self, scale: int) -> Any:
        """The scalar coordinate spatial_ref."""
        old = self.array.coords[self.mapping]
        attributes = dict(old.attrs)
        if "GeoTransform" in attributes and self.affine is not None:
            fine = zoom_affine(self.affine, scale=scale)
            attributes["GeoTransform"] = render_geotransform(fine)
        if "gcps" in attributes:
            gcps = parse_gcps(attributes["gcps"], uri=self.uri)
            attributes["gcps"] = render_gcps(zoom_gcps(gcps, scale=scale))
        return old.copy().assign_attrs(attributes)


def read_labels(array: xr.DataArray) -> Labels:
    """The labels of an array; raises SourceError for those that cannot be carried over."""
    uri = str(array.name or "array")
    check_dims(array.dims, uri=uri)
    axes = array.dims[-2:]
    declared = parse_geotransform(_geotransform(array), uri=uri)
    if declared is not None and set(DERIVED) <= set(array.coords):
        declared = _where_pixels_say(declared, array)
    known = (*axes, *(DERIVED if declared else ()))
    lost = [str(n) for n, c in array.coords.items() if set(c.dims) & set(axes) and n not in known]
    if lost:
        raise SourceError(
            f"has coordinates along its pixels, which a finer grid would need too: "
            f"{', '.join(lost)}; drop_vars() them or resample to a regular grid",
            uri=uri,
        )
    y, x = (_numbers(array, axis, uri) for axis in axes)
    return Labels(array, _mapping(array), choose_affine(declared, y, x, uri=uri), _nodata(array))


def _mapping(array: xr.DataArray) -> str | None:
    """Name of the grid mapping coordinate."""
    named = (array.encoding.get("grid_mapping"), array.attrs.get("grid_mapping"), "spatial_ref")
    return next((str(name) for name in named if name is not None and name in array.coords), None)


def _where_pixels_say(declared: Affine6, array: xr.DataArray) -> Affine6 | None:
    """A rotated transform moved to the coordinates of the pixels, which a cut changes and the
    attribute does not follow; None where they are not those of such a grid."""
    x, y = (array.coords[name].values for name in DERIVED)
    if x.shape != array.shape[-2:] or x.shape != y.shape or not x.size:
        return None
    a, b, _, d, e, _ = declared
    moved = (a, b, x[0, 0] - (a + b) / 2, d, e, y[0, 0] - (d + e) / 2)
    rows, columns = (np.arange(side) + 0.5 for side in x.shape)
    here = (p * columns[None] + q * rows[:, None] + r for p, q, r in (moved[:3], moved[3:]))
    pixel = max(abs(a) + abs(b), abs(d) + abs(e))
    same = all(
        np.allclose(u, v, rtol=0, atol=1e-3 * pixel) for u, v in zip(here, (x, y), strict=True)
    )
    return moved if same else None


def _geotransform(array: xr.DataArray) -> object:
    """The attribute GeoTransform of the grid mapping; None where there is none."""
    mapping = _mapping(array)
    return None if mapping is None else array.coords[mapping].attrs.get("GeoTransform")


def _numbers(array: xr.DataArray, axis: Any, uri: str) -> Reals | None:
    """Values of a coordinate; None where there is none."""
    if axis not in array.coords:
        return None
    values = array.coords[axis].values
    if values.dtype.kind not in "iuf":
        raise SourceError(f"has {axis} coordinates that are not numbers ({values.dtype})", uri=uri)
    return values.astype(np.float64)  # type: ignore[no-any-return] # xarray's values are Any


def _nodata(array: xr.DataArray) -> float | None:
    """The value that is still there: xarray turned an encoded one of a float array to NaN."""
    encoded = array.encoding.get("_FillValue")
    if encoded is not None:
        return None if array.dtype.kind == "f" else float(encoded)
    found = next((array.attrs[name] for name in NODATA if array.attrs.get(name) is not None), None)
    return None if found is None else float(found)


def _fine_attributes(attributes: Mapping[Any, Any], scale: int) -> dict[Any, Any]:
    """Attributes less what described the coarse pixels, with what describes the grid refined."""
    fine = {k: v for k, v in attributes.items() if not STATISTICS.match(str(k))}
    for name in ("transform", "spatial:transform"):
        if name in fine:
            a, b, c, d, e, f = tuple(fine[name])[:6]
            fine[name] = list(zoom_affine((a, b, c, d, e, f), scale=scale))
    if "spatial:shape" in fine:
        fine["spatial:shape"] = [size * scale for size in fine["spatial:shape"]]
    if isinstance(fine.get("bands"), list):
        fine["bands"] = [
            {k: v for k, v in one.items() if k != "statistics"} for one in fine["bands"]
        ]
    return fine
