"""How a derived image says what it was made from, by what and how. DICOM PS3.3, C.7.6.1."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom import Dataset

RESAMPLING = ("113085", "DCM", "Spatial resampling")
"""How it was derived. DICOM PS3.16, CID 7203."""
SOURCE = ("121322", "DCM", "Source image for image processing operation")
"""Why the source is referred to. DICOM PS3.16, CID 7202."""
UID = re.compile(r"[0-2](\.(0|[1-9][0-9]*))+")
"""What an identifier looks like. DICOM PS3.5, section 9.1."""
EQUIPMENT = ("109102", "DCM", "Processing Equipment")
"""What else had a hand in it. DICOM PS3.16, CID 7005."""


def code(value: str, scheme: str, meaning: str) -> Dataset:
    """The item of a sequence of codes."""
    from pydicom import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def instance(header: Dataset) -> Dataset:
    """A reference to an instance."""
    from pydicom import Dataset

    item = Dataset()
    item.ReferencedSOPClassUID = header.SOPClassUID
    item.ReferencedSOPInstanceUID = header.SOPInstanceUID
    return item


def source_image(header: Dataset, frame: int | None = None) -> Dataset:
    """A reference to the source, or to one of its frames, counted from 1."""
    item = instance(header)
    if frame is not None:
        item.ReferencedFrameNumber = str(frame)
    item.SpatialLocationsPreserved = "YES"
    item.PurposeOfReferenceCodeSequence = [code(*SOURCE)]
    return item


def can_be_named(header: Dataset) -> bool:
    """Whether identifiers of the source are legal; no reference can be made to others."""
    uids = (str(header.get(name) or "") for name in ("SOPInstanceUID", "SeriesInstanceUID"))
    return all(len(uid) <= 64 and UID.fullmatch(uid) for uid in uids)


def append(dataset: Dataset, name: str, *items: Dataset) -> None:
    """Add items to a sequence, behind those that are there."""
    setattr(dataset, name, [*(dataset.get(name) or ()), *items])


def refer_to_series(dataset: Dataset, *headers: Dataset) -> None:
    """Name the series of the sources. DICOM PS3.3, section C.12.2.

    `headers` are of one series. Where it is named already, what is missing is added to it.
    """
    from pydicom import Dataset

    if not all(map(can_be_named, headers)):
        return
    series = str(headers[0].SeriesInstanceUID)
    named = dataset.get("ReferencedSeriesSequence") or ()
    item = next((one for one in named if one.get("SeriesInstanceUID") == series), None)
    if item is None:
        item = Dataset()
        item.SeriesInstanceUID = series
        append(dataset, "ReferencedSeriesSequence", item)
    known = {
        str(one.ReferencedSOPInstanceUID) for one in item.get("ReferencedInstanceSequence", ())
    }
    new = [instance(header) for header in headers if str(header.SOPInstanceUID) not in known]
    append(item, "ReferencedInstanceSequence", *new)


def evidence(header: Dataset) -> Dataset:
    """The source by study and series, as enhanced images name it. PS3.3, section C.17.2.1."""
    from pydicom import Dataset

    series, study = Dataset(), Dataset()
    series.ReferencedSOPSequence = [instance(header)]
    series.SeriesInstanceUID = header.get("SeriesInstanceUID")
    study.ReferencedSeriesSequence = [series]
    study.StudyInstanceUID = header.get("StudyInstanceUID")
    return study
