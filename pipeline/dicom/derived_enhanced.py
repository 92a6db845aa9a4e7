"""Derived instances of classes with functional groups for frames: Enhanced CT, MR, PET, XA ..."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.dicom.derived import ENHANCED_CLASSES, LONGEST_TEXT, Derivation, derive, image_type
from pipeline.dicom.finer import refine
from pipeline.dicom.headers import quiet
from pipeline.dicom.instances import EACH, SHARED, first, items
from pipeline.dicom.overlays import refine_overlays
from pipeline.dicom.references import (
    RESAMPLING,
    append,
    can_be_named,
    code,
    evidence,
    refer_to_series,
    source_image,
)

if TYPE_CHECKING:
    from pydicom import Dataset

    from pipeline.dicom.stored import Stored

MR_CLASSES = tuple(f"1.2.840.10008.5.1.4.1.1.4.{end}" for end in (1, 3))
"""Enhanced MR Image, Enhanced MR Color Image."""
DERIVATION = "DerivationImageSequence"
PULSE_SEQUENCE = (
    *("PulseSequenceName", "MRAcquisitionType", "EchoPulseSequence", "MultipleSpinEcho"),
    *("MultiPlanarExcitation", "PhaseContrast", "TimeOfFlightContrast"),
    *("ArterialSpinLabelingContrast", "SteadyStatePulseSequence", "EchoPlanarPulseSequence"),
    *("SaturationRecovery", "SpectrallySelectedSuppression", "OversamplingPhase"),
    *("GeometryOfKSpaceTraversal", "RectilinearPhaseEncodeReordering"),
    *("SegmentedKSpaceTraversal", "CoverageOfKSpace", "NumberOfKSpaceTrajectories"),
    "BulkMotionCompensationTechnique",
)
"""What only an original image may say of its acquisition. DICOM PS3.3, C.8.13.1 and C.8.13.4."""


def is_enhanced(header: Dataset) -> bool:
    """Whether functional groups describe the frames."""
    return SHARED in header or EACH in header or str(header.SOPClassUID) in ENHANCED_CLASSES


def derive_enhanced(
    header: Dataset, derivation: Derivation, stored: Stored, *, size: int | None = None
) -> Dataset:
    """The whole header; every frame names the one that it was made from."""
    found = derive(header, derivation, stored, kind="enhanced", size=size)
    with quiet():
        refine(found, derivation.scale)
        refine_overlays(found, derivation.scale)
        _frame_types(found)
        if _frames(found, header, derivation) and can_be_named(header):
            append(found, "SourceImageEvidenceSequence", evidence(header))
            refer_to_series(found, header)
        if str(found.SOPClassUID) in MR_CLASSES:
            for name in PULSE_SEQUENCE:
                if name in found:
                    delattr(found, name)
    return found


def _frame_types(dataset: Dataset) -> None:
    """The image type of each frame, wherever a class keeps it."""
    for group in (*items(dataset, SHARED), *items(dataset, EACH)):
        for element in group:
            for item in element.value if element.VR == "SQ" else ():
                if "FrameType" in item:
                    item.FrameType = image_type(item.FrameType, "enhanced")


def _frames(found: Dataset, header: Dataset, derivation: Derivation) -> int:
    """Say what each frame was derived from, behind what is said already; how many frames there are.

    Some files describe none of their frames.
    """
    shared = first(found, SHARED)
    before = items(shared, DERIVATION) if shared is not None else ()
    if shared is not None and DERIVATION in shared:
        del shared[DERIVATION]
    for number, group in enumerate(items(found, EACH), 1):
        append(group, DERIVATION, *before, _derivation(header, derivation, number))
    return len(items(found, EACH))


def _derivation(header: Dataset, derivation: Derivation, number: int) -> Dataset:
    """The item of one frame. DICOM PS3.3, section C.7.6.16.2.6."""
    from pydicom import Dataset

    item = Dataset()
    item.DerivationDescription = derivation.text[: LONGEST_TEXT["ST"]]
    item.DerivationCodeSequence = [code(*RESAMPLING)]
    if can_be_named(header):
        item.SourceImageSequence = [source_image(header, number)]
    return item
