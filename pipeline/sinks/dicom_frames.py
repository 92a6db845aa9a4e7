"""Frames of DICOM outputs: staged in tiles by the workers, joined and encoded at the end.

stage/tiles/0000012.raw       a tile's pixels (band, y, x), little endian, as they are
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
from isal import isal_zlib

from pipeline.dicom.encode import encode_frame
from pipeline.dicom.stored import Stored
from pipeline.errors import DamagedStageError
from pipeline.journal import Receipt, Staged
from pipeline.plan import Plan
from pipeline.radiometry import Pixels
from pipeline.sinks.dicom_check import syntax_of
from pipeline.stage import write_durably
from pipeline.tiling import Tile

TILES = "tiles"
"""Where tiles lie within the stage."""
AHEAD_BYTES = 512 * 2**20
"""Most that frames may take which wait to be written."""


def write_tile(stage: Path, tile: Tile, pixels: Pixels) -> Staged:
    """Stage a tile."""
    plain = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<"))
    name = _name(tile.index)
    return replace(write_durably(stage / name, plain.data.cast("B")), name=name)


def _name(index: int) -> str:
    return f"{TILES}/{index:07d}.raw"


def remove_tiles(stage: Path, plan: Plan, frames: Iterable[int]) -> None:
    """Give back the space of frames that are written."""
    for frame in frames:
        for index in _indices(plan, frame):
            (stage / _name(index)).unlink(missing_ok=True)


def encode_ahead(
    stage: Path,
    plan: Plan,
    receipts: Mapping[int, Receipt],
    frames: Sequence[int],
    stored: Stored,
) -> Generator[bytes, None, None]:
    """The bytes of frames in that order, encoded by threads while earlier ones are written.

    Raises DamagedStageError for a tile that is not as it was staged.
    """
    threads = len(os.sched_getaffinity(0))
    size = plan.fine.nbytes // plan.fine.frames
    ahead = max(1, min(2 * threads, AHEAD_BYTES // (2 * size)))

    def encode(frame: int) -> bytes:
        return encode_frame(_join(stage, plan, receipts, frame), syntax_of(plan), stored)

    with ThreadPoolExecutor(threads) as pool:
        numbers = iter(frames)
        waiting = deque(pool.submit(encode, frame) for frame in islice(numbers, ahead))
        try:
            while waiting:
                yield waiting.popleft().result()
                waiting.extend(pool.submit(encode, frame) for frame in islice(numbers, 1))
        finally:
            _cancel(waiting)


def _cancel(waiting: Iterable[Future[bytes]]) -> None:
    for future in waiting:
        future.cancel()


def _indices(plan: Plan, frame: int) -> range:
    """Tiles of a frame."""
    number = plan.tiling.rows * plan.tiling.columns
    return range(frame * number, (frame + 1) * number)


def _join(stage: Path, plan: Plan, receipts: Mapping[int, Receipt], frame: int) -> Pixels:
    """(band, y, x) of a frame, from its tiles."""
    whole = np.empty(plan.fine.shape, plan.fine.dtype)
    for index in _indices(plan, frame):
        tile = plan.tiling.tile(index)
        part = whole[:, *tile.write.slices]
        part[...] = _read(stage, receipts, index, part)
    return whole


def _read(stage: Path, receipts: Mapping[int, Receipt], index: int, like: Pixels) -> Pixels:
    """The pixels of a tile, verified."""
    name = _name(index)
    known = receipts[index].files[0] if index in receipts else None
    try:
        data = (stage / name).read_bytes()
    except FileNotFoundError:
        data = b""
    if known is None or len(data) != like.nbytes or isal_zlib.crc32(data) != known.crc32:
        raise DamagedStageError(
            f"the staged file {name} is not what was written", uri=str(stage), tile=index
        )
    return np.frombuffer(data, like.dtype.newbyteorder("<")).reshape(like.shape)
