"""Where slices lie: finer grids keep their corners; numbers fit sixteen places."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.valuerep import format_number_as_ds, is_valid_ds

from pipeline.dicom.geometry import (
    Plane,
    affine,
    corners,
    decimal_string,
    fine_position,
    fine_spacing,
    normal,
)
from pipeline.dicom.series import open_series
from pipeline.dicom.uids import derived_uid, opaque

lengths = st.floats(0.01, 10.0)
places = st.tuples(*[st.floats(-1000.0, 1000.0)] * 3)
finite = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def orientations(draw: st.DrawFn) -> tuple[float, ...]:
    """Two directions at right angles."""
    angles = [draw(st.floats(-math.pi, math.pi)) for _ in range(3)]
    (a, b, c), (sa, sb, sc) = np.cos(angles), np.sin(angles)
    turn = np.array([[a, -sa, 0], [sa, a, 0], [0, 0, 1]]) @ np.array(
        [[1, 0, 0], [0, b, -sb], [0, sb, b]]
    )
    turn = turn @ np.array([[c, 0, sc], [0, 1, 0], [-sc, 0, c]])
    return tuple(turn[0].tolist() + turn[1].tolist())


@given(places, orientations(), st.tuples(lengths, lengths), st.integers(1, 8), st.integers(1, 4096))
def test_a_finer_grid_has_the_same_outer_corners(
    place: tuple[float, ...],
    facing: tuple[float, ...],
    spacing: tuple[float, float],
    scale: int,
    side: int,
) -> None:
    fine = (fine_position(place, facing, spacing, scale), facing, fine_spacing(spacing, scale))
    coarse = corners(place, facing, spacing, (side, 7))
    np.testing.assert_allclose(corners(*fine, (scale * side, scale * 7)), coarse, atol=1e-9)


@given(places, orientations(), st.tuples(lengths, lengths), st.integers(2, 6))
def test_corners_stay_when_all_is_written_in_sixteen_places(
    place: tuple[float, ...], facing: tuple[float, ...], spacing: tuple[float, float], scale: int
) -> None:
    def written(values: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(float(decimal_string(value)) for value in values)

    fine = written(fine_position(place, facing, spacing, scale))
    size = written(fine_spacing(spacing, scale))
    found = corners(fine, facing, size, (scale * 4096, scale * 4096))
    np.testing.assert_allclose(found, corners(place, facing, spacing, (4096, 4096)), atol=1e-6)


@given(places, orientations(), st.tuples(lengths, lengths), st.floats(-10, 10))
def test_the_affine_leads_to_the_position_and_the_normal_across(
    place: tuple[float, ...], facing: tuple[float, ...], spacing: tuple[float, float], step: float
) -> None:
    across = normal(facing)
    matrix = affine(place, facing, spacing, across * step)
    np.testing.assert_allclose((matrix @ [0, 0, 0, 1])[:3], place)
    low, high = matrix @ [-0.5, -0.5, 0, 1], matrix @ [2.5, 4.5, 0, 1]
    found = corners(place, facing, spacing, (5, 3))
    np.testing.assert_allclose([low[:3], high[:3]], [found[0], found[3]], atol=1e-9)
    assert np.dot(across, facing[:3]) == pytest.approx(0, abs=1e-9)
    assert np.linalg.norm(across) == pytest.approx(1)
    plane = Plane(tuple((matrix @ [3, 4, 2, 1])[:3].tolist()), facing)
    assert plane.height == pytest.approx(float(across @ place) + 2 * step, abs=1e-6)


def test_directions_that_span_no_plane_have_no_normal() -> None:
    for wrong in ([1, 0, 0, 1, 0, 0], [0] * 6, [math.nan] * 6):
        with pytest.raises(ValueError, match="span no plane"):
            normal(wrong)


@given(st.one_of(finite, st.floats(-3000, 3000), st.integers(-5000, 5000).map(float)))
def test_a_decimal_string_is_valid_and_nearer_than_that_of_pydicom(value: float) -> None:
    text = decimal_string(value)
    assert len(text) <= 16
    assert is_valid_ds(text)
    assert abs(float(text) - value) <= abs(float(format_number_as_ds(value)) - value)


def test_a_decimal_string_is_short_where_it_can_be() -> None:
    assert [decimal_string(v) for v in (5.0, -0.0, 0.5, 1e-5, -115.5)] == [
        *("5", "0", "0.5", "1e-05", "-115.5"),
    ]
    assert decimal_string(1 / 3) == "0.33333333333333"
    for wrong in (math.nan, math.inf):
        with pytest.raises(ValueError, match="decimal string"):
            decimal_string(wrong)


@given(st.text("0123456789.", min_size=1, max_size=64), st.lists(st.text(max_size=9), max_size=3))
def test_a_derived_uid_is_valid_and_follows_from_all_it_is_made_of(
    source: str, entropy: list[str]
) -> None:
    from pydicom.uid import UID

    found = derived_uid(source, *entropy)
    assert UID(found).is_valid
    assert found == derived_uid(source, *entropy)
    assert found != derived_uid(source, *entropy, "")
    assert found != derived_uid(source + "1", *entropy)
    assert derived_uid("1", "2", "3") != derived_uid("1", "23")


def test_an_opaque_name_tells_nothing_and_takes_any_path() -> None:
    assert opaque("1.2.3") == opaque("1.2.3") != opaque("1.2.4")
    assert len(opaque("/data/Doe^Jane\udcff")) == 12


@pytest.mark.parametrize(("folder", "scale"), [("ct_series", 2), ("mr_series", 3)])
def test_corners_are_where_simpleitk_sees_them(shared: Path, folder: str, scale: int) -> None:
    itk = pytest.importorskip("SimpleITK", reason="needs SimpleITK")
    series = open_series(str(shared / "data/dicom" / folder))
    shape = (series.stored.rows, series.stored.columns)
    for slot, plane in zip(series.slots, series.planes, strict=True):
        image = itk.ReadImage(slot.path)
        assert plane is not None
        assert plane.spacing is not None
        expected = _corners(image)
        where = (plane.position, plane.orientation, plane.spacing)
        np.testing.assert_allclose(corners(*where, shape), expected, atol=1e-6)
        fine = itk.Image(shape[1] * scale, shape[0] * scale, 1, itk.sitkUInt8)
        fine.SetOrigin(fine_position(*where, scale))
        fine.SetSpacing((*reversed(fine_spacing(plane.spacing, scale)), image.GetSpacing()[2]))
        fine.SetDirection(image.GetDirection())
        np.testing.assert_allclose(_corners(fine), expected, atol=1e-6)


def _corners(image: object) -> list[tuple[float, ...]]:
    """Outer corners of a slice, as SimpleITK places them."""
    width, height, _ = image.GetSize()  # type: ignore[attr-defined]
    return [
        image.TransformContinuousIndexToPhysicalPoint((x - 0.5, y - 0.5, 0.0))  # type: ignore[attr-defined]
        for y in (0, height)
        for x in (0, width)
    ]


@pytest.mark.parametrize("folder", ["ct_series", "mr_series"])
def test_slices_are_in_the_order_of_simpleitk(shared: Path, folder: str) -> None:
    itk = pytest.importorskip("SimpleITK", reason="needs SimpleITK")
    path = shared / "data/dicom" / folder
    names = itk.ImageSeriesReader.GetGDCMSeriesFileNames(str(path))
    series = open_series(str(path))
    assert list(series.paths) == list(names)
    volume = itk.ReadImage(names)
    assert series.step == pytest.approx(volume.GetSpacing()[2])
    assert volume.GetOrigin() == pytest.approx(series.planes[0].position)  # type: ignore[union-attr]
