"""Rasters that GDAL reads: GeoTIFF, COG, JPEG 2000, VRT, PNG, JPEG, others by configuration."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import rasterio
import rasterio.windows
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader

from pipeline.errors import SourceError
from pipeline.georef import Gcp, Georef, maps_somewhere, unusable_rpc
from pipeline.options import SourceOptions
from pipeline.profile import Band, Profile
from pipeline.radiometry import SUPPORTED, Mask, Pixels
from pipeline.sources.identity import identify
from pipeline.sources.safety import (
    MAX_BLOCK_BYTES,
    check_path,
    check_sidecars,
    check_vrt,
    gdal_drivers,
    unread_tables,
)
from pipeline.sources.semantics import band_role
from pipeline.tiling import Window

READING = {
    "GDAL_NUM_THREADS": 1,
    "CPL_DEBUG": False,
    "GDAL_ERROR_ON_LIBJPEG_WARNING": True,
    "GDAL_PNG_WHOLE_IMAGE_OPTIM": False,
}
"""GDAL's settings: damaged JPEG and PNG data would otherwise be garbage without an error."""
LOCAL = {"CPL_VSIL_CURL_ALLOWED_FILENAME": "/none", "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".none"}
"""Further ones, so that no sidecar and no metadata can make GDAL ask a server."""
FORGOTTEN = (
    *("IMAGE_STRUCTURE", "DERIVED_SUBDATASETS", "SUBDATASETS", "RPC", "rio_creation_kwds"),
    *("TIFF", "COG"),
)
"""Metadata domains that describe the file, not the image, or that have a field of their own."""


def claims(uri: str) -> bool:  # noqa: ARG001 - it would take anything
    """GDAL is the reader of last resort."""
    return True


def open(uri: str, options: SourceOptions) -> RasterSource:
    """Open a raster through the allowed drivers; reads the header only. Raises SourceError."""
    check_path(uri, options)
    drivers = gdal_drivers(uri, options)
    check_vrt(uri, options)
    if not options.remote:
        check_sidecars(uri)
    with _reading(uri, remote=options.remote), _quiet():
        # rasterio.open takes one driver only; sharing: a dataset is not thread-safe
        dataset = DatasetReader(uri, driver=drivers, sharing=False)
    return RasterSource(dataset, _profile(uri, dataset, options), remote=options.remote)


class RasterSource:
    """An open rasterio dataset and its profile."""

    def __init__(self, dataset: DatasetReader, profile: Profile, *, remote: bool) -> None:
        self._dataset, self._remote = dataset, remote
        self.profile = profile
        """The facts of the selected bands."""
        self._numbers = [band.number for band in profile.bands]

    def read(self, window: Window, frame: int = 0) -> Pixels:  # noqa: ARG002 - it has one
        """(band, y, x) of the selected bands; raises SourceError."""
        with _reading(self.profile.uri, window, remote=self._remote):
            pixels: Pixels = self._dataset.read(self._numbers, window=_native(window))
        return pixels

    def mask(self, window: Window, frame: int = 0) -> Mask | None:  # noqa: ARG002 - it has one
        """Per-dataset mask (y, x), True where valid, or None; raises SourceError."""
        if not self.profile.mask:
            return None
        with _reading(self.profile.uri, window, remote=self._remote):
            masks = self._dataset.read_masks(self._numbers, window=_native(window))
        return np.asarray((masks != 0).all(axis=0))


def _native(window: Window) -> rasterio.windows.Window:
    return rasterio.windows.Window(window.x, window.y, window.width, window.height)


@contextmanager
def _reading(uri: str, window: Window | None = None, *, remote: bool) -> Iterator[None]:
    """Turn GDAL's errors into one line that names the file and the place."""
    what = "cannot be opened"
    if window is not None:
        what = (
            f"cannot read rows {window.y}-{window.stop_y - 1}, columns "
            f"{window.x}-{window.stop_x - 1}: the file is damaged or truncated"
        )
    try:
        with rasterio.Env(**READING, **({} if remote else LOCAL)):
            yield
    except (RasterioError, OSError, ValueError) as error:
        cause = error.__cause__ or error
        raise SourceError(f"{what} ({cause or type(cause).__name__})", uri=uri) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Images without georeferencing are welcome: no warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def _profile(uri: str, dataset: DatasetReader, options: SourceOptions) -> Profile:
    """The facts of the dataset; raises SourceError for what cannot be super-resolved."""
    numbers = _selection(uri, dataset, options)
    dtype = _dtype(uri, [dataset.dtypes[n - 1] for n in numbers])
    _check_size(uri, dataset, numbers, dtype, options)
    if "GEOLOCATION" in dataset.tag_namespaces():
        raise SourceError(
            "is located by geolocation arrays, which a finer grid would need too; warp it to a "
            "regular grid first (gdalwarp -geoloc)",
            uri=uri,
        )
    colormap = _colormap(dataset, numbers)
    bands = tuple(_band(uri, dataset, n, options) for n in numbers)
    bits = _bits(dataset, numbers, dtype)
    return Profile(
        uri=uri,
        driver=dataset.driver,
        height=dataset.height,
        width=dataset.width,
        dtype=dtype,
        bands=bands,
        identity=identify(dataset.files or [uri]),
        files=tuple(str(Path(name).absolute()) for name in dataset.files or [uri]),
        georef=_georef(uri, dataset),
        nodata=_nodata(uri, dataset, numbers) if options.nodata is None else options.nodata,
        mask=_masked(dataset, bands),
        saturated=_saturated(dataset.driver, dtype, bits),
        tags=_tags(dataset),
        forgotten=_forgotten(uri, dataset),
        bits=bits,
        colormap=colormap,
        white_is_zero=numbers[0] == 1
        and dataset.tags(ns="IMAGE_STRUCTURE").get("MINISWHITE") == "YES",
        block=dataset.block_shapes[numbers[0] - 1],
    )


def _selection(uri: str, dataset: DatasetReader, options: SourceOptions) -> tuple[int, ...]:
    """Numbers of the bands to read."""
    if dataset.count == 0:
        inside = "; it holds " + ", ".join(dataset.subdatasets[:4]) if dataset.subdatasets else ""
        raise SourceError(f"has no raster bands of its own{inside}", uri=uri)
    if options.bands == ():
        raise SourceError("no band is selected (see --bands)", uri=uri)
    numbers = options.bands or tuple(range(1, dataset.count + 1))
    wrong = [n for n in numbers if not 1 <= n <= dataset.count]
    if wrong:
        raise SourceError(
            f"has bands 1 to {dataset.count}; there is no band {wrong[0]} (see --bands)", uri=uri
        )
    return numbers


def _dtype(uri: str, dtypes: list[str]) -> str:
    """The one data type of all selected bands."""
    if len(set(dtypes)) > 1:
        raise SourceError(
            f"mixes data types ({', '.join(sorted(set(dtypes)))}); select bands of one type with "
            "--bands",
            uri=uri,
        )
    if dtypes[0] not in SUPPORTED:
        way_out = (
            "super-resolve its real and imaginary parts or its magnitude"
            if "complex" in dtypes[0]
            else f"convert it to one of {', '.join(SUPPORTED)}"
        )
        raise SourceError(f"holds {dtypes[0]} values, which are not supported; {way_out}", uri=uri)
    return dtypes[0]


def _check_size(
    uri: str, dataset: DatasetReader, numbers: tuple[int, ...], dtype: str, options: SourceOptions
) -> None:
    """Refuse headers that claim too much."""
    height, width = dataset.height, dataset.width
    if height * width > options.max_pixels:
        raise SourceError(
            f"claims {width} x {height} pixels, more than source.max_pixels = {options.max_pixels}",
            uri=uri,
        )
    rows, columns = dataset.block_shapes[numbers[0] - 1]
    bands = dataset.count if _interleaved(dataset) else 1
    # a block can be taller than the image: GDAL decodes no more than there is
    block = min(rows, height) * min(columns, width) * np.dtype(dtype).itemsize * bands
    if block > MAX_BLOCK_BYTES:
        raise SourceError(
            f"is stored in blocks of {columns} x {rows} pixels ({block / 2**20:.0f} MiB each, "
            f"limit {MAX_BLOCK_BYTES / 2**20:.0f} MiB); rewrite it tiled (gdal_translate -co "
            "TILED=YES)",
            uri=uri,
        )


def _interleaved(dataset: DatasetReader) -> bool:
    structure = dataset.tags(ns="IMAGE_STRUCTURE")
    return dataset.count > 1 and str(structure.get("INTERLEAVE")) == "PIXEL"


def _band(uri: str, dataset: DatasetReader, number: int, options: SourceOptions) -> Band:
    colour = dataset.colorinterp[number - 1]
    return Band(
        number=number,
        description=dataset.descriptions[number - 1] or None,
        unit=dataset.units[number - 1] or None,
        scale=float(dataset.scales[number - 1]),
        offset=float(dataset.offsets[number - 1]),
        colour=colour.name,
        role=band_role(
            uri,
            description=dataset.descriptions[number - 1],
            alpha=colour == ColorInterp.alpha,
            palette=colour == ColorInterp.palette,
            bits=dataset.tags(number, ns="IMAGE_STRUCTURE").get("NBITS"),
            options=options,
        ),
        tags=_usable(dataset.tags(number)),
        domains={
            domain: _usable(dataset.tags(number, ns=domain))
            for domain in dataset.tag_namespaces(number)
            if domain and domain not in FORGOTTEN and _carried(domain)
        },
    )


def _colormap(
    dataset: DatasetReader, numbers: tuple[int, ...]
) -> dict[int, tuple[int, int, int, int]] | None:
    """The palette of a palette image."""
    if dataset.colorinterp[numbers[0] - 1] != ColorInterp.palette:
        return None
    return dict(dataset.colormap(numbers[0]))


def _georef(uri: str, dataset: DatasetReader) -> Georef:
    gcps, gcps_crs = dataset.gcps
    bare = dataset.transform.is_identity and dataset.crs is None
    none = bare or (gcps and dataset.transform.is_identity)
    affine = None if none else tuple(dataset.transform)[:6]
    if affine and not maps_somewhere(affine):
        raise SourceError(
            f"has a transform {affine} that maps pixels to nowhere; mend it (gdal_edit -a_ullr) or "
            "remove it (gdal_edit -unsetgt)",
            uri=uri,
        )
    if not all(math.isfinite(v) for g in gcps for v in (g.row, g.col, g.x, g.y, g.z or 0.0)):
        raise SourceError("has ground control points that are not finite numbers", uri=uri)
    return Georef(
        crs=_wkt(dataset.crs),
        affine=affine,
        gcps=tuple(
            Gcp(g.row, g.col, g.x, g.y, g.z or 0.0, str(g.id or ""), str(g.info or ""))
            for g in gcps
        ),
        gcps_crs=_wkt(gcps_crs),
        rpcs=_rpcs(uri, dataset),
        point=dataset.tags().get("AREA_OR_POINT", "").upper() == "POINT",
    )


def _rpcs(uri: str, dataset: DatasetReader) -> dict[str, str]:
    """The RPCs; raises SourceError where those that a finer grid changes are no numbers."""
    found = dict(dataset.tags(ns="RPC"))
    wrong = unusable_rpc(found)
    if wrong:
        raise SourceError(f"has RPCs whose {wrong} is {found[wrong]!r}", uri=uri)
    return found


def _wkt(crs: rasterio.crs.CRS | None) -> str | None:
    """The CRS as WKT 2, which keeps what WKT 1 cannot say; None for none."""
    return crs.to_wkt(version="WKT2_2019") if crs else None


def _nodata(uri: str, dataset: DatasetReader, numbers: tuple[int, ...]) -> float | None:
    """The one nodata value of all selected bands."""
    found = {repr(dataset.nodatavals[n - 1]): dataset.nodatavals[n - 1] for n in numbers}
    if len(found) > 1:
        raise SourceError(
            f"has bands with different nodata values ({', '.join(found)}); select bands that "
            "agree with --bands, or run once per value",
            uri=uri,
        )
    value = next(iter(found.values()))
    return None if value is None else float(value)


def _masked(dataset: DatasetReader, bands: tuple[Band, ...]) -> bool:
    """Whether validity needs a mask beside what nodata and a selected alpha band say."""
    flags = {flag for band in bands for flag in dataset.mask_flag_enums[band.number - 1]}
    if flags <= {MaskFlags.all_valid, MaskFlags.nodata} and flags:
        return False
    return MaskFlags.alpha not in flags or all(band.role != "alpha" for band in bands)


def _bits(dataset: DatasetReader, numbers: tuple[int, ...], dtype: str) -> int | None:
    """The bits that samples use, where fewer than the data type has."""
    found = [dataset.tags(n, ns="IMAGE_STRUCTURE").get("NBITS", "") for n in numbers]
    most = max((int(bits) for bits in found if bits.isdecimal()), default=0)
    fewer = all(found) and 0 < most < 8 * np.dtype(dtype).itemsize
    return most if fewer and np.dtype(dtype).kind == "u" else None


def _saturated(driver: str, dtype: str, bits: int | None) -> float | None:
    """The largest value of integers wider than 8 bits: a sensor's ceiling. Photographs have
    none: their white is a colour."""
    kind = np.dtype(dtype)
    if kind.kind == "f" or kind.itemsize == 1 or driver in ("PNG", "JPEG"):
        return None
    return float(2**bits - 1 if bits else np.iinfo(kind).max)


def _forgotten(uri: str, dataset: DatasetReader) -> dict[str, str]:
    """What is not carried over, and why."""
    domains = [f"metadata {ns}" for ns in dataset.tag_namespaces() if not _carried(ns)]
    tables = unread_tables(uri)
    return dict.fromkeys(domains, "describes the grid") | dict.fromkeys(tables, "is not read")


def _tags(dataset: DatasetReader) -> dict[str, dict[str, str]]:
    domains = [ns for ns in dataset.tag_namespaces() if ns not in FORGOTTEN and _carried(ns)]
    tags = {"": dataset.tags()} | {ns: dataset.tags(ns=ns) for ns in domains if ns}
    return {ns: _usable(values) for ns, values in tags.items() if values}


def _carried(domain: str) -> bool:
    """Whether a metadata domain is carried: GML describes the grid, JSON is not read whole."""
    return domain == "xml:XMP" or ":" not in domain


def _usable(tags: dict[str, str]) -> dict[str, str]:
    """Tags but those whose names rasterio cannot write: they are its own keywords."""
    return {name: value for name, value in tags.items() if name not in ("ns", "bidx")}
