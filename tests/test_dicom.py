"""DICOM as training sees it: every file an image of its own, whatever its pixels measure."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from dicom_files import write_dicom, write_dicomdir, write_series
from fakes import texture

from pipeline.errors import SourceError
from pipeline.radiometry import Pixels
from pipeline.sources import dicom, open_source
from pipeline.tiling import Window
from workflows.find_sources import READ, find


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


def test_slices_of_a_folder_are_sources_each_for_itself(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "ct", 5)
    listed = [([path.name], "") for path in paths]
    write_dicomdir(tmp_path / "ct/DICOMDIR", listed)
    found, skipped = find([str(tmp_path)])
    assert {one.address.uri for one in found} == set(map(str, paths))
    assert {one.profile.frames for one in found} == {1}
    assert len({one.profile.tags["DICOM"]["Series"] for one in found}) == 1
    assert "1 DICOMDIR" in skipped[0].reason, "or each slice would count twice"


def test_of_one_body_and_series_slices_say_so_without_a_uid(tmp_path: Path) -> None:
    tags = [
        open_source(str(path), READ).profile.tags["DICOM"]
        for path in write_series(tmp_path / "ct", 2)
    ]
    for name in ("Series", "FrameOfReference"):
        assert tags[0][name] == tags[1][name]
        assert len(tags[0][name]) == 12
    assert tags[0]["InstanceNumber"] == "1"
    lonely = write_dicom(tmp_path / "a.dcm", pixels(), InstanceNumber=3)
    tags = [open_source(str(lonely), READ).profile.tags["DICOM"]]
    assert not {"Series", "FrameOfReference"} & tags[0].keys()


def test_unsigned_words_for_signed_padding_are_understood(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", pixels(), PixelPaddingValue=-2000)
    assert open_source(str(path), READ).profile.nodata == -2000
    path = write_dicom(tmp_path / "b.dcm", pixels("uint16"), PixelPaddingValue=63536)
    assert open_source(str(path), READ).profile.nodata == 63536


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"PhotometricInterpretation": "RGB"}, "1 samples a pixel, which does not go with RGB"),
        ({"Rows": 0}, "claims 90 x 0 pixels"),
        ({"Rows": 60_000, "Columns": 60_000}, "decoded as a whole"),
        ({"BitsAllocated": 1}, "of 1 bit a pixel"),
    ],
)
def test_what_cannot_be_an_image_is_refused(
    tmp_path: Path, attributes: dict[str, object], words: str
) -> None:
    path = write_dicom(tmp_path / "a.dcm", pixels(), **attributes)
    with pytest.raises(SourceError, match=words):
        open_source(str(path), READ)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert not dicom.claims(str(tmp_path / "pipe"))
    assert not dicom.claims(str(tmp_path))
    assert not dicom.claims("a\0b")


def test_compressed_files_are_what_they_were_made_from(shared: Path, tmp_path: Path) -> None:
    folder = shared / "data/dicom/syntaxes"
    size = Window(0, 0, 512, 512)
    lossless = open_source(str(folder / "CT1_J2KR"), READ).read(size)
    for name in ("CT1_RLE", "CT1_JPLL"):
        found = open_source(str(folder / name), READ).read(size)
        np.testing.assert_array_equal(found, lossless)
        shutil.copy(folder / name, tmp_path / f"{name}.jpg")
        assert dicom.claims(str(tmp_path / f"{name}.jpg"))
