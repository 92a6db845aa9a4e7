"""Frames of a file: found by any table of offsets or none, and read without the others."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from dicom_codecs import (
    BIG,
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    JPEG2000_LOSSLESS,
    JPEG_LS,
    JPEG_SV1,
    LOSSLESS,
    RLE,
    Table,
    write_frames,
    write_native,
)
from hypothesis import given
from hypothesis import strategies as st

from pipeline.dicom.frames import Frames
from pipeline.dicom.headers import find_pixels, read_header
from pipeline.errors import SourceError
from pipeline.radiometry import Pixels
from pipeline.tiling import Window

NATIVE = (IMPLICIT, EXPLICIT, DEFLATED, BIG)
SIZE = 4096


def frames_of(path: Path) -> Frames:
    """The frames of a file."""
    return Frames(path, read_header(path))


def stack(count: int, dtype: str = "uint16") -> Pixels:
    """(frame, 19, 23) noise."""
    top = np.iinfo(dtype).max
    return np.random.default_rng(count).integers(0, top, (count, 19, 23)).astype(dtype)


def in_file(values: Pixels, syntax: str, vr: str) -> bytes:
    """The bytes of values in a syntax; big-endian words hold bytes the other way round."""
    data = values.astype(values.dtype.newbyteorder(">" if syntax == BIG else "<")).tobytes()
    data += b"\0" * (len(data) % 2)
    if syntax == BIG and vr == "OW" and values.dtype.itemsize == 1:
        data = np.frombuffer(data, np.uint16).byteswap().tobytes()
    return data


@st.composite
def natives(draw: st.DrawFn) -> tuple[Pixels, dict[str, int], str, str]:
    """(frame, y, x, sample) values, their bits, a syntax and a VR."""
    dtype = draw(st.sampled_from(["uint8", "int8", "uint16", "int16", "int32"]))
    bits = 8 * np.dtype(dtype).itemsize
    stored = draw(st.integers(2, bits))
    shape = [draw(st.integers(1, n)) for n in (3, 7, 7)] + [draw(st.sampled_from([1, 3]))]
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    low = -(2 ** (stored - 1)) if dtype.startswith("int") else 0
    values = rng.integers(low, low + 2**stored, shape).astype(dtype)
    facts = {"BitsStored": stored, "HighBit": stored - 1, "NumberOfFrames": shape[0]}
    if shape[3] == 3:
        facts["PlanarConfiguration"] = draw(st.integers(0, 1))
    syntax = draw(st.sampled_from(NATIVE))
    vr = "OW" if bits > 8 or syntax == IMPLICIT else draw(st.sampled_from(["OB", "OW"]))
    return values, facts, syntax, vr


@given(case=natives(), data=st.data())
def test_uncompressed_frames_of_any_kind_are_what_was_stored(
    tmp_path_factory: pytest.TempPathFactory,
    case: tuple[Pixels, dict[str, int], str, str],
    data: st.DataObject,
) -> None:
    values, facts, syntax, vr = case
    unsigned = values.view(f"u{values.dtype.itemsize}")
    junk = np.random.default_rng(1).integers(0, 2**31, values.shape).astype(unsigned.dtype)
    above = unsigned.dtype.type(2 ** (8 * unsigned.dtype.itemsize) - 2 ** facts["BitsStored"])
    dirty = (unsigned & ~above) | (junk & above)
    laid = np.moveaxis(dirty, 3, 1) if facts.get("PlanarConfiguration") else dirty
    like = values[0] if values.shape[3] == 3 else values[0, ..., 0]
    folder = tmp_path_factory.mktemp("native")
    path = write_native(folder / "a", in_file(laid, syntax, vr), like, syntax, vr, **facts)
    frames = frames_of(path)
    assert frames.check() == ()
    index = data.draw(st.integers(0, len(values) - 1))
    expected = np.moveaxis(values[index], 2, 0)
    np.testing.assert_array_equal(frames.read(index), expected)
    assert frames.read(index).dtype == values.dtype
    y, x = (data.draw(st.integers(0, n - 1)) for n in expected.shape[1:])
    height, width = expected.shape[1] - y, expected.shape[2] - x
    window = Window(y, x, data.draw(st.integers(1, height)), data.draw(st.integers(1, width)))
    np.testing.assert_array_equal(frames.window(index, window), expected[:, *window.slices])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_floats_are_read_as_they_are(tmp_path: Path, dtype: str) -> None:
    values = np.random.default_rng(0).normal(0, 1e6, (9, 11)).astype(dtype)
    values[0, 0] = np.nan
    path = write_native(tmp_path / "a", values.tobytes(), values)
    frames = frames_of(path)
    assert (frames.stored.dtype, frames.stored.limits) == (dtype, None)
    np.testing.assert_array_equal(frames.read(0)[0], values)


def test_values_in_the_upper_bits_are_moved_down(tmp_path: Path) -> None:
    values = stack(1)[0] >> 4
    path = write_native(tmp_path / "a", (values << 4).tobytes(), values, BitsStored=12, HighBit=15)
    np.testing.assert_array_equal(frames_of(path).read(0)[0], values)


def test_chroma_of_4_2_2_is_kept_twice(tmp_path: Path) -> None:
    grey = np.full((4, 6, 3), 128, np.uint8)
    luma = np.arange(24, dtype=np.uint8).reshape(4, 3, 2)
    fours = np.concatenate([luma, np.full((4, 3, 2), 128, np.uint8)], axis=2)
    path = write_native(
        tmp_path / "a", fours.tobytes(), grey, PhotometricInterpretation="YBR_FULL_422"
    )
    expected = np.broadcast_to(luma.reshape(4, 6), (3, 4, 6))
    np.testing.assert_array_equal(frames_of(path).read(0), expected)
    window = Window(1, 1, 2, 3)
    np.testing.assert_array_equal(frames_of(path).window(0, window), expected[:, *window.slices])


def test_three_samples_a_pixel_are_not_read_as_4_2_2(tmp_path: Path) -> None:
    whole = np.zeros((4, 6, 3), np.uint8)
    path = write_native(
        tmp_path / "a", whole.tobytes(), whole, PhotometricInterpretation="YBR_FULL_422"
    )
    with pytest.raises(SourceError, match="three samples for each pixel"):
        frames_of(path).read(0)


@pytest.mark.parametrize("table", ["basic", "empty", "extended"])
@pytest.mark.parametrize("pieces", [1, 3])
@pytest.mark.parametrize("syntax", [JPEG_SV1, JPEG_LS, JPEG2000_LOSSLESS, RLE])
def test_compressed_frames_are_found_by_any_table(
    tmp_path: Path, syntax: str, pieces: int, table: Table
) -> None:
    values = stack(5)
    codes = [LOSSLESS[syntax](value) for value in values]
    path = write_frames(tmp_path / "a", codes, values[0], syntax, table=table, pieces=pieces)
    frames = frames_of(path)
    assert frames.check() == ()
    for index in (4, 0, 2):
        np.testing.assert_array_equal(frames.read(index)[0], values[index])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(frames)).read(3)[0], values[3])
    window = Window(3, 2, 5, 7)
    np.testing.assert_array_equal(frames.window(1, window)[0], values[1][window.slices])


@pytest.mark.parametrize("change", [8, -2])
def test_a_wrong_table_is_not_trusted(tmp_path: Path, change: int) -> None:
    values = stack(4)
    codes = [LOSSLESS[JPEG_SV1](value) for value in values]
    path = write_frames(tmp_path / "a", codes, values[0], JPEG_SV1)
    data = bytearray(path.read_bytes())
    at = find_pixels(path).offset + 8 + 2 * 4  # the third entry
    data[at : at + 4] = (int.from_bytes(data[at : at + 4], "little") + change).to_bytes(4, "little")
    path.write_bytes(data)
    frames = frames_of(path)
    for index in range(4):
        np.testing.assert_array_equal(frames.read(index)[0], values[index])


def test_frames_that_the_header_does_not_count_are_told(tmp_path: Path) -> None:
    values = stack(5)
    path = write_native(tmp_path / "a", values.tobytes(), values[0], NumberOfFrames=3)
    assert frames_of(path).check() == ("2 frames more than the header says, which are left out",)
    codes = [LOSSLESS[JPEG_LS](value) for value in values]
    tables: list[Table] = ["basic", "empty", "extended"]
    for table in tables:
        path = write_frames(
            tmp_path / "b", codes, values[0], JPEG_LS, table=table, NumberOfFrames=3
        )
        assert "2 frames more" in frames_of(path).check()[0]
        np.testing.assert_array_equal(frames_of(path).read(2)[0], values[2])


def test_frames_that_are_missing_are_an_error_before_any_is_decoded(tmp_path: Path) -> None:
    values = stack(3)
    path = write_native(tmp_path / "a", values.tobytes(), values[0], NumberOfFrames=4)
    with pytest.raises(SourceError, match="3496 bytes are needed for 4 frames"):
        frames_of(path).check()
    codes = [LOSSLESS[JPEG_LS](value) for value in values]
    path = write_frames(tmp_path / "b", codes, values[0], JPEG_LS, NumberOfFrames=4)
    with pytest.raises(SourceError, match="holds 3 of the 4 frames"):
        frames_of(path).check()
    with pytest.raises(SourceError, match="there is no frame 4"):
        frames_of(write_native(tmp_path / "c", values[0].tobytes(), values[0])).read(3)


def test_tiles_at_the_edge_of_a_slide_may_be_smaller(tmp_path: Path) -> None:
    values = stack(1, "uint8")[0]
    small = values[:, :9].copy()
    path = tmp_path / "a"
    codes = [LOSSLESS[JPEG_LS](value) for value in (values, small)]
    matrix = {"TotalPixelMatrixRows": 19, "TotalPixelMatrixColumns": 30}
    write_frames(path, codes, values, JPEG_LS, **matrix)
    tile = frames_of(path).read(1)[0]
    assert tile.shape == (19, 23)
    np.testing.assert_array_equal(tile[:, :9], small)
    write_frames(path, codes, values, JPEG_LS)
    with pytest.raises(SourceError, match=r"9 x 19 pixels .*\(frame 2 of 2\)"):
        frames_of(path).read(1)


def test_a_file_of_a_gigabyte_is_read_in_the_memory_of_one_frame(tmp_path: Path) -> None:
    pixels = np.zeros((SIZE, SIZE), np.uint16)
    path = write_native(tmp_path / "a", b"", pixels, NumberOfFrames=32)
    place = find_pixels(path)
    with path.open("r+b") as file:  # sparse: a gigabyte that takes no disk
        file.seek(place.offset - 4)
        file.write((32 * pixels.nbytes).to_bytes(4, "little"))
        file.truncate(place.offset + 32 * pixels.nbytes)
        file.seek(place.offset + 30 * pixels.nbytes)
        file.write(np.full((SIZE, SIZE), 7, np.uint16).tobytes())
    program = (
        "import resource, sys\n"
        "from pipeline.dicom.frames import Frames\n"
        "from pipeline.dicom.headers import read_header\n"
        "from pipeline.tiling import Window\n"
        "frames = Frames(sys.argv[1], read_header(sys.argv[1]))\n"
        "frames.check()\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "assert frames.window(30, Window(9, 9, 64, 64)).min() == 7\n"
        "strip = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "assert frames.read(29).max() == 0\n"
        "frame = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "print(strip - before, frame - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, path], check=True, capture_output=True, text=True
    )
    strip, frame = (int(number) / 1024 for number in done.stdout.split())
    assert strip < 8
    assert frame < 3.5 * pixels.nbytes / 2**20


def test_offsets_beyond_4_gib_are_followed(tmp_path: Path) -> None:
    values = stack(2)
    codes = [LOSSLESS[JPEG_LS](value) for value in values]
    path = write_frames(tmp_path / "a", codes, values[0], JPEG_LS, table="extended")
    data, place = path.read_bytes(), find_pixels(path)
    first = place.offset + 8
    size = len(codes[0]) + len(codes[0]) % 2
    second = first + 8 + size
    far = 2**32 + 2**20 - 8  # two items of frame 1 take that much
    table = np.array([0, 8 + far], "<u8").tobytes()
    at = data.index(b"\xe0\x7f\x01\x00OV") + 12
    with path.open("r+b") as file:  # sparse
        file.seek(at)
        file.write(table)
        file.seek(first + 4)
        file.write((2**32 - 16).to_bytes(4, "little"))
        file.seek(first + 8 + 2**32 - 16)
        file.write(b"\xfe\xff\x00\xe0" + (2**20).to_bytes(4, "little"))
        file.seek(first + 8 + far)
        file.write(data[second:])
    frames = frames_of(path)
    np.testing.assert_array_equal(frames.read(1)[0], values[1])
    with pytest.raises(SourceError, match="which is more than it would take"):
        frames.read(0)


def test_threads_share_the_frames_of_a_file(tmp_path: Path) -> None:
    values = stack(16)
    codes = [LOSSLESS[JPEG_LS](value) for value in values]
    frames = frames_of(write_frames(tmp_path / "a", codes, values[0], JPEG_LS, table="empty"))
    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(frames.read, [*range(16)] * 8))
    for index, frame in enumerate(read):
        np.testing.assert_array_equal(frame[0], values[index % 16])


def test_deflated_frames_are_inflated_one_at_a_time(tmp_path: Path) -> None:
    values = stack(6)
    path = write_native(tmp_path / "a", values.tobytes(), values[0], DEFLATED, NumberOfFrames=6)
    frames = frames_of(path)
    for index in (5, 0, 3):
        np.testing.assert_array_equal(frames.read(index)[0], values[index])


def test_decoding_keeps_no_file_open(tmp_path: Path) -> None:
    values = stack(2)
    frames = frames_of(write_native(tmp_path / "a", values.tobytes(), values[0], NumberOfFrames=2))
    opened = os.listdir("/proc/self/fd")
    kept = [frames.window(1, Window(0, 0, 1, 1)) for _ in range(20)]
    assert len(kept) == 20
    assert os.listdir("/proc/self/fd") == opened
