"""Cloud-Optimized GeoTIFF, written from blocks that the workers encode.

Each tile becomes one part: its encoded blocks, full resolution first, then its overviews.
Publishing encodes the top of the pyramid, writes header and directories, and strings the parts
together; what has been copied is cut off its part, so that stage and output together stay near the
output's size.

    stage/parts/0000012.part      | level 0 | level 1 | ... | sizes of all blocks | their number |
    stage/seeds/0000012.seed      the tile's share of the first level it cannot make alone
    stage/top/3.blocks            a level that no tile makes alone, row-major
    stage/sizes.npz               the sizes of all blocks: from here on parts may shrink
    stage/output.tif              being strung together
    stage/assembled.json          how far, and the checksum of what is there
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rasterio.errors import RasterioError

from pipeline.codec import Encoded, codec, encode_block, encode_mask
from pipeline.errors import PlanError
from pipeline.fate import Fate
from pipeline.fate import fates as all_fates
from pipeline.journal import Receipt, Staged
from pipeline.kernel import Fine
from pipeline.plan import Plan
from pipeline.pyramid import BLOCK
from pipeline.radiometry import dataset_mask
from pipeline.sinks.assembly import Move, assemble, is_assembled
from pipeline.stage import sync_directory, write_durably
from pipeline.statistics import add_up
from pipeline.template import holds_nodata, template, xmp_packet
from pipeline.tiff import (
    BYTE,
    FRAME,
    XMP_TAG,
    Entry,
    Image,
    Layout,
    blocks,
    image_entries,
    lay_out,
    lift,
    mask_entries,
)
from pipeline.tiling import Tile, Window
from pipeline.top import Level, seed_name, tile_pyramid, top_strips, write_seed

Sizes = dict[int, NDArray[np.int64]]
"""By level: (block, 2) bytes of each block and of its mask, row-major over the whole image."""


def claims(target: Path) -> bool:
    """Whether the name is that of a GeoTIFF."""
    return target.suffix.lower() in (".tif", ".tiff")


def check(plan: Plan, target: Path) -> None:
    """Raise PlanError for what a GeoTIFF cannot hold, or if `target` is a directory."""
    check_file(target)
    bands = len(plan.profile.bands)
    if bands > 65535:
        raise PlanError(f"a TIFF holds 65535 bands, not {bands}; select some with --bands")
    if plan.output.compress == "lerc" and plan.profile.dtype == "int8":
        raise PlanError("GDAL does not read int8 from LERC; choose another --compress")
    if plan.output.compress == "lerc" and bands > 1 and plan.profile.dtype.startswith("float"):
        raise PlanError("LERC loses NaN where bands differ; choose another --compress")
    try:
        lift(template(plan.fine))
    except (RasterioError, ValueError, KeyError) as error:
        raise PlanError(
            f"its metadata cannot be written to a GeoTIFF ({error})", uri=plan.profile.uri
        ) from error


def check_file(target: Path) -> None:
    """Raise PlanError if a directory has the name of a file that would be written."""
    if target.is_dir():
        raise PlanError("is a directory; choose another name", uri=str(target))


def fates(plan: Plan) -> tuple[Fate, ...]:
    """GeoTIFF holds everything but a nodata value that its data type cannot."""
    profile, lost = plan.profile, dict[str, str]()
    if profile.nodata is not None and not holds_nodata(profile):
        lost["nodata"] = f"{profile.nodata} is no {profile.dtype} value"
    if profile.georef.gcps and profile.georef.affine:
        lost["ground control points"] = "a GeoTIFF holds a transform or these, not both"
    found = all_fates(profile, plan.provenance)
    return tuple(
        Fate(fate.item, "dropped", lost[fate.item]) if fate.item in lost else fate for fate in found
    )


def begin(stage: Path, plan: Plan) -> None:  # noqa: ARG001 - the plan is of use to other sinks
    """Make the directories."""
    for name in ("parts", "seeds", "top"):
        (stage / name).mkdir(exist_ok=True)


def write(stage: Path, plan: Plan, tile: Tile, fine: Fine) -> tuple[Staged, ...]:
    """Encode a tile's blocks and those of its overviews into one part."""
    pyramid = tile_pyramid(plan, tile, fine)
    own, seed = pyramid[: plan.tile_levels + 1], pyramid[plan.tile_levels + 1 :]
    records = [record for level in own for record in _records(plan, level)]
    sizes = np.array([size for size, _ in records], "<u4")
    footer = sizes.tobytes() + struct.pack("<I", len(sizes))
    name = _part_name(tile.index)
    part = write_durably(stage / name, *(data for _, parts in records for data in parts), footer)
    staged = [Staged(name, part.size, part.crc32)]
    return (*staged, *(write_seed(stage, tile, level) for level in seed))


def _part_name(index: int) -> str:
    return f"parts/{index:07d}.part"


def _records(plan: Plan, level: Level) -> Iterator[tuple[tuple[int, int], tuple[Encoded, ...]]]:
    """((block bytes, mask bytes), framed block and mask) in row-major order."""
    scheme, alpha = codec(plan.output.compress), plan.profile.alpha
    height, width = level.pixels.shape[1:]
    for block in Window(0, 0, height, width).blocks(BLOCK):
        here = (slice(None), *block.slices)
        image = encode_block(level.pixels[here], scheme)
        if not plan.profile.mask:
            yield (len(image), 0), _framed(image)
            continue
        valid = None if level.valid is None else level.valid[here]
        mask = encode_mask(dataset_mask(valid, alpha=alpha, shape=block.shape))
        yield (len(image), len(mask)), _framed(image) + _framed(mask)


def _framed(data: Encoded) -> tuple[Encoded, ...]:
    """A block with its leader and trailer."""
    return struct.pack("<I", len(data)), data, data[-4:].rjust(4, b"\0")


def publish(stage: Path, plan: Plan, receipts: Mapping[int, Receipt], target: Path) -> None:
    """String the parts together and rename the result to `target`."""
    sizes = _sizes(stage, plan)
    layout = _layout(plan, receipts, sizes)
    output = stage / "output.tif"
    if not is_assembled(stage, target, layout.size):
        assemble(stage, output, layout.header, _moves(plan, sizes))
        assert output.stat().st_size == layout.size, (output.stat().st_size, layout.size)
        output.replace(target)
    sync_directory(target.parent)


def _layout(plan: Plan, receipts: Mapping[int, Receipt], sizes: Sizes) -> Layout:
    """The header, which depends on metadata, statistics and the sizes of blocks only."""
    scheme = codec(plan.output.compress)
    bands = range(len(plan.profile.bands)) if plan.output.statistics else ()
    statistics = [add_up(r.statistics[band] for r in receipts.values()) for band in bands]
    lifted = lift(template(plan.fine, statistics))
    packet = xmp_packet(plan.fine)
    lifted += [Entry(XMP_TAG, BYTE, len(packet), packet)] if packet else []
    images = []
    for level, shape in enumerate(plan.levels):
        entries = image_entries(
            lifted,
            shape,
            level=level,
            compression=(scheme.scheme, scheme.predictor(np.dtype(plan.profile.dtype))),
            extra=scheme.extra,
        )
        images.append(Image(level, False, entries, sizes[level][:, 0]))
        if plan.profile.mask:
            entries = mask_entries(shape, level=level)
            images.append(Image(level, True, entries, sizes[level][:, 1]))
    return lay_out(images)


def _sizes(stage: Path, plan: Plan) -> Sizes:
    """The sizes of all blocks; the first call makes the top of the pyramid and saves them."""
    saved = stage / "sizes.npz"
    if not saved.exists():
        found = _top(stage, plan) | _sizes_of_parts(stage, plan)
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **{str(level): a for level, a in found.items()})
        write_durably(saved, buffer.getvalue())
        sync_directory(stage)
    for index in range(len(plan.tiling)):
        (stage / seed_name(index)).unlink(missing_ok=True)
    with np.load(saved, allow_pickle=False) as arrays:
        return {int(level): arrays[level] for level in arrays.files}


def _top(stage: Path, plan: Plan) -> Sizes:
    """Encode the levels that no tile makes alone, each into a file of its own."""
    sizes: dict[int, list[tuple[int, int]]] = {}
    for path in (stage / "top").iterdir():
        path.unlink()
    for strip in top_strips(stage, plan):
        with _top_file(stage, strip.level).open("ab") as file:
            for size, parts in _records(plan, strip):
                file.writelines(parts)
                sizes.setdefault(strip.level, []).append(size)
            file.flush()
            os.fsync(file.fileno())
    return {level: np.array(found, np.int64) for level, found in sizes.items()}


def _top_file(stage: Path, level: int) -> Path:
    return stage / "top" / f"{level}.blocks"


def _sizes_of_parts(stage: Path, plan: Plan) -> Sizes:
    """The sizes of the blocks that tiles made, gathered from the footers of their parts."""
    grids = {
        level: np.zeros((*blocks(plan.levels[level]), 2), np.int64)
        for level in range(plan.tile_levels + 1)
    }
    for tile in plan.tiling:
        found = _footer(stage / _part_name(tile.index))
        for level, grid in grids.items():
            rows, columns, row, column = _place(plan, tile, level)
            block = found[: rows * columns].reshape(rows, columns, 2)
            found = found[rows * columns :]
            grid[row : row + rows, column : column + columns] = block
    return {level: grid.reshape(-1, 2) for level, grid in grids.items()}


def _footer(part: Path) -> NDArray[np.int64]:
    """(block, 2) sizes at the end of a part."""
    with part.open("rb") as file:
        file.seek(-4, os.SEEK_END)
        (number,) = struct.unpack("<I", file.read(4))
        file.seek(-4 - 8 * number, os.SEEK_END)
        return np.frombuffer(file.read(8 * number), "<u4").reshape(-1, 2).astype(np.int64)


def _place(plan: Plan, tile: Tile, level: int) -> tuple[int, int, int, int]:
    """(rows, columns) of a tile's blocks on a level, and the (row, column) of its first."""
    shape = tuple(-(-side // 2**level) for side in tile.write.shape)
    rows, columns = blocks((shape[0], shape[1]))
    whole = plan.tiling.side // BLOCK >> level
    return rows, columns, tile.row * whole, tile.column * whole


def _moves(plan: Plan, sizes: Sizes) -> Iterator[Move]:
    """What to copy, in the order of the file: smallest level first, row-major within a level."""
    for level in range(len(plan.levels) - 1, plan.tile_levels, -1):
        length = _framed_length(sizes[level])
        yield Move(((f"top/{level}.blocks", 0, length),), ((f"top/{level}.blocks", 0),))
    for level in range(plan.tile_levels, -1, -1):
        for row in range(plan.tiling.rows):
            yield _row_move(plan, sizes, level, row)


def _row_move(plan: Plan, sizes: Sizes, level: int, row: int) -> Move:
    """One level of one row of tiles: runs of blocks, line by line across the parts."""
    first = row * plan.tiling.columns
    tiles = [plan.tiling.tile(first + column) for column in range(plan.tiling.columns)]
    runs: list[tuple[int, int, tuple[str, int, int]]] = []
    cuts = []
    for tile in tiles:
        name = _part_name(tile.index)
        start = sum(_framed_length(_blocks_of(plan, sizes, tile, lower)) for lower in range(level))
        cuts.append((name, start))
        for line, block in enumerate(_lines_of(plan, sizes, tile, level)):
            length = _framed_length(block)
            runs.append((line, tile.column, (name, start, length)))
            start += length
    return Move(tuple(run for _, _, run in sorted(runs)), tuple(cuts))


def _lines_of(plan: Plan, sizes: Sizes, tile: Tile, level: int) -> NDArray[np.int64]:
    """(row, column, 2) sizes of a tile's blocks on a level."""
    rows, columns, row, column = _place(plan, tile, level)
    grid = sizes[level].reshape(*blocks(plan.levels[level]), 2)
    return grid[row : row + rows, column : column + columns]


def _blocks_of(plan: Plan, sizes: Sizes, tile: Tile, level: int) -> NDArray[np.int64]:
    return _lines_of(plan, sizes, tile, level).reshape(-1, 2)


def _framed_length(sizes: NDArray[np.int64]) -> int:
    """Bytes of blocks and masks with their frames; a mask of no bytes is none."""
    return int(sizes.sum() + FRAME * np.count_nonzero(sizes))
