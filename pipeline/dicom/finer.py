"""Everything in a header that is measured in pixels, or of a pixel, told of finer ones.

Goes through all levels of a data set: what an item does not say itself holds from where it stands.
The centre of pixel k, counted from 0, is at (k + 1/2) * scale - 1/2 among the finer ones:

    coarse   |     0     |     1     |        first of them  k * scale
    fine     |  0  |  1  |  2  |  3  |        last of them   k * scale + scale - 1
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from pipeline.dicom.geometry import decimal_string, fine_position, fine_spacing
from pipeline.dicom.instances import EACH, MEASURES, SHARED, first, numbers

if TYPE_CHECKING:
    from pydicom import Dataset

SPACINGS = (
    *("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"),
    *("ReconstructionPixelSpacing", "ObjectPixelSpacingInCenterOfBeam"),
)
"""Sizes of a pixel. Those of a detector's elements, and of the shape of pixels, stay."""
PLACES = (
    ("ImagePositionPatient", "ImageOrientationPatient", "PlaneOrientationSequence"),
    ("ImagePositionVolume", "ImageOrientationVolume", "PlaneOrientationVolumeSequence"),
)
"""The place of the first pixel, the directions, and where enhanced images keep these."""
UNTOUCHED = ("OriginalAttributesSequence", "ModifiedAttributesSequence")
"""What tells of the past."""
REGIONS = ("Shutter", "Collimator", "ExposureControlSensingRegion")
"""What is a rectangle, a circle or a polygon of pixels, counted from 1. DICOM PS3.3, sections
C.7.6.11, C.8.7.3 and C.8.19.6.3."""
FIRST_EDGES = tuple(
    f"{what}{side}" for what in REGIONS for side in ("LeftVerticalEdge", "UpperHorizontalEdge")
)
LAST_EDGES = tuple(
    f"{what}{side}" for what in REGIONS for side in ("RightVerticalEdge", "LowerHorizontalEdge")
)
POINTS = tuple(
    f"{point}{what}" for what in REGIONS for point in ("CenterOfCircular", "VerticesOfThePolygonal")
)
LENGTHS = (*(f"RadiusOfCircular{what}" for what in REGIONS), "MaskSubPixelShift")
"""In pixels."""
REGION_POINTS = (
    *("DopplerSampleVolumeXPosition", "DopplerSampleVolumeYPosition"),
    *("TMLinePositionX0", "TMLinePositionY0", "TMLinePositionX1", "TMLinePositionY1"),
)
"""Places in an ultrasound image, from 0. DICOM PS3.3, section C.8.5.5."""


def refine(
    dataset: Dataset,
    scale: int,
    *,
    spacing: Sequence[float] = (),
    directions: Sequence[Sequence[float]] = ((), ()),
) -> None:
    """Change a data set in place; `spacing` and `directions` hold where it has none of its own."""
    spacing = _said(dataset, "PixelSpacing", MEASURES) or spacing
    directions = [
        _said(dataset, turn, holder) or known
        for (_, turn, holder), known in zip(PLACES, directions, strict=True)
    ]
    for item in _items(dataset):
        refine(item, scale, spacing=spacing, directions=directions)
    _move(dataset, scale, spacing, directions)
    for name in SPACINGS:
        if found := numbers(dataset, name):
            _set(dataset, name, fine_spacing(found, scale))
    _edges(dataset, scale)
    if "RegionLocationMinX0" in dataset:
        _region(dataset, scale)


def _said(dataset: Dataset, name: str, holder: str) -> tuple[float, ...]:
    """Numbers that hold for a data set: its own, or those of its functional groups."""
    shared, each = first(dataset, SHARED), first(dataset, EACH)
    places = (dataset, *(first(group, holder) for group in (dataset, shared, each) if group))
    return next((found for place in places if (found := numbers(place, name))), ())


def _items(dataset: Dataset) -> Iterator[Dataset]:
    """The items of all sequences that tell of these pixels."""
    for tag in sorted(dataset.keys()):
        known = dataset.get_item(tag)  # a look that decodes no text
        if known is not None and known.VR == "SQ" and dataset[tag].keyword not in UNTOUCHED:
            yield from dataset[tag].value


def _move(
    dataset: Dataset, scale: int, spacing: Sequence[float], directions: Sequence[Sequence[float]]
) -> None:
    """The first pixel's place, where it and all that it takes are known."""
    for (name, *_), directed in zip(PLACES, directions, strict=True):
        position = numbers(dataset, name)
        if (len(position), len(directed), len(spacing)) == (3, 6, 2):
            _set(dataset, name, fine_position(position, directed, spacing, scale))


def _edges(dataset: Dataset, scale: int) -> None:
    """Shutters, collimators and regions that were measured: what they take in stays the same."""
    for name in FIRST_EDGES:
        _change(dataset, name, lambda value: (value - 1) * scale + 1)
    for name in LAST_EDGES:
        _change(dataset, name, lambda value: value * scale)
    for name in POINTS:
        _change(dataset, name, lambda value: (value - 1) * scale + 1 + (scale - 1) // 2)
    for name in LENGTHS:
        _change(dataset, name, lambda value: value * scale)


def _region(region: Dataset, scale: int) -> None:
    """A calibrated region of an ultrasound image; places in it count from its corner."""
    for name in ("RegionLocationMinX0", "RegionLocationMinY0"):
        _change(region, name, lambda value: value * scale)
    for name in ("RegionLocationMaxX1", "RegionLocationMaxY1"):
        _change(region, name, lambda value: value * scale + scale - 1)
    for name in REGION_POINTS:
        _change(region, name, lambda value: value * scale + (scale - 1) // 2)
    for axis in "XY":
        (delta,) = numbers(region, f"PhysicalDelta{axis}") or (0.0,)
        # whole pixels only: where the centre falls between two, the value goes with the pixel
        away = (scale - 1) // 2 - (scale - 1) / 2
        _change(region, f"ReferencePixel{axis}0", lambda value: value * scale + (scale - 1) // 2)
        if f"ReferencePixel{axis}0" in region:
            by = away * delta / scale
            _change(region, f"ReferencePixelPhysicalValue{axis}", by.__add__)
        _change(region, f"PhysicalDelta{axis}", lambda value: value / scale)


def _change(dataset: Dataset, name: str, how: Callable[[float], float]) -> None:
    """Replace the numbers of an attribute, if it has any."""
    found = numbers(dataset, name)
    if found:
        _set(dataset, name, [how(value) for value in found])


def _set(dataset: Dataset, name: str, values: Sequence[float]) -> None:
    """Write numbers as the attribute's type wants them."""
    kind = dataset[name].VR
    written: list[object] = [
        decimal_string(value) if kind == "DS" else value if kind in ("FD", "FL") else round(value)
        for value in values
    ]
    setattr(dataset, name, written if len(written) > 1 else written[0])
