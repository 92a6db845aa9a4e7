"""What a folder, a file or a DICOMDIR holds of DICOM: series and their geometry, but not of whom.

Only who asks for it is shown names, identifiers and paths; beside them stand the opaque names that
errors and logs use, so that they can be looked up (of every file: as JSON).
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.dicom.files import Skipped, parted
from pipeline.dicom.headers import quiet, read_header
from pipeline.dicom.instances import text
from pipeline.dicom.oddities import plural
from pipeline.dicom.privacy import called, forget_phi
from pipeline.dicom.series import Search, Series, search
from pipeline.errors import SourceError
from pipeline.options import SourceOptions
from pipeline.sources import absolute, dicom, open_source

IDENTITY = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "AccessionNumber"),
    *("StudyDate", "StudyDescription", "SeriesNumber", "SeriesDescription", "ProtocolName"),
    *("InstitutionName", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"),
)
"""Attributes that tell whom a series shows, or where and when it was made."""


@dataclass(frozen=True, slots=True)
class SeriesFacts:
    """A series as it is shown."""

    series: str
    """Its opaque name: PATH#NAME selects it."""
    modality: str
    """CT, MR, MG ..."""
    kind: str
    """classic, multiframe or slide."""
    files: int
    """How many it has."""
    frames: int
    """Images of one size; of a slide its focal planes and optical paths."""
    rows: int
    """Pixels down; of a slide, of its finest level."""
    columns: int
    """Pixels across."""
    bands: int
    """1, or 3 of colours."""
    dtype: str
    """Data type of what is read."""
    bits_stored: int
    """Bits of a sample that count."""
    photometric: tuple[str, ...]
    """Photometric interpretations, as stored."""
    transfer_syntaxes: tuple[str, ...]
    """By name."""
    lossy: bool
    """Whether pixels went through lossy compression."""
    spacing: tuple[float, float] | None
    """(between rows, between columns) in millimetres."""
    step: float | None
    """Usual distance from slice to slice in millimetres."""
    position: tuple[float, ...] | None
    """Of the first pixel of the first frame, in millimetres."""
    orientation: tuple[float, ...] | None
    """Direction cosines along its rows and down its columns."""
    padding: tuple[float, float] | None
    """Smallest and largest stored value of what shows nothing."""
    flags: tuple[str, ...]
    """What is odd."""
    phi: dict[str, str] | None = None
    """Whom it shows, and its folder; None unless asked for."""
    paths: dict[str, str] | None = None
    """Its files by what errors call them; None unless asked for."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was found."""

    series: tuple[SeriesFacts, ...]
    """By modality and name."""
    skipped: dict[str, int]
    """How many files are not used, by the reason."""
    phi: dict[str, dict[str, str]] | None = None
    """Path and reason of these files by what errors call them; None unless asked for."""


def inspect_dicom(uri: str, options: SourceOptions, *, phi: bool = False) -> Inspection | None:
    """What a path holds of DICOM, or None where it is of another format; raises SourceError."""
    place = absolute(uri)
    if not dicom.claims(place):
        return None
    path, wanted = parted(place)
    found = search(path)
    chosen = [one for one in found.series if wanted in ("", one.id)]
    if not chosen:
        raise SourceError("has no series of that name (see espcn inspect)", uri=called(path))
    facts = tuple(_facts(path, one, options, phi=phi) for one in chosen)
    reasons = Counter(one.reason for one in found.skipped)
    return Inspection(facts, dict(sorted(reasons.items())), _skipped(found) if phi else None)


def rows_of(inspection: Inspection) -> Iterator[tuple[str, str]]:
    """(what, value) for a table: series after series."""
    for one in inspection.series:
        yield "series", one.series
        yield from ((name, value) for name, value in _rows(one) if value)
        yield "", ""
    for reason, count in inspection.skipped.items():
        yield "not used", f"{plural(count, 'file')}: {reason}"
    for name, told in (inspection.phi or {}).items():
        yield name, f"{told['path']}: {told['reason']}"


def _rows(one: SeriesFacts) -> Iterator[tuple[str, str]]:
    """The lines of a series; empty values are left out."""
    frames = f"{one.frames} x " if one.frames > 1 else ""
    yield "modality", f"{one.modality or 'unknown'}, {one.kind}"
    bands = plural(one.bands, "band")
    yield "size", f"{frames}{one.columns} x {one.rows} px, {bands}, {plural(one.files, 'file')}"
    yield "data type", f"{one.dtype}, {one.bits_stored} bits stored"
    yield "photometric", ", ".join(one.photometric)
    lossy = " (lossy)" if one.lossy else ""
    yield "transfer syntax", ", ".join(one.transfer_syntaxes) + lossy
    yield "pixel spacing", _numbers(one.spacing, " x ", " mm")
    yield "slice spacing", "" if one.step is None else f"{one.step:.6g} mm"
    yield "position", _numbers(one.position, ", ", " mm")
    yield "orientation", _numbers(one.orientation, ", ", "")
    yield "padding", "" if one.padding is None else _padding(*one.padding)
    yield from (("flag", flag) for flag in one.flags)
    yield from (one.phi or {}).items()


def _facts(path: str, series: Series, options: SourceOptions, *, phi: bool) -> SeriesFacts:
    """A series as it is shown."""
    stored, plane = series.stored, series.planes[0] if series.planes else None
    frames, rows, columns, flags = _extent(path, series, options)
    return SeriesFacts(
        series=series.id,
        modality=series.modality,
        kind=series.kind,
        files=len(series.paths),
        frames=frames,
        rows=rows,
        columns=columns,
        bands=stored.bands,
        dtype=stored.dtype,
        bits_stored=stored.bits_stored,
        photometric=_distinct(one.stored.photometric for one in series.instances),
        transfer_syntaxes=_distinct(one.stored.syntax_name for one in series.instances),
        lossy=any(one.stored.lossy for one in series.instances),
        spacing=series.first.spacing,
        step=series.step,
        position=plane.position if plane else None,
        orientation=plane.orientation if plane else None,
        padding=stored.padding,
        flags=(*series.flags, *flags),
        phi=_identity(series) if phi else None,
        paths={called(path): printable(path) for path in series.paths} if phi else None,
    )


def _extent(
    path: str, series: Series, options: SourceOptions
) -> tuple[int, int, int, tuple[str, ...]]:
    """(frames, rows, columns, what is wrong): of a slide, of its finest level."""
    if series.kind != "slide":
        return len(series.slots), series.stored.rows, series.stored.columns, ()
    try:
        profile = open_source(f"{path}#{series.id}", options).profile
    except SourceError as error:
        return 1, series.stored.rows, series.stored.columns, (error.message,)
    return profile.frames, profile.height, profile.width, ()


def _identity(series: Series) -> dict[str, str]:
    """Whom a series shows, by the names of the attributes."""
    path = series.paths[0]
    try:
        header = read_header(path)
    except SourceError as error:
        raise forget_phi(error, path) from None
    with quiet():
        found = {name: text(header, name) for name in IDENTITY}
    return {name: value for name, value in found.items() if value} | {
        "folder": printable(Path(path).parent)
    }


def printable(path: str | Path) -> str:
    """A path that can be written, whatever the bytes of its name."""
    return os.fsencode(path).decode("utf-8", "replace")


def _skipped(found: Search) -> dict[str, dict[str, str]]:
    """What is not used, by what errors call it."""

    def told(one: Skipped) -> dict[str, str]:
        return {"path": printable(one.path), "reason": one.reason}

    return {called(one.path): told(one) for one in found.skipped}


def _distinct(values: Iterator[str]) -> tuple[str, ...]:
    return tuple(sorted(set(values)))


def _numbers(values: Sequence[float] | None, between: str, unit: str) -> str:
    return "" if values is None else between.join(f"{value:.6g}" for value in values) + unit


def _padding(low: float, high: float) -> str:
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"
