"""Where the source of a plan lies: read of its headers, before it runs and when it is published."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from pipeline.dicom.grouping import STRETCHED, TURNED
from pipeline.dicom.headers import quiet, read_header
from pipeline.dicom.instances import (
    EACH,
    MEASURES,
    SHARED,
    Instance,
    first,
    items,
    numbers,
    pair,
)
from pipeline.dicom.privacy import forget_phi
from pipeline.dicom.series import Series, open_series
from pipeline.dicom.slide import find_slides
from pipeline.errors import PlanError, SourceError
from pipeline.plan import Plan
from pipeline.sinks.ome_place import Place, place_frames, place_slide

if TYPE_CHECKING:
    from pydicom import Dataset

ORIGIN = ("XOffsetInSlideCoordinateSystem", "YOffsetInSlideCoordinateSystem")
"""Of the total pixel matrix. DICOM PS3.3, section C.8.12.4.1.4."""


def place_of(plan: Plan) -> Place:
    """The place of a plan's source; raises SourceError."""
    series = open_series(plan.source.uri)
    if plan.profile.slide:
        return _place_of_slide(series)
    return place_frames(series.planes, series.first.spacing, step=series.step)


def check_place(plan: Plan) -> None:
    """Raise PlanError for frames that no single place is that of; raises SourceError."""
    if plan.profile.slide:
        _check_planes(plan)
        return
    series = open_series(plan.source.uri)
    turns = [plane.orientation for plane in series.planes if plane is not None]
    sizes = [size for one in series.instances for size in _sizes(one)]
    odd = [
        *["orientations"] * _differ(turns, part=0.0, by=TURNED),
        *["sizes of pixels"] * _differ(sizes, part=STRETCHED, by=0.0),
    ]
    if odd:
        raise PlanError(
            f"has frames of different {' and '.join(odd)}, where OME-Zarr has one for all of them; "
            "write DICOM, which tells them frame by frame: name a directory or a file .dcm",
            uri=plan.profile.label,
        )


def _check_planes(plan: Plan) -> None:
    """Refuse slides of several optical paths or focal planes: how far apart these are, no axis of
    ours says."""
    if plan.profile.frames > 1:
        raise PlanError(
            f"is a slide of {plan.profile.frames} optical paths or focal planes, whose places "
            "OME-Zarr would lose; write DICOM: name a directory",
            uri=plan.profile.label,
        )


def _differ(values: Sequence[tuple[float, ...]], *, part: float, by: float) -> bool:
    """Whether some are not the first, by more than a part of it or this much."""
    return len(values) > 0 and not np.allclose(values, values[0], rtol=part, atol=by)


def _sizes(instance: Instance) -> list[tuple[float, float]]:
    """(between rows, between columns) as frames say it; (0, 0) where only others do."""
    known = [plane.spacing for plane in instance.planes if plane is not None]
    if instance.kind == "multiframe" and len(known) < len(instance.planes):
        known += _said(instance.path)
    return [size or (0.0, 0.0) for size in known] if any(known) else []


def _said(path: str) -> set[tuple[float, float] | None]:
    """Sizes of pixels in a file's functional groups, of frames without positions too."""
    try:
        header = read_header(path)
    except SourceError as error:
        raise forget_phi(error, path) from None
    with quiet():
        groups = (*items(header, SHARED), *items(header, EACH))
        measures = (first(group, MEASURES) for group in groups)
        return {pair(numbers(one, "PixelSpacing")) for one in measures if one is not None}


def _place_of_slide(series: Series) -> Place:
    slide = find_slides(series.paths)[0]
    header: Dataset = slide.header
    item = first(header, "TotalPixelMatrixOriginSequence")
    origin = tuple(number for name in ORIGIN for number in numbers(item, name))
    return place_slide(origin, numbers(header, "ImageOrientationSlide"), slide.spacing)
