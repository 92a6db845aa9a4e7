"""What a coarser sensor does to a scene: bicubic shrinking, or a Gaussian matched to its optics.

    fine px    | 0 | 1 | 2 | 3 | 4 | 5 |     grids share their outer edges: the centre of LR pixel o
    LR px      |     0     |     1     |     lies at (o + 1/2) * scale - 1/2 fine px, between two
                     ^ here                  fine px where the scale is even

Every LR pixel is one weighted sum of fine pixels about that centre, with the same weights
everywhere, so that nothing is shifted.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self, cast, get_args

import numpy as np
from numpy.typing import NDArray

from espcn import resample
from espcn.architecture import MAX_SCALE
from espcn.errors import ModelError

Kind = Literal["bicubic", "gaussian", "sensor"]
Sensor = Literal["sentinel2", "landsat"]
Floats = NDArray[np.float64]

TRUNCATED = 4.0
"""Where the Gaussian ends, in sigmas: what lies beyond is 6e-5 of its area."""
LEAST_SIGMA, MOST_SIGMA = 0.1, 8.0
"""In fine pixels, and in LR pixels: narrower is no blur, wider leaves nothing to restore."""

SENTINEL2_MTF: Mapping[str, float] = {
    "B1": 0.32,
    "B2": 0.26,
    "B3": 0.28,
    "B4": 0.24,
    "B5": 0.38,
    "B6": 0.34,
    "B7": 0.34,
    "B8": 0.26,
    "B8A": 0.33,
    "B9": 0.26,
    "B11": 0.22,
    "B12": 0.23,
}
"""MTF of Sentinel-2 MSI at the Nyquist frequency of each band, as used by C. Lanaras et al.,
"Super-Resolution of Multispectral Multiresolution Images from a Single Sensor" (CVPR Workshops
2017), and M. O. Ulfarsson et al., "Sentinel-2 Sharpening Using a Reduced-Rank Method" (IEEE TGRS
57(9), 2019)."""

LANDSAT_MTF: Mapping[str, float] = {f"B{number}": 0.31 for number in range(1, 10)}
"""MTF of the Landsat 8 and 9 OLI at the Nyquist frequency of each band: no less, by specification.
A measured table per band was not found, so this is an assumption. The instrument was specified by
the slope of an edge between 40 and 60 per cent, at least 0.027 per metre at 30 m and 0.054 per
metre at 15 m (J. R. Irons et al., "The next Landsat satellite: The Landsat Data Continuity
Mission", Remote Sensing of Environment 122, 2012). A Gaussian of that slope has a sigma of
0.3947 / slope = 0.487 px and this MTF."""


@dataclass(frozen=True, slots=True)
class Degradation:
    """How low-resolution pixels come of fine ones."""

    kind: Kind
    """bicubic: MATLAB's antialiased `imresize`. gaussian: a blur, then every `scale`-th value.
    sensor: the same with the sigmas of a sensor's bands."""

    scale: int
    """Fine pixels per LR pixel along each axis."""

    sigma: tuple[float, ...] = ()
    """Of the Gaussian in fine pixels: one for all bands, or one per band. None for bicubic."""

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ModelError(
                f"there is no degradation {self.kind!r}: choose from {', '.join(get_args(Kind))}"
            )
        if not 2 <= self.scale <= MAX_SCALE:
            raise ModelError(
                f"cannot degrade by {self.scale}: choose a scale from 2 to {MAX_SCALE}"
            )
        if (self.kind == "bicubic") == bool(self.sigma):
            raise ModelError(
                f"{self.kind} with sigma {self.sigma}: bicubic takes no sigma, gaussian and sensor "
                "one for all bands or one per band"
            )
        for sigma in self.sigma:
            if not LEAST_SIGMA <= sigma <= MOST_SIGMA * self.scale:
                raise ModelError(
                    f"sigma {sigma:g} is no blur for scale {self.scale}: give {LEAST_SIGMA:g} to "
                    f"{MOST_SIGMA * self.scale:g} fine px"
                )

    @property
    def text(self) -> str:
        """One line for metadata, such as `bicubic x3` or `sensor x3 sigma 1.57 1.52`."""
        sigma = " ".join(["sigma", *map(repr, map(float, self.sigma))] if self.sigma else [])
        return f"{self.kind} x{self.scale} {sigma}".rstrip()

    @classmethod
    def parse(cls, text: str) -> Self:
        """The degradation of a `text`; raises `ModelError` for anything else."""
        found = re.fullmatch(r"(\w+) x(\d{1,3})(?: sigma((?: [\d.e+-]+)+))?", text.strip())
        try:
            kind, scale, sigmas = found.groups() if found else ("", "", "")
            sigma = tuple(float(sigma) for sigma in (sigmas or "").split())
            return cls(cast("Kind", kind), int(scale), sigma)
        except ValueError as error:
            reason = f" ({error})" if isinstance(error, ModelError) else ""
            raise ModelError(
                f"{text!r} is no degradation{reason}: write it like 'bicubic x3', "
                "'gaussian x3 sigma 1.5' or 'sensor x3 sigma 1.57 1.52'"
            ) from error

    def of_band(self, band: int) -> Self:
        """What happens to one band, counted from 0, by itself."""
        return replace(self, sigma=self.sigma[band : band + 1]) if len(self.sigma) > 1 else self

    def for_bands(self, count: int) -> Self:
        """The same for any `count` bands: where the sigmas are not theirs, the mean for all."""
        if len(self.sigma) in (0, 1, count):
            return self
        return replace(self, sigma=(sum(self.sigma) / len(self.sigma),))

    @property
    def reach(self) -> int:
        """Radius in LR pixels of the square whose fine pixels one LR pixel depends on."""
        spans = [self.taps(band) for band in range(max(1, len(self.sigma)))]
        before = min(first for first, _ in spans)
        behind = max(first + len(weights) - 1 for first, weights in spans)
        return max(-(before // self.scale), behind // self.scale)

    def taps(self, band: int = 0) -> tuple[int, Floats]:
        """(first, weights) along either axis: LR pixel o is the sum of weights[k] times the fine
        pixels o * scale + first + k. The weights sum to one."""
        centre = (self.scale - 1) / 2
        sigma = self.of_band(band).sigma[0] if self.sigma else None
        radius = 2.0 * self.scale if sigma is None else max(TRUNCATED * sigma, 0.5)
        first, last = int(np.ceil(centre - radius)), int(np.floor(centre + radius))
        distance = np.arange(first, last + 1) - centre
        if sigma is None:
            weights = resample.cubic(distance / self.scale)
            inner = np.flatnonzero(weights)
            first, weights = first + int(inner[0]), weights[inner[0] : inner[-1] + 1]
        else:
            weights = np.exp(-0.5 * (distance / sigma) ** 2)
        return first, weights / weights.sum()

    def shrink(self, fine: NDArray[np.floating]) -> Floats:
        """Fine (.., y, x) -> (.., y / scale, x / scale), borders mirrored with the edge repeated.

        The axis before y holds the bands where there are several sigmas. Raises `ModelError` for
        sides that are no multiples of the scale and for other numbers of bands.
        """
        self._check(fine.shape)
        if len(self.sigma) <= 1:
            return self._band(fine, 0)
        bands = [self._band(fine[..., i, :, :], i) for i in range(len(self.sigma))]
        return np.stack(bands, axis=-3)

    def enlarge(self, coarse: NDArray[np.floating]) -> Floats:
        """The way back, bicubic whatever the degradation: (.., y, x) to `scale` times its sides."""
        height, width = coarse.shape[-2:]
        planes = coarse.reshape(-1, height, width).astype(np.float64, copy=False)
        larger = np.stack([resample.enlarge(plane, self.scale) for plane in planes])
        return larger.reshape(*coarse.shape[:-2], height * self.scale, width * self.scale)

    def _band(self, fine: NDArray[np.floating], band: int) -> Floats:
        first, weights = self.taps(band)
        rows = _weighted(fine.swapaxes(-1, -2), first, weights, self.scale)
        return _weighted(rows.swapaxes(-1, -2), first, weights, self.scale)

    def _check(self, shape: tuple[int, ...]) -> None:
        if len(shape) < 2 or 0 in shape or shape[-1] % self.scale or shape[-2] % self.scale:
            raise ModelError(
                f"cannot shrink an array of shape {shape} by {self.scale}: need (.., y, x) with "
                f"sides that are multiples of {self.scale}"
            )
        if len(self.sigma) > 1 and (len(shape) < 3 or shape[-3] != len(self.sigma)):
            raise ModelError(
                f"a degradation of {len(self.sigma)} bands does not fit an array of shape {shape}: "
                "give it those bands, or one sigma for all"
            )


def declared(provenance: Mapping[str, str], scale: int, bands: Sequence[str] = ()) -> Degradation:
    """The degradation that a model's card names; bicubic where it names none that we know.

    `bands` are the names, '' where unknown, of those that a network goes through one by one: each
    gets the sigma of the card's sensor, or the card's own where that sensor has no such band.
    """
    try:
        found = Degradation.parse(provenance.get("degradation", ""))
    except ModelError:
        return Degradation("bicubic", scale)
    if found.scale != scale:
        return Degradation("bicubic", scale)
    if not bands:
        return found
    typical, table = found.for_bands(1), _TABLES.get(provenance.get("sensor", ""))
    if found.kind != "sensor" or table is None:
        return typical
    known = [table.get(_plain(band)) for band in bands]
    sigma = [typical.sigma[0] if mtf is None else mtf_sigma(scale, mtf) for mtf in known]
    return _of_sensor(scale, sigma)


def mtf_sigma(scale: int, mtf: float) -> float:
    """Sigma in fine pixels of the Gaussian whose MTF at the LR Nyquist frequency is `mtf`.

    The transfer function exp(-2 pi**2 sigma**2 f**2) at f = 1 / (2 * scale), solved for sigma; as
    in B. Aiazzi et al., "MTF-tailored multiscale fusion of high-resolution MS and Pan imagery"
    (Photogrammetric Engineering and Remote Sensing 72(5), 2006). Raises `ModelError`.
    """
    if not 0.0 < mtf < 1.0:
        raise ModelError(f"an MTF at Nyquist of {mtf:g} cannot be: give one between 0 and 1")
    return float(scale * np.sqrt(-2.0 * np.log(mtf)) / np.pi)


def sensor_degradation(scale: int, sensor: Sensor, bands: Sequence[str]) -> Degradation:
    """What `sensor` with pixels `scale` times as large would see in `bands`, named B2 or B02.

    One sigma where all bands share it. Raises `ModelError` for bands that it does not have.
    """
    table = _TABLES[sensor]
    unknown = [band for band in bands if _plain(band) not in table]
    if unknown or not bands:
        raise ModelError(
            f"{sensor} has no band {', '.join(unknown) or 'of no name'}: choose from "
            f"{', '.join(table)}"
        )
    return _of_sensor(scale, [mtf_sigma(scale, table[_plain(band)]) for band in bands])


def named(text: str, scale: int, bands: Sequence[str] = ()) -> Degradation:
    """What a user means by `bicubic`, a sensor's name (that of `bands`), or a `Degradation.text`.

    Raises `ModelError` for anything else, and for a text of another scale.
    """
    if text == "bicubic":
        return Degradation("bicubic", scale)
    if text in get_args(Sensor):
        return sensor_degradation(scale, cast("Sensor", text), bands)
    found = Degradation.parse(text)
    if found.scale != scale:
        raise ModelError(f"{text!r} does not degrade by {scale}: give a degradation x{scale}")
    return found


_TABLES: Mapping[str, Mapping[str, float]] = {"sentinel2": SENTINEL2_MTF, "landsat": LANDSAT_MTF}


def _of_sensor(scale: int, sigma: Sequence[float]) -> Degradation:
    """With one sigma where all bands share it."""
    return Degradation("sensor", scale, tuple(sigma[:1] if len(set(sigma)) == 1 else sigma))


def _plain(band: str) -> str:
    """B2 for b2, B02 and B2."""
    return re.sub(r"^B0*(?=\d)", "B", band.strip().upper())


def _weighted(values: NDArray[np.floating], first: int, weights: Floats, scale: int) -> Floats:
    """Along the last axis, in one order of summation whatever the length."""
    length = values.shape[-1]
    behind = max(0, first + len(weights) - scale)
    edges = [(0, 0)] * (values.ndim - 1) + [(max(0, -first), behind)]
    mirrored = np.pad(values, edges, mode="symmetric")
    total = np.zeros((*values.shape[:-1], length // scale))
    for k, weight in enumerate(weights, start=max(0, first)):
        total += weight * mirrored[..., k : k + length : scale]
    return total
