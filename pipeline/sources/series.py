"""Series of DICOM as one stack of frames: values as stored, before any window or rescaling.

Nothing that a profile says tells whom it shows: series and frames of reference have opaque names.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np

from pipeline.dicom.frames import Frames
from pipeline.dicom.headers import read_header
from pipeline.dicom.privacy import called, forget_phi
from pipeline.dicom.series import Series, Slot
from pipeline.dicom.uids import opaque
from pipeline.errors import ChangedError, SourceError
from pipeline.options import SourceOptions
from pipeline.profile import COLOURS, DICOM, Band, Profile
from pipeline.radiometry import Mask, Pixels
from pipeline.sources.identity import identify
from pipeline.tiling import Window

if TYPE_CHECKING:
    from pipeline.dicom.stored import Stored

OPEN = 4
"""Files whose headers a source keeps: tiles that are in flight together touch few."""


class DicomSource:
    """A stack of frames; the frame that was decoded last is kept."""

    def __init__(self, profile: Profile, series: Series) -> None:
        self.profile = profile
        """The facts of the selected bands."""
        self._slots = series.slots
        self._stored = {one.path: one.stored for one in series.instances}
        self._bands = [band.number - 1 for band in profile.bands]
        self._open: OrderedDict[str, Frames] = OrderedDict()
        self._decoded: tuple[int, Pixels] | None = None

    def read(self, window: Window, frame: int = 0) -> Pixels:
        """(band, y, x) as stored, colours as RGB; raises SourceError."""
        slot = self._slots[frame]
        try:
            pixels = self._read(slot, window, frame)
        except SourceError as error:
            raise forget_phi(error, slot.path) from None
        except OSError as error:
            raise SourceError(
                f"cannot be read ({error.strerror or 'it ends too early'})", uri=called(slot.path)
            ) from None
        return np.ascontiguousarray(pixels[self._bands])

    def mask(self, window: Window, frame: int = 0) -> Mask | None:
        """Where pixels are no padding; None where one value says it, which then is nodata."""
        if not self.profile.mask:
            return None
        padding = self._stored[self._slots[frame].path].padding
        if padding is None:
            return np.ones(window.shape, bool)
        low, high = padding
        pixels = self.read(window, frame)[0]
        return np.asarray((pixels < low) | (pixels > high))

    def _read(self, slot: Slot, window: Window, frame: int) -> Pixels:
        """All bands: of uncompressed frames only these rows, of others the frame that is kept."""
        frames = self._frames(slot.path)
        if frames.stored.native:
            return frames.window(slot.frame, window)
        if self._decoded is None or self._decoded[0] != frame:
            self._decoded = None  # not two at once
            self._decoded = (frame, frames.read(slot.frame))
        return self._decoded[1][:, *window.slices]

    def _frames(self, path: str) -> Frames:
        """The frames of a file, as it was when the series was found; raises SourceError."""
        found = self._open.pop(path, None)
        if found is None:
            found = Frames(path, read_header(path))
            if found.stored != self._stored[path]:
                raise ChangedError("changed while it was being read; run the job again", uri=path)
        self._open[path] = found
        while len(self._open) > OPEN:
            self._open.popitem(last=False)
        return found


def make_profile(uri: str, series: Series, options: SourceOptions) -> Profile:
    """The facts of a series; raises SourceError for what the options do not allow."""
    stored = series.stored
    _check(series, options)
    padding = {one.stored.padding for one in series.instances}
    nodata = _one_value(padding) if options.nodata is None else options.nodata
    native = all(one.stored.native for one in series.instances)
    whole = 8 * np.dtype(stored.dtype).itemsize
    return Profile(
        uri=uri,
        driver=DICOM,
        height=stored.rows,
        width=stored.columns,
        dtype=stored.dtype,
        bands=_bands(series, options),
        identity=identify(series.paths),
        files=series.paths,
        nodata=nodata,
        mask=nodata is None and padding != {None},
        saturated=_ceiling(stored),
        tags={DICOM: tags_of(series)},
        bits=stored.bits if stored.bits < whole else None,
        block=(1 if native else stored.rows, stored.columns),
        frames=len(series.slots),
        limits=stored.limits,
        padding=_range(padding) if options.nodata is None else None,
    )


def tags_of(series: Series) -> dict[str, str]:
    """What a profile says of a series: its kind, and where its first frame lies.

    Numbers are parted by backslashes, as in DICOM. Identifiers are opaque.
    """
    first = series.first
    plane = series.planes[0] if series.planes else None
    found = {
        "kind": series.kind,
        "Modality": first.modality,
        "Series": series.id if series.uid else "",
        "FrameOfReference": opaque(first.body) if first.body else "",
        "TransferSyntax": ", ".join(sorted({one.stored.syntax_name for one in series.instances})),
        "PhotometricInterpretation": first.stored.photometric,
        "PixelSpacing": _text(first.spacing),
        "ImagePositionPatient": _text(plane.position if plane else None),
        "ImageOrientationPatient": _text(plane.orientation if plane else None),
        "SpacingBetweenSlices": "" if series.step is None else f"{series.step:.9g}",
        "InstanceNumber": "" if first.number is None else str(first.number),
        "flags": "; ".join(series.flags),
    }
    return {name: value for name, value in found.items() if value}


def _text(values: tuple[float, ...] | None) -> str:
    return "\\".join(repr(value) for value in values or ())


def _check(series: Series, options: SourceOptions) -> None:
    """Raise SourceError where pixels are missing, have no size, or are too many."""
    stored, frames = series.stored, len(series.slots)
    broken = next((one for one in series.instances if one.broken), None)
    if broken is not None:
        raise SourceError(
            f"has a file, {called(broken.path)}, that {broken.broken}; a series with gaps is not "
            "made, so get that file again or take it away",
            uri=series.label,
        )
    if series.doubt and options.spacing == "refuse":
        raise SourceError(
            f"{series.doubt}, so that its geometry would be wrong; go on all the same with --set "
            "source.spacing=warn, in batches scenes.spacing=warn",
            uri=series.label,
        )
    pixels = stored.rows * stored.columns * frames
    if not 0 < pixels <= options.max_pixels:
        raise SourceError(
            f"claims {frames} frames of {stored.columns} x {stored.rows} pixels; from 1 to "
            f"source.max_pixels = {options.max_pixels} pixels are allowed",
            uri=series.label,
        )


def _bands(series: Series, options: SourceOptions) -> tuple[Band, ...]:
    """The selected bands; raises SourceError for one that is not there."""
    first = series.first
    rescales = {one.rescale for one in series.instances}
    scale, offset = rescales.pop() if len(rescales) == 1 else (1.0, 0.0)
    if first.stored.bands == 1:
        name, unit = first.modality or None, first.unit or None
        bands = [Band(1, name, unit, scale, offset, colour="gray")]
    else:
        bands = [Band(number, colour, colour=colour) for number, colour in enumerate(COLOURS, 1)]
    wanted = options.bands or tuple(range(1, len(bands) + 1))
    for number in wanted:
        if not 1 <= number <= len(bands):
            has = "one band" if len(bands) == 1 else f"{len(bands)} bands"
            raise SourceError(
                f"has {has}; there is no band {number} (see --bands)", uri=series.label
            )
    return tuple(bands[number - 1] for number in wanted)


def _one_value(padding: set[tuple[float, float] | None]) -> float | None:
    """The one value that marks padding in all files; None for none, and for ranges."""
    if len(padding) != 1:
        return None
    ends = next(iter(padding))
    return None if ends is None or ends[0] != ends[1] else float(ends[0])


def _range(padding: set[tuple[float, float] | None]) -> tuple[float, float] | None:
    """The one range of several values that marks padding, in all files that have any."""
    ranges = padding - {None}
    ends = next(iter(ranges)) if len(ranges) == 1 else None
    return None if ends is None or (len(padding) == 1 and ends[0] == ends[1]) else ends


def _ceiling(stored: Stored) -> float | None:
    """The largest value of the bits that are used, where they are more than 8."""
    return float(stored.limits[1]) if stored.limits and stored.bits > 8 else None
