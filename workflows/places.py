"""Where sources lie on maps: by their transform or, failing that, by ground control points.

Slides lie in the frame of their glass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyproj
from pyproj.exceptions import ProjError

from pipeline.georef import Affine6, Gcp, maps_somewhere
from pipeline.profile import Profile
from workflows.boxes import Box, Grid, carried, connected, whole

LARGEST_SLACK = 0.1
"""Of the longer side: control points that a plane misses by more say nothing."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the pixels of a source lie, as far as that is known."""

    grid: Grid
    """Of its pixels."""
    frame: str
    """Places of one frame can be compared: a map's, a slide's, or that of images without any."""
    slack: float = 0.0
    """Pixels by which they may lie elsewhere."""

    def on(self, shape: tuple[int, int], *, of: tuple[int, int]) -> Place:
        """The place of an image (height, width) that covers what one of size `of` covers here."""
        (a, b, c, d, e, f), down, right = self.grid.affine, of[0] / shape[0], of[1] / shape[1]
        affine = (a * right, b * down, c, d * right, e * down, f)
        return replace(self, grid=replace(self.grid, affine=affine))


def located(profile: Profile) -> Place | None:
    """The place of a source by its own georeferencing; None if it has none."""
    georef = profile.georef
    if georef.affine is not None:
        return _on_map(georef.affine, georef.crs)
    fitted = fit(georef.gcps)
    if fitted is None or fitted[1] > LARGEST_SLACK * max(profile.height, profile.width):
        return None
    return _on_map(fitted[0], georef.gcps_crs, slack=fitted[1])


def on_slide(profile: Profile) -> Place:
    """The place of a level of a slide, or of one of its focal planes and optical paths.

    On the glass, in millimetres, to a pixel; where that is not said: of all levels the same square.
    DICOM PS3.3, section C.8.12.2.1.1.
    """
    tags = profile.dicom
    frame = tags.get("FrameOfReference") or tags.get("Series") or profile.uri
    down, right = profile.dicom_numbers("PixelSpacing") or (1 / profile.height, 1 / profile.width)
    x, y = profile.dicom_numbers("ImagePositionSlide") or (0.0, 0.0)
    plain = Grid((right, 0.0, x, 0.0, down, y))
    turn = profile.dicom_numbers("ImageOrientationSlide")
    if len(turn) != len(plain.affine):
        return Place(plain, f"slide {frame}", slack=1.0)
    turned = (right * turn[0], down * turn[3], x, right * turn[1], down * turn[4], y)
    return Place(Grid(turned) if maps_somewhere(turned) else plain, f"slide {frame}", slack=1.0)


def _on_map(affine: Affine6, crs: str | None, *, slack: float = 0.0) -> Place:
    return Place(Grid(affine, crs or ""), f"map {crs or ''}", slack)


def fit(gcps: Sequence[Gcp]) -> tuple[Affine6, float] | None:
    """(transform, pixels by which it misses the worst point) by least squares; None for a line."""
    if len(gcps) < 3:
        return None
    pixels = np.array([(point.column, point.row) for point in gcps])
    ground = np.array([(point.x, point.y) for point in gcps])
    middle, centre = pixels.mean(axis=0), ground.mean(axis=0)
    found, _, rank, _ = np.linalg.lstsq(pixels - middle, ground - centre, rcond=None)
    (a, d), (b, e) = found.tolist()
    c, f = (centre - middle @ found).tolist()
    affine = (a, b, c, d, e, f)
    if rank < 2 or not maps_somewhere(affine):
        return None
    missed = (ground - centre - (pixels - middle) @ found) @ np.linalg.inv(found)
    return affine, float(np.hypot(*missed.T).max())


def name_maps(
    profiles: Mapping[int, Profile], places: Mapping[int, Place], *, gap: int
) -> tuple[dict[int, Place], dict[int, str]]:
    """(places, why some are left out): those on no named map on that of sources they overlap.

    Coordinates that fit several maps cannot be told apart; those that fit none keep their own.
    """
    nameless = [i for i, place in places.items() if not place.grid.crs]
    if not nameless:
        return dict(places), {}
    fitting: dict[int, list[str]] = {i: [] for i in nameless}
    for crs in dict.fromkeys(place.grid.crs for place in places.values() if place.grid.crs):
        known = [i for i, place in places.items() if place.grid.crs == crs]
        members = [*known, *nameless]
        for together in connected([_extent(profiles[i], places[i], gap) for i in members]):
            if together[0] < len(known):
                for i in (members[j] for j in together if j >= len(known)):
                    fitting[i].append(crs)
    named, unclear = dict(places), dict[int, str]()
    for i, maps in fitting.items():
        if maps and all(_same_map(maps[0], other) for other in maps[1:]):
            place = places[i]
            named[i] = _on_map(place.grid.affine, maps[0], slack=place.slack)
        elif maps:
            del named[i]
            unclear[i] = (
                "names no reference system, and its coordinates fit several of the others; name it "
                "(gdal_edit -a_srs)"
            )
    return named, unclear


def _extent(profile: Profile, place: Place, gap: int) -> Box:
    """In units of its map, whichever that is."""
    box = whole(profile.shape[1:]).grow(gap / 2 + place.slack)
    return carried(box, Grid(place.grid.affine), Grid())


def _same_map(one: str, other: str) -> bool:
    try:
        return pyproj.CRS(one).equals(pyproj.CRS(other), ignore_axis_order=True)
    except ProjError:
        return False
