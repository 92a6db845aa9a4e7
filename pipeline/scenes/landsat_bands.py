"""Bands of Landsat's sensors: what each shows, and where it lies in the spectrum.

Wavelengths and widths in micrometres, as in the STAC items of the U.S. Geological Survey and its
table of band designations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Role = Literal["light", "thermal", "pan"]
"""light: reflected sunlight. thermal: emitted by the ground."""


@dataclass(frozen=True, slots=True)
class SensorBand:
    """A band as it was built."""

    common: str
    """STAC's common name."""
    wavelength: float
    """Centre, in micrometres."""
    width: float
    """Full width at half maximum, in micrometres."""
    role: Role = "light"
    """What it sees."""


OLI_TIRS = {
    1: SensorBand("coastal", 0.44, 0.02),
    2: SensorBand("blue", 0.48, 0.06),
    3: SensorBand("green", 0.56, 0.06),
    4: SensorBand("red", 0.65, 0.04),
    5: SensorBand("nir08", 0.87, 0.03),
    6: SensorBand("swir16", 1.61, 0.09),
    7: SensorBand("swir22", 2.20, 0.19),
    8: SensorBand("pan", 0.59, 0.18, "pan"),
    9: SensorBand("cirrus", 1.37, 0.02),
    10: SensorBand("lwir11", 10.9, 0.59, "thermal"),
    11: SensorBand("lwir12", 12.0, 1.01, "thermal"),
}
"""Landsat 8 and 9."""
ETM = {
    1: SensorBand("blue", 0.48, 0.07),
    2: SensorBand("green", 0.56, 0.08),
    3: SensorBand("red", 0.66, 0.06),
    4: SensorBand("nir08", 0.84, 0.13),
    5: SensorBand("swir16", 1.65, 0.20),
    6: SensorBand("lwir", 11.34, 2.05, "thermal"),
    7: SensorBand("swir22", 2.20, 0.28),
    8: SensorBand("pan", 0.71, 0.38, "pan"),
}
"""Landsat 7."""
TM = {
    1: SensorBand("blue", 0.49, 0.07),
    2: SensorBand("green", 0.56, 0.08),
    3: SensorBand("red", 0.66, 0.06),
    4: SensorBand("nir08", 0.83, 0.14),
    5: SensorBand("swir16", 1.65, 0.20),
    6: SensorBand("lwir", 11.45, 2.10, "thermal"),
    7: SensorBand("swir22", 2.22, 0.27),
}
"""Landsat 4 and 5."""
MSS = {
    1: SensorBand("green", 0.55, 0.1),
    2: SensorBand("red", 0.65, 0.1),
    3: SensorBand("nir08", 0.75, 0.1),
    4: SensorBand("nir09", 0.95, 0.3),
}
"""Landsat 4 and 5; Landsat 1 to 3 number these bands from 4."""


def sensor_bands(sensor: str, satellite: int) -> dict[int, SensorBand]:
    """Bands by number, for a sensor as the metadata name it; {} for an unknown one."""
    if sensor == "MSS" and satellite <= 3:
        return {number + 3: band for number, band in MSS.items()}
    tables = {"OLI_TIRS": OLI_TIRS, "OLI": OLI_TIRS, "TIRS": OLI_TIRS, "ETM": ETM, "TM": TM}
    return tables.get(sensor.rstrip("+"), MSS if sensor == "MSS" else {})


def instruments(sensor: str) -> tuple[str, ...]:
    """STAC's instruments: ('oli', 'tirs')."""
    return tuple(sensor.lower().rstrip("+").split("_")) if sensor else ()
