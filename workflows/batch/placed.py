"""Whether a product of DICOM shows the same body as its source: corners of frames, in space."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.dicom.geometry import corners
from pipeline.profile import Profile

Numbers = tuple[float, ...]


def moved(source: Profile, product: Profile) -> float | None:
    """Most distance of a corner of the first frame from the source's, in source pixels.

    0 where the source lies nowhere and the sizes agree; None where the product says less than the
    source.
    """
    old, new = _tags(source), _tags(product)
    if not old["PixelSpacing"]:
        return 0.0 if not new["PixelSpacing"] else None
    if [bool(values) for values in old.values()] != [bool(values) for values in new.values()]:
        return None
    if not (old["ImagePositionPatient"] and old["ImageOrientationPatient"]):
        apart = np.subtract(_size(source, old), _size(product, new))
    else:
        apart = np.subtract(_corners(source, old), _corners(product, new))
    return float(np.abs(apart).max()) / min(old["PixelSpacing"])


def _tags(profile: Profile) -> dict[str, Numbers]:
    """Numbers of the tags that say where a frame lies."""
    names = ("PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient")
    return {name: profile.dicom_numbers(name) for name in names}


def _size(profile: Profile, tags: dict[str, Numbers]) -> Numbers:
    down, right = tags["PixelSpacing"]
    return profile.height * down, profile.width * right


def _corners(profile: Profile, tags: dict[str, Numbers]) -> NDArray[np.float64]:
    return corners(
        tags["ImagePositionPatient"],
        tags["ImageOrientationPatient"],
        tags["PixelSpacing"],
        (profile.height, profile.width),
    )
