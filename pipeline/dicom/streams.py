"""The bytes of a file's data set, plain or inflated: no more of them than were asked for.

A deflated data set is inflated as far as it is read, and a header that does not end is refused, so
that neither a bomb of zeros nor an element that claims 4 GB costs memory. DICOM PS3.5, section A.5.
"""

from __future__ import annotations

import zlib
from typing import BinaryIO, Protocol

from pipeline.errors import SourceError

CHUNK = 2**16
"""Compressed bytes that are inflated at once, and inflated bytes that a step may give."""
LARGE = 2**20
"""An element of this length or more must be there before room is made for it."""
MOST_READS = 4_000_000
"""Times that a header may be read from: each element takes one or two."""


class Stream(Protocol):
    """Bytes by position."""

    def read(self, count: int = -1, /) -> bytes:
        """Up to `count` bytes; fewer at the end only."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Go to a position, from the start (0) or from here (1)."""

    def tell(self) -> int:
        """The position."""


class Inflated:
    """A raw deflate stream that begins at `start` of a file; going back begins anew."""

    def __init__(self, file: BinaryIO, start: int) -> None:
        self._file = file
        self._start = start
        self._position = 0
        self._rewind()

    def _rewind(self) -> None:
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        self._file.seek(self._start)
        self._window = b""
        self._at = 0

    def tell(self) -> int:
        """The position among inflated bytes."""
        return self._position

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Go there; nothing is inflated until it is read."""
        self._position = offset + (self._position if whence == 1 else 0)
        return self._position

    def read(self, count: int = -1, /) -> bytes:
        """Up to `count` bytes; raises zlib.error where the stream is damaged."""
        if self._position < self._at:
            self._rewind()
        parts, wanted = [], count if count >= 0 else 2**63
        while wanted:
            skip = self._position - self._at
            if skip >= len(self._window):
                if not self._step():
                    break
                continue
            part = self._window[skip : skip + wanted]
            parts.append(part)
            self._position += len(part)
            wanted -= len(part)
        return b"".join(parts)

    def _step(self) -> bool:
        """Inflate the next window; False at the end."""
        data = self._inflater.unconsumed_tail
        while not self._inflater.eof:
            data = data or self._file.read(CHUNK)
            fresh = self._inflater.decompress(data, CHUNK)
            if fresh:
                self._at, self._window = self._at + len(self._window), fresh
                return True
            if not data:
                return False
            data = self._inflater.unconsumed_tail
        return False


class Guarded:
    """What a header is parsed from: no room is made for what lies beyond `size` or `most` bytes."""

    def __init__(self, stream: Stream, *, size: int | None, most: int) -> None:
        self._stream = stream
        self._size = size
        self._most = most
        self._reads = 0

    def tell(self) -> int:
        """The position."""
        return self._stream.tell()

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Go there."""
        return self._stream.seek(offset, whence)

    def read(self, count: int = -1, /) -> bytes:
        """Up to `count` bytes; raises SourceError for what no header needs."""
        self._reads += 1
        if self._reads > MOST_READS:
            raise SourceError(f"has a header of more than {MOST_READS // 2} elements")
        here = self._stream.tell()
        if self._size is not None and count >= LARGE and here + count > self._size:
            raise SourceError(
                f"has an element of {count} bytes where {max(self._size - here, 0)} are left"
            )
        if count < 0 or here + count > self._most:
            raise SourceError(
                f"has a header of more than {self._most / 2**20:.0f} MiB, which is the limit"
            )
        return self._stream.read(count)
