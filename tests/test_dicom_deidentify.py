"""The basic profile of PS3.15: nothing of whom is left, everything still belongs together."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from dicom_classes import CLASSES, ROOT, code, common, item, noise, save, write_enhanced_ct
from dicom_files import write_series
from dicom_runs import by_number, header, replicated
from pydicom import Dataset
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.pixels import pixel_array
from test_dicom_validators import REAL, complaints, sources

from pipeline.dicom.confidentiality import EMPTIED, REMOVED, REPLACED
from pipeline.dicom.deidentify import DUMMIES, deidentify
from pipeline.dicom.headers import read_header

SECRETS = {
    "PatientName": "Müller^Jürgen",
    "PatientID": "P-4711",
    "PatientBirthDate": "19600102",
    "PatientAddress": "Hauptstraße 5",
    "OtherPatientIDs": "Q-9",
    "ReferringPhysicianName": "Referrer^Rita",
    "OperatorsName": "Operator^Otto",
    "InstitutionName": "Hospital Nord",
    "StationName": "CT-KELLER",
    "AccessionNumber": "A17-23",
    "StudyID": "ST-77",
    "DeviceSerialNumber": "SN-4711",
    "ImageComments": "walks with a limp",
    "StudyDescription": "Kopf Müller",
    "ProtocolName": "PROTO Jürgen",
    "RequestedProcedureDescription": "RPD Jürgen",
    "StudyDate": "20200203",
    "SeriesDate": "20200204",
    "AcquisitionDate": "20200205",
    "ContentDate": "20200206",
    "AcquisitionDateTime": "20200207111213",
    "StudyTime": "101119",
}


def make(path: Path) -> Path:
    """A slice full of secrets, also inside sequences and in private attributes."""
    inner = item(
        CodeValue="1",
        CodingSchemeDesignator="DCM",
        CodeMeaning="Kept",
        PatientName="Nested^Nadja",
        ScheduledProcedureStepStartDate="20200208",
        ReferencedSOPInstanceUID=f"{ROOT}.55",
    )
    dataset = common(
        "2",
        "CT",
        ImageType=["ORIGINAL", "PRIMARY", "AXIAL"],
        FrameOfReferenceUID=f"{ROOT}.9",
        PixelSpacing=["0.5", "0.5"],
        ImagePositionPatient=["1", "2", "3"],
        ImageOrientationPatient=["1", "0", "0", "0", "1", "0"],
        KVP="120",
        BurnedInAnnotation="YES",
        ProcedureCodeSequence=[inner],
        RequestAttributesSequence=[item(RequestedProcedureID="RP-1")],
        **SECRETS,
    )
    dataset.private_block(0x0029, "MAKER", create=True).add_new(1, "LO", "private^Paul")
    dataset.add_new(0xEAEA0102, "SH", "unknown^Uwe")
    dataset.add_new(0x60003000, "OW", b"secret overlay")
    return save(path, dataset, noise(30, 40))


@pytest.fixture
def both(tmp_path: Path) -> tuple[Dataset, Dataset]:
    source = read_header(make(tmp_path / "a.dcm"))
    return source, deidentify(source)


def test_no_secret_is_left_anywhere_in_the_output(tmp_path: Path) -> None:
    source = make(tmp_path / "a.dcm")
    (found,) = replicated(source, tmp_path / "out", deidentify=True)
    data = found.read_bytes()
    secrets = [
        *SECRETS.values(),
        "Nested",
        "Nadja",
        "private^Paul",
        "unknown^Uwe",
        "RP-1",
        "Körper",
    ]
    secrets += ["Jürgen", "secret overlay", "20200208", ROOT]
    assert ROOT.encode() in source.read_bytes()
    for secret in secrets:
        for text in {secret.encode("latin-1"), secret.encode()}:
            assert text not in data, secret
    np.testing.assert_array_equal(pixel_array(found), pixel_array(source).repeat(2, 0).repeat(2, 1))


def test_it_says_what_was_done_and_what_was_not(both: tuple[Dataset, Dataset]) -> None:
    found = both[1]
    assert found.PatientIdentityRemoved == "YES"
    assert "burned into pixels is not touched" in found.DeidentificationMethod
    assert len(found.DeidentificationMethod) <= 64
    (done,) = found.DeidentificationMethodCodeSequence
    assert (done.CodeValue, done.CodingSchemeDesignator) == ("113100", "DCM")
    assert found.LongitudinalTemporalInformationModified == "REMOVED"
    assert found.BurnedInAnnotation == "YES"


def test_each_action_is_what_the_table_says(both: tuple[Dataset, Dataset]) -> None:
    source, found = both
    assert "PatientAddress" not in found  # X
    assert "ImageComments" not in found
    assert "RequestAttributesSequence" not in found
    assert (found.PatientName, found.PatientBirthDate, found.AccessionNumber) == ("", "", "")  # Z
    assert (found.StudyDate, found.StudyTime, found.StudyID) == ("19000101", "000000", "ANONYMIZED")
    assert (found.ContentDate, found.AcquisitionDateTime) == ("19000101", "19000101000000")  # D
    assert (found.InstitutionName, found.ProtocolName) == ("ANONYMIZED", "ANONYMIZED")
    assert not [e for e in found.iterall() if e.tag.is_private or not e.keyword]
    kept = ("Modality", "KVP", "PixelSpacing", "ImagePositionPatient", "SOPClassUID", "Rows")
    assert all(found.get(name) == source.get(name) for name in kept)
    (inner,) = found.ProcedureCodeSequence
    assert inner.CodeMeaning == "Kept"
    assert inner.PatientName == ""


def test_the_source_is_left_alone(both: tuple[Dataset, Dataset]) -> None:
    assert both[0].PatientName == "Müller^Jürgen"
    assert both[0].ProcedureCodeSequence[0].PatientName == "Nested^Nadja"


def test_identifiers_are_replaced_the_same_way_everywhere(both: tuple[Dataset, Dataset]) -> None:
    source, found = both
    again = deidentify(source)
    for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID"):
        assert found[name].value != source[name].value
        assert found[name].value == again[name].value
        assert str(found[name].value).startswith("2.25.")
    assert found.SOPClassUID == source.SOPClassUID
    assert found.ProcedureCodeSequence[0].ReferencedSOPInstanceUID.startswith("2.25.")
    assert len({found[name].value for name in ("StudyInstanceUID", "SeriesInstanceUID")}) == 2


def test_patients_are_not_mixed_up(tmp_path: Path) -> None:
    one = read_header(make(tmp_path / "a.dcm"))
    other = read_header(make(tmp_path / "a.dcm"))
    other.StudyInstanceUID = "1.2.3.4.5"
    assert deidentify(one).PatientID != deidentify(other).PatientID
    assert deidentify(one).PatientID.startswith("ANON-")


def test_a_series_stays_one(tmp_path: Path) -> None:
    write_series(tmp_path / "in", 3)
    found = replicated(tmp_path / "in", tmp_path / "out", deidentify=True)
    headers = [header(path) for path in by_number(found)]
    assert len({one.SeriesInstanceUID for one in headers}) == 1
    assert len({one.FrameOfReferenceUID for one in headers}) == 1
    assert [int(one.InstanceNumber) for one in headers] == [1, 2, 3]
    plain = replicated(tmp_path / "in", tmp_path / "plain")
    assert {p.name for p in found}.isdisjoint(p.name for p in plain)


def test_the_source_is_named_by_its_replaced_identifier(tmp_path: Path) -> None:
    source = make(tmp_path / "a.dcm")
    (found,) = replicated(source, tmp_path / "out", deidentify=True)
    image = header(found)
    wanted = deidentify(read_header(source))
    assert image.SourceImageSequence[0].ReferencedSOPInstanceUID == wanted.SOPInstanceUID
    (series,) = image.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == wanted.SeriesInstanceUID
    assert image.StudyInstanceUID == wanted.StudyInstanceUID
    assert image.SeriesDescription == "SRx2"


def test_private_attributes_that_are_asked_for_stay(tmp_path: Path) -> None:
    source = make(tmp_path / "a.dcm")
    (found,) = replicated(source, tmp_path / "out", deidentify=True, private_tags=("MAKER",))
    assert [e.value for e in header(found).iterall() if e.tag.is_private] == [
        "MAKER",
        "private^Paul",
    ]


@pytest.mark.parametrize("name", ["CT", "MR", "MG", "US cine"])
def test_dciodvfy_says_nothing_new(shared: Path, tmp_path: Path, name: str) -> None:
    program = shutil.which("dciodvfy")
    if program is None:
        pytest.skip("needs dciodvfy, of the Debian package dicom3tools (make test-system)")
    source = sources(shared / "data" / "dicom" / REAL[name])[0]
    (found,) = replicated(source, tmp_path / "out.dcm", deidentify=True)
    assert complaints(program, found) - complaints(program, source) == set()


@pytest.mark.parametrize("name", CLASSES)
def test_every_class_survives(tmp_path: Path, name: str) -> None:
    source = CLASSES[name](tmp_path / "in.dcm")
    (found,) = replicated(source, tmp_path / "out.dcm", deidentify=True)
    assert header(found).PatientIdentityRemoved == "YES"
    assert "Müller".encode("latin-1") not in found.read_bytes()


def test_functional_groups_keep_their_geometry_and_lose_their_dates(tmp_path: Path) -> None:
    found = deidentify(read_header(write_enhanced_ct(tmp_path / "a.dcm")))
    for group in found.PerFrameFunctionalGroupsSequence:
        assert len(group.PlanePositionSequence[0].ImagePositionPatient) == 3
        assert group.FrameContentSequence[0].FrameAcquisitionDateTime == "19000101000000"


def test_the_table_names_attributes_of_the_standard_once() -> None:
    for names in (REMOVED, EMPTIED, REPLACED):
        assert [name for name in names if tag_for_keyword(name) is None] == []
    assert REMOVED.isdisjoint(EMPTIED | REPLACED)
    assert EMPTIED.isdisjoint(REPLACED)
    assert len(REMOVED) > 300
    kinds = {dictionary_VR(tag_for_keyword(name) or 0) for name in REPLACED}
    assert kinds - set(DUMMIES) <= {"SQ", "UI", "OB", "UN", "UR", "OB or OW"}


def test_a_code_is_not_a_secret() -> None:
    source = item(ProcedureCodeSequence=[code("1", "DCM", "x")], SOPClassUID="1.2.840.10008.1")
    source.file_meta = Dataset()
    found = deidentify(source)
    assert found.ProcedureCodeSequence == source.ProcedureCodeSequence
    assert found.SOPClassUID == source.SOPClassUID
