"""DICOM as a source: stored values of the first frame, and clear words for all else."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from dicom_files import write_dicom
from fakes import texture

from pipeline.errors import SourceError
from pipeline.options import SourceOptions
from pipeline.radiometry import Pixels
from pipeline.sources import dicom, open_source
from pipeline.tiling import Window
from workflows.find_sources import READ
from workflows.job import Job
from workflows.upscale import upscale


def pixels(dtype: str = "int16") -> Pixels:
    """(y, x)."""
    return texture((1, 70, 90), dtype)[0]


@pytest.mark.parametrize(
    ("dtype", "rle"),
    [("uint8", False), ("uint16", True), ("int16", False), ("int16", True), ("int32", False)],
)
def test_windows_are_the_stored_values(tmp_path: Path, dtype: str, rle: bool) -> None:
    stored = pixels(dtype)
    if stored.dtype.kind == "i":
        stored = stored - stored.dtype.type(1000)
    source = open_source(str(write_dicom(tmp_path / "I10", stored, rle=rle)), READ)
    assert source.profile.shape == (1, 70, 90)
    assert source.profile.dtype == dtype
    assert source.profile.bands[0].description == "CT"
    np.testing.assert_array_equal(source.read(Window(0, 0, 70, 90))[0], stored)
    np.testing.assert_array_equal(source.read(Window(3, 88, 1, 2))[0], stored[3:4, 88:])
    assert source.mask(Window(0, 0, 70, 90)) is None


def test_of_several_frames_the_first_is_read_and_the_others_are_named(tmp_path: Path) -> None:
    frames = np.stack([pixels(), pixels() + 1])
    source = open_source(str(write_dicom(tmp_path / "a.dcm", frames)), READ)
    np.testing.assert_array_equal(source.read(Window(0, 0, 70, 90))[0], frames[0])
    assert "frames after the first" in source.profile.forgotten


def test_padding_is_nodata_also_where_it_is_written_unsigned(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", pixels(), PixelPaddingValue=-2000)
    assert open_source(str(path), READ).profile.nodata == -2000
    path = write_dicom(tmp_path / "b.dcm", pixels("uint16"), PixelPaddingValue=63536)
    assert open_source(str(path), READ).profile.nodata == 63536
    assert dicom._padding("", _header(63536), "int16") == -2000


def _header(padding: int) -> object:
    from pydicom.dataset import Dataset

    header = Dataset()
    header.add_new("PixelPaddingValue", "US", padding)
    return header


def test_the_largest_value_of_the_bits_in_use_is_the_ceiling(tmp_path: Path) -> None:
    twelve = write_dicom(tmp_path / "a.dcm", pixels("uint16"), BitsStored=12, HighBit=11)
    assert open_source(str(twelve), READ).profile.saturated == 4095
    assert open_source(str(write_dicom(tmp_path / "b.dcm", pixels())), READ).profile.saturated == (
        32767
    )
    eight = write_dicom(tmp_path / "c.dcm", pixels("uint8"))
    assert open_source(str(eight), READ).profile.saturated is None


def test_nothing_is_said_of_whom_it_shows(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", pixels(), PatientName="Doe^Jane", InstanceNumber=3)
    tags = open_source(str(path), READ).profile.tags
    assert tags == {"DICOM": {"InstanceNumber": "3"}}


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"PhotometricInterpretation": "RGB"}, "is DICOM of RGB"),
        ({"Rows": 0}, "claims 90 x 0 pixels"),
        ({"Rows": 60_000, "Columns": 60_000}, "decoded as a whole"),
        ({"BitsAllocated": 1}, "of 1 bits a pixel"),
        ({"PixelPaddingValue": -2000, "PixelPaddingRangeLimit": -1000}, "range of values"),
    ],
)
def test_what_is_no_grey_image_is_refused(
    tmp_path: Path, attributes: dict[str, object], words: str
) -> None:
    path = write_dicom(tmp_path / "a.dcm", pixels(), **attributes)
    with pytest.raises(SourceError, match=words):
        open_source(str(path), READ)


def test_another_band_than_the_first_is_refused(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", pixels())
    with pytest.raises(SourceError, match="there is no band 2"):
        open_source(str(path), SourceOptions(bands=(2,), drivers=READ.drivers))


def test_a_truncated_file_says_so_in_one_line(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", pixels())
    path.write_bytes(path.read_bytes()[:-100])
    source = open_source(str(path), READ)
    with pytest.raises(SourceError, match="cannot be decoded") as caught:
        source.read(Window(0, 0, 1, 1))
    assert "\n" not in str(caught.value)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert not dicom.claims(str(tmp_path / "pipe"))
    assert not dicom.claims(str(tmp_path))
    assert not dicom.claims("a\0b")


def test_upscaling_it_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", pixels())
    with pytest.raises(SourceError, match="convert it to GeoTIFF or Zarr"):
        upscale(Job(str(path), (str(tmp_path / "out.tif"),)))
    assert not (tmp_path / "out.tif").exists()


def test_compressed_files_are_what_they_were_made_from(shared: Path) -> None:
    folder = shared / "data/dicom/syntaxes"
    size = Window(0, 0, 512, 512)
    lossless = open_source(str(folder / "CT1_J2KR"), READ).read(size)
    np.testing.assert_array_equal(open_source(str(folder / "CT1_RLE"), READ).read(size), lossless)
    with pytest.raises(SourceError, match="pylibjpeg"):
        open_source(str(folder / "CT1_JPLL"), READ).read(size)
