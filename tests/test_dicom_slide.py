"""Whole slides in and out: read against what was written, judged by others' readers."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import runs
from contracts import SourceContract
from dicom_files import write_dicomdir
from fakes import texture
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset, dcmread
from pydicom.encaps import generate_frames, parse_basic_offsets
from pydicom.pixels import pixel_array
from slide_files import (
    ORIGIN,
    PATIENT,
    SPACING,
    TURN,
    cut,
    item,
    save,
    slide_header,
    write_concatenation,
    write_slide,
    write_sparse,
)

from pipeline.dicom import pixel_data
from pipeline.dicom.derived_slide import divide
from pipeline.dicom.elements import elements, items
from pipeline.dicom.frames import Frames
from pipeline.dicom.geometry import corners
from pipeline.dicom.slide_header import Focus, read_sheet
from pipeline.errors import ConfigError, PlanError, SourceError
from pipeline.options import (
    ClusterOptions,
    OutputOptions,
    ReportOptions,
    SourceOptions,
    TilingOptions,
)
from pipeline.pyramid import halve
from pipeline.radiometry import replicate
from pipeline.sinks import sink_for
from pipeline.sinks import slide as sink
from pipeline.sources import Source, open_source
from pipeline.tiling import Window
from workflows import upscale as story
from workflows.events import Event, Progress
from workflows.job import Job, ModelOptions
from workflows.prepare import prepare
from workflows.report import size_on_disk

REAL = "data/dicom/wsi/cmu-1-small-region"
"""A pyramid of five levels with label, overview and thumbnail."""
WHOLE = Window(0, 0, 300, 333)
"""All of the slides that are written here."""


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return texture((3, 300, 333), "uint8")


def opened(path: Path, **options: Any) -> Source:
    return open_source(str(path), SourceOptions(**options))


def levels(folder: Path) -> list[Dataset]:
    """The headers of an output, finest first; parts of a concatenation in order."""
    found = [dcmread(path, stop_before_pixels=True) for path in folder.iterdir()]
    return sorted(found, key=lambda header: int(header.InstanceNumber))


def matrix(header: Dataset) -> np.ndarray:
    """(path and plane, band, y, x) of an instance of ours: all of its frames, cut to the matrix."""
    frames = pixel_array(header.filename)
    frames = frames.reshape(int(header.NumberOfFrames), 512, 512, -1)
    height, width = header.TotalPixelMatrixRows, header.TotalPixelMatrixColumns
    rows, columns = -(-height // 512), -(-width // 512)
    lined = frames.reshape(-1, rows, columns, 512, 512, frames.shape[-1]).transpose(
        0, 5, 1, 3, 2, 4
    )
    return lined.reshape(len(lined), -1, rows * 512, columns * 512)[..., :height, :width]


def make_job(source: Path, target: Path, *, tile: int | None = 512, **changes: Any) -> Job:
    job = Job(
        str(source),
        (str(target),),
        model=ModelOptions("nearest", scale=2),
        tiling=TilingOptions(tile),
        cluster=ClusterOptions(workers=0, threads=2),
        report=ReportOptions(report=False),
        output=OutputOptions(syntax="uncompressed"),
    )
    return replace(job, **changes)


# --- what is read -------------------------------------------------------------------------------


class TestSlideSource(SourceContract):
    """What every source owes the engine."""

    pixels = texture((3, 70, 90), "uint8")

    def make(self, folder: Path) -> Path:
        return write_slide(folder / "slide", self.pixels, tile=32)


@pytest.fixture(scope="module")
def written(pixels: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same pixels in several forms."""
    folder = tmp_path_factory.mktemp("slides")
    grid = [(y, x) for y in range(0, 300, 96) for x in range(0, 333, 96)]
    return {
        "one file": write_slide(folder / "one", pixels),
        "concatenation": write_concatenation(folder / "parts", pixels, 3),
        "sparse": write_sparse(folder / "sparse", pixels, grid[::-1]),
        "anywhere": write_sparse(
            folder / "anywhere", pixels, [(max(y - 9, 0), max(x - 7, 0)) for y, x in grid], tile=128
        ),
    }


windows = st.tuples(
    st.integers(0, 299), st.integers(0, 332), st.integers(1, 300), st.integers(1, 333)
)


@given(place=windows, form=st.sampled_from(["one file", "concatenation", "sparse", "anywhere"]))
def test_any_window_is_that_part_of_the_matrix(
    pixels: np.ndarray, written: dict[str, Path], place: tuple[int, int, int, int], form: str
) -> None:
    window = Window(*place).clip(300, 333)
    source = opened(written[form])
    np.testing.assert_array_equal(source.read(window), pixels[:, *window.slices])
    mask = source.mask(window)
    assert mask is None or mask.all()


def test_only_tiles_that_may_be_missing_ask_for_a_mask(written: dict[str, Path]) -> None:
    masks = {form: opened(path).profile.mask for form, path in written.items()}
    # those that lie anywhere are not counted
    assert masks == {"one file": False, "concatenation": False, "sparse": False, "anywhere": True}


def test_the_profile_says_what_a_slide_is_and_not_whose(written: dict[str, Path]) -> None:
    profile = opened(written["one file"]).profile
    assert (profile.driver, profile.block, profile.frames) == ("DICOM", (96, 96), 1)
    assert [band.colour for band in profile.bands] == ["red", "green", "blue"]
    tags = profile.tags["DICOM"]
    assert (tags["kind"], tags["Modality"]) == ("slide", "SM")
    assert re.fullmatch("[0-9a-f]{12}", tags["Series"])
    assert tags["PixelSpacing"] == "0.000499\\0.000501"
    for secret in (PATIENT, "4711", "1.2.3.", "19500101"):
        assert secret not in json.dumps(profile.tags)


def test_missing_tiles_are_white_and_masked(pixels: np.ndarray, tmp_path: Path) -> None:
    source = opened(write_sparse(tmp_path / "slide", pixels, [(0, 96), (192, 0), (288, 288)]))
    expected, valid = np.full_like(pixels, 255), np.zeros((300, 333), bool)
    for y, x in [(0, 96), (192, 0), (288, 288)]:
        here = (slice(y, y + 96), slice(x, x + 96))
        expected[:, *here], valid[here] = pixels[:, *here], True
    np.testing.assert_array_equal(source.read(WHOLE), expected)
    np.testing.assert_array_equal(source.mask(WHOLE), valid)


def test_grey_of_16_bits_keeps_its_values_and_its_gaps_are_black(tmp_path: Path) -> None:
    pixels = texture((1, 300, 333), "uint16")
    source = opened(write_sparse(tmp_path / "slide", pixels, [(96, 96)]))
    found = source.read(WHOLE)
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found[:, 96:192, 96:192], pixels[:, 96:192, 96:192])
    assert not found[:, :96].any()


def test_focal_planes_and_optical_paths_are_frames(tmp_path: Path) -> None:
    whole = np.stack([texture((1, 200, 220), "uint16", seed=seed) for seed in range(6)])
    source = opened(write_slide(tmp_path / "slide", whole.reshape(2, 3, 1, 200, 220)))
    assert source.profile.frames == 6
    for frame, plane in enumerate(whole):
        found = source.read(Window(50, 60, 100, 110), frame)
        np.testing.assert_array_equal(found, plane[:, 50:150, 60:170])


def test_optical_paths_in_files_of_their_own_are_frames_too(tmp_path: Path) -> None:
    planes = [texture((1, 200, 220), "uint8", seed=seed) for seed in range(3)]
    for number, plane in enumerate(planes):
        header = slide_header(plane.shape, 96, "uint8")
        header.SOPInstanceUID, header.InstanceNumber = f"1.2.3.4.{number}", number + 1
        header.OpticalPathSequence[0].OpticalPathIdentifier = f"dye {9 - number}"
        save(tmp_path / "slide" / f"{9 - number}.dcm", header, list(cut(plane, 96).values()))
    source = opened(tmp_path / "slide")
    found = [source.read(Window(0, 0, 200, 220), frame) for frame in range(3)]
    np.testing.assert_array_equal(np.stack(found), planes)


def test_the_finest_level_is_taken_and_never_a_label(shared: Path) -> None:
    profile = opened(shared / REAL).profile
    assert profile.shape == (3, 2967, 2220)
    assert profile.dtype == "uint8"
    assert len(profile.files) == 1


@pytest.mark.parametrize("name", ["out.dcm", "out.tif"])
def test_a_target_of_one_file_is_refused_with_what_a_slide_can_be(
    written: dict[str, Path], tmp_path: Path, name: str
) -> None:
    profile = opened(written["one file"]).profile
    with pytest.raises(ConfigError, match=r"several files or a store; use a directory or \.zarr"):
        sink_for(tmp_path / name, profile)


def test_a_label_alone_is_refused(shared: Path, tmp_path: Path) -> None:
    for path in (shared / REAL).iterdir():
        if dcmread(path, stop_before_pixels=True).ImageType[2] != "VOLUME":
            shutil.copy(path, tmp_path)
    with pytest.raises(SourceError, match="no image of the slide itself"):
        opened(tmp_path)


def test_a_real_slide_reads_as_openslide_reads_it(shared: Path) -> None:
    openslide = pytest.importorskip("openslide")
    source = opened(shared / REAL)
    (path,) = source.profile.files
    with openslide.OpenSlide(path) as other:
        for y, x in [(0, 0), (1000, 700), (2967 - 300, 2220 - 333)]:
            found = np.asarray(other.read_region((x, y), 0, (333, 300)).convert("RGB"))
            ours = source.read(Window(y, x, 300, 333))
            assert np.abs(np.moveaxis(ours, 0, -1).astype(int) - found).max() <= 1


def test_a_file_of_a_slide_is_that_level(shared: Path) -> None:
    sizes = {
        opened(path).profile.shape[1:]
        for path in (shared / REAL).iterdir()
        if dcmread(path, stop_before_pixels=True).ImageType[2] == "VOLUME"
    }
    assert sizes == {(2967, 2220), (1484, 1110), (742, 555), (371, 278), (186, 139)}


def other_series(folder: Path, pixels: np.ndarray) -> Path:
    """Another slide in the same directory."""
    header = slide_header(pixels.shape, 96, "uint8")
    header.SOPInstanceUID, header.SeriesInstanceUID = "1.2.3.4.2", "1.2.3.99"
    save(folder / "b.dcm", header, list(cut(pixels, 96).values()))
    return folder


def test_one_of_several_slides_is_chosen_by_its_id(pixels: np.ndarray, tmp_path: Path) -> None:
    folder = other_series(write_slide(tmp_path / "slide", pixels[:, :200]), pixels)
    with pytest.raises(SourceError, match="holds 2 series") as refused:
        opened(folder)
    names = re.findall(r"[0-9a-f]{12}(?= \()", str(refused.value))
    found = [open_source(f"{folder}#{name}").profile.shape for name in names]
    assert sorted(found) == [(3, 200, 333), (3, 300, 333)]


def broken(folder: Path, pixels: np.ndarray, **changes: Any) -> Path:
    """A slide whose header says something else."""
    header = slide_header(pixels.shape, 96, "uint8")
    for name, value in changes.items():
        setattr(header, name, value)
    save(folder / "a.dcm", header, list(cut(pixels, 96).values()))
    return folder


def test_what_is_not_whole_is_refused(pixels: np.ndarray, tmp_path: Path) -> None:
    parts = write_concatenation(tmp_path / "parts", pixels, 3)
    (parts / "2.dcm").unlink()
    with pytest.raises(SourceError, match="2 of the 3 parts of a concatenation"):
        opened(parts)
    short = broken(tmp_path / "short", pixels, TotalPixelMatrixRows=500)
    with pytest.raises(SourceError, match="has 16 frames where 24 tiles"):
        opened(short)
    twice = write_slide(tmp_path / "twice", pixels)
    header = slide_header(pixels.shape, 96, "uint8")
    header.SOPInstanceUID = "1.2.3.4.2"
    save(twice / "b.dcm", header, list(cut(pixels, 96).values()))
    with pytest.raises(SourceError, match="two images of the same part"):
        opened(twice)
    again = write_slide(tmp_path / "again", pixels)
    shutil.copy(again / "a.dcm", again / "b.dcm")
    np.testing.assert_array_equal(opened(again).read(WHOLE), pixels)


@pytest.mark.parametrize(
    "changes",
    [
        {"TotalPixelMatrixRows": 0},
        {"TotalPixelMatrixColumns": 2**31},
        {"ImageType": ["ORIGINAL"]},
        {"DimensionOrganizationType": "TILED_SPARSE"},
        {"TotalPixelMatrixFocalPlanes": 2**32 - 1},
        {"NumberOfOpticalPaths": 2**31},
    ],
)
def test_headers_that_place_no_tiles_are_refused(
    pixels: np.ndarray, tmp_path: Path, changes: dict[str, Any]
) -> None:
    folder = broken(tmp_path / "slide", pixels, **changes)
    with pytest.raises(SourceError) as refused:
        opened(folder)
    assert str(tmp_path) not in str(refused.value)


def test_pixels_without_a_size_are_refused_unless_that_is_allowed(
    pixels: np.ndarray, tmp_path: Path
) -> None:
    for number, spacing in enumerate([(0.0, 0.0), (0.0005, 0.0)]):
        header = slide_header(pixels.shape, 96, "uint8", spacing=spacing)
        folder = tmp_path / str(number)
        save(folder / "a.dcm", header, list(cut(pixels, 96).values()))
        with pytest.raises(SourceError, match=r"source\.spacing=warn"):
            opened(folder)
        np.testing.assert_array_equal(opened(folder, spacing="warn").read(WHOLE), pixels)
        story.upscale(
            make_job(folder, tmp_path / "out", overwrite=True, input=SourceOptions(spacing="warn"))
        )
        assert (levels(tmp_path / "out")[0].TotalPixelMatrixRows) == 600


def test_a_damaged_tile_is_told_without_a_path(pixels: np.ndarray, tmp_path: Path) -> None:
    path = write_slide(tmp_path / PATIENT, pixels, jpeg=True) / "a.dcm"
    data = bytearray(path.read_bytes())
    at = data.index(b"\xff\xd8", len(data) // 2)
    data[at + 4 : at + 400] = bytes(396)
    path.write_bytes(data)
    source = opened(path)
    with pytest.raises(SourceError) as told:
        source.read(WHOLE)
    assert PATIENT not in str(told.value)


def test_a_window_costs_its_tiles_only(
    pixels: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, read = opened(write_slide(tmp_path / "slide", pixels)), list[int]()
    decode = Frames.read
    monkeypatch.setattr(Frames, "read", lambda self, i: read.append(i) or decode(self, i))
    source.read(Window(100, 200, 50, 50))
    assert read == [6]
    source.mask(WHOLE)
    assert read == [6], "a mask decodes nothing"


def test_memory_does_not_grow_with_the_slide(tmp_path: Path) -> None:
    side, tile = 20480, 512
    header = slide_header((3, side, side), tile, "uint8")
    path = save(tmp_path / "slide" / "a.dcm", header, [np.zeros((2, 2, 3), np.uint8)])
    data = path.read_bytes()
    size = 3 * side * side  # 1.2 GB, as a hole of the file
    head = data[: data.index(b"\xe0\x7f\x10\x00OB")].replace(
        b"\x28\x00\x08\x00IS\x02\x001 ", b"\x28\x00\x08\x00IS\x04\x001600"
    )
    with path.open("wb") as file:
        file.write(head + b"\xe0\x7f\x10\x00OB\0\0" + size.to_bytes(4, "little"))
        file.truncate(file.tell() + size)
    tracemalloc.start()
    try:
        source = opened(tmp_path / "slide")
        for y in range(0, side, 2048):
            assert not source.read(Window(y, y, 600, 600)).any()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 * 2**20


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("outer", [False, True])
@pytest.mark.parametrize("inner", [False, True])
def test_places_of_frames_are_found_however_sequences_are_written(
    pixels: np.ndarray, tmp_path: Path, implicit: bool, outer: bool, inner: bool
) -> None:
    """With lengths or without, typed or not, each frame with a path of its own."""
    path = write_sparse(tmp_path / "slide", pixels, [(0, 96), (96, 0), (200, 237)]) / "a.dcm"
    header = dcmread(path)
    header["PerFrameFunctionalGroupsSequence"].is_undefined_length = outer
    for number, frame in enumerate(header.PerFrameFunctionalGroupsSequence):
        frame.is_undefined_length_sequence_item = inner
        for element in frame:
            element.is_undefined_length = inner
            element.value[0].is_undefined_length_sequence_item = inner
        frame.OpticalPathIdentificationSequence[0].OpticalPathIdentifier = f"p{number % 2}"
        frame.PlanePositionSlideSequence[0].ZOffsetInSlideCoordinateSystem = number // 2 * 1.5
    header.OpticalPathSequence = [item(OpticalPathIdentifier=f"p{path}") for path in (1, 0)]
    if implicit:
        header.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2"
    header.save_as(path, implicit_vr=implicit, little_endian=True)
    sheet = read_sheet(str(path))
    assert sheet is not None
    assert sheet.places is not None
    assert sheet.focuses == (Focus("p0", 0.0), Focus("p1", 0.0), Focus("p0", 1.5))
    assert sheet.places.tolist() == [[0, 0, 96], [1, 96, 0], [2, 200, 237]]


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_elements_or_an_error(data: bytes, implicit: bool) -> None:
    for walk in (elements, items):
        try:
            for _ in walk(data, (0, len(data)), implicit=implicit):
                pass
        except ValueError:
            pass


def test_what_is_said_of_each_frame_takes_little_room(tmp_path: Path) -> None:
    places = [(y, x) for y in range(0, 200) for x in range(0, 200)]
    folder = write_sparse(tmp_path / "slide", np.zeros((1, 200, 200), np.uint8), places, tile=1)
    tracemalloc.start()
    try:
        source = opened(folder)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert not source.profile.mask
    assert peak < 64 * 2**20


def test_a_dicomdir_leads_to_its_slide(pixels: np.ndarray, tmp_path: Path) -> None:
    write_slide(tmp_path / "SLIDE", pixels)
    (tmp_path / "SLIDE" / "a.dcm").rename(tmp_path / "SLIDE" / "A")
    directory = write_dicomdir(tmp_path / "DICOMDIR", [(["SLIDE", "A"], "1.2.3.4.1")])
    for path in (directory, tmp_path):
        np.testing.assert_array_equal(opened(path).read(WHOLE), pixels)


def test_tiles_that_are_cut_short_at_the_edge_are_read(tmp_path: Path) -> None:
    """Some write codestreams of what is left of the matrix; the header says otherwise."""
    pixels = texture((3, 150, 170), "uint8")
    header = slide_header(pixels.shape, 96, "uint8")
    del header.OpticalPathSequence, header.NumberOfOpticalPaths
    frames = [
        np.moveaxis(pixels[:, y : y + 96, x : x + 96], 0, -1) for y in (0, 96) for x in (0, 96)
    ]
    save(tmp_path / "slide" / "a.dcm", header, frames, jpeg=True)
    found = opened(tmp_path / "slide").read(Window(0, 0, 150, 170))
    assert np.abs(found.astype(int) - pixels).mean() < 6, "JPEG, but of the same pixels"
    story.upscale(make_job(tmp_path / "slide", tmp_path / "out"))
    assert levels(tmp_path / "out")[0].TotalPixelMatrixRows == 300


# --- what is written ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    """Large enough for three levels of tiles, the last of which is one tile."""
    return texture((3, 700, 901), "uint8")


@pytest.fixture(scope="module")
def scanned(photo: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_slide(tmp_path_factory.mktemp("scanned") / "slide", photo, tile=240)


def pyramid(pixels: np.ndarray, number: int) -> Iterator[np.ndarray]:
    for _ in range(number):
        yield pixels
        pixels, _ = halve(pixels, None, method="average")


def assert_levels(folder: Path, planes: Sequence[np.ndarray]) -> None:
    """Every level is the mean of the one before, in every frame."""
    found = levels(folder)
    expected = [list(pyramid(replicate(plane, scale=2), len(found))) for plane in planes]
    for level, header in enumerate(found):
        np.testing.assert_array_equal(matrix(header), [plane[level] for plane in expected])


@pytest.mark.parametrize("syntax", ["uncompressed", "rle", "jpeg2000", "htj2k"])
def test_pixels_and_levels_read_back_exactly(
    photo: np.ndarray, scanned: Path, tmp_path: Path, syntax: Any
) -> None:
    story.upscale(make_job(scanned, tmp_path / "out", output=OutputOptions(syntax=syntax)))
    assert len(levels(tmp_path / "out")) == 3
    if syntax == "htj2k":  # pydicom's plugins for it are not installed everywhere
        source = opened(tmp_path / "out")
        expected = replicate(photo, scale=2)
        np.testing.assert_array_equal(source.read(Window(0, 0, 1400, 1802)), expected)
        return
    assert_levels(tmp_path / "out", [photo])


def test_pixels_do_not_depend_on_the_tile(scanned: Path, tmp_path: Path) -> None:
    found = []
    for tile in (512, 1024, 1536, 2048, None):
        target = tmp_path / str(tile)
        model = ModelOptions("bicubic", scale=3)
        output = OutputOptions(syntax="jpeg")
        story.upscale(make_job(scanned, target, tile=tile, model=model, output=output))
        found.append({path.name: dcmread(path).PixelData for path in target.iterdir()})
    assert all(one == found[0] for one in found[1:])


def test_frames_of_planes_and_paths_stay_apart(tmp_path: Path) -> None:
    planes = np.stack([texture((1, 400, 300), "uint16", seed=seed) for seed in range(4)])
    source = write_slide(tmp_path / "slide", planes.reshape(2, 2, 1, 400, 300))
    for tile in (512, 1024):
        story.upscale(make_job(source, tmp_path / f"{tile}", tile=tile))
        assert_levels(tmp_path / f"{tile}", list(planes))
    header = levels(tmp_path / "512")[0]
    assert header.NumberOfFrames == 2 * 2 * 4
    assert header.TotalPixelMatrixFocalPlanes == header.NumberOfOpticalPaths == 2
    paths = [path.OpticalPathIdentifier for path in header.OpticalPathSequence]
    assert paths == ["0", "1"]
    measures = header.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert measures.SpacingBetweenSlices == 0.001


def test_gaps_of_a_sparse_slide_are_white_at_every_level(photo: np.ndarray, tmp_path: Path) -> None:
    source = write_sparse(tmp_path / "slide", photo, [(0, 256), (256, 0)], tile=256)
    story.upscale(make_job(source, tmp_path / "out"))
    header = levels(tmp_path / "out")[0]
    assert header.DimensionOrganizationType == "TILED_FULL"
    assert "PerFrameFunctionalGroupsSequence" not in header
    (fine,) = matrix(header)
    np.testing.assert_array_equal(
        fine[:, :512, 512:1024], replicate(photo[:, :256, 256:512], scale=2)
    )
    assert (fine[:, 512:, 512:] == 255).all()
    assert (fine[:, :512, :512] == 255).all()


def test_a_concatenation_comes_out_as_one_file_that_names_all_its_parts(
    pixels: np.ndarray, written: dict[str, Path], tmp_path: Path
) -> None:
    story.upscale(make_job(written["concatenation"], tmp_path / "out"))
    assert_levels(tmp_path / "out", [pixels])
    header = levels(tmp_path / "out")[0]
    assert "ConcatenationUID" not in header
    named = [one.ReferencedSOPInstanceUID for one in header.SourceImageSequence]
    assert named == ["1.2.3.4.1", "1.2.3.4.2", "1.2.3.4.3"]


# --- W1 to W10 of the checklist -----------------------------------------------------------------


@pytest.fixture(scope="module")
def derived(scanned: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """x3, lossless."""
    target = tmp_path_factory.mktemp("derived") / "out"
    output = OutputOptions(syntax="jpeg2000")
    model = ModelOptions("nearest", scale=3)
    story.upscale(make_job(scanned, target, model=model, output=output))
    return target


def source_of(scanned: Path) -> Dataset:
    return dcmread(scanned / "a.dcm", stop_before_pixels=True)


def test_w1_matrix_and_frames(derived: Path) -> None:
    height, width = 2100, 2703
    for header in levels(derived):
        assert (header.TotalPixelMatrixRows, header.TotalPixelMatrixColumns) == (height, width)
        assert header.NumberOfFrames == -(-height // 512) * -(-width // 512)
        assert (header.Rows, header.Columns) == (512, 512)
        height, width = -(-height // 2), -(-width // 2)
    assert max(2 * height, 2 * width) <= 1024, "the last level is one tile"


def test_w2_pixels_double_exactly_from_level_to_level(derived: Path) -> None:
    for level, header in enumerate(levels(derived)):
        measures = header.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
        texts = [str(size.original_string) for size in measures.PixelSpacing]
        assert all(len(text) <= 16 for text in texts)
        sizes = [float(text) for text in texts]
        assert sizes == pytest.approx([size / 3 * 2**level for size in SPACING], rel=1e-10)
        if level == 0:
            first = sizes
        assert [size / one for size, one in zip(sizes, first, strict=True)] == pytest.approx(
            [2**level] * 2, rel=1e-15
        )
        assert measures.SliceThickness == 0.0005


def test_w3_the_imaged_volume_stays(derived: Path, scanned: Path) -> None:
    source = source_of(scanned)
    for header in levels(derived):
        for name in ("ImagedVolumeWidth", "ImagedVolumeHeight", "ImagedVolumeDepth"):
            assert header[name].value == source[name].value
        assert header.ImageOrientationSlide == source.ImageOrientationSlide
        assert header.FrameOfReferenceUID == source.FrameOfReferenceUID


def test_w4_outer_corners_of_all_levels_are_those_of_the_source(derived: Path) -> None:
    expected = corners((*ORIGIN, 0), TURN, SPACING, (700, 901))
    for level, header in enumerate(levels(derived)):
        origin = header.TotalPixelMatrixOriginSequence[0]
        place = (origin.XOffsetInSlideCoordinateSystem, origin.YOffsetInSlideCoordinateSystem, 0)
        measures = header.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
        shape = (700 * 3 / 2**level, 901 * 3 / 2**level)  # of what the level shows
        found = corners([float(at) for at in place], TURN, measures.PixelSpacing, shape)  # type: ignore[arg-type]
        np.testing.assert_allclose(found, expected, atol=1e-9)


def test_w5_what_was_seen_and_how_is_kept_in_a_pyramid_of_its_own(
    derived: Path, scanned: Path
) -> None:
    source, found = source_of(scanned), levels(derived)
    for header in found:
        for name in (
            *("OpticalPathSequence", "SpecimenDescriptionSequence", "ContainerIdentifier"),
            *("StudyInstanceUID", "PatientName", "PatientID", "AcquisitionDateTime", "FocusMethod"),
        ):
            assert header[name].value == source[name].value, name
        for name in ("PyramidUID", "SeriesInstanceUID", "SOPInstanceUID", "SeriesNumber"):
            assert header[name].value != source[name].value, name
        assert header.ImageType == ["DERIVED", "PRIMARY", "VOLUME", "RESAMPLED"]
        groups = header.SharedFunctionalGroupsSequence[0]
        frame_type = groups.WholeSlideMicroscopyImageFrameTypeSequence[0].FrameType
        assert frame_type == header.ImageType
        assert header.SeriesDescription == "a slide SRx3"
        assert header.DerivationCodeSequence[-1].CodeValue == "113085"
        assert header.ContributingEquipmentSequence[-1].ManufacturerModelName == "nearest"
        assert header.ContentQualification == "RESEARCH"
    for name in ("PyramidUID", "SeriesInstanceUID"):
        assert len({header[name].value for header in found}) == 1
    assert len({header.SOPInstanceUID for header in found}) == len(found)
    assert [int(header.InstanceNumber) for header in found] == [1, 2, 3, 4]


def test_w6_label_overview_and_thumbnail_stay_behind(shared: Path, tmp_path: Path) -> None:
    output = OutputOptions(syntax="jpeg")
    story.upscale(make_job(shared / REAL, tmp_path / "out", tile=1024, output=output))
    assert {header.ImageType[2] for header in levels(tmp_path / "out")} == {"VOLUME"}
    assert len(levels(tmp_path / "out")) == 5


def test_w6_text_of_the_label_stays_behind(pixels: np.ndarray, tmp_path: Path) -> None:
    source = broken(tmp_path / "slide", pixels, LabelText="Roe 4711", BarcodeValue="BARCODE4711")
    story.upscale(make_job(source, tmp_path / "out"))
    for path in (tmp_path / "out").iterdir():
        assert b"BARCODE" not in path.read_bytes()
        assert b"Roe 4711" not in path.read_bytes()


def test_w7_the_source_is_named_and_so_is_its_series(derived: Path, scanned: Path) -> None:
    source = source_of(scanned)
    for header in levels(derived):
        (image,) = header.SourceImageSequence
        assert image.ReferencedSOPInstanceUID == source.SOPInstanceUID
        assert image.PurposeOfReferenceCodeSequence[0].CodeValue == "121322"
        (series,) = header.ReferencedSeriesSequence
        assert series.SeriesInstanceUID == source.SeriesInstanceUID
        (instance,) = series.ReferencedInstanceSequence
        assert instance.ReferencedSOPInstanceUID == source.SOPInstanceUID


def test_w8_lossy_sources_come_out_as_jpeg_and_say_so_twice(
    photo: np.ndarray, tmp_path: Path
) -> None:
    source = write_slide(tmp_path / "slide", photo, tile=240, jpeg=True)
    story.upscale(make_job(source, tmp_path / "out", output=OutputOptions()))
    for header in levels(tmp_path / "out"):
        assert header.file_meta.TransferSyntaxUID.name == "JPEG Baseline (Process 1)"
        assert header.PhotometricInterpretation == "YBR_FULL_422"
        assert header.LossyImageCompression == "01"
        assert header.LossyImageCompressionMethod == ["ISO_10918_1", "ISO_10918_1"]
        first, second = header.LossyImageCompressionRatio
        assert first == 9
        size = Path(header.filename).stat().st_size
        plain = 3 * 512 * 512 * header.NumberOfFrames
        assert second == pytest.approx(plain / size, rel=0.2)
    (found,) = matrix(levels(tmp_path / "out")[0])
    expected = replicate(opened(source).read(Window(0, 0, 700, 901)), scale=2)
    assert np.abs(found.astype(int) - expected).mean() < 3


def test_w8_lossless_sources_come_out_lossless_and_never_less_than_they_were(
    derived: Path, photo: np.ndarray, tmp_path: Path
) -> None:
    for header in levels(derived):
        assert header.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.90"
        assert header.LossyImageCompression == "00"
    source = write_slide(tmp_path / "slide", photo, tile=240, jpeg=True)
    story.upscale(make_job(source, tmp_path / "out", output=OutputOptions(syntax="jpeg2000")))
    for header in levels(tmp_path / "out"):
        assert header.LossyImageCompression == "01"
        assert header.LossyImageCompressionMethod == "ISO_10918_1"


def test_w9_offsets_lead_to_frames_and_lengths_are_even(derived: Path) -> None:
    for path in derived.iterdir():
        assert path.read_bytes()[:132] == bytes(128) + b"DICM"
        header = dcmread(path)
        offsets = parse_basic_offsets(header.PixelData)
        assert len(offsets) == header.NumberOfFrames
        frames = list(generate_frames(header.PixelData, number_of_frames=len(offsets)))
        first = 8 + 4 * len(offsets)
        for offset, frame in zip(offsets, frames, strict=True):
            at = first + offset
            assert header.PixelData[at : at + 4] == b"\xfe\xff\x00\xe0"
            assert header.PixelData[at + 8 : at + 8 + len(frame)] == frame
            assert len(frame) % 2 == 0


def test_w9_beyond_4_gib_the_extended_table_is_used(
    scanned: Path, photo: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pixel_data, "BASIC_LIMIT", 2**16)
    story.upscale(make_job(scanned, tmp_path / "out", output=OutputOptions(syntax="jpeg2000")))
    finest = dcmread(levels(tmp_path / "out")[0].filename)
    assert parse_basic_offsets(finest.PixelData) == []
    offsets = np.frombuffer(finest.ExtendedOffsetTable, "<u8")
    lengths = np.frombuffer(finest.ExtendedOffsetTableLengths, "<u8")
    frames = list(generate_frames(finest.PixelData, number_of_frames=len(offsets)))
    assert [len(frame) for frame in frames] == lengths.tolist()
    assert offsets[0] == 0
    np.testing.assert_array_equal(np.diff(offsets), lengths[:-1] + 8)
    assert_levels(tmp_path / "out", [photo])
    expected = replicate(photo, scale=2)
    whole = Window(0, 0, 1400, 1802)
    np.testing.assert_array_equal(opened(tmp_path / "out").read(whole), expected)


@pytest.mark.parametrize("syntax", ["uncompressed", "jpeg2000"])
def test_w10_what_is_too_large_for_a_file_becomes_a_concatenation(
    scanned: Path, photo: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, syntax: Any
) -> None:
    limit = 5 * 3 * 512 * 512 if syntax == "uncompressed" else 300_000
    monkeypatch.setattr(sink, "LARGEST", limit)
    target = tmp_path / "out"
    story.upscale(make_job(scanned, target, output=OutputOptions(syntax=syntax)))
    parts = [header for header in levels(target) if header.TotalPixelMatrixRows == 1400]
    assert len(parts) >= 3
    assert sum(int(part.NumberOfFrames) for part in parts) == 12
    offset = 0
    for number, part in enumerate(parts, 1):
        assert part.InConcatenationNumber == number
        assert part.InConcatenationTotalNumber == len(parts)
        assert part.ConcatenationFrameOffsetNumber == offset
        offset += int(part.NumberOfFrames)
        assert Path(part.filename).stat().st_size < limit + 20_000
    for name in ("ConcatenationUID", "SOPInstanceUIDOfConcatenationSource"):
        assert len({part[name].value for part in parts}) == 1
    expected = replicate(photo, scale=2)
    whole = Window(0, 0, 1400, 1802)
    np.testing.assert_array_equal(opened(target).read(whole), expected)
    wsidicom = pytest.importorskip("wsidicom")
    openslide = pytest.importorskip("openslide")
    with wsidicom.WsiDicom.open(target) as slide:
        found = np.asarray(slide.read_region((1000, 500), 0, (800, 900)))
    np.testing.assert_array_equal(np.moveaxis(found, -1, 0), expected[:, 500:1400, 1000:1800])
    with openslide.OpenSlide(parts[0].filename) as other:
        assert other.dimensions == (1802, 1400)
        assert other.level_count == 3
        found = np.asarray(other.read_region((1000, 500), 0, (800, 900)).convert("RGB"))
    np.testing.assert_array_equal(np.moveaxis(found, -1, 0), expected[:, 500:1400, 1000:1800])


@given(st.lists(st.integers(1, 50), min_size=1, max_size=40), st.integers(1, 120))
def test_w10_every_frame_is_in_one_part(sizes: list[int], most: int) -> None:
    cuts = divide(sizes, most)
    assert [frame for first, stop in cuts for frame in range(first, stop)] == [*range(len(sizes))]
    for first, stop in cuts:
        assert sum(sizes[first:stop]) <= most or stop == first + 1


# --- others' readers ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["real", "ours"])
def test_openslide_wsidicom_and_highdicom_agree(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    openslide = pytest.importorskip("openslide")
    wsidicom = pytest.importorskip("wsidicom")
    highdicom = pytest.importorskip("highdicom")
    source: Path = (
        request.getfixturevalue("shared") / REAL
        if kind == "real"
        else request.getfixturevalue("scanned")
    )
    output = OutputOptions()  # jpeg of the real one, jpeg2000 of ours
    story.upscale(make_job(source, tmp_path / "out", tile=1024, output=output))
    found = levels(tmp_path / "out")
    down, right = found[0].SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing
    size = (found[0].TotalPixelMatrixColumns, found[0].TotalPixelMatrixRows)
    if kind == "real":
        assert size == (4440, 5934)
        assert (down, right) == (0.0002495, 0.0002495)
    y, x = size[1] - 700, size[0] - 900
    with openslide.OpenSlide(found[0].filename) as slide:
        assert slide.dimensions == size
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(1000 * right)
        assert float(slide.properties["openslide.mpp-y"]) == pytest.approx(1000 * down)
        assert slide.level_dimensions == tuple(
            (header.TotalPixelMatrixColumns, header.TotalPixelMatrixRows) for header in found
        )
        assert not slide.associated_images
        one = np.asarray(slide.read_region((x, y), 0, (900, 700)).convert("RGB"))
    with wsidicom.WsiDicom.open(tmp_path / "out") as slide:
        assert (slide.size.width, slide.size.height) == size
        assert (slide.mpp.width, slide.mpp.height) == pytest.approx((1000 * right, 1000 * down))
        assert [level.level for level in slide.pyramids[0]] == list(range(len(found)))
        two = np.asarray(slide.read_region((x, y), 0, (900, 700)))
    for header in found:
        image = highdicom.imread(header.filename, lazy_frame_retrieval=True)
        assert image.is_tiled
        whole = image.get_volume_geometry()
        assert whole.spatial_shape[1:] == (
            header.TotalPixelMatrixRows,
            header.TotalPixelMatrixColumns,
        )
        measures = header.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
        assert whole.pixel_spacing == pytest.approx(tuple(measures.PixelSpacing))
    image = highdicom.imread(found[0].filename, lazy_frame_retrieval=True)
    three = image.get_total_pixel_matrix(
        row_start=y + 1, column_start=x + 1, apply_icc_profile=False, dtype=np.uint8
    )
    ours = np.moveaxis(opened(tmp_path / "out").read(Window(y, x, 700, 900)), 0, -1)
    for other in (one, two, three):
        assert np.abs(other.astype(int) - ours).max() <= (1 if kind == "real" else 0)


def complaints(path: Path | str) -> set[str]:
    """What dciodvfy says of a file, without its values and counts."""
    said = subprocess.run(["dciodvfy", "-new", path], capture_output=True, text=True, check=False)
    lines = (said.stdout + said.stderr).splitlines()
    return {
        re.sub(r"\[\d+\]|<[^>]*>|= *\S+", "", line)
        for line in lines
        if line.startswith(("Error", "Warning"))
    }


def needs(program: str) -> str:
    """A program of Debian's dicom3tools."""
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"needs {program}, of Debian's dicom3tools")
    return found


@pytest.mark.parametrize("syntax", ["jpeg", "jpeg2000", "uncompressed", "rle"])
@pytest.mark.parametrize("kind", ["real", "ours", "sparse", "planes"])
def test_dciodvfy_has_nothing_new_to_say(
    kind: str, syntax: Any, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    needs("dciodvfy")
    if kind == "real":
        source = request.getfixturevalue("shared") / REAL
        if syntax != "jpeg":
            pytest.skip("the large one is looked at once")
    elif kind == "ours":
        source = request.getfixturevalue("scanned")
    elif kind == "sparse":
        source = request.getfixturevalue("written")["sparse"]
    else:
        planes = texture((1, 200, 300), "uint8")[None, None].repeat(2, 0).repeat(3, 1)
        source = write_slide(tmp_path / "slide", planes)
    output = OutputOptions(syntax=syntax)
    story.upscale(make_job(source, tmp_path / "out", tile=1024, output=output))
    before = set().union(*(complaints(path) for path in source.iterdir()))
    for path in (tmp_path / "out").iterdir():
        assert complaints(path) <= before, path
    both = [*(tmp_path / "out").iterdir(), *source.iterdir()]
    for files in ([*(tmp_path / "out").iterdir()], both):
        said = subprocess.run(
            [needs("dcentvfy"), *files], capture_output=True, text=True, check=False
        )
        assert said.stdout + said.stderr == ""


# --- again, killed, refused ---------------------------------------------------------------------


def uids(folder: Path) -> list[tuple[str, ...]]:
    return [
        tuple(str(header[n].value) for n in ("SOPInstanceUID", "SeriesInstanceUID", "PyramidUID"))
        for header in levels(folder)
    ]


def test_the_same_job_gives_the_same_identifiers_and_another_others(
    scanned: Path, tmp_path: Path
) -> None:
    jobs = {
        "one": make_job(scanned, tmp_path / "one"),
        "two": make_job(scanned, tmp_path / "two", tile=1024),
        "model": make_job(scanned, tmp_path / "model", model=ModelOptions("bicubic", scale=2)),
        "syntax": make_job(scanned, tmp_path / "syntax", output=OutputOptions(syntax="rle")),
    }
    for job in jobs.values():
        story.upscale(job)
    found = {name: uids(tmp_path / name) for name in jobs}
    assert found["one"] == found["two"]
    for other in ("model", "syntax"):
        assert not {u for one in found[other] for u in one} & {
            u for one in found["one"] for u in one
        }
    names = {path.name for path in (tmp_path / "one").iterdir()}
    assert all(re.fullmatch(r"[0-9a-f]{12}\.dcm", name) for name in names)


def test_a_run_killed_at_any_step_of_publishing_is_finished_by_the_next(
    scanned: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    job = make_job(scanned, folder / "out")
    runs.kill_publishing(job, 7)
    assert_levels(folder / "out", [texture((3, 700, 901), "uint8")])


def test_a_run_killed_over_its_tiles_goes_on(
    scanned: Path, photo: np.ndarray, tmp_path: Path
) -> None:
    job = make_job(scanned, tmp_path / "out")
    driver = runs.drive(job, seconds=0.1)
    runs.wait_until(lambda: runs.journaled(tmp_path / "out") >= 3, alive=driver)
    runs.end(driver)
    assert not (tmp_path / "out").exists()
    tiles = list[bool]()
    story.upscale(job, lambda event: tiles.append(isinstance(event, Progress)))
    assert 0 < sum(tiles) <= 9
    assert_levels(tmp_path / "out", [photo])


def test_a_damaged_part_is_made_again(tmp_path: Path) -> None:
    planes = np.stack([texture((1, 400, 300), "uint8", seed=seed) for seed in range(2)])
    source = write_slide(tmp_path / "slide", planes[None])
    job, tiles = make_job(source, tmp_path / "out"), list[bool]()

    def spoil(event: Event) -> None:
        tiles.append(isinstance(event, Progress))
        if sum(tiles) == 8 and tiles[-1]:
            part = tmp_path / ".out.espcn" / "1" / "parts" / "0000002.part"
            data = bytearray(part.read_bytes())
            data[7] ^= 4
            part.write_bytes(data)

    story.upscale(job, spoil)
    assert sum(tiles) == 9
    assert_levels(tmp_path / "out", list(planes))


def test_an_output_is_replaced_whole_and_nothing_else_is(
    scanned: Path, photo: np.ndarray, written: dict[str, Path], tmp_path: Path
) -> None:
    target = tmp_path / "out"
    story.upscale(make_job(written["one file"], target))
    before = {path.name for path in target.iterdir()}
    story.upscale(make_job(scanned, target, overwrite=True))
    assert not before & {path.name for path in target.iterdir()}
    assert_levels(target, [photo])
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    (target / "notes.txt").write_text("mine")
    with pytest.raises(PlanError, match="will not be replaced"):
        story.upscale(make_job(scanned, target, overwrite=True))


def test_what_a_slide_cannot_hold_is_refused(scanned: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="lies in the input's folder"):
        story.upscale(make_job(scanned, scanned / "out"))
    with pytest.raises(PlanError, match="leave out --bands"):
        story.upscale(make_job(scanned, tmp_path / "out", input=SourceOptions(bands=(1,))))
    grey = write_slide(tmp_path / "grey", texture((1, 100, 100), "uint16"))
    with pytest.raises(PlanError, match="JPEG holds unsigned samples of 8 bits"):
        story.upscale(make_job(grey, tmp_path / "out", output=OutputOptions(syntax="jpeg")))
    assert not (tmp_path / "out").exists()


def test_a_header_that_cannot_be_carried_over_is_refused_before_the_first_tile(
    pixels: np.ndarray, tmp_path: Path
) -> None:
    path = write_slide(tmp_path / "slide", pixels) / "a.dcm"
    data = path.read_bytes()
    damaged = data.replace(b"\x48\x00\x03\x00FL", b"\x48\x00\x03\x00Fq")
    assert damaged != data
    path.write_bytes(damaged)
    tiles = list[Event]()
    with pytest.raises(PlanError, match="attribute of its header cannot be"):
        story.upscale(make_job(path.parent, tmp_path / "out"), tiles.append)
    assert not tiles


@pytest.mark.parametrize("syntax", ["uncompressed", "jpeg2000", "jpeg"])
def test_stage_and_output_together_stay_near_the_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, syntax: Any
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (3, 900, 800), np.uint8)
    source, folder, weights = write_slide(tmp_path / "slide", noise), tmp_path / "out", list[int]()
    folder.mkdir()

    def weigh(call: Callable[..., Any]) -> Callable[..., Any]:
        def weighing(*args: Any, **options: Any) -> Any:
            weights.append(size_on_disk(folder))
            return call(*args, **options)

        return weighing

    job = make_job(source, folder / "out", output=OutputOptions(syntax=syntax))
    with monkeypatch.context() as patch:
        for name in ("fsync", "truncate", "unlink", "replace"):
            patch.setattr(os, name, weigh(getattr(os, name)))
        story.upscale(job)
    output = size_on_disk(folder)
    assert output * 0.95 < max(weights) <= 1.2 * output + 2**20
    (room,) = prepare(replace(job, overwrite=True)).rooms
    assert max(weights) <= room.peak


def test_without_overviews_there_is_one_level(
    scanned: Path, photo: np.ndarray, tmp_path: Path
) -> None:
    output = OutputOptions(syntax="uncompressed", overviews="none")
    story.upscale(make_job(scanned, tmp_path / "out", output=output))
    assert len(levels(tmp_path / "out")) == 1
    assert_levels(tmp_path / "out", [photo])


def test_a_deidentified_slide_says_nothing_of_the_patient(scanned: Path, tmp_path: Path) -> None:
    output = OutputOptions(syntax="jpeg2000", deidentify=True)
    story.upscale(make_job(scanned, tmp_path / "out", output=output))
    for header in levels(tmp_path / "out"):
        assert header.PatientIdentityRemoved == "YES"
        assert "1.2.3.2" not in str(header.ReferencedSeriesSequence[0].SeriesInstanceUID)
    for path in (tmp_path / "out").iterdir():
        data = path.read_bytes()
        for secret in (PATIENT, "4711", "19500101", "1.2.3.1\0", "1.2.3.4.1", "1.2.3.7"):
            assert secret.encode() not in data


def test_the_network_sees_the_pixels_and_not_the_padding(photo: np.ndarray, tmp_path: Path) -> None:
    """Edge tiles of the source are padded with another value: the output shows none of it."""
    one = write_slide(tmp_path / "one", photo, tile=240)
    two = write_slide(tmp_path / "two", photo, tile=700)
    for source in (one, two):
        model = ModelOptions("general-x2")
        story.upscale(
            make_job(source, tmp_path / f"{source.name}.out".replace(".", "-"), model=model)
        )
    first, second = (levels(tmp_path / f"{name}-out") for name in ("one", "two"))
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(matrix(a), matrix(b))
