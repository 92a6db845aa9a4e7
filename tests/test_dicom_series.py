"""Series out of folders, DICOMDIRs and files as they come: parted, ordered, oddities told."""

from __future__ import annotations

import logging
import os
import shutil
import time
import tracemalloc
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_files import write_dicom, write_dicomdir, write_series
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset, dcmread

from pipeline.dicom import instances
from pipeline.dicom import series as series_module
from pipeline.dicom.dicomdir import Listed, locate
from pipeline.dicom.files import find_files, holds_dicom, is_dicom, parted
from pipeline.dicom.instances import Instance, read_instance
from pipeline.dicom.order import in_order
from pipeline.dicom.privacy import called, forget_phi, hush
from pipeline.dicom.series import find_series, open_series, search
from pipeline.dicom.uids import opaque
from pipeline.errors import ChangedError, SourceError
from pipeline.options import SourceOptions
from pipeline.sources import open_source

PIXELS = np.arange(64, dtype="int16").reshape(8, 8)
AXIAL = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]


def write(path: Path, number: int, **attributes: Any) -> Path:
    """A slice of the series 1.2.3.1, 2 mm above the one of the number before."""
    usual = {
        "SOPInstanceUID": f"1.2.3.1.{number}",
        "SeriesInstanceUID": "1.2.3.1",
        "FrameOfReferenceUID": "1.2.3.9",
        "InstanceNumber": number,
        "ImagePositionPatient": [-4.0, -4.0, 2.0 * number],
        "ImageOrientationPatient": AXIAL,
        "PixelSpacing": [0.5, 0.25],
    }
    path.parent.mkdir(exist_ok=True, parents=True)
    given = {k: v for k, v in {**usual, **attributes}.items() if v is not None}
    return write_dicom(path, given.pop("pixels", PIXELS), **given)


def numbers(found: series_module.Series) -> list[int | None]:
    """Instance numbers in order."""
    return [one.number for one in found.instances]


def test_slices_are_ordered_along_the_body_and_not_by_name_or_number(tmp_path: Path) -> None:
    for number, place in ((1, 6.0), (2, 4.0), (3, 2.0), (4, 0.0)):
        write(tmp_path / f"{number}", number, ImagePositionPatient=[0, 0, place])
    (found,) = find_series(tmp_path)
    assert numbers(found) == [4, 3, 2, 1]
    assert [Path(slot.path).name for slot in found.slots] == ["4", "3", "2", "1"]
    assert found.step == 2.0
    assert found.flags == ()
    assert found.first.spacing == (0.5, 0.25)
    assert [plane and plane.height for plane in found.planes] == [0.0, 2.0, 4.0, 6.0]


@pytest.fixture(scope="session")
def eight(tmp_path_factory: pytest.TempPathFactory) -> tuple[Instance, ...]:
    """Eight instances in order, two at each place."""
    folder = tmp_path_factory.mktemp("eight")
    for number in range(8):
        position = [0, 0, float(number // 2)]
        write(folder / f"{number}", number, ImagePositionPatient=position)
    return find_series(folder)[0].instances


@given(st.permutations(range(8)))
def test_the_order_does_not_depend_on_names(eight: tuple[Instance, ...], order: list[int]) -> None:
    assert tuple(in_order([eight[i] for i in order])) == eight


def test_images_at_one_place_go_by_number_and_are_flagged(tmp_path: Path) -> None:
    for number in range(6):
        noise = 1e-5 * (-1) ** number
        write(tmp_path / f"{number}", number, ImagePositionPatient=[0, 0, number // 2 + noise])
    (found,) = find_series(tmp_path)
    assert numbers(found) == list(range(6))
    assert found.flags == ("several images at one place",)


def test_what_has_no_position_goes_by_number(tmp_path: Path) -> None:
    nowhere = {"ImagePositionPatient": None, "ImageOrientationPatient": None}
    for number in (3, 1, 2):
        write(tmp_path / f"{9 - number}", number, **nowhere)
    write(tmp_path / "0", 0, InstanceNumber=None, **nowhere)
    (found,) = find_series(tmp_path)
    assert numbers(found) == [1, 2, 3, None]
    assert found.flags == ()
    assert found.planes == (None,) * 4
    assert found.step is None


def test_a_few_slices_without_position_stay_in_their_series_by_number(tmp_path: Path) -> None:
    for number in range(5):
        lost = {"ImagePositionPatient": None} if number == 2 else {}
        write(tmp_path / f"{number}", number, **lost)
    (found,) = find_series(tmp_path)
    assert numbers(found) == [0, 1, 2, 3, 4]
    assert "1 of 5 images have no position: ordered by number" in found.flags


@pytest.mark.parametrize(
    "other",
    [
        {"SeriesInstanceUID": "1.2.3.2"},
        {"FrameOfReferenceUID": "1.2.3.8"},
        {"ImageOrientationPatient": [0.0, 1.0, 0.0, 0.0, 0.0, -1.0]},
        {"PixelSpacing": [0.5, 0.5]},
        {"PhotometricInterpretation": "MONOCHROME1"},
        {"BitsStored": 12, "HighBit": 11},
        {"pixels": PIXELS[:, :6]},
        {"pixels": PIXELS.astype("uint16")},
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"},
    ],
)
def test_a_stack_is_of_one_series_size_kind_and_orientation(
    tmp_path: Path, other: dict[str, Any]
) -> None:
    for number in range(4):
        write(tmp_path / f"{number}", number, **(other if number > 1 else {}))
    first, second = find_series(tmp_path)
    assert sorted(map(numbers, (first, second))) == [[0, 1], [2, 3]]
    assert first.id != second.id
    with pytest.raises(SourceError, match="holds 2 series") as caught:
        open_series(str(tmp_path))
    for one in (first, second):
        assert f"{one.id} (CT, 2 x 8 x" in str(caught.value)
        assert open_series(f"{tmp_path}#{one.id}") == one
    with pytest.raises(SourceError, match="no series of that name"):
        open_series(f"{tmp_path}#123456789abc")


def test_rounding_parts_no_series(tmp_path: Path) -> None:
    for number in range(4):
        turned = [1.0, 1e-5 * number, 0.0, -1e-5 * number, 1.0, 0.0]
        spacing = [0.5 + 1e-6 * number, 0.25]
        write(tmp_path / f"{number}", number, ImageOrientationPatient=turned, PixelSpacing=spacing)
    (found,) = find_series(tmp_path)
    assert numbers(found) == [0, 1, 2, 3]
    assert found.flags == ()


def test_a_series_is_called_the_same_wherever_it_lies(tmp_path: Path) -> None:
    write(tmp_path / "a/1", 1)
    write(tmp_path / "b/deep/x.dcm", 1)
    assert find_series(tmp_path / "a")[0].id == find_series(tmp_path / "b/deep/x.dcm")[0].id
    assert "1.2.3" not in repr(find_series(tmp_path / "a"))
    assert str(tmp_path) not in repr(find_series(tmp_path / "a")[0].slots)


def test_two_images_of_a_series_are_told_from_an_image_of_two(tmp_path: Path) -> None:
    for number in range(2):
        write(tmp_path / f"{number}", number, pixels=np.stack([PIXELS] * 3))
    (found,) = find_series(tmp_path)
    assert found.kind == "multiframe"
    assert [(Path(slot.path).name, slot.frame) for slot in found.slots] == [
        *(("0", 0), ("0", 1), ("0", 2), ("1", 0), ("1", 1), ("1", 2)),
    ]
    assert len(found.planes) == 6
    assert found.paths == (str(tmp_path / "0"), str(tmp_path / "1"))
    assert found.size == "6 x 8 x 8"


def enhanced(path: Path, heights: list[float], **attributes: Any) -> Path:
    """An image of several frames that say where they lie, each for itself."""

    def item(**values: Any) -> Dataset:
        made = Dataset()
        for name, value in values.items():
            setattr(made, name, value)
        return made

    shared = item(
        PlaneOrientationSequence=[item(ImageOrientationPatient=AXIAL)],
        PixelMeasuresSequence=[item(PixelSpacing=attributes.pop("spacing", [0.5, 0.25]))],
    )
    each = [
        item(PlanePositionSequence=[item(ImagePositionPatient=[-4.0, -4.0, height])])
        for height in heights
    ]
    return write(
        path,
        1,
        pixels=np.stack([PIXELS] * len(heights)),
        ImagePositionPatient=None,
        ImageOrientationPatient=None,
        PixelSpacing=None,
        SharedFunctionalGroupsSequence=[shared],
        PerFrameFunctionalGroupsSequence=each,
        **attributes,
    )


def test_frames_of_enhanced_images_say_where_they_lie(tmp_path: Path) -> None:
    (found,) = find_series(enhanced(tmp_path / "a", [4.0, 2.0, 0.0]))
    assert [plane and plane.height for plane in found.planes] == [4.0, 2.0, 0.0]
    assert [slot.frame for slot in found.slots] == [0, 1, 2], "frames of a file keep their order"
    assert found.step == 2.0
    assert found.first.spacing == (0.5, 0.25)
    assert found.flags == ()
    (uneven,) = find_series(enhanced(tmp_path / "b", [0.0, 1.0, 5.0], spacing=[0, 0]))
    assert uneven.flags == ("PixelSpacing is 0 x 0", "uneven spacing, 1 to 4 mm between slices")


def test_parts_of_a_concatenation_follow_each_other(tmp_path: Path) -> None:
    for part, name in ((1, "b"), (2, "a")):
        enhanced(
            *(tmp_path / name, [4.0 * part, 4.0 * part + 2]),
            SOPInstanceUID=f"1.2.{part}",
            InConcatenationNumber=part,
        )
    (found,) = find_series(tmp_path)
    assert [Path(path).name for path in found.paths] == ["b", "a"]


@pytest.mark.parametrize(
    ("places", "flag"),
    [
        ([0.0, 2.0, 6.0], "uneven spacing, 2 to 4 mm between slices"),
        ([0.0, 2.0, 4.01], None),
        ([0.0], None),
    ],
)
def test_gaps_between_slices_are_flagged(
    tmp_path: Path, places: list[float], flag: str | None
) -> None:
    for number, place in enumerate(places):
        write(tmp_path / f"{number}", number, ImagePositionPatient=[0, 0, place])
    (found,) = find_series(tmp_path)
    assert found.flags == (() if flag is None else (flag,))


def test_a_tilted_gantry_is_flagged_by_what_it_says_and_by_where_slices_lie(
    tmp_path: Path,
) -> None:
    for number in range(4):
        place = [0.0, number * 2 * np.tan(np.radians(12)), 2.0 * number]
        write(tmp_path / f"{number}", number, ImagePositionPatient=place, GantryDetectorTilt=12)
    (found,) = find_series(tmp_path)
    assert found.flags == (
        "gantry tilt of 12 degrees",
        "slices lie askew by 12.0 degrees, as of a tilted gantry",
    )


def test_directions_that_are_not_at_right_angles_are_flagged(tmp_path: Path) -> None:
    askew = [1.0, 0.0, 0.0, 0.1, 0.99, 0.0]
    (found,) = find_series(write(tmp_path / "a", 1, ImageOrientationPatient=askew))
    assert found.flags == ("rows and columns are not at right angles",)


def test_more_frames_than_told_are_flagged(tmp_path: Path) -> None:
    path = write(tmp_path / "a", 1, pixels=np.stack([PIXELS] * 3), NumberOfFrames=2)
    (found,) = find_series(path)
    assert found.size == "2 x 8 x 8"
    assert "1 file with more frames than told, which are left out" in found.flags


def test_duplicates_are_left_out_and_flagged(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{number}", number) for number in range(3)]
    shutil.copy(paths[1], tmp_path / "copy")
    os.link(paths[2], tmp_path / "link")
    (found,) = find_series(tmp_path)
    assert numbers(found) == [0, 1, 2]
    assert found.paths == tuple(map(str, paths))
    assert found.flags == ("2 duplicates left out",)


def test_of_copies_the_one_that_is_whole_is_taken(tmp_path: Path) -> None:
    text = write(tmp_path / "b", 1).read_bytes()
    (tmp_path / "a").write_bytes(text[:-20])
    (found,) = find_series(tmp_path)
    assert found.paths == (str(tmp_path / "b"),)
    assert found.flags == ("1 duplicate left out",)


def test_localizers_are_flagged_and_do_not_stand_in_the_way_of_their_series(
    tmp_path: Path,
) -> None:
    for number in range(3):
        write(tmp_path / f"{number}", number)
    view = {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}
    upright = [1.0, 0.0, 0.0, 0.0, 0.0, -1.0]
    write(tmp_path / "9", 9, ImageOrientationPatient=upright, **view)
    assert sorted(one.flags for one in find_series(tmp_path)) == [(), ("localizer",)]
    assert numbers(open_series(str(tmp_path))) == [0, 1, 2]
    write(tmp_path / "9", 9, SeriesInstanceUID="1.2.3.2", **view)
    with pytest.raises(SourceError, match="holds 2 series"):
        open_series(str(tmp_path))


@pytest.mark.parametrize(
    ("attributes", "doubt"),
    [
        ({"PixelSpacing": [0, 0]}, "PixelSpacing is 0 x 0"),
        ({"PixelSpacing": [0.5, -1]}, "PixelSpacing is 0.5 x -1"),
        ({"PixelSpacing": [0.5]}, "PixelSpacing is 0.5"),
        ({"PixelSpacing": None}, "the size of pixels is not given"),
        ({"PixelSpacing": None, "ImagerPixelSpacing": [0.1, 0.1]}, None),
        ({"ImagerPixelSpacing": [0.0, 0.1]}, "ImagerPixelSpacing is 0 x 0.1"),
        ({"PixelSpacing": None, "SequenceOfUltrasoundRegions": [Dataset()]}, None),
    ],
)
def test_pixels_without_a_size_are_doubted(
    tmp_path: Path, attributes: dict[str, Any], doubt: str | None
) -> None:
    (found,) = find_series(write(tmp_path / "a", 1, **attributes))
    assert found.doubt == doubt
    assert found.flags == (() if doubt is None else (doubt,))


def test_values_that_make_no_sense_are_as_good_as_missing(tmp_path: Path) -> None:
    path = write(tmp_path / "a", 1)
    text = path.read_bytes()
    text = text.replace(b"-4.0\\-4.0\\2.0", b"-4.0\\nan\\John")
    text = text.replace(b"1.0\\0.0\\0.0\\0.0\\1.0\\0.0", b"1.0\\0.0\\0.0\\1.0\\0.0\\0.0")
    path.write_bytes(text)
    (found,) = find_series(path)
    assert found.planes == (None,)
    assert "John" not in repr(found)


def test_files_that_cannot_be_read_cost_themselves_only(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path / f"{number}", number)
    (tmp_path / "1").write_bytes((tmp_path / "1").read_bytes()[:300])
    (tmp_path / "README").write_text("about these files")
    os.mkfifo(tmp_path / "pipe")
    found = search(tmp_path)
    assert [numbers(one) for one in found.series] == [[0, 2]]
    assert found.series[0].flags == ("1 file beside it not used",)
    told = {Path(one.path).name: one.reason for one in found.skipped}
    assert told["README"] == told["pipe"] == "is not DICOM"
    assert told.keys() == {"1", "README", "pipe"}


@given(st.data(), st.sampled_from(["enhanced", "classic", "DICOMDIR"]))
def test_damage_is_told_and_nothing_else(whole: Path, data: st.DataObject, name: str) -> None:
    text = bytearray((whole / name).read_bytes())
    places = st.integers(132, len(text) - 1)
    for _ in range(data.draw(st.integers(1, 5))):
        text[data.draw(places)] = data.draw(st.integers(0, 255))
    damaged = whole / f"damaged {name}"
    damaged.write_bytes(bytes(text[: data.draw(st.integers(len(text) // 2, 2 * len(text)))]))
    said = ""
    try:
        found = search(damaged)
        said = repr(found.series)
    except SourceError as error:
        said = str(error)
    assert "Doe" not in said
    assert str(whole) not in said


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of files that can be damaged."""
    folder = tmp_path_factory.mktemp("whole")
    enhanced(folder / "enhanced", [0.0, 1.0, 2.0])
    write(folder / "classic", 1, PatientName="Doe^Jane", GantryDetectorTilt=3, RescaleSlope=1)
    write_dicomdir(folder / "DICOMDIR", [(["classic"], "1.2.3.1.1"), (["enhanced"], "")])
    return folder


def test_a_folder_without_an_image_says_how_much_there_was(tmp_path: Path) -> None:
    (tmp_path / "README").write_text("about these files")
    with pytest.raises(SourceError, match=r"no DICOM image that can be read \(1 file") as told:
        find_series(tmp_path)
    assert str(tmp_path) not in str(told.value)
    with pytest.raises(SourceError, match="does not exist"):
        find_series(tmp_path / "nothing")
    with pytest.raises(SourceError, match="cannot be opened"):
        find_series(tmp_path / ("a" * 300))


def test_links_are_followed_within_a_folder_only(tmp_path: Path) -> None:
    inside = tmp_path / "series"
    write(inside / "a", 1)
    write(tmp_path / "elsewhere/b", 2)
    (inside / "again").symlink_to("a")
    (inside / "out").symlink_to(tmp_path / "elsewhere/b")
    (inside / "folder").symlink_to(tmp_path / "elsewhere")
    (inside / "loop").symlink_to("loop")
    (inside / "gone").symlink_to("nothing")
    found = search(inside)
    assert [numbers(one) for one in found.series] == [[1]]
    assert {Path(one.path).name: one.reason for one in found.skipped} == {
        "out": "is a link that leads out of the folder",
        "folder": "is a folder behind a link",
        "loop": "is a link to nothing",
        "gone": "is a link to nothing",
    }
    assert found.series[0].flags == ("4 files beside it not used",)
    (tmp_path / "way").symlink_to(inside)
    assert [numbers(one) for one in find_series(tmp_path / "way")] == [[1]], "who names it means it"


def test_a_slice_that_may_not_be_read_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        write(tmp_path / f"{number}", number)
    opened = Path.open

    def refuse(path: Path, *args: Any, **options: Any) -> Any:
        if path.name == "1":
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *args, **options)

    monkeypatch.setattr(Path, "open", refuse)
    found = search(tmp_path)
    assert [one.reason for one in found.skipped] == ["may not be read (Permission denied)"]
    assert found.series[0].flags == ("1 file beside it not used",)


def test_our_own_unfinished_outputs_are_no_inputs(tmp_path: Path) -> None:
    write(tmp_path / "a", 1)
    write(tmp_path / ".out.espcn/b", 2)
    assert [numbers(one) for one in find_series(tmp_path)] == [[1]]


def test_files_that_vanish_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        write(tmp_path / f"{number}", number)

    def find_and_lose(path: Path) -> object:
        found = find_files(path)
        (path / "1").unlink()
        return found

    monkeypatch.setattr(series_module, "find_files", find_and_lose)
    found = search(tmp_path)
    assert [numbers(one) for one in found.series] == [[0, 2]]
    assert [Path(one.path).name for one in found.skipped] == ["1"]
    assert str(tmp_path) not in found.skipped[0].reason


def test_a_file_that_was_changed_is_read_again(tmp_path: Path) -> None:
    write(tmp_path / "a", 1)
    assert numbers(find_series(tmp_path)[0]) == [1]
    write(tmp_path / "a", 7)
    os.utime(tmp_path / "a", ns=(1, 1))
    assert numbers(find_series(tmp_path)[0]) == [7]


def test_of_a_dicomdir_the_files_are_read_that_it_lists(tmp_path: Path) -> None:
    for number in range(4):
        write(tmp_path / f"SUB/{number}", number)
    entries = [(["SUB", str(number)], f"1.2.3.1.{number}") for number in (0, 1, 2)]
    listing = write_dicomdir(tmp_path / "DICOMDIR", [*entries, ([], "1.2")])
    (found,) = find_series(listing)
    assert numbers(found) == [0, 1, 2]
    assert [numbers(one) for one in find_series(tmp_path)] == [[0, 1, 2, 3]], "it is no image"
    assert search(tmp_path).skipped == ()


@pytest.mark.parametrize(
    "components",
    [
        ["..", "SECRET"],
        ["SUB", "..", "..", "SECRET"],
        ["../SECRET"],
        ["/etc", "passwd"],
        ["", "SECRET"],
        ["OUT", "SECRET"],
        ["LINK"],
        ["C:", "SECRET"],
        ["."] * 9,
        ["GONE"],
    ],
)
def test_a_dicomdir_leads_nowhere_else(tmp_path: Path, components: list[str]) -> None:
    write(tmp_path / "SECRET", 9)
    write(tmp_path / "disc/A", 1)
    (tmp_path / "disc/SUB").mkdir()
    (tmp_path / "disc/OUT").symlink_to(tmp_path)
    (tmp_path / "disc/LINK").symlink_to(tmp_path / "SECRET")
    listing = write_dicomdir(tmp_path / "disc/DICOMDIR", [(["A"], ""), (components, "")])
    found = search(listing)
    assert [numbers(one) for one in found.series] == [[1]]
    (skipped,) = found.skipped
    assert "the DICOMDIR names" in skipped.reason
    with pytest.raises(SourceError):
        locate(tmp_path / "disc", Listed(tuple(components), ""))


def test_names_in_lower_case_and_discs_that_were_moved_are_found(tmp_path: Path) -> None:
    write(tmp_path / "sub/im1", 1)
    write(tmp_path / "IM2", 2)
    write(tmp_path / "IM3", 4)
    entries = [["SUB", "IM1"], ["S0001", "SUB", "IM2"], ["S0001", "IM3"]]
    listed = [(names, f"1.2.3.1.{number}") for number, names in enumerate(entries, 1)]
    found = search(write_dicomdir(tmp_path / "DICOMDIR", listed))
    assert [numbers(one) for one in found.series] == [[1, 2]]
    assert [one.reason for one in found.skipped] == [
        "is not the instance that the DICOMDIR says it is"
    ]


def test_the_dicomdirs_of_real_discs_are_read(shared: Path) -> None:
    (found,) = find_series(shared / "data/dicom/ct_series/DIRFILE")
    assert found == find_series(shared / "data/dicom/ct_series")[0]
    disc = shared / "data/dicom/pydicom/test_files/dicomdirtests"
    assert len(find_series(disc / "DICOMDIR")) == 24


def test_an_address_may_name_a_series_behind_a_mark(tmp_path: Path) -> None:
    assert parted("/a/b#c") == ("/a/b", "c")
    assert parted("/a/b") == ("/a/b", "")
    write(tmp_path / "a#b/1", 1)
    assert parted(f"{tmp_path}/a#b") == (f"{tmp_path}/a#b", "")
    assert parted(f"{tmp_path}/a#b#c") == (f"{tmp_path}/a#b", "c")
    assert numbers(open_series(f"{tmp_path}/a#b")) == [1]


def test_dicom_is_told_by_content(tmp_path: Path) -> None:
    write(tmp_path / "deep/down/image.jpg", 1)
    (tmp_path / "b.dcm").write_bytes(b"no")
    assert is_dicom(tmp_path / "deep/down/image.jpg")
    assert not is_dicom(tmp_path / "b.dcm")
    assert not is_dicom(Path("a\0b"))
    assert holds_dicom(tmp_path)
    shutil.rmtree(tmp_path / "deep")
    assert not holds_dicom(tmp_path)


def test_a_series_of_a_thousand_files_is_found_in_a_few_seconds(tmp_path: Path) -> None:
    for number in range(1000):
        write(tmp_path / f"{number}", number)
    begun = time.process_time()
    (found,) = find_series(tmp_path)
    taken = time.process_time() - begun
    assert numbers(found) == list(range(1000))
    assert taken < 10
    begun = time.process_time()
    find_series(tmp_path)
    again = time.process_time() - begun
    assert again < taken / 2, "files that have not changed are not read again"


def test_errors_forget_where_their_file_lies(tmp_path: Path) -> None:
    path = str(tmp_path / "Doe^Jane/I1")
    told = ChangedError(f"{path} changed in {Path(path).parent}", uri=path, tile=3)
    found = forget_phi(told, path)
    assert isinstance(found, ChangedError)
    assert str(found) == f"{called(path)} changed in ... (tile 3)"
    assert called(path) == f"DICOM {opaque(path)}"


def test_pydicom_says_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    hush()
    path = write(tmp_path / "a", 1, PatientBirthDate="19740231")
    text = path.read_bytes().replace(b"19740231", b"1974021x").replace(b"1.2.3.1\0", b"1.2.x.1\0")
    path.write_bytes(text)
    with warnings.catch_warnings(record=True) as caught, caplog.at_level(logging.DEBUG):
        warnings.simplefilter("always")
        find_series(path)
        hush()
        str(dcmread(path))
    assert not caught
    assert not [record for record in caplog.records if record.name.startswith("pydicom")]


def test_modality_and_unit_are_short_words_or_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "a", 1, RescaleType="Jane Doe, born in 1974", Modality="CT")
    found = find_series(path)[0].first
    assert (found.modality, found.unit) == ("CT", "")


def test_series_of_one_hundred_slices_from_write_series(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "ct", 100)
    (found,) = find_series(tmp_path / "ct")
    assert found.paths == tuple(map(str, paths))
    assert found.size == "100 x 64 x 64"


@pytest.mark.parametrize("rle", [False, True])
@pytest.mark.parametrize("frames", [3, 60_000_000, 2_000_000_000])
def test_frames_that_a_file_only_claims_cost_its_series_and_no_memory(
    tmp_path: Path, rle: bool, frames: int
) -> None:
    claiming = dcmread(write(tmp_path / "a", 1, rle=rle))
    claiming.NumberOfFrames = frames
    claiming.save_as(tmp_path / "a")
    write(tmp_path / "b", 1, SeriesInstanceUID="1.2.3.3", SOPInstanceUID="1.2.3.3.1")
    enhanced(
        tmp_path / "c",
        [0.0, 1.0],
        SeriesInstanceUID="1.2.3.4",
        SOPInstanceUID="1.2.3.4.1",
        NumberOfFrames=frames,
    )
    tracemalloc.start()
    found = find_series(tmp_path)
    slots = [len(one.slots) for one in found]
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 32 * 2**20
    assert max(slots) <= 1000
    assert sorted(bool(one.first.broken) for one in found) == [False, True, True]
    for one in found:
        if one.first.broken:
            with pytest.raises(SourceError, match=r"frames|cut off") as told:
                open_source(f"{tmp_path}#{one.id}", SourceOptions())
            assert len(str(told.value).splitlines()) == 1


def test_more_frames_than_are_read_are_refused_though_they_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instances, "MOST_FRAMES", 3)
    for name, frames in (("a", 3), ("b", 4)):
        path = tmp_path / name
        write(path, 1, pixels=np.zeros((frames, 8, 8), np.int16), NumberOfFrames=frames)
    assert read_instance(str(tmp_path / "a")).broken is None
    assert "claims 4 frames" in str(read_instance(str(tmp_path / "b")).broken)
