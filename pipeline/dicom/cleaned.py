"""A copy of a header without what cannot be true of other pixels, and with values that fit.

Dropped everywhere: what was measured on the coarse pixels, thumbnails, signatures, curves, group
lengths, and private attributes but those that are asked for.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from pipeline.dicom.geometry import LONGEST, decimal_string
from pipeline.dicom.headers import BIG_ENDIAN, damages, quiet

if TYPE_CHECKING:
    from pydicom import DataElement, Dataset
    from pydicom.dataelem import RawDataElement
    from pydicom.tag import BaseTag

DROPPED = frozenset(
    {
        *(0x00080001, 0x00080014),  # length to end, instance creator
        *(0x00280106, 0x00280107, 0x00280108, 0x00280109, 0x00280110, 0x00280111),  # extremes
        *(0x00603000, 0x00880200, 0x00287FE0),  # histogram, icon, where pixels lie elsewhere
        *(0x4FFE0001, 0xFFFAFFFA, 0xFFFCFFFC),  # checksums, signatures, padding
        *(0x7FE00001, 0x7FE00002, 0x7FE00008, 0x7FE00009, 0x7FE00010),  # pixels and their offsets
    }
)
"""Tags of what describes or holds the coarse pixels, or signs them."""
CURVES = range(0x5000, 0x5100)
"""Groups of curves, retired, which are drawn in coarse pixels."""
WORDS = {"OW": 2, "OL": 4, "OF": 4, "OD": 8, "OV": 8}
"""Bytes of the words in values that pydicom leaves as they are."""
TEXTS = ("PN", "LO", "SH", "LT", "ST", "UT", "UC")
"""Types of text in the data set's character set."""
UNREADABLE = "\ufffd"
"""What stands for bytes that are no character of that set: they are kept as they are."""


def clean(source: Dataset, *, private: Collection[str] = ()) -> Dataset:
    """The copy; `private` names creators whose attributes are kept.

    Decimal strings longer than the 16 characters of PS3.5, section 6.2 become the nearest that are
    not. A value that cannot be understood stays as it is, or is dropped where its bytes cannot.
    """
    meta = getattr(source, "file_meta", None)
    big = meta is not None and str(meta.get("TransferSyntaxUID", "")) == BIG_ENDIAN
    with quiet():
        return _cleaned(source, frozenset(private), big=big)


def _cleaned(source: Dataset, private: frozenset[str], *, big: bool) -> Dataset:
    from pydicom import Dataset

    found = Dataset()
    for tag in sorted(source.keys()):
        if _is_dropped(source, tag, private):
            continue
        element = _element(source, tag, private, big=big)
        if element is not None:
            found[tag] = element
    return found


def _is_dropped(source: Dataset, tag: BaseTag, private: frozenset[str]) -> bool:
    if tag in DROPPED or not tag.element or tag.group in CURVES:
        return True
    return tag.is_private and _creator(source, tag) not in private


def _creator(source: Dataset, tag: BaseTag) -> str:
    """Who has reserved a private tag. DICOM PS3.5, section 7.8.1."""
    block = tag.element if tag.element < 0x100 else tag.element >> 8
    try:
        return str(source[tag.group << 16 | block].value).strip()
    except damages():
        return ""


def _element(
    source: Dataset, tag: BaseTag, private: frozenset[str], *, big: bool
) -> DataElement | None:
    from pydicom import DataElement, Sequence

    raw = source.get_item(tag)  # as in the file, for the next line puts what it means in its place
    try:
        element: DataElement = source[tag]
        if element.VR in TEXTS and UNREADABLE in str(element.value) and raw is not element:
            return _as_it_is(element, raw)
        if element.VR == "SQ":
            items = [_cleaned(item, private, big=big) for item in element.value]
            return DataElement(tag, "SQ", Sequence(items))
        if element.VR == "DS":
            return _short(element)
        value = element.value
        if big and element.VR in WORDS and isinstance(value, bytes):
            value = np.frombuffer(value, f"u{WORDS[element.VR]}").byteswap().tobytes()
        return DataElement(tag, element.VR, value, already_converted=True)
    except damages():
        return None if big or raw is None or not raw.VR else raw


def _as_it_is(element: DataElement, raw: RawDataElement | DataElement | None) -> DataElement:
    """Text that is none in its character set, by its bytes."""
    from pydicom import DataElement
    from pydicom.valuerep import PersonName

    data = getattr(raw, "value", None)
    if not isinstance(data, bytes):
        return element
    value: object = data
    if element.VR == "PN":
        value = name = PersonName("")
        # without an encoding of its own it is written as it was
        name.original_string, name.encodings = data.rstrip(b" \0"), None
    return DataElement(element.tag, element.VR, value, already_converted=True)


def _short(element: DataElement) -> DataElement:
    """An element of decimal strings, each of which fits."""
    from pydicom import DataElement

    value = element.value
    if value is None or value == "":
        return DataElement(element.tag, "DS", value)
    several = [value] if isinstance(value, float | str) or not hasattr(value, "__iter__") else value
    texts = [str(one).strip() for one in several]
    fitting = [text if len(text) <= LONGEST else decimal_string(float(text)) for text in texts]
    return DataElement(element.tag, "DS", fitting if len(fitting) > 1 else fitting[0])
