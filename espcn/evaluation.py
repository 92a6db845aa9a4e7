"""Two ways to measure a network: degrade a picture, restore it, compare with what it was.

    truth --degrade--> low --restore--> restored  ~ truth      errors, likeness, spectra
                        ~ degrade(restored)                    consistency

`paper` is that of the publications: luma, MATLAB's bicubic, 8 bits. `wald` takes any bands of any
data type and the degradation that a network was made for (L. Wald et al., "Fusion of satellite
images of different spatial resolutions: assessing the quality of resulting images",
Photogrammetric Engineering and Remote Sensing 63(6), 1997). Both leave `scale` fine pixels at each
border out, and compare what would be written: values rounded to the data type of the truth.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from espcn import metrics
from espcn.degradation import Degradation
from espcn.errors import ModelError

Protocol = Literal["paper", "wald"]
Pixels = NDArray[Any]
"""(band, y, x) in the data type of the picture, which is known at run time only."""
Restore = Callable[[NDArray[np.float32]], NDArray[np.floating]]
"""(band, y, x) in the picture's counts, not rounded -> (band, y * scale, x * scale)."""

BEST = 100.0
"""Decibels of an error of 1e-5 of the range of values; smaller ones count as that."""


@dataclass(frozen=True, slots=True)
class Quality:
    """How well pixels were restored; errors are in their unit."""

    psnr: float
    """Peak signal-to-noise ratio in dB; at most `BEST`, for a mean of infinities says nothing."""
    ssim: float
    """Structural similarity, 1 where nothing differs."""
    rmse: float
    """Root of the mean squared error."""
    bias: float
    """Mean error: positive where they came out brighter."""
    consistency: float
    """RMSE between them, degraded again, and the low-resolution pixels that they were made of."""
    spectral_angle: float | None = None
    """Mean angle in degrees between their spectra and the true ones; None for a single band."""


@dataclass(frozen=True, slots=True)
class Figures:
    """The quality of all bands and of each."""

    whole: Quality
    """Averages over the bands, see `average`, with the spectral angle."""
    bands: tuple[Quality, ...]
    """Band by band."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A picture, degraded and restored."""

    truth: Pixels
    """As it was, its sides cut to multiples of the scale."""
    low: NDArray[np.float64]
    """Degraded, (band, y / scale, x / scale), not rounded."""
    restored: Pixels
    """In the shape and data type of the truth."""
    bicubic: Pixels
    """The same by bicubic enlargement."""
    degradation: Degradation
    """What made `low` of `truth`."""
    peaks: tuple[float, ...]
    """The range of values of each band that its PSNR and SSIM refer to."""

    def figures(self, pixels: Pixels) -> Figures:
        """How well `pixels`, such as `restored` or `bicubic`, stand for the truth."""
        bands = tuple(self._quality(band, pixels[band]) for band in range(len(self.truth)))
        whole = average(bands)
        if len(bands) > 1:
            angle = metrics.spectral_angle(pixels, self.truth, border=self.degradation.scale)
            whole = replace(whole, spectral_angle=angle)
        return Figures(whole, bands)

    def _quality(self, band: int, plane: Pixels) -> Quality:
        truth, border, peak = self.truth[band], self.degradation.scale, self.peaks[band]
        degradation = self.degradation.of_band(band)
        return Quality(
            psnr=min(metrics.psnr(plane, truth, border=border, peak=peak), BEST),
            ssim=metrics.ssim(plane, truth, border=border, peak=peak),
            rmse=metrics.rmse(plane, truth, border=border),
            bias=metrics.bias(plane, truth, border=border),
            consistency=metrics.consistency(plane, self.low[band], degradation),
        )


def paper(truth: NDArray[np.uint8], scale: int, *, restore: Restore) -> Trial:
    """The protocol of the papers on an 8-bit picture: (3, y, x) RGB, or (1, y, x) luma or grey.

    RGB becomes the luma of MATLAB's `rgb2ycbcr`, 8 bits; that is degraded by MATLAB's antialiased
    bicubic and not rounded; what comes back is. The peak is 255. Bicubic then reaches the published
    33.66, 30.39 and 28.42 dB on Set5 at x2, x3 and x4 (W. Shi et al., arXiv 1609.05158, table 2,
    and others). Low-resolution pixels rounded to 8 bits, as `imresize` gives for an 8-bit picture,
    would cost it 0.004 to 0.014 dB: 33.65, 30.39 and 28.42; 33.64, 30.38 and 28.41 with every pass
    of the enlargement rounded as well. Raises `ModelError` for other pictures.
    """
    if truth.dtype != np.uint8 or truth.ndim != 3 or len(truth) not in (1, 3):
        raise ModelError(
            f"the paper's protocol cannot measure {truth.dtype} of shape {truth.shape}: it needs "
            "8-bit RGB or one band; choose the protocol wald"
        )
    plane = metrics.luma(np.moveaxis(truth, 0, -1)) if len(truth) == 3 else truth[0]
    return _trial(plane[None], Degradation("bicubic", scale), restore, peaks=(255.0,))


def wald(truth: Pixels, degradation: Degradation, *, restore: Restore) -> Trial:
    """Any (band, y, x) picture, under the degradation given, in its own counts.

    The peak of each band is the range of its true values, 1 where that is none. Raises `ModelError`
    for pixels that are not finite.
    """
    if truth.ndim != 3 or not truth.size or not np.isfinite(truth).all():
        raise ModelError(
            f"cannot measure {truth.dtype} of shape {truth.shape}: need (band, y, x), all finite"
        )
    values = truth.astype(np.float64)
    peaks = tuple(float(np.ptp(band)) or 1.0 for band in values)
    return _trial(truth, degradation.for_bands(len(truth)), restore, peaks=peaks)


def average(qualities: Sequence[Quality]) -> Quality:
    """Of bands, or of pictures: means; of RMSE and consistency, roots of the mean square.

    Spectral angles count where there are any.
    """
    columns = {
        field.name: [
            value for each in qualities if (value := getattr(each, field.name)) is not None
        ]
        for field in fields(Quality)
    }
    squared = ("rmse", "consistency")
    return Quality(
        **{
            name: float(np.sqrt(np.mean(np.square(v))) if name in squared else np.mean(v))
            for name, v in columns.items()
            if v
        }
    )


def _trial(
    truth: Pixels, degradation: Degradation, restore: Restore, *, peaks: tuple[float, ...]
) -> Trial:
    truth = metrics.crop_to_multiple(truth, degradation.scale)
    low = degradation.shrink(truth.astype(np.float64))
    restored = restore(low.astype(np.float32))
    if restored.shape != truth.shape:
        raise ModelError(
            f"what was restored has shape {restored.shape}, the picture {truth.shape}: the network "
            f"does not enlarge by {degradation.scale}"
        )
    bicubic = degradation.enlarge(low)
    return Trial(truth, low, _as(truth, restored), _as(truth, bicubic), degradation, peaks)


def _as(truth: Pixels, values: NDArray[np.floating]) -> Pixels:
    """`values` as they would be written: integers are rounded half up and clipped."""
    if truth.dtype.kind == "f":
        return values.astype(truth.dtype)
    info = np.iinfo(truth.dtype)
    rounded = np.floor(values.astype(np.float64) + 0.5)
    return np.clip(rounded, info.min, info.max).astype(truth.dtype)
