"""Scenes: deliveries of images, found in an inbox and opened one by one.

A new family is one new module here (or an entry point in the group `espcn.scenes`) with
`claims(path)` and `open(path, options, work)`.

    claims   by names only, cheap; what is broken is claimed too, so that it is reported
    gather   (where a scene is files of a folder whose names tell nothing) all scenes in and below
             a folder, given those of its files that nobody claims
    label_of (where paths may tell whom an image shows) what a folder is called instead; "" if it
             holds nothing of the family
    open     reads metadata and headers; may write VRTs and unpack archives into `work`;
             raises SceneError
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import cast

from pipeline.errors import ConfigError
from pipeline.scenes.found import Found
from pipeline.scenes.scene import Scene, SceneError, SceneOptions

FAMILIES = ("sentinel2", "landsat", "stac", "dicom", "folder")
"""Our own, most particular first."""
LINKED = (
    "is a link to a folder outside the inbox, which is not followed; put the folder itself there"
)
"""Why what lies behind a link is no scene."""


def find_scenes(inbox: Path, options: SceneOptions) -> Iterator[Found]:
    """Everything under a directory that is a scene, in the order of its path.

    Nothing below a scene is looked at; hidden names are not. Raises ConfigError for an unknown
    family.
    """
    for name in options.families:
        family(name)
    yield from _under(inbox, options, os.path.realpath(inbox))


def open_scene(found: Found, options: SceneOptions, work: Path) -> Scene:
    """Open what was found; raises SceneError."""
    if found.problem:
        raise SceneError(found.problem, uri=found.shown)
    return cast("Scene", family(found.family).open(found.path, options, work))


def family(name: str) -> ModuleType:
    """The module of a family; raises ConfigError for one that does not exist."""
    if name in FAMILIES:
        return import_module(f"pipeline.scenes.{name}")
    for entry in entry_points(group="espcn.scenes"):
        if entry.name == name:
            return cast("ModuleType", entry.load())
    raise ConfigError(f"there is no family of scenes {name!r}: choose from {', '.join(FAMILIES)}")


def _under(
    folder: Path, options: SceneOptions, inbox: str, gathered: frozenset[str] = frozenset()
) -> Iterator[Found]:
    """The scenes in and below a folder, but for families that have `gathered` them from above."""
    families = [name for name in options.families if name not in gathered]
    try:
        with os.scandir(folder) as entries:
            paths = sorted(Path(entry) for entry in entries if not entry.name.startswith("."))
        claims = {path: _claimant(path, families) for path in paths}
    except OSError as error:
        if not gathered:  # else it is told by those
            yield Found(folder, families[0], f"cannot be looked at ({error.strerror})")
        return
    if options.folder == "folder" and "folder" in claims.values():
        yield Found(folder, "folder")
    loose = [path for path, claimant in claims.items() if claimant is None and path.is_file()]
    for name in families:
        if found := _gathered(name, folder, loose, options):
            gathered |= {name}
            yield from found
    for path, claimant in claims.items():
        if claimant == "folder" and options.folder == "folder":
            continue
        if claimant is not None:
            yield Found(path, claimant)
        elif path.is_symlink():
            yield from _behind(path, options, inbox)
        elif path.is_dir():
            yield from _under(path, options, inbox, gathered)


def _behind(link: Path, options: SceneOptions, inbox: str) -> Iterator[Found]:
    """A folder elsewhere that a link leads to: it is not looked through, but not silently."""
    if not link.is_dir() or Path(os.path.realpath(link)).is_relative_to(inbox):
        return
    plain = None
    for name in options.families:
        label_of = getattr(family(name), "label_of", None)
        if label_of is None:
            plain = plain or name
        elif label := label_of(link):
            yield Found(link, name, passed_over=LINKED, label=label)
            return
    if plain:  # else it holds nothing of what is looked for, and may be called after a patient
        yield Found(link, plain, passed_over=LINKED)


def _gathered(name: str, folder: Path, files: list[Path], options: SceneOptions) -> Sequence[Found]:
    """What a family makes of the files of a folder together, if it is one that does so."""
    gather = getattr(family(name), "gather", None)
    return gather(folder, files, options) if gather and files else ()


def _claimant(path: Path, families: Sequence[str]) -> str | None:
    """The first family that claims a path."""
    return next((name for name in families if family(name).claims(path)), None)


def files_of(found: Found) -> list[Path]:
    """What belongs to a scene: what was found, and what its family says lies beside it."""
    if found.files:
        return list(found.files)
    beside = getattr(family(found.family), "beside", None)
    others = beside(found.path) if beside else []
    return [found.path, *(path for path in others if path != found.path)]
