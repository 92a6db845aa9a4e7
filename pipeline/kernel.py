"""The pure heart of a tile: source pixels in, finished fine pixels out.

fill -> mirror -> network, block by block -> crop -> round -> restore what must come back exactly.
No files, no Dask: the tiled run, the lazy façade and the tests all call the same function.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.fill import fill_nearest
from pipeline.profile import Profile
from pipeline.radiometry import (
    Cuts,
    Mask,
    Pixels,
    Radiometry,
    as_code,
    keep_off,
    replicate,
    validity,
)
from pipeline.tiling import Tile, Tiling, Window

STRIP = 256
"""Rows of planes that are turned into the output's values at once: they stay in the cache."""


class Upscaler(Protocol):
    """A network as seen from here; `espcn.load` returns one. Pickles by address."""

    @property
    def scale(self) -> int:
        """Fine pixels per LR pixel along one axis."""

    @property
    def halo(self) -> int:
        """LR pixels of context consumed on each side."""

    @property
    def bands(self) -> int:
        """Bands it takes at once; 1 means any number, one by one."""

    @property
    def band_names(self) -> tuple[str, ...]:
        """What each of those bands shows, in order; empty where unknown."""

    @property
    def input_range(self) -> tuple[float, float] | None:
        """Range of values that it was trained on; None if it needs no normalisation."""

    @property
    def value_range(self) -> tuple[float, float] | None:
        """Values of its training data that `input_range` stands for; None where unknown."""

    @property
    def block(self) -> int:
        """Side, in LR pixels and without halo, of the blocks it is fast on."""

    @property
    def fixed(self) -> bool:
        """Whether every block must have exactly that side and lie on one grid to be exact."""

    @property
    def native(self) -> bool:
        """Whether it takes any data type and returns the same (pixel replication)."""

    def planes(self, pixels: NDArray[np.float32], /, *, band: int) -> NDArray[np.float32]:
        """(band, h + 2 halo, w + 2 halo) to (band, R, R, y, x), float32, the caller's to change.

        They are good until the next call from the same thread.
        `band`, counted from 0, is the place in the scene of the first one of `pixels`.
        Fine pixel (R * y + i, R * x + j) is at [band, i, j, y, x]. Any R will do; planes may reach
        beyond h * scale and w * scale.
        """


@dataclass(frozen=True, slots=True)
class Recipe:
    """How every tile of a scene is made."""

    profile: Profile
    """The scene."""
    tiling: Tiling
    """Its cut."""
    radiometry: Radiometry
    """Its values."""
    upscaler: Upscaler
    """The network."""


@dataclass(frozen=True, slots=True)
class Fine:
    """The finished pixels of a tile."""

    pixels: Pixels
    """(band, y, x) on the fine grid, in the source's data type."""
    valid: Mask | None
    """(band, y, x), True where valid; None if all are."""
    clipped: int = 0
    """Values that did not fit the data type."""


def make_tiling(
    height: int, width: int, upscaler: Upscaler, *, side: int, frames: int = 1
) -> Tiling:
    """The tiling that suits the network: its halo, and its grid of blocks where it needs one."""
    align = upscaler.block if upscaler.fixed else 1
    return Tiling(height, width, upscaler.scale, side, upscaler.halo, align, frames)


def upscale_tile(
    recipe: Recipe, tile: Tile, pixels: Pixels, mask: Mask | None, *, into: Pixels | None = None
) -> Fine:
    """Upscale one tile.

    `pixels` is (band, y, x) on `tiling.read(tile)`; `mask` (y, x) the per-dataset mask there, or
    None. Light bands go through the network, all others to the fine grid by nearest neighbour;
    invalid and saturated pixels come back exactly. `into` is used for the result if given.
    """
    valid = validity(recipe.profile, pixels, mask)
    light = () if recipe.upscaler.native else recipe.profile.light
    fine = np.empty((len(pixels), *tile.write.shape), pixels.dtype) if into is None else into
    clipped = sum(_infer(recipe, tile, pixels, valid, fine, g) for g in _groups(recipe, light))
    for band in set(range(len(pixels))) - set(light):
        fine[band] = _nearest(recipe.tiling, tile, pixels[band])
    return Fine(fine, None if valid is None else _nearest(recipe.tiling, tile, valid), clipped)


def _groups(recipe: Recipe, light: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Bands that go through the network together."""
    for start in range(0, len(light), recipe.upscaler.bands):
        yield light[start : start + recipe.upscaler.bands]


def _infer(
    recipe: Recipe,
    tile: Tile,
    pixels: Pixels,
    valid: Mask | None,
    fine: Pixels,
    group: tuple[int, ...],
) -> int:
    """Write the network's values of the bands in `group` into `fine`; count the clipped ones."""
    tiling, radiometry = recipe.tiling, recipe.radiometry
    seen = tiling.core(tile).grow(tiling.halo)
    field = np.stack([_field(recipe, pixels, valid, band) for band in group])
    field = mirror(field, tiling.read(tile), seen)
    exact = {band: _exact(recipe, tile, pixels, valid, band) for band in group}
    clipped = 0
    for block in _blocks(recipe, tile):
        ground = block.fine(tiling.scale)
        part = ground.overlap(tile.write)
        target = part.within(tile.write).slices
        keeps = [None if keep is None else keep[target] for keep in exact.values()]
        if all(keep is not None and keep.all() for keep in keeps):
            continue  # gaps and nothing else: no network is needed
        context = block.grow(tiling.halo).within(seen).slices
        light = recipe.upscaler.planes(np.ascontiguousarray(field[:, *context]), band=group[0])
        for planes, band, keep in zip(light, group, keeps, strict=True):
            into = fine[band][target]
            for strip, cuts in _sub_pixels(planes, part.within(ground)):
                values = radiometry.from_network(strip, band=band)
                clipped += values.write(cuts, into, keep=keep)
    for band, keep in exact.items():
        if keep is None and radiometry.padding is None:
            continue
        near = _nearest(tiling, tile, pixels[band])
        if radiometry.padding is not None:
            keep_off(fine[band], near, radiometry.padding)
        if keep is not None:
            _copy_where(keep, near, into=fine[band])
    return clipped


def _copy_where(keep: Mask, values: Pixels, *, into: Pixels) -> None:
    """Copy (y, x) values where `keep` is true; looks at the columns that have such pixels only."""
    columns = np.flatnonzero(keep.any(axis=0))
    some = slice(columns[0], columns[-1] + 1) if len(columns) else slice(0)
    np.copyto(into[:, some], values[:, some], where=keep[:, some])


def _sub_pixels(
    planes: NDArray[np.float32], window: Window
) -> Iterator[tuple[NDArray[np.float32], Cuts]]:
    """What planes (R, R, y, x) hold of a window of fine pixels: strips (R, y, x) of one piece that
    stay in the cache, and where in a strip are which of the window's pixels.

    R = 2            window from (0, 1)
    a b a b   a: (0, 0)   b: (0, 1)      b a b
    c d c d   c: (1, 0)   d: (1, 1)      d c d
    """
    side, height = len(planes), planes.shape[2]
    across = [_every(side, j, window.x, window.stop_x, origin=window.x) for j in range(side)]
    for i, y in itertools.product(range(side), range(0, height, STRIP)):
        top, bottom = max(window.y, y * side), min(window.stop_y, (y + STRIP) * side)
        rows, row_places = _every(side, i, top, bottom, origin=window.y)
        own = slice(rows.start - y, rows.stop - y)
        cuts: Cuts = [
            ((j, own, columns), (row_places, column_places))
            for j, (columns, column_places) in enumerate(across)
            if rows.stop > rows.start and columns.stop > columns.start
        ]
        if cuts:
            yield planes[i, :, y : y + STRIP], cuts


def _every(side: int, first: int, start: int, stop: int, *, origin: int) -> tuple[slice, slice]:
    """Which of first, first + side, .. lie from `start` to `stop`; and these, less `origin`."""
    inside = slice(-((first - start) // side), -((first - stop) // side))
    return inside, slice(first + side * inside.start - origin, stop - origin, side)


def _field(recipe: Recipe, pixels: Pixels, valid: Mask | None, band: int) -> NDArray[np.float32]:
    """What the network sees of a band: centred, and filled where invalid."""
    light = recipe.radiometry.to_network(pixels[band], band=band)
    if valid is None:
        return light
    return fill_nearest(light, valid[band], reach=recipe.tiling.reach)


def mirror(field: NDArray[np.float32], have: Window, want: Window) -> NDArray[np.float32]:
    """`field` (band, y, x) on the window `have`, cropped and mirrored symmetrically to `want`."""
    inside = have.overlap(want)
    field = field[:, *inside.within(have).slices]
    rows = (inside.y - want.y, want.stop_y - inside.stop_y)
    columns = (inside.x - want.x, want.stop_x - inside.stop_x)
    if not any((*rows, *columns)):
        return field
    return np.pad(field, ((0, 0), rows, columns), mode="symmetric")


def _blocks(recipe: Recipe, tile: Tile) -> Iterator[Window]:
    """The LR blocks that go through the network one at a time, skipping what no pixel needs."""
    tiling = recipe.tiling
    for block in tiling.core(tile).cut(recipe.upscaler.block):
        part = block.fine(tiling.scale).overlap(tile.write)
        if part.height and part.width:
            yield block


def _nearest(tiling: Tiling, tile: Tile, values: Pixels) -> Pixels:
    """Values (..., y, x) on the read window, by nearest neighbour on the write window."""
    near = tile.write.coarse(tiling.scale)
    fine = replicate(values[..., *near.within(tiling.read(tile)).slices], scale=tiling.scale)
    return fine[..., *tile.write.within(near.fine(tiling.scale)).slices]


def _exact(
    recipe: Recipe, tile: Tile, pixels: Pixels, valid: Mask | None, band: int
) -> Mask | None:
    """Fine pixels of a band that must come back exactly: invalid and saturated; None for none."""
    keep = np.zeros(pixels.shape[1:], bool) if valid is None else ~valid[band]
    ceiling = as_code(recipe.radiometry.saturated, pixels.dtype)
    if ceiling is not None:
        keep |= pixels[band] == ceiling
    return _nearest(recipe.tiling, tile, keep) if keep.any() else None
