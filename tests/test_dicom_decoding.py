"""Decoding: each transfer syntax gives what went in, and other decoders agree."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path
from shutil import which

import imagecodecs
import numpy as np
import pytest
import zstandard
from dicom_codecs import (
    HTJ2K,
    JPEG,
    JPEG12,
    JPEG2000,
    JPEG2000_LOSSLESS,
    JPEG_LOSSLESS,
    JPEG_LS,
    JPEG_LS_NEAR,
    JPEG_SV1,
    LOSSLESS,
    RLE,
    encode_jpeg_lossless,
    encode_rle,
    write_frames,
    write_native,
)
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from pydicom import dcmread
from pydicom.pixels import pixel_array
from pydicom.pixels.processing import apply_color_lut, convert_color_space

from pipeline.dicom import plugin
from pipeline.dicom.decode import decode_frame
from pipeline.dicom.frames import Frames
from pipeline.dicom.headers import quiet, read_header
from pipeline.dicom.stored import describe
from pipeline.errors import SourceError
from pipeline.radiometry import Pixels

REFERENCES = ("CT1", "MR1", "NM1", "RG3", "US1", "VL1", "XA1")
LOSSY_ENDS = ("J2KI", "JLSN", "JPLY")


def frames_of(path: Path) -> Frames:
    """The frames of a file."""
    return Frames(path, read_header(path))


def pydicoms(path: Path) -> Pixels:
    """(frame, band, y, x) as pydicom's own decoders have it, palettes expanded to 8 bits."""
    pixels = pixel_array(path)
    header = dcmread(path)
    if header.PhotometricInterpretation == "PALETTE COLOR":
        pixels = apply_color_lut(pixels, header)
        pixels = (pixels >> 8 * (pixels.itemsize - 1)).astype(np.uint8)
    colour = pixels.ndim > 2 and pixels.shape[-1] == 3
    pixels = np.moveaxis(pixels, -1, -3) if colour else pixels[..., None, :, :]
    return pixels if pixels.ndim == 4 else pixels[None]


def texture(dtype: str, bits: int | None = None) -> Pixels:
    """(37, 51) smooth and noisy values over the range of `bits`."""
    bits = bits or 8 * np.dtype(dtype).itemsize
    rng = np.random.default_rng(bits)
    ramp = np.add.outer(np.arange(37.0), np.arange(51.0)) / 87 + rng.normal(0, 0.05, (37, 51))
    codes = np.clip(ramp * 2**bits, 0, 2**bits - 1).astype(np.int64)
    return (codes - 2 ** (bits - 1) * (np.dtype(dtype).kind == "i")).astype(dtype)


@pytest.fixture(scope="module")
def references(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The uncompressed references, unpacked."""
    found, folder = {}, tmp_path_factory.mktemp("references")
    for name in REFERENCES:
        packed = (shared / f"data/dicom/syntaxes/{name}_UNC.zst").read_bytes()
        found[name] = folder / name
        data = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(packed)).read()
        found[name].write_bytes(data)
    return found


def test_each_syntax_gives_its_uncompressed_reference(
    shared: Path, references: dict[str, Path]
) -> None:
    seen = set()
    for path in sorted((shared / "data/dicom/syntaxes").glob("*_*[A-Z]")):
        name, _, kind = path.name.partition("_")
        reference, frames = frames_of(references[name]).read(0), frames_of(path)
        pixels = frames.read(0)
        assert frames.stored.lossy is (kind in LOSSY_ENDS)
        if kind in LOSSY_ENDS:
            difference = np.abs(pixels.astype(float) - reference)
            assert difference.mean() < 0.02 * np.ptp(reference), path.name
            assert kind != "JLSN" or difference.max() <= 4, path.name
        else:
            assert pixels.dtype == reference.dtype
            np.testing.assert_array_equal(pixels, reference, err_msg=path.name)
        low, high = frames.stored.limits or (0, 0)
        assert low <= pixels.min() <= pixels.max() <= high
        seen.add(frames.stored.syntax)
    assert len(seen) == 7


def test_what_lossy_compression_overshoots_is_clamped_and_does_not_wrap(shared: Path) -> None:
    path = shared / "data/dicom/syntaxes/RG3_JPLY"
    frames = frames_of(path)
    raw = imagecodecs.jpeg8_decode(frames._codestream(0))
    assert raw.max() == 1024
    np.testing.assert_array_equal(frames.read(0)[0], np.minimum(raw, 1023))


def decoded(path: Path) -> Pixels | SourceError:
    """(frame, band, y, x), or why not."""
    try:
        frames = frames_of(path)
        assert not frames.check()
        pixels = np.stack([frames.read(index) for index in range(frames.stored.frames)])
    except SourceError as error:
        return error
    assert pixels.dtype == frames.stored.dtype
    assert pixels.shape[1:] == (frames.stored.bands, frames.stored.rows, frames.stored.columns)
    return pixels


def test_every_file_of_pydicom_is_decoded_as_by_pydicom_or_refused_in_one_line(
    shared: Path,
) -> None:
    equal = 0
    for path in filter(Path.is_file, sorted((shared / "data/dicom/pydicom").rglob("*"))):
        pixels = decoded(path)
        if isinstance(pixels, SourceError):
            assert "\n" not in str(pixels)
            continue
        with quiet():
            try:
                expected = pydicoms(path)
            except (RuntimeError, ValueError, AttributeError):  # pydicom cannot
                continue
        np.testing.assert_array_equal(pixels, expected, err_msg=path.name)
        equal += 1
    assert equal >= 76


@pytest.mark.skipif(which("dcmcjpeg") is None, reason="needs dcmcjpeg of DCMTK")
@pytest.mark.parametrize("name", ["rgb_color", "palette", "overlay"])
def test_jpeg_of_all_kinds_is_what_dcmtk_reads(shared: Path, tmp_path: Path, name: str) -> None:
    source = shared / f"data/dicom/pydicom/test_files/examples_{name}.dcm"
    kinds = {"+e1": True, "+el +sv 6": True, "+e1 +pl": False, "+el +tl +pt 2": False}
    kinds |= dict.fromkeys(("+eb", "+eb +cr", "+ee", "+es", "+ep"), False)
    packed, unpacked = tmp_path / "packed", tmp_path / "unpacked"
    for kind, same in kinds.items():
        command = ["dcmcjpeg", *kind.split(), source, packed]
        subprocess.run(command, check=True, capture_output=True)
        subprocess.run(["dcmdjpeg", packed, unpacked], check=True, capture_output=True)
        pixels = decoded(packed)
        np.testing.assert_array_equal(pixels, decoded(unpacked), err_msg=kind)
        if same:
            np.testing.assert_array_equal(pixels, decoded(source), err_msg=kind)


@pytest.mark.skipif(which("dcmcjpls") is None, reason="needs dcmcjpls of DCMTK")
@pytest.mark.parametrize("name", ["rgb_color", "palette", "overlay"])
def test_jpeg_ls_of_all_kinds_is_what_went_in(shared: Path, tmp_path: Path, name: str) -> None:
    source = shared / f"data/dicom/pydicom/test_files/examples_{name}.dcm"
    packed = tmp_path / "packed"
    for kind in ("+el", "+el +il", "+el +in", "+el +is", "+el +pc"):
        command = ["dcmcjpls", *kind.split(), source, packed]
        subprocess.run(command, check=True, capture_output=True)
        np.testing.assert_array_equal(decoded(packed), decoded(source), err_msg=kind)


def test_mammograms_are_what_two_other_decoders_read(shared: Path, tmp_path: Path) -> None:
    frames = frames_of(shared / "data/dicom/mammography/GH133.dcm")
    pixels = frames.read(0)[0]
    codes = imagecodecs.ljpeg_decode(frames._codestream(0))
    np.testing.assert_array_equal(pixels, codes & 4095)
    np.testing.assert_array_equal(codes, imagecodecs.jpegsof3_decode(frames._codestream(0)))
    assert frames.stored.padding == (0, 30)
    path = shared / "data/dicom/mammography/MG1_JPLY"
    pixels = frames_of(path).read(0)
    assert pixels.shape == (1, 4664, 3064)
    if which("dcmdjpeg") is None:
        pytest.skip("needs dcmdjpeg of DCMTK")
    subprocess.run(["dcmdjpeg", path, tmp_path / "a.dcm"], check=True, capture_output=True)
    difference = np.abs(frames_of(tmp_path / "a.dcm").read(0).astype(int) - pixels)
    assert difference.max() <= 1  # another rounding of the cosine transform


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16"])
@pytest.mark.parametrize("syntax", LOSSLESS)
def test_lossless_syntaxes_give_back_what_went_in(tmp_path: Path, syntax: str, dtype: str) -> None:
    pixels = texture(dtype)
    frame = LOSSLESS[syntax](pixels)
    frames = frames_of(write_frames(tmp_path / "a.dcm", [frame], pixels, syntax))
    read = frames.read(0)
    assert read.dtype == pixels.dtype
    assert read.flags.writeable
    assert not frames.stored.lossy
    np.testing.assert_array_equal(read[0], pixels)


@given(
    pixels=arrays.arrays(
        np.uint16, st.tuples(st.integers(1, 20), st.integers(1, 20)), elements=st.integers(0, 300)
    )
)
def test_any_picture_survives_rle(tmp_path_factory: pytest.TempPathFactory, pixels: Pixels) -> None:
    path = tmp_path_factory.mktemp("rle") / "a.dcm"
    frames = frames_of(write_frames(path, [encode_rle(pixels)], pixels, RLE))
    np.testing.assert_array_equal(frames.read(0)[0], pixels)


@pytest.mark.parametrize("predictor", range(1, 8))
def test_jpeg_lossless_of_all_predictors_and_depths(tmp_path: Path, predictor: int) -> None:
    for bits in (8, 10, 12, 16):
        pixels = texture("uint8" if bits == 8 else "uint16", bits)
        frame = imagecodecs.jpeg8_encode(
            pixels, lossless=True, predictor=predictor, bitspersample=bits
        )
        path = write_frames(
            tmp_path / "a.dcm", [frame], pixels, JPEG_LOSSLESS, BitsStored=bits, HighBit=bits - 1
        )
        np.testing.assert_array_equal(frames_of(path).read(0)[0], pixels)


@pytest.mark.parametrize("syntax", [HTJ2K, JPEG2000, JPEG12, JPEG_LS_NEAR])
def test_lossy_syntaxes_come_close_and_stay_within_12_bits(tmp_path: Path, syntax: str) -> None:
    pixels = texture("uint16", 12)
    frame = {
        HTJ2K: lambda: imagecodecs.htj2k_encode(pixels, level=0.001, reversible=False),
        JPEG2000: lambda: imagecodecs.jpeg2k_encode(
            pixels, level=60, codecformat="j2k", bitspersample=12, reversible=False
        ),
        JPEG12: lambda: imagecodecs.jpeg8_encode(pixels, level=95, bitspersample=12),
        JPEG_LS_NEAR: lambda: imagecodecs.jpegls_encode(pixels, level=3),
    }[syntax]()
    path = write_frames(tmp_path / "a.dcm", [frame], pixels, syntax, BitsStored=12, HighBit=11)
    frames = frames_of(path)
    read = frames.read(0)[0]
    assert read.max() <= 4095
    assert np.abs(read.astype(int) - pixels).mean() < 60
    assert frames.stored.lossy is (syntax in (JPEG12, JPEG_LS_NEAR))


@pytest.mark.parametrize("syntax", [JPEG_SV1, JPEG_LS, JPEG2000_LOSSLESS])
def test_signed_values_in_unsigned_codestreams_get_their_sign_back(
    tmp_path: Path, syntax: str
) -> None:
    pixels = texture("int16", 12)
    codes = (pixels & 4095).astype(np.uint16)
    frame = {
        JPEG_SV1: lambda: imagecodecs.jpeg8_encode(codes, lossless=True, bitspersample=12),
        JPEG_LS: lambda: imagecodecs.jpegls_encode(codes),
        JPEG2000_LOSSLESS: lambda: imagecodecs.jpeg2k_encode(
            codes, codecformat="j2k", level=0, bitspersample=12
        ),
    }[syntax]()
    path = write_frames(tmp_path / "a.dcm", [frame], pixels, syntax, BitsStored=12, HighBit=11)
    np.testing.assert_array_equal(frames_of(path).read(0)[0], pixels)


def test_unsigned_values_in_a_signed_codestream_lose_their_sign(tmp_path: Path) -> None:
    pixels = texture("uint16", 16)
    frame = imagecodecs.jpeg2k_encode(pixels.view("int16"), codecformat="j2k", level=0)
    path = write_frames(tmp_path / "a.dcm", [frame], pixels, JPEG2000_LOSSLESS)
    np.testing.assert_array_equal(frames_of(path).read(0)[0], pixels)


@pytest.mark.parametrize("bare", [True, False])
@pytest.mark.parametrize("options", [{}, {"tile_size": (32, 16)}, {"progression": "RPCL"}])
def test_jpeg_2000_in_tiles_and_in_boxes(
    tmp_path: Path, options: dict[str, object], bare: bool
) -> None:
    rgb, file = coloured(), io.BytesIO()
    Image.fromarray(rgb).save(file, "JPEG2000", irreversible=False, no_jp2=bare, **options)
    attributes = {"PhotometricInterpretation": "YBR_RCT"}
    path = tmp_path / "a.dcm"
    write_frames(path, [file.getvalue()], rgb, JPEG2000_LOSSLESS, **attributes)
    np.testing.assert_array_equal(frames_of(path).read(0), np.moveaxis(rgb, 2, 0))
    half = file.getvalue()[: len(file.getvalue()) // 2] + b"\xff\xd9"
    write_frames(path, [half], rgb, JPEG2000_LOSSLESS, **attributes)
    with pytest.raises(SourceError, match=r"cut off|damaged|lacks"):
        frames_of(path).read(0)


def jpeg_of(rgb: Pixels, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "JPEG", quality=95, **options)
    return file.getvalue()


def coloured() -> Pixels:
    """(40, 56, 3) uint8."""
    y, x = np.mgrid[:40, :56]
    return np.stack([4 * x, 5 * y, 255 - 2 * (x + y)], axis=2).astype(np.uint8)


@pytest.mark.parametrize("options", [{"progressive": True}, {"restart_marker_rows": 1}, {}])
@pytest.mark.parametrize("said", ["YBR_FULL_422", "RGB"])
def test_colour_is_what_the_codestream_says_where_the_header_errs(
    tmp_path: Path, said: str, options: dict[str, object]
) -> None:
    rgb = coloured()
    path = write_frames(
        tmp_path / "a.dcm", [jpeg_of(rgb, **options)], rgb, JPEG, PhotometricInterpretation=said
    )
    frames = frames_of(path)
    assert frames.stored.photometric_read == "RGB"
    assert np.abs(frames.read(0).astype(int) - np.moveaxis(rgb, 2, 0)).mean() < 3


def nameless(frame: bytes) -> bytes:
    """A JPEG frame whose components are no longer called R, G and B."""
    for name in (b"R\x11", b"G\x11", b"B\x11", b"R\x00", b"G\x00", b"B\x00"):
        assert name in frame
        frame = frame.replace(name, bytes([b"RGB".index(name[0]) + 1, name[1]]), 1)
    return frame.replace(b"Adobe", b"Nobel")


@pytest.mark.parametrize("syntax", [RLE, JPEG_SV1, JPEG_LS])
def test_luma_and_chroma_become_rgb(tmp_path: Path, syntax: str) -> None:
    ybr = convert_color_space(coloured(), "RGB", "YBR_FULL")
    expected = np.moveaxis(convert_color_space(ybr, "YBR_FULL", "RGB"), 2, 0)
    frame = {
        RLE: lambda: encode_rle(ybr),
        JPEG_SV1: lambda: nameless(encode_jpeg_lossless(ybr, 1)),
        JPEG_LS: lambda: imagecodecs.jpegls_encode(ybr),
    }[syntax]()
    path = write_frames(
        tmp_path / "a.dcm", [frame], ybr, syntax, PhotometricInterpretation="YBR_FULL"
    )
    np.testing.assert_array_equal(frames_of(path).read(0), expected)


def test_palettes_become_rgb_as_in_pydicom(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    indices = rng.integers(0, 256, (20, 30)).astype(np.uint8)
    for depth, first in ((8, 0), (16, 0), (16, 40), (8, 200)):
        entries = 200 if first < 200 else 56
        tables = {
            f"{name}PaletteColorLookupTableData": rng.integers(0, 256, entries * depth // 8)
            .astype(np.uint8)
            .tobytes()
            for name in ("Red", "Green", "Blue")
        }
        described = {
            f"{name}PaletteColorLookupTableDescriptor": [entries, first, depth]
            for name in ("Red", "Green", "Blue")
        }
        path = write_native(
            tmp_path / "a.dcm",
            indices.tobytes(),
            indices,
            PhotometricInterpretation="PALETTE COLOR",
            **described,
            **tables,
        )
        frames = frames_of(path)
        expected = apply_color_lut(indices, dcmread(path))
        assert (frames.stored.bands, frames.stored.dtype) == (3, "uint8")
        assert (frames.stored.limits, frames.stored.bits) == ((0, 255), 8)
        expected = (expected >> (depth - 8)).astype(np.uint8)
        np.testing.assert_array_equal(frames.read(0), np.moveaxis(expected, 2, 0))


@pytest.mark.parametrize("factor", [1, 256, 257])
def test_however_8_bits_were_made_16_a_palette_gives_them_back(tmp_path: Path, factor: int) -> None:
    indices = np.arange(256, dtype=np.uint8).reshape(16, 16)
    table = (np.arange(256) * factor).astype("<u2").tobytes()
    attributes = {
        f"{name}PaletteColorLookupTable{part}": value
        for name in ("Red", "Green", "Blue")
        for part, value in (("Descriptor", [256, 0, 16]), ("Data", table))
    }
    path = write_native(
        tmp_path / "a.dcm",
        indices.tobytes(),
        indices,
        PhotometricInterpretation="PALETTE COLOR",
        **attributes,
    )
    np.testing.assert_array_equal(frames_of(path).read(0), np.stack([indices] * 3))


def test_segmented_palettes_become_rgb_as_in_pydicom(tmp_path: Path) -> None:
    indices = np.arange(256, dtype=np.uint8).reshape(16, 16)
    # two plain values, a ramp of 100 to 200, one of 154 back to 7
    table = np.array([0, 2, 5, 9, 1, 100, 200, 1, 154, 7, 0, 0], np.uint8).tobytes()
    attributes = {
        f"{prefix}{name}PaletteColorLookupTable{suffix}": value
        for name in ("Red", "Green", "Blue")
        for prefix, suffix, value in (("", "Descriptor", [256, 0, 8]), ("Segmented", "Data", table))
    }
    path = write_native(
        tmp_path / "a.dcm",
        indices.tobytes(),
        indices,
        PhotometricInterpretation="PALETTE COLOR",
        **attributes,
    )
    expected = apply_color_lut(indices, dcmread(path))
    np.testing.assert_array_equal(frames_of(path).read(0), np.moveaxis(expected, 2, 0))


def test_pydicom_decodes_with_our_plugin(shared: Path) -> None:
    plugin.register()
    plugin.register()
    folder = shared / "data/dicom"
    names = [f"CT1_{kind}" for kind in ("JPLL", "JLSL", "RLE", "J2KR")]
    names += ["US1_J2KR", "VL1_RLE", "RG3_JPLY"]
    for name in names:
        path = folder / "syntaxes" / name
        pixels = pixel_array(path, decoding_plugin=plugin.LABEL)
        ours = frames_of(path).read(0)
        np.testing.assert_array_equal(
            pixels if pixels.ndim == 3 else pixels[..., None], np.moveaxis(ours, 0, 2)
        )


def test_one_frame_can_be_decoded_without_a_file(shared: Path) -> None:
    path = shared / "data/dicom/syntaxes/CT1_RLE"
    frames = frames_of(path)
    data = frames._codestream(0)
    np.testing.assert_array_equal(decode_frame(data, describe(read_header(path))), frames.read(0))
