"""`espcn inspect` of DICOM: what there is and where it lies; of whom only if asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from dicom_files import write_dicom, write_series
from runs import Ran

from pipeline.dicom.privacy import called
from pipeline.dicom.series import find_series

Espcn = Callable[..., Ran]
SAID = {"PatientName": "Doe^Jane", "PatientID": "4711-X", "PatientBirthDate": "19740230"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A series of three slices, a mammogram of someone, and a file that is damaged."""
    folder = tmp_path / "Doe^Jane"
    folder.mkdir()
    write_series(folder / "ct", 3)
    breast = {"Modality": "MG", "SeriesInstanceUID": "1.2.3.77", "SOPInstanceUID": "1.2.3.78"}
    padding = {"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 30, "BitsStored": 12}
    image = np.full((20, 30), 100, "uint16")
    spacing = {"ImagerPixelSpacing": [0.1, 0.2], "HighBit": 11}
    write_dicom(folder / "mg", image, **breast, **padding, **spacing, **SAID)
    (folder / "bad").write_bytes((folder / "mg").read_bytes()[:400])
    return folder


def test_series_are_listed_with_their_geometry(espcn: Espcn, folder: Path) -> None:
    ran = espcn("inspect", folder)
    assert ran.code == 0
    lines = [" ".join(line.split()) for line in ran.out.splitlines()]
    for line in (
        "modality CT, classic",
        "size 3 x 64 x 64 px, 1 band, 3 files",
        "pixel spacing 1 x 1 mm",
        "slice spacing 2 mm",
        "position -30, -30, 0 mm",
        "orientation 1, 0, 0, 0, 1, 0",
        "modality MG, classic",
        "size 30 x 20 px, 1 band, 1 file",
        "data type uint16, 12 bits stored",
        "transfer syntax Explicit VR Little Endian",
        "pixel spacing 0.1 x 0.2 mm",
        "padding 0 to 30",
        "flag 1 file beside it not used",
    ):
        assert line in lines
    for one in find_series(folder):
        assert f"series {one.id}" in lines


def test_of_whom_it_is_is_not_said(espcn: Espcn, folder: Path) -> None:
    for ran in (espcn("inspect", folder), espcn("inspect", folder, "--json")):
        for secret in (*SAID.values(), "1.2.3.77", "1.2.3.9", str(folder), folder.name):
            assert secret not in ran.out + ran.err


def test_of_whom_it_is_is_said_to_who_asks(espcn: Espcn, folder: Path) -> None:
    found = json.loads(espcn("inspect", folder, "--json", "--phi").out)
    breast = next(one for one in found["series"] if one["modality"] == "MG")
    assert breast["phi"] == {**SAID, "SeriesInstanceUID": "1.2.3.77", "folder": str(folder)}
    assert breast["paths"] == {called(folder / "mg"): str(folder / "mg")}
    bad = found["phi"][called(folder / "bad")]
    assert bad["path"] == str(folder / "bad")
    text = espcn("inspect", folder, "--phi").out
    assert "Doe^Jane" in text
    assert called(folder / "bad") in text


def test_json_has_the_numbers(espcn: Espcn, folder: Path) -> None:
    found = json.loads(espcn("inspect", folder, "--json").out)
    assert sum(found["skipped"].values()) == 1
    assert found["phi"] is None
    slices = found["series"][0]
    assert (slices["modality"], slices["frames"], slices["files"]) == ("CT", 3, 3)
    assert slices["step"] == 2
    assert slices["spacing"] == [1, 1]
    assert slices["phi"] is None


def test_one_series_is_shown_by_its_name(espcn: Espcn, folder: Path) -> None:
    first, second = find_series(folder)
    text = espcn("inspect", f"{folder}#{second.id}").out
    assert second.id in text
    assert first.id not in text
    ran = espcn("inspect", f"{folder}#0123456789ab")
    assert ran.code == 3
    assert "no series of that name" in ran.err
    assert folder.name not in ran.err


def test_what_cannot_be_read_is_refused_without_saying_where_it_lies(
    espcn: Espcn, folder: Path
) -> None:
    ran = espcn("inspect", folder / "bad")
    assert ran.code == 3
    assert ran.err.startswith(f"espcn: error: {called(folder / 'bad')}: ")
    assert len(ran.err.splitlines()) == 1
    assert folder.name not in ran.err


def test_a_slide_is_shown_by_its_finest_level(espcn: Espcn, shared: Path) -> None:
    (one,) = json.loads(espcn("inspect", shared / "data/dicom/wsi", "--json").out)["series"]
    assert (one["kind"], one["columns"], one["rows"]) == ("slide", 2220, 2967)
    assert one["lossy"]


def test_all_real_files_are_shown_without_a_word_of_pydicom(espcn: Espcn, shared: Path) -> None:
    for name in ("ct_series/DIRFILE", "mr_series", "mammography", "syntaxes", "pydicom"):
        ran = espcn("inspect", shared / "data/dicom" / name)
        assert (ran.code, ran.err) == (0, "")
