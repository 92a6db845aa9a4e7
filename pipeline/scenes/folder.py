"""Plain images: GeoTIFF and JPEG 2000, NAIP and aerial tiles among them.

A scene per file with one asset, `image`; or per folder, with an asset for each file in it, named
after the file. This family comes last: what belongs to a product of another family is not claimed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from pipeline.profile import Profile
from pipeline.scenes import landsat_files, stac
from pipeline.scenes.found import leads_nowhere
from pipeline.scenes.headers import mark, read_header, safe_name
from pipeline.scenes.image import Image, image_assets
from pipeline.scenes.scene import Asset, Scene, SceneError, SceneOptions

SUFFIXES = (".tif", ".tiff", ".jp2", ".vrt")
"""Suffixes of files that are scenes."""
SIDECARS, WORLD = (".aux.xml", ".msk", ".ovr"), (".tfw", ".j2w", ".wld")
"""Ends of names of files that belong to an image: to its name, and to its stem."""
TAKEN = (("IMAGERY", "ACQUISITIONDATETIME"), ("", "ACQUISITIONDATETIME"))
"""(metadata domain, name) of the time of acquisition, as GDAL gives it."""
WRITTEN = (("", "TIFFTAG_DATETIME"),)
"""(metadata domain, name) of TIFF's own time, which may be that of the file."""
FORMATS = ("%Y:%m:%d %H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d")
"""How they are written, without fractions and zone."""
NAIP = re.compile(r"m_\d{7}_[ns][ew]_\d{1,2}_(?:[0-9h]{1,3}_)?(\d{8})(?!\d)", re.IGNORECASE)
"""Names of NAIP's quarter quads; the first date is the day of the flight."""


def claims(path: Path) -> bool:
    """A file with a suffix of an image that is no part of another family's product."""
    if path.suffix.lower() not in SUFFIXES or not (path.is_file() or leads_nowhere(path)):
        return False
    return not landsat_files.belongs(path) and not stac.belongs(path)


def beside(path: Path) -> list[Path]:
    """The sidecars of one file; none for a folder, which they lie below."""
    if path.is_dir():
        return []
    names = (*(f"{path.name}{end}" for end in SIDECARS), *(f"{path.stem}{end}" for end in WORLD))
    # Path.is_file raises where a name is too long to be
    return [one for name in names if os.path.isfile(one := path.with_name(name))]


def open(path: Path, options: SceneOptions, work: Path) -> Scene:
    """The scene of one file, or of a folder's files; raises SceneError."""
    name = _called(path.name if path.is_dir() else path.stem)
    files = _files(path)
    headers = [read_header(file.absolute()) for file in files]
    keys = _keys(files) if path.is_dir() else ["image"]
    images = [
        Image(key, _called(file.stem), header)
        for key, file, header in zip(keys, files, headers, strict=True)
    ]
    return Scene(
        id=name,
        family="folder",
        path=path,
        assets=_assets(path, images, options, work),
        time=_first_time(headers, TAKEN) or _flight(name) or _first_time(headers, WRITTEN),
        notes=tuple(_notes(files, headers)),
    )


def _files(path: Path) -> list[Path]:
    """The images of a folder, or the one file; raises SceneError."""
    if not path.is_dir():
        return [path]
    found = [one for one in sorted(path.iterdir()) if not one.name.startswith(".") and claims(one)]
    if not found:
        raise SceneError(
            f"holds no images ({', '.join(SUFFIXES)})", uri=str(path), reason="incomplete"
        )
    return found


def _keys(files: Sequence[Path]) -> list[str]:
    """Stems; with the suffix where two files share one, with a mark where they share that too."""
    stems, names = [_called(file.stem) for file in files], [_called(file.name) for file in files]
    return [
        stem if _once(stem, stems) else name if _once(name, names) else f"{stem}-{mark(file.name)}"
        for file, stem, name in zip(files, stems, names, strict=True)
    ]


def _once(name: str, names: Sequence[str]) -> bool:
    """Whether no other name is the same where case does not count."""
    return [one.casefold() for one in names].count(name.casefold()) == 1


def _called(text: str) -> str:
    """A name as part of file names; a mark of its own where nothing of it is ASCII."""
    return safe_name(text) or f"image-{mark(text)}"


def _assets(
    path: Path, images: Iterable[Image], options: SceneOptions, work: Path
) -> tuple[Asset, ...]:
    taken: set[str] = set()
    found = [image_assets(image, options, work=work, taken=taken) for image in images]
    assets = tuple(asset for some in found for asset in some)
    if not assets:
        wanted = f" named {', '.join(options.bands)}" if options.bands else ""
        raise SceneError(
            f"holds no bands{wanted} to upscale: see scenes.bands, scenes.pan and scenes.classes",
            uri=str(path),
            reason="unsupported",
        )
    return assets


def _notes(files: Sequence[Path], headers: Sequence[Profile]) -> list[str]:
    return [
        f"{file.name} is not georeferenced"
        for file, header in zip(files, headers, strict=True)
        if header.georef.affine is None and not header.georef.gcps
    ]


def _first_time(headers: Sequence[Profile], places: Sequence[tuple[str, str]]) -> datetime | None:
    """The first time that tags give; UTC, for they name no zone."""
    texts = [
        header.tags.get(domain, {}).get(name, "") for header in headers for domain, name in places
    ]
    bare = (re.sub(r"(\.\d+)?(Z|\+00:?00)?$", "", text.strip()) for text in texts)
    return next((time for text in bare if (time := _parsed(text, FORMATS))), None)


def _flight(name: str) -> datetime | None:
    """The day of a NAIP flight, from the name."""
    match = NAIP.match(name)
    return None if match is None else _parsed(match[1], ("%Y%m%d",))


def _parsed(text: str, formats: Sequence[str]) -> datetime | None:
    for one in formats:
        try:
            return datetime.strptime(text, one).replace(tzinfo=UTC)
        except ValueError:
            continue
    return None
