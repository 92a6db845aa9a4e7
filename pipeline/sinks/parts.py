"""Parts: staged files of encoded pieces, which give their space back as an output takes them.

    | piece n-1 | ... | piece 1 | piece 0 | length and CRC-32 of each | their number | CRC-32 |

Piece 0 is what the output takes first. It lies at the end, so that cutting the file short gives
back what was taken; every file system can do that. The index goes with the first cut: whoever cuts
keeps a copy of it (`save_table`).
"""

from __future__ import annotations

import io
import itertools
import os
import struct
import zipfile
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from io import FileIO
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from pipeline.codec import Encoded
from pipeline.errors import DamagedStageError
from pipeline.journal import Staged
from pipeline.stage import CHUNK, write_durably

TABLE = "pieces.npz"
"""Where the index of all parts is kept within the stage."""

Index = NDArray[np.uint32]
"""(..., 2) lengths and CRC-32s of pieces."""


class Piece(NamedTuple):
    """A piece, and the part that it ends once those before it are cut off."""

    name: str
    """The part, relative to the staging directory."""
    length: int
    """Bytes."""
    crc32: int
    """CRC-32 of them."""
    tile: int | None = None
    """The tile that makes it; None where several do."""
    offset: int = 0
    """Where it begins; see `placed`."""


def part_name(tile: int) -> str:
    """Where the part of a tile lies within the stage."""
    return f"parts/{tile:07d}.part"


def write_part(stage: Path, name: str, pieces: Sequence[Sequence[Encoded]]) -> Staged:
    """Make a part durable; each piece is given as its fragments, piece 0 first."""
    measured = [_measure(piece) for piece in pieces]
    index = np.array(measured, "<u4").tobytes()
    end = index + struct.pack("<II", len(pieces), isal_zlib.crc32(index))
    whole = 0
    for length, crc in [*reversed(measured), (len(end), isal_zlib.crc32(end))]:
        whole = isal_zlib.crc32_combine(whole, crc, length)
    data = itertools.chain.from_iterable(reversed(pieces))
    return replace(write_durably(stage / name, *data, end, crc32=whole), name=name)


def _measure(piece: Sequence[Encoded]) -> tuple[int, int]:
    length = crc = 0
    for fragment in piece:
        length, crc = length + len(fragment), isal_zlib.crc32(fragment, crc)
    return length, crc


def read_index(stage: Path, name: str, *, tile: int | None = None) -> Index:
    """(piece, 2) lengths and CRC-32s of a whole part; raises DamagedStageError."""
    with suppress(OSError, struct.error), (stage / name).open("rb") as file:
        file.seek(-8, os.SEEK_END)
        number, crc = struct.unpack("<II", file.read(8))
        file.seek(-8 - 8 * number, os.SEEK_END)
        data = file.read(8 * number)
        if isal_zlib.crc32(data) == crc:
            return np.frombuffer(data, "<u4").reshape(-1, 2).astype(np.uint32)
    raise _damaged(stage, name, tile)


def save_table(stage: Path, table: Sequence[Index]) -> Sequence[Index]:
    """Keep the index of all parts, before the first of them is cut."""
    buffer = io.BytesIO()
    np.savez(buffer, *table, allow_pickle=False)
    write_durably(stage / TABLE, buffer.getvalue())
    return table


def load_table(stage: Path) -> Sequence[Index] | None:
    """What `save_table` kept, None if nothing; raises DamagedStageError."""
    try:
        with np.load(stage / TABLE, allow_pickle=False) as saved:
            return [saved[f"arr_{i}"] for i in range(len(saved.files))]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise _damaged(stage, TABLE, None) from error


def placed(pieces: Callable[[], Iterable[Piece]]) -> Iterator[Piece]:
    """Pieces in the order in which they are taken, with their offsets; called for them twice."""
    left = Counter[str]()
    for piece in pieces():
        left[piece.name] += piece.length
    for piece in pieces():
        left[piece.name] -= piece.length
        yield piece._replace(offset=left[piece.name])


def take(stage: Path, pieces: Iterable[Piece]) -> Iterator[tuple[memoryview, int]]:
    """The bytes of placed pieces, in chunks that are good until the next one; CRC-32 of each.

    Raises DamagedStageError after the last chunk of a piece that is not what was staged.
    """
    buffer = memoryview(bytearray(CHUNK))  # one for all: fresh ones cost as much as the copying
    for name, group in itertools.groupby(pieces, key=attrgetter("name")):
        some = list(group)
        try:
            with (stage / name).open("rb", buffering=0) as part:
                for piece in some:
                    if not (yield from _read(part, piece, buffer)):
                        raise _damaged(stage, name, piece.tile)
        except FileNotFoundError as error:
            raise _damaged(stage, name, some[0].tile) from error


def _read(
    part: FileIO, piece: Piece, buffer: memoryview
) -> Generator[tuple[memoryview, int], None, bool]:
    """Chunks of a piece with their CRC-32; returns whether they are what was written."""
    part.seek(piece.offset)
    whole, left = 0, piece.length
    while left and (size := part.readinto(buffer[:left])):
        crc, left = isal_zlib.crc32(buffer[:size]), left - size
        whole = isal_zlib.crc32_combine(whole, crc, size)
        yield buffer[:size], crc
    return not left and whole == piece.crc32


def cut(stage: Path, pieces: Iterable[Piece]) -> None:
    """Give back the space of pieces that were taken, and of all behind them."""
    for name, offset in {piece.name: piece.offset for piece in pieces}.items():
        path = stage / name
        if not offset:
            path.unlink(missing_ok=True)
        elif path.exists() and path.stat().st_size > offset:
            os.truncate(path, offset)


def _damaged(stage: Path, name: str, tile: int | None) -> DamagedStageError:
    return DamagedStageError(
        f"the staged file {name} is not what was written", uri=str(stage), tile=tile
    )
