"""Headers without whom they are about: the basic profile of DICOM PS3.15, annex E.

Identifiers are replaced consistently, so that instances still belong together and refer to each
other; dates go; so do private attributes and those that no dictionary knows. Text that is burned
into the pixels is not touched, and the header says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.dicom.confidentiality import EMPTIED, REMOVED, REPLACED
from pipeline.dicom.headers import damages, quiet
from pipeline.dicom.references import append, code
from pipeline.dicom.uids import derived_uid, opaque

if TYPE_CHECKING:
    from pydicom import DataElement, Dataset

STANDARD = "1.2.840.10008."
"""How identifiers of the standard itself begin."""
PUBLIC = ("ClassUID", "CodingSchemeUID", "ContextUID", "MappingResourceUID")
"""How attributes end whose identifiers name kinds of things, not things."""
PROFILE = ("113100", "DCM", "Basic Application Confidentiality Profile")
"""What was done. DICOM PS3.16, CID 7050."""
METHOD = "PS3.15 basic profile; text burned into pixels is not touched"
"""The same for people, at most 64 characters."""
WHEN = {"DA": "19000101", "TM": "000000", "DT": "19000101000000"}
"""Dummies of dates and times, by type."""
DUMMIES = {
    **WHEN,
    **dict.fromkeys(("LO", "SH", "ST", "LT", "UT", "UC", "AE", "CS"), "ANONYMIZED"),
    **dict.fromkeys(("IS", "DS"), "0"),
    **dict.fromkeys(("FD", "FL", "SL", "SS", "UL", "US", "SV", "UV"), 0),
    "AS": "000Y",
    "PN": "ANONYMIZED^",
}
"""Values of what may not be empty."""
EMPTY = (*WHEN, "PN")
"""Types that tell of whom or when, whatever the attribute."""
OVERLAYS = range(0x6000, 0x6100)
OVERLAY_SECRETS = (0x3000, 0x4000)
"""Data and comments of overlays, which the profile removes."""


def deidentify(header: Dataset, *, private: bool = False) -> Dataset:
    """A copy that follows the profile; `private` keeps private attributes for a later choice."""
    with quiet():
        found = _without(header, private=private)
        found.file_meta = header.file_meta
        # one number for all would make one patient of them where they are stored
        found.PatientID = f"ANON-{opaque(str(found.get('StudyInstanceUID') or ''))}"
        found.PatientIdentityRemoved = "YES"
        found.DeidentificationMethod = METHOD
        found.LongitudinalTemporalInformationModified = "REMOVED"
        append(found, "DeidentificationMethodCodeSequence", code(*PROFILE))
    return found


def _without(dataset: Dataset, *, private: bool) -> Dataset:
    from pydicom import Dataset

    found = Dataset()
    for tag in sorted(dataset.keys()):
        if tag.is_private:
            if private:
                found[tag] = dataset[tag]
            continue
        if tag.group in OVERLAYS and tag.element in OVERLAY_SECRETS:
            continue
        try:
            element = dataset[tag]
        except damages():
            continue  # what cannot be read cannot be judged
        kept = _judged(element, private=private)
        if kept is not None:
            found[tag] = kept
    return found


def _judged(element: DataElement, *, private: bool) -> DataElement | None:
    """What becomes of an element; None where it goes."""
    from pydicom import DataElement, Sequence

    name, kind, value = element.keyword, str(element.VR), element.value
    if not name or name in REMOVED or (name in REPLACED and kind not in DUMMIES):
        return None
    if kind == "UI":
        return _renamed(element)
    if name in REPLACED:
        value = DUMMIES[kind] if value else value
    elif name in EMPTIED or kind in EMPTY:
        value = Sequence() if kind == "SQ" else ""
    elif kind == "SQ":
        value = Sequence([_without(item, private=private) for item in value])
    return DataElement(element.tag, kind, value)


def _renamed(element: DataElement) -> DataElement:
    """The same identifiers but for those of things, which become others that follow from them."""
    from pydicom import DataElement

    if element.keyword.endswith(PUBLIC) or not element.value:
        return element
    several = [element.value] if isinstance(element.value, str) else list(element.value)
    uids = [
        uid if uid.startswith(STANDARD) else derived_uid(uid, PROFILE[0])
        for uid in map(str, several)
    ]
    return DataElement(element.tag, "UI", uids if len(uids) > 1 else uids[0])
