"""Landsat scenes, Collection 1 and 2, level 1 and 2: a directory, an archive, or loose files.

    ms          bands of reflected light, and thermal ones that share their grid: one stack
    thermal     thermal bands on a grid of their own
    pan         the panchromatic band, if it is wanted
    qa_pixel, qa_radsat, bqa    quality codes, if classes are wanted

Files and radiometry are those that the MTL names (`landsat_metadata.py`), or ESPA's XML for surface
reflectance of Collection 1 (`espa.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.options import SourceOptions
from pipeline.profile import Profile
from pipeline.scenes.headers import chosen, describe, grid_of, read_header, resolution
from pipeline.scenes.landsat_files import files_beside, is_product, listing, read_product
from pipeline.scenes.landsat_metadata import LandsatBand, LandsatMetadata
from pipeline.scenes.scene import Asset, BandFacts, Scene, SceneError, SceneOptions
from pipeline.scenes.stack import StackBand, write_stack

CLASS_KEYS = {"pixel_qa": "qa_pixel", "radsat_qa": "qa_radsat"}
"""Keys of ESPA's code layers, under the names of Collection 2."""


def claims(path: Path) -> bool:
    """A product's directory, archive or MTL file, by names."""
    return is_product(path)


def beside(path: Path) -> list[Path]:
    """The other files of a scene whose MTL file alone was found; none where all are below it."""
    return [one for one in files_beside(path) if one != path]


def open(path: Path, options: SceneOptions, work: Path) -> Scene:
    """The scene, with its stacks in `work`; raises SceneError."""
    folder, metadata, notes = read_product(path, options, work)
    files = _files(folder)
    found = [(one, files.get(one.file.casefold())) for one in _wanted(path, metadata, options)]
    headers = [_Read(band, file, read_header(file)) for band, file in found if file is not None]
    missing = [band.facts.name for band, file in found if file is None]
    if not any(one.band.role != "classes" for one in headers):
        raise SceneError(
            f"has none of the bands that its metadata name ({', '.join(missing)})",
            uri=str(path),
            reason="incomplete",
        )
    if missing:
        notes.append(f"without {', '.join(missing)}: not delivered")
    for one in headers:
        _check(one)
    notes += _size_notes(metadata, headers)
    return Scene(
        id=metadata.id,
        family="landsat",
        path=path,
        assets=tuple(_assets(headers, work, notes)),
        time=metadata.time,
        platform=metadata.platform,
        instruments=metadata.instruments,
        properties=metadata.properties,
        footprint=metadata.footprint,
        dataset=metadata.dataset,
        version=metadata.version,
        notes=tuple(notes),
    )


@dataclass(frozen=True, slots=True)
class _Read:
    """A band whose header was read."""

    band: LandsatBand
    file: Path
    profile: Profile


# bands


def _wanted(path: Path, metadata: LandsatMetadata, options: SceneOptions) -> list[LandsatBand]:
    """The bands to take, by role or by name; raises SceneError if none is left."""
    light = [band for band in metadata.bands if band.role in ("light", "thermal")]
    pan = [band for band in metadata.bands if band.role == "pan"]
    codes = [band for band in metadata.bands if band.role == "classes"]
    if options.bands is not None:
        light, named = _by_name(light, options.bands), _by_name(pan, options.bands)
        pan = pan if options.pan else named
    elif not options.pan:
        pan = []
    if not light and not pan:
        there = ", ".join(band.facts.name for band in metadata.bands if band.role != "classes")
        raise SceneError(
            f"has none of the bands {', '.join(options.bands or ())}; it has {there}",
            uri=str(path),
            reason="unsupported",
        )
    return [*light, *pan, *(codes if options.classes else ())]


def _by_name(bands: Sequence[LandsatBand], wanted: Sequence[str]) -> list[LandsatBand]:
    """Bands by their makers' or their common names, in the order in which they were named."""
    found = [
        band
        for name in wanted
        for band in bands
        if chosen((name,), band.facts.name, band.facts.common)
    ]
    return list(dict.fromkeys(found))


def _files(folder: Path) -> dict[str, Path]:
    """Files by name, in lower case: some providers write .TIF, others .tif."""
    return {name.casefold(): (folder / name).absolute() for name in listing(folder)}


def _check(one: _Read) -> None:
    """Raise SceneError if a file has not one band, or contradicts the metadata."""
    found, facts = one.profile.bands[0], one.band.facts
    if len(one.profile.bands) != 1:
        raise SceneError(
            f"has {len(one.profile.bands)} bands where a Landsat product has one a file",
            uri=str(one.file),
            reason="unsupported",
        )
    declared = [
        ("scale", found.scale, facts.scale, 1.0),
        ("offset", found.offset, facts.offset, 0.0),
        ("nodata", one.profile.nodata, one.band.nodata, None),
    ]
    for what, file_says, metadata_say, silent in declared:
        if one.band.role != "classes" and file_says not in (silent, metadata_say):
            raise SceneError(
                f"says {what} = {file_says}, its metadata {metadata_say}: one of them is wrong",
                uri=str(one.file),
                reason="unsupported",
            )


def _size_notes(metadata: LandsatMetadata, headers: Sequence[_Read]) -> list[str]:
    """A line if the files are smaller or larger than the metadata say."""
    sizes = {(h.profile.width, h.profile.height) for h in headers if h.band.role == "light"}
    if metadata.size is None or sizes <= {metadata.size}:
        return []
    width, height = next(iter(sizes - {metadata.size}))
    return [
        f"files have {width} x {height} pixels, the metadata say {metadata.size[0]} x "
        f"{metadata.size[1]}"
    ]


# assets


def _assets(headers: Sequence[_Read], work: Path, notes: list[str]) -> list[Asset]:
    """Stacks by grid, then codes one by one; raises SceneError if light has several grids."""
    light = [one for one in headers if one.band.role == "light"]
    thermal = [one for one in headers if one.band.role == "thermal"]
    _check_grid(light)
    joined = [one for one in thermal if not light or _alike(one, light[0])]
    apart = [one for one in thermal if one not in joined]
    for one in apart:
        notes.append(f"{one.band.facts.name} is an asset apart: {describe(one.profile)}")
    groups = [
        ("ms" if light else "thermal", [*light, *joined]),
        *_numbered("thermal", _by_grid(apart)),
        ("pan", [one for one in headers if one.band.role == "pan"]),
    ]
    stacks = [_stack(key, group, work) for key, group in groups if group]
    return [*stacks, *(_codes(one) for one in headers if one.band.role == "classes")]


def _alike(one: _Read, other: _Read) -> bool:
    """Whether two bands can share a stack."""
    marks = [(r.band.nodata, r.band.saturated, grid_of(r.profile)) for r in (one, other)]
    return marks[0] == marks[1]


def _by_grid(headers: Sequence[_Read]) -> list[list[_Read]]:
    groups: list[list[_Read]] = []
    for one in headers:
        group = next((g for g in groups if _alike(g[0], one)), None)
        if group is None:
            groups.append([one])
        else:
            group.append(one)
    return groups


def _numbered(key: str, groups: Sequence[list[_Read]]) -> list[tuple[str, list[_Read]]]:
    return [(key if i == 0 else f"{key}{i + 1}", group) for i, group in enumerate(groups)]


def _check_grid(headers: Sequence[_Read]) -> None:
    """Raise SceneError unless the bands of reflected light have one grid, type and marks."""
    for one in headers[1:]:
        if not _alike(headers[0], one):
            first = headers[0]
            raise SceneError(
                f"has {describe(one.profile)}, {first.file.name} {describe(first.profile)}; "
                "bands of one scene must agree: deliver it anew",
                uri=str(one.file),
                reason="incomplete",
            )


def _stack(key: str, group: Sequence[_Read], work: Path) -> Asset:
    """A VRT over bands of one grid."""
    first = group[0]
    target = (work / f"{key}.vrt").absolute()
    write_stack(
        target,
        [StackBand(str(r.file), r.band.facts, colour=_colour(r.band.facts)) for r in group],
        nodata=first.band.nodata,
    )
    return Asset(
        key=key,
        uri=str(target),
        kind="pan" if key == "pan" else "light",
        bands=tuple(r.band.facts for r in group),
        resolution=resolution(first.profile),
        saturated=first.band.saturated,
    )


def _colour(facts: BandFacts) -> str:
    """Colour interpretation, by rasterio's names."""
    return facts.common if facts.common in ("red", "green", "blue") else "undefined"


def _codes(one: _Read) -> Asset:
    name = one.band.facts.name.casefold()
    return Asset(
        key=CLASS_KEYS.get(name, name),
        uri=str(one.file),
        kind="classes",
        bands=(one.band.facts,),
        resolution=resolution(one.profile),
        options=SourceOptions(categorical="nearest"),
    )
