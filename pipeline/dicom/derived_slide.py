"""Derived slides: one instance for each level of a pyramid of their own, in TILED_FULL.

    level 0     total pixel matrix x scale, pixels / scale
    level n     half of level n - 1, pixels exactly twice as large, the same tiles

The outer corners of all levels are those of the source: only centres of pixels are elsewhere. What
is said of the label is left behind, for it may name the patient. DICOM PS3.3, section A.32.8.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING

from pipeline.dicom.deidentify import deidentify
from pipeline.dicom.derived import LONGEST_TEXT, Derivation, derive, image_type
from pipeline.dicom.geometry import LONGEST, affine, decimal_string, fine_spacing
from pipeline.dicom.headers import DAMAGE, quiet
from pipeline.dicom.instances import SHARED, first, items, numbers
from pipeline.dicom.lossy import JPEG, add_loss
from pipeline.dicom.references import RESAMPLING, append, code, refer_to_series, source_image
from pipeline.dicom.slide import Slide
from pipeline.dicom.uids import derived_uid
from pipeline.errors import PlanError

if TYPE_CHECKING:
    from pydicom import Dataset

    from pipeline.dicom.stored import Stored

LEFT = (
    *("LabelText", "BarcodeValue", "PyramidLabel", "PyramidDescription"),
    *("DimensionIndexSequence", "ConcatenationUID", "InConcatenationNumber"),
    *("InConcatenationTotalNumber", "ConcatenationFrameOffsetNumber"),
    *("SOPInstanceUIDOfConcatenationSource", "PerFrameFunctionalGroupsSequence"),
)
"""Attributes of the label, of the source's pyramid and of how its frames were strewn."""
NAMED = (
    "DerivationImageSequence",
    "PlanePositionSlideSequence",
    "OpticalPathIdentificationSequence",
)
"""Functional groups of frames of which TILED_FULL has no need, or that told of the source."""


@dataclass(frozen=True, slots=True)
class Extent:
    """What one instance holds."""

    level: int
    """0 is full resolution."""
    shape: tuple[int, int]
    """(height, width) of the level."""
    frames: int
    """Frames in this instance."""
    order: int
    """Place among all instances, from 1."""
    part: int = 1
    """Which part of a concatenation."""
    parts: int = 1
    """Parts of the concatenation; 1 for none."""
    offset: int = 0
    """Frames in the parts before."""
    ratio: float = 1.0
    """Plain over encoded bytes of its frames."""


def derive_slide(
    slide: Slide, derivation: Derivation, stored: Stored, *, side: int, anonymous: bool
) -> Dataset:
    """What the headers of all levels have in common; tiles are of `side` pixels.

    Raises PlanError for a header with values that cannot be understood.
    """
    headers = [share.sheet.header for share in slide.shares]
    size = os.stat(slide.shares[0].sheet.path).st_size
    with _telling():
        if anonymous:
            headers = [deidentify(header, private=bool(derivation.private)) for header in headers]
        found = derive(headers[0], derivation, stored, kind="slide", size=size)
        for name in LEFT:
            if name in found:
                delattr(found, name)
        found.Rows = found.Columns = side
        _organise(found, slide, derivation)
        _refer(found, headers, derivation)
        _see(found, headers, slide.paths)
        found.ContentQualification = "RESEARCH"
    return found


def derive_level(base: Dataset, slide: Slide, derivation: Derivation, extent: Extent) -> Dataset:
    """The header of one instance; `base` comes from `derive_slide` and stays as it is."""
    with _telling():
        found = deepcopy(base)
        found.TotalPixelMatrixRows, found.TotalPixelMatrixColumns = extent.shape
        found.NumberOfFrames = extent.frames
        found.InstanceNumber = extent.order
        _place(found, slide, derivation.scale, extent.level)
        _name(found, base, extent)
        if derivation.syntax == "jpeg":
            add_loss(found, JPEG, extent.ratio)
    return found


@contextmanager
def _telling() -> Iterator[None]:
    """Turn what pydicom raises for values that are none into one line without them."""
    try:
        with quiet():
            yield
    except DAMAGE as error:
        raise PlanError(
            f"an attribute of its header cannot be carried over ({type(error).__name__}); mend the "
            "header, or write to .zarr"
        ) from None


def uneven_planes(slide: Slide) -> str | None:
    """Why TILED_FULL cannot hold the slide's focal planes; None if it can."""
    by_path = {
        path: [focus.height for focus in slide.focuses if focus.path == path]
        for path in slide.paths
    }
    heights = next(iter(by_path.values()))
    if any(other != heights for other in by_path.values()):
        return "its optical paths have different focal planes"
    steps = [upper - lower for lower, upper in pairwise(heights)]
    if steps and max(steps) - min(steps) > 1e-3 * max(steps):
        return "its focal planes are not evenly spaced"
    return None


def _organise(found: Dataset, slide: Slide, derivation: Derivation) -> None:
    """Tiles in rows; pyramid and dimensions of its own."""
    from pydicom import Dataset

    series = str(found.SeriesInstanceUID)
    found.PyramidUID = derivation.uid(series, "pyramid")
    dimensions = Dataset()
    dimensions.DimensionOrganizationUID = derivation.uid(series, "dimensions")
    found.DimensionOrganizationSequence = [dimensions]
    found.DimensionOrganizationType = "TILED_FULL"
    planes = len(slide.focuses) // len(slide.paths)
    found.TotalPixelMatrixFocalPlanes = planes
    found.ImageType = image_type(found.ImageType, "slide")
    groups = first(found, SHARED)
    if groups is None:
        groups = Dataset()
        found.SharedFunctionalGroupsSequence = [groups]
    for name in NAMED:
        if name in groups:
            delattr(groups, name)
    kind = Dataset()
    kind.FrameType = found.ImageType
    groups.WholeSlideMicroscopyImageFrameTypeSequence = [kind]
    if planes > 1 and "PixelMeasuresSequence" in groups:
        step = (slide.focuses[1].height - slide.focuses[0].height) / 1000
        groups.PixelMeasuresSequence[0].SpacingBetweenSlices = decimal_string(step)


def _refer(found: Dataset, headers: Sequence[Dataset], derivation: Derivation) -> None:
    """What it was made from, and how."""
    before = str(found.get("DerivationDescription") or "").strip()
    text = "; before: ".join(filter(None, (derivation.text, before)))
    found.DerivationDescription = text[: LONGEST_TEXT["ST"]]
    append(found, "DerivationCodeSequence", code(*RESAMPLING))
    found.SourceImageSequence = [source_image(header) for header in headers]
    refer_to_series(found, *headers)


def _see(found: Dataset, headers: Sequence[Dataset], paths: Sequence[str]) -> None:
    """The optical paths, in the order of the frames: files may hold one each."""
    known = {
        str(item.get("OpticalPathIdentifier")): item
        for header in headers
        for item in items(header, "OpticalPathSequence")
    }
    seen = [deepcopy(known[path]) for path in paths if path in known]
    if seen:
        found.OpticalPathSequence = seen
        found.NumberOfOpticalPaths = len(seen)


def _place(found: Dataset, slide: Slide, scale: int, level: int) -> None:
    """How large pixels are, and where the first of them lies."""
    if slide.spacing is None:
        return
    measures = found.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    measures.PixelSpacing = [_doubled(size, level) for size in fine_spacing(slide.spacing, scale)]
    origin = first(found, "TotalPixelMatrixOriginSequence")
    turn = numbers(found, "ImageOrientationSlide")
    if origin is None or len(turn) != 6:
        return
    names = [f"{axis}OffsetInSlideCoordinateSystem" for axis in "XY"]
    start = [*(value for name in names for value in numbers(origin, name)), 0.0]
    if len(start) == 3:
        shift = (2**level / scale - 1) / 2
        moved = affine(start, turn, slide.spacing, (0.0, 0.0, 0.0)) @ (shift, shift, 0.0, 1.0)
        for name, value in zip(names, moved[:2].tolist(), strict=True):
            setattr(origin, name, decimal_string(value))


def _doubled(size: float, level: int) -> str:
    """`size` as it is written, times 2^level to the last digit; the nearest if that is too long."""
    exact = Decimal(decimal_string(size)) * 2**level
    text = format(exact, "f")
    return text if len(text) <= LONGEST else decimal_string(float(exact))


def _name(found: Dataset, base: Dataset, extent: Extent) -> None:
    """Identifiers of the level, and of the concatenation that it is cut into."""
    whole = derived_uid(str(base.SOPInstanceUID), f"level {extent.level}")
    found.SOPInstanceUID = whole
    if extent.parts == 1:
        return
    found.SOPInstanceUID = derived_uid(whole, f"part {extent.part}")
    found.SOPInstanceUIDOfConcatenationSource = whole
    found.ConcatenationUID = derived_uid(whole, "concatenation")
    found.InConcatenationNumber = extent.part
    found.InConcatenationTotalNumber = extent.parts
    found.ConcatenationFrameOffsetNumber = extent.offset


def divide(sizes: Sequence[int], most: int) -> list[tuple[int, int]]:
    """(first, last + 1) of the frames of each instance: what `most` bytes hold, one at least."""
    cuts, held = [0], 0
    for frame, size in enumerate(sizes):
        if held + size > most and frame > cuts[-1]:
            cuts.append(frame)
            held = 0
        held += size
    return list(zip(cuts, [*cuts[1:], len(sizes)], strict=True))
