"""A derived instance as a whole: the header that suits its class, and its frames, in one file."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.dicom.deidentify import deidentify
from pipeline.dicom.derived import Derivation, name_itself
from pipeline.dicom.derived_classic import derive_classic
from pipeline.dicom.derived_enhanced import derive_enhanced, is_enhanced
from pipeline.dicom.headers import read_header
from pipeline.dicom.privacy import forget_phi
from pipeline.dicom.stored import Stored, describe
from pipeline.dicom.write import write_instance
from pipeline.errors import PipelineError

if TYPE_CHECKING:
    from pydicom import Dataset


def derived_header(path: str, derivation: Derivation, *, anonymous: bool) -> tuple[Dataset, Stored]:
    """(header, pixels as read) that follow from a file; raises SourceError and PlanError."""
    header = read_header(path)
    stored = describe(header)
    name_itself(header)
    if anonymous:
        header = deidentify(header, private=bool(derivation.private))
    derive = derive_enhanced if is_enhanced(header) else derive_classic
    return derive(header, derivation, stored, size=os.stat(path).st_size), stored


def write_derived(
    target: Path, path: str, frames: Iterable[bytes], derivation: Derivation, *, anonymous: bool
) -> None:
    """Write the instance that follows from the file at `path`, with its encoded frames."""
    try:
        dataset, stored = derived_header(path, derivation, anonymous=anonymous)
    except PipelineError as error:
        raise forget_phi(error, path) from None
    floats = {"float32": "FloatPixelData", "float64": "DoubleFloatPixelData"}
    write_instance(
        target,
        dataset,
        frames,
        syntax=derivation.syntax,
        number=stored.frames,
        element=floats.get(stored.dtype, "PixelData"),
    )
