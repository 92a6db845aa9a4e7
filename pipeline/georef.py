"""Where pixels lie on the ground, and how that changes on a finer grid.

Affine transforms and ground control points (GCPs) are corner-based: (0, 0) is the outer corner of
the first pixel, as in GDAL's model. So pixel coordinates are simply multiplied by the scale and all
outer corners stay where they were. RPCs are centre-based: (0, 0) is the centre of the first pixel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

ZOOMED_RPCS = ("LINE_OFF", "SAMP_OFF", "LINE_SCALE", "SAMP_SCALE")
"""RPCs that a finer grid changes."""
Affine6 = tuple[float, float, float, float, float, float]
"""(a, b, c, d, e, f): x = a * column + b * row + c, y = d * column + e * row + f."""


@dataclass(frozen=True, slots=True)
class Gcp:
    """A ground control point."""

    row: float
    """Corner-based row."""
    column: float
    """Corner-based column."""
    x: float
    """Easting or longitude, in the units of `Georef.gcps_crs`."""
    y: float
    """Northing or latitude."""
    z: float
    """Height."""
    id: str = ""
    """Identifier."""
    info: str = ""
    """Free text."""


@dataclass(frozen=True, slots=True)
class Georef:
    """All that ties a raster to the ground; each part may be absent."""

    crs: str | None = None
    """WKT of the coordinate reference system of `affine`."""
    affine: Affine6 | None = None
    """Corner-based transform from pixel to ground; None where the file has none."""
    gcps: tuple[Gcp, ...] = ()
    """Ground control points."""
    gcps_crs: str | None = None
    """WKT of the coordinate reference system of the GCPs."""
    rpcs: dict[str, str] = field(default_factory=dict)
    """Rational polynomial coefficients under the names of GDAL's RPC metadata domain."""
    point: bool = False
    """AREA_OR_POINT=Point: values belong to pixel centres. Says nothing about `affine`."""

    def zoom(self, scale: int) -> Georef:
        """The same ground on a grid `scale` times finer."""
        return replace(
            self,
            affine=None if self.affine is None else zoom_affine(self.affine, scale=scale),
            gcps=tuple(replace(g, row=g.row * scale, column=g.column * scale) for g in self.gcps),
            rpcs=zoom_rpcs(self.rpcs, scale=scale),
        )

    def corners(self, height: int, width: int) -> tuple[tuple[float, float], ...] | None:
        """Ground (x, y) of the four outer corners: upper left, upper right, lower right, left."""
        if self.affine is None:
            return None
        a, b, c, d, e, f = self.affine
        pixels = ((0, 0), (0, width), (height, width), (height, 0))
        return tuple((a * x + b * y + c, d * x + e * y + f) for y, x in pixels)


def zoom_affine(affine: Affine6, *, scale: int) -> Affine6:
    """The transform of pixels `scale` times smaller with the same outer corners."""
    a, b, c, d, e, f = affine
    return (a / scale, b / scale, c, d / scale, e / scale, f)


def zoom_rpcs(rpcs: dict[str, str], *, scale: int) -> dict[str, str]:
    """RPCs of the finer image: the polynomials stay, the image's offset and scale change.

    LINE_OFF and SAMP_OFF count from the centre of the first pixel (NGA STDI-0002, RPC00B), so they
    become (offset + 1/2) * scale - 1/2; LINE_SCALE and SAMP_SCALE are lengths.
    """
    zoomed = dict(rpcs)
    for name in ("LINE_OFF", "SAMP_OFF"):
        if name in rpcs:
            zoomed[name] = repr((_number(rpcs[name]) + 0.5) * scale - 0.5)
    for name in ("LINE_SCALE", "SAMP_SCALE"):
        if name in rpcs:
            zoomed[name] = repr(_number(rpcs[name]) * scale)
    return zoomed


def _number(text: str) -> float:
    """First number of an RPC value, which may carry a unit ('+003965.0 pixels')."""
    return float(text.split(maxsplit=1)[0])


def maps_somewhere(affine: Affine6) -> bool:
    """Whether all numbers are finite and pixels have an area."""
    a, b, _, d, e, _ = affine
    return all(math.isfinite(number) for number in affine) and a * e != b * d


def unusable_rpc(rpcs: dict[str, str]) -> str | None:
    """Name of an RPC that a finer grid changes but that is no number; None if all are."""
    for name in ZOOMED_RPCS:
        try:
            usable = math.isfinite(_number(rpcs.get(name, "0")))
        except (ValueError, IndexError):
            usable = False
        if not usable:
            return name
    return None
