"""One frame: from its bytes to the stored values.

A codestream is read (`codestreams`, `jpeg`) and compared with the header before it is decoded.
What lossy compression overshoots is clamped to the bits that are stored; what lossless compression
or none keeps above these bits is junk and is cut off.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.dicom.codestreams import Codestream, check, incomplete, read_jpeg2000, read_rle
from pipeline.dicom.colour import BIG_ENDIAN, from_ybr, whole_chroma
from pipeline.dicom.headers import DAMAGE
from pipeline.dicom.jpeg import RESTART, Markers, read_jpeg
from pipeline.dicom.syntaxes import SYNTAXES
from pipeline.errors import SourceError
from pipeline.radiometry import Pixels

if TYPE_CHECKING:
    from pipeline.dicom.stored import Stored

FILLER = bytes(1 + (at * at * 31 + at * 17 + 89) % 254 for at in range(2048))
OPPOSITE = bytes(255 - byte for byte in FILLER)
"""Coded data, put where a scan ends: see `_filled`. They differ in each bit, and none is a marker.

As many as a unit of ten blocks may take, of which only the first need be visible."""
MOST_FILLED = 2**22
"""Bytes that are put before restarts, all together."""
SLACK = 256
"""Bytes that an RLE segment may hold beyond its pixels: some pad them."""


def decode_frame(data: bytes, stored: Stored) -> Pixels:
    """(sample, y, x) stored values, colours as RGB, palettes as indices; raises SourceError."""
    try:
        samples, coded_ybr = DECODERS[SYNTAXES[stored.syntax].codec](data, stored)
    except DAMAGE as error:  # those of imagecodecs are among them
        raise SourceError(
            f"holds a frame that cannot be decoded as {stored.syntax_name}: it is damaged"
        ) from error
    if coded_ybr:
        samples = from_ybr(samples, stored.bits_stored)
    return samples if samples.flags.writeable else samples.copy()


def _native(data: bytes, stored: Stored) -> tuple[Pixels, bool]:
    rows, columns, samples = stored.rows, stored.columns, stored.samples
    kind = "f" if stored.floating else "u"
    words = np.frombuffer(
        data, f"{'>' if stored.syntax == BIG_ENDIAN else '<'}{kind}{stored.sample_bytes}"
    )
    if stored.photometric == "YBR_FULL_422":
        planes = whole_chroma(words, rows, columns)
    elif stored.planar:
        planes = words.reshape(samples, rows, columns)
    else:
        planes = np.moveaxis(words.reshape(rows, columns, samples), 2, 0)
    planes = planes.astype(planes.dtype.newbyteorder("="), order="C", copy=False)
    planes = np.ascontiguousarray(planes)
    return planes if stored.floating else _from_words(planes, stored), _header_ybr(stored)


def _rle(data: bytes, stored: Stored) -> tuple[Pixels, bool]:
    """Each byte of each sample is a segment, the highest first. DICOM PS3.5, annex G."""
    from imagecodecs import packbits_decode

    size, width = stored.rows * stored.columns, stored.sample_bytes
    planes = np.empty((stored.samples, size, width), np.uint8)
    for number, segment in enumerate(read_rle(data, stored)):
        room = bytearray(size + SLACK)
        held = packbits_decode(data[segment], out=room)
        if len(held) < size:
            raise SourceError(
                f"holds a frame that is cut off: an RLE segment has {len(held)} of {size} bytes"
            )
        planes[number // width, :, width - 1 - number % width] = np.frombuffer(room, np.uint8, size)
    words = planes.view(f"<u{width}").reshape(stored.samples, stored.rows, stored.columns)
    words = words.astype(words.dtype.newbyteorder("="), copy=False)
    return _from_words(words, stored), _header_ybr(stored)


def _jpeg(data: bytes, stored: Stored) -> tuple[Pixels, bool]:
    facts, markers = read_jpeg(data)
    check(facts, stored)
    ybr = (_header_ybr(stored) if facts.colour is None else facts.colour == "YBR") and (
        facts.components == 3
    )
    converted = ybr and not facts.lossless  # the decoder converts what it has transformed
    if _hides(facts, markers):
        pixels = _decode_filled(data, facts, markers, converted=converted)
    else:
        pixels = _decode_jpeg(data, facts, converted=converted)
        if (np.ptp(pixels[-8:, -8:], axis=(0, 1)) == 0).all():
            pixels = _decode_filled(data, facts, markers, converted=converted)
    # fewer bits than are stored are those of small numbers, not of negative ones
    whole = replace(facts, precision=max(facts.precision, stored.bits_stored))
    return _from_codes(_planes(pixels), whole, stored), ybr and not converted


def _decode_jpeg(data: bytes, facts: Codestream, *, converted: bool) -> Pixels:
    from imagecodecs import jpeg8_decode

    if facts.components == 1:
        grey: Pixels = jpeg8_decode(data)
        return grey
    coded = "YCBCR" if converted else "RGB"  # to call it RGB is to leave it alone
    pixels: Pixels = jpeg8_decode(data, colorspace=coded, outcolorspace="RGB")
    return pixels


def _hides(facts: Codestream, markers: Markers) -> bool:
    """Whether coded data may be missing without being seen in the last 8 x 8 pixels.

    Where they are missing although the last marker is there, decoders make up the rest: one value
    to the end. Only where the last block itself lacks some of its coefficients is it not seen.
    """
    blocks = [8 * max(factors) for factors in zip(*markers.parts.values(), strict=True)]
    aligned = not facts.columns % blocks[0] and not facts.rows % blocks[1]
    return bool(facts.lossless or markers.interval or len(markers.scans) > 1 or not aligned)


def _decode_filled(data: bytes, facts: Codestream, markers: Markers, *, converted: bool) -> Pixels:
    """Decode twice; raises SourceError where the pixels depend on what is put after a scan."""
    one, other = (
        _decode_jpeg(_filled(data, markers, filler), facts, converted=converted)
        for filler in (FILLER, OPPOSITE)
    )
    if not np.array_equal(one, other):
        raise incomplete("JPEG")
    return one


def _filled(data: bytes, markers: Markers, filler: bytes) -> bytes:
    """The codestream with more coded data where each part of a scan ends.

    A decoder that has all that it needs skips them. One that lacks some takes them.
    """
    parts, at = [], 0
    between = filler[: max(MOST_FILLED // (1 + markers.restarts), 16)]
    for scan in markers.scans:
        parts += [
            data[at : scan.start],
            RESTART.sub(lambda found: between + found[0], data[scan]),
            filler,
        ]
        at = scan.stop
    return b"".join([*parts, data[at:]])


def _jpegls(data: bytes, stored: Stored) -> tuple[Pixels, bool]:
    from imagecodecs import jpegls_decode

    facts, _ = read_jpeg(data)
    check(facts, stored)
    pixels: Pixels = jpegls_decode(data[: facts.end])
    ybr = facts.components == 3 and (
        _header_ybr(stored) if facts.colour is None else facts.colour == "YBR"
    )
    return _from_codes(_planes(pixels), facts, stored), ybr


def _jpeg2000(data: bytes, stored: Stored) -> tuple[Pixels, bool]:
    """OpenJPEG, for HTJ2K too: OpenJPH hands over damaged frames without an error."""
    from imagecodecs import jpeg2k_decode

    facts = read_jpeg2000(data)
    check(facts, stored)
    pixels: Pixels = jpeg2k_decode(data[facts.start : facts.end])
    exact = replace(facts, lossless=not SYNTAXES[stored.syntax].lossy)
    # what the codestream itself transforms comes back as RGB
    return _from_codes(_planes(pixels), exact, stored), stored.photometric in (
        "YBR_FULL",
        "YBR_FULL_422",
    )


def _header_ybr(stored: Stored) -> bool:
    return stored.photometric.startswith("YBR")


def _planes(pixels: Pixels) -> Pixels:
    """(y, x) or (y, x, sample) -> (sample, y, x)."""
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(np.moveaxis(pixels, 2, 0))


def _from_words(words: NDArray[np.generic], stored: Stored) -> Pixels:
    """Unsigned words, as they lie in the file -> stored values."""
    shift = stored.high_bit + 1 - stored.bits_stored
    if shift:
        words = words >> words.dtype.type(shift)  # type: ignore[operator]
    return _cut(words, stored.bits_stored, stored)


def _cut(words: Pixels, bits: int, stored: Stored) -> Pixels:
    """The lowest `bits` of unsigned words as values of the header's type."""
    spare = stored.bits_allocated - bits
    unsigned = words.astype(f"u{stored.sample_bytes}", copy=False)
    values = unsigned.view(f"i{stored.sample_bytes}") if stored.signed else unsigned
    if spare:
        values = (values << values.dtype.type(spare)) >> values.dtype.type(spare)
    cut: Pixels = values
    return cut


def _from_codes(pixels: Pixels, facts: Codestream, stored: Stored) -> Pixels:
    """Decoded samples -> stored values."""
    if facts.signed and stored.signed and not facts.lossless:
        return _clamped(pixels, stored)
    wide = f"{'i' if facts.signed else 'u'}{stored.sample_bytes}"
    words = pixels.astype(wide, copy=False).view(f"u{stored.sample_bytes}")
    if facts.signed and not stored.signed:  # two's complement of as many bits as were coded
        words = words & words.dtype.type(2**facts.precision - 1)
    if facts.lossless:
        bits = stored.bits_stored if facts.signed else min(facts.precision, stored.bits_stored)
        return _cut(words, bits, stored)
    return _clamped(_cut(words, facts.precision, stored), stored)


def _clamped(values: Pixels, stored: Stored) -> Pixels:
    """Within the bits that are stored, of the header's type."""
    low, high = stored.stored_limits
    return np.clip(values, low, high).astype(stored.stored_dtype, copy=False)


DECODERS: dict[str, Callable[[bytes, Stored], tuple[Pixels, bool]]] = {
    "native": _native,
    "rle": _rle,
    "jpeg": _jpeg,
    "jpegls": _jpegls,
    "jpeg2000": _jpeg2000,
    "htj2k": _jpeg2000,
}
"""Each gives (sample, y, x) values and whether they are luma and chroma."""
