"""DICOM files as written: frames of every syntax come back, offsets are right, nothing is half."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset, dcmread
from pydicom.encaps import generate_frames, parse_basic_offsets
from pydicom.pixels import pixel_array

from pipeline.dicom import write
from pipeline.dicom.encode import (
    UIDS,
    Syntax,
    check_syntax,
    encode_frame,
    photometric,
)
from pipeline.dicom.headers import quiet
from pipeline.dicom.stored import Stored
from pipeline.dicom.write import IMPLEMENTATION_UID, write_instance
from pipeline.errors import PlanError
from pipeline.radiometry import Pixels

SYNTAXES: tuple[Syntax, ...] = get_args(Syntax)
LOSSLESS = [syntax for syntax in SYNTAXES if syntax != "jpeg"]


def describe(dtype: str, bits: int, bands: int = 1, *, palette: bool = False) -> Stored:
    """What is stored, of 3 frames of 21 x 34 pixels."""
    signed = dtype.startswith("i")
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1)) if signed else (0, 2**bits)
    whole = 8 * np.dtype(dtype).itemsize
    read = "RGB" if bands == 3 else "MONOCHROME2"
    return Stored(
        dtype=dtype,
        bits_allocated=whole,
        bits_stored=bits,
        high_bit=bits - 1,
        signed=signed,
        rows=21,
        columns=34,
        frames=3,
        samples=1 if palette else bands,
        bands=bands,
        photometric="PALETTE COLOR" if palette else read,
        photometric_read=read,
        planar=0,
        syntax=UIDS["uncompressed"],
        syntax_name="",
        lossy=False,
        padding=None,
        least=(21, 34),
        limits=None if dtype.startswith("f") else (low, high - 1),
    )


def frames_of(stored: Stored, *, seed: int = 0) -> list[Pixels]:
    """Noise over the whole range, a flat frame with an island, a slope."""
    assert stored.limits is not None
    low, high = stored.limits
    shape = (stored.bands, stored.rows, stored.columns)
    noise = np.random.default_rng(seed).integers(low, high, shape, endpoint=True)
    island = np.full(shape, high)
    island[:, 3:9, 4:30] = low
    slope = np.linspace(low, high, noise.size).reshape(shape)
    return [frame.astype(stored.dtype) for frame in (noise, island, slope)]


def dataset_of(stored: Stored, syntax: Syntax) -> Dataset:
    """A header that goes with it."""
    found = Dataset()
    found.SOPClassUID, found.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3.4"
    found.SamplesPerPixel, found.PhotometricInterpretation = (
        stored.bands,
        photometric(syntax, stored),
    )
    if stored.bands > 1:
        found.PlanarConfiguration = 0
    found.NumberOfFrames = stored.frames
    found.Rows, found.Columns = stored.rows, stored.columns
    found.BitsAllocated, found.BitsStored = stored.bits_allocated, stored.bits_stored
    found.HighBit, found.PixelRepresentation = stored.bits_stored - 1, int(stored.signed)
    return found


def save(path: Path, stored: Stored, syntax: Syntax, frames: list[Pixels]) -> Path:
    encoded = (encode_frame(frame, syntax, stored) for frame in frames)
    write_instance(path, dataset_of(stored, syntax), encoded, syntax=syntax, number=len(frames))
    return path


def together(frames: list[Pixels]) -> Pixels:
    """As pydicom returns several frames."""
    stacked = np.stack(frames)
    return stacked[:, 0] if stacked.shape[1] == 1 else np.moveaxis(stacked, 1, -1)


KINDS = [
    *(("uint8", 8, 1), ("uint8", 8, 3), ("uint8", 7, 1), ("int8", 8, 1), ("uint16", 12, 1)),
    *(("int16", 12, 1), ("uint16", 10, 1), ("uint16", 16, 1), ("int16", 16, 1), ("int16", 13, 1)),
]


@pytest.mark.parametrize("syntax", ["uncompressed", "rle", "jpeg2000"])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_pydicom_reads_back_every_value(
    tmp_path: Path, syntax: Syntax, kind: tuple[str, int, int]
) -> None:
    stored = describe(*kind)
    frames = frames_of(stored)
    path = save(tmp_path / "a.dcm", stored, syntax, frames)
    np.testing.assert_array_equal(pixel_array(path), together(frames))


@pytest.mark.parametrize("decode", [imagecodecs.htj2k_decode, imagecodecs.jpeg2k_decode])
@pytest.mark.parametrize("kind", [*KINDS, ("uint16", 16, 3)], ids=str)
def test_two_decoders_agree_on_htj2k_of_any_depth(
    kind: tuple[str, int, int], decode: object
) -> None:
    stored = describe(*kind)
    for frame in frames_of(stored):
        data = encode_frame(frame, "htj2k", stored)
        found = decode(data)  # type: ignore[operator]
        np.testing.assert_array_equal(np.moveaxis(np.atleast_3d(found), -1, 0), frame)
        (depth,) = struct.unpack_from("B", data, data.index(b"\xff\x51") + 40)
        assert depth == stored.bits_stored - 1 | stored.signed << 7, "as BitsStored and sign say"


def test_jpeg_is_close_and_says_how_its_colours_are(tmp_path: Path) -> None:
    stored = describe("uint8", 8, 3)
    slope = frames_of(stored)[2]
    path = save(tmp_path / "a.dcm", stored, "jpeg", [slope] * 3)
    assert dcmread(path).PhotometricInterpretation == "YBR_FULL_422"
    found = pixel_array(path, index=0)
    assert np.abs(found.astype(int) - np.moveaxis(slope, 0, -1)).max() < 12


@given(
    st.integers(1, 9), st.integers(1, 300), st.integers(0, 5), st.sampled_from(["uint8", "int16"])
)
def test_run_lengths_of_any_image_come_back(rows: int, columns: int, seed: int, dtype: str) -> None:
    few = np.random.default_rng(seed).integers(0, 3, (1, rows, columns)).cumsum(axis=2) // 7
    pixels = few.astype(dtype)
    data = encode_frame(pixels, "rle", describe(dtype, 8 * pixels.dtype.itemsize))
    assert not len(data) % 2
    found = imagecodecs.dicomrle_decode(data, dtype=pixels.dtype.newbyteorder("<"))
    plain = np.frombuffer(found, pixels.dtype.newbyteorder("<")).reshape(rows, columns)
    np.testing.assert_array_equal(plain, pixels[0])


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_the_file_says_who_wrote_it_and_nothing_of_the_source(
    tmp_path: Path, syntax: Syntax
) -> None:
    stored = describe("uint8", 8, 3)
    dataset = dataset_of(stored, syntax)
    dataset.preamble = b"MZ" * 64
    encoded = [encode_frame(frame, syntax, stored) for frame in frames_of(stored)]
    write_instance(tmp_path / "a.dcm", dataset, encoded, syntax=syntax, number=3)
    data = (tmp_path / "a.dcm").read_bytes()
    assert data[:132] == bytes(128) + b"DICM"
    meta = dcmread(tmp_path / "a.dcm").file_meta
    assert meta.ImplementationClassUID == IMPLEMENTATION_UID
    assert meta.TransferSyntaxUID == UIDS[syntax]
    assert meta.MediaStorageSOPInstanceUID == "1.2.3.4"
    assert "SourceApplicationEntityTitle" not in meta


@pytest.mark.parametrize("syntax", ["rle", "jpeg2000", "htj2k", "jpeg"])
def test_the_basic_table_tells_where_each_frame_is(tmp_path: Path, syntax: Syntax) -> None:
    stored = describe("uint8", 8)
    frames = frames_of(stored)
    path = save(tmp_path / "a.dcm", stored, syntax, frames)
    data = dcmread(path).PixelData
    offsets = parse_basic_offsets(data)
    encoded = [encode_frame(frame, syntax, stored) for frame in frames]
    assert all(not len(one) % 2 for one in encoded)
    sizes = [0, *(8 + len(one) for one in encoded)]
    assert offsets == np.cumsum(sizes)[:-1].tolist()
    assert list(generate_frames(data, number_of_frames=3)) == encoded


def test_beyond_4_gib_the_extended_table_takes_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "BASIC_LIMIT", 100)
    monkeypatch.setattr(write, "CHUNK", 64)  # so that much must be moved
    stored = describe("uint16", 12)
    frames = frames_of(stored)
    path = save(tmp_path / "a.dcm", stored, "jpeg2000", frames)
    found = dcmread(path)
    encoded = [encode_frame(frame, "jpeg2000", stored) for frame in frames]
    lengths = struct.unpack("<3Q", found.ExtendedOffsetTableLengths)
    offsets = struct.unpack("<3Q", found.ExtendedOffsetTable)
    assert lengths == tuple(map(len, encoded))
    assert offsets == (0, 8 + lengths[0], 16 + lengths[0] + lengths[1])
    assert parse_basic_offsets(found.PixelData) == []
    np.testing.assert_array_equal(pixel_array(path), together(frames))


@pytest.mark.parametrize("syntax", ["uncompressed", "rle"])
def test_an_odd_number_of_bytes_is_padded(tmp_path: Path, syntax: Syntax) -> None:
    stored = describe("uint8", 8)
    frame = np.full((1, 3, 3), 7, np.uint8)
    dataset = dataset_of(stored, syntax)
    dataset.Rows = dataset.Columns = 3
    encoded = [encode_frame(frame, syntax, stored)] * 3
    write_instance(tmp_path / "a.dcm", dataset, encoded, syntax=syntax, number=3)
    assert not (tmp_path / "a.dcm").stat().st_size % 2
    assert (pixel_array(tmp_path / "a.dcm") == 7).all()


@pytest.mark.parametrize(
    ("dtype", "element"), [("float32", "FloatPixelData"), ("float64", "DoubleFloatPixelData")]
)
def test_floats_stay_floats(tmp_path: Path, dtype: str, element: str) -> None:
    stored = describe(dtype, 8 * np.dtype(dtype).itemsize)
    frames = [np.random.default_rng(0).normal(size=(1, 21, 34)).astype(dtype) for _ in range(3)]
    dataset = dataset_of(stored, "uncompressed")
    for name in ("BitsStored", "HighBit", "PixelRepresentation"):
        delattr(dataset, name)
    encoded = [encode_frame(frame, "uncompressed", stored) for frame in frames]
    path = tmp_path / "a.dcm"
    write_instance(path, dataset, encoded, syntax="uncompressed", number=3, element=element)
    np.testing.assert_array_equal(pixel_array(path), together(frames))
    with pytest.raises(PlanError, match="uncompressed only"):
        check_syntax("rle", stored)


@pytest.mark.parametrize(
    ("syntax", "stored", "reason"),
    [
        ("jpeg", describe("uint16", 12), "8 bits"),
        ("jpeg", describe("int8", 8), "unsigned"),
        ("jpeg2000", describe("uint32", 32), "at most 16 bits"),
        ("htj2k", describe("int32", 24), "at most 16 bits"),
    ],
)
def test_what_a_syntax_cannot_hold_is_refused(syntax: Syntax, stored: Stored, reason: str) -> None:
    with pytest.raises(PlanError, match=reason):
        check_syntax(syntax, stored)


def test_frames_are_written_as_they_come(tmp_path: Path) -> None:
    stored, seen = describe("uint8", 8), []

    def frames() -> Iterator[bytes]:
        for number in range(3):
            files = list(tmp_path.iterdir())
            seen.append((number, [file.name for file in files if not file.name.startswith(".")]))
            yield encode_frame(frames_of(stored)[0], "rle", stored)

    dataset = dataset_of(stored, "rle")
    write_instance(tmp_path / "a.dcm", dataset, frames(), syntax="rle", number=3)
    assert seen == [(0, []), (1, []), (2, [])], "nothing has the name before it is whole"


@pytest.mark.parametrize("syntax", ["uncompressed", "rle"])
@pytest.mark.parametrize("number", [2, 4])
def test_a_wrong_number_of_frames_leaves_nothing(
    tmp_path: Path, syntax: Syntax, number: int
) -> None:
    stored = describe("uint8", 8)
    encoded = [encode_frame(frame, syntax, stored) for frame in frames_of(stored)]
    with pytest.raises(ValueError, match="3 frames"):
        write_instance(
            tmp_path / "a.dcm", dataset_of(stored, syntax), encoded, syntax=syntax, number=number
        )
    assert not list(tmp_path.iterdir())


def test_a_frame_of_another_size_leaves_nothing(tmp_path: Path) -> None:
    stored = describe("uint8", 8)
    dataset = dataset_of(stored, "uncompressed")
    with pytest.raises(ValueError, match="714"):
        write_instance(tmp_path / "a.dcm", dataset, [b"12"] * 3, syntax="uncompressed", number=3)
    assert not list(tmp_path.iterdir())


def test_native_pixels_of_4_gib_are_refused_with_the_way_out(tmp_path: Path) -> None:
    dataset = dataset_of(describe("uint16", 12), "uncompressed")
    dataset.Rows = dataset.Columns = 65535
    with pytest.raises(PlanError, match="--syntax jpeg2000"):
        write_instance(tmp_path / "a.dcm", dataset, [], syntax="uncompressed", number=1)


def test_an_attribute_that_cannot_be_written_is_not_quoted(tmp_path: Path) -> None:
    dataset = dataset_of(describe("uint8", 8), "rle")
    with quiet():
        dataset.add_new(0x00281050, "US", "Secret^Name")
    with pytest.raises(PlanError, match="cannot be written") as caught:
        write_instance(tmp_path / "a.dcm", dataset, [], syntax="rle", number=0)
    assert "Secret" not in str(caught.value)
    assert caught.value.__suppress_context__
