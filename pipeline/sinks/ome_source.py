"""Where the source of a plan lies: read of its headers once more, when the store is published."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.dicom.instances import first, numbers
from pipeline.dicom.series import Series, open_series
from pipeline.dicom.slide import find_slides
from pipeline.plan import Plan
from pipeline.sinks.ome_layout import is_slide
from pipeline.sinks.ome_place import Place, place_frames, place_slide

if TYPE_CHECKING:
    from pydicom import Dataset

ORIGIN = ("XOffsetInSlideCoordinateSystem", "YOffsetInSlideCoordinateSystem")
"""Of the total pixel matrix. DICOM PS3.3, section C.8.12.4.1.4."""


def place_of(plan: Plan) -> Place:
    """The place of a plan's source; raises SourceError."""
    series = open_series(plan.source.uri)
    if is_slide(plan.profile):
        return _place_of_slide(series)
    return place_frames(series.planes, series.first.spacing, step=series.step)


def _place_of_slide(series: Series) -> Place:
    slide = find_slides(series.paths)[0]
    header: Dataset = slide.header
    item = first(header, "TotalPixelMatrixOriginSequence")
    origin = tuple(number for name in ORIGIN for number in numbers(item, name))
    return place_slide(origin, numbers(header, "ImageOrientationSlide"), slide.spacing)
