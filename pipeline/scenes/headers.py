"""Headers of the rasters of a scene, read with the checks of the sources."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path

from pipeline.errors import SourceError
from pipeline.options import SourceOptions
from pipeline.profile import Band, Profile
from pipeline.scenes.jpeg2000 import check_whole
from pipeline.scenes.scene import Reason, SceneError
from pipeline.sources.semantics import band_role

UNSAFE = re.compile(r"[^A-Za-z0-9_.-]+")
"""What does not go into the name of a product or an asset."""


def read_header(path: Path) -> Profile:
    """The profile of a raster, whatever it holds.

    Raises SceneError: "incomplete" for a file that is not there yet or ends too early,
    "unreadable" for one that GDAL cannot open, "unsupported" for one that is of no use here.
    """
    from pipeline.sources import open_source

    if not os.path.isfile(path):
        raise SceneError("is not there", uri=str(path), reason="incomplete")
    if path.stat().st_size == 0:
        raise SceneError("is empty (0 bytes)", uri=str(path), reason="incomplete")
    try:
        profile = open_source(str(path), SourceOptions(categorical="light")).profile
    except SourceError as error:
        reason: Reason = "unreadable" if error.__cause__ is not None else "unsupported"
        raise SceneError(error.message, uri=error.uri or str(path), reason=reason) from error
    _check_end(path, profile)
    check_whole(path)
    return profile


def _check_end(path: Path, profile: Profile) -> None:
    """Raise SceneError if a GeoTIFF's last block lies beyond the end of the file."""
    if profile.driver != "GTiff":
        return
    size = path.stat().st_size
    for offset, length in _outer_blocks(path, profile):
        if offset + length > size:
            raise SceneError(
                f"ends after {size} bytes, but a block of it reaches to {offset + length}: it is "
                "truncated, or still arriving",
                uri=str(path),
                reason="incomplete",
            )


def _outer_blocks(path: Path, profile: Profile) -> Iterator[tuple[int, int]]:
    """(offset, bytes) of each band's first and last block, where they are stored at all."""
    import rasterio

    rows, columns = profile.block
    last = (math.ceil(profile.width / columns) - 1, math.ceil(profile.height / rows) - 1)
    with rasterio.open(path, driver="GTiff", sharing=False) as dataset:
        for number in {1, dataset.count}:
            for x, y in {(0, 0), last}:
                found = [
                    dataset.get_tag_item(f"BLOCK_{what}_{x}_{y}", "TIFF", bidx=number)
                    for what in ("OFFSET", "SIZE")
                ]
                if all(found):
                    yield int(found[0]), int(found[1])


def resolution(profile: Profile) -> float | None:
    """Side of a pixel in metres; None where the grid is not in units of length."""
    from rasterio.crs import CRS
    from rasterio.errors import CRSError

    if profile.georef.crs is None or profile.georef.affine is None:
        return None
    crs = CRS.from_wkt(profile.georef.crs)
    try:
        metres = float(crs.linear_units_factor[1])
    except CRSError:
        return None
    a, b, _, d, e, _ = profile.georef.affine
    return math.sqrt(abs(a * e - b * d)) * metres if crs.is_projected else None


def code_bands(profile: Profile) -> set[int]:
    """1-based numbers of bands whose values are codes, by the rules of the sources."""
    return {band.number for band in profile.bands if _is_code(profile, band)}


def _is_code(profile: Profile, band: Band) -> bool:
    try:
        band_role(
            profile.uri,
            description=band.description,
            alpha=band.role == "alpha",
            palette=profile.colormap is not None,
            bits=str(profile.bits or ""),
            options=SourceOptions(categorical="refuse"),
        )
    except SourceError:
        return True
    return False


def describe(profile: Profile) -> str:
    """Size, type and place of a raster, for messages."""
    affine = profile.georef.affine
    where = "nowhere" if affine is None else f"({affine[2]:.10g}, {affine[5]:.10g})"
    return f"{profile.width} x {profile.height} {profile.dtype} pixels at {where}"


def grid_of(profile: Profile) -> tuple[object, ...]:
    """What rasters of one grid have in common."""
    georef = profile.georef
    return (profile.height, profile.width, profile.dtype, georef.crs, georef.affine)


def safe_name(text: str) -> str:
    """A name that is safe as part of a file name; "" if nothing of it is left."""
    return UNSAFE.sub("_", text).strip("._-")[:120]


def mark(text: str) -> str:
    """8 hexadecimal digits that tell names apart which are the same as file names."""
    return sha256(os.fsencode(text)).hexdigest()[:8]


def chosen(wanted: Iterable[str], *names: str | None) -> bool:
    """Whether one of a band's names is among those that were asked for, in whatever case."""
    asked = {one.casefold() for one in wanted}
    return any(name is not None and name.casefold() in asked for name in names)
