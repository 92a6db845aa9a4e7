"""Pictures of a product: a thumbnail, and the same ground before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from rasterio.io import DatasetReader

from pipeline.errors import PublishError
from pipeline.options import READ_BACK
from pipeline.radiometry import validity
from pipeline.sources import Source, open_source
from pipeline.sources.raster import RasterSource
from pipeline.stage import replacing
from pipeline.tiling import Window
from workflows.batch.checks import open_product, published
from workflows.drawing import (
    Picture,
    Tone,
    candidates,
    detail,
    make_image,
    make_tone,
    repeat,
    visible_bands,
)
from workflows.frames import middle

if TYPE_CHECKING:
    from workflows.batch.product import Made, MadeAsset

SIDE = 512
"""Most pixels of a side of a picture."""
COMMON = ("red", "green", "blue")
"""STAC's common names of the bands that are shown, where a scene has them."""
LEAST = 3
"""Least pixels of an overview that tell how detailed a window is."""


def thumbnail_name(product: str) -> str:
    """The file of a product's thumbnail, within its folder."""
    return f"{product}.png"


def picture_names(product: str) -> tuple[str, str]:
    """The files of the pictures before and after, within its folder."""
    return f"{product}.swipe-before.png", f"{product}.swipe-after.png"


def write_pictures(folder: Path, made: Made) -> tuple[str, str] | None:
    """Draw the thumbnail and, where there is light to see, before and after; names of these.

    Raises SourceError if the source cannot be read, PublishError for all that is ours.
    """
    shown = shown_asset(made.assets)
    with published(shown):
        whole = overview(shown)
        _write(folder / thumbnail_name(made.product), whole, _tone(shown, whole))
        if shown.asset.kind == "classes":
            return None
        low, high = same_ground(shown, whole)
    names = picture_names(made.product)
    for name, picture in zip(names, (low, high), strict=True):
        _write(folder / name, picture, _tone(shown, low))
    return names


def shown_asset(assets: Sequence[MadeAsset]) -> MadeAsset:
    """In colour if there is one, light rather than codes, the one with most pixels."""
    return max(
        assets,
        key=lambda made: (
            len(shown_bands(made)) == len(COMMON),
            made.asset.kind == "light",
            made.asset.kind == "pan",
            made.plan.fine.height * made.plan.fine.width,
        ),
    )


def shown_bands(made: MadeAsset) -> tuple[int, ...]:
    """0-based positions of three bands or one: red, green and blue by the scene's own names."""
    common = [facts.common for facts in made.asset.bands]
    if len(common) == len(made.plan.profile.bands) and set(COMMON) <= set(common):
        return tuple(common.index(name) for name in COMMON)
    return visible_bands(made.plan.profile)


def overview(made: MadeAsset) -> Picture:
    """The whole product, at most SIDE pixels a side, from its smallest overview.

    Without overviews every n-th pixel of every n-th row is shown.
    """
    source = _opened(made, len(made.plan.levels) - 1)
    height, width = source.profile.height, source.profile.width
    every = -(-max(height, width) // SIDE)
    if every == 1:
        return _picture(source, Window(0, 0, height, width), shown_bands(made))
    rows = (Window(y, 0, 1, width) for y in range(0, height, every))
    strips = [_picture(source, row, shown_bands(made))[:, :, ::every] for row in rows]
    return np.concatenate(strips, axis=1)


def same_ground(made: MadeAsset, whole: Picture) -> tuple[Picture, Picture]:
    """The most detailed window of source and product at one size, without any smoothing."""
    scale, bands = made.plan.provenance.scale, shown_bands(made)
    zoom = max(1, 4 // scale)
    window = choose_window(made, whole, side=max(SIDE // (scale * zoom), 1))
    source = middle(made.plan.source.open(made.plan.profile.identity))
    low = _picture(source, window, bands)
    high = _picture(middle(open_product(made)), window.fine(scale), bands)
    return repeat(low, scale * zoom), repeat(high, zoom)


def choose_window(made: MadeAsset, whole: Picture, *, side: int) -> Window:
    """The candidate of that many source pixels in which the overview shows most detail."""
    profile = made.plan.profile
    height, width = whole.shape[1:]
    down, across = height / profile.height, width / profile.width

    def seen(window: Window) -> float:
        y, x = int(window.y * down), int(window.x * across)
        rows, columns = (
            max(round(length * factor), LEAST)
            for length, factor in ((window.height, down), (window.width, across))
        )
        y, x = max(min(y, height - rows), 0), max(min(x, width - columns), 0)
        return detail(whole[:, y : y + rows, x : x + columns])

    return max(candidates(profile.height, profile.width, side), key=seen)


def _opened(made: MadeAsset, level: int) -> Source:
    """One level of the product."""
    if level == 0 or made.plan.profile.medical:
        return middle(open_product(made))
    if made.plan.format == "zarr":
        return open_source(str(made.target / str(level)), READ_BACK)
    height, width = made.plan.levels[level]
    profile = replace(open_product(made).profile, height=height, width=width)
    dataset = DatasetReader(str(made.target), sharing=False, overview_level=level - 1)
    return RasterSource(dataset, profile, remote=False)


def _picture(source: Source, window: Window, bands: Sequence[int]) -> Picture:
    """Bands of a window, NaN where any of them is invalid."""
    pixels = source.read(window)
    valid = validity(source.profile, pixels, source.mask(window))
    chosen = pixels[list(bands)].astype(np.float32)
    if valid is not None:
        chosen[:, ~valid[list(bands)].all(axis=0)] = np.nan
    return chosen


def _tone(made: MadeAsset, picture: Picture) -> Tone:
    """How values become shades; those of a photograph are shades already."""
    profile = made.plan.profile
    photograph = profile.dtype == "uint8" and profile.driver in ("PNG", "JPEG")
    return make_tone(picture, photograph=photograph)


def _write(path: Path, picture: Picture, tone: Tone) -> None:
    """A PNG, whole or not at all; raises PublishError."""
    image: Image.Image = make_image(picture, tone)
    try:
        with replacing(path) as file:
            image.save(file, "PNG", compress_level=3)
    except OSError as error:
        raise PublishError(f"cannot be written ({error.strerror})", uri=str(path)) from error
