"""Photographs: images that belong to no place, which are never cut while they are small."""

from __future__ import annotations

from pipeline.profile import Profile

PHOTOGRAPHS = ("PNG", "JPEG", "BMP")
"""Drivers of pictures, where they are not located; their 8-bit values are shades already."""
WHOLE = 1024
"""Largest side in pixels of a picture that is never cut."""


def is_picture(profile: Profile) -> bool:
    """Whether it is a photograph rather than a measurement of some place."""
    return profile.driver in PHOTOGRAPHS and profile.georef.affine is None


def stays_whole(profile: Profile) -> bool:
    """Whether it is a picture that is never cut."""
    return is_picture(profile) and max(profile.height, profile.width) <= WHOLE
