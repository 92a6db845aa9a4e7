"""Slides: a pyramid of DICOM instances in a directory, strung together from what workers encode.

Each frame of a slide, its matrix of one focal plane and optical path, is staged as a pyramid of
blocks; its tiles are these blocks. Publishing lines them up, smallest level first, in one file a
level, or several where one would grow too large, and renames the directory.

    stage/0/parts/.. seeds/..     blocks of frame 0, see `blocks`
    stage/output/3f..9.dcm        an instance being strung together
    stage/3f..9.dcm.json          how far, and the checksum of what is there
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.dicom.derived import Derivation
from pipeline.dicom.derived_slide import Extent, derive_level, derive_slide, divide, uneven_planes
from pipeline.dicom.encode import Syntax, check_syntax, encode_frame
from pipeline.dicom.pixel_data import after, before, framed
from pipeline.dicom.slide import open_slide
from pipeline.dicom.stored import Stored, describe
from pipeline.dicom.uids import opaque
from pipeline.dicom.write import NATIVE_LIMIT, header
from pipeline.errors import DamagedStageError, PlanError
from pipeline.fate import Fate
from pipeline.fate import fates as all_fates
from pipeline.journal import Receipt, Staged
from pipeline.kernel import Fine
from pipeline.plan import Plan
from pipeline.profile import Profile
from pipeline.pyramid import BLOCK
from pipeline.sinks import blocks
from pipeline.sinks.assembly import Verbatim, assemble, in_steps, is_assembled
from pipeline.sinks.dicom import derivation_of
from pipeline.sinks.dicom_check import OURS
from pipeline.sinks.parts import Index, Piece, placed
from pipeline.sinks.zarr_place import previous, put_in_place, remove, take_away
from pipeline.stage import sync_directory
from pipeline.tiling import Tile, Window
from pipeline.top import Part

if TYPE_CHECKING:
    from pydicom import Dataset

OUTPUT = "output"
"""The directory being made, within the stage."""
LARGEST = 2**36
"""Bytes of frames that one file holds; a level of more becomes a concatenation."""


def claims(target: Path, profile: Profile) -> bool:
    """Whether a directory is meant and the source is a slide."""
    return profile.slide and not target.suffix


def check(plan: Plan, target: Path) -> None:
    """Raise PlanError if a slide cannot hold the output, or for what `target` must not lose."""
    if target.is_symlink() or (target.exists() and not _is_ours(target)):
        raise PlanError(
            "is not a directory of DICOM outputs and will not be replaced; move it away or choose "
            "another name",
            uri=str(target),
        )
    stored, slide = _stored(plan), open_slide(plan.source.uri)
    numbers = [band.number for band in plan.profile.bands]
    if numbers != list(range(1, stored.bands + 1)):
        raise PlanError("a slide is written with all its bands; leave out --bands")
    check_syntax(syntax_of(plan), stored)
    if wrong := uneven_planes(slide):
        raise PlanError(f"{wrong}, which tiles in rows cannot say; part the slide by its planes")
    # what cannot be written is known before the first tile
    derivation = replace(derivation_of(plan, datetime.now(UTC)), syntax=syntax_of(plan))
    base = derive_slide(slide, derivation, stored, side=BLOCK, anonymous=plan.output.deidentify)
    header(derive_level(base, slide, derivation, Extent(0, (1, 1), 1, 1)), derivation.syntax)


def _is_ours(target: Path) -> bool:
    """Whether there is nothing in a directory but files that are named as ours."""
    return target.is_dir() and all(OURS.fullmatch(path.name) for path in target.iterdir())


def fates(plan: Plan) -> tuple[Fate, ...]:
    """What becomes of what a slide says."""
    found = [fate for fate in all_fates(plan.profile, plan.provenance) if fate.item != "mask"]
    if plan.profile.mask:
        found.append(Fate("missing tiles", "changed", "filled with white, or 0 of grey"))
    return (
        *found,
        Fate("specimen, optical paths, ICC profile", "kept"),
        Fate("pyramid", "changed", f"{len(plan.levels)} levels of its own, in a new series"),
        Fate("transfer syntax", "changed", syntax_of(plan)),
        Fate("label, overview and thumbnail", "dropped", "they may name the patient"),
    )


def syntax_of(plan: Plan) -> Syntax:
    """How tiles are encoded: by default lossy only if the source was."""
    if plan.output.syntax != "same":
        return plan.output.syntax
    stored = _stored(plan)
    return "jpeg" if stored.lossy and stored.dtype == "uint8" else "jpeg2000"


def _stored(plan: Plan) -> Stored:
    return _stored_once(plan.source.uri, plan.profile.identity.digest)


@lru_cache(maxsize=64)
def _stored_once(uri: str, identity: str) -> Stored:  # noqa: ARG001 - of each version
    """How the source's pixels are stored; workers ask for every tile."""
    return describe(open_slide(uri).header)


def begin(stage: Path, plan: Plan) -> None:
    """Make the directories of all frames."""
    for frame in range(plan.tiling.frames):
        (stage / str(frame)).mkdir(exist_ok=True)
        blocks.begin(stage / str(frame))


def write(stage: Path, plan: Plan, tile: Tile, fine: Fine) -> tuple[Staged, ...]:
    """Encode a tile's blocks and those of its overviews into one part."""
    one, folder = _of_frame(plan), str(tile.frame)
    own = one.tiling.tile(tile.index - tile.frame * len(one.tiling))
    encode = partial(_pieces, syntax_of(plan), _stored(plan))
    staged = blocks.write(stage / folder, one, own, fine, encode=encode)
    return tuple(replace(file, name=f"{folder}/{file.name}") for file in staged)


def _of_frame(plan: Plan) -> Plan:
    """The plan of one frame: each is a pyramid of its own."""
    return replace(plan, tiling=replace(plan.tiling, frames=1))


def _pieces(syntax: Syntax, stored: Stored, part: Part) -> Iterator[tuple[bytes, ...]]:
    """Blocks in row-major order; those at the border are made whole by their last pixels."""
    height, width = part.pixels.shape[1:]
    for block in Window(0, 0, height, width).blocks(BLOCK):
        pixels = part.pixels[:, *block.slices]
        lacking = [(0, BLOCK - side) for side in block.shape]
        if any(map(any, lacking)):
            pixels = np.pad(pixels, ((0, 0), *lacking), mode="edge")
        yield framed(encode_frame(pixels, syntax, stored), syntax)


@dataclass(frozen=True, slots=True)
class _Instance:
    """A file of the output."""

    extent: Extent
    """What it holds."""
    sizes: NDArray[np.int64]
    """Bytes of its frames as they stand in the file."""
    header: Dataset
    """What it says."""

    @property
    def name(self) -> str:
        """Of its file; tells nothing."""
        return f"{opaque(str(self.header.SOPInstanceUID))}.dcm"

    @property
    def record(self) -> str:
        """Where its progress is recorded within the stage."""
        return f"{self.name}.json"


def publish(stage: Path, plan: Plan, receipts: Mapping[int, Receipt], target: Path) -> None:  # noqa: ARG001
    """String the instances together and rename their directory to `target`."""
    tables = [_gather(stage, plan, frame) for frame in range(plan.tiling.frames)]
    instances, output = _instances(stage, plan, tables), stage / OUTPUT
    if all(is_assembled(stage, target / one.name, record=one.record) for one in instances):
        take_away(output)  # what was exchanged for it, if a kill came right after that
        remove(previous(target))
        sync_directory(target.parent)
        return
    output.mkdir(exist_ok=True)
    syntax, taken = syntax_of(plan), placed(partial(_in_order, plan, tables))
    for one in instances:
        total = int(one.sizes.sum())
        head = header(one.header, syntax) + before(one.sizes, syntax, bits=_stored(plan).bits)
        assemble(
            stage,
            output / one.name,
            head,
            in_steps(islice(taken, len(one.sizes)), total),
            Verbatim(stage, after(total, syntax)),
            record=one.record,
        )
    sync_directory(output)
    put_in_place(output, target)


def _gather(stage: Path, plan: Plan, frame: int) -> Sequence[Index]:
    """Sizes and checksums of a frame's blocks; makes the top of its pyramid first."""
    one, encode = _of_frame(plan), partial(_pieces, syntax_of(plan), _stored(plan))
    try:
        return blocks.gather(stage / str(frame), one, encode=encode)
    except DamagedStageError as error:
        if error.tile is not None:
            error.tile += frame * len(one.tiling)
        raise


def _in_order(plan: Plan, tables: Sequence[Sequence[Index]]) -> Iterator[Piece]:
    """All tiles: smallest level first, frame by frame within a level, row by row within a frame."""
    one = _of_frame(plan)
    for level in range(len(plan.levels) - 1, -1, -1):
        for frame, table in enumerate(tables):
            for piece in blocks.in_order(one, level, table[level]):
                tile = None if piece.tile is None else piece.tile + frame * len(one.tiling)
                yield piece._replace(name=f"{frame}/{piece.name}", tile=tile)


def _instances(stage: Path, plan: Plan, tables: Sequence[Sequence[Index]]) -> list[_Instance]:
    """The files of the output, in the order in which they take their tiles."""
    slide, stored, syntax = open_slide(plan.source.uri), _stored(plan), syntax_of(plan)
    derivation = _derivation(stage, plan)
    base = derive_slide(slide, derivation, stored, side=BLOCK, anonymous=plan.output.deidentify)
    plain = BLOCK * BLOCK * stored.bands * np.dtype(stored.dtype).itemsize
    extents = list(_extents(plan, tables, plain=plain, native=syntax == "uncompressed"))
    found = [
        _Instance(
            replace(extent, order=order),
            sizes,
            derive_level(base, slide, derivation, replace(extent, order=order)),
        )
        for order, (extent, sizes) in enumerate(extents, 1)
    ]
    return sorted(found, key=lambda one: (-one.extent.level, one.extent.part))


def _extents(
    plan: Plan, tables: Sequence[Sequence[Index]], *, plain: int, native: bool
) -> Iterator[tuple[Extent, NDArray[np.int64]]]:
    """What each instance holds and the sizes of its frames, largest level first."""
    for level, shape in enumerate(plan.levels):
        lengths = [table[level][..., 0, 0].ravel() for table in tables]
        sizes = np.concatenate(lengths).astype(np.int64)
        cuts = divide(sizes.tolist(), min(LARGEST, NATIVE_LIMIT) if native else LARGEST)
        for part, (first, stop) in enumerate(cuts, 1):
            own = sizes[first:stop]
            yield (
                Extent(
                    level=level,
                    shape=shape,
                    frames=len(own),
                    order=0,
                    part=part,
                    parts=len(cuts),
                    offset=first,
                    ratio=plain * len(own) / int(own.sum()),
                ),
                own,
            )


def _derivation(stage: Path, plan: Plan) -> Derivation:
    """How the pixels were made; when, by the stage: the same however often it is resumed."""
    begun = datetime.fromtimestamp(int((stage / "plan.json").stat().st_mtime), UTC)
    return replace(derivation_of(plan, begun), syntax=syntax_of(plan))
