"""What the values of Sentinel-2 bands mean, as the product's own metadata say.

    reflectance = (count + offset) / quantification    no offsets before processing baseline 04.00

Nothing is concluded from dates or versions; contradictions are refused. Source: Sentinel-2 Products
Specification Document (S2-PDGS-TAS-DI-PSD), issue 14.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.scenes.markup import Markup, number, parse_xml
from pipeline.scenes.scene import SceneError
from pipeline.scenes.sentinel2_names import BANDS

QUANTIFICATION = {
    "L1C": ("QUANTIFICATION_VALUE",),
    "L2A": ("BOA_QUANTIFICATION_VALUE", "L2A_BOA_QUANTIFICATION_VALUE"),
}
"""Elements by level; Level 2A of before 2018 names that of Level 1C too."""
OFFSET = {"L1C": "RADIO_ADD_OFFSET", "L2A": "BOA_ADD_OFFSET"}
"""Element by level, one for each band."""
SPECIAL = {"NODATA": 0.0, "SATURATED": 65535.0}
"""What the specification takes these values for."""
WITH_OFFSETS = 4.0
"""Processing baseline from which on products have offsets."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What the values of a product's bands mean."""

    path: Path
    """The file that says so."""
    level: str
    """'L1C' or 'L2A'."""
    quantification: float
    """Counts of reflectance 1."""
    offsets: dict[str, float]
    """Counts that are added first, by band; {} for none."""
    nodata: float
    """Value of pixels without data."""
    saturated: float
    """Value of saturated pixels."""
    notes: tuple[str, ...]
    """What is odd about it."""

    def scale_and_offset(self, band: str) -> tuple[float, float]:
        """Reflectance = value * scale + offset; raises SceneError if just its own is missing."""
        if self.offsets and band not in self.offsets:
            raise SceneError(
                f"gives offsets for {', '.join(self.offsets)} but none for {band}",
                uri=str(self.path),
                reason="incomplete",
            )
        return 1 / self.quantification, self.offsets.get(band, 0.0) / self.quantification


def read_counts(xml: Markup, level: str) -> Counts:
    """From the metadata of a product; raises SceneError."""
    quantification, offsets = _quantification(xml, level), _offsets(xml, level)
    special, notes = _special_values(xml)
    baseline = xml.text("PROCESSING_BASELINE")
    if (number(baseline) or 0) >= WITH_OFFSETS and not offsets:
        notes.append(
            f"its metadata give no offsets, which processing baseline {baseline} has: 0 is taken"
        )
    nodata, saturated = special["NODATA"], special["SATURATED"]
    return Counts(xml.path, level, quantification, offsets, nodata, saturated, tuple(notes))


def check_datastrip(path: Path, counts: Counts) -> None:
    """Raise SceneError if the metadata of a datastrip give other counts of reflectance 1."""
    xml, name = parse_xml(path, until="Image_Data_Info"), QUANTIFICATION[counts.level][0]
    value = xml.number(name)
    if value not in (None, counts.quantification):
        raise SceneError(
            f"gives {name} {value:.9g}, the metadata of the product {counts.quantification:.9g}: "
            "mend the one that is wrong",
            uri=str(path),
        )


def _quantification(xml: Markup, level: str) -> float:
    names = QUANTIFICATION[level]
    value = _agreed(xml, names[0], [element.text for element in xml.all(*names)])
    if value is None or value <= 0:
        raise SceneError(
            f"has no {names[0]} that is a number above 0, which {level} counts need",
            uri=str(xml.path),
            reason="incomplete",
        )
    return value


def _offsets(xml: Markup, level: str) -> dict[str, float]:
    """Offsets by band; raises SceneError for those that cannot be told."""
    found: dict[str, list[str | None]] = {}
    for element in xml.all(OFFSET[level]):
        id = element.get("band_id", "")
        if not id.isdecimal() or int(id) >= len(BANDS):
            raise SceneError(f"has a {OFFSET[level]} of band_id {id!r}", uri=str(xml.path))
        found.setdefault(list(BANDS)[int(id)], []).append(element.text)
    offsets = {}
    for band, texts in found.items():
        value = _agreed(xml, f"{OFFSET[level]} of {band}", texts)
        if value is None:
            raise SceneError(f"has no {OFFSET[level]} of {band} in numbers", uri=str(xml.path))
        offsets[band] = value
    return offsets


def _special_values(xml: Markup) -> tuple[dict[str, float], list[str]]:
    """(values by name, notes on those that had to be taken from the specification)."""
    texts: dict[str, list[str | None]] = {name: [] for name in SPECIAL}
    for element in xml.all("Special_Values"):
        parts = {child.tag.rpartition("}")[2]: child.text for child in element}
        name = (parts.get("SPECIAL_VALUE_TEXT") or "").strip().upper()
        if name in texts:
            texts[name].append(parts.get("SPECIAL_VALUE_INDEX"))
    values: dict[str, float] = {}
    notes: list[str] = []
    for name, specified in SPECIAL.items():
        value = _agreed(xml, f"special value {name}", texts[name])
        values[name] = specified if value is None else value
        if value is None:
            notes.append(
                f"its metadata give no value for {name}: {specified:.0f} is taken, as the product "
                "specification says"
            )
    return values, notes


def _agreed(xml: Markup, what: str, texts: list[str | None]) -> float | None:
    """The number that all texts give, None for no text; raises SceneError where they disagree."""
    values = {number(text) for text in texts}
    if len(values) > 1:
        given = " and ".join(dict.fromkeys((text or "").strip() for text in texts))
        raise SceneError(
            f"gives two values for {what}, {given}: leave the right one",
            uri=str(xml.path),
        )
    return next(iter(values), None)
