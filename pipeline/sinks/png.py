"""PNG, for images rather than scenes: put together from slabs that the workers encode.

The pixels of a PNG are one stream of filtered rows. Tiles are staged in slabs of 64 rows, each a
small PNG of its own; publishing joins the slabs of each 64 rows of the image, packs them again and
gives their space back. What describes the image is lifted from a tiny PNG that GDAL writes.

    stage/parts/0000012.part      a tile's slabs, last one first (see `parts`)
    stage/pieces.npz              sizes and checksums of all slabs: from here on parts may shrink
    stage/output.png              being put together
    stage/assembled.json          how far, and the checksum of what is there
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import imagecodecs
import numpy as np
from isal import isal_zlib

from pipeline.errors import PlanError
from pipeline.fate import Fate
from pipeline.fate import fates as all_fates
from pipeline.journal import Receipt, Staged
from pipeline.kernel import Fine
from pipeline.plan import Plan
from pipeline.profile import Profile
from pipeline.radiometry import Pixels
from pipeline.sinks.assembly import (
    LEAST_STEP,
    STEPS,
    Checked,
    Data,
    assemble,
    checked,
    is_assembled,
)
from pipeline.sinks.cog import check_file
from pipeline.sinks.parts import (
    Index,
    Piece,
    load_table,
    part_name,
    placed,
    read_index,
    save_table,
    take,
    write_part,
)
from pipeline.sinks.png_bytes import (
    LAST_BLOCK,
    LEVEL,
    PROFILE,
    Packing,
    around,
    chunk,
    encode,
    filtered,
    packing_of,
)
from pipeline.stage import sync_directory
from pipeline.tiling import Tile

MAX_SIDE = 1_000_000
"""Most rows or columns that libpng, and so nearly everyone, reads."""
LOST = (
    *("coordinate", "transform", "ground", "RPCs", "AREA", "mask", "units", "scales", "band "),
    "0 is white",
)
"""Beginnings of what a PNG has no place for."""
SLAB = 64
"""Rows of a slab, fewer in wide images; divides the side of every tile."""
LINE = 32 * 2**20
"""Bytes of the slabs beside each other that publishing joins at once; it holds them five times."""


def claims(target: Path, profile: Profile) -> bool:
    """Whether the name is that of a PNG."""
    return target.suffix.lower() == ".png" and not profile.medical


def check(plan: Plan, target: Path) -> None:
    """Raise PlanError for what a PNG cannot hold, or if `target` is a directory."""
    check_file(target)
    bands, dtype = len(plan.profile.bands), plan.profile.dtype
    if dtype not in ("uint8", "uint16"):
        raise PlanError(f"PNG holds uint8 or uint16, not {dtype}; write .tif or .zarr")
    if bands > 4:
        raise PlanError(f"PNG holds 1 to 4 bands, not {bands}; select some with --bands")
    if bands in (2, 4) and plan.profile.alpha != bands - 1:
        raise PlanError(f"the last of {bands} bands of a PNG is alpha; select others with --bands")
    if max(plan.tiling.shape) > MAX_SIDE:
        raise PlanError(f"PNG holds at most {MAX_SIDE} rows and columns; write .tif or .zarr")
    try:
        around(plan)
    except OSError as error:
        raise PlanError(
            f"its metadata cannot be written to a PNG ({error})", uri=plan.profile.uri
        ) from error


def fates(plan: Plan) -> tuple[Fate, ...]:
    """PNG keeps pixels, colours and text; it has no place for georeferencing."""
    return tuple(_fate(fate) for fate in all_fates(plan.profile, plan.provenance))


def _fate(fate: Fate) -> Fate:
    domain, colon, _ = fate.item.removeprefix("tag ").partition(":")
    foreign = bool(colon) and fate.item.startswith("tag ") and domain != PROFILE
    if fate.outcome != "dropped" and (fate.item.startswith(LOST) or foreign):
        return Fate(fate.item, "dropped", "PNG has no place for it")
    return fate


def begin(stage: Path, plan: Plan) -> None:  # noqa: ARG001 - the plan is of use to other sinks
    """Make the directory."""
    (stage / "parts").mkdir(exist_ok=True)


def write(stage: Path, plan: Plan, tile: Tile, fine: Fine) -> tuple[Staged, ...]:
    """Encode a tile's slabs into one part."""
    pixels = fine.pixels.transpose(1, 2, 0)
    rows = _slab(plan)
    slabs = [pixels[row : row + rows] for row in range(0, len(pixels), rows)]
    pieces = [(encode(slab, packing_of(plan), level=LEVEL),) for slab in slabs]
    return (write_part(stage, part_name(tile.index), pieces),)


def _slab(plan: Plan) -> int:
    """Rows of a slab: a power of two, whatever the tile."""
    fitting = max(LINE // _row_bytes(plan), 1)
    return min(SLAB, 1 << (fitting.bit_length() - 1))


def _row_bytes(plan: Plan) -> int:
    """Bytes of one row of the output."""
    sample = len(plan.profile.bands) * np.dtype(plan.profile.dtype).itemsize
    return plan.tiling.shape[1] * sample


def publish(
    stage: Path,
    plan: Plan,
    receipts: Mapping[int, Receipt],  # noqa: ARG001 - of use to other sinks
    target: Path,
) -> None:
    """Put the PNG together and rename it to `target`."""
    table = load_table(stage) or save_table(stage, _gathered(stage, plan))
    header, end = around(plan)
    output = stage / "output.png"
    if not is_assembled(stage, target):
        pieces = placed(partial(_in_order, plan, table))
        joiner = _Rows(stage, plan.tiling.columns, packing_of(plan), end)
        assemble(stage, output, header, _in_steps(pieces, plan), joiner)
        output.replace(target)
    sync_directory(target.parent)


def _gathered(stage: Path, plan: Plan) -> Sequence[Index]:
    """(tile, slab, 2) sizes and checksums, from the indexes of all parts."""
    return [read_index(stage, part_name(t.index), tile=t.index) for t in plan.tiling]


def _in_order(plan: Plan, table: Sequence[Index]) -> Iterator[Piece]:
    """All slabs in the order of the image."""
    for first in range(0, len(plan.tiling), plan.tiling.columns):
        row = range(first, first + plan.tiling.columns)
        for slab in range(len(table[first])):
            for tile in row:
                length, crc = table[tile][slab].tolist()
                yield Piece(part_name(tile), length, crc, tile)


def _in_steps(pieces: Iterator[Piece], plan: Plan) -> Iterator[list[Piece]]:
    """Whole rows of slabs. DEFLATE starts anew with each step, so it must not depend on tiles."""
    slab = _slab(plan)
    rows = max(plan.tiling.shape[0] // slab // STEPS, LEAST_STEP // (slab * _row_bytes(plan)), 1)
    while step := [*islice(pieces, rows * plan.tiling.columns)]:
        yield step


@dataclass
class _Rows:
    """Slabs become rows of the image, filtered and packed."""

    stage: Path
    """Where the slabs lie."""
    columns: int
    """Of tiles."""
    packing: Packing
    """How rows are filtered and packed."""
    after: bytes
    """What stands behind the pixels."""
    state: int = 1
    """Adler-32 of the filtered rows so far, which ends their stream."""

    def join(self, pieces: Sequence[Piece]) -> Iterator[Checked]:
        """A piece of DEFLATE that ends on a byte, in chunks of the PNG."""
        packer = self.packing.packer()
        for first in range(0, len(pieces), self.columns):
            rows = filtered(self._slabs(pieces[first : first + self.columns]), self.packing)
            self.state = isal_zlib.adler32(rows, self.state)
            if packed := packer.compress(rows):
                yield checked(chunk(b"IDAT", packed))
        yield checked(chunk(b"IDAT", packer.flush(zlib.Z_FULL_FLUSH)))

    def end(self) -> Data:
        """The last bytes of the stream, and all chunks behind it."""
        last = LAST_BLOCK + struct.pack(">I", self.state)
        return chunk(b"IDAT", last) + self.after

    def _slabs(self, pieces: Sequence[Piece]) -> Pixels:
        """(y, x, band) pixels of neighbours in one row."""
        # copied as they come: each chunk is overwritten by the next one
        slabs = [
            imagecodecs.png_decode(b"".join(bytes(data) for data, _ in take(self.stage, [piece])))
            for piece in pieces
        ]
        return np.concatenate([np.atleast_3d(slab) for slab in slabs], axis=1)
