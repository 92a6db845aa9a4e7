"""Sentinel-2 products, Level 1C and 2A: a stack of bands for each resolution, and classifications.

    r10m   B02 B03 B04 B08                scl     scene classes (Level 2A)
    r20m   B05 B06 B07 B8A B11 B12        cloud   probability (Level 2A) or flags of clouds,
    r60m   B01 B09 B10                            where they are a raster

A product of several granules has these for each of them, as r10m_T53HLA. Bands of another size than
the metadata say are a raster of their own, as r10m_172x172: nothing is resampled.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pipeline.scenes.footprint import footprint
from pipeline.scenes.found import leads_nowhere
from pipeline.scenes.scene import Asset, Scene, SceneError, SceneOptions
from pipeline.scenes.sentinel2_assets import (
    Part,
    class_assets,
    doubts,
    find_images,
    light_assets,
)
from pipeline.scenes.sentinel2_metadata import Product, read_granule, read_product
from pipeline.scenes.sentinel2_names import (
    BANDS,
    PRODUCT,
    PRODUCT_METADATA,
    STRIP_METADATA,
    TILE_METADATA,
    band_name,
    image_of,
    is_metadata,
)
from pipeline.scenes.sentinel2_radiometry import check_datastrip
from pipeline.scenes.unpack import is_archive, unpack, without_suffix
from pipeline.serial import Json

DEEP = 3
"""Levels of folders in which a product's metadata are looked for."""
SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
"""Names that can be file names everywhere."""


def claims(path: Path) -> bool:
    """Whether a path is a product by its name, or by the names that it holds."""
    named = PRODUCT.match(path.name) is not None
    if not path.is_dir():
        return named and (leads_nowhere(path) or (is_archive(path) and path.is_file()))
    try:
        names = os.listdir(path)
    except OSError:
        names = []
    if any(PRODUCT_METADATA.fullmatch(name) for name in names):
        return True
    return named and (path.suffix.lower() == ".safe" or "GRANULE" in names)


def open(path: Path, options: SceneOptions, work: Path) -> Scene:
    """Open a product: a .SAFE folder or an archive of one; raises SceneError."""
    wanted, notes = _wanted(path, options)
    folder = _unpacked(path, wanted, options, work) if is_archive(path) else path
    metadata = _find_metadata(folder, path)
    product = read_product(metadata)
    for strip in sorted(metadata.parent.glob("DATASTRIP/*/*")):
        if STRIP_METADATA.fullmatch(strip.name):
            check_datastrip(strip, product.counts)
    parts, gaps = _parts(metadata.parent, product)
    notes += [*product.counts.notes, *gaps]
    assets: list[Asset] = []
    for part in parts:
        made = list(light_assets(part, product, wanted, work=work))
        if options.classes:
            made += class_assets(part, work=work)
        notes += doubts(part, _expected(product, wanted, options), made)
        assets += made
    if not any(asset.kind == "light" for asset in assets):
        raise SceneError(
            f"has none of the bands {', '.join(wanted)}", uri=str(path), reason="incomplete"
        )
    return _scene(path, product, parts, assets, notes)


def _wanted(path: Path, options: SceneOptions) -> tuple[list[str], list[str]]:
    """(names of the bands to take, in order; notes); raises SceneError if there are none."""
    if options.bands is None:
        return list(BANDS), []
    names = {text: band_name(text) for text in options.bands}
    wanted = list(dict.fromkeys(name for name in names.values() if name))
    unknown = [repr(text) for text, name in names.items() if name is None]
    if not wanted:
        raise SceneError(
            f"has none of scenes.bands = {', '.join(unknown)}; Sentinel-2 has {', '.join(BANDS)}",
            uri=str(path),
            reason="unsupported",
        )
    return wanted, [f"Sentinel-2 has no band {', '.join(unknown)}"] if unknown else []


def _expected(product: Product, wanted: Sequence[str], options: SceneOptions) -> list[str]:
    """Those bands that are wanted by name, or that the product says it has."""
    if options.bands is not None:
        return list(wanted)
    listed = product.listed or set(BANDS) - ({"B10"} if product.level == "L2A" else set())
    return [name for name in wanted if name in listed]


def _unpacked(path: Path, wanted: Sequence[str], options: SceneOptions, work: Path) -> Path:
    """The folder with those files of an archive that are needed; raises SceneError."""

    def needed(name: str) -> bool:
        image = image_of(name)
        if image is None:
            return is_metadata(name.rpartition("/")[2])
        return image.name in wanted or (image.name not in BANDS and options.classes)

    return unpack(path, work / "unpacked", needed, most=options.max_unpacked)


def _find_metadata(folder: Path, path: Path) -> Path:
    """The file that describes the product; raises SceneError if there is none, or several."""
    level = [folder]
    for _ in range(DEEP):
        try:
            inside = sorted(entry for one in level for entry in one.iterdir())
        except OSError as error:
            raise SceneError(f"cannot be read ({error.strerror})", uri=str(path)) from error
        found = [entry for entry in inside if PRODUCT_METADATA.fullmatch(entry.name)]
        if len(found) > 1:
            raise SceneError(
                f"has {len(found)} files that describe a product: "
                f"{', '.join(str(one.relative_to(folder)) for one in found)}; leave one",
                uri=str(path),
                reason="unsupported",
            )
        if found:
            return found[0]
        level = [entry for entry in inside if entry.is_dir() and not entry.is_symlink()]
    named = PRODUCT.match(path.name)
    if named and named[1].upper() not in ("L1C", "L2A"):
        message = f"is of level {named[1].upper()}; known are L1C and L2A"
        raise SceneError(message, uri=str(path), reason="unsupported")
    raise SceneError(
        "has no MTD_MSIL1C.xml or MTD_MSIL2A.xml, nor one of before 2017: it may not have arrived "
        "whole",
        uri=str(path),
        reason="incomplete",
    )


def _parts(root: Path, product: Product) -> tuple[list[Part], list[str]]:
    """(granules, notes on those that are not there); raises SceneError."""
    parts = []
    for folder in sorted(root.glob("GRANULE/*/")):
        described = [f for f in sorted(folder.iterdir()) if TILE_METADATA.fullmatch(f.name)]
        if not described:
            raise SceneError(
                "has no MTD_TL.xml, nor one of before 2017: it may not have arrived whole",
                uri=str(folder),
                reason="incomplete",
            )
        granule = read_granule(described[0])
        parts.append(Part(folder, granule, find_images(root, folder)))
    if not parts:
        raise SceneError("has no granule", uri=str(root), reason="incomplete")
    gone = sorted(product.tiles - {part.granule.tile for part in parts})
    notes = [f"the granules on {', '.join(gone)} are missing"] if gone else []
    return _labelled(parts) if len(parts) > 1 else parts, notes


def _labelled(parts: Sequence[Part]) -> list[Part]:
    """Each with a label of its own: its tile, and a number where that comes again."""
    seen = Counter[str]()
    labelled = []
    for part in parts:
        label = f"_T{part.granule.tile}" if part.granule.tile else "_part"
        seen[label] += 1
        again = f"-{seen[label]}" if seen[label] > 1 else ""
        labelled.append(replace(part, label=label + again))
    return labelled


def _scene(
    path: Path,
    product: Product,
    parts: Sequence[Part],
    assets: Sequence[Asset],
    notes: Sequence[str],
) -> Scene:
    outline: dict[str, Json] | None = None
    try:
        outline = footprint(product.outlines)
    except ValueError as error:
        notes = [*notes, f"its footprint is not usable ({error})"]
    granules = [part.granule for part in parts]
    times = [granule.sensed for granule in granules if granule.sensed]
    pieces = sorted({f"{granule.tile}/{granule.strip_began}" for granule in granules})
    datatake = re.sub(r"_N\d\d\.\d\d$", "", product.datatake)
    return Scene(
        id=_id(path, product),
        family="sentinel2",
        path=path,
        assets=tuple(assets),
        time=min(times, default=product.began),
        platform=product.platform.lower() or None,
        instruments=("msi",),
        properties=_properties(product, parts),
        footprint=outline,
        dataset=f"{product.level} {datatake} {' '.join(pieces)}" if datatake else "",
        version=f"{product.baseline} {product.generated}".strip(),
        notes=tuple(notes),
    )


def _id(path: Path, product: Product) -> str:
    """The product's name: its own where it is one (before 2017 it was none), else the file's."""
    if PRODUCT.match(product.uri) and SAFE_NAME.fullmatch(product.uri):
        return product.uri
    name = re.sub(r"\.SAFE$", "", without_suffix(path), flags=re.IGNORECASE)
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-_") or "sentinel2"


def _properties(product: Product, parts: Sequence[Part]) -> dict[str, Json]:
    """Those that are known, under STAC's names where it has them."""
    orbit = re.search(r"_(\d{6})_N", product.datatake)
    found: dict[str, Json] = {
        "constellation": "sentinel-2",
        "eo:cloud_cover": _within(product.cloud_cover, 0, 100),
        "sat:orbit_state": product.direction.lower(),
        "sat:relative_orbit": int(product.orbit) if product.orbit else None,
        "sat:absolute_orbit": int(orbit[1]) if orbit else None,
        "processing:level": product.level,
        "s2:product_type": product.type,
        "s2:processing_baseline": product.baseline,
        "s2:generation_time": product.generated,
        "s2:datatake_id": product.datatake,
        "s2:datatake_type": product.datatake_type,
        "s2:reflectance_conversion_factor": product.sun,
    }
    if len(parts) == 1:
        granule = parts[0].granule
        zenith = _within(granule.sun_zenith, 0, 180)
        found |= {
            "grid:code": f"MGRS-{granule.tile}" if granule.tile else "",
            "s2:granule_id": granule.id,
            "s2:datastrip_id": granule.datastrip,
            "view:sun_azimuth": _within(granule.sun_azimuth, 0, 360),
            "view:sun_elevation": None if zenith is None else 90 - zenith,
        }
    else:
        found["s2:tiles"] = [*sorted({part.granule.tile for part in parts})]
    return {name: value for name, value in found.items() if value not in (None, "")}


def _within(value: float | None, low: float, high: float) -> float | None:
    return value if value is not None and low <= value <= high else None
