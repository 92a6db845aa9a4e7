"""DICOM as a source: stacks of frames as stored, lazily; who is shown stays unsaid."""

from __future__ import annotations

import pickle
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from contracts import SourceContract
from dicom_files import write_dicom, write_series
from fakes import texture
from pydicom import dcmread
from runs import Ran

from pipeline.dicom.privacy import called
from pipeline.dicom.series import find_series
from pipeline.dicom.uids import opaque
from pipeline.errors import ChangedError, SourceError
from pipeline.options import SourceOptions
from pipeline.radiometry import Pixels, validity
from pipeline.sources import Address, dicom, open_source
from pipeline.tiling import Window

SIZED = {"PixelSpacing": [0.5, 0.25]}
WHOLE = Window(0, 0, 70, 90)
CT_WHOLE = Window(0, 0, 512, 512)


def pixels(dtype: str = "int16", seed: int = 0) -> Pixels:
    """(y, x)."""
    return texture((1, 70, 90), dtype, seed=seed)[0]


def write_colours(path: Path, colours: Pixels, **attributes: Any) -> Path:
    """(band, y, x) as an RGB image."""
    together = np.moveaxis(colours, 0, -1)
    rgb = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
    shape = dict(zip(("Rows", "Columns"), colours.shape[1:], strict=True))
    return write_dicom(path, together, NumberOfFrames=1, **shape, **rgb, **SIZED, **attributes)


class TestContract(SourceContract):
    """Colours in one file."""

    pixels = texture((3, 70, 90), "uint8")

    def make(self, folder: Path) -> Path:
        return write_colours(folder / "I10", self.pixels)


@pytest.mark.parametrize("rle", [False, True])
def test_frames_of_a_file_are_frames_of_the_source(tmp_path: Path, rle: bool) -> None:
    frames = np.stack([pixels(seed=seed) for seed in range(5)])
    source = open_source(str(write_dicom(tmp_path / "a", frames, rle=rle, **SIZED)))
    assert source.profile.frames == 5
    assert source.profile.shape == (1, 70, 90)
    for frame in (3, 0, 4, 4):
        np.testing.assert_array_equal(source.read(WHOLE, frame)[0], frames[frame])
        window = Window(60, 7, 9, 80)
        np.testing.assert_array_equal(
            source.read(window, frame)[0], frames[(frame, *window.slices)]
        )
    assert source.profile.block == ((70, 90) if rle else (1, 90))


def test_slices_of_a_series_are_frames_in_the_order_of_the_body(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "ct", 9)
    source = open_source(str(tmp_path / "ct"))
    assert source.profile.frames == 9
    assert source.profile.files == tuple(map(str, paths))
    for frame, path in enumerate(paths):
        expected = dcmread(path).pixel_array
        np.testing.assert_array_equal(source.read(Window(0, 0, 64, 64), frame)[0], expected)
    tags = source.profile.tags["DICOM"]
    assert tags["kind"] == "classic"
    assert tags["SpacingBetweenSlices"] == "2"
    assert tags["ImagePositionPatient"] == "-30.0\\-30.0\\0.0"


def test_an_address_of_a_series_is_small_and_opens_in_other_processes(tmp_path: Path) -> None:
    write_series(tmp_path / "ct", 3)
    write_series(tmp_path / "ct", 4, name="II")
    with pytest.raises(SourceError, match="holds 2 series") as caught:
        open_source(str(tmp_path / "ct"))
    assert str(tmp_path) not in str(caught.value)
    name = str(caught.value).split("They are: ")[1][:12]
    address = Address(f"{tmp_path / 'ct'}#{name}", SourceOptions())
    profile = open_source(address.uri).profile
    assert profile.frames in (3, 4)
    assert profile.uri == address.uri
    opened = pickle.loads(pickle.dumps(address)).open(profile.identity)
    np.testing.assert_array_equal(
        opened.read(Window(0, 0, 64, 64), 2),
        open_source(address.uri).read(Window(0, 0, 64, 64), 2),
    )


def test_the_identity_is_that_of_all_files(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "ct", 3)
    address = Address(str(tmp_path / "ct"), SourceOptions())
    before = open_source(address.uri).profile.identity
    paths[1].write_bytes(paths[1].read_bytes()[:-2] + b"\1\1")
    assert open_source(address.uri).profile.identity != before
    with pytest.raises(SourceError, match="changed"):
        address.open(before)


def test_a_file_that_vanishes_or_changes_in_between_is_told_without_its_name(
    tmp_path: Path,
) -> None:
    paths = write_series(tmp_path / "Doe^Jane", 3)
    source = open_source(str(tmp_path / "Doe^Jane"))
    window = Window(0, 0, 64, 64)
    paths[1].unlink()
    with pytest.raises(SourceError) as caught:
        source.read(window, 1)
    assert "Doe" not in str(caught.value)
    assert "No such file" in str(caught.value)
    write_dicom(paths[2], np.zeros((64, 32), "int16"))
    with pytest.raises(ChangedError, match="changed while it was being read") as caught:
        source.read(window, 2)
    assert "Doe" not in str(caught.value)
    source.read(window, 0)


def test_one_padding_value_is_nodata(tmp_path: Path) -> None:
    padded = pixels()
    padded[:9] = -2000
    path = write_dicom(tmp_path / "a", padded, PixelPaddingValue=-2000, **SIZED)
    source = open_source(str(path))
    assert source.profile.nodata == -2000
    assert not source.profile.mask
    assert source.mask(WHOLE) is None


def test_a_range_of_padding_is_a_mask(tmp_path: Path) -> None:
    padded = abs(pixels("int16")) + 31
    padded[:9] = np.arange(90) % 31
    limits = {"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 30}
    source = open_source(str(write_dicom(tmp_path / "a", padded, **limits, **SIZED)))
    assert source.profile.nodata is None
    assert source.profile.mask
    mask = source.mask(WHOLE)
    assert mask is not None
    assert not mask[:9].any()
    assert mask[9:].all()
    np.testing.assert_array_equal(source.mask(Window(8, 3, 2, 2)), mask[8:10, 3:5])
    valid = validity(source.profile, source.read(WHOLE), mask)
    assert valid is not None
    np.testing.assert_array_equal(valid[0], mask)


def test_a_range_of_padding_is_known_to_the_engine(tmp_path: Path) -> None:
    ranged = {"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 30, **SIZED}
    profile = open_source(str(write_dicom(tmp_path / "a", pixels("uint16"), **ranged))).profile
    assert (profile.padding, profile.nodata, profile.mask) == ((0, 30), None, True)
    single = {"PixelPaddingValue": 7, **SIZED}
    profile = open_source(str(write_dicom(tmp_path / "b", pixels("uint16"), **single))).profile
    assert (profile.padding, profile.nodata, profile.mask) == (None, 7, False)


def test_no_valid_pixel_becomes_padding(espcn: Callable[..., Ran], tmp_path: Path) -> None:
    image = np.full((64, 64), -1024, "int16")  # air around bone: networks undershoot between
    image[20:44, 20:44], image[:8] = 1500, -2000
    padding = {"PixelPaddingValue": -2000, "PixelPaddingRangeLimit": -1025}
    source = write_dicom(tmp_path / "a.dcm", image, **padding, **SIZED)
    ran = espcn("upscale", source, tmp_path / "b.dcm", "--set", "cluster.workers=0")
    assert ran.code == 0, ran.err
    fine = dcmread(tmp_path / "b.dcm").pixel_array
    np.testing.assert_array_equal(
        (fine >= -2000) & (fine <= -1025), (image == -2000).repeat(2, 0).repeat(2, 1)
    )
    assert fine[16:].min() == -1024


def test_padding_that_differs_from_slice_to_slice_is_a_mask_of_each(tmp_path: Path) -> None:
    for number, value in enumerate((0, 5, None)):
        values = np.full((8, 8), 9, "int16")
        values[0], values[1] = 0, 5
        padding = {} if value is None else {"PixelPaddingValue": value}
        write_dicom(
            tmp_path / str(number),
            values,
            SOPInstanceUID=f"1.2.{number}",
            SeriesInstanceUID="1.2",
            InstanceNumber=number,
            **padding,
            **SIZED,
        )
    source = open_source(str(tmp_path))
    masks = [source.mask(Window(0, 0, 8, 8), frame) for frame in range(3)]
    invalid = [np.flatnonzero(~mask.all(axis=1)).tolist() for mask in masks if mask is not None]
    assert invalid == [[0], [1], []]


def test_limits_are_those_of_the_bits_that_count(tmp_path: Path) -> None:
    twelve = {"BitsStored": 12, "HighBit": 11, **SIZED}
    profile = open_source(
        str(write_dicom(tmp_path / "a", pixels("uint16") % 4096, **twelve))
    ).profile
    assert (profile.limits, profile.bits, profile.saturated) == ((0, 4095), 12, 4095)
    signed = (pixels("int16") % 2048).astype("int16")
    profile = open_source(str(write_dicom(tmp_path / "b", signed, **twelve))).profile
    assert (profile.limits, profile.bits, profile.saturated) == ((-2048, 2047), 12, 2047)
    profile = open_source(str(write_dicom(tmp_path / "c", pixels("uint8"), **SIZED))).profile
    assert (profile.limits, profile.bits, profile.saturated) == ((0, 255), None, None)


def test_rescaling_is_told_where_it_holds_for_all_slices(tmp_path: Path) -> None:
    for number in range(2):
        write_dicom(
            *(tmp_path / str(number), pixels()),
            SOPInstanceUID=f"1.2.{number}",
            SeriesInstanceUID="1.2",
            RescaleSlope=1 + number,
            RescaleIntercept=-1024,
            RescaleType="HU",
            **SIZED,
        )
    band = open_source(str(tmp_path / "0")).profile.bands[0]
    assert (band.scale, band.offset, band.unit) == (1.0, -1024.0, "HU")
    profile = open_source(str(tmp_path)).profile
    assert (profile.bands[0].scale, profile.bands[0].offset) == (1.0, 0.0)
    assert "rescaled differently" in profile.tags["DICOM"]["flags"]


def test_nothing_is_said_of_whom_it_shows(tmp_path: Path) -> None:
    said = {
        "PatientName": "Doe^Jane",
        "PatientID": "4711",
        "SeriesInstanceUID": "1.2.77.1",
        "FrameOfReferenceUID": "1.2.77.2",
        "StudyInstanceUID": "1.2.77.3",
        "SOPInstanceUID": "1.2.77.4",
        "StudyDescription": "of Jane",
    }
    path = write_dicom(tmp_path / "a.dcm", pixels(), **said, **SIZED)
    tags = open_source(str(path)).profile.tags
    assert tags.keys() == {"DICOM"}
    assert not [value for value in said.values() if value in repr(tags)]
    assert tags["DICOM"]["FrameOfReference"] == opaque("1.2.77.2")


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"PixelSpacing": [0, 0]}, "PixelSpacing is 0 x 0.*source.spacing=warn"),
        ({}, "the size of pixels is not given.*source.spacing=warn"),
    ],
)
def test_pixels_without_a_size_are_refused_unless_asked_for(
    tmp_path: Path, attributes: dict[str, object], words: str
) -> None:
    path = write_dicom(tmp_path / "a", pixels(), **attributes)
    with pytest.raises(SourceError, match=words):
        open_source(str(path))
    source = open_source(str(path), SourceOptions(spacing="warn"))
    assert source.profile.tags["DICOM"]["flags"]


def test_what_is_odd_is_a_warning_of_the_plan_and_of_the_report(
    espcn: Callable[..., Ran], tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    for number in (0, 1, 5):
        write_dicom(
            *(tmp_path / "in" / f"{number}", pixels()),
            SOPInstanceUID=f"1.2.{number}",
            SeriesInstanceUID="1.2",
            ImagePositionPatient=[0, 0, number],
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
            PixelSpacing=[0, 0],
        )
    arguments = ("upscale", tmp_path / "in", tmp_path / "out.zarr", "--dry-run")
    ran = espcn(*arguments)
    assert (ran.code, "go on all the same" in ran.err) == (3, True)
    ran = espcn(*arguments, "--set", "source.spacing=warn")
    assert ran.code == 0
    for flag in ("PixelSpacing is 0 x 0", "uneven spacing, 1 to 4 mm between slices"):
        assert f"espcn: warning: the source: {flag}" in ran.err


def test_another_band_than_there_is_is_refused(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a", pixels(), **SIZED)
    with pytest.raises(SourceError, match="has one band; there is no band 2"):
        open_source(str(path), SourceOptions(bands=(2,)))


def test_more_pixels_than_allowed_are_refused_all_frames_counted(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a", np.stack([pixels()] * 3), **SIZED)
    open_source(str(path), SourceOptions(max_pixels=3 * 6300))
    with pytest.raises(SourceError, match=r"claims 3 frames of 90 x 70 pixels; from 1"):
        open_source(str(path), SourceOptions(max_pixels=3 * 6300 - 1))


def test_without_its_driver_it_is_not_opened(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a", pixels(), **SIZED)
    with pytest.raises(SourceError, match=r"source\.drivers") as caught:
        open_source(str(path), SourceOptions(drivers=("GTiff",)))
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("rle", [False, True])
def test_a_truncated_file_costs_its_series_before_a_pixel_is_read(
    tmp_path: Path, rle: bool
) -> None:
    for number in range(3):
        write_dicom(
            *(tmp_path / f"Jane{number}", pixels()),
            rle=rle,
            SOPInstanceUID=f"1.2.{number}",
            SeriesInstanceUID="1.2",
            **SIZED,
        )
    path = tmp_path / "Jane1"
    path.write_bytes(path.read_bytes()[:-100])
    for place in (path, tmp_path):
        with pytest.raises(SourceError, match="a series with gaps is not made") as caught:
            open_source(str(place))
        assert "\n" not in str(caught.value)
        assert called(path) in str(caught.value), "so that it can be looked up"
        assert "Jane" not in str(caught.value)
    (series,) = find_series(tmp_path)
    assert series.flags[0].startswith("1 of 3 files cannot be used, for it is cut off")


def test_a_film_is_read_frame_by_frame(tmp_path: Path) -> None:
    film = np.zeros((200, 256, 256), "uint16") + np.arange(200, dtype="uint16")[:, None, None]
    path = write_dicom(tmp_path / "a", film, **SIZED)
    source = open_source(str(path))
    tracemalloc.start()
    assert (source.read(Window(0, 0, 256, 256), 150) == 150).all()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < film.nbytes / 20


def test_claims_are_for_what_holds_dicom(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    write_series(tmp_path / "deep/ct", 1)
    assert dicom.claims(str(tmp_path))
    assert dicom.claims(f"{tmp_path}#123456789abc")
    assert dicom.claims(str(tmp_path / "deep/ct/I000"))
    (tmp_path / "other").mkdir()
    (tmp_path / "other/readme").write_text("no image")
    assert not dicom.claims(str(tmp_path / "other"))
    assert not dicom.claims(str(tmp_path / "nothing"))
    assert not dicom.claims("a\0b")


@pytest.mark.parametrize("folder", ["ct_series", "mr_series"])
def test_real_series_are_what_simpleitk_reads(shared: Path, folder: str) -> None:
    itk = pytest.importorskip("SimpleITK", reason="needs SimpleITK")
    path = shared / "data/dicom" / folder
    volume = itk.ReadImage(itk.ImageSeriesReader.GetGDCMSeriesFileNames(str(path)))
    source = open_source(str(path))
    band, profile = source.profile.bands[0], source.profile
    expected = itk.GetArrayFromImage(volume)
    assert (profile.frames, profile.height, profile.width) == expected.shape
    for frame in range(profile.frames):
        stored = source.read(Window(0, 0, profile.height, profile.width), frame)[0]
        np.testing.assert_array_equal(stored * band.scale + band.offset, expected[frame])


def test_what_is_no_picture_is_refused_clearly(shared: Path) -> None:
    folder = shared / "data/dicom/pydicom/test_files"
    for name, words in (
        ("rtdose.dcm", "radiotherapy"),
        ("liver_1frame.dcm", "segmentation"),
        ("waveform_ecg.dcm", "waveforms"),
        ("test-SR.dcm", "without an image"),
    ):
        with pytest.raises(SourceError, match=words) as caught:
            open_source(str(folder / name))
        assert name not in str(caught.value)


def test_a_directory_of_several_real_series_names_them_without_telling_of_whom(
    shared: Path,
) -> None:
    with pytest.raises(SourceError) as caught:
        open_source(str(shared / "data/dicom/pydicom/test_files/dicomdirtests"))
    text = str(caught.value)
    assert "holds 24 series" in text
    assert "and 4 more" in text
    assert "dicomdirtests" not in text
