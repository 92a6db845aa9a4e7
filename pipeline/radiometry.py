"""Values: which are valid, how they become the network's floats, and how they come back."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.profile import Profile

Pixels = NDArray[Any]
"""(band, y, x) or (y, x) in the source's data type, which is known at run time only."""
Mask = NDArray[np.bool_]
"""True where a pixel is valid."""
Cuts = Sequence[tuple[tuple[int | slice, ...], tuple[slice, slice]]]
"""Which values of an array, and the places that they have in another."""

SUPPORTED = (
    *("uint8", "int8", "uint16", "int16", "uint32", "int32"),
    *("float32", "float64"),
)
"""Data types that come back exactly. 64-bit integers and complex numbers do not."""


HUGE = 1e37
"""Floats from here on, such as undeclared gaps of -3.4e38, would overflow in a network."""
MAGIC = np.float32(1.5 * 2**23)
"""From here on float32 holds whole numbers only: to add it is to round, halves to even."""
MAGIC_BITS = int(MAGIC.view(np.int32))
"""Its representation; that of MAGIC + n is n more, so that its low bits are those of n."""
LOWEST = {step: 0 if sys.byteorder == "little" else step - 1 for step in (2, 4)}
"""Which of the 2 or 4 short integers of an int32 holds its lowest bits."""
LARGEST_CENTRE = 2**16
"""Centres up to here leave MAGIC + centre + n a whole number of the same exponent."""


@dataclass(frozen=True, slots=True)
class Radiometry:
    """How the values of one scene go through a network: chosen once per scene, never per tile."""

    dtype: str
    """Data type of input and output."""
    gain: float
    """The network sees (value - centre) / gain; 1 for a network that needs no normalisation."""
    centre: tuple[float, ...]
    """Constant of each band that is subtracted before and added after."""
    nodata: float | None = None
    """Value of invalid pixels."""
    saturated: float | None = None
    """Value that comes back exactly wherever the source holds it."""
    limits: tuple[int, int] | None = None
    """Smallest and largest value of an output of integers; None for all that the type holds."""
    padding: tuple[float, float] | None = None
    """Smallest and largest of the values that no valid pixel may get; None for none."""

    @property
    def ends(self) -> tuple[int, int]:
        """Smallest and largest integer that the output may hold; raises ValueError for floats."""
        return self.limits or _extremes(np.dtype(self.dtype))

    def to_network(self, pixels: Pixels, *, band: int) -> NDArray[np.float32]:
        """One band (y, x) as centred float32; wide types are centred before they are rounded."""
        centre = self.centre[band]
        if np.dtype(self.dtype).itemsize <= 2:
            light = pixels.astype(np.float32)
            light -= np.float32(centre)
        else:
            with np.errstate(over="ignore", invalid="ignore"):
                light = (pixels.astype(np.float64) - centre).astype(np.float32)
        return light if self.gain == 1 else light / np.float32(self.gain)

    def from_network(self, light: NDArray[np.float32], *, band: int) -> Restored:
        """What a network returned for one band, (.., y, x), in the unit of the source.

        Overwrites `light`, which had better be of one piece: cut arrays are slow to go over.
        """
        dtype, centre = np.dtype(self.dtype), self.centre[band]
        if dtype.itemsize > 2:
            wide = light if dtype == np.float32 else light.astype(np.float64)
            if self.gain != 1:
                wide *= wide.dtype.type(self.gain)
            if centre:
                wide += wide.dtype.type(centre)
            ends = None if dtype.kind == "f" else self.ends
            return Wide(wide, ends, self.nodata)
        if self.gain != 1:
            light *= np.float32(self.gain)
        if centre % 1 or abs(centre) > LARGEST_CENTRE:
            light += np.float32(centre)
            centre = 0.0
        # rounds the sum once; from here on all is done on the bits
        light += MAGIC + np.float32(centre)
        bits = light.view(np.int32)
        extremes = int(bits.min()) - MAGIC_BITS, int(bits.max()) - MAGIC_BITS
        return Short(bits, extremes, dtype, self.ends, self.nodata)


class Restored(Protocol):
    """Values on the way to the output's data type."""

    def write(self, cuts: Cuts, into: Pixels, *, keep: Mask | None = None) -> int:
        """Write cuts (y, x) to their places in an array of the output's type (y, x).

        Returns how many values did not fit: they are rounded to nearest and clipped to the data
        type only. A value that would read as nodata moves by the smallest step. Where `keep`, of
        the shape of `into`, is true, the source's value is wanted: nothing is counted there, and
        whoever knows it writes it afterwards. A cut is written once.
        """


@dataclass(frozen=True, slots=True)
class Short:
    """Integers of up to 16 bits: only what the extremes of all values ask for is done."""

    bits: NDArray[np.int32]
    """MAGIC_BITS + value."""
    extremes: tuple[int, int]
    """The smallest and the largest value, whatever is cut."""
    dtype: np.dtype[Any]
    """Of the output."""
    ends: tuple[int, int]
    """The smallest and the largest value that it may hold."""
    nodata: float | None
    """Value of invalid pixels."""

    def write(self, cuts: Cuts, into: Pixels, *, keep: Mask | None = None) -> int:
        """`round_to` and `avoid_nodata` in a third of the passes."""
        bits, nodata, (low, high) = self.bits, self.nodata, self.extremes
        first, last = self.ends
        clipped = 0
        if low < first or high > last:
            clipped = sum(self._beyond(cut, None if keep is None else keep[p]) for cut, p in cuts)
        # nodata at either end of the range is avoided by ending one step before it
        ends = first + (nodata == first), last - (nodata == last)
        if low < ends[0]:
            np.maximum(bits, MAGIC_BITS + ends[0], out=bits)
        if high > ends[1]:
            np.minimum(bits, MAGIC_BITS + ends[1], out=bits)
        # the low bits of a sum are those of the value, in two's complement
        step = bits.itemsize // self.dtype.itemsize
        low_bits = bits.view(self.dtype)[..., LOWEST[step] :: step]
        for cut, places in cuts:
            into[places] = low_bits[cut]
        if nodata is not None and max(low, ends[0]) <= nodata <= min(high, ends[1]):
            for _, places in cuts:
                avoid_nodata(into[places], nodata)
        return clipped

    def _beyond(self, cut: tuple[int | slice, ...], keep: Mask | None) -> int:
        """How many values of a cut the data type cannot hold, but for those to keep."""
        first, last = self.ends
        bits = self.bits[cut]
        beyond = (bits < MAGIC_BITS + first) | (bits > MAGIC_BITS + last)
        return int(np.count_nonzero(beyond if keep is None else beyond & ~keep))


@dataclass(frozen=True, slots=True)
class Wide:
    """Floats, and integers of 32 bits."""

    values: NDArray[np.floating]
    """float32 for float32, else float64."""
    ends: tuple[int, int] | None
    """The smallest and the largest value of an output of integers; None for floats."""
    nodata: float | None
    """Value of invalid pixels."""

    def write(self, cuts: Cuts, into: Pixels, *, keep: Mask | None = None) -> int:
        """By way of `round_to` and `avoid_nodata`."""
        clipped = 0
        for cut, places in cuts:
            values = self.values[cut]
            if keep is not None:
                np.copyto(values, 0, where=keep[places])
            if self.ends is None:
                into[places] = values
            else:
                clipped += round_to(values, self.ends, into=into[places])
            avoid_nodata(into[places], self.nodata, highest=self.ends and self.ends[1])
        return clipped


@lru_cache
def _extremes(dtype: np.dtype[Any]) -> tuple[int, int]:
    """The smallest and the largest value of an integer type."""
    return int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)


def round_to(values: NDArray[np.floating], ends: tuple[int, int], *, into: Pixels) -> int:
    """Write the nearest integers (halves to even) into `into`; how many lie beyond `ends`.

    Those become the nearest end. Overwrites `values`.
    """
    rounded = np.rint(values, out=values)
    clipped = int(np.count_nonzero((rounded < ends[0]) | (rounded > ends[1])))
    if clipped:
        np.clip(rounded, *ends, out=rounded)
    np.copyto(into, rounded, casting="unsafe")
    return clipped


def avoid_nodata(pixels: Pixels, nodata: float | None, *, highest: int | None = None) -> Pixels:
    """Valid pixels that happen to equal nodata, moved by the smallest step; in place.

    `highest` is the largest integer that may be used, if not all are.
    """
    code = as_code(nodata, pixels.dtype)
    if code is None or code != code:
        return pixels
    hit = pixels == code
    if hit.any():
        pixels[hit] = _neighbour(code, highest)
    return pixels


def keep_off(pixels: Pixels, like: Pixels, padding: tuple[float, float]) -> None:
    """Move values (y, x) out of a range, to the side on which `like` lies; in place.

    Where `like`, the nearest pixels of the source, lies in the range too, nothing is moved.
    """
    low, high = (pixels.dtype.type(end) for end in padding)
    hit = (pixels >= low) & (pixels <= high)
    if not hit.any():
        return
    beyond = [(like > high, high, 1), (like < low, low, -1)]
    for where, end, step in beyond:
        inside = hit & where
        if inside.any():
            pixels[inside] = _beside(end, step)


def _beside(code: Any, step: int) -> Any:
    """The next value of the same data type in that direction."""
    if code.dtype.kind == "f":
        return np.nextafter(code, code.dtype.type(step * math.inf))
    return code.dtype.type(int(code) + step)


def _neighbour(code: Any, highest: int | None) -> Any:
    """The nearest other value of the same data type: towards zero for floats, else upwards."""
    if code.dtype.kind == "f":
        return np.nextafter(code, code.dtype.type(0 if code else 1))
    step = -1 if int(code) in (highest, np.iinfo(code.dtype).max) else 1
    return code.dtype.type(int(code) + step)


def as_code(value: float | None, dtype: np.dtype[Any]) -> Any:
    """`value` as a scalar of `dtype`, or None where no pixel can hold it."""
    if value is None:
        return None
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return dtype.type(value)
    info = np.iinfo(dtype)
    if not math.isfinite(value) or value != int(value) or not info.min <= value <= info.max:
        return None
    return dtype.type(int(value))


def validity(profile: Profile, pixels: Pixels, mask: Mask | None) -> Mask | None:
    """Where (band, y, x) pixels are valid; None if all of them are.

    Invalid are NaN, infinities and what float32 arithmetic could not hold, nodata (per band; not
    where a mask says it better), and what the per-dataset mask (y, x) or a fully transparent alpha
    band says (in all bands). Alpha itself is always valid.
    """
    parts: list[Mask] = []
    if pixels.dtype.kind == "f":
        parts.append(np.abs(pixels) < HUGE)
    code = as_code(profile.nodata, pixels.dtype)
    if mask is None and code is not None and code == code:
        parts.append(np.asarray(pixels != code))
    if mask is not None:
        parts.append(np.broadcast_to(mask, pixels.shape))
    alpha = profile.alpha
    if alpha is not None:
        parts.append(np.broadcast_to(np.asarray(pixels[alpha] != 0), pixels.shape))
    if all(part.all() for part in parts):
        return None
    valid: Mask = np.logical_and.reduce(parts)
    if alpha is not None:
        valid[alpha] = True
    return valid


def replicate(values: NDArray[Any], *, scale: int) -> NDArray[Any]:
    """Nearest neighbour on the last two axes: each pixel becomes scale x scale equal ones."""
    # columns first: rows are copied as a whole, columns one by one
    return values.repeat(scale, axis=-1).repeat(scale, axis=-2)


def dataset_mask(valid: Mask | None, *, alpha: int | None, shape: tuple[int, int]) -> Mask:
    """The per-dataset mask (y, x) of (band, y, x) validity: where any band but alpha is valid."""
    if valid is None:
        return np.ones(shape, bool)
    others = [band for band in range(len(valid)) if band != alpha] or [0]
    return np.asarray(valid[others].any(axis=0))
