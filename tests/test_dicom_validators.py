"""DICOM outputs as others see them: dciodvfy and dcentvfy (dicom3tools), SimpleITK, numpy.

Real files are not all as the standard wants them, so a validator may say nothing of an output that
it does not say of its source.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from dicom_classes import CLASSES, ORIENTATION, common, noise, save, write_enhanced_ct
from dicom_runs import by_number, header, replicated
from pydicom.pixels import pixel_array

from pipeline.dicom.frames import Frames
from pipeline.dicom.geometry import corners
from pipeline.dicom.headers import read_header

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # values of real files

REAL = {
    "CR": "syntaxes/RG3_RLE",
    "CR, 12-bit JPEG": "syntaxes/RG3_JPLY",
    "CT": "ct_series",
    "CT, JPEG 2000": "pydicom/test_files/693_J2KI.dcm",
    "CT, odd": "pydicom/test_files/CT_small.dcm",
    "MG": "mammography/GH133.dcm",
    "MR": "mr_series",
    "MR, implicit": "pydicom/test_files/MR_small_implicit.dcm",
    "MR, big endian": "pydicom/test_files/MR_small_bigendian.dcm",
    "MR, overlay": "pydicom/test_files/examples_overlay.dcm",
    "NM": "syntaxes/NM1_JPLY",
    "US": "syntaxes/US1_J2KI",
    "US, palette": "pydicom/test_files/examples_palette.dcm",
    "US cine": "pydicom/test_files/examples_ybr_color.dcm",
    "VL": "syntaxes/VL1_RLE",
    "XA": "syntaxes/XA1_JPLY",
}
"""Real images, by names for people."""
SYNTAXES = ["uncompressed", "rle", "jpeg2000"]
"""What dicom3tools knows: HTJ2K is younger."""


Twofold = Callable[[str], tuple[list[Path], list[Path]]]


@pytest.fixture(scope="module")
def twofold(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Twofold:
    """(files of a real series, those of its output twice as fine), made once."""

    @lru_cache
    def run(name: str) -> tuple[list[Path], list[Path]]:
        source = shared / "data" / "dicom" / REAL[name]
        syntax = SYNTAXES[list(REAL).index(name) % 3]
        folder = tmp_path_factory.mktemp("out")
        return sources(source), replicated(source, folder / "out", syntax=syntax)

    return run


@pytest.fixture(scope="session")
def dciodvfy() -> str:
    """The program's path; without it a test is skipped."""
    return _program("dciodvfy")


@pytest.fixture(scope="session")
def dcentvfy() -> str:
    """The same of the other one."""
    return _program("dcentvfy")


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"needs {name}, of the Debian package dicom3tools (make test-system)")
    return found


def complaints(program: str, path: Path) -> set[str]:
    """What is said of a file, without values and numbers of items."""
    said = subprocess.run(
        [program, "-new", str(path)], capture_output=True, text=True, errors="replace", check=False
    )
    lines = (said.stdout + said.stderr).splitlines()
    found = {line for line in lines if line.startswith(("Error", "Warning"))}
    return {re.sub(r"\[\d+\]", "", re.sub(r"= <.*?>", "", line)) for line in found}


def sources(path: Path) -> list[Path]:
    """The files of a series in the order of their numbers."""
    if path.is_file():
        return [path]
    return by_number(one for one in path.iterdir() if _is_dicom(one))


def few(source: Path, folder: Path) -> Path:
    """A folder with some slices of a series."""
    (folder / "few").mkdir()
    for path in sources(source)[::9]:
        shutil.copy(path, folder / "few")
    return folder / "few"


def _is_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM" and path.name != "DIRFILE"


def check_all(program: str, before: Iterable[Path], after: Iterable[Path]) -> None:
    for source, output in zip(before, after, strict=True):
        assert complaints(program, output) - complaints(program, source) == set()


@pytest.mark.parametrize("name", REAL)
def test_dciodvfy_says_nothing_new_of_real_images(
    dciodvfy: str, twofold: Twofold, name: str
) -> None:
    check_all(dciodvfy, *twofold(name))


@pytest.mark.parametrize(("syntax", "scale"), [*zip(SYNTAXES, (2, 3, 4), strict=True)])
@pytest.mark.parametrize("name", CLASSES)
def test_dciodvfy_says_nothing_new_of_any_class(
    dciodvfy: str, tmp_path: Path, name: str, syntax: str, scale: int
) -> None:
    source = CLASSES[name](tmp_path / "in.dcm")
    found = replicated(source, tmp_path / "out.dcm", syntax=syntax, scale=scale)
    check_all(dciodvfy, [source], found)


@pytest.mark.parametrize("name", ["CT", "MR"])
def test_dcentvfy_is_silent_over_source_and_output(
    dcentvfy: str, twofold: Twofold, name: str
) -> None:
    before, after = twofold(name)
    assert _entities(dcentvfy, after) == ""
    assert _entities(dcentvfy, [*before, *after]) == _entities(dcentvfy, before) == ""


def _entities(program: str, paths: Iterable[Path]) -> str:
    said = subprocess.run(
        [program, *map(str, paths)], capture_output=True, text=True, errors="replace", check=False
    )
    return said.stdout + said.stderr


def outer(path: Path, frame: int = 0) -> np.ndarray:
    """(4, 3) outer corners of a slice, as SimpleITK computes them."""
    import SimpleITK

    image = SimpleITK.ReadImage(str(path))
    width, height, *_ = image.GetSize()
    return np.array(
        [
            image.TransformContinuousIndexToPhysicalPoint((x, y, float(frame)))
            for x in (-0.5, width - 0.5)
            for y in (-0.5, height - 0.5)
        ]
    )


@pytest.mark.parametrize("name", ["CT", "MR"])
def test_outer_corners_of_every_slice_are_the_source_s(twofold: Twofold, name: str) -> None:
    pytest.importorskip("SimpleITK", reason="needs SimpleITK, of the extra dev")
    for before, after in zip(*twofold(name), strict=True):
        np.testing.assert_allclose(outer(after), outer(before), rtol=0, atol=1e-6)


@pytest.mark.parametrize("scale", [3, 4])
@pytest.mark.parametrize("name", ["CT", "MR"])
def test_they_are_so_at_other_scales(shared: Path, tmp_path: Path, name: str, scale: int) -> None:
    pytest.importorskip("SimpleITK", reason="needs SimpleITK, of the extra dev")
    series = few(shared / "data" / "dicom" / REAL[name], tmp_path)
    found = replicated(series, tmp_path / "out", scale=scale)
    for before, after in zip(sources(series), found, strict=True):
        np.testing.assert_allclose(outer(after), outer(before), rtol=0, atol=1e-6)


@pytest.mark.parametrize("scale", [2, 3])
def test_outer_corners_of_frames_are_the_source_s(tmp_path: Path, scale: int) -> None:
    pytest.importorskip("SimpleITK", reason="needs SimpleITK, of the extra dev")
    source = write_enhanced_ct(tmp_path / "in.dcm")
    (found,) = replicated(source, tmp_path / "out.dcm", scale=scale)
    for frame in (0, 2):
        ends = [outer(path, frame) for path in (source, found)]
        np.testing.assert_allclose(ends[1], ends[0], rtol=0, atol=1e-6)


def test_it_would_be_seen_if_the_position_did_not_move(shared: Path, tmp_path: Path) -> None:
    pytest.importorskip("SimpleITK", reason="needs SimpleITK, of the extra dev")
    source = sources(shared / "data" / "dicom" / "mr_series")[0]
    (found,) = replicated(source, tmp_path / "out.dcm")
    image = header(found)
    image.ImagePositionPatient = [str(v)[:16] for v in header(source).ImagePositionPatient]
    unmoved = save(tmp_path / "unmoved.dcm", image, pixel_array(found))
    assert np.abs(outer(unmoved) - outer(source)).max() > 0.1


def centroid(path: Path) -> np.ndarray:
    """(3,) intensity-weighted centre in millimetres."""
    image, pixels = header(path), pixel_array(path).astype(float)
    pixels = pixels - pixels.min()
    down, right = (float(v) for v in image.PixelSpacing)
    rows, columns = np.indices(pixels.shape)
    y, x = ((pixels * place).sum() / pixels.sum() for place in (rows, columns))
    turn = np.array(image.ImageOrientationPatient, float)
    start = np.array(image.ImagePositionPatient, float)
    return np.asarray(start + turn[:3] * right * x + turn[3:] * down * y)


@pytest.mark.parametrize("name", ["CT", "MR"])
def test_the_centroid_and_the_means_of_blocks_stay(twofold: Twofold, name: str) -> None:
    for source, output in list(zip(*twofold(name), strict=True))[::5]:
        np.testing.assert_allclose(centroid(output), centroid(source), rtol=0, atol=1e-6)
        coarse, fine = pixel_array(source), pixel_array(output)
        blocks = fine.reshape(coarse.shape[0], 2, coarse.shape[1], 2).mean(axis=(1, 3))
        np.testing.assert_array_equal(blocks, coarse)


@pytest.mark.parametrize("name", ["CR", "MG", "US", "US cine", "NM", "VL", "XA"])
def test_block_means_of_any_image_are_the_source(twofold: Twofold, name: str) -> None:
    (source,), (found,) = twofold(name)
    coarse, fine = (Frames(path, read_header(path)) for path in (source, found))
    for frame in {0, coarse.stored.frames - 1}:
        pixels = coarse.read(frame)
        np.testing.assert_array_equal(fine.read(frame), pixels.repeat(2, 1).repeat(2, 2))


@pytest.mark.parametrize("name", ["CR", "VL", "US cine"])
def test_htj2k_holds_the_same(shared: Path, tmp_path: Path, name: str) -> None:
    source = shared / "data" / "dicom" / REAL[name]
    (found,) = replicated(source, tmp_path / "out.dcm", syntax="htj2k")
    coarse, fine = (Frames(path, read_header(path)) for path in (source, found))
    np.testing.assert_array_equal(fine.read(0), coarse.read(0).repeat(2, 1).repeat(2, 2))


@pytest.mark.parametrize("first", ["jpeg2000", "rle"])
def test_an_output_is_a_source_too(tmp_path: Path, dciodvfy: str, first: str) -> None:
    dataset = common(
        "2",
        "CT",
        ImageType=["ORIGINAL", "PRIMARY", "AXIAL"],
        FrameOfReferenceUID="1.2.3.9",
        ImagePositionPatient=["1.25", "2.5", "3"],
        ImageOrientationPatient=ORIENTATION,
        PixelSpacing=["0.7", "0.3"],
        RescaleIntercept="-1024",
        RescaleSlope="1",
        BitsStored=12,
    )
    source = save(tmp_path / "in.dcm", dataset, noise(30, 40, dtype="int16", bits=11))
    (once,) = replicated(source, tmp_path / "once.dcm", syntax=first)
    (twice,) = replicated(once, tmp_path / "twice.dcm")
    assert header(twice).SeriesDescription == "Körper SRx2 SRx2"
    assert header(twice).SOPInstanceUID != header(once).SOPInstanceUID
    assert len(header(twice).ContributingEquipmentSequence) == 2
    assert complaints(dciodvfy, twice) - complaints(dciodvfy, source) == set()
    ends = [
        corners(
            [float(v) for v in one.ImagePositionPatient],
            [float(v) for v in one.ImageOrientationPatient],
            [float(v) for v in one.PixelSpacing],
            (one.Rows, one.Columns),
        )
        for one in map(header, (source, twice))
    ]
    np.testing.assert_allclose(ends[0], ends[1], rtol=0, atol=1e-6)
