"""Where a Landsat product and its metadata lie: a directory, an archive, loose files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from pipeline.scenes.espa import read_espa
from pipeline.scenes.found import leads_nowhere
from pipeline.scenes.headers import chosen
from pipeline.scenes.landsat_metadata import LandsatMetadata, from_mtl
from pipeline.scenes.mtl import NOTATIONS, Mtl, read_mtl
from pipeline.scenes.scene import SceneError, SceneOptions
from pipeline.scenes.unpack import unpack

PRODUCT = re.compile(
    r"L[COTEM]\d\d_L[12][A-Z]{2}_\d{6}_\d{8}_\d{8}_\d\d_(T1|T2|RT|A1|A2)"  # product id
    r"|L[COTEM]\d\d{13}[A-Z]{3}\d\d"  # scene id, from before the collections
    r"|L[COTEM]\d\d{14}\d\d(T1|T2|RT)(-SC\d{14})?",  # ESPA order
    re.IGNORECASE,
)
"""Names of products."""
ARCHIVE = re.compile(rf"({PRODUCT.pattern})\.(tar|tar\.gz|tgz|zip)", re.IGNORECASE)
"""Names of archives."""
METADATA = re.compile(r"(?P<product>.+)_MTL\.(txt|xml|json)")
"""Names of metadata files."""
SURFACE = re.compile(r"(?P<product>.+)_sr_band\d+\.tif", re.IGNORECASE)
"""Names of ESPA's surface reflectance."""
NEEDED = re.compile(
    r"(?P<metadata>.*_MTL\.(txt|xml|json)|.*_(T1|T2|RT)\.xml)"
    r"|.*_(?P<band>(SR_|ST_)?B\d+(_VCID_\d)?|sr_band\d+)\.TIF"
    r"|.*_(?P<classes>QA_PIXEL|QA_RADSAT|BQA|PIXEL_QA|RADSAT_QA)\.TIF",
    re.IGNORECASE,
)
"""What is unpacked of an archive."""
SCENES = (".tif", ".tiff", ".jp2", ".vrt", ".zip", ".tar", ".gz", ".tgz", ".json", ".safe")
"""Suffixes of files that may be scenes of their own."""
PARTS = ("gap_mask",)
"""Folders within a product."""
RADIOMETRY = re.compile(r"(REFLECTANCE|RADIANCE|TEMPERATURE)_(MULT|ADD)_.*|QUANTIZE_CAL_MAX.*")
"""Values that all notations of the metadata must agree upon."""


def is_product(path: Path) -> bool:
    """Whether names tell a product: of a directory, an archive, or a loose MTL file.

    A directory that holds other scenes too is none: each of its MTL files is one.
    """
    if path.is_dir():
        return bool(PRODUCT.fullmatch(path.name)) or _is_alone(path)
    if METADATA.fullmatch(path.name):
        return path == next(iter(_notations(path.parent, _product_of(path.name))), None)
    if leads_nowhere(path):
        return bool(PRODUCT.fullmatch(path.name) or ARCHIVE.fullmatch(path.name))
    return bool(ARCHIVE.fullmatch(path.name)) and path.is_file()


def _is_alone(folder: Path) -> bool:
    """Whether a folder holds one product, and nothing else that could be a scene."""
    try:
        names = listing(folder)
    except SceneError:
        return False
    products = _products(names)
    others = [
        name
        for name in names
        if not name.startswith((".", *products))
        and (name.lower().endswith(SCENES) or ((folder / name).is_dir() and name not in PARTS))
    ]
    return len(products) == 1 and not others


def belongs(path: Path) -> bool:
    """Whether a loose file is part of a product whose MTL file lies beside it."""
    product = PRODUCT.match(path.name)
    return product is not None and bool(_notations(path.parent, product[0]))


def files_beside(path: Path) -> list[Path]:
    """All files of a loose product: those that bear its name; none for directory and archive."""
    product = _product_of(path.name)
    if not product or path.is_dir():
        return []
    names = listing(path.parent)
    return [path.parent / name for name in names if name.startswith(f"{product}_")]


def listing(folder: Path) -> list[str]:
    """Names in a folder, in order; raises SceneError."""
    try:
        return sorted(os.listdir(folder))
    except OSError as error:
        raise SceneError(f"cannot be read ({error.strerror})", uri=str(folder)) from error


def read_product(
    path: Path, options: SceneOptions, work: Path
) -> tuple[Path, LandsatMetadata, list[str]]:
    """(folder of the files, what the metadata say, notes); raises SceneError."""
    if path.is_dir():
        return _of_folder(path, path)
    if METADATA.fullmatch(path.name):
        return path.parent, *_of_mtl(_notations(path.parent, _product_of(path.name)))

    def needed(name: str) -> bool:
        return _is_needed(name, options)

    return _of_folder(path, unpack(path, work / "unpacked", needed, most=options.max_unpacked))


def _is_needed(name: str, options: SceneOptions) -> bool:
    """Whether a member of an archive is unpacked; the panchromatic band is a large one."""
    found = NEEDED.fullmatch(name)
    if found is None or found["metadata"]:
        return found is not None
    if found["classes"]:
        return options.classes
    wants_pan = options.pan or chosen(options.bands or (), "B8", "pan")
    return wants_pan or found["band"].upper() != "B8"


def _of_folder(path: Path, folder: Path) -> tuple[Path, LandsatMetadata, list[str]]:
    """Metadata in a folder, or in the one folder within it that an archive may have."""
    names = listing(folder)
    inner = [folder / name for name in names if (folder / name).is_dir()]
    if not _products(names) and len(inner) == 1:
        folder, names = inner[0], listing(inner[0])
    products = sorted(_products(names))
    if len(products) != 1:
        found = f"the metadata of {len(products)} products" if products else "no MTL file"
        raise SceneError(
            f"holds {found}; put one product with its _MTL.txt, .xml or .json into each directory",
            uri=str(path),
            reason="unsupported" if products else "incomplete",
        )
    if not any(SURFACE.fullmatch(name) for name in names):
        return folder, *_of_mtl(_notations(folder, products[0]))
    espa = folder / f"{products[0]}.xml"
    if not os.path.isfile(espa):
        raise SceneError(
            "is not there: it tells scale and fill of the sr_band files beside it",
            uri=str(espa),
            reason="incomplete",
        )
    return folder, read_espa(espa), []


def _of_mtl(files: Sequence[Path]) -> tuple[LandsatMetadata, list[str]]:
    """What the MTL says in all notations that are there and whole; raises SceneError."""
    read, wrong = [], []
    for file in files:
        try:
            read.append(read_mtl(file))
        except SceneError as error:
            if error.reason == "hostile":
                raise
            wrong.append(error)
    if not read:
        raise wrong[0]
    for other in read[1:]:
        _check_agreement(read[0], other)
    return from_mtl(read[0]), [f"{error}; not used" for error in wrong]


def _check_agreement(first: Mtl, other: Mtl) -> None:
    """Raise SceneError if two notations of one file give different radiometry."""
    for group, values in first.groups.items():
        for name in filter(RADIOMETRY.fullmatch, values):
            one, two = first.number(name, group), other.number(name, group)
            if one is not None and two is not None and one != two:
                raise SceneError(
                    f"says {name} = {two:g}, {first.path.name} beside it {one:g}: remove the one "
                    "that is wrong",
                    uri=str(other.path),
                    reason="unsupported",
                )


def _products(names: Iterable[str]) -> set[str]:
    """The products whose metadata or surface reflectance are among files."""
    found = [METADATA.fullmatch(name) or SURFACE.fullmatch(name) for name in names]
    return {match["product"] for match in found if match}


def _product_of(name: str) -> str:
    match = METADATA.fullmatch(name)
    return match["product"] if match else ""


def _notations(folder: Path, product: str) -> list[Path]:
    """The MTL files of a product, the preferred one first."""
    files = [folder / f"{product}_MTL.{suffix}" for suffix in NOTATIONS]
    return [file for file in files if os.path.isfile(file)]
