"""Band files of one grid as one raster: a VRT that the ordinary source reads.

    B02.jp2 --+
    B03.jp2 --+--> r10m.vrt    names, nodata, scale, offset and colours; blocks as in the files
    B04.jp2 --+

Pixels stay where they are; bands that would have to be resampled are refused.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from pipeline.georef import Georef
from pipeline.profile import Profile
from pipeline.scenes.headers import read_header
from pipeline.scenes.scene import BandFacts, SceneError

TYPES = {
    **{"uint8": "Byte", "int8": "Int8", "uint16": "UInt16", "int16": "Int16"},
    **{"uint32": "UInt32", "int32": "Int32", "float32": "Float32", "float64": "Float64"},
}
"""GDAL's names of the data types that can be upscaled."""
NEAR = 1e-6
"""Parts of a pixel by which grids may differ and are one still."""


@dataclass(frozen=True, slots=True)
class StackBand:
    """A band of a file that becomes one of the stack."""

    uri: str
    """Absolute path of the file."""
    facts: BandFacts
    """Its name, scale, offset and unit."""
    number: int = 1
    """1-based number of the band in the file."""
    colour: str = "undefined"
    """Colour interpretation, by rasterio's names."""
    tags: dict[str, str] = field(default_factory=dict)
    """Metadata of the band."""


def write_stack(
    path: Path,
    bands: Sequence[StackBand],
    *,
    nodata: float | None,
    georef: Georef | None = None,
) -> None:
    """Write a VRT over bands of one grid and data type; raises SceneError where they are not.

    What files say of nodata, scale and offset must not contradict what is given; `nodata` None: as
    the files say. `georef` places files that do not say where they lie. The same bands give the
    same file, with the time of the youngest of them.
    """
    headers = {band.uri: read_header(Path(band.uri)) for band in bands}
    first = headers[bands[0].uri]
    for band in bands:
        _check_band(band, headers[band.uri])
        _check_values(band, headers[band.uri], nodata)
        _check_grid(bands[0], first, band, headers[band.uri], any_nodata=nodata is not None)
    nodata = first.nodata if nodata is None else nodata
    placed = first.georef if first.georef.affine or georef is None else georef
    root = _dataset(first, placed)
    for number, band in enumerate(bands, start=1):
        root.append(_band(number, band, headers[band.uri], nodata))
    indent(root)
    _put(path, tostring(root), max(header.identity.mtime_ns for header in headers.values()))


def _check_band(band: StackBand, header: Profile) -> None:
    """Raise SceneError for what a stack cannot carry."""
    if not 1 <= band.number <= len(header.bands):
        raise SceneError(
            f"has {len(header.bands)} bands, {band.facts.name} should be number {band.number}",
            uri=band.uri,
            reason="incomplete",
        )
    lost = {
        "a mask": header.mask,
        "an alpha band": header.alpha is not None,
        "ground control points": bool(header.georef.gcps),
        "RPCs": bool(header.georef.rpcs),
    }
    found = [name for name, there in lost.items() if there]
    if found:
        raise SceneError(
            f"has {' and '.join(found)}, which a stack of bands would lose; give it as a plain "
            "image of its own",
            uri=band.uri,
            reason="unsupported",
        )


def _check_values(band: StackBand, header: Profile, nodata: float | None) -> None:
    """Raise SceneError where a file says otherwise of its values than the scene's metadata."""
    own, facts = header.bands[band.number - 1], band.facts
    pairs: list[tuple[str, float, float]] = []
    if (own.scale, own.offset) != (1.0, 0.0):
        pairs = [("scale", own.scale, facts.scale), ("offset", own.offset, facts.offset)]
    if nodata is not None and header.nodata is not None and not _same(nodata, header.nodata):
        pairs.append(("nodata", header.nodata, nodata))
    for what, theirs, ours in pairs:
        if theirs != ours:
            raise SceneError(
                f"has {what} {theirs:.9g} in its header, {ours:.9g} in the metadata of the scene: "
                "mend the one that is wrong",
                uri=band.uri,
            )


def _same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))


def _check_grid(
    one: StackBand, first: Profile, other: StackBand, header: Profile, *, any_nodata: bool
) -> None:
    """Raise SceneError unless two bands have one grid, data type and nodata value."""
    pairs = {
        "size": (f"{first.width} x {first.height}", f"{header.width} x {header.height}"),
        "data type": (first.dtype, header.dtype),
    }
    if not any_nodata:
        pairs["nodata value"] = (str(first.nodata), str(header.nodata))
    if not _same_ground(first.georef, header.georef):
        pairs["grid"] = (_where(first.georef), _where(header.georef))
    for what, (ours, theirs) in pairs.items():
        if ours != theirs:
            raise SceneError(
                f"has another {what} than {one.facts.name}: {other.facts.name} {theirs}, "
                f"{one.facts.name} {ours}",
                uri=other.uri,
                reason="incomplete",
            )


def _same_ground(one: Georef, other: Georef) -> bool:
    if one.affine is None or other.affine is None:
        return one.affine is other.affine and _same_crs(one.crs, other.crs)
    pixel = max(abs(one.affine[0]), abs(one.affine[1]))
    close = all(
        math.isclose(a, b, rel_tol=0, abs_tol=NEAR * pixel)
        for a, b in zip(one.affine, other.affine, strict=True)
    )
    return close and _same_crs(one.crs, other.crs)


def _same_crs(one: str | None, other: str | None) -> bool:
    from rasterio.crs import CRS

    if one == other or one is None or other is None:
        return one == other
    return bool(CRS.from_wkt(one) == CRS.from_wkt(other))


def _where(georef: Georef) -> str:
    name = (georef.crs or "no CRS").split('"')[1:2] or ["no CRS"]
    return f"{georef.affine} in {name[0]}"


def _dataset(header: Profile, georef: Georef) -> Element:
    size = {"rasterXSize": str(header.width), "rasterYSize": str(header.height)}
    root = Element("VRTDataset", size)
    if georef.crs:
        _child(root, "SRS", georef.crs)
    if georef.affine:
        a, b, c, d, e, f = georef.affine
        _child(root, "GeoTransform", ", ".join(repr(float(v)) for v in (c, a, b, f, d, e)))
    if georef.point:
        _metadata(root, {"AREA_OR_POINT": "Point"})
    return root


def _band(number: int, band: StackBand, header: Profile, nodata: float | None) -> Element:
    rows, columns = header.block  # GDAL takes 128 for sides under 32
    kind, facts = TYPES[header.dtype], band.facts
    blocks = {"blockXSize": str(columns), "blockYSize": str(rows)}
    found = Element("VRTRasterBand", {"dataType": kind, "band": str(number), **blocks})
    _metadata(found, band.tags)
    _child(found, "Description", facts.name)
    if nodata is not None:
        _child(found, "NoDataValue", f"{nodata:.17g}")
    if facts.unit:
        _child(found, "UnitType", facts.unit)
    if (facts.scale, facts.offset) != (1.0, 0.0):
        _child(found, "Offset", repr(float(facts.offset)))
        _child(found, "Scale", repr(float(facts.scale)))
    _child(found, "ColorInterp", band.colour.capitalize())
    source = SubElement(found, "SimpleSource")
    _child(source, "SourceFilename", band.uri, relativeToVRT="0")
    _child(source, "SourceBand", str(band.number))
    size = {"RasterXSize": str(header.width), "RasterYSize": str(header.height)}
    SubElement(
        source, "SourceProperties",
        {**size, "DataType": kind, "BlockXSize": str(columns), "BlockYSize": str(rows)},
    )  # fmt: skip
    whole = {"xOff": "0", "yOff": "0", "xSize": str(header.width), "ySize": str(header.height)}
    SubElement(source, "SrcRect", whole)
    SubElement(source, "DstRect", whole)
    return found


def _metadata(parent: Element, tags: dict[str, str]) -> None:
    if tags:
        items = SubElement(parent, "Metadata")
        for key, value in tags.items():
            _child(items, "MDI", value, key=key)


def _child(parent: Element, tag: str, text: str, **attributes: str) -> None:
    SubElement(parent, tag, attributes).text = text


def _put(path: Path, text: bytes, mtime_ns: int) -> None:
    """Put a file in place at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    making = path.with_name(f".{path.name}.{os.getpid()}")
    making.write_bytes(text)
    os.utime(making, ns=(mtime_ns, mtime_ns))
    making.replace(path)
