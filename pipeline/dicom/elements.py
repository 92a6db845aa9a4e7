"""Elements of a data set, looked at in its bytes: of sequences of very many items.

What a slide says of each of its frames is a dozen elements. Made into objects, those of a hundred
thousand frames take minutes and gigabytes; here a few numbers are picked out of each.

    element   tag | type | length | value           explicit; the type is left out of implicit ones
    sequence  (item | length | elements)* with an end where its own length is not given

Little endian only. DICOM PS3.5, sections 7.1 and 7.5.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
UNDEFINED = 0xFFFFFFFF
"""The length of what is ended by a delimiter."""
LONG = frozenset(
    {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UR", b"UT", b"UV"}
)
"""Types whose length has four bytes, behind two that say nothing."""
DEEPEST = 8
"""Sequences within sequences that are followed."""

Span = tuple[int, int]
"""First byte and one past the last."""


def items(data: bytes, span: Span, *, implicit: bool) -> Iterator[Span]:
    """The elements of each item of a sequence; raises ValueError for damaged ones."""
    at, stop = span
    while at < stop:
        tag, length = _tag(data, at), _long(data, at + 4)
        at += 8
        if tag == SEQUENCE_END:
            return
        if tag != ITEM:
            raise ValueError("not an item")
        end = _item_end(data, at, implicit, 0) if length == UNDEFINED else at + length
        if end > stop:
            raise ValueError("an item is longer than its sequence")
        yield at, end
        at = end + (8 if length == UNDEFINED else 0)


def elements(data: bytes, span: Span, *, implicit: bool) -> Iterator[tuple[int, Span]]:
    """(tag, bytes of the value) of each element; raises ValueError for damaged ones."""
    at, stop = span
    while at < stop:
        tag, begin, end, after = _element(data, at, implicit, 0)
        if after > stop:
            raise ValueError("an element is longer than what holds it")
        yield tag, (begin, end)
        at = after


def _element(data: bytes, at: int, implicit: bool, depth: int) -> tuple[int, int, int, int]:
    """(tag, first byte of the value, one past it, next element)."""
    tag = _tag(data, at)
    if implicit or tag >> 16 == 0xFFFE:
        length, begin = _long(data, at + 4), at + 8
    elif data[at + 4 : at + 6] in LONG:
        length, begin = _long(data, at + 8), at + 12
    elif data[at + 4 : at + 6] == b"UN":
        raise ValueError("an element of unknown type")
    else:
        length, begin = int.from_bytes(data[at + 6 : at + 8], "little"), at + 8
    if length != UNDEFINED:
        return tag, begin, begin + length, begin + length
    end = _sequence_end(data, begin, implicit, depth)
    return tag, begin, end, end + 8


def _sequence_end(data: bytes, at: int, implicit: bool, depth: int) -> int:
    """Where the delimiter of a sequence of undefined length stands."""
    if depth > DEEPEST:
        raise ValueError("sequences within sequences without end")
    while (tag := _tag(data, at)) != SEQUENCE_END:
        if tag != ITEM:
            raise ValueError("not an item")
        length, at = _long(data, at + 4), at + 8
        at = _item_end(data, at, implicit, depth + 1) + 8 if length == UNDEFINED else at + length
    return at


def _item_end(data: bytes, at: int, implicit: bool, depth: int) -> int:
    """Where the delimiter of an item of undefined length stands."""
    while _tag(data, at) != ITEM_END:
        at = _element(data, at, implicit, depth)[3]
    return at


def _tag(data: bytes, at: int) -> int:
    """Group and element; raises ValueError beyond the end."""
    try:
        group, element = struct.unpack_from("<HH", data, at)
    except struct.error as error:
        raise ValueError("ends within an element") from error
    return int(group << 16 | element)


def _long(data: bytes, at: int) -> int:
    try:
        (length,) = struct.unpack_from("<L", data, at)
    except struct.error as error:
        raise ValueError("ends within an element") from error
    return int(length)
