"""The rasters of a Sentinel-2 granule: its files, grouped by what can be one stack."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.georef import Georef
from pipeline.options import SourceOptions
from pipeline.profile import Profile
from pipeline.scenes.headers import read_header
from pipeline.scenes.scene import Asset, BandFacts, SceneError
from pipeline.scenes.sentinel2_metadata import Granule, Product
from pipeline.scenes.sentinel2_names import BANDS, Image, image_of
from pipeline.scenes.stack import StackBand, write_stack

CLASS_KEYS = {"SCL": "scl", "CLD": "cloud", "CLASSI": "cloud"}
"""Keys of classifications; of several with one key the first is taken."""
CLASS_BANDS = {"SCL": ("SCL",), "CLD": ("CLDPRB",), "CLASSI": ("OPAQUE", "CIRRUS", "SNOW")}
"""Their bands: scene classes, per cent, flags."""
CLASS_NODATA = {"SCL": 0.0}
"""Class that stands for no data."""


@dataclass(frozen=True, slots=True)
class Part:
    """A granule and its files."""

    folder: Path
    """Where it lies."""
    granule: Granule
    """What its metadata say."""
    images: dict[Image, Path]
    """Its image files that are used."""
    label: str = ""
    """Suffix of its assets' keys; '' in a product of one granule."""

    @property
    def name(self) -> str:
        """What notes call it; '' in a product of one granule."""
        return f"{self.label.removeprefix('_')}: " if self.label else ""


@dataclass(frozen=True, slots=True)
class Picked:
    """An image that was chosen, and what its header says."""

    image: Image
    """What it holds."""
    path: Path
    """The file."""
    header: Profile
    """Its facts."""

    @property
    def size(self) -> tuple[int, int]:
        """(rows, columns)."""
        return (self.header.height, self.header.width)


def find_images(root: Path, folder: Path) -> dict[Image, Path]:
    """The image files of a granule's folder within a product's; raises SceneError."""
    found: dict[Image, Path] = {}
    for path in sorted(folder.rglob("*")):
        image = image_of(path.relative_to(root).as_posix())
        if image is None:
            continue
        if image in found:
            raise SceneError(
                f"has two files for {image.name} at {image.resolution} m, {found[image].name} and "
                f"{path.name}: remove the one that does not belong there",
                uri=str(folder),
                reason="incomplete",
            )
        found[image] = path
    return found


def light_assets(
    part: Part, product: Product, wanted: Sequence[str], *, work: Path
) -> Iterator[Asset]:
    """A stack of the wanted bands for each grid; raises SceneError."""
    groups: dict[tuple[int, tuple[int, int]], list[Picked]] = defaultdict(list)
    for image in filter(None, (pick_image(part, name) for name in wanted)):
        picked = _read(part, image)
        groups[image.resolution, picked.size].append(picked)
    for (resolution, size), group in sorted(groups.items()):
        key = f"r{resolution}m{part.label}{_odd_size(part, resolution, size)}"
        facts = tuple(_band_facts(product, picked.image.name) for picked in group)
        bands = [
            StackBand(str(picked.path), known, colour=BANDS[known.name].colour)
            for picked, known in zip(group, facts, strict=True)
        ]
        asset = _stack(part, group[0], bands, key=key, nodata=product.counts.nodata, work=work)
        yield replace(asset, saturated=product.counts.saturated)


def class_assets(part: Part, *, work: Path) -> Iterator[Asset]:
    """A raster for each kind of classification, in its finest resolution; raises SceneError."""
    made = set[str]()
    for kind, name in CLASS_KEYS.items():
        image = min((image for image in part.images if image.name == kind), default=None)
        if image is None or name in made:
            continue
        made.add(name)
        picked = _read(part, image)
        count = len(picked.header.bands)
        names = CLASS_BANDS[kind]
        if len(names) != count:
            names = tuple(f"{kind}_{number}" for number in range(1, count + 1))
        bands = [StackBand(str(picked.path), BandFacts(n), i) for i, n in enumerate(names, start=1)]
        key = f"{name}{part.label}{_odd_size(part, image.resolution, picked.size)}"
        nodata = CLASS_NODATA.get(kind)
        asset = _stack(part, picked, bands, key=key, nodata=nodata, work=work)
        yield replace(asset, kind="classes", options=SourceOptions(categorical="nearest"))


def pick_image(part: Part, name: str) -> Image | None:
    """The image of a band in the resolution it was sensed in, or the nearest to it."""
    sensed = BANDS[name].resolution
    there = [image for image in part.images if image.name == name]
    return min(there, key=lambda image: abs(image.resolution - sensed), default=None)


def doubts(part: Part, wanted: Sequence[str], assets: Sequence[Asset]) -> Iterator[str]:
    """What is odd about the rasters of a granule, a line each. `wanted`: bands that should be."""
    picked = {name: pick_image(part, name) for name in wanted}
    missing = [name for name, image in picked.items() if image is None]
    if missing:
        yield f"{part.name}{_list(missing)} missing"
    others: dict[int, list[str]] = defaultdict(list)
    for name, image in picked.items():
        if image and image.resolution != BANDS[name].resolution:
            others[image.resolution].append(name)
    for resolution, names in others.items():
        yield f"{part.name}{_list(names)} there at {resolution} m only, not as sensed"
    for asset in assets:
        name, _, size = asset.key.rpartition("_")
        if "x" in size:
            said = _list([band.name for band in asset.bands])
            yield (
                f"{part.name}{said} of {size.replace('x', ' x ')} pixels, another size than the "
                f"metadata say: a raster of its own, {asset.key}"
            )


def _list(names: Sequence[str]) -> str:
    return f"{', '.join(names)} {'is' if len(names) == 1 else 'are'}"


def _read(part: Part, image: Image) -> Picked:
    path = part.images[image]
    return Picked(image, path, read_header(path))


def _odd_size(part: Part, resolution: int, size: tuple[int, int]) -> str:
    """What a key says of an image of another size than the metadata say; else ''."""
    rows, columns = size
    return "" if part.granule.sizes.get(resolution, size) == size else f"_{columns}x{rows}"


def _band_facts(product: Product, name: str) -> BandFacts:
    known = BANDS[name]
    scale, offset = product.counts.scale_and_offset(name)
    return BandFacts(
        name,
        common=known.common,
        wavelength=product.wavelengths.get(name, known.wavelength),
        width=known.width,
        scale=scale,
        offset=offset,
    )


def _stack(
    part: Part,
    first: Picked,
    bands: Sequence[StackBand],
    *,
    key: str,
    nodata: float | None,
    work: Path,
) -> Asset:
    """Write a stack; the asset that it is."""
    georef = first.header.georef
    place = None if georef.affine else _place(part.granule, first)
    affine = georef.affine or (place.affine if place else None)
    if affine is None:
        raise SceneError(
            "does not say where it lies, nor do the metadata of its granule",
            uri=str(first.path),
            reason="incomplete",
        )
    path = work / f"{key}.vrt"
    write_stack(path, bands, nodata=nodata, georef=place)
    facts = tuple(band.facts for band in bands)
    return Asset(key, str(path.absolute()), bands=facts, resolution=abs(affine[0]))


def _place(granule: Granule, picked: Picked) -> Georef | None:
    """Where the metadata say that an image lies that does not say so; None if they do not."""
    resolution, (rows, columns) = picked.image.resolution, picked.size
    place, size = granule.places.get(resolution), granule.sizes.get(resolution)
    if place is None or place.affine is None or size is None:
        return None
    width, _, x, _, height, y = place.affine
    affine = (width * size[1] / columns, 0.0, x, 0.0, height * size[0] / rows, y)
    return replace(place, affine=affine)
