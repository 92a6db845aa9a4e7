"""Headers of derived instances, line by line of what the issue and the standard ask of them."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_classes import (
    CLASSES,
    FRAMES,
    ORIENTATION,
    STORAGE,
    code,
    common,
    item,
    noise,
    save,
    write_angiography,
    write_enhanced_ct,
    write_enhanced_mr,
    write_mammogram,
    write_ultrasound,
)
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
)

from pipeline.dicom import derived_enhanced, finer, write
from pipeline.dicom.derived import Derivation, image_type, name_itself
from pipeline.dicom.derived_classic import derive_classic
from pipeline.dicom.derived_enhanced import derive_enhanced, is_enhanced
from pipeline.dicom.geometry import corners
from pipeline.dicom.headers import read_header
from pipeline.dicom.lossy import add_loss
from pipeline.dicom.stored import describe
from pipeline.errors import PlanError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # values as real files have them

HOW = Derivation(
    scale=2,
    model="ct-x2",
    sha256="ab" * 32,
    software="espcn 1.2.3",
    backend="onnx",
    options="0f0f",
    syntax="uncompressed",
    created=datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC),
)


def write_ct(path: Path, **attributes: Any) -> Path:
    """One slice, oblique."""
    given = {
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "FrameOfReferenceUID": "1.2.3.9",
        "PositionReferenceIndicator": "",
        "ImagePositionPatient": ["-95.4032515640217", "-145.533869612313", "-30.8491923793209"],
        "ImageOrientationPatient": ORIENTATION,
        "PixelSpacing": ["0.666666686534882", "0.699987828731537"],
        "SliceThickness": "2.5",
        "SpacingBetweenSlices": "2.5",
        "SliceLocation": "17.25",
        "WindowCenter": ["40", "300"],
        "WindowWidth": ["80", "1500"],
        "RescaleIntercept": "-1024",
        "RescaleSlope": "1",
        "KVP": "120",
        "BitsStored": 12,
        "PixelPaddingValue": -2000,
        "GantryDetectorTilt": "0",
    }
    return save(
        path, common("2", "CT", **(given | attributes)), noise(30, 40, dtype="int16", bits=11)
    )


def derive(path: Path, how: Derivation = HOW) -> tuple[Dataset, Dataset]:
    """(header of the source, header of the derived instance)."""
    header = read_header(path)
    make = derive_enhanced if is_enhanced(header) else derive_classic
    return header, make(header, how, describe(header), size=path.stat().st_size)


@pytest.fixture
def ct(tmp_path: Path) -> tuple[Dataset, Dataset]:
    return derive(write_ct(tmp_path / "a.dcm"))


def flat(dataset: Dataset) -> dict[str, Any]:
    """Values of the top level by keyword."""
    return {element.keyword: element.value for element in dataset}


NEW = {
    *("SOPInstanceUID", "SeriesInstanceUID", "SeriesNumber", "SeriesDescription", "ImageType"),
    *("InstanceCreationDate", "InstanceCreationTime", "DerivationDescription"),
    *("DerivationCodeSequence", "SourceImageSequence", "ReferencedSeriesSequence"),
    *("ContributingEquipmentSequence", "Rows", "Columns", "PixelSpacing", "ImagePositionPatient"),
}


def test_all_else_of_a_slice_is_unchanged(ct: tuple[Dataset, Dataset]) -> None:
    source, found = map(flat, ct)
    assert {name for name in source | found if source.get(name) != found.get(name)} <= NEW
    kept = ("SOPClassUID", "Modality", "StudyInstanceUID", "FrameOfReferenceUID", "PatientName")
    assert all(found[name] == source[name] for name in (*kept, "WindowCenter", "RescaleIntercept"))
    assert found["PixelPaddingValue"] == -2000
    assert (found["BitsStored"], found["PixelRepresentation"]) == (12, 1)
    assert found["InstanceNumber"] == source["InstanceNumber"]
    assert found["AcquisitionDate"] == source["AcquisitionDate"]


def test_identifiers_are_new_and_follow_from_all_that_matters(tmp_path: Path) -> None:
    path = write_ct(tmp_path / "a.dcm")
    source, found = derive(path)
    for name in ("SOPInstanceUID", "SeriesInstanceUID"):
        uid = str(found[name].value)
        assert re.fullmatch(r"2\.25\.[1-9][0-9]{0,38}", uid)
        assert uid != source[name].value
        assert uid == derive(path)[1][name].value, "the same again: sent twice, stored once"
        others = [
            replace(HOW, sha256="cd" * 32),
            replace(HOW, scale=3),
            replace(HOW, options="1e1e"),
        ]
        assert len({uid, *(derive(path, how)[1][name].value for how in others)}) == 4
        later = replace(HOW, created=datetime(2027, 1, 1, tzinfo=UTC), syntax="rle")
        assert derive(path, later)[1][name].value == uid


def test_slices_of_a_series_stay_together(tmp_path: Path) -> None:
    found = [
        derive(write_ct(tmp_path / f"{n}.dcm", SOPInstanceUID=f"1.2.{n + 1}"))[1] for n in range(3)
    ]
    assert len({one.SeriesInstanceUID for one in found}) == 1
    assert len({one.SOPInstanceUID for one in found}) == 3


@pytest.mark.parametrize(
    ("said", "written"),
    [
        ("HEAD 5mm", "HEAD 5mm SRx2"),
        ("x" * 64, "x" * 59 + " SRx2"),
        ("ä" * 70, "ä" * 59 + " SRx2"),
        ("", "SRx2"),
    ],
)
def test_the_series_says_what_it_is_within_64_characters(
    tmp_path: Path, said: str, written: str
) -> None:
    dataset = read_header(write_ct(tmp_path / "a.dcm"))
    dataset.SeriesDescription = said[:64]
    found = derive_classic(dataset, HOW, describe(dataset))
    assert found.SeriesDescription == written
    assert found.SeriesNumber != dataset.SeriesNumber


@pytest.mark.parametrize("number", ["3", "0", "", "2147483647", "-5"])
def test_the_number_of_the_series_is_another_that_fits(tmp_path: Path, number: str) -> None:
    source, found = derive(write_ct(tmp_path / "a.dcm", SeriesNumber=number))
    assert found.SeriesNumber != source.SeriesNumber
    assert abs(int(found.SeriesNumber)) < 2**31


@pytest.mark.parametrize(
    ("kind", "given", "wanted"),
    [
        ("classic", ["ORIGINAL", "PRIMARY", "AXIAL"], ["DERIVED", "SECONDARY", "AXIAL"]),
        ("classic", ["ORIGINAL", "PRIMARY", ""], ["DERIVED", "SECONDARY", ""]),
        ("classic", None, ["DERIVED", "SECONDARY"]),
        ("classic", "ORIGINAL", ["DERIVED", "SECONDARY"]),
        (
            "enhanced",
            ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"],
            ["DERIVED", "PRIMARY", "VOLUME", "RESAMPLED"],
        ),
        (
            "enhanced",
            ["DERIVED", "PRIMARY", "ANGIO", "MAXIMUM"],
            ["DERIVED", "PRIMARY", "ANGIO", "MAXIMUM"],
        ),
        ("enhanced", None, ["DERIVED", "PRIMARY", "VOLUME", "RESAMPLED"]),
        (
            "slide",
            ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"],
            ["DERIVED", "PRIMARY", "VOLUME", "RESAMPLED"],
        ),
    ],
)
def test_the_image_type_suits_the_class(kind: Any, given: object, wanted: list[str]) -> None:
    assert image_type(given, kind) == wanted


@pytest.mark.parametrize("write", [write_enhanced_ct, write_enhanced_mr])
def test_frames_have_the_type_of_the_image(tmp_path: Path, write: Any) -> None:
    _, found = derive(write(tmp_path / "a.dcm"))
    (shared,) = found.SharedFunctionalGroupsSequence
    kinds = [
        inner.FrameType for element in shared for inner in element.value if "FrameType" in inner
    ]
    assert kinds == [["DERIVED", "PRIMARY", "VOLUME", "RESAMPLED"]] == [found.ImageType]


def meaning(item: Dataset) -> tuple[str, str]:
    return item.CodeValue, item.CodingSchemeDesignator


def test_a_slice_says_how_and_from_what_it_was_derived(ct: tuple[Dataset, Dataset]) -> None:
    source, found = ct
    assert "x2" in found.DerivationDescription
    assert "not for diagnosis" in found.DerivationDescription
    assert [meaning(one) for one in found.DerivationCodeSequence] == [("113085", "DCM")]
    (image,) = found.SourceImageSequence
    assert image.ReferencedSOPClassUID == source.SOPClassUID
    assert image.ReferencedSOPInstanceUID == source.SOPInstanceUID
    assert image.SpatialLocationsPreserved == "YES"
    assert [meaning(one) for one in image.PurposeOfReferenceCodeSequence] == [("121322", "DCM")]
    (series,) = found.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == source.SeriesInstanceUID
    (instance,) = series.ReferencedInstanceSequence
    assert instance.ReferencedSOPInstanceUID == source.SOPInstanceUID


def test_what_was_derived_before_says_so_still(tmp_path: Path) -> None:
    before = code("113076", "DCM", "Segmentation")
    path = write_ct(
        tmp_path / "a.dcm",
        DerivationDescription="d" * 1020,
        DerivationCodeSequence=[before],
        ContributingEquipmentSequence=[item(Manufacturer="Other")],
        SourceImageSequence=[item(ReferencedSOPInstanceUID="1.2.3")],
    )
    source, found = derive(path)
    assert [meaning(one)[0] for one in found.DerivationCodeSequence] == ["113076", "113085"]
    assert len(found.DerivationDescription) == 1024
    assert "dddd" in found.DerivationDescription
    assert [one.Manufacturer for one in found.ContributingEquipmentSequence] == ["Other", "ESPCN"]
    (image,) = found.SourceImageSequence
    assert image.ReferencedSOPInstanceUID == source.SOPInstanceUID


def test_equipment_is_appended_with_version_weights_and_date(ct: tuple[Dataset, Dataset]) -> None:
    (ours,) = ct[1].ContributingEquipmentSequence
    (purpose,) = ours.PurposeOfReferenceCodeSequence
    assert meaning(purpose) == ("109102", "DCM")
    assert ours.SoftwareVersions == "espcn 1.2.3"
    assert ours.ContributionDateTime == "20260304050607+0000"
    assert "ab" * 32 in ours.ContributionDescription
    assert ours.DeviceSerialNumber == "ab" * 32


@pytest.mark.parametrize(
    ("zone", "date", "time"),
    [("+0130", "20260304", "063607"), ("-0600", "20260303", "230607")],
)
def test_the_time_of_creation_is_in_the_zone_of_the_source(
    tmp_path: Path, zone: str, date: str, time: str
) -> None:
    _, found = derive(write_ct(tmp_path / "a.dcm", TimezoneOffsetFromUTC=zone))
    assert (found.InstanceCreationDate, found.InstanceCreationTime) == (date, time)


@pytest.mark.parametrize("write", [write_enhanced_ct, write_enhanced_mr])
def test_every_frame_of_an_enhanced_image_names_its_own(tmp_path: Path, write: Any) -> None:
    source, found = derive(write(tmp_path / "a.dcm"))
    for number, group in enumerate(found.PerFrameFunctionalGroupsSequence, 1):
        (derivation,) = group.DerivationImageSequence
        assert [meaning(one)[0] for one in derivation.DerivationCodeSequence] == ["113085"]
        assert "not for diagnosis" in derivation.DerivationDescription
        (image,) = derivation.SourceImageSequence
        assert image.ReferencedFrameNumber == number
        assert image.ReferencedSOPInstanceUID == source.SOPInstanceUID
        assert meaning(image.PurposeOfReferenceCodeSequence[0]) == ("121322", "DCM")
    assert number == FRAMES
    (study,) = found.SourceImageEvidenceSequence
    assert study.StudyInstanceUID == source.StudyInstanceUID
    (series,) = study.ReferencedSeriesSequence
    assert series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID
    assert found.ReferencedSeriesSequence[0].SeriesInstanceUID == source.SeriesInstanceUID
    for name in ("SourceImageSequence", "DerivationDescription", "DerivationCodeSequence"):
        assert name not in found, "the class has no place for it"


def test_derivations_that_were_shared_go_to_each_frame(tmp_path: Path) -> None:
    header = read_header(write_enhanced_ct(tmp_path / "a.dcm"))
    before = item(DerivationDescription="masked")
    header.SharedFunctionalGroupsSequence[0].DerivationImageSequence = [before]
    found = derive_enhanced(header, HOW, describe(header))
    assert "DerivationImageSequence" not in found.SharedFunctionalGroupsSequence[0]
    for group in found.PerFrameFunctionalGroupsSequence:
        assert group.DerivationImageSequence[0].DerivationDescription == "masked"
        assert len(group.DerivationImageSequence) == 2


def test_enhanced_images_are_for_research_and_classic_ones_cannot_say_so(tmp_path: Path) -> None:
    _, found = derive(write_enhanced_mr(tmp_path / "a.dcm"))
    assert found.ContentQualification == "RESEARCH"
    assert "ContentQualification" not in derive(write_ct(tmp_path / "b.dcm"))[1]


def test_enhanced_mr_drops_what_only_an_original_may_say(tmp_path: Path) -> None:
    source, found = derive(write_enhanced_mr(tmp_path / "a.dcm"))
    gone = {name for name in flat(source) if name not in found}
    assert gone == set(derived_enhanced.PULSE_SEQUENCE) - {
        "ArterialSpinLabelingContrast",
        "MultipleSpinEcho",
    }
    assert found.ResonantNucleus == "1H"


def test_names_of_attributes_are_those_of_the_standard() -> None:
    names = (
        *derived_enhanced.PULSE_SEQUENCE,
        *(*finer.SPACINGS, *finer.FIRST_EDGES, *finer.LAST_EDGES, *finer.POINTS),
        *(*finer.LENGTHS, *finer.REGION_POINTS, *finer.UNTOUCHED),
        *(name for row in finer.PLACES for name in row),
    )
    assert [name for name in names if tag_for_keyword(name) is None] == []


@given(
    st.integers(2, 4),
    st.floats(-1000, 1000),
    st.tuples(st.floats(0.01, 10), st.floats(0.01, 10)),
)
def test_outer_corners_of_a_slice_stay(
    scale: int, place: float, spacing: tuple[float, float]
) -> None:
    header = _header(place, spacing)
    found = derive_classic(header, replace(HOW, scale=scale), describe(header))
    for one in (found.PixelSpacing, found.ImagePositionPatient):
        assert all(len(str(value)) <= 16 for value in one)
    before, after = (
        corners(
            [float(v) for v in one.ImagePositionPatient],
            [float(v) for v in one.ImageOrientationPatient],
            [float(v) for v in one.PixelSpacing],
            (one.Rows, one.Columns),
        )
        for one in (header, found)
    )
    np.testing.assert_allclose(after, before, rtol=0, atol=1e-6)
    assert found.ImageOrientationPatient == header.ImageOrientationPatient


def _header(place: float, spacing: tuple[float, float]) -> Dataset:
    """A slice without a file."""
    found = common(
        "2",
        "CT",
        ImagePositionPatient=[f"{place:.10g}", "1.5", "-2"],
        ImageOrientationPatient=ORIENTATION,
        PixelSpacing=[f"{one:.10g}" for one in spacing],
        Rows=30,
        Columns=40,
        SamplesPerPixel=1,
        PhotometricInterpretation="MONOCHROME2",
        BitsAllocated=16,
        BitsStored=12,
        HighBit=11,
        PixelRepresentation=0,
    )
    found.file_meta = FileMetaDataset()
    found.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return found


def test_position_moves_along_rows_by_columns_and_down_columns_by_rows(
    ct: tuple[Dataset, Dataset],
) -> None:
    source, found = ct
    down, right = (float(value) for value in source.PixelSpacing)
    along, across = np.array(ORIENTATION[:3], float), np.array(ORIENTATION[3:], float)
    shift = along * right * (1 / 2 - 1) / 2 + across * down * (1 / 2 - 1) / 2
    wanted = np.array(source.ImagePositionPatient, float) + shift
    np.testing.assert_allclose(np.array(found.ImagePositionPatient, float), wanted, atol=1e-12)
    assert (found.Rows, found.Columns) == (60, 80)
    assert (found.SliceThickness, found.SliceLocation) == ("2.5", "17.25")
    assert found.SpacingBetweenSlices == "2.5"


@pytest.mark.parametrize("shared", [True, False])
def test_frames_of_enhanced_images_move_one_by_one(tmp_path: Path, shared: bool) -> None:
    source, found = derive(write_enhanced_ct(tmp_path / "a.dcm", shared=shared))
    (whole,) = found.SharedFunctionalGroupsSequence
    for before, group in zip(
        source.PerFrameFunctionalGroupsSequence,
        found.PerFrameFunctionalGroupsSequence,
        strict=True,
    ):
        measures = (whole if shared else group).PixelMeasuresSequence[0]
        assert [float(v) for v in measures.PixelSpacing] == [0.25, 0.35]
        assert measures.SliceThickness == 3
        ends = [
            corners(
                [float(v) for v in one.PlanePositionSequence[0].ImagePositionPatient],
                [float(v) for v in ORIENTATION],
                spacing,
                shape,
            )
            for one, spacing, shape in (
                (before, (0.5, 0.7), (30, 40)),
                (group, (0.25, 0.35), (60, 80)),
            )
        ]
        np.testing.assert_allclose(ends[0], ends[1], rtol=0, atol=1e-9)
    turned = whole.PlaneOrientationSequence[0].ImageOrientationPatient
    assert [float(v) for v in turned] == [float(v) for v in ORIENTATION]


def test_sizes_on_the_detector_shrink_and_those_of_its_elements_stay(tmp_path: Path) -> None:
    path = write_ct(
        tmp_path / "a.dcm",
        ImagerPixelSpacing=["0.2", "0.3"],
        NominalScannedPixelSpacing=["0.4", "0.5"],
        DetectorElementSpacing=["0.1", "0.1"],
        PixelAspectRatio=[1, 1],
    )
    found = derive(path)[1]
    assert [float(v) for v in found.ImagerPixelSpacing] == [0.1, 0.15]
    assert [float(v) for v in found.NominalScannedPixelSpacing] == [0.2, 0.25]
    assert [float(v) for v in found.DetectorElementSpacing] == [0.1, 0.1]
    assert found.PixelAspectRatio == [1, 1]


def test_positions_inside_sequences_move_too(tmp_path: Path) -> None:
    detector = item(
        ImagePositionPatient=["1", "2", "3"],
        ImageOrientationPatient=["1", "0", "0", "0", "0", "-1"],
    )
    path = write_ct(
        tmp_path / "a.dcm", DetectorInformationSequence=[detector], PixelSpacing=["4", "2"]
    )
    (found,) = derive(path)[1].DetectorInformationSequence
    assert [float(v) for v in found.ImagePositionPatient] == [0.5, 2, 4]
    volume = item(
        PlanePositionVolumeSequence=[item(ImagePositionVolume=[1.0, 2.0, 3.0])],
        PlaneOrientationVolumeSequence=[item(ImageOrientationVolume=[1.0, 0, 0, 0, 1.0, 0])],
        PixelMeasuresSequence=[item(PixelSpacing=["4", "2"])],
    )
    finer.refine(volume, 2)
    assert volume.PlanePositionVolumeSequence[0].ImagePositionVolume == [0.5, 1.0, 3.0]


def test_what_tells_of_the_past_stays(tmp_path: Path) -> None:
    past = item(ModifiedAttributesSequence=[item(PixelSpacing=["3", "3"])])
    found = derive(write_ct(tmp_path / "a.dcm", OriginalAttributesSequence=[past]))[1]
    kept = found.OriginalAttributesSequence[0].ModifiedAttributesSequence[0]
    assert [float(v) for v in kept.PixelSpacing] == [3, 3]


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_calibrated_region_measures_the_same(tmp_path: Path, scale: int) -> None:
    source, found = derive(write_ultrasound(tmp_path / "a.dcm"), replace(HOW, scale=scale))
    (before,), (after,) = source.SequenceOfUltrasoundRegions, found.SequenceOfUltrasoundRegions
    assert after.RegionLocationMinX0 == before.RegionLocationMinX0 * scale
    assert after.RegionLocationMaxX1 + 1 == (before.RegionLocationMaxX1 + 1) * scale
    assert after.RegionLocationMinY0 == before.RegionLocationMinY0 * scale
    assert after.RegionLocationMaxY1 + 1 == (before.RegionLocationMaxY1 + 1) * scale
    for axis, corner in (("X", "MinX0"), ("Y", "MinY0")):
        at_corner = [_physical(one, axis, -0.5) for one in (before, after)]
        assert at_corner[0] == pytest.approx(at_corner[1], abs=1e-12), corner
        assert after[f"PhysicalDelta{axis}"].value * scale == pytest.approx(
            before[f"PhysicalDelta{axis}"].value
        )


def _physical(region: Dataset, axis: str, place: float) -> float:
    """The physical value at a place in the region, in its own pixels."""
    reference = region[f"ReferencePixel{axis}0"].value
    value = region[f"ReferencePixelPhysicalValue{axis}"].value
    return float(value + (place - reference) * region[f"PhysicalDelta{axis}"].value)


@pytest.mark.parametrize("scale", [2, 3])
def test_shutters_and_collimators_leave_the_same_free(tmp_path: Path, scale: int) -> None:
    source, found = derive(write_angiography(tmp_path / "a.dcm"), replace(HOW, scale=scale))
    for what in ("Shutter", "Collimator"):
        for first, last in (
            ("LeftVerticalEdge", "RightVerticalEdge"),
            ("UpperHorizontalEdge", "LowerHorizontalEdge"),
        ):
            before = [int(source[what + side].value) for side in (first, last)]
            after = [int(found[what + side].value) for side in (first, last)]
            assert [after[0] - 1, after[1]] == [scale * (before[0] - 1), scale * before[1]]
        before = source[f"CenterOfCircular{what}"].value
        after = found[f"CenterOfCircular{what}"].value
        wanted = [(one - 0.5) * scale + 0.5 for one in before]
        assert np.abs(np.subtract(wanted, [int(one) for one in after])).max() <= 0.5
        assert int(found[f"RadiusOfCircular{what}"].value) == scale * int(
            source[f"RadiusOfCircular{what}"].value
        )
    assert len(found.VerticesOfThePolygonalShutter) == 6
    assert max(found.VerticesOfThePolygonalShutter) <= max(found.Rows, found.Columns)


@pytest.mark.parametrize("scale", [2, 3])
def test_regions_that_were_exposed_by_go_with_the_pixels(scale: int) -> None:
    rectangle = {"LeftVertical": 3, "RightVertical": 8, "UpperHorizontal": 1, "LowerHorizontal": 2}
    inner, outer = Dataset(), Dataset()
    for side, place in rectangle.items():
        setattr(inner, f"ExposureControlSensingRegion{side}Edge", place)
    inner.CenterOfCircularExposureControlSensingRegion = [4, 5]
    inner.RadiusOfCircularExposureControlSensingRegion = 3
    inner.VerticesOfThePolygonalExposureControlSensingRegion = [1, 1, 1, 6, 5, 6]
    outer.ExposureControlSensingRegionsSequence = [inner]
    finer.refine(outer, scale)
    edges = [int(inner[f"ExposureControlSensingRegion{side}Edge"].value) for side in rectangle]
    assert edges == [2 * scale + 1, 8 * scale, 1, 2 * scale]
    middle = 1 + (scale - 1) // 2
    centre = [3 * scale + middle, 4 * scale + middle]
    assert list(inner.CenterOfCircularExposureControlSensingRegion) == centre
    assert inner.RadiusOfCircularExposureControlSensingRegion == 3 * scale
    corners = [(one - 1) * scale + middle for one in (1, 1, 1, 6, 5, 6)]
    assert list(inner.VerticesOfThePolygonalExposureControlSensingRegion) == corners


def overlay_of(dataset: Dataset) -> np.ndarray:
    rows, columns = dataset[0x60000010].value, dataset[0x60000011].value
    bits = np.unpackbits(np.frombuffer(dataset[0x60003000].value, np.uint8), bitorder="little")
    return bits[: rows * columns].reshape(rows, columns)


def test_overlays_are_drawn_on_the_finer_pixels(tmp_path: Path) -> None:
    source, found = derive(write_mammogram(tmp_path / "a.dcm"))
    fine = overlay_of(source).repeat(2, 0).repeat(2, 1)
    np.testing.assert_array_equal(overlay_of(found), fine)
    assert found[0x60000050].value == [1, 1]
    assert found[0x60000040].value == "G"


def test_an_overlay_that_lay_in_unused_bits_goes(tmp_path: Path) -> None:
    header = read_header(write_mammogram(tmp_path / "a.dcm"))
    del header[0x60003000]
    found = derive_classic(header, HOW, describe(header))
    assert not [tag for tag in found.keys() if tag.group == 0x6000]  # noqa: SIM118


def test_what_was_measured_of_the_coarse_pixels_goes(tmp_path: Path) -> None:
    header = read_header(write_mammogram(tmp_path / "a.dcm"))
    icon = item(Rows=4, Columns=4, PixelData=b"12")
    header.IconImageSequence = [icon]
    header.DataSetTrailingPadding = b"12"
    header.MACParametersSequence = [item(MACIDNumber=1)]
    header.PixelDataProviderURL = "http://nowhere"
    header.add_new(0x00080000, "UL", 4)
    header.add_new(0x50000010, "US", 1)
    header.DigitalSignaturesSequence = [item(MACIDNumber=1)]
    header.SmallestPixelValueInSeries = 0
    header.LargestPixelValueInSeries = 4
    found = derive_classic(header, HOW, describe(header))
    gone = {str(tag) for tag in header.keys() if tag not in found}  # noqa: SIM118
    wanted = {
        *("(0008,0000)", "(0028,0106)", "(0028,0107)", "(0028,0108)", "(0028,0109)"),
        *("(0028,7FE0)", "(0088,0200)", "(4FFE,0001)", "(5000,0010)", "(FFFA,FFFA)"),
        "(FFFC,FFFC)",
    }
    assert {tag.upper() for tag in gone} == wanted


def test_private_attributes_go_but_those_that_are_asked_for(tmp_path: Path) -> None:
    header = read_header(write_ct(tmp_path / "a.dcm"))
    for creator in ("GOOD", "BAD"):
        header.private_block(0x0029, creator, create=True).add_new(1, "LO", creator)
    nested = item(CodeValue="1")
    nested.private_block(0x0029, "BAD", create=True).add_new(1, "LO", "BAD")
    header.ProcedureCodeSequence = [nested]
    found = derive_classic(header, HOW, describe(header))
    assert not [element for element in found.iterall() if element.tag.is_private]
    found = derive_classic(header, replace(HOW, private=("GOOD",)), describe(header))
    assert [e.value for e in found.iterall() if e.tag.is_private] == ["GOOD", "GOOD"]


@pytest.mark.parametrize(
    ("syntax", "attributes", "wanted"),
    [
        (ExplicitVRLittleEndian, {"LossyImageCompression": "00"}, ("00", None, None)),
        (ExplicitVRLittleEndian, {}, (None, None, None)),
        (
            ExplicitVRLittleEndian,
            {
                "LossyImageCompression": "01",
                "LossyImageCompressionRatio": "7",
                "LossyImageCompressionMethod": "ISO_15444_1",
            },
            ("01", 7, "ISO_15444_1"),
        ),
        (JPEGBaseline8Bit, {}, ("01", 0.8, "ISO_10918_1")),
        (JPEGBaseline8Bit, {"LossyImageCompression": "00"}, ("01", 0.8, "ISO_10918_1")),
    ],
)
def test_loss_is_never_taken_back(
    tmp_path: Path, syntax: str, attributes: dict[str, str], wanted: tuple[object, ...]
) -> None:
    header = read_header(write_ct(tmp_path / "a.dcm", **attributes))
    header.file_meta.TransferSyntaxUID = syntax
    found = derive_classic(header, HOW, describe(header), size=3000)
    names = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")
    assert tuple(found.get(name) for name in names) == wanted


def test_further_loss_is_appended() -> None:
    dataset = Dataset()
    add_loss(dataset, "ISO_15444_1", 7.0)
    add_loss(dataset, "ISO_10918_1", 12.34567)
    assert dataset.LossyImageCompression == "01"
    assert dataset.LossyImageCompressionMethod == ["ISO_15444_1", "ISO_10918_1"]
    assert [float(v) for v in dataset.LossyImageCompressionRatio] == [7, 12.346]


def test_what_was_said_of_burned_in_text_and_of_identity_stays(tmp_path: Path) -> None:
    said = {
        "BurnedInAnnotation": "YES",
        "PatientIdentityRemoved": "YES",
        "DeidentificationMethod": "by hand",
    }
    found = derive(write_ct(tmp_path / "a.dcm", **said))[1]
    assert {name: found.get(name) for name in said} == said


@pytest.mark.parametrize("syntax", ["uncompressed", "jpeg2000"])
def test_a_palette_becomes_colours(tmp_path: Path, syntax: Any) -> None:
    table = bytes(range(256))
    path = write_ct(
        tmp_path / "a.dcm",
        BitsStored=8,
        PixelPaddingValue=0,
        **{
            f"{colour}PaletteColorLookupTable{part}": [256, 0, 8] if part == "Descriptor" else table
            for colour in ("Red", "Green", "Blue")
            for part in ("Descriptor", "Data")
        },
    )
    header = read_header(path)
    header.PhotometricInterpretation = "PALETTE COLOR"
    header.BitsAllocated, header.BitsStored, header.PixelRepresentation = 8, 8, 0
    header.HighBit = 7
    found = derive_classic(header, replace(HOW, syntax=syntax), describe(header))
    wanted = "RGB" if syntax == "uncompressed" else "YBR_RCT"
    assert (found.PhotometricInterpretation, found.SamplesPerPixel) == (wanted, 3)
    assert found.PlanarConfiguration == 0
    assert not [e.keyword for e in found if "Palette" in e.keyword or "Padding" in e.keyword]


@pytest.mark.parametrize("planar", [0, 1])
def test_colours_are_written_pixel_by_pixel(tmp_path: Path, planar: int) -> None:
    header = read_header(write_ultrasound(tmp_path / "a.dcm"))
    header.PlanarConfiguration = planar
    header.ICCProfile = b"profile "
    found = derive_classic(header, HOW, describe(header))
    assert (found.PhotometricInterpretation, found.PlanarConfiguration) == ("RGB", 0)
    assert found.ICCProfile == b"profile "
    assert found.NumberOfFrames == FRAMES


def test_monochrome1_stays_what_it_is(tmp_path: Path) -> None:
    header = read_header(write_mammogram(tmp_path / "a.dcm"))
    header.PhotometricInterpretation = "MONOCHROME1"
    found = derive_classic(header, HOW, describe(header))
    assert found.PhotometricInterpretation == "MONOCHROME1"
    assert (found.PixelPaddingValue, found.PixelPaddingRangeLimit) == (0, 30)


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_no_decimal_string_is_longer_than_16_characters(
    tmp_path: Path, name: str, scale: int
) -> None:
    _, found = derive(CLASSES[name](tmp_path / "a.dcm"), replace(HOW, scale=scale))
    for element in found.iterall():
        if element.VR == "DS" and element.value not in (None, ""):
            several = element.value if element.VM > 1 else [element.value]
            assert max(len(str(value)) for value in several) <= 16, element.keyword
        if element.VR == "IS" and element.value not in (None, ""):
            several = element.value if element.VM > 1 else [element.value]
            assert max(len(str(value)) for value in several) <= 12, element.keyword


def test_strings_that_the_source_had_too_long_become_the_nearest(
    ct: tuple[Dataset, Dataset],
) -> None:
    source, found = ct
    assert max(len(str(v)) for v in source.ImagePositionPatient) > 16
    assert max(len(str(v)) for v in found.ImagePositionPatient) <= 16


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_other_encodings_of_the_source_say_the_same(tmp_path: Path, syntax: str) -> None:
    from pydicom import dcmread

    plain = write_mammogram(tmp_path / "a.dcm")
    lut = item(LUTDescriptor=[3, 0, 16], LUTExplanation="x")
    lut.add_new(0x00283006, "OW", b"\x01\x02\x03\x04\x05\x06")
    dataset = dcmread(plain)
    dataset.VOILUTSequence = [lut]
    dataset.save_as(plain)
    big = syntax == ExplicitVRBigEndian
    if big:  # pydicom leaves words as they are
        for tag in (0x7FE00010, 0x60003000):
            words = np.frombuffer(dataset[tag].value, "u2").byteswap()
            dataset[tag].value = words.tobytes()
        lut[0x00283006].value = b"\x02\x01\x04\x03\x06\x05"
    other = Dataset()
    other.update({element.tag: element for element in dataset})
    other.file_meta = dataset.file_meta
    other.file_meta.TransferSyntaxUID = syntax
    other.save_as(
        tmp_path / "b.dcm",
        implicit_vr=syntax == ImplicitVRLittleEndian,
        little_endian=not big,
        enforce_file_format=True,
    )
    assert derive(plain)[1] == derive(tmp_path / "b.dcm")[1]


def test_an_instance_without_a_name_takes_that_of_its_file(tmp_path: Path) -> None:
    header = read_header(write_ct(tmp_path / "a.dcm"))
    uid = header.SOPInstanceUID
    del header.SOPInstanceUID
    name_itself(header)
    assert header.SOPInstanceUID == uid
    del header.SOPInstanceUID, header.file_meta.MediaStorageSOPInstanceUID
    with pytest.raises(PlanError, match="has no SOPInstanceUID"):
        name_itself(header)


@pytest.mark.parametrize("uid", ["", "abc", "999.1.2", "1.02.3", "1." + "2" * 64])
def test_no_reference_is_made_to_what_cannot_be_named(tmp_path: Path, uid: str) -> None:
    for make_file in (write_mammogram, write_enhanced_ct):
        header = read_header(make_file(tmp_path / "a.dcm"))
        header.SeriesInstanceUID = uid
        header.SourceImageSequence = [item(ReferencedSOPInstanceUID="1.2.3")]
        make = derive_enhanced if is_enhanced(header) else derive_classic
        found = make(header, HOW, describe(header))
        names = {element.keyword for element in found.iterall()}
        assert "ReferencedSeriesSequence" not in names
        assert not names & {"SourceImageEvidenceSequence", "ReferencedInstanceSequence"}
        assert found.SeriesInstanceUID != found.SOPInstanceUID


def test_values_without_sense_do_not_stop_it(tmp_path: Path) -> None:
    path = write_ct(tmp_path / "a.dcm", SliceThickness="2.5")
    data = path.read_bytes()
    assert data.count(b"DS\x04\x00120 ") == 1
    path.write_bytes(data.replace(b"DS\x04\x00120 ", b"DS\x04\x0012x ", 1))
    _, found = derive(path)
    assert str(found.KVP).strip() == "12x"


@pytest.mark.parametrize("characters", ["ISO_IR 192", "ISO_IR 13", "GB18030", "ISO_IR 100"])
def test_text_in_a_wrong_character_set_stays_as_it_is(tmp_path: Path, characters: str) -> None:
    path = write_ct(tmp_path / "a.dcm", SpecificCharacterSet="ISO_IR 100")
    wrong = path.read_bytes().replace(b"CS\x0a\x00ISO_IR 100", _charset(characters))
    path.write_bytes(wrong)
    found = derive(path)[1]
    assert found.SpecificCharacterSet == characters
    data = write.header(found, "uncompressed")
    assert b"M\xfcller^J\xfcrgen" in data
    assert b"SRx2" in data


def _charset(characters: str) -> bytes:
    padded = characters + " " * (len(characters) % 2)
    return b"CS" + len(padded).to_bytes(2, "little") + padded.encode()


def test_storage_classes_stay(tmp_path: Path) -> None:
    for name, make in CLASSES.items():
        source, found = derive(make(tmp_path / f"{name}.dcm"))
        assert found.SOPClassUID == source.SOPClassUID
        assert str(found.SOPClassUID).startswith(STORAGE)
        assert found.Modality == source.Modality
