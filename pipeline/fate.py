"""What becomes of each piece of metadata: kept, changed or dropped, and why."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from pipeline.profile import Band, Profile

STATISTICS = re.compile(r"^(STATISTICS_|COVARIANCE|HISTOGRAM)", re.IGNORECASE)
"""Tags that described the coarse pixels."""
REWRITTEN = ("TIFFTAG_SOFTWARE", "AREA_OR_POINT")
"""Dataset tags that have a line of their own."""
DENSITY = ("TIFFTAG_XRESOLUTION", "TIFFTAG_YRESOLUTION")
"""Pixels per inch or centimetre of a printed page; without such a unit only their ratio counts."""


@dataclass(frozen=True, slots=True)
class Fate:
    """One line of the table."""

    item: str
    """What it is about."""
    outcome: Literal["kept", "changed", "dropped"]
    """What becomes of it."""
    note: str = ""
    """How it changed, or why it was dropped."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Who made the output."""

    software: str
    """Name and version."""
    model: str
    """Name of the model."""
    sha256: str
    """Of the weights."""
    scale: int
    """Fine pixels per LR pixel."""
    backend: str
    """What computed it: pixels are equal to the bit within one backend only."""
    consistency: int = 0
    """Steps of back-projection after the network."""
    degradation: str = ""
    """What they held the pixels against; empty where there were none."""

    @property
    def processing(self) -> str:
        """One line for a tag."""
        line = f"{self.software}; model={self.model}; sha256={self.sha256}; scale={self.scale}"
        steps = f"; consistency={self.consistency} ({self.degradation})"
        return line + steps if self.consistency else line


def refine(profile: Profile, provenance: Provenance) -> Profile:
    """The profile of the super-resolved raster, as far as its format can hold it."""
    scale = provenance.scale
    tags = {ns: dict(values) for ns, values in profile.tags.items()}
    tags[""] = {
        **{k: v for k, v in tags.get("", {}).items() if not _stale(k)},
        **_densities(tags.get("", {}), scale),
        "TIFFTAG_SOFTWARE": provenance.software,
        "PROCESSING": provenance.processing,
    }
    return replace(
        profile,
        height=profile.height * scale,
        width=profile.width * scale,
        georef=profile.georef.zoom(scale),
        bands=tuple(_fine_band(band) for band in profile.bands),
        tags=tags,
        bits=None,
    )


def _stale(name: str) -> bool:
    return bool(STATISTICS.match(name))


def _densities(tags: dict[str, str], scale: int) -> dict[str, str]:
    """The densities of a printed page, if the tags give any in a unit of length."""
    if tags.get("TIFFTAG_RESOLUTIONUNIT", "1")[:1] not in ("2", "3"):
        return {}
    densities = {k: _number(tags[k]) for k in DENSITY if k in tags}
    return {k: f"{value * scale:g}" for k, value in densities.items() if value is not None}


def _number(text: str) -> float | None:
    """What the text says, if it is a number."""
    try:
        return float(text)
    except ValueError:
        return None


def _fine_band(band: Band) -> Band:
    return replace(band, tags={k: v for k, v in band.tags.items() if not _stale(k)})


def fates(profile: Profile, provenance: Provenance) -> tuple[Fate, ...]:
    """What becomes of the metadata of `profile` in a format that can hold all of it."""
    return (
        *_georef_fates(profile, provenance.scale),
        *([Fate("frames", "kept", str(profile.frames))] if profile.frames > 1 else []),
        Fate("data type", "kept", profile.dtype),
        *([Fate("limits of values", "kept", _limits(profile))] if profile.limits else []),
        *([Fate("bits a sample", "changed", _all_bits(profile))] if profile.bits else []),
        *([Fate("nodata", "kept", f"{profile.nodata}")] if profile.nodata is not None else []),
        *([_mask_fate(profile)] if profile.mask else []),
        *([Fate("alpha", "kept", "by nearest neighbour")] if profile.alpha is not None else []),
        *([Fate("palette", "kept")] if profile.colormap else []),
        *(
            [Fate("0 is white", "kept", "as photometric interpretation")]
            if profile.white_is_zero
            else []
        ),
        *_band_fates(profile),
        *_tag_fates(profile, provenance),
    )


def _mask_fate(profile: Profile) -> Fate:
    if profile.alpha is None:
        return Fate("mask", "kept", "by nearest neighbour")
    return Fate("mask", "changed", "by nearest neighbour; what is transparent is masked too")


def _all_bits(profile: Profile) -> str:
    return f"{profile.bits} to {8 * np.dtype(profile.dtype).itemsize}: values beyond are not cut"


def _limits(profile: Profile) -> str:
    low, high = profile.limits or (0, 0)
    return f"{low} to {high}"


def _georef_fates(profile: Profile, scale: int) -> list[Fate]:
    georef = profile.georef
    found = [Fate("size", "changed", f"x {scale}")]
    if georef.crs:
        found.append(Fate("coordinate reference system", "kept"))
    if georef.affine:
        found.append(Fate("transform", "changed", f"pixels / {scale}, outer corners stay"))
    if georef.gcps:
        found.append(Fate("ground control points", "changed", f"pixel coordinates x {scale}"))
    if georef.rpcs:
        found.append(Fate("RPCs", "changed", "LINE and SAMP offsets and scales"))
    if "AREA_OR_POINT" in profile.tags.get("", {}):
        found.append(Fate("AREA_OR_POINT", "kept", "point" if georef.point else "area"))
    return found


def _band_fates(profile: Profile) -> list[Fate]:
    found = []
    bands = profile.bands
    if any(b.description for b in bands):
        found.append(Fate("band descriptions", "kept"))
    if any(b.unit for b in bands):
        found.append(Fate("units", "kept"))
    if any((b.scale, b.offset) != (1.0, 0.0) for b in bands):
        found.append(Fate("scales and offsets", "kept"))
    found.append(Fate("colour interpretation", "kept", ", ".join(b.colour for b in bands)))
    for name in sorted({name for b in bands for name in b.tags}):
        if _stale(name):
            found.append(Fate(f"band tag {name}", "dropped", "described the coarse pixels"))
        else:
            found.append(Fate(f"band tag {name}", "kept"))
    for domain in sorted({domain for b in bands for domain in b.domains}):
        found.append(Fate(f"band metadata {domain}", "kept"))
    return found


def _tag_fates(profile: Profile, provenance: Provenance) -> list[Fate]:
    found = [Fate(item, "dropped", reason) for item, reason in profile.forgotten.items()]
    denser = _densities(profile.tags.get("", {}), provenance.scale)
    for domain, values in profile.tags.items():
        for name in values:
            label = f"tag {domain}:{name}" if domain else f"tag {name}"
            if not domain and _stale(name):
                found.append(Fate(label, "dropped", "described the coarse pixels"))
            elif not domain and name in denser:
                found.append(Fate(label, "changed", f"x {provenance.scale}"))
            elif domain or name not in REWRITTEN:
                found.append(Fate(label, "kept"))
    found.append(Fate("tag TIFFTAG_SOFTWARE", "changed", provenance.software))
    found.append(Fate("tag PROCESSING", "changed", "model, sha256 of the weights, scale"))
    return found
