"""The header of a derived instance: what all classes share, from the source's and the plan's facts.

Kept is what stays true of the patient, the study, the place and the acquisition. New are the
identifiers, which follow from the source's and from how the pixels were made: sent twice, nothing
is stored twice. Where pixels lie and how the source is named differs: see `derived_classic`,
`derived_enhanced`, `derived_slide`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Literal

import numpy as np

from pipeline.dicom.cleaned import clean
from pipeline.dicom.encode import Syntax, photometric
from pipeline.dicom.headers import damages, quiet
from pipeline.dicom.lossy import keep_loss
from pipeline.dicom.references import EQUIPMENT, append, code
from pipeline.dicom.uids import derived_uid
from pipeline.errors import PlanError

if TYPE_CHECKING:
    from pydicom import Dataset

    from pipeline.dicom.stored import Stored

Kind = Literal["classic", "enhanced", "slide"]
"""How a class says what it is: with or without functional groups, or a slide."""
LONGEST_TEXT = {"LO": 64, "ST": 1024}
"""Characters of a text. DICOM PS3.5, section 6.2."""
LARGEST_NUMBER = 2**31 - 1
"""Of an integer string."""
MAKER = "ESPCN"
"""Who makes the software, which is what equipment must name."""
LABELS = ("Red", "Green", "Blue", "Alpha", "Segmented")
"""How the attributes of a palette begin, or go on."""
ENHANCED_CLASSES = tuple(
    f"1.2.840.10008.5.1.4.1.1.{end}"
    for end in (
        *("2.1", "2.2", "4.1", "4.3", "4.4", "12.1.1", "12.2.1", "13.1.1", "13.1.2", "13.1.3"),
        *("128.1", "130", "30"),
    )
)
"""Classes of functional groups that say what their content is good for. PS3.3, C.8.13.2.1.1."""


@dataclass(frozen=True, slots=True)
class Derivation:
    """How the pixels of an instance were made, and when."""

    scale: int
    """Fine pixels a pixel along one axis."""
    model: str
    """Name of the model."""
    sha256: str
    """Of its weights."""
    software: str
    """Name and version."""
    backend: str
    """What computed it."""
    options: str
    """All else that the pixels depend on, as text or its hash: other options, other identifiers."""
    syntax: Syntax
    """How the pixels are written."""
    created: datetime
    """When, with its time zone: the same for all instances of a run, and when it is resumed."""
    private: tuple[str, ...] = ()
    """Creators of private attributes that are kept."""

    @property
    def text(self) -> str:
        """One sentence for people."""
        return (
            f"Super-resolution x{self.scale} by a neural network, for research, not for diagnosis; "
            f"model {self.model}, sha256 {self.sha256}, {self.software}"
        )

    def uid(self, source: str, *more: str) -> str:
        """The identifier that follows from one of the source's."""
        return derived_uid(source, self.sha256, str(self.scale), self.options, *more)


def name_itself(header: Dataset) -> None:
    """Take what an instance does not say of itself from the file's meta information.

    Raises PlanError if that does not say it either.
    """
    for name in ("SOPClassUID", "SOPInstanceUID"):
        if not header.get(name):
            said = header.file_meta.get(f"MediaStorage{name}")
            if not said:
                raise PlanError(f"has no {name}, from which that of the output would follow")
            setattr(header, name, said)


def derive(
    header: Dataset,
    derivation: Derivation,
    stored: Stored,
    *,
    kind: Kind,
    part: str = "",
    size: int | None = None,
) -> Dataset:
    """The header of a derived instance but for its geometry and its references to the source.

    `part` tells instances apart that come of one source; `size` is that of its file in bytes.
    Rows, columns and frames of slides are the caller's.
    """
    with quiet():
        found = clean(header, private=derivation.private)
        _identify(found, header, derivation, part)
        _describe(found, derivation, kind)
        _pixels(found, derivation, stored)
        keep_loss(found, stored, size=size)
    return found


def _identify(found: Dataset, header: Dataset, derivation: Derivation, part: str) -> None:
    """New identifiers of instance, series and concatenation; a number and a name of the series."""
    instance = str(header.SOPInstanceUID)
    found.SOPInstanceUID = derivation.uid(instance, *([part] if part else []))
    # some files have one identifier for both, or none for the series
    series = str(header.get("SeriesInstanceUID") or instance)
    found.SeriesInstanceUID = derivation.uid(series, "series")
    for name in ("ConcatenationUID", "SOPInstanceUIDOfConcatenationSource"):
        if found.get(name):
            setattr(found, name, derivation.uid(str(found.get(name))))
    found.SeriesNumber = _number(found, derivation.scale)
    said = text_of(found, "SeriesDescription")
    suffix = f" SRx{derivation.scale}" if said else f"SRx{derivation.scale}"
    found.SeriesDescription = said[: LONGEST_TEXT["LO"] - len(suffix)].rstrip() + suffix


def _number(found: Dataset, scale: int) -> str:
    """Another number than the source's: thousands more."""
    try:
        number = int(found.get("SeriesNumber") or 0)
    except damages():
        number = 0
    other = number + scale * 1000 if number >= 0 else number - scale * 1000
    return str(other if abs(other) <= LARGEST_NUMBER else number % 1000 + scale * 1000)


def text_of(dataset: Dataset, name: str) -> str:
    """An attribute as text, values parted as DICOM parts them."""
    value = dataset.get(name)
    if isinstance(value, bytes):  # in another character set than it should be
        value = value.decode("ascii", "ignore")
    several = [value] if isinstance(value, str) or value is None else value
    return "\\".join(str(one) for one in several if one is not None).strip()


def _describe(found: Dataset, derivation: Derivation, kind: Kind) -> None:
    """Image type, date, equipment."""
    found.ImageType = image_type(found.get("ImageType"), kind)
    created = derivation.created.astimezone(_zone(found))
    found.InstanceCreationDate = created.strftime("%Y%m%d")
    found.InstanceCreationTime = created.strftime("%H%M%S")
    append(found, "ContributingEquipmentSequence", equipment(derivation))
    if str(found.SOPClassUID) in ENHANCED_CLASSES or "ContentQualification" in found:
        found.ContentQualification = "RESEARCH"


def image_type(values: object, kind: Kind) -> list[str]:
    """Of the derived image; SECONDARY is for classic ones. DICOM PS3.3, C.7.6.1.1.2 and C.8.16.1.

    Slides have four values, the last of which says that pixels were made from others.
    """
    if kind == "slide":
        return ["DERIVED", "PRIMARY", "VOLUME", "RESAMPLED"]
    several = [values] if isinstance(values, str) else values
    old = [str(value or "") for value in several] if isinstance(several, Sequence) else []
    if kind == "classic":
        return ["DERIVED", "SECONDARY", *old[2:]]
    rest = [*old[2:4], *("VOLUME", "NONE")[len(old[2:4]) :]]
    return ["DERIVED", "PRIMARY", rest[0], "RESAMPLED" if rest[1] == "NONE" else rest[1]]


def _zone(found: Dataset) -> timezone | None:
    """The zone of the source's times; None, which stands for this machine's, where it is silent."""
    text = str(found.get("TimezoneOffsetFromUTC") or "")
    if len(text) != 5 or text[0] not in "+-" or not text[1:].isdigit():
        return None
    offset = timedelta(hours=int(text[1:3]), minutes=int(text[3:]))
    return timezone(-offset if text[0] == "-" else offset)


def equipment(derivation: Derivation) -> Dataset:
    """Us, as one of the devices that made the image. DICOM PS3.3, section C.12.1; IHE RAD AIR."""
    from pydicom import Dataset

    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [code(*EQUIPMENT)]
    item.Manufacturer = MAKER
    item.ManufacturerModelName = derivation.model[: LONGEST_TEXT["LO"]]
    item.SoftwareVersions = derivation.software[: LONGEST_TEXT["LO"]]
    item.DeviceSerialNumber = derivation.sha256
    item.ContributionDateTime = derivation.created.astimezone(UTC).strftime("%Y%m%d%H%M%S+0000")
    item.ContributionDescription = (
        f"{derivation.text}, computed by {derivation.backend}; options {derivation.options}"
    )[: LONGEST_TEXT["ST"]]
    return item


def _pixels(found: Dataset, derivation: Derivation, stored: Stored) -> None:
    """Size and kind of the pixels; a palette is gone once it was applied."""
    found.Rows, found.Columns = stored.rows * derivation.scale, stored.columns * derivation.scale
    found.SamplesPerPixel = stored.bands
    found.PhotometricInterpretation = photometric(derivation.syntax, stored)
    if stored.bands > 1:
        found.PlanarConfiguration = 0
    elif "PlanarConfiguration" in found:
        del found.PlanarConfiguration
    if stored.floating:
        return
    found.BitsAllocated = 8 * np.dtype(stored.dtype).itemsize
    found.BitsStored = stored.bits
    found.HighBit = found.BitsStored - 1
    if stored.bands != stored.samples:
        _expand(found)


def _expand(found: Dataset) -> None:
    """Colours in place of the indices of a palette."""
    from pydicom.datadict import keyword_for_tag

    found.PixelRepresentation = 0
    for tag in sorted(found.keys()):
        name = keyword_for_tag(tag)
        if "PaletteColorLookupTable" in name or name.startswith("PixelPadding"):
            del found[tag]
