"""Voxels of OME-Zarr stores in the patient: every frame of every kind of stack, by its headers."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from dicom_files import write_dicom
from numpy.typing import NDArray
from ome_zarr_models.v05.image import Image
from pydicom.dataset import Dataset
from runs import Ran

from pipeline.dicom.geometry import Plane
from pipeline.sinks.ome_place import place_frames

pytestmark = pytest.mark.filterwarnings("ignore::ome_zarr_models.exceptions.ValidationWarning")

Espcn = Callable[..., Ran]
Vectors = NDArray[np.float64]

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
TILTED = (1.0, 0.0, 0.0, 0.0, 0.9659258, -0.258819)
"""As of a gantry that is tilted by 15 degrees."""
OBLIQUE = (0.8, 0.6, 0.0, 0.0, 0.0, -1.0)
SPACING = (0.8, 0.5)
"""Between rows, between columns."""
UP = (0.0, 0.0, 2.5)
ACROSS = (-0.6 * 3.3, 0.8 * 3.3, 0.0)
"""Along the normal of the oblique slices, the other way."""
EVEN, UNEVEN = (0, 1, 2, 3, 4), (0, 1, 2, 5, 6)

STACKS = {
    "ascending": (AXIAL, UP, EVEN),
    "oblique": (OBLIQUE, ACROSS, EVEN),
    "tilted": (TILTED, UP, EVEN),
    "uneven": (AXIAL, UP, UNEVEN),
    "tilted and uneven": (TILTED, UP, UNEVEN),
    "at one place": (AXIAL, UP, (0, 0, 1, 1)),
}
"""(orientation, step, at which multiples of it slices lie)."""


def places(step: Sequence[float], at: Sequence[int]) -> Vectors:
    """(n, 3) positions far from the origin."""
    return np.array([-101.25, 222.5, 1033.125]) + np.outer(at, step)


def write_slices(folder: Path, orientation: Sequence[float], positions: Vectors) -> Path:
    """One file a slice."""
    folder.mkdir()
    for number, position in enumerate(positions):
        write_dicom(
            folder / f"I{number}",
            np.full((24, 20), number, "int16"),
            SOPInstanceUID=f"1.2.3.{number + 1}",
            SeriesInstanceUID="1.2.3",
            InstanceNumber=number + 1,
            ImagePositionPatient=[*map(float, position)],
            ImageOrientationPatient=[*orientation],
            PixelSpacing=[*SPACING],
        )
    return folder


def item(**attributes: Any) -> Dataset:
    found = Dataset()
    for name, value in attributes.items():
        setattr(found, name, value)
    return found


def write_frames(
    path: Path,
    positions: Sequence[Sequence[float] | None],
    *,
    orientations: Sequence[Sequence[float]] = (AXIAL,),
    spacings: Sequence[Sequence[float]] = (SPACING,),
) -> Path:
    """One enhanced file, whose frames each say where they lie; lists are gone through in turns."""
    groups = []
    for number, position in enumerate(positions):
        turn, size = orientations[number % len(orientations)], spacings[number % len(spacings)]
        group = item(PixelMeasuresSequence=[item(PixelSpacing=[*size])])
        if position is not None:
            group.PlanePositionSequence = [item(ImagePositionPatient=[*map(float, position)])]
            group.PlaneOrientationSequence = [item(ImageOrientationPatient=[*turn])]
        groups.append(group)
    pixels = np.zeros((len(groups), 24, 20), "int16")
    pixels += np.arange(len(groups), dtype="int16")[:, None, None]
    return write_dicom(
        path,
        pixels,
        SOPClassUID="1.2.840.10008.5.1.4.1.1.2.1",
        SharedFunctionalGroupsSequence=[Dataset()],
        PerFrameFunctionalGroupsSequence=groups,
    )


def upscale(espcn: Espcn, source: Path, *more: str) -> zarr.Group:
    target = source.parent / "out.zarr"
    chosen = ("--workers", "0", "--quiet", "--model", "nearest", "--scale", "2")
    ran = espcn("upscale", source, target, *chosen, *more)
    assert ran.code == 0, ran.err
    group = zarr.open_group(target, mode="r")
    Image.from_zarr(group)
    return group


def transforms(group: zarr.Group, level: int = 0) -> tuple[Vectors, Vectors]:
    """(scale, translation) of a level."""
    dataset = group.attrs["ome"]["multiscales"][0]["datasets"][level]
    scale, shift = (np.array(one[one["type"]]) for one in dataset["coordinateTransformations"])
    return scale, shift


def first_voxels(group: zarr.Group) -> Vectors:
    """(n, 3) where affine and multiscales have the voxels (k, 0, 0)."""
    scale, shift = transforms(group)
    assert scale.min() > 0
    frames = np.arange(group["0"].shape[0])
    zyx = shift + np.outer(frames, (1, 0, 0)) * scale
    affine = np.array(group.attrs["dicom"]["affine"])
    return np.asarray(zyx[:, ::-1] @ affine[:3, :3].T + affine[:3, 3])


def fine(positions: Vectors, orientation: Sequence[float]) -> Vectors:
    """(n, 3) of first pixels half as large: a quarter of a pixel nearer to the corner."""
    right, down = np.reshape(orientation, (2, 3))
    return positions - right * SPACING[1] / 4 - down * SPACING[0] / 4


def held(group: zarr.Group, expected: Vectors, *, even: bool) -> None:
    """Frames are where they should be: by the matrix, or else each by itself."""
    found = group.attrs["dicom"]
    assert ("positions" in found) is not even
    voxels = first_voxels(group)
    np.testing.assert_allclose(voxels[0], expected[0], atol=1e-6)
    np.testing.assert_allclose(voxels if even else found["positions"], expected, atol=1e-6)


@pytest.mark.parametrize("name", STACKS)
def test_every_slice_of_a_series_is_where_its_header_says(
    espcn: Espcn, tmp_path: Path, name: str
) -> None:
    orientation, step, at = STACKS[name]
    positions = places(step, at)
    group = upscale(espcn, write_slices(tmp_path / "series", orientation, positions))
    right, down = np.reshape(orientation, (2, 3))
    heights = positions @ np.cross(right, down)
    order = np.argsort(heights, kind="stable")  # as series are put in order
    assert np.asarray(group["0"])[:, 0, 0].tolist() == order.tolist()
    held(group, fine(positions[order], orientation), even=at == EVEN)


@pytest.mark.parametrize("way", [1, -1])
@pytest.mark.parametrize("name", STACKS)
def test_every_frame_of_a_file_is_where_it_says(
    espcn: Espcn, tmp_path: Path, name: str, way: int
) -> None:
    orientation, step, at = STACKS[name]
    positions = places(step, at)[::way]
    group = upscale(
        espcn, write_frames(tmp_path / "a.dcm", positions.tolist(), orientations=[orientation])
    )
    assert np.asarray(group["0"])[:, 0, 0].tolist() == list(range(len(at)))
    held(group, fine(positions, orientation), even=at == EVEN)


def test_rows_and_columns_of_a_tilted_stack_run_as_they_did(espcn: Espcn, tmp_path: Path) -> None:
    positions = places(UP, EVEN)
    group = upscale(espcn, write_slices(tmp_path / "series", TILTED, positions))
    affine = np.array(group.attrs["dicom"]["affine"])
    for level in range(len(group.attrs["ome"]["multiscales"][0]["datasets"])):
        scale, shift = transforms(group, level)
        size = 2.0 ** (level - 1)
        for k, y, x in [(0, 0, 0), (3, 5, 7)]:
            found = affine @ (*(shift + scale * (k, y, x))[::-1], 1)
            column, row = (x + 0.5) * size - 0.5, (y + 0.5) * size - 0.5
            expected = (
                positions[k]
                + np.array(TILTED[:3]) * SPACING[1] * column
                + np.array(TILTED[3:]) * SPACING[0] * row
            )
            np.testing.assert_allclose(found[:3], expected, atol=1e-6)


@pytest.mark.parametrize("name", ["ascending", "tilted", "uneven"])
def test_what_one_matrix_cannot_hold_is_said_before(
    espcn: Espcn, tmp_path: Path, name: str
) -> None:
    orientation, step, at = STACKS[name]
    series = write_slices(tmp_path / "series", orientation, places(step, at))
    chosen = ("--model", "nearest", "--scale", "2", "--dry-run", "--json")
    ran = espcn("upscale", series, tmp_path / "out.zarr", *chosen)
    assert ran.code == 0, ran.err
    (output,) = json.loads(ran.out)["outputs"]
    notes = [one["note"] for one in output["metadata"] if one["item"] == "positions of frames"]
    assert len(notes) == (at != EVEN)
    assert all("one matrix cannot hold" in note and "5 mm" in note for note in notes)


def test_frames_without_a_position_are_told_from_others() -> None:
    one, two = (Plane((0.0, 0.0, z), AXIAL, SPACING) for z in (0.0, 2.0))
    place = place_frames([one, two, None], None, step=2.0)
    assert place.positions(1) == [(0.0, 0.0, 0.0), (0.0, 0.0, 2.0), None]


def test_positions_that_headers_round_make_no_stack_longer() -> None:
    rounded = [round(number / 3, 3) for number in range(1000)]
    planes = [Plane((0.0, 0.0, z), AXIAL, SPACING) for z in rounded]
    place = place_frames(planes, None, step=0.333)
    assert place.step == pytest.approx(333 / 999)
    assert place.apart < 1e-3
    assert len(place.planes) == 1000


def test_frames_that_move_along_themselves_keep_a_volume() -> None:
    planes = [Plane((float(x), 0.0, 0.0), AXIAL, SPACING) for x in range(3)]
    place = place_frames(planes, None, step=None)
    assert place.directions[2] == (0.0, 0.0, 1.0)
    assert place.positions(1) == [plane.position for plane in planes]


@pytest.mark.parametrize(
    ("placed", "different", "words"),
    [
        (True, {"orientations": (AXIAL, OBLIQUE)}, "orientations,"),
        (True, {"spacings": (SPACING, SPACING, (0.8, 0.75))}, "sizes of pixels,"),
        (False, {"spacings": (SPACING, (0.8, 0.75))}, "sizes of pixels,"),
        (
            True,
            {"orientations": (AXIAL, OBLIQUE), "spacings": (SPACING, (1.0, 1.0))},
            "orientations and sizes of pixels,",
        ),
    ],
)
@pytest.mark.parametrize("dry", [True, False])
def test_frames_that_are_not_alike_are_refused_before_a_tile_runs(
    espcn: Espcn, tmp_path: Path, placed: bool, different: dict[str, Any], words: str, dry: bool
) -> None:
    at = places(UP, EVEN).tolist() if placed else [None] * 5
    source = write_frames(tmp_path / "a.dcm", at, **different)
    chosen = ("--model", "nearest", "--scale", "2", *["--dry-run"] * dry)
    ran = espcn("upscale", source, tmp_path / "out.zarr", *chosen)
    assert ran.code != 0
    assert f"has frames of different {words} where OME-Zarr has one for all" in ran.err
    assert "write DICOM" in ran.err
    assert [path.name for path in tmp_path.iterdir()] == ["a.dcm"]


def test_what_ome_zarr_refuses_becomes_dicom(espcn: Espcn, tmp_path: Path) -> None:
    source = write_frames(
        tmp_path / "a.dcm", places(UP, EVEN).tolist(), orientations=(AXIAL, OBLIQUE)
    )
    chosen = ("--model", "nearest", "--scale", "2", "--workers", "0", "--quiet")
    assert espcn("upscale", source, tmp_path / "out.dcm", *chosen).code == 0


def test_sizes_and_directions_that_headers_round_are_alike(espcn: Espcn, tmp_path: Path) -> None:
    upscale(
        espcn,
        write_frames(
            tmp_path / "a.dcm",
            places(UP, EVEN).tolist(),
            orientations=(AXIAL, (1.0, 0.0, 0.0, 0.0, 1.0, 1e-6)),
            spacings=(SPACING, (0.8, 0.500001)),
        ),
    )
