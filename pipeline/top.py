"""The upper levels of a pyramid, which no single tile can make: of four parts at a time.

Each tile leaves a seed, its part of the first level of which it does not have whole blocks. Two by
two seeds of a level are whole blocks again, and, halved, one seed of the next level:

    seeds of level n        part of level n         seed of level n + 1
      | a | b |               | a   b |
      | c | d |      ->       | c   d |      ->           | e |

Four seeds are removed once both are durable. So the levels take no more space than the seeds did,
memory is that of four seeds, and what an interruption leaves shows how far things went.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from isal import isal_zlib

from pipeline.errors import DamagedStageError
from pipeline.journal import Staged
from pipeline.kernel import Fine
from pipeline.plan import Plan
from pipeline.pyramid import halve
from pipeline.radiometry import Mask, Pixels
from pipeline.stage import write_durably
from pipeline.tiling import Tile


@dataclass(frozen=True, slots=True)
class Part:
    """A part of one level."""

    level: int
    """0 is full resolution."""
    row: int
    """Row in the grid of such parts: that of tiles, coarser by two with each upper level."""
    column: int
    """Column in that grid."""
    pixels: Pixels
    """(band, y, x)."""
    valid: Mask | None
    """(band, y, x), True where valid; None if all are."""


def tile_pyramid(plan: Plan, tile: Tile, fine: Fine) -> list[Part]:
    """All that one tile knows of the pyramid: its whole levels, and last its seed if one is due.

    The seed is there when `len(result) > plan.tile_levels + 1`.
    """
    parts = [Part(0, tile.row, tile.column, fine.pixels, fine.valid)]
    while len(parts) < min(plan.tile_levels + 2, len(plan.levels)):
        parts.append(_halved(plan, parts[-1]))
    return parts


def part_side(plan: Plan, level: int) -> int:
    """Pixels along a side of a part of a level, but for the last ones; whole blocks."""
    return plan.tiling.side >> min(level, plan.tile_levels)


def write_seed(stage: Path, seed: Part) -> Staged:
    """Make a seed durable."""
    name = _seed_name(seed.level, seed.row, seed.column)
    (stage / name).parent.mkdir(exist_ok=True)
    staged = write_durably(stage / name, _packed(seed.pixels, seed.valid))
    return Staged(name, staged.size, staged.crc32)


def _seed_name(level: int, row: int, column: int) -> str:
    """Where a seed lies within the stage; its row and column are those of its own grid."""
    return f"seeds/{level}.{row}.{column}.seed"


def _packed(pixels: Pixels, valid: Mask | None) -> bytes:
    """Differences along rows and validity, compressed, with a checksum."""
    buffer = io.BytesIO()
    words = np.ascontiguousarray(pixels).view(f"u{pixels.itemsize}")
    differences = words.copy()
    differences[..., 1:] -= words[..., :-1]
    np.lib.format.write_array(buffer, differences.view(pixels.dtype))
    if valid is not None:
        np.lib.format.write_array(buffer, np.packbits(valid))
    packed: bytes = isal_zlib.compress(buffer.getvalue(), 1)
    return packed


def _unpacked(data: bytes) -> tuple[Pixels, Mask | None]:
    """The contrary; raises IsalError."""
    buffer = io.BytesIO(isal_zlib.decompress(data))
    found = np.lib.format.read_array(buffer, allow_pickle=False)
    words = found.view(f"u{found.itemsize}")
    pixels = np.cumsum(words, axis=-1, dtype=words.dtype).view(found.dtype)
    if buffer.tell() == buffer.getbuffer().nbytes:
        return pixels, None
    bits = np.lib.format.read_array(buffer, allow_pickle=False)
    return pixels, np.unpackbits(bits, count=pixels.size).reshape(pixels.shape).astype(bool)


def upper_parts(stage: Path, plan: Plan) -> Iterator[Part]:
    """Parts of all levels above the tiles' own, each of whole blocks; level by level.

    Each must be durable before the next is asked for. Called again after an interruption this
    goes on where it stopped. Raises DamagedStageError.
    """
    last = len(plan.levels) - 1
    for level in range(plan.tile_levels + 1, last + 1):
        for row, column in itertools.product(*_grid(plan, level, part_side(plan, level))):
            if not _is_done(stage, last, level, row, column):
                part = _joined(stage, plan, level, row, column)
                yield part
                if level == last:  # these seeds stay: without them nothing would look done
                    continue
                write_seed(stage, _halved(plan, part))
            for place in _seeds_of(plan, level, row, column):
                (stage / _seed_name(level, *place)).unlink(missing_ok=True)


def _grid(plan: Plan, level: int, side: int) -> tuple[range, range]:
    """Rows and columns of squares of that many pixels in a level."""
    height, width = plan.levels[level]
    return range(-(-height // side)), range(-(-width // side))


def _seeds_of(plan: Plan, level: int, row: int, column: int) -> list[tuple[int, int]]:
    """(row, column) of the seeds that make a part, in row-major order."""
    rows, columns = _grid(plan, level, part_side(plan, level) // 2)
    return list(
        itertools.product(rows[2 * row : 2 * row + 2], columns[2 * column : 2 * column + 2])
    )


def _is_done(stage: Path, last: int, level: int, row: int, column: int) -> bool:
    """Whether something was made of a part: its seeds may be gone then."""
    above = ((upper, upper - 1 - level) for upper in range(level + 1, last + 1))
    return any(
        (stage / _seed_name(upper, row >> shift, column >> shift)).exists()
        for upper, shift in above
    )


def _joined(stage: Path, plan: Plan, level: int, row: int, column: int) -> Part:
    """A part, of its seeds."""
    places = _seeds_of(plan, level, row, column)
    seeds = {place: _read(stage, plan, level, *place) for place in places}
    lines = [list(line) for _, line in itertools.groupby(places, key=lambda place: place[0])]
    pixels = np.block([[seeds[place][0] for place in line] for line in lines])
    if all(valid is None for _, valid in seeds.values()):
        return Part(level, row, column, pixels, None)
    masks = {
        place: np.ones(found.shape, bool) if valid is None else valid
        for place, (found, valid) in seeds.items()
    }
    valid = np.block([[masks[place] for place in line] for line in lines])
    return Part(level, row, column, pixels, valid)


def _read(stage: Path, plan: Plan, level: int, row: int, column: int) -> tuple[Pixels, Mask | None]:
    """A seed; raises DamagedStageError."""
    name = _seed_name(level, row, column)
    try:
        return _unpacked((stage / name).read_bytes())
    except (FileNotFoundError, isal_zlib.IsalError) as error:  # type: ignore[misc] # a bad stub
        tile = row * plan.tiling.columns + column if level == plan.tile_levels + 1 else None
        raise DamagedStageError(
            f"the staged file {name} is not what was written", uri=str(stage), tile=tile
        ) from error


def _halved(plan: Plan, part: Part) -> Part:
    """The same ground on the next level."""
    assert plan.method is not None
    nodata = plan.radiometry.nodata
    pixels, valid = halve(part.pixels, part.valid, method=plan.method, nodata=nodata)
    return Part(part.level + 1, part.row, part.column, pixels, valid)
