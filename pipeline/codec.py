"""Encoding one block of a TIFF: predictor, then a lossless codec."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import imagecodecs
import numpy as np
import zstandard
from isal import isal_zlib

from pipeline.memory import scratch
from pipeline.pyramid import BLOCK
from pipeline.radiometry import Mask, Pixels
from pipeline.tiff import DEFLATE, LERC_PARAMETERS, Entry, longs

Encoded = bytes | bytearray
"""The bytes of a block."""
DEFLATE_LEVEL = 1
"""Of ISA-L: within 5 per cent of the size of libdeflate's level 1, in 0.6 times its time."""
ZSTD = zstandard.ZstdCompressionParameters(
    compression_level=1,
    strategy=zstandard.STRATEGY_FAST,
    window_log=21,
    hash_log=6,
    min_match=7,
)
"""Differences of noisy pixels hold few repetitions: most of the time of level 1 went into looking
for them. The smallest table, of long matches, takes a third of it (3.1 ms a megasample of the demo
scene at x3 instead of 8.8) for 6 per cent more space."""

STRIP = 64
"""Rows whose bands are interleaved at once."""

_compressors = threading.local()


@dataclass(frozen=True, slots=True)
class Codec:
    """A compression scheme of TIFF."""

    scheme: int
    """TIFF's number of it."""
    encode: Callable[[Pixels], Encoded]
    """(y, x, band) block, C-contiguous and after the predictor, to bytes."""
    predicts: bool = True
    """Whether a predictor goes first."""
    extra: tuple[Entry, ...] = ()
    """Tags it needs."""

    def predictor(self, dtype: np.dtype[Any]) -> int:
        """TIFF's number of the predictor: 1 none, 2 horizontal differences, 3 floating point."""
        if not self.predicts:
            return 1
        return 3 if dtype.kind == "f" else 2


def codec(name: str) -> Codec:
    """The codec of `--compress`."""
    return {
        "deflate": Codec(DEFLATE, _deflate),
        "zstd": Codec(50000, _zstd),
        "lzw": Codec(5, _lzw),
        # LERC 2.4, without a second compression
        "lerc": Codec(34887, _lerc, predicts=False, extra=(longs(LERC_PARAMETERS, 4, 0),)),
        "none": Codec(1, np.ndarray.tobytes, predicts=False),
    }[name]


def encode_block(pixels: Pixels, codec: Codec) -> Encoded:
    """Encode (band, y, x) pixels of at most one block; what lacks to a whole one is zero."""
    lacking = [(0, BLOCK - side) for side in pixels.shape[1:]]
    if any(map(any, lacking)):
        pixels = np.pad(pixels, ((0, 0), *lacking))
    dtype = pixels.dtype.newbyteorder("<")
    match codec.predictor(dtype):
        case 2:
            return codec.encode(_differences(pixels, dtype))
        case 3:
            block = np.ascontiguousarray(pixels.transpose(1, 2, 0), dtype)
            return codec.encode(imagecodecs.floatpred_encode(block, axis=1))
    return codec.encode(np.ascontiguousarray(pixels.transpose(1, 2, 0), dtype))


def _differences(pixels: Pixels, dtype: np.dtype[Any]) -> Pixels:
    """(y, x, band): each pixel less its left neighbour, modulo the data type's range.

    Good until the thread's next call.
    """
    block = scratch("differences", (*pixels.shape[1:], len(pixels)), dtype)
    block[:, 0] = pixels[:, :, 0].T
    # a few rows of all bands: what is written in several passes stays in the cache meanwhile
    for row in range(0, len(block), STRIP):
        rows = slice(row, row + STRIP)
        for band, plane in enumerate(pixels[:, rows]):
            np.subtract(plane[:, 1:], plane[:, :-1], out=block[rows, 1:, band])
    return block


def encode_mask(valid: Mask) -> bytes:
    """Encode a (y, x) mask of at most one block as packed bits."""
    block = np.zeros((BLOCK, BLOCK), bool)
    block[: valid.shape[0], : valid.shape[1]] = valid
    return isal_zlib.compress(np.packbits(block, axis=1).tobytes(), DEFLATE_LEVEL)


def _deflate(block: Pixels) -> bytes:
    return isal_zlib.compress(block, DEFLATE_LEVEL)


def _zstd(block: Pixels) -> bytes:
    if not hasattr(_compressors, "zstd"):
        _compressors.zstd = zstandard.ZstdCompressor(compression_params=ZSTD)
    encoded: bytes = _compressors.zstd.compress(block)
    return encoded


def _lzw(block: Pixels) -> Encoded:
    return imagecodecs.lzw_encode(block.tobytes())


def _lerc(block: Pixels) -> Encoded:
    return imagecodecs.lerc_encode(block, level=0)
