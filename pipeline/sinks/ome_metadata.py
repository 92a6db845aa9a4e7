"""What an OME-Zarr store says: axes, levels and units; and beside it what OME-NGFF lacks.

Of the patient it says nothing: no names, dates, identifiers or paths are among what is written.
Source: ngff.openmicroscopy.org/0.5; window of omero: the transitional metadata of the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.plan import Plan
from pipeline.serial import Json, to_json
from pipeline.sinks.ome_layout import axes
from pipeline.sinks.ome_place import Place
from pipeline.statistics import Statistics

VERSION = "0.5"
"""Of OME-NGFF."""
KINDS = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}
"""Types of axes."""
COLOURS = ("FF0000", "00FF00", "0000FF")
"""In which three channels are shown."""
RESEARCH = "Derived by super-resolution. For research, not for diagnosis."
"""What every output says of itself."""
POSITIONS = (
    "(x, y, z) in mm in the patient's coordinates of the centre of each frame's first pixel, at "
    "level 0; steps differ, and multiscales and affine are of even ones"
)
"""What is said where one matrix does not hold the frames."""
FACTS = ("Modality", "PhotometricInterpretation")
"""What is kept of the tags: words that the standard defines."""


def root_attributes(plan: Plan, place: Place, statistics: Sequence[Statistics]) -> dict[str, Json]:
    """Of the root group."""
    ome: dict[str, Json] = {"version": VERSION, "multiscales": [_multiscales(plan, place)]}
    if len(plan.fine.bands) == len(COLOURS):
        ome["omero"] = {"channels": _channels(plan, statistics)}
    return {
        "ome": ome,
        "dicom": _dicom(plan, place),
        "contents": RESEARCH,
        "software": plan.provenance.software,
        "processing": plan.provenance.processing,
        "provenance": to_json(plan.provenance),
        "plan_sha256": plan.digest,
        "complete": True,
    }


def _multiscales(plan: Plan, place: Place) -> dict[str, Json]:
    """The pyramid: of each level where its first pixel lies and how large its pixels are."""
    names, found = axes(plan.profile), dict[str, Json]()
    found["name"] = "image"
    found["axes"] = [_axis(name, place) for name in names]
    datasets: list[Json] = []
    for level in range(len(plan.levels)):
        factor = 2**level / plan.provenance.scale
        transforms: list[Json] = []
        for kind, values in (
            ("scale", place.scale(factor)),
            ("translation", place.translation(factor)),
        ):
            said = dict(zip("zyx", values, strict=True))
            other = 1.0 if kind == "scale" else 0.0
            transforms.append({"type": kind, kind: [said.get(name, other) for name in names]})
        datasets.append({"path": str(level), "coordinateTransformations": transforms})
    found["datasets"] = datasets
    if len(plan.levels) > 1:
        found["type"] = plan.method
        found["metadata"] = {"description": "2 x 2 pixels of a level are one of the next"}
    return found


def _axis(name: str, place: Place) -> dict[str, Json]:
    axis: dict[str, Json] = {"name": name, "type": KINDS[name]}
    if KINDS[name] == "space" and place.unit:
        axis["unit"] = place.unit
    return axis


def _channels(plan: Plan, statistics: Sequence[Statistics]) -> list[Json]:
    """How viewers are to show colours."""
    low, high = _range(plan)
    channels: list[Json] = []
    for index, colour in enumerate(COLOURS):
        seen = statistics[index] if statistics else None
        bright = seen is not None and seen.count and high > 255
        start, end = (seen.minimum, seen.maximum) if seen and bright else (low, high)
        window: dict[str, Json] = {"min": low, "max": high, "start": start, "end": end}
        channels.append(
            {
                "label": plan.fine.bands[index].colour,
                "color": colour,
                "active": True,
                "window": window,
            }
        )
    return channels


def _range(plan: Plan) -> tuple[float, float]:
    """The least and greatest value that may occur."""
    if plan.fine.limits is not None:
        return plan.fine.limits
    dtype = np.dtype(plan.fine.dtype)
    return (0.0, 1.0) if dtype.kind == "f" else (np.iinfo(dtype).min, np.iinfo(dtype).max)


def _dicom(plan: Plan, place: Place) -> dict[str, Json]:
    """What NGFF 0.5 has no words for."""
    fine, tags = plan.fine, plan.fine.dicom
    band = fine.bands[0]
    found: dict[str, Json] = {name: tags[name] for name in FACTS if name in tags}
    found["kind"] = "slide" if plan.profile.slide else "image"
    if (band.scale, band.offset) != (1.0, 0.0) or band.unit:
        found["rescale"] = {"slope": band.scale, "intercept": band.offset, "unit": band.unit}
    if fine.nodata is not None:
        found["padding"] = to_json(fine.nodata)
    if place.affine is not None:
        x, y, _ = place.directions
        found["orientation"] = [*x, *y]
        found["affine"] = [list[Json](row) for row in place.affine]
        found["affine_note"] = (
            "from (x, y, z, 1) in the coordinates of multiscales to those of the "
            + ("slide" if plan.profile.slide else "patient (left, posterior, superior)")
        )
    if place.planes:
        found["positions"] = [one and [*one] for one in place.positions(plan.provenance.scale)]
        found["positions_note"] = POSITIONS
    return found
