"""OME-Zarr of DICOM images: ome-zarr-models says whether it is valid, SimpleITK where it lies."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from dicom_files import write_dicom, write_series
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from ome_zarr_models.v05.image import Image
from pydicom import dcmread
from runs import Ran

from pipeline.dicom.geometry import Plane, fine_position
from pipeline.errors import DamagedStageError, PlanError
from pipeline.fate import Provenance
from pipeline.journal import Receipt
from pipeline.kernel import Fine
from pipeline.options import OutputOptions, SourceOptions
from pipeline.plan import Plan
from pipeline.profile import Band, Identity, Profile
from pipeline.pyramid import halve
from pipeline.radiometry import Pixels, Radiometry
from pipeline.sinks import ome_zarr as sink
from pipeline.sinks import sink_for
from pipeline.sinks.ome_layout import axes
from pipeline.sinks.ome_place import Place, place_frames, place_slide
from pipeline.sources import Address
from pipeline.statistics import measure
from pipeline.tiling import Tiling

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # SimpleITK's of SWIG
    pytest.mark.filterwarnings("ignore::ome_zarr_models.exceptions.ValidationWarning"),
]

STACK = {"ImagePositionPatient": "-30\\-30\\0"}
"""Tags of an image that lies somewhere."""


def profile(
    source: Path, shape: tuple[int, int, int, int], tags: dict[str, str], dtype: str = "int16"
) -> Profile:
    """Of a DICOM image of (frames, bands, rows, columns)."""
    frames, bands, height, width = shape
    return Profile(
        uri=str(source),
        driver="DICOM",
        height=height,
        width=width,
        dtype=dtype,
        bands=tuple(Band(i + 1, scale=2.0, offset=-1024.0, unit="HU") for i in range(bands)),
        identity=Identity(1, 2, "0"),
        tags={"DICOM": tags},
        frames=frames,
    )


@dataclass
class Job:
    """Pixels written as if a network had made them, tile by tile."""

    folder: Path
    profile: Profile
    fine: Pixels
    """(frame, band, y, x)."""
    output: OutputOptions = field(default_factory=OutputOptions)

    def __post_init__(self) -> None:
        self.stage, self.target = self.folder / "stage", self.folder / "out.zarr"
        self.stage.mkdir(exist_ok=True)
        self.receipts: dict[int, Receipt] = {}
        one, bands = self.profile, len(self.profile.bands)
        self.plan = Plan(
            Address(one.uri, SourceOptions()),
            one,
            Provenance("espcn 0", "fake", "00" * 32, 2, "numpy"),
            Radiometry(one.dtype, 1.0, (0.0,) * bands),
            Tiling(one.height, one.width, 2, 512, 4, frames=one.frames),
            self.output,
            sink_for(self.target, one)[0],
        )

    def write(self, index: int) -> None:
        tile = self.plan.tiling.tile(index)
        pixels = self.fine[tile.frame][:, *tile.write.slices]
        files = sink.write(self.stage, self.plan, tile, Fine(pixels, None))
        self.receipts[index] = Receipt(index, files, measure(pixels, None))

    def stage_all(self) -> Job:
        sink.begin(self.stage, self.plan)
        for tile in reversed(list(self.plan.tiling)):
            self.write(tile.index)
        return self

    def publish(self) -> zarr.Group:
        sink.publish(self.stage, self.plan, self.receipts, self.target)
        return zarr.open_group(self.target, mode="r")


def texture(*shape: int, dtype: str = "int16") -> NDArray[Any]:
    return np.random.default_rng(1).integers(0, 250, shape).astype(dtype)


@pytest.fixture
def volume(tmp_path: Path) -> Job:
    """Three slices of six tiles each, which leave seeds of two more levels."""
    write_series(tmp_path / "series", 3)
    shape = (3, 1, 300, 640)
    return Job(tmp_path, profile(tmp_path / "series", shape, STACK), texture(3, 1, 600, 1280))


def film(folder: Path, bands: int = 1) -> Job:
    """Four frames that lie nowhere."""
    file = write_dicom(folder / "film.dcm", texture(4, 64, 64, dtype="uint8"))
    one = profile(file, (4, bands, 64, 64), {}, "uint8")
    return Job(folder, one, texture(4, bands, 128, 128, dtype="uint8"))


# ------------------------------------------------------------------------------------ what it holds


def test_the_pixels_of_every_level_and_frame_read_back(volume: Job) -> None:
    group = volume.stage_all().publish()
    for frame in range(3):
        expected = volume.fine[frame]
        for level in range(len(volume.plan.levels)):
            found = np.asarray(group[str(level)])
            assert found.shape == (3, *volume.plan.levels[level])
            np.testing.assert_array_equal(found[frame], expected[0])
            expected, _ = halve(expected, None, method="average")
    assert len(volume.plan.levels) == 3


@pytest.mark.parametrize("change", [{"zarr_sharded": False}, {"compress": "none"}])
def test_other_ways_of_storing_hold_the_same(volume: Job, change: dict[str, Any]) -> None:
    other = Job(volume.folder, volume.profile, volume.fine, OutputOptions(**change))
    found = np.asarray(other.stage_all().publish()["0"])
    np.testing.assert_array_equal(found, volume.fine[:, 0])


@pytest.mark.parametrize(
    ("shape", "tags", "names"),
    [
        ((5, 1, 8, 8), STACK, "zyx"),
        ((1, 1, 8, 8), STACK, "zyx"),
        ((5, 3, 8, 8), STACK, "czyx"),
        ((5, 1, 8, 8), {}, "tyx"),
        ((5, 3, 8, 8), {}, "tcyx"),
        ((1, 1, 8, 8), {}, "yx"),
        ((1, 3, 8, 8), {}, "cyx"),
        ((1, 3, 8, 8), {"kind": "slide"}, "cyx"),
        ((1, 1, 8, 8), {"kind": "slide"}, "cyx"),
        ((4, 3, 8, 8), {"kind": "slide"}, "czyx"),
    ],
)
def test_the_axes_say_what_frames_are(
    tmp_path: Path, shape: tuple[int, int, int, int], tags: dict[str, str], names: str
) -> None:
    assert axes(profile(tmp_path, shape, tags)) == names


def test_a_film_in_colour_reads_back(tmp_path: Path) -> None:
    job = film(tmp_path, bands=3)
    group = job.stage_all().publish()
    np.testing.assert_array_equal(np.asarray(group["0"]), job.fine)
    channels = group.attrs["ome"]["omero"]["channels"]
    assert [one["color"] for one in channels] == ["FF0000", "00FF00", "0000FF"]


def test_dimensions_are_named(volume: Job) -> None:
    group = volume.stage_all().publish()
    assert group["0"].metadata.dimension_names == ("z", "y", "x")


# ------------------------------------------------------------------------------ whether it is valid


def test_a_validator_finds_nothing_in_a_volume(volume: Job) -> None:
    image = Image.from_zarr(volume.stage_all().publish())
    assert image.ome_attributes.version == "0.5"
    assert len(image.ome_attributes.multiscales[0].datasets) == 3


@pytest.mark.parametrize("bands", [1, 3])
def test_a_validator_finds_nothing_in_a_film(tmp_path: Path, bands: int) -> None:
    Image.from_zarr(film(tmp_path, bands).stage_all().publish())


@pytest.mark.parametrize("wrong", ["transform", "level"])
def test_the_validator_would_find_what_is_missing(volume: Job, wrong: str) -> None:
    volume.stage_all().publish()
    path = volume.target / "zarr.json"
    data = json.loads(path.read_text())
    datasets = data["attributes"]["ome"]["multiscales"][0]["datasets"]
    if wrong == "transform":
        datasets[0]["coordinateTransformations"] = []
    else:
        datasets[1]["path"] = "9"
    path.write_text(json.dumps(data))
    with pytest.raises((ValueError, KeyError, FileNotFoundError)):
        Image.from_zarr(zarr.open_group(volume.target, mode="r"))


# ------------------------------------------------------------------------------------ where it lies

COORDINATES = st.floats(-500, 500)
SPACINGS = st.tuples(*[st.floats(0.01, 10)] * 2)


@given(
    st.tuples(*[COORDINATES] * 3), SPACINGS, st.floats(0, 6), st.integers(2, 4), st.integers(0, 4)
)
def test_corners_stay_on_every_level(
    position: tuple[float, ...],
    spacing: tuple[float, float],
    angle: float,
    scale: int,
    level: int,
) -> None:
    turned = (np.cos(angle), np.sin(angle), 0.0, 0.0, 0.0, -1.0)
    place = place_frames([Plane(position, turned, spacing)], None, step=None)
    factor = 2**level / scale
    corners = [
        np.subtract(place.translation(f), np.multiply(place.scale(f), (0, 0.5, 0.5)))
        for f in (1.0, factor)
    ]
    np.testing.assert_allclose(corners[0], corners[1], atol=1e-9)
    z, y, x = place.translation(1 / scale)
    fine = np.array(place.affine) @ (x, y, z, 1)
    expected = fine_position(position, turned, spacing, scale)
    np.testing.assert_allclose(fine[:3], expected, atol=1e-9)


def test_slices_are_as_far_apart_as_their_positions_say() -> None:
    turned = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    planes = [Plane((0.0, 0.0, 2.5 * i), turned, (1.0, 1.0)) for i in range(4)]
    even = place_frames(planes, None, step=None)
    assert (even.step, even.positions(1), even.origin) == (2.5, [], (0.0, 0.0, 0.0))
    gap = place_frames([*planes, Plane((0.0, 0.0, 20.0), turned, (1.0, 1.0))], None, step=None)
    assert gap.step == 2.5
    assert [place[2] for place in gap.positions(1) if place] == [0.0, 2.5, 5.0, 7.5, 20.0]


def test_pixels_of_unknown_size_have_no_unit() -> None:
    assert place_frames([None, None], None, step=None) == Place((1.0, 1.0))
    assert place_slide((), (), None).unit is None


def test_a_slide_is_measured_in_micrometres() -> None:
    place = place_slide((20.0, 40.0), (0.0, -1.0, 0.0, -1.0, 0.0, 0.0), (0.0005, 0.0005))
    assert place.unit == "micrometer"
    assert place.scale(0.5)[1:] == (0.25, 0.25)
    centre = np.array(place.affine) @ (*place.translation(1.0)[::-1], 1)
    np.testing.assert_allclose(centre[:3], (20_000, 40_000, 0), atol=1e-9)


def test_the_store_says_where_it_lies(volume: Job) -> None:
    attributes = dict(volume.stage_all().publish().attrs)
    (multiscale,) = attributes["ome"]["multiscales"]
    assert [axis["unit"] for axis in multiscale["axes"]] == ["millimeter"] * 3
    first, second, _ = (one["coordinateTransformations"] for one in multiscale["datasets"])
    assert first[0]["scale"] == [2.0, 0.5, 0.5]
    assert first[1]["translation"] == [0.0, -30.25, -30.25]
    assert second[0]["scale"] == [2.0, 1.0, 1.0]
    assert second[1]["translation"] == [0.0, -30.0, -30.0]
    assert attributes["dicom"]["orientation"] == [1, 0, 0, 0, 1, 0]
    assert attributes["dicom"]["rescale"] == {"slope": 2, "intercept": -1024, "unit": "HU"}
    assert "research" in attributes["contents"]


def test_it_says_nothing_of_whom_it_shows(volume: Job) -> None:
    header = dcmread(volume.folder / "series/I000")
    volume.stage_all().publish()
    text = "".join(path.read_text() for path in volume.target.rglob("zarr.json"))
    for value in (header.SeriesInstanceUID, header.FrameOfReferenceUID, str(volume.folder)):
        assert str(value) not in text


# ---------------------------------------------------------------------------------- what goes wrong


def test_a_lost_seed_is_that_of_its_tile(volume: Job) -> None:
    volume.stage_all()
    (volume.stage / "frame-2/seeds/1.0.1.seed").unlink()
    with pytest.raises(DamagedStageError) as found:
        volume.publish()
    assert found.value.tile == 2 * 6 + 1
    volume.write(13)
    np.testing.assert_array_equal(np.asarray(volume.publish()["0"])[2], volume.fine[2, 0])


def test_a_lost_tile_is_named(volume: Job) -> None:
    volume.stage_all()
    del volume.receipts[7]
    with pytest.raises(DamagedStageError, match="lacks 1 of 18 tiles, the first is 7"):
        volume.publish()


def test_publishing_again_changes_nothing(volume: Job) -> None:
    volume.stage_all().publish()
    before = {path: path.stat().st_mtime_ns for path in volume.target.rglob("*")}
    volume.publish()
    assert before == {path: path.stat().st_mtime_ns for path in volume.target.rglob("*")}


def test_other_directories_and_versions_are_refused(volume: Job) -> None:
    old = replace(volume.plan, output=OutputOptions(zarr_format=2))
    with pytest.raises(PlanError, match="is Zarr 3"):
        sink.check(old, volume.target)
    volume.target.mkdir()
    (volume.target / "letters.txt").write_text("mine")
    with pytest.raises(PlanError, match="not a Zarr store"):
        sink.check(volume.plan, volume.target)


def test_every_fate_says_what_and_why(volume: Job) -> None:
    found = sink.fates(volume.plan)
    assert all(fate.note for fate in found if fate.outcome != "kept")
    assert len({fate.item for fate in found}) == len(found)


# -------------------------------------------------------------------------------------- real series


@pytest.mark.parametrize("name", ["ct_series", "mr_series"])
def test_a_series_keeps_its_corners_in_the_eyes_of_simpleitk(
    espcn: Callable[..., Ran], shared: Path, tmp_path: Path, name: str
) -> None:
    sitk = pytest.importorskip("SimpleITK")
    folder, target = shared / "data/dicom" / name, tmp_path / "out.zarr"
    ran = espcn("upscale", folder, target, "--workers", "0", "--quiet")
    assert ran.code == 0, ran.err
    group = zarr.open_group(target, mode="r")
    Image.from_zarr(group)
    reader = sitk.ImageSeriesReader()
    (series,) = reader.GetGDCMSeriesIDs(str(folder))
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder), series))
    source = reader.Execute()
    assert group["0"].shape == tuple(np.multiply(source.GetSize()[::-1], (1, 2, 2)))
    affine = np.array(group.attrs["dicom"]["affine"])
    for dataset in group.attrs["ome"]["multiscales"][0]["datasets"]:
        scale, shift = (np.array(one[one["type"]]) for one in dataset["coordinateTransformations"])
        z, y, x = shift - scale * (0, 0.5, 0.5)
        ours = affine @ (x, y, z, 1)
        theirs = source.TransformContinuousIndexToPhysicalPoint((-0.5, -0.5, 0.0))
        np.testing.assert_allclose(ours[:3], theirs, atol=1e-6)


def test_a_slide_of_several_planes_is_refused(tmp_path: Path) -> None:
    one = profile(tmp_path / "slide", (4, 3, 8, 8), {"kind": "slide"}, "uint8")
    job = Job(tmp_path, one, texture(4, 3, 16, 16, dtype="uint8"))
    with pytest.raises(PlanError, match=r"4 optical paths or focal planes.*name a directory"):
        sink.check(job.plan, job.target)


def test_a_slide_keeps_its_place_and_size(
    espcn: Callable[..., Ran], shared: Path, tmp_path: Path
) -> None:
    target = tmp_path / "out.zarr"
    chosen = ("--workers", "0", "--quiet", "--model", "nearest", "--scale", "2")
    ran = espcn("upscale", shared / "data/dicom/wsi", target, *chosen)
    assert ran.code == 0, ran.err
    group = zarr.open_group(target, mode="r")
    Image.from_zarr(group)
    headers = [
        dcmread(path, stop_before_pixels=True)
        for path in (shared / "data/dicom/wsi").rglob("*.dcm")
    ]
    source = max(headers, key=lambda one: int(one.get("TotalPixelMatrixColumns", 0)))
    height, width = source.TotalPixelMatrixRows, source.TotalPixelMatrixColumns
    assert group["0"].shape == (3, 2 * height, 2 * width)
    measures = source.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    (multiscale,) = group.attrs["ome"]["multiscales"]
    assert [axis["name"] for axis in multiscale["axes"]] == ["c", "y", "x"]
    assert multiscale["axes"][1]["unit"] == "micrometer"
    scale, shift = (
        np.array(one[one["type"]]) for one in multiscale["datasets"][0]["coordinateTransformations"]
    )
    spacing = np.array([float(size) for size in measures.PixelSpacing]) * 1000
    np.testing.assert_allclose(scale[1:], spacing / 2)
    origin = source.TotalPixelMatrixOriginSequence[0]
    corner = np.array(group.attrs["dicom"]["affine"]) @ (
        *(shift - scale / 2)[:0:-1],
        0.0,
        1.0,
    )
    turned = np.reshape([float(one) for one in source.ImageOrientationSlide], (2, 3))
    expected = 1000 * np.array(
        [
            float(origin.XOffsetInSlideCoordinateSystem),
            float(origin.YOffsetInSlideCoordinateSystem),
            0.0,
        ]
    ) - turned.T @ (spacing[::-1] / 2)
    np.testing.assert_allclose(corner[:3], expected, atol=1e-6)
