"""The markers of JPEG and JPEG-LS frames. ITU-T T.81, annex B; ITU-T T.87, annex C.

SOI  APP0 (JFIF)  APP14 (Adobe)  DQT DHT DRI  SOF  SOS ~~~ RST0 ~~~ RST1 ~~~  [SOS ~~~]  EOI
                                                   └───────── a scan ────────┘
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from math import ceil
from typing import Literal

from pipeline.dicom.codestreams import Codestream, incomplete
from pipeline.errors import SourceError

SEQUENTIAL, PROGRESSIVE, LOSSLESS, LS = (0xC0, 0xC1), 0xC2, 0xC3, 0xF7
FRAMES = {*range(0xC0, 0xD0), LS} - {0xC4, 0xC8, 0xCC}
"""Markers that begin a frame: all but DHT, JPG and DAC."""
SOI, EOI, SOS, DRI, APP0, APP14 = 0xD8, 0xD9, 0xDA, 0xDD, 0xE0, 0xEE
AFTER_SCAN = re.compile(rb"\xff+[^\x00\xd0-\xd7\xff]")
"""The marker that ends a scan: neither a stuffed byte nor a restart nor fill."""
AFTER_LS_SCAN = re.compile(rb"\xff+[\x80-\xcf\xd8-\xfe]")
"""The same of JPEG-LS, which stuffs a bit."""
RESTART = re.compile(rb"\xff+([\xd0-\xd7])")


@dataclass(slots=True)
class Markers:
    """What was found on the way through the markers."""

    kind: int = 0
    """The marker of the frame; 0 before it was found."""
    size: tuple[int, int, int] = (0, 0, 0)
    """Precision, rows, columns."""
    parts: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Sampling factors, across and down, by the component's number."""
    interval: int = 0
    """Units between restarts; 0 for none."""
    restarts: int = 0
    """Restarts of all scans."""
    jfif: bool = False
    """Whether it is a JFIF file: luma and chroma."""
    adobe: int | None = None
    """What Adobe's marker says of the transform: 0 none, 1 luma and chroma."""
    near: int = 0
    """Of JPEG-LS: the largest error."""
    owed: dict[tuple[int, int], int] = field(default_factory=dict)
    """Bits that coefficients still lack, by component and number."""
    scans: list[slice] = field(default_factory=list)
    """Where the coded data of each scan lie."""
    end: int = 0
    """After the last marker."""


def read_jpeg(data: bytes) -> tuple[Codestream, Markers]:
    """The facts of a JPEG or JPEG-LS frame, which must be complete; raises SourceError."""
    if data[:2] != b"\xff\xd8":
        raise SourceError("holds a frame that is no JPEG codestream")
    found = Markers()
    try:
        _walk(data, found)
    except (struct.error, IndexError):
        raise incomplete("JPEG") from None
    if not found.scans or any(found.owed.values()):
        raise incomplete("JPEG")
    precision, rows, columns = found.size
    facts = Codestream(
        rows=rows,
        columns=columns,
        components=len(found.parts),
        precision=precision,
        signed=False,
        colour=_colour(found),
        lossless=found.kind == LOSSLESS or (found.kind == LS and not found.near),
        start=0,
        end=found.end,
    )
    return facts, found


def _walk(data: bytes, found: Markers) -> None:
    at = 2
    while True:
        if data[at] != 0xFF:
            raise SourceError("holds a JPEG frame whose markers are damaged")
        while (marker := data[at]) == 0xFF:  # fill
            at += 1
        at += 1
        if marker == EOI:
            found.end = at
            return
        if marker == SOI or marker < 0xC0:
            raise SourceError("holds a JPEG frame whose markers are damaged")
        if 0xD0 <= marker <= 0xD7:
            continue
        length = struct.unpack_from(">H", data, at)[0]
        body = data[at + 2 : at + length]
        if length < 2 or len(body) != length - 2:
            raise incomplete("JPEG")
        at += length
        if marker == SOS:
            at = _scan(data, at, body, found)
        else:
            _note(marker, body, found)


def _note(marker: int, body: bytes, found: Markers) -> None:
    """Remember what a segment says."""
    if marker in FRAMES:
        if found.kind or marker not in (*SEQUENTIAL, PROGRESSIVE, LOSSLESS, LS):
            raise SourceError(
                "holds a JPEG frame of a kind that is not read (hierarchical, arithmetic)"
            )
        found.kind = marker
        found.size, count = struct.unpack_from(">BHH", body), body[5]
        for number, factors, _ in struct.iter_unpack(">3B", body[6 : 6 + 3 * count]):
            found.parts[number] = (factors >> 4, factors & 15)
        coefficients = range(64) if marker in (*SEQUENTIAL, PROGRESSIVE) else range(1)
        found.owed = {(part, one): 1 for part in found.parts for one in coefficients}
        if len(found.parts) != count or any(not h or not v for h, v in found.parts.values()):
            raise SourceError("holds a JPEG frame whose header is damaged")
    elif marker == DRI:
        found.interval = int.from_bytes(body, "big")
    elif marker == APP0 and body.startswith(b"JFIF"):
        found.jfif = True
    elif marker == APP14 and body.startswith(b"Adobe") and len(body) >= 12:
        found.adobe = body[11]


def _scan(data: bytes, at: int, body: bytes, found: Markers) -> int:
    """Remember a scan, whose header is `body`; where its coded data end."""
    count = body[0]
    parts = [body[1 + 2 * one] for one in range(count)]
    if not found.kind or not set(parts) <= set(found.parts):
        raise SourceError("holds a JPEG frame whose scans are damaged")
    first, last, low = body[1 + 2 * count], body[2 + 2 * count], body[3 + 2 * count] & 15
    if found.kind == PROGRESSIVE:
        done = range(first, last + 1)
    else:
        done, low = range(64), 0
    found.near = first if found.kind == LS else 0
    found.owed |= {(p, c): low for p in parts for c in done if (p, c) in found.owed}
    ends = (AFTER_LS_SCAN if found.kind == LS else AFTER_SCAN).search(data, at)
    if ends is None:
        raise incomplete("JPEG")
    found.scans.append(slice(at, ends.start()))
    if found.interval and found.kind != LS:
        _check_restarts(data[at : ends.start()], parts, found)
    return ends.start()


def _check_restarts(scan: bytes, parts: list[int], found: Markers) -> None:
    """Restarts are numbered: refuse a scan that lacks any. ITU-T T.81, sections A.2 and E.1.4."""
    _, rows, columns = found.size
    unit = 1 if found.kind == LOSSLESS else 8
    widest, tallest = (max(factors) for factors in zip(*found.parts.values(), strict=True))
    if len(parts) > 1:
        units = ceil(columns / (unit * widest)) * ceil(rows / (unit * tallest))
    else:
        across, down = found.parts[parts[0]]
        units = ceil(ceil(columns * across / widest) / unit) * ceil(
            ceil(rows * down / tallest) / unit
        )
    numbers = [one[0] & 7 for one in RESTART.findall(scan)]
    found.restarts += len(numbers)
    wanted = ceil(units / found.interval) - 1
    if len(numbers) != wanted or any(n != at % 8 for at, n in enumerate(numbers)):
        raise SourceError(
            f"holds a JPEG frame with {len(numbers)} of {wanted} restarts: part of it is missing"
        )


def _colour(found: Markers) -> Literal["RGB", "YBR"] | None:
    """What three components are: Adobe's marker, JFIF, their names, or that chroma is halved."""
    if len(found.parts) != 3:
        return None
    if found.adobe is not None:
        return "YBR" if found.adobe else "RGB"
    if bytes(found.parts) in (b"RGB", b"rgb"):
        return "RGB"
    halved = len(set(found.parts.values())) > 1
    return "YBR" if found.jfif or halved else None
