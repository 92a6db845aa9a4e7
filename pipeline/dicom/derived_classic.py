"""Derived instances of classes without functional groups: CT, MR, CR, DX, MG, US, XA, SC ..."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.dicom.derived import LONGEST_TEXT, Derivation, derive, text_of
from pipeline.dicom.finer import refine
from pipeline.dicom.headers import quiet
from pipeline.dicom.overlays import refine_overlays
from pipeline.dicom.references import (
    RESAMPLING,
    append,
    can_be_named,
    code,
    refer_to_series,
    source_image,
)

if TYPE_CHECKING:
    from pydicom import Dataset

    from pipeline.dicom.stored import Stored


def derive_classic(
    header: Dataset, derivation: Derivation, stored: Stored, *, size: int | None = None
) -> Dataset:
    """The whole header; all frames of a source of several are those of the derived image."""
    found = derive(header, derivation, stored, kind="classic", size=size)
    with quiet():
        refine(found, derivation.scale)
        refine_overlays(found, derivation.scale)
        before = text_of(found, "DerivationDescription")
        text = "; before: ".join(filter(None, (derivation.text, before)))
        found.DerivationDescription = text[: LONGEST_TEXT["ST"]]
        append(found, "DerivationCodeSequence", code(*RESAMPLING))
        found.pop("SourceImageSequence", None)
        if can_be_named(header):
            found.SourceImageSequence = [source_image(header)]
        refer_to_series(found, header)
    return found
