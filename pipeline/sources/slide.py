"""Whole slides in DICOM: the finest level, read by region; tiles are decoded when they are touched.

Focal planes and optical paths are frames. What no tile covers is white, or 0 of grey, and masked.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from pipeline.dicom.frames import Frames
from pipeline.dicom.instances import first, numbers
from pipeline.dicom.privacy import forget_phi
from pipeline.dicom.series import Series
from pipeline.dicom.slide import Slide, open_slide
from pipeline.dicom.stored import Stored
from pipeline.errors import SourceError
from pipeline.options import SourceOptions
from pipeline.profile import COLOURS, DICOM, Band, Profile
from pipeline.radiometry import Mask, Pixels
from pipeline.sources.identity import identify
from pipeline.sources.series import tags_of
from pipeline.tiling import Window

TOLD = (
    *("kind", "Modality", "Series", "FrameOfReference", "TransferSyntax"),
    *("PhotometricInterpretation", "flags"),
)
"""Tags of a series that hold for a slide too."""


def open_slide_source(uri: str, series: Series, options: SourceOptions) -> SlideSource:
    """Open a slide, the files of which are known; raises SourceError, which names no path."""
    try:
        slide = open_slide(uri)
        frames = _checked(slide)
        profile = _profile(uri, series, slide, frames[0].stored, options)
    except SourceError as error:
        raise forget_phi(error, uri) from None
    return SlideSource(profile, slide, frames)


@lru_cache(maxsize=4)
def _checked(slide: Slide) -> tuple[Frames, ...]:
    """The frames of each file, all of which are there; threads share them. Raises SourceError."""
    found = tuple(Frames(share.sheet.path, share.sheet.header) for share in slide.shares)
    for one in found:
        one.check()
    return found


@dataclass(frozen=True, slots=True)
class SlideSource:
    """The finest level of a slide."""

    profile: Profile
    """Its facts."""
    slide: Slide
    """Where its tiles lie."""
    files: tuple[Frames, ...]
    """What decodes them, of each of the slide's shares."""

    def read(self, window: Window, frame: int = 0) -> Pixels:
        """(band, y, x) of the selected bands; raises SourceError."""
        bands = [band.number - 1 for band in self.profile.bands]
        blank = (
            np.iinfo(self.profile.dtype).max if len(COLOURS) == self.files[0].stored.bands else 0
        )
        pixels = np.full((len(bands), *window.shape), blank, self.profile.dtype)
        for share, file in zip(self.slide.shares, self.files, strict=True):
            for index, tile in share.frames(window, frame):
                both = tile.overlap(window)
                found = self._decoded(file, index)
                inside = (slice(None), *both.within(tile).slices)
                pixels[:, *both.within(window).slices] = found[inside][bands]
        return pixels

    def mask(self, window: Window, frame: int = 0) -> Mask | None:
        """(y, x), True where a tile lies; None where no tile is missing."""
        if not self.profile.mask:
            return None
        covered = np.zeros(window.shape, bool)
        for share in self.slide.shares:
            for _, tile in share.frames(window, frame):
                covered[tile.overlap(window).within(window).slices] = True
        return covered

    def _decoded(self, file: Frames, index: int) -> Pixels:
        try:
            return file.read(index)
        except SourceError as error:
            raise forget_phi(error, self.profile.uri) from None


def _profile(
    uri: str, series: Series, slide: Slide, stored: Stored, options: SourceOptions
) -> Profile:
    """The facts of the finest level; raises SourceError for what cannot be upscaled."""
    layout = slide.layout
    if np.dtype(stored.dtype).kind == "f":
        raise SourceError(f"is a slide of {stored.dtype} pixels; only integers are read")
    if layout.height * layout.width > options.max_pixels:
        raise SourceError(
            f"claims {layout.width} x {layout.height} pixels; source.max_pixels = "
            f"{options.max_pixels} are allowed"
        )
    if slide.spacing is None and options.spacing == "refuse":
        raise SourceError(
            "does not say how large its pixels are; go on without with --set "
            "source.spacing=warn, in batches scenes.spacing=warn"
        )
    paths = [share.sheet.path for share in slide.shares]
    info = np.iinfo(stored.dtype)
    return Profile(
        uri=uri,
        driver=DICOM,
        height=layout.height,
        width=layout.width,
        dtype=stored.dtype,
        bands=_bands(stored, options),
        identity=identify(paths),
        files=tuple(paths),
        nodata=options.nodata,
        mask=slide.gaps,
        tags={DICOM: _tags(series, slide)},
        forgotten=_forgotten(slide),
        block=layout.tile,
        frames=len(slide.focuses),
        limits=None if stored.limits == (info.min, info.max) else stored.limits,
    )


def _bands(stored: Stored, options: SourceOptions) -> tuple[Band, ...]:
    """The selected bands, of fluorescence a grey one; raises SourceError for one not there."""
    colours = COLOURS if stored.bands == len(COLOURS) else ("gray",)
    numbers = options.bands or tuple(range(1, len(colours) + 1))
    for number in numbers:
        if not 1 <= number <= len(colours):
            raise SourceError(f"has {len(colours)} bands; there is no band {number} (see --bands)")
    return tuple(Band(number, colour=colours[number - 1]) for number in numbers)


def _tags(series: Series, slide: Slide) -> dict[str, str]:
    """What it is, where its pixels lie and how large they are, and nothing about whom it shows."""
    found = {name: value for name, value in tags_of(series).items() if name in TOLD}
    origin = first(slide.header, "TotalPixelMatrixOriginSequence")
    x, y = (numbers(origin, f"{axis}OffsetInSlideCoordinateSystem") for axis in "XY")
    numbered = {
        "PixelSpacing": slide.spacing or (),
        "ImagePositionSlide": (*x, *y) if x and y else (),
        "ImageOrientationSlide": numbers(slide.header, "ImageOrientationSlide"),
    }
    told = {name: "\\".join(f"{one:.12g}" for one in some) for name, some in numbered.items()}
    return found | {name: text for name, text in told.items() if text}


def _forgotten(slide: Slide) -> dict[str, str]:
    """What a slide without a size of pixels is warned of."""
    if slide.spacing:
        return {}
    return {"size of pixels": "it does not say how large they are"}
