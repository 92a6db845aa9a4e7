"""Damaged and hostile files: a clear error, in little memory, and never half a frame."""

from __future__ import annotations

import io
import random
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from dicom_codecs import (
    DEFLATED,
    HTJ2K_LOSSLESS,
    JPEG,
    JPEG12,
    JPEG2000_LOSSLESS,
    JPEG_LOSSLESS,
    JPEG_LS,
    JPEG_SV1,
    LOSSLESS,
    RLE,
    write_frames,
    write_native,
)
from PIL import Image

from pipeline.dicom.frames import Frames
from pipeline.dicom.headers import find_pixels, read_header
from pipeline.errors import SourceError
from pipeline.radiometry import Pixels

REAL = (
    *("CT1_JPLL", "CT1_JLSL", "CT1_JLSN", "CT1_J2KR", "CT1_J2KI", "CT1_RLE"),
    *("MR1_JPLY", "XA1_JPLY", "US1_RLE", "US1_J2KI"),
)


def read(path: Path) -> Pixels:
    """The first frame, as a job reads it."""
    frames = Frames(path, read_header(path))
    frames.check()
    return frames.read(0)


def refused_or_whole(path: Path, whole: Pixels, *, but_for: int = 0) -> bool:
    """Whether a file is refused in one line; if not, it must give the whole picture.

    `but_for` is the size of the last block, whose last coefficients nobody misses.
    """
    try:
        pixels = read(path)
    except SourceError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017 - both outcomes are right
        return True
    if but_for:
        pixels[:, -but_for:, -but_for:] = whole[:, -but_for:, -but_for:]
    np.testing.assert_array_equal(pixels, whole)
    return False


def places(first: int, last: int, count: int) -> Iterator[int]:
    """Evenly from `first` to `last`, and each of the last 12."""
    yield from sorted(
        {*np.linspace(first, last, count).astype(int).tolist(), *range(last - 12, last)}
    )


@pytest.mark.parametrize("name", REAL)
def test_a_file_that_is_cut_off_anywhere_is_refused(
    shared: Path, tmp_path: Path, name: str
) -> None:
    path = shared / "data/dicom/syntaxes" / name
    data, whole, cut = path.read_bytes(), read(path), tmp_path / "cut.dcm"
    delimiter = 8 + 16  # it and what pads the last fragment may go
    for at in places(0, len(data), 25):
        cut.write_bytes(data[:at])
        assert refused_or_whole(cut, whole) or at > len(data) - delimiter


@pytest.mark.parametrize("name", ["CT_small", "image_dfl", "ExplVR_BigEnd", "examples_palette"])
def test_an_uncompressed_file_that_is_cut_off_anywhere_is_refused(
    shared: Path, tmp_path: Path, name: str
) -> None:
    path = shared / f"data/dicom/pydicom/test_files/{name}.dcm"
    data, whole, cut = path.read_bytes(), read(path), tmp_path / "cut.dcm"
    for at in places(0, len(data), 60):
        cut.write_bytes(data[:at])
        assert refused_or_whole(cut, whole) or at > len(data) - 200  # what follows the pixels


def textured() -> Pixels:
    """(64, 96) uint8: a picture with detail everywhere, and flat rows at the end."""
    rng = np.random.default_rng(0)
    pixels = np.add.outer(np.arange(64), np.arange(96)) + rng.integers(0, 60, (64, 96))
    pixels[48:] = 90
    return pixels.astype(np.uint8)


def jpeg_of(pixels: Pixels, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=90, **options)
    return file.getvalue()


def wide(pixels: Pixels) -> Pixels:
    return pixels.astype(np.uint16) << 4


CODED: dict[str, tuple[str, Callable[[Pixels], bytes]]] = {
    "baseline": (JPEG, jpeg_of),
    "progressive": (JPEG, lambda pixels: jpeg_of(pixels, progressive=True)),
    "restarts": (JPEG, lambda pixels: jpeg_of(pixels, restart_marker_blocks=4)),
    "12 bit": (
        JPEG12,
        lambda pixels: imagecodecs.jpeg8_encode(wide(pixels), level=90, bitspersample=12),
    ),
    "lossless": (JPEG_SV1, LOSSLESS[JPEG_SV1]),
    "predictor 6": (JPEG_LOSSLESS, LOSSLESS[JPEG_LOSSLESS]),
    "LS": (JPEG_LS, LOSSLESS[JPEG_LS]),
    "2000": (JPEG2000_LOSSLESS, LOSSLESS[JPEG2000_LOSSLESS]),
    "HTJ2K": (HTJ2K_LOSSLESS, LOSSLESS[HTJ2K_LOSSLESS]),
    "RLE": (RLE, LOSSLESS[RLE]),
}


@pytest.mark.parametrize("kind", CODED)
def test_half_a_frame_is_an_error_also_where_its_last_marker_is_there(
    tmp_path: Path, kind: str
) -> None:
    syntax, encode = CODED[kind]
    pixels = textured()
    code = encode(pixels)
    like = wide(pixels) if kind == "12 bit" else pixels
    path = tmp_path / "a.dcm"
    write_frames(path, [code], like, syntax)
    whole = read(path)
    for at in places(2, len(code) - 2, 50):
        for end in (b"", b"\xff\xd9"):
            write_frames(path, [code[:at] + end], like, syntax)
            refused_or_whole(path, whole, but_for=8 * (kind in ("baseline", "12 bit")))
    write_frames(path, [code[: len(code) // 2] + b"\xff\xd9"], like, syntax)
    assert refused_or_whole(path, whole)


def test_padding_after_a_frame_does_no_harm(tmp_path: Path) -> None:
    pixels = textured()
    for kind, (syntax, encode) in CODED.items():
        like = wide(pixels) if kind == "12 bit" else pixels
        path = tmp_path / "a.dcm"
        write_frames(path, [encode(pixels)], like, syntax)
        whole = read(path)
        write_frames(path, [encode(pixels) + b"\0" * 7], like, syntax)
        if kind != "RLE":  # whose last segment would go on
            np.testing.assert_array_equal(read(path), whole)


def test_random_damage_is_refused_or_decoded_and_nothing_else(shared: Path, tmp_path: Path) -> None:
    folder = shared / "data/dicom/pydicom/test_files"
    small = [path for path in sorted(folder.glob("*.dcm")) if path.stat().st_size < 20_000]
    choose, path, refused = random.Random(5), tmp_path / "a.dcm", 0
    for _ in range(600):
        data = bytearray(choose.choice(small).read_bytes())
        for _ in range(choose.choice((1, 2, 8))):
            data[choose.randrange(132, len(data))] = choose.choice((0, 255, choose.randrange(256)))
        path.write_bytes(data)
        try:
            read(path)
        except SourceError:
            refused += 1
    assert refused > 200


def bomb_jpeg2000(pixels: Pixels) -> bytes:
    code = bytearray(LOSSLESS[JPEG2000_LOSSLESS](pixels))
    code[8:16] = code[24:32] = struct.pack(">II", 20_000, 20_000)
    return bytes(code)


def bomb_tiles(pixels: Pixels) -> bytes:
    code = bytearray(LOSSLESS[JPEG2000_LOSSLESS](pixels))
    code[8:16] = struct.pack(">II", 65_000, 65_000)
    code[16:24] = struct.pack(">II", 65_000 - 96, 65_000 - 64)
    code[24:32] = struct.pack(">II", 1, 1)
    return bytes(code)


def bomb_jpeg(pixels: Pixels) -> bytes:
    code = jpeg_of(pixels)
    at = code.index(b"\xff\xc0") + 5
    return code[:at] + struct.pack(">HH", 65_000, 65_000) + code[at + 4 :]


def bomb_rle(pixels: Pixels) -> bytes:  # noqa: ARG001 - one of several
    return struct.pack("<16I", 1, 64, *[0] * 14) + b"\x81\0" * 4_000


BOMBS: dict[str, tuple[str, Callable[[Pixels], bytes], str]] = {
    "SIZ": (JPEG2000_LOSSLESS, bomb_jpeg2000, "20000 x 20000 pixels"),
    "tiles": (JPEG2000_LOSSLESS, bomb_tiles, "tiles; 65535 are allowed"),
    "SOF": (JPEG, bomb_jpeg, "65000 x 65000 pixels"),
    "RLE": (RLE, bomb_rle, "cannot be decoded as RLE"),
    "bulk": (JPEG, lambda pixels: jpeg_of(pixels) + bytes(3 * 2**20), "more than it would take"),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_what_a_codestream_claims_is_compared_before_it_is_decoded(
    tmp_path: Path, kind: str
) -> None:
    syntax, encode, words = BOMBS[kind]
    pixels = textured()
    path = write_frames(tmp_path / "a.dcm", [encode(pixels)], pixels, syntax)
    with pytest.raises(SourceError, match=words):
        read(path)


def element(group: int, number: int, vr: bytes, length: int) -> bytes:
    """The head of an explicit element of a long VR."""
    return struct.pack("<HH2sHI", group, number, vr, 0, length)


def deflated(tmp_path: Path, data: Iterator[bytes]) -> Path:
    """A file whose data set is deflated from pieces."""
    path = write_native(tmp_path / "deflated.dcm", b"\0\0", np.zeros((1, 1), np.uint16), DEFLATED)
    place = find_pixels(path)
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    pieces = [packer.compress(piece) for piece in data]
    path.write_bytes(path.read_bytes()[: place.start] + b"".join(pieces) + packer.flush())
    return path


def inflated(path: Path) -> bytes:
    """The data set of a deflated file."""
    return zlib.decompress(path.read_bytes()[find_pixels(path).start :], -zlib.MAX_WBITS)


def hostile(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """Files that claim or inflate to more than they should, and what is said of each."""
    pixels = textured()
    huge = {"Rows": 65_535, "Columns": 65_535}
    yield write_native(tmp_path / "1", pixels.tobytes(), pixels, **huge), "512 MiB are the limit"
    many = {"NumberOfFrames": 2_000_000_000}
    yield (
        write_native(tmp_path / "2", pixels.tobytes(), pixels, **many),
        "are needed for 2000000000",
    )
    code = LOSSLESS[JPEG_LS](pixels)
    yield write_frames(tmp_path / "3", [code], pixels, JPEG_LS, **many), "1 of the 2000000000"
    plain = write_native(tmp_path / "4", pixels.tobytes(), pixels)
    start, data = find_pixels(plain).offset - 12, plain.read_bytes()
    plain.write_bytes(data[:start] + element(9, 0x1010, b"OB", 0xFFFFFFF0) + data[start:])
    yield plain, "an element of 4294967280 bytes"
    whole = inflated(write_native(tmp_path / "5", pixels.tobytes(), pixels, DEFLATED))
    zeros = (bytes(2**20) for _ in range(100))
    private = element(9, 0x1010, b"OB", 100 * 2**20)
    yield deflated(tmp_path, (p for p in (private, *zeros, whole))), "more than 64 MiB"


def test_bombs_are_refused_in_little_memory(tmp_path: Path) -> None:
    files = []
    for path, words in hostile(tmp_path):
        with pytest.raises(SourceError, match=words):
            read(path)
        files.append(str(path))
    for name, (syntax, encode, _) in BOMBS.items():
        files.append(str(tmp_path / name))
        write_frames(tmp_path / name, [encode(textured())], textured(), syntax)
    program = (
        "import imagecodecs._jpeg2k, imagecodecs._jpeg8, imagecodecs._imcd\n"
        "import pydicom.dataset, pydicom.filereader, resource, sys\n"
        "from pipeline.dicom.frames import Frames\n"
        "from pipeline.dicom.headers import read_header\n"
        "from pipeline.errors import SourceError\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for path in sys.argv[1:]:\n"
        "    try:\n"
        "        Frames(path, read_header(path)).read(0)\n"
        "    except SourceError:\n"
        "        continue\n"
        "    sys.exit(path)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *files], check=True, capture_output=True, text=True
    )
    assert int(done.stdout) < 100 * 1024  # the 64 MiB that a header may have, and the modules


def test_what_follows_deflated_pixels_is_never_inflated(tmp_path: Path) -> None:
    pixels = textured()
    whole = inflated(write_native(tmp_path / "a.dcm", pixels.tobytes(), pixels, DEFLATED))
    path = deflated(tmp_path, (piece for piece in (whole, *(bytes(2**20) for _ in range(200)))))
    np.testing.assert_array_equal(read(path)[0], pixels)
