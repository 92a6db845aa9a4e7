"""One DICOM file as a series knows it: which series, which place, what kind of pixels."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from pipeline.dicom.frames import Frames
from pipeline.dicom.geometry import Plane, normal
from pipeline.dicom.headers import damages, quiet, read_header
from pipeline.dicom.privacy import forget_phi
from pipeline.dicom.stored import Stored
from pipeline.errors import SourceError

if TYPE_CHECKING:
    from pydicom import Dataset

Kind = Literal["classic", "multiframe", "slide"]
"""One frame a file; several; a microscope's slide cut into tiles."""

SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
"""SOP class of whole slides. DICOM PS3.4, table B.5-1."""
SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
"""Attributes that say how large pixels are, best first: in the patient, on a detector, on film."""
MEASURES = "PixelMeasuresSequence"
"""Where enhanced images say how large pixels are."""
SHARED = "SharedFunctionalGroupsSequence"
"""What holds for all frames of enhanced images."""
EACH = "PerFrameFunctionalGroupsSequence"
"""What differs from frame to frame."""
MOST_FRAMES = 2**20
"""Frames of one file, slides aside: each has a place in memory, and zeros compress well."""
LEAST_FRAME = 8
"""Bytes that any compressed frame takes: a tag and a length. DICOM PS3.5, section A.4."""


@dataclass(frozen=True, slots=True)
class Instance:
    """The facts of one file; its text, which might be logged, tells neither UIDs nor paths."""

    path: str = field(repr=False)
    """Absolute path."""
    uid: str = field(repr=False)
    """SOP instance UID; empty where missing."""
    series: str = field(repr=False)
    """Series instance UID; empty where missing."""
    study: str = field(repr=False)
    """Study instance UID; empty where missing."""
    body: str = field(repr=False)
    """UID of the frame of reference: positions of one frame can be compared."""
    sop_class: str
    """SOP class UID."""
    modality: str
    """CT, MR, MG ..."""
    kind: Kind
    """What a file holds."""
    stored: Stored
    """Its pixels."""
    number: int | None
    """Instance number, and that of parts of a concatenation."""
    part: int
    """Which part of a concatenation; 0 for a whole."""
    planes: tuple[Plane | None, ...]
    """Where each frame lies; empty for slides."""
    spacing: tuple[float, float] | None
    """(between rows, between columns) of its first frame in millimetres; None where unknown."""
    doubt: str | None
    """What is wrong with the size of its pixels."""
    localizer: bool
    """Whether it is a view to plan others on."""
    tilt: float
    """Of the gantry, in degrees, as it says itself."""
    broken: str | None
    """Why its frames cannot all be read, without decoding any; None if they are there."""
    excess: bool
    """Whether it holds more frames than it says; they are left out."""
    rescale: tuple[float, float]
    """(slope, intercept) of physical values."""
    unit: str
    """Of physical values: HU ...; empty where it says none."""


def read_instance(path: str) -> Instance:
    """The facts of a file, from its header; raises SourceError."""
    header = read_header(path)
    frames = Frames(path, header)
    with quiet():  # values are looked at when they are asked for
        return _instance(path, header, frames)


def _instance(path: str, header: Dataset, frames: Frames) -> Instance:
    kind = _kind(header, frames.stored)
    spacing, doubt = _spacing(header, kind)
    broken, excess = (None, False) if kind == "slide" else _completeness(path, frames)
    stored = frames.stored if broken is None else _with_room(frames.stored, os.stat(path).st_size)
    planes = () if kind == "slide" else planes_of(header, stored.frames)
    return Instance(
        path=path,
        uid=text(header, "SOPInstanceUID"),
        series=text(header, "SeriesInstanceUID"),
        study=text(header, "StudyInstanceUID"),
        body=text(header, "FrameOfReferenceUID"),
        sop_class=text(header, "SOPClassUID"),
        modality=_code(header, "Modality"),
        kind=kind,
        stored=stored,
        number=_whole(header, "InstanceNumber"),
        part=_whole(header, "InConcatenationNumber") or 0,
        planes=planes,
        spacing=spacing,
        doubt=doubt,
        localizer=not {"LOCALIZER", "SCOUT"}.isdisjoint(words(header, "ImageType")),
        tilt=(numbers(header, "GantryDetectorTilt") or (0.0,))[0],
        broken=broken,
        excess=excess,
        rescale=_rescale(header),
        unit=_code(header, "RescaleType"),
    )


def planes_of(header: Dataset, frames: int) -> tuple[Plane | None, ...]:
    """Where each frame lies; None where that is not known.

    DICOM PS3.3, section C.7.6.16: what holds for all frames is shared, the rest stands with each.
    """
    shared = first(header, SHARED)
    each = items(header, EACH)
    if shared is None and not each:
        return (_plane(header, header, header), *[None] * (frames - 1))
    found = []
    for index in range(frames):
        groups = [g for g in (each[index] if index < len(each) else None, shared) if g is not None]
        place, turn, size = (
            next((item for g in groups if (item := first(g, name)) is not None), None)
            for name in ("PlanePositionSequence", "PlaneOrientationSequence", MEASURES)
        )
        found.append(_plane(place, turn, size))
    return tuple(found)


def numbers(header: Dataset | None, name: str) -> tuple[float, ...]:
    """The finite numbers of an attribute; empty where one of them is none."""
    try:
        value = None if header is None else header.get(name)
        if value is None or value == "":
            return ()
        several = value if hasattr(value, "__iter__") and not isinstance(value, str) else [value]
        found = tuple(float(number) for number in several)
    except damages():
        return ()
    return found if all(map(math.isfinite, found)) else ()


def text(header: Dataset, name: str) -> str:
    """An attribute as text; empty where it is missing or has no sense."""
    try:
        value = header.get(name)
    except damages():
        return ""
    return "" if value is None else str(value).strip(" \0")


def _code(header: Dataset, name: str) -> str:
    """A short word that may be shown; empty where it could be anything else."""
    found = text(header, name)
    return found if re.fullmatch(r"[A-Za-z0-9_/^*.% -]{1,16}", found) else ""


def words(header: Dataset, name: str) -> tuple[str, ...]:
    """The values of an attribute of several words, in upper case."""
    try:
        value = header.get(name) or ()
    except damages():
        return ()
    several = (value,) if isinstance(value, str) else value
    return tuple(str(word).strip().upper() for word in several)


def items(header: Dataset, name: str) -> tuple[Dataset, ...]:
    """The items of a sequence; none where it is missing or no sequence."""
    try:
        value = header.get(name)
        return tuple(item for item in value or () if hasattr(item, "get"))
    except damages():
        return ()


def first(header: Dataset, name: str) -> Dataset | None:
    """The first item of a sequence."""
    return next(iter(items(header, name)), None)


def pair(values: tuple[float, ...]) -> tuple[float, float] | None:
    """A spacing, if it is one: two numbers above 0."""
    return (values[0], values[1]) if len(values) == 2 and min(values) > 0 else None


def _completeness(path: str, frames: Frames) -> tuple[str | None, bool]:
    """(why not all frames are there, whether there are more than there should be)."""
    claimed = frames.stored.frames
    if claimed > MOST_FRAMES:
        return f"claims {claimed} frames; {MOST_FRAMES} a file are the limit", False
    try:
        return None, bool(frames.check())
    except SourceError as error:
        return forget_phi(error, path).message, False


def _with_room(stored: Stored, size: int) -> Stored:
    """Pixels of no more frames than a broken file has room for: nothing is made for the others."""
    return replace(stored, frames=max(1, min(stored.frames, MOST_FRAMES, size // LEAST_FRAME)))


def _kind(header: Dataset, stored: Stored) -> Kind:
    if text(header, "SOPClassUID") == SLIDE:
        return "slide"
    return "multiframe" if stored.frames > 1 or first(header, SHARED) is not None else "classic"


def _plane(place: Dataset | None, turn: Dataset | None, size: Dataset | None) -> Plane | None:
    """Position, orientation and spacing, which stand in different items of enhanced images."""
    position = numbers(place, "ImagePositionPatient")
    orientation = numbers(turn, "ImageOrientationPatient")
    if len(position) != 3 or len(orientation) != 6:
        return None
    try:
        normal(orientation)
    except ValueError:
        return None
    return Plane(position, orientation, pair(numbers(size, "PixelSpacing")))


def _spacing(header: Dataset, kind: Kind) -> tuple[tuple[float, float] | None, str | None]:
    """(the size of pixels, what is wrong with it)."""
    said = [
        (name, numbers(item, name))
        for item in _sized(header, kind)
        for name in SPACINGS
        if name in item and text(item, name)
    ]
    wrong = next(((name, values) for name, values in said if pair(values) is None), None)
    if wrong is not None:
        name, values = wrong
        shown = " x ".join(f"{value:g}" for value in values) or "no number"
        return None, f"{name} is {shown}"
    if said:
        return pair(said[0][1]), None
    calibrated = first(header, "SequenceOfUltrasoundRegions") is not None
    return None, None if calibrated or kind == "slide" else "the size of pixels is not given"


def _sized(header: Dataset, kind: Kind) -> list[Dataset]:
    """Where the size of pixels may stand: in the header, for all frames, with each frame."""
    each = () if kind == "slide" else items(header, EACH)  # of which a slide has very many
    groups = (*items(header, SHARED), *each)
    return [header, *(item for group in groups for item in items(group, MEASURES))]


def _whole(header: Dataset, name: str) -> int | None:
    found = numbers(header, name)
    return int(found[0]) if found else None


def _rescale(header: Dataset) -> tuple[float, float]:
    """(slope, intercept); of enhanced images only where they hold for all frames."""
    shared = first(header, SHARED)
    holder = header if shared is None else first(shared, "PixelValueTransformationSequence")
    slope, offset = numbers(holder, "RescaleSlope"), numbers(holder, "RescaleIntercept")
    return (slope or (1.0,))[0], (offset or (0.0,))[0]
