"""An invented landscape: reflectances at any ground point, from nothing but the point itself.

Every value is a pure function of its ground coordinates (in pixels of 10 m), so any window of a
scene of any size can be drawn by itself and the pieces fit.

    sea | beach | land: parcels of crops, woods, towns, with roads, tracks and rivers drawn on top
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.floating[Any]]
"""(y, x) values."""
Light = NDArray[np.floating[Any]]
"""(band, y, x) reflectances of blue, green, red and near infrared, 0 to 1."""

SPECTRA = {
    "deep": (0.034, 0.024, 0.012, 0.006),
    "shallow": (0.075, 0.085, 0.045, 0.015),
    "foam": (0.24, 0.24, 0.23, 0.19),
    "sand": (0.21, 0.27, 0.33, 0.38),
    "river": (0.045, 0.055, 0.035, 0.020),
    "wood": (0.018, 0.034, 0.020, 0.240),
    "hedge": (0.022, 0.042, 0.026, 0.260),
    "asphalt": (0.085, 0.092, 0.100, 0.120),
    "track": (0.150, 0.180, 0.215, 0.260),
    "garden": (0.038, 0.062, 0.046, 0.300),
    "shade": (0.014, 0.016, 0.015, 0.035),
}
"""Blue, green, red, near infrared."""
CROPS = (
    *((0.026, 0.058, 0.030, 0.430), (0.034, 0.072, 0.044, 0.360), (0.022, 0.048, 0.024, 0.480)),
    *((0.072, 0.108, 0.142, 0.230), (0.105, 0.150, 0.195, 0.285), (0.062, 0.082, 0.108, 0.165)),
    *((0.052, 0.125, 0.098, 0.390), (0.088, 0.118, 0.148, 0.205), (0.040, 0.082, 0.060, 0.330)),
)
"""Meadows, ripe and young crops, stubble and bare soils."""
ROOFS = (
    *((0.080, 0.095, 0.175, 0.240), (0.095, 0.105, 0.210, 0.270), (0.300, 0.310, 0.320, 0.330)),
    *((0.110, 0.115, 0.120, 0.135), (0.420, 0.430, 0.440, 0.450), (0.140, 0.135, 0.150, 0.180)),
)
"""Tiles, metal, slate, white membranes."""


def landscape(y: Field, x: Field, *, seed: int) -> Light:
    """Reflectances (4, height, width) at ground points y (height, 1) and x (1, width)."""
    coast = _coast(y, x, seed)
    if not (coast > 0).any():
        return _sea(y, x, coast, seed)
    light = _countryside(y, x, seed)
    light = _town(light, y, x, seed)
    light = _roads(light, y, x)
    light = _river(light, y, x, seed)
    light = _paint(light, _colour("sand"), _soft(4.0 - coast, 0.6))
    return np.where(coast > 0, light, _sea(y, x, coast, seed)).astype(np.float32)


def _coast(y: Field, x: Field, seed: int) -> Field:
    """Distance inland from the shore in pixels, roughly; negative at sea."""
    bays = 70 * (_noise(y, x, 210, seed + 1) - 0.5) + 26 * (_noise(y, x, 60, seed + 2) - 0.5)
    return np.asarray(1000 - x + 0.22 * y + 2.6 * bays + 5 * (_noise(y, x, 14, seed + 3) - 0.5))


def _sea(y: Field, x: Field, coast: Field, seed: int) -> Light:
    """Shallows, swell that bends along the shore, and surf."""
    depth = np.clip(-coast / 90, 0, 1) ** 0.6
    light = _mix(_colour("shallow"), _colour("deep"), depth)
    swell = np.sin(coast / 2.9 + 2 * _noise(y, x, 40, seed + 4)) * _noise(y, x, 25, seed + 5)
    light *= 1 + 0.16 * swell
    surf = _soft(np.sin(coast * 0.8 + 5 * _noise(y, x, 18, seed + 6)) - 0.55, 0.2)
    return _paint(light, _colour("foam"), surf * np.clip(1 + coast / 16, 0, 1))


def _countryside(y: Field, x: Field, seed: int) -> Light:
    """Parcels with crops, rows and hedges; woods where nobody farms."""
    bend = 9 * (_noise(y, x, 160, seed + 10) - 0.5), 9 * (_noise(y, x, 160, seed + 11) - 0.5)
    v, u = _turn(y + bend[0], x + bend[1], 0.32)
    row = np.floor(v / 34)
    width = 20 + 34 * _hash(row, row * 0, seed + 12)
    column = np.floor(u / width + _hash(row, row * 0, seed + 13))
    kind = _hash(row, column, seed + 14)
    light = _choose(CROPS, kind)
    angle = _hash(row, column, seed + 15) * np.pi
    rows = np.sin((np.cos(angle) * v + np.sin(angle) * u) * (1.1 + 0.9 * kind))
    light *= 1 + 0.10 * rows * (_hash(row, column, seed + 16) > 0.35)
    light *= 0.86 + 0.28 * _noise(y, x, 22, seed + 17)
    edge_v = np.abs(v / 34 - row - 0.5) * 34 - 16.2
    inside = (u / width + _hash(row, row * 0, seed + 13)) - column
    edge_u = np.abs(inside - 0.5) * width - width / 2 + 0.7
    light = _paint(light, _colour("track"), _soft(edge_v, 0.3))
    light = _paint(light, _colour("hedge"), _soft(edge_u, 0.3) * (kind > 0.3))
    return _woods(light, y, x, seed)


def _woods(light: Light, y: Field, x: Field, seed: int) -> Light:
    """Crowns, lit from the south-east, with a crisp edge."""
    where = _noise(y, x, 95, seed + 20) + 0.16 * _noise(y, x, 17, seed + 21) - 0.71
    crowns = _noise(y, x, 2.3, seed + 22) - 0.6 * _noise(y + 1.1, x + 1.1, 2.3, seed + 22)
    wood = _colour("wood") * (0.75 + 1.1 * crowns + 0.3 * _noise(y, x, 12, seed + 23))
    return _paint(light, wood, _soft(where * 40, 0.5))


def _town(light: Light, y: Field, x: Field, seed: int) -> Light:
    """Blocks of houses with shadows, gardens and streets; halls at the edge."""
    density = _noise(y, x, 120, seed + 30) + 0.10 * _noise(y, x, 20, seed + 31)
    town = density > 0.76
    if not town.any():
        return light
    v, u = _turn(y, x, -0.21)
    light = np.where(town, _colour("garden") * (0.7 + 0.6 * _noise(y, x, 3, seed + 32)), light)
    for side, hall in ((7.5, 0), (19.0, 1)):
        row, column = np.floor(v / side), np.floor(u / side)
        size = side * (0.26 + 0.14 * _hash(row, column, seed + 33 + hall))
        stands = town & ((_hash(row // 4, column // 4, seed + 35) > 0.72) == bool(hall))
        dv, du = v - (row + 0.5) * side, u - (column + 0.5) * side
        shadow = _box(dv + 0.9, du + 0.9, size, size * 0.8)
        light = _paint(light, _colour("shade"), shadow * stands)
        roof = _choose(ROOFS, _hash(row, column, seed + 36 + hall))
        gable = np.where(dv > 0, 1.12, 0.84)
        light = _paint(light, roof * gable, _box(dv, du, size, size * 0.8) * stands)
    street = np.maximum(_line(v, 15.0, 0.62), _line(u, 38.0, 0.62))
    return _paint(light, _colour("asphalt"), street * town)


def _roads(light: Light, y: Field, x: Field) -> Light:
    """Country roads that wind, and one straight motorway of two lanes."""
    wind = 26 * np.sin(y / 83) + 11 * np.sin(y / 31 + 1)
    light = _paint(light, _colour("asphalt"), _line(x + wind + 0.12 * y, 260.0, 0.55))
    wind = 22 * np.sin(x / 97 + 2) + 8 * np.sin(x / 37)
    light = _paint(light, _colour("track"), _line(y + wind - 0.2 * x, 190.0, 0.45))
    across = np.abs(y - 0.58 * x - 130) / math.hypot(1, 0.58)
    light = _paint(light, _colour("asphalt"), _soft(3.0 - across, 0.3))
    light = _paint(light, _colour("garden"), _soft(0.7 - across, 0.3))
    dashes = (np.sin((x + 0.58 * y) * 0.9) > 0.2) * _soft(0.22 - np.abs(across - 1.7), 0.1)
    return _paint(light, _colour("foam"), dashes)


def _river(light: Light, y: Field, x: Field, seed: int) -> Light:
    """One river that meanders to the sea, with trees along its banks."""
    middle = 640 + 70 * np.sin(x / 118) + 28 * np.sin(x / 47 + 1) + 9 * np.sin(x / 19)
    away = np.abs(y - middle) - 5 - 4 * np.sin(x / 71) ** 2 - x / 160
    light = _paint(light, _colour("wood"), _soft(3.5 * _noise(y, x, 5, seed + 40) - away, 0.4))
    water = _colour("river") * (0.9 + 0.25 * _noise(y, x, 7, seed + 41))
    return _paint(light, water, _soft(-away, 0.4))


def _colour(name: str) -> Light:
    return np.array(SPECTRA[name], np.float32)[:, None, None]


def _choose(colours: tuple[tuple[float, ...], ...], share: Field) -> Light:
    """One of the colours for each value between 0 and 1."""
    table = np.array(colours, np.float32)
    return np.moveaxis(table[(share * len(table)).astype(int)], -1, 0)


def _mix(one: Light, other: Light, share: Field) -> Light:
    return np.asarray(one + (other - one) * share, np.float32)


def _paint(light: Light, colour: Light, share: Field) -> Light:
    """`colour` over `light` where share is 1."""
    return _mix(light, colour, share)


def _soft(distance: Field, width: float) -> Field:
    """0 outside, 1 inside, a ramp of that many pixels around the edge."""
    return np.asarray(np.clip(distance / width + 0.5, 0, 1))


def _line(across: Field, period: float, width: float) -> Field:
    """Lines of a half width in pixels, one per period."""
    return _soft(width - np.abs((across / period + 0.5) % 1 - 0.5) * period, 0.3)


def _box(dv: Field, du: Field, height: Field, width: Field) -> Field:
    """A rectangle of those half sides."""
    return _soft(np.minimum(height - np.abs(dv), width - np.abs(du)), 0.3)


def _turn(y: Field, x: Field, angle: float) -> tuple[Field, Field]:
    c, s = math.cos(angle), math.sin(angle)
    return c * y - s * x, s * y + c * x


def _noise(y: Field, x: Field, size: float, seed: int) -> Field:
    """Smooth noise between 0 and 1 with features of that many pixels, at y (h, 1) and x (1, w).

    Value noise on a lattice, interpolated axis by axis: the lattice is small, the window is not.
    """
    v, u = y[:, 0] / size, x[0] / size
    rows, columns = (np.arange(np.floor(t[0]), np.floor(t[-1]) + 2) for t in (v, u))
    lattice = _hash(rows[:, None], columns[None], seed)
    return _ease(_ease(lattice, v - rows[0]).T, u - columns[0]).T


def _ease(values: Field, at: Field) -> Field:
    """Rows of (n, m) values at fractional positions."""
    low = np.floor(at).astype(int)
    share = (at - low)[:, None].astype(np.float32)
    share = share * share * (3 - 2 * share)
    return np.asarray(values[low] * (1 - share) + values[low + 1] * share)


def _hash(row: Field, column: Field, seed: int) -> Field:
    """A number between 0 and 1 for each lattice point, as good as random.

    32-bit mixing with the constants of the lowbias32 function (C. Wellons, "Prospecting for hash
    functions", 2018).
    """
    key = row.astype(np.int64) * 0x9E3779B1 + column.astype(np.int64) * 0x85EBCA77
    bits = (key + seed * 0xC2B2AE3D & 0xFFFFFFFF).astype(np.uint32)
    bits ^= bits >> 16
    bits *= np.uint32(0x7FEB352D)
    bits ^= bits >> 15
    bits *= np.uint32(0x846CA68B)
    bits ^= bits >> 16
    return np.asarray(bits.astype(np.float32) / np.float32(2**32))
