"""Cloud-Optimized GeoTIFF, written from blocks that the workers encode.

Each tile becomes one part: its encoded blocks, those of its overviews first. Publishing encodes the
top of the pyramid, writes header and directories, and strings the parts together; what has been
copied is cut off its part, so that stage and output together stay near the output's size.

    stage/parts/.. seeds/.. top/.. pieces.npz      see `blocks`
    stage/output.tif                               being strung together
    stage/assembled.json                           how far, and the checksum of what is there
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from rasterio.errors import RasterioError

from pipeline.codec import Encoded, codec, encode_block, encode_mask
from pipeline.errors import PlanError
from pipeline.fate import Fate
from pipeline.fate import fates as all_fates
from pipeline.journal import Receipt, Staged
from pipeline.kernel import Fine
from pipeline.plan import Plan
from pipeline.profile import Profile
from pipeline.pyramid import BLOCK
from pipeline.radiometry import dataset_mask
from pipeline.sinks import blocks
from pipeline.sinks.assembly import Verbatim, assemble, in_steps, is_assembled
from pipeline.sinks.parts import Index, Piece, placed
from pipeline.stage import sync_directory
from pipeline.statistics import add_up
from pipeline.template import holds_nodata, template, xmp_packet
from pipeline.tiff import (
    BYTE,
    FRAME,
    XMP_TAG,
    Entry,
    Image,
    Layout,
    image_entries,
    lay_out,
    lift,
    mask_entries,
)
from pipeline.tiling import Tile, Window
from pipeline.top import Part


def claims(target: Path, profile: Profile) -> bool:
    """Whether the name is that of a GeoTIFF."""
    return target.suffix.lower() in (".tif", ".tiff") and not profile.medical


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
    blocks.begin(stage)


def write(stage: Path, plan: Plan, tile: Tile, fine: Fine) -> tuple[Staged, ...]:
    """Encode a tile's blocks and those of its overviews into one part."""
    return blocks.write(stage, plan, tile, fine, encode=partial(_pieces, plan))


def _pieces(plan: Plan, part: Part) -> Iterator[tuple[Encoded, ...]]:
    """Blocks in row-major order, each followed by its mask's if there is one; framed."""
    scheme, alpha = codec(plan.output.compress), plan.profile.alpha
    height, width = part.pixels.shape[1:]
    for block in Window(0, 0, height, width).blocks(BLOCK):
        here = (slice(None), *block.slices)
        yield _framed(encode_block(part.pixels[here], scheme))
        if plan.profile.mask:
            valid = None if part.valid is None else part.valid[here]
            mask = dataset_mask(valid, alpha=alpha, shape=block.shape)
            yield _framed(encode_mask(mask))


def _framed(data: Encoded) -> tuple[Encoded, ...]:
    """A block with its leader and trailer."""
    return struct.pack("<I", len(data)), data, data[-4:].rjust(4, b"\0")


def publish(stage: Path, plan: Plan, receipts: Mapping[int, Receipt], target: Path) -> None:
    """String the parts together and rename the result to `target`."""
    pieces = 2 if plan.profile.mask else 1
    table = blocks.gather(stage, plan, encode=partial(_pieces, plan), pieces=pieces)
    layout = _layout(plan, receipts, table)
    output = stage / "output.tif"
    if not is_assembled(stage, target):
        taken = placed(partial(_in_order, plan, table))
        assemble(stage, output, layout.header, in_steps(taken, layout.size), Verbatim(stage))
        assert output.stat().st_size == layout.size, (output.stat().st_size, layout.size)
        output.replace(target)
    sync_directory(target.parent)


def _layout(plan: Plan, receipts: Mapping[int, Receipt], table: Sequence[Index]) -> Layout:
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
        counts = table[level][..., 0].astype(np.int64) - FRAME
        images.append(Image(level, False, entries, counts[..., 0].ravel()))
        if plan.profile.mask:
            entries = mask_entries(shape, level=level)
            images.append(Image(level, True, entries, counts[..., 1].ravel()))
    return lay_out(images)


def _in_order(plan: Plan, table: Sequence[Index]) -> Iterator[Piece]:
    """All blocks in the order of the file: smallest level first, row-major within a level."""
    for level in range(len(plan.levels) - 1, -1, -1):
        yield from blocks.in_order(plan, level, table[level])
