"""Encoded blocks of a pyramid, staged by tile, taken in the order in which a file wants them.

    stage/parts/0000012.part      a tile's blocks, last one first (see `parts`)
    stage/seeds/3.5.9.seed        a tile's share of the first level it cannot make alone
    stage/top/3.7.2.part          a part of a level that no tile makes alone
    stage/pieces.npz              sizes and checksums of all blocks: from here on parts may shrink

Whatever takes them begins with the smallest level and goes through each of them row by row: so the
blocks of a part are taken one after the other, and it gives its space back.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from pipeline.codec import Encoded
from pipeline.journal import Staged
from pipeline.kernel import Fine
from pipeline.plan import Plan
from pipeline.pyramid import BLOCK
from pipeline.sinks.parts import (
    Index,
    Piece,
    load_table,
    part_name,
    read_index,
    save_table,
    write_part,
)
from pipeline.stage import sync_directory
from pipeline.tiff import blocks
from pipeline.tiling import Tile
from pipeline.top import Part, part_side, tile_pyramid, upper_parts, write_seed

Encode = Callable[[Part], Iterable[Sequence[Encoded]]]
"""The pieces of a part's blocks, in row-major order; each given as its fragments."""


def begin(stage: Path) -> None:
    """Make the directories."""
    for name in ("parts", "seeds", "top"):
        (stage / name).mkdir(exist_ok=True)


def write(stage: Path, plan: Plan, tile: Tile, fine: Fine, *, encode: Encode) -> tuple[Staged, ...]:
    """Encode a tile's blocks and those of its overviews into one part."""
    pyramid = tile_pyramid(plan, tile, fine)
    own, seed = pyramid[: plan.tile_levels + 1], pyramid[plan.tile_levels + 1 :]
    pieces = [piece for level in reversed(own) for piece in encode(level)]
    part = write_part(stage, part_name(tile.index), pieces)
    return (part, *(write_seed(stage, one) for one in seed))


def gather(stage: Path, plan: Plan, *, encode: Encode, pieces: int = 1) -> Sequence[Index]:
    """By level: (row, column, piece, 2) sizes and checksums of all blocks, `pieces` for each.

    The first call makes the top of the pyramid and saves what it has found.
    """
    saved = load_table(stage)
    if saved is None:
        for part in upper_parts(stage, plan):
            write_part(stage, _top_name(part.level, part.row, part.column), [*encode(part)])
        sync_directory(stage / "top")
        saved = save_table(stage, _gathered(stage, plan, pieces))
    shutil.rmtree(stage / "seeds", ignore_errors=True)
    return saved


def in_order(plan: Plan, level: int, table: Index) -> Iterator[Piece]:
    """The pieces of one level, row by row."""
    whole = part_side(plan, level) // BLOCK
    for row, line in enumerate(table):
        for column, pieces in enumerate(line.tolist()):
            place = row // whole, column // whole
            tile = None
            if level <= plan.tile_levels:
                tile = place[0] * plan.tiling.columns + place[1]
            name = _top_name(level, *place) if tile is None else part_name(tile)
            for length, crc in pieces:
                yield Piece(name, length, crc, tile)


def _top_name(level: int, row: int, column: int) -> str:
    """Where a part of a level above the tiles' own lies within the stage."""
    return f"top/{level}.{row}.{column}.part"


def _gathered(stage: Path, plan: Plan, pieces: int) -> Sequence[Index]:
    """The table, from the indexes of all parts."""
    table = [np.zeros((*blocks(shape), pieces, 2), np.uint32) for shape in plan.levels]
    for tile in plan.tiling:
        index = read_index(stage, part_name(tile.index), tile=tile.index)
        for level in range(plan.tile_levels, -1, -1):
            part = _part_of(plan, table, level, tile.row, tile.column)
            own, index = np.split(index, [part.size // 2])
            part[...] = own.reshape(part.shape)
    for level in range(plan.tile_levels + 1, len(plan.levels)):
        whole = part_side(plan, level) // BLOCK
        rows, columns = (range(-(-length // whole)) for length in table[level].shape[:2])
        for row, column in itertools.product(rows, columns):
            part = _part_of(plan, table, level, row, column)
            part[...] = read_index(stage, _top_name(level, row, column)).reshape(part.shape)
    return table


def _part_of(plan: Plan, table: Sequence[Index], level: int, row: int, column: int) -> Index:
    """The share of a part in the table."""
    whole = part_side(plan, level) // BLOCK
    rows, columns = row * whole, column * whole
    return table[level][rows : rows + whole, columns : columns + whole]
