"""The upper levels of a pyramid, which no single tile can make: streamed in strips.

Each tile leaves a seed, its part of the first level that is not made of whole blocks. Rows of seeds
become strips of one block's height; each strip is emitted, halved, and pushed to the next level.
Memory is a few strips, as wide as
that level of the scene.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from isal import isal_zlib

from pipeline.journal import Staged
from pipeline.kernel import Fine
from pipeline.plan import Plan
from pipeline.pyramid import BLOCK, halve
from pipeline.radiometry import Mask, Pixels
from pipeline.stage import write_durably
from pipeline.tiling import Tile


@dataclass(frozen=True, slots=True)
class Level:
    """One level of a tile, or a strip of one level of the whole image."""

    level: int
    """0 is full resolution."""
    row: int
    """First row within the level."""
    pixels: Pixels
    """(band, y, x)."""
    valid: Mask | None
    """(band, y, x), True where valid; None if all are."""


def tile_pyramid(plan: Plan, tile: Tile, fine: Fine) -> list[Level]:
    """All that one tile knows of the pyramid: its whole levels, and last its seed if one is due.

    The seed is there when `len(result) > plan.tile_levels + 1`.
    """
    levels = [Level(0, tile.write.y, fine.pixels, fine.valid)]
    for level in range(1, min(plan.tile_levels + 2, len(plan.levels))):
        pixels, valid = _halve(plan, levels[-1].pixels, levels[-1].valid)
        levels.append(Level(level, tile.write.y >> level, pixels, valid))
    return levels


def seed_name(index: int) -> str:
    """Where the seed of a tile lies within the stage."""
    return f"seeds/{index:07d}.seed"


def write_seed(stage: Path, tile: Tile, seed: Level) -> Staged:
    """Make a seed durable."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(seed.pixels))
    if seed.valid is not None:
        np.lib.format.write_array(buffer, np.packbits(seed.valid))
    name = seed_name(tile.index)
    (stage / name).parent.mkdir(exist_ok=True)
    staged = write_durably(stage / name, isal_zlib.compress(buffer.getvalue(), 1))
    return Staged(name, staged.size, staged.crc32)


def _read_seed(stage: Path, index: int) -> tuple[Pixels, Mask | None]:
    buffer = io.BytesIO(isal_zlib.decompress((stage / seed_name(index)).read_bytes()))
    pixels = np.lib.format.read_array(buffer, allow_pickle=False)
    if buffer.tell() == buffer.getbuffer().nbytes:
        return pixels, None
    bits = np.lib.format.read_array(buffer, allow_pickle=False)
    return pixels, np.unpackbits(bits, count=pixels.size).reshape(pixels.shape).astype(bool)


def top_strips(stage: Path, plan: Plan) -> Iterator[Level]:
    """Strips of BLOCK rows (the last of a level may be lower) of all levels above the tiles' own.

    Within a level from top to bottom; levels take turns.
    """
    if plan.tile_levels + 1 >= len(plan.levels):
        return
    cascade = _Cascade(plan)
    for row in range(plan.tiling.rows):
        first = row * plan.tiling.columns
        seeds = [_read_seed(stage, first + column) for column in range(plan.tiling.columns)]
        yield from cascade.push(plan.tile_levels + 1, *_beside(seeds))
    yield from cascade.flush()


def _beside(parts: list[tuple[Pixels, Mask | None]]) -> tuple[Pixels, Mask | None]:
    """Neighbours in one row, joined."""
    pixels = np.concatenate([p for p, _ in parts], axis=2)
    if all(valid is None for _, valid in parts):
        return pixels, None
    masks = [np.ones(p.shape, bool) if valid is None else valid for p, valid in parts]
    return pixels, np.concatenate(masks, axis=2)


def _below(parts: list[tuple[Pixels, Mask | None]]) -> tuple[Pixels, Mask | None]:
    """Neighbours in one column, joined."""
    turned = [(p.swapaxes(1, 2), None if v is None else v.swapaxes(1, 2)) for p, v in parts]
    pixels, valid = _beside(turned)
    return pixels.swapaxes(1, 2), None if valid is None else valid.swapaxes(1, 2)


@dataclass
class _Cascade:
    """Rows waiting at each level until they fill a strip."""

    plan: Plan
    waiting: dict[int, tuple[Pixels, Mask | None]] = field(default_factory=dict)
    emitted: dict[int, int] = field(default_factory=dict)

    def push(self, level: int, pixels: Pixels, valid: Mask | None) -> Iterator[Level]:
        """Add rows below those that wait; emit what is full, here and above."""
        if level in self.waiting:
            pixels, valid = _below([self.waiting[level], (pixels, valid)])
        while pixels.shape[1] >= BLOCK:
            yield from self._emit(level, pixels[:, :BLOCK], _rows(valid, 0, BLOCK))
            pixels, valid = pixels[:, BLOCK:], _rows(valid, BLOCK, None)
        self.waiting[level] = (pixels, valid)

    def flush(self) -> Iterator[Level]:
        """Emit what is left, from the finest level to the coarsest."""
        for level in range(self.plan.tile_levels + 1, len(self.plan.levels)):
            pixels, valid = self.waiting.pop(level, (np.empty((0, 0, 0)), None))
            if pixels.shape[1]:
                yield from self._emit(level, pixels, valid)

    def _emit(self, level: int, pixels: Pixels, valid: Mask | None) -> Iterator[Level]:
        row = self.emitted.get(level, 0)
        self.emitted[level] = row + pixels.shape[1]
        yield Level(level, row, pixels, valid)
        if level + 1 < len(self.plan.levels):
            yield from self.push(level + 1, *_halve(self.plan, pixels, valid))


def _rows(valid: Mask | None, start: int, stop: int | None) -> Mask | None:
    return None if valid is None else valid[:, start:stop]


def _halve(plan: Plan, pixels: Pixels, valid: Mask | None) -> tuple[Pixels, Mask | None]:
    assert plan.method is not None
    return halve(pixels, valid, method=plan.method, nodata=plan.radiometry.nodata)
