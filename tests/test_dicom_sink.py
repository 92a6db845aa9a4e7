"""DICOM out: the sink keeps its contract, joins tiles and frames, resumes, and refuses in time."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from contracts import SinkContract
from dicom_classes import common, noise, save, write_enhanced_ct, write_ultrasound
from dicom_files import write_series
from dicom_runs import by_number, header, replicated
from fakes import FakeNetwork
from pydicom.pixels import pixel_array
from runs import KILLED, die_at, fork, hash_of

from pipeline.errors import ConfigError, DamagedStageError, PlanError, SourceError
from pipeline.fate import Provenance
from pipeline.journal import Receipt
from pipeline.kernel import Fine, make_tiling
from pipeline.options import OutputOptions, SourceOptions
from pipeline.plan import Plan
from pipeline.radiometry import Pixels, Radiometry, replicate
from pipeline.sinks import dicom, dicom_check, dicom_frames, load_sink, sink_for
from pipeline.sources import Address, open_source
from pipeline.statistics import measure
from pipeline.tiling import Window


def make_plan(source: Path, target: Path, *, side: int = 512, **output: Any) -> Plan:
    """A plan for the sink alone."""
    options = SourceOptions(spacing="warn")
    profile = open_source(str(source), options).profile
    return Plan(
        Address(str(source), options),
        profile,
        Provenance("espcn 0", "fake", "00" * 32, 2, "numpy"),
        Radiometry(profile.dtype, 1.0, (0.0,) * len(profile.bands)),
        make_tiling(profile.height, profile.width, FakeNetwork(), side=side, frames=profile.frames),
        OutputOptions(**output),
        sink_for(target, profile)[0],
    )


def write_tiles(stage: Path, plan: Plan) -> dict[int, Receipt]:
    """Stage all tiles, replicated."""
    source = open_source(plan.source.uri, plan.source.options)
    receipts = {}
    load_sink(plan.format).begin(stage, plan)
    for tile in plan.tiling:
        write = tile.write
        window = Window(*(side // 2 for side in (write.y, write.x, write.height, write.width)))
        pixels = replicate(source.read(window, tile.frame), scale=2)
        files = load_sink(plan.format).write(stage, plan, tile, Fine(pixels, None))
        receipts[tile.index] = Receipt(tile.index, files, measure(pixels, None))
    return receipts


class _Contract(SinkContract):
    """One image of colours in four tiles."""

    @pytest.fixture
    def plan(self, tmp_path: Path) -> Plan:
        dataset = common("7", "OT", ImageType=["ORIGINAL", "PRIMARY"], ConversionType="WSD")
        path = save(tmp_path / "in.dcm", dataset, np.moveaxis(self.pixels, 0, -1))
        plan = make_plan(path, Path(self.target))
        return replace(plan, output=self.output)


class TestFile(_Contract):
    """Into one file."""

    target = "out.dcm"

    def read(self, path: Path) -> Pixels:
        return np.moveaxis(pixel_array(path), -1, 0)


class TestDirectory(_Contract):
    """Into a directory, compressed."""

    target = "out"
    output = OutputOptions(syntax="jpeg2000")

    def read(self, path: Path) -> Pixels:
        (file,) = path.iterdir()
        return np.moveaxis(pixel_array(file), -1, 0)


@pytest.fixture
def series(tmp_path: Path) -> Path:
    """Five slices."""
    write_series(tmp_path / "in", 5)
    return tmp_path / "in"


@pytest.mark.parametrize("syntax", ["same", "uncompressed", "rle", "jpeg2000"])
def test_every_slice_comes_back_with_its_header(series: Path, tmp_path: Path, syntax: str) -> None:
    sources = by_number(series.iterdir())
    found = replicated(series, tmp_path / "out", syntax=syntax)
    assert len(found) == 5
    for before, after in zip(sources, found, strict=True):
        assert header(before).InstanceNumber == header(after).InstanceNumber
        fine = pixel_array(before).repeat(2, 0).repeat(2, 1)
        np.testing.assert_array_equal(pixel_array(after), fine)
    assert {path.name for path in tmp_path.iterdir()} >= {"in", "out"}
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".espcn")]


@pytest.mark.parametrize("write", [write_ultrasound, write_enhanced_ct])
@pytest.mark.parametrize("syntax", ["uncompressed", "rle", "jpeg2000"])
def test_all_frames_of_a_file_come_back(tmp_path: Path, write: Any, syntax: str) -> None:
    source = write(tmp_path / "in.dcm")
    (found,) = replicated(source, tmp_path / "out.dcm", syntax=syntax)
    fine = pixel_array(source).repeat(2, 1).repeat(2, 2)
    np.testing.assert_array_equal(pixel_array(found), fine)


def test_tiles_of_a_frame_are_joined(tmp_path: Path) -> None:
    dataset = common("7.2", "OT", ImageType=["ORIGINAL", "PRIMARY"], ConversionType="WSD")
    dataset.FrameIncrementPointer, dataset.FrameTime = 0x00181063, "10"
    source = save(tmp_path / "in.dcm", dataset, noise(3, 300, 333))
    (found,) = replicated(source, tmp_path / "out.dcm")
    fine = pixel_array(source).repeat(2, 1).repeat(2, 2)
    np.testing.assert_array_equal(pixel_array(found), fine)


def test_an_output_within_the_folder_that_is_read_is_refused(series: Path) -> None:
    with pytest.raises(ConfigError, match="lies in the input's folder"):
        replicated(series, series / "out")
    assert len(list(series.iterdir())) == 5


def test_names_say_nothing(series: Path, tmp_path: Path) -> None:
    found = replicated(series, tmp_path / "out")
    assert all(dicom_check.OURS.fullmatch(path.name) for path in found)


def test_the_same_job_makes_the_same_instances(series: Path, tmp_path: Path) -> None:
    one = replicated(series, tmp_path / "one")
    other = replicated(series, tmp_path / "other", syntax="rle")
    assert {header(path).SOPInstanceUID for path in one}.isdisjoint(
        header(path).SOPInstanceUID for path in by_number(series.iterdir())
    )
    again = replicated(series, tmp_path / "again")
    assert [path.name for path in one] == [path.name for path in again]
    assert len({path.name for path in (*one, *other)}) == 10


@pytest.fixture
def staged(series: Path, tmp_path: Path) -> tuple[Path, Plan, dict[int, Receipt]]:
    """A stage with all tiles."""
    stage = tmp_path / "stage"
    stage.mkdir()
    plan = make_plan(series, tmp_path / "out")
    (stage / "plan.json").write_text("{}")
    return stage, plan, write_tiles(stage, plan)


Staging = tuple[Path, Plan, dict[int, Receipt]]


def test_a_damaged_tile_is_named(staged: Staging, tmp_path: Path) -> None:
    stage, plan, receipts = staged
    name = receipts[3].files[0].name
    data = bytearray((stage / name).read_bytes())
    data[17] ^= 1
    (stage / name).write_bytes(data)
    with pytest.raises(DamagedStageError) as caught:
        dicom.publish(stage, plan, receipts, tmp_path / "out")
    assert caught.value.tile == 3
    assert not (tmp_path / "out").exists()


def test_a_missing_tile_is_named(staged: Staging, tmp_path: Path) -> None:
    stage, plan, receipts = staged
    (stage / receipts[4].files[0].name).unlink()
    with pytest.raises(DamagedStageError) as caught:
        dicom.publish(stage, plan, receipts, tmp_path / "out")
    assert caught.value.tile == 4


def test_what_was_written_is_kept_and_its_tiles_are_gone(
    staged: Staging, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, plan, receipts = staged
    whole, stop = dicom.write_derived, iter([False, False, False, True])

    def write(*arguments: Any, **options: Any) -> None:
        if next(stop):
            raise OSError(28, "full")
        whole(*arguments, **options)

    monkeypatch.setattr(dicom, "write_derived", write)
    with pytest.raises(OSError, match="full"):
        dicom.publish(stage, plan, receipts, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert len(list((stage / "tiles").iterdir())) == 2
    before = {path.name: path.stat().st_mtime_ns for path in (stage / "output").iterdir()}
    assert len(before) == 3
    (stage / "output" / ".left.dcm.x.tmp").write_bytes(b"half")
    monkeypatch.setattr(dicom, "write_derived", whole)
    dicom.publish(stage, plan, receipts, tmp_path / "out")
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    assert len(after) == 5
    assert after.items() >= before.items(), "written once"
    assert not list((stage / "tiles").iterdir())


def test_an_instance_that_was_damaged_is_made_again_or_told(
    staged: Staging, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, plan, receipts = staged
    copy = tmp_path / "copy"
    monkeypatch.setattr(dicom, "put_in_place", lambda *_: None)
    dicom.publish(stage, plan, receipts, tmp_path / "out")
    shutil.copytree(stage, copy)
    victim = next((stage / "output").iterdir())
    victim.write_bytes(victim.read_bytes()[:-1] + b"x")
    with pytest.raises(DamagedStageError) as caught:
        dicom.publish(stage, plan, receipts, tmp_path / "out")
    assert caught.value.tile is not None, "its tiles are gone: they must be made again"
    monkeypatch.undo()
    again = write_tiles(stage, plan)
    dicom.publish(stage, plan, again, tmp_path / "out")
    assert hash_of(tmp_path / "out") == hash_of(copy / "output")


def test_a_torn_record_costs_one_instance(
    staged: Staging, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, plan, receipts = staged
    monkeypatch.setattr(dicom, "remove_tiles", lambda *_: None)
    monkeypatch.setattr(dicom, "put_in_place", lambda *_: None)
    dicom.publish(stage, plan, receipts, tmp_path / "out")
    record = stage / dicom.RECORD
    record.write_bytes(record.read_bytes()[:-9])
    assert len(record.read_text().splitlines()) == 5
    with pytest.raises(ValueError, match="char"):
        json.loads(record.read_text().splitlines()[-1])
    monkeypatch.undo()
    dicom.publish(stage, plan, receipts, tmp_path / "out")
    assert len(list((tmp_path / "out").iterdir())) == 5


def test_publishing_again_after_the_last_rename_changes_nothing(
    staged: Staging, tmp_path: Path
) -> None:
    stage, plan, receipts = staged
    target = tmp_path / "out"
    target.mkdir()
    (target / "0123456789ab.dcm").write_bytes(b"of another run")
    dicom.publish(stage, plan, receipts, target)
    found = hash_of(target)
    assert len(list(target.iterdir())) == 5
    dicom.begin(stage, plan)
    (stage / "output" / "0123456789ab.dcm").write_bytes(b"exchanged, not yet removed")
    dicom.publish(stage, plan, receipts, target)
    assert hash_of(target) == found
    assert not list(tmp_path.glob(".out*"))


def test_a_resumed_run_makes_the_same_bytes(staged: Staging, tmp_path: Path) -> None:
    stage, plan, receipts = staged
    shutil.copytree(stage, tmp_path / "other")
    dicom.publish(stage, plan, receipts, tmp_path / "out")
    dicom.publish(tmp_path / "other", plan, receipts, tmp_path / "again")
    assert hash_of(tmp_path / "out") == hash_of(tmp_path / "again")


def test_few_frames_wait_to_be_written(staged: Staging, monkeypatch: pytest.MonkeyPatch) -> None:
    stage, plan, receipts = staged
    monkeypatch.setattr(dicom_frames, "AHEAD_BYTES", 1)
    joined: list[int] = []
    whole = dicom_frames._join
    monkeypatch.setattr(
        dicom_frames, "_join", lambda *given: joined.append(given[-1]) or whole(*given)
    )
    stored = dicom.open_series(plan.source.uri).stored
    encoded = dicom_frames.encode_ahead(stage, plan, receipts, range(5), stored)
    next(encoded)
    assert len(joined) == 1
    encoded.close()


def refused(source: Path, target: Path, reason: str, **output: Any) -> PlanError:
    """What the sink says before a tile runs."""
    plan = make_plan(source, target, **output)
    with pytest.raises(PlanError, match=reason) as caught:
        load_sink(plan.format).check(plan, target)
    return caught.value


def test_what_does_not_fit_is_refused_before_a_tile_runs(
    series: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused(series, tmp_path / "out.dcm", "5 instances, which do not go into one file")
    refused(series, tmp_path / "out", "is for slides", syntax="jpeg")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("dear")
    refused(series, tmp_path / "full", "no directory of DICOM outputs")
    (tmp_path / "file").write_text("dear")
    refused(series, tmp_path / "file", "no directory of DICOM outputs")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    refused(series, tmp_path / "link", "no directory of DICOM outputs")
    one = write_ultrasound(tmp_path / "us.dcm")
    (tmp_path / "dir.dcm").mkdir()
    refused(one, tmp_path / "dir.dcm", "is a directory")
    monkeypatch.setattr(dicom_check, "NATIVE_LIMIT", 1000)
    refused(one, tmp_path / "out", "--syntax jpeg2000")
    monkeypatch.setattr(dicom_check, "LONGEST_SIDE", 79)
    refused(one, tmp_path / "out", "write to .zarr", syntax="rle")


@pytest.mark.parametrize("kind", ["text", "original", "empty", "link to ours", "link to nothing"])
def test_only_a_file_of_ours_is_replaced(tmp_path: Path, kind: str) -> None:
    source, target = write_ultrasound(tmp_path / "us.dcm"), tmp_path / "out.dcm"
    (ours,) = replicated(source, tmp_path / "ours.dcm")
    if kind == "original":
        shutil.copy(source, target)
    elif kind.startswith("link"):
        target.symlink_to(ours if kind == "link to ours" else tmp_path / "nowhere")
    else:
        target.write_text("Dear colleague" if kind == "text" else "")
    before = target.read_bytes() if target.exists() else None
    refused(source, target, "is no DICOM output and will not be replaced")
    assert (target.read_bytes() if target.exists() else None) == before
    shutil.copy(ours, tmp_path / "again.dcm")
    dicom.check(make_plan(source, tmp_path / "again.dcm"), tmp_path / "again.dcm")


def test_a_palette_of_16_bits_is_8_bits_in_plan_check_and_output(
    shared: Path, tmp_path: Path
) -> None:
    source = shared / "data/dicom/pydicom/test_files/examples_palette.dcm"
    profile = open_source(str(source), SourceOptions(spacing="warn")).profile
    assert (profile.dtype, profile.bits, profile.limits) == ("uint8", None, (0, 255))
    assert profile.saturated is None
    (found,) = replicated(source, tmp_path / "out.dcm")
    window = Window(0, 0, profile.height, profile.width)
    read = open_source(str(source), SourceOptions(spacing="warn")).read(window)
    expected = replicate(read, scale=2)
    np.testing.assert_array_equal(np.moveaxis(pixel_array(found), 2, 0), expected)
    plan = make_plan(source, tmp_path / "new.dcm")
    assert {fate.item: fate.note for fate in dicom.fates(plan)}["data type and bits"] == "uint8"


def test_all_bands_are_kept_or_none(tmp_path: Path) -> None:
    source = write_ultrasound(tmp_path / "us.dcm")
    plan = make_plan(source, tmp_path / "out")
    fewer = replace(plan, profile=replace(plan.profile, bands=plan.profile.bands[:1]))
    with pytest.raises(PlanError, match="--bands"):
        dicom.check(fewer, tmp_path / "out")


def test_errors_do_not_name_the_source(series: Path, tmp_path: Path) -> None:
    error = refused(series, tmp_path / "out.dcm", "instances")
    assert str(series) not in str(error)


def test_a_source_that_is_gone_is_not_named(staged: Staging, tmp_path: Path) -> None:
    stage, plan, receipts = staged
    shutil.rmtree(plan.source.uri)
    with pytest.raises(SourceError) as caught:
        dicom.publish(stage, plan, receipts, tmp_path / "out")
    assert plan.source.uri not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "claimed"),
    [("out", True), ("out.dcm", True), ("OUT.DCM", True), ("out.zarr", False), ("a.tif", False)],
)
def test_the_name_of_the_target_says_what_is_wanted(series: Path, name: str, claimed: bool) -> None:
    profile = open_source(str(series)).profile
    assert dicom.claims(Path(name), profile) is claimed
    slide = replace(profile, tags={"DICOM": {"kind": "slide"}})
    assert not dicom.claims(Path(name), slide)
    assert not dicom.claims(Path(name), replace(profile, driver="GTiff"))


def test_a_profile_of_confidentiality_and_private_attributes_are_told(series: Path) -> None:
    plan = make_plan(series, Path("out"), deidentify=True, private_tags=("GOOD",))
    notes = {fate.item: fate.note for fate in dicom.fates(plan)}
    assert "burned into the pixels is not touched" in notes["patient, study and acquisition"]
    assert "GOOD" in notes["private attributes"]


@pytest.mark.parametrize("existing", [False, True])
@pytest.mark.parametrize("name", ["out", "out.dcm"])
def test_killed_at_any_step_it_goes_on(tmp_path: Path, name: str, existing: bool) -> None:
    write_series(tmp_path / "in", 2 if name == "out" else 1)
    backup = tmp_path / "backup"
    (backup / "stage").mkdir(parents=True)
    plan = make_plan(tmp_path / "in", backup / name)
    (backup / "stage" / "plan.json").write_text("{}")
    receipts = write_tiles(backup / "stage", plan)
    if existing and name == "out":
        (backup / name).mkdir()
        (backup / name / "0123456789ab.dcm").write_bytes(b"before")
    elif existing:
        (backup / name).write_bytes(b"before")
    before = hash_of(backup / name) if existing else None

    found = set()
    for step in range(1000):
        work = tmp_path / "work"
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(backup, work)
        target = work / name

        def publish() -> None:
            dicom.publish(work / "stage", plan, receipts, target)  # noqa: B023

        code = fork(lambda: die_at(step) or publish())  # noqa: B023
        assert code in (0, KILLED)
        assert not target.exists() or hash_of(target) in {before, *found} or not found
        dicom.begin(work / "stage", plan)
        publish()
        found.add(hash_of(target))
        assert len(found) == 1, step
        assert {path.name for path in work.iterdir()} == {"stage", name}, step
        if code == 0:
            break
    assert step > 5
