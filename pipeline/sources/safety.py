"""What may be opened at all: local regular files, and VRTs over such files only."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from pipeline.errors import SourceError
from pipeline.options import SourceOptions

MAX_BLOCK_BYTES = 512 * 2**20
"""Largest block that is decoded for one window; a bigger one would not leave memory for work."""
MAX_VRT_BYTES = 64 * 2**20
"""Largest VRT that is parsed."""
MAX_VRT_DEPTH = 4
"""VRTs over VRTs."""
OURS = ("Zarr", "DICOM", "OME-Zarr")
"""Names in `source.drivers` of readers that are no drivers of GDAL, whatever it calls its own."""

VRT_FILES = ("SourceFilename", "SourceDataset")
"""Elements of a VRT that name other files."""
VRT_OPAQUE = ("Metadata", "GDALRasterAttributeTable", "Histograms", "CategoryNames", "ColorTable")
"""Elements whose contents GDAL keeps as text or numbers."""
TABLES = {
    "CategoryNames": "category names",
    "GDALRasterAttributeTable": "raster attribute table",
}
"""Elements that describe values, by what people call them."""
VRT_ELEMENTS = (
    *("VRTDataset", "SRS", "GeoTransform", "GCPList", "GCP", "OverviewList", "MaskBand"),
    *("VRTRasterBand", "Description", "UnitType", "Offset", "Scale", "ColorInterp"),
    *("NoDataValue", "HideNoDataValue", "Overview", "SourceBand", "SimpleSource"),
    *("ComplexSource", "AveragedSource", "KernelFilteredSource", "SourceProperties"),
    *("SrcRect", "DstRect", "Kernel", "Size", "Coefs", "ScaleOffset", "ScaleRatio"),
    *("Exponent", "SrcMin", "SrcMax", "DstMin", "DstMax", "LUT", "NODATA"),
    *("ColorTableComponent", "UseMaskBand", "GDALWarpOptions", "WarpMemoryLimit"),
    *("ResampleAlg", "WorkingDataType", "Option", "Transformer", "ApproxTransformer"),
    *("MaxError", "BaseTransformer", "GenImgProjTransformer", "SrcGeoTransform"),
    *("SrcInvGeoTransform", "DstGeoTransform", "DstInvGeoTransform", "ReprojectTransformer"),
    *("ReprojectionTransformer", "SourceSRS", "TargetSRS", "BandList", "BandMapping"),
    *("SrcNoDataReal", "SrcNoDataImag", "DstNoDataReal", "DstNoDataImag"),
    *("InitialDestination", "BlockXSize", "BlockYSize"),
)
"""Elements of mosaics and warps, which read files and compute; anything else is refused: others run
code, read raw bytes, or name files under names of their own."""
VRT_CLASSES = ("", "VRTWarpedDataset", "VRTWarpedRasterBand", "VRTSourcedRasterBand")
"""Values of the attribute subClass that go with them."""


def check_path(uri: str, options: SourceOptions) -> None:
    """Raise SourceError unless `uri` is a readable regular file, or remote ones are allowed."""
    if uri.startswith("/vsi") or "://" in uri:
        if options.remote:
            return
        raise SourceError(
            "is not a local file; allow remote inputs with --set source.remote=true", uri=uri
        )
    try:
        wrong = _what_is_wrong(Path(uri))
    except OSError as error:  # a name too long, a loop of links
        raise SourceError(f"cannot be opened ({error.strerror})", uri=uri) from error
    if wrong:
        raise SourceError(wrong, uri=uri)


def _what_is_wrong(path: Path) -> str | None:
    """Why a path is no readable regular file; raises OSError."""
    if path.is_dir():
        return "is a directory, not an image"
    if not path.exists():
        return "does not exist"
    if not path.is_file():
        return "is not a regular file"
    if path.stat().st_size == 0:
        return "is empty (0 bytes)"
    if not os.access(path, os.R_OK):
        return "may not be read"
    return None


def gdal_drivers(uri: str, options: SourceOptions) -> list[str]:
    """Drivers of GDAL that may open `uri`; raises SourceError for none, which to GDAL means all."""
    drivers = [name for name in options.drivers if name not in OURS]
    if not drivers:
        named = ", ".join(options.drivers) or "none"
        raise SourceError(
            f"may be opened by no driver of GDAL; source.drivers names {named}", uri=uri
        )
    return drivers


def check_vrt(uri: str, options: SourceOptions, *, depth: int = 0) -> None:
    """If `uri` is a VRT, raise SourceError unless all that it refers to may be opened too.

    GDAL would follow any name in it, over the network too, with any driver.
    """
    path = Path(uri)
    if not path.is_file() or not _is_vrt(path):
        return
    if depth > MAX_VRT_DEPTH:
        raise SourceError(f"nests VRTs more than {MAX_VRT_DEPTH} deep", uri=uri)
    for element in _elements(_parse(path)):
        name, kind = element.tag.rpartition("}")[2], _attribute(path, element, "subClass")
        if name not in (*VRT_ELEMENTS, *VRT_FILES) or kind not in VRT_CLASSES:
            raise SourceError(f"uses {kind or name} of VRT, which is not allowed", uri=uri)
        for attribute, _ in element.items():
            if attribute.lower() in {file.lower() for file in VRT_FILES}:
                raise SourceError(f"names a file in an attribute {attribute} of VRT", uri=uri)
        if name in VRT_FILES and element.text:
            _check_reference(path, element, options, depth)


def _elements(element: ElementTree.Element) -> Iterator[ElementTree.Element]:
    """An element and all below it, but for what GDAL does not interpret."""
    yield element
    for child in element:
        if child.tag.rpartition("}")[2] not in VRT_OPAQUE:
            yield from _elements(child)


def _attribute(vrt: Path, element: ElementTree.Element, name: str) -> str:
    """An attribute, whose name GDAL reads in upper and lower case alike; "" if it is not there."""
    found = [value for key, value in element.items() if key.lower() == name.lower()]
    if len(found) > 1:
        raise SourceError(f"has a VRT element with two attributes {name}", uri=str(vrt))
    return found[0] if found else ""


def _is_vrt(path: Path) -> bool:
    with path.open("rb") as file:
        return b"<VRTDataset" in file.read(4096)


def _parse(path: Path) -> ElementTree.Element:
    if path.stat().st_size > MAX_VRT_BYTES:
        raise SourceError(f"is a VRT of more than {MAX_VRT_BYTES} bytes", uri=str(path))
    text = path.read_bytes()
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
        raise SourceError("is a VRT with entity declarations, which are not allowed", uri=str(path))
    try:
        return ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise SourceError(f"is not well-formed XML ({error})", uri=str(path)) from error


def _check_reference(
    vrt: Path, element: ElementTree.Element, options: SourceOptions, depth: int
) -> None:
    """Check one file that a VRT names."""
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning, RasterioError
    from rasterio.io import DatasetReader

    name = (element.text or "").strip()
    relative = _attribute(vrt, element, "relativeToVRT") or "0"
    if relative not in ("0", "1"):
        raise SourceError(f"has relativeToVRT={relative!r}, which is neither 0 nor 1", uri=str(vrt))
    # relative to what a link leads to, as for GDAL
    target = str(vrt.resolve().parent / name) if relative == "1" else name
    try:
        check_path(target, options)
        check_vrt(target, options, depth=depth + 1)
        if Path(target).is_file():
            drivers = gdal_drivers(target, options)
            with rasterio.Env(), warnings.catch_warnings():
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                DatasetReader(target, driver=drivers, sharing=False).close()
    except (SourceError, RasterioError) as error:
        raise SourceError(f"refers to {name}, which cannot be used ({error})", uri=str(vrt)) from (
            error
        )


def check_sidecars(uri: str) -> None:
    """Raise SourceError if a file that GDAL opens along with `uri` leads elsewhere.

    A name that would be too long is that of no file: Path.is_file raises for it.
    """
    for suffix in (".msk", ".ovr"):
        sidecar = Path(uri + suffix)
        if os.path.isfile(sidecar) and _is_vrt(sidecar):
            raise SourceError(f"has a VRT as its {suffix}, which is not allowed", uri=uri)
    metadata = Path(uri + ".aux.xml")
    if not os.path.isfile(metadata):
        return
    for element in _parse(metadata).iter():
        if element.get("key", "").upper() in ("OVERVIEW_FILE", "MASK_FILE"):
            raise SourceError(
                "has a .aux.xml that names other files, which is not allowed", uri=uri
            )


def unread_tables(uri: str) -> list[str]:
    """Tables of a VRT or a .aux.xml that describe the values of a band and are not read."""
    source, sidecar = Path(uri), Path(uri + ".aux.xml")
    texts = [path for path in (source,) if path.is_file() and _is_vrt(path)]
    texts += [sidecar] if os.path.isfile(sidecar) else []
    found = {element.tag for path in texts for element in _parse(path).iter()}
    return [name for tag, name in TABLES.items() if tag in found]
