"""DICOM: trees of studies, a scene for each series, whatever folders and files are called.

What a folder holds is looked at as a whole, with all that lies below it, for a series is many
files and a folder may hold several. Neither names of files nor identifiers leave this place:
scenes are called by their modality and an opaque id.

    studies/
        2021-03-04 DOE/          ct-3f2a91c07be4    its files, in whatever folders
            SE1/  SE2/           mr-0b77e1d2a954
            SE3/
        SMITH/                   dicom-9c41aa03f6e8 what cannot be read
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pipeline.dicom.files import OTHER, Skipped, find_files, holds_dicom, is_dicom
from pipeline.dicom.headers import read_header
from pipeline.dicom.instances import text
from pipeline.dicom.privacy import forget_phi
from pipeline.dicom.series import Series, open_series, search
from pipeline.dicom.stored import describe
from pipeline.dicom.uids import opaque
from pipeline.errors import SourceError
from pipeline.options import SourceOptions
from pipeline.scenes.found import Found
from pipeline.scenes.headers import safe_name
from pipeline.scenes.scene import Asset, Scene, SceneOptions

FAMILY = "dicom"
"""Its name."""
OUTSIDE = "is a link that leads out of the folder; put the file itself there"
"""Why an image is not used that there is nothing wrong with."""
STORAGE = "1.2.840.10008.5.1.4.1.1."
"""How SOP classes of what is stored begin. DICOM PS3.4, annex B.5."""
OTHERS = (
    "9",
    "11",
    "66",
    "67",
    "68",
    "78",
    "79",
    "80",
    "81",
    "82",
    "88",
    "90",
    "104",
    "481",
    "501",
)
"""How those go on that are no images: curves, presentations, segmentations, measurements, reports,
documents, plans of radiotherapy. They lie beside images as a matter of course."""


def claims(path: Path) -> bool:  # noqa: ARG001 - as the other families
    """Nothing: what a file belongs to is not told by its name. See `gather`."""
    return False


def gather(folder: Path, files: Iterable[Path], options: SceneOptions) -> list[Found]:
    """The series in and below a folder, if one of its own `files` is DICOM."""
    if not any(map(is_dicom, files)):
        return []
    try:
        found = search(folder)
    except SourceError:  # nothing of use: there may be damage, or reports and the like only
        there = find_files(folder)
        return list(_damaged(folder, [*there.paths, *_unused(there.skipped)]))
    series = [one for one in found.series if _is_wanted(one, options)]
    return [*(_found(folder, one) for one in series), *_damaged(folder, _unused(found.skipped))]


def label_of(folder: Path) -> str:
    """What a folder of DICOM is called, for its path may tell whom it shows; "" of others."""
    return f"{FAMILY}-{opaque(str(folder))}" if holds_dicom(folder) else ""


def open(path: Path, options: SceneOptions, work: Path) -> Scene:  # noqa: ARG001 - as the others
    """The scene of a series, by the path that `gather` gave it; raises SourceError."""
    series = open_series(str(path))
    source = SourceOptions(spacing=options.spacing)
    return Scene(
        id=_label(series),
        family=FAMILY,
        path=path,
        assets=(Asset(_kind(series), str(path), options=source),),
        notes=series.flags,
    )


def _is_wanted(series: Series, options: SceneOptions) -> bool:
    """Whether its modality was asked for."""
    return options.modalities is None or series.modality.upper() in map(
        str.upper, options.modalities
    )


def _found(folder: Path, series: Series) -> Found:
    path = folder.with_name(f"{folder.name}#{series.id}")
    return Found(path, FAMILY, label=_label(series), files=tuple(map(Path, series.paths)))


def _label(series: Series) -> str:
    return f"{_kind(series)}-{series.id}"


def _kind(series: Series) -> str:
    """Its modality, as part of names and rules: 'ct', 'mr', 'sm'."""
    return safe_name(series.modality.lower()) or "image"


def _unused(skipped: Iterable[Skipped]) -> list[str]:
    """Paths that may be of images; links to nothing and to folders are no files of anybody's."""
    return [
        one.path
        for one in skipped
        if one.reason != OTHER and (os.path.isfile(one.path) or not os.path.islink(one.path))
    ]


def _damaged(folder: Path, paths: Sequence[str]) -> Iterator[Found]:
    """What cannot be used of images, as one scene that fails."""
    broken = {path: problem for path in paths if (problem := _problem(path))}
    if broken:
        first = next(iter(broken.values()))
        said = f"one file {first}" if len(broken) == 1 else f"{len(broken)} files: one {first}"
        yield Found(
            folder,
            FAMILY,
            f"holds DICOM that cannot be used, {said}",
            label=f"{FAMILY}-{opaque(str(folder))}",
            files=tuple(map(Path, broken)),
        )


def _problem(path: str) -> str:
    """Why an image cannot be used; nothing for what is none."""
    linked = os.path.islink(path)
    if linked and not is_dicom(Path(path)):
        return ""
    try:
        header = read_header(path)
        kind = text(header, "SOPClassUID").removeprefix(STORAGE)
        if kind.partition(".")[0] in OTHERS:
            return ""
        describe(header)
    except SourceError as error:
        return forget_phi(error, path).message
    return OUTSIDE if linked else ""
