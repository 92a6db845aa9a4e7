"""Images of several frames, and slides, as training data: all is used, none of it twice."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dicom_classes import frame_groups, item
from dicom_files import write_dicom, write_series
from fakes import texture
from PIL import Image
from pydicom import dcmread
from slide_files import SPACING, cut, save, slide_header, write_concatenation

from espcn.evaluation import BEST
from pipeline.dicom.privacy import called
from pipeline.errors import SourceError
from pipeline.tiling import Window
from workflows.data_options import DataOptions
from workflows.evaluate import evaluate
from workflows.find_sources import find
from workflows.job import ModelOptions
from workflows.samples import Sample
from workflows.training_data import Samples, read_samples
from workflows.trials import Exam

SMALL = DataOptions(side=48, block=96)


def read(path: Path, options: DataOptions = SMALL) -> Samples:
    return read_samples([str(path)], options, scale=2)


def frame_of(sample: Sample) -> int:
    _, _, number = sample.name.partition(", frame ")
    return int(number or 1) - 1


def frames(samples: tuple[Sample, ...]) -> set[tuple[str, int]]:
    return {(Path(sample.uri).name, frame_of(sample)) for sample in samples}


def test_frames_of_a_stack_are_held_back_as_a_run_with_a_gap(tmp_path: Path) -> None:
    pixels = texture((20, 64, 64), "int16")
    order = np.random.default_rng(0).permutation(20)  # files need not be in the body's order
    shared = item(
        PlaneOrientationSequence=[item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
        PixelMeasuresSequence=[item(PixelSpacing=[1.0, 1.0])],
    )
    each = []
    for place in order:
        groups = frame_groups(int(place)).items()
        each.append(item(**{name: [group] for name, group in groups}))
    write_dicom(
        tmp_path / "a.dcm",
        pixels,
        FrameOfReferenceUID="1.2.9",
        SharedFunctionalGroupsSequence=[shared],
        PerFrameFunctionalGroupsSequence=each,
    )
    samples = read(tmp_path)
    heights = {("a.dcm", frame): int(place) for frame, place in enumerate(order)}
    learned = {heights[one] for one in frames(samples.train)}
    judged = sorted(heights[one] for one in frames(samples.validation))
    assert len(judged) == 2
    assert judged[1] == judged[0] + 1
    assert min(abs(a - b) for a in learned for b in judged) == 3
    (between,) = (skip.reason for skip in samples.skipped)
    usual = "lies between what is trained on and what is held back"
    assert between == f"{usual} ({20 - len(learned) - len(judged)} times)"
    for sample in (*samples.train, *samples.validation):
        rows, columns = sample.window.slices
        assert np.array_equal(sample.pixels[0], pixels[frame_of(sample), rows, columns])


def test_frames_of_a_film_stay_together(tmp_path: Path) -> None:
    """They change too little to be judged by each other."""
    for number in range(10):
        write_dicom(
            tmp_path / f"{number}.dcm",
            texture((3, 64, 64), "int16", seed=number),
            SeriesInstanceUID="1.2",
            InstanceNumber=number,
        )
    samples = read(tmp_path)
    learned, judged = frames(samples.train), frames(samples.validation)
    assert len(judged) == 3
    assert len({name for name, _ in judged}) == 1
    assert len(learned) == 3 * len({name for name, _ in learned}) > 0
    assert not {name for name, _ in learned} & {name for name, _ in judged}


def test_every_frame_is_found_by_a_name_of_its_own(tmp_path: Path) -> None:
    pixels = texture((3, 64, 64), "int16")
    write_dicom(tmp_path / "a.dcm", pixels)
    found, _ = find([str(tmp_path)])
    name = called(tmp_path / "a.dcm")
    assert [one.name for one in found] == [f"{name}, frame {n}" for n in (1, 2, 3)]
    read_back = [one.open().read(Window(0, 0, 64, 64))[0] for one in found]
    assert np.array_equal(read_back, pixels)


def test_levels_of_a_slide_are_held_back_on_the_same_ground(tmp_path: Path) -> None:
    fine = texture((3, 800, 700), "uint8")
    for level in range(3):
        step = 2**level
        pixels = np.ascontiguousarray(fine[:, ::step, ::step])
        spacing = [step * size for size in SPACING]
        header = slide_header(pixels.shape, 96, "uint8", spacing=spacing)
        header.SOPInstanceUID, header.InstanceNumber = f"1.2.3.4.{level + 1}", level + 1
        save(tmp_path / f"{level}.dcm", header, list(cut(pixels, 96).values()))
    samples = read(tmp_path)
    assert {name for name, _ in frames(samples.train)} >= {"0.dcm", "1.dcm"}
    assert {name for name, _ in frames(samples.validation)} >= {"0.dcm"}
    learned, judged = (
        [on_the_finest(sample) for sample in some] for some in (samples.train, samples.validation)
    )
    assert not any(all(one.overlap(other).shape) for one in learned for other in judged)


def test_scans_of_one_slide_are_held_back_on_the_same_ground(tmp_path: Path) -> None:
    """The second one of a part of it, in a series of its own."""
    whole, (top, left) = texture((3, 800, 700), "uint8"), (300, 101)
    for number, pixels in enumerate((whole, np.ascontiguousarray(whole[:, top:, left:]))):
        header = slide_header(pixels.shape, 96, "uint8")
        header.SOPInstanceUID, header.SeriesInstanceUID = f"1.2.3.4.{number}", f"1.2.3.2.{number}"
        corner = header.TotalPixelMatrixOriginSequence[0]
        if number:  # as TURN has it: down is -x, right is -y
            corner.XOffsetInSlideCoordinateSystem -= top * SPACING[0]
            corner.YOffsetInSlideCoordinateSystem -= left * SPACING[1]
        save(tmp_path / f"{number}.dcm", header, list(cut(pixels, 96).values()))
    samples = read(tmp_path)

    def on_the_whole(sample: Sample) -> Window:
        window, moved = sample.window, sample.uri.endswith("1.dcm")
        return replace(window, y=window.y + moved * top, x=window.x + moved * left)

    learned, judged = (
        [on_the_whole(s) for s in some] for some in (samples.train, samples.validation)
    )
    assert {sample.uri[-5:] for sample in samples.train} == {"0.dcm", "1.dcm"}
    assert not any(all(one.overlap(other).shape) for one in learned for other in judged)


def test_parts_of_a_slide_are_one_source(tmp_path: Path) -> None:
    pixels = texture((3, 400, 300), "uint8")
    write_concatenation(tmp_path, pixels, 3)
    (found,), skipped = find([str(tmp_path)])
    assert not skipped
    assert np.array_equal(found.open().read(Window(0, 0, 400, 300)), pixels)


def on_the_finest(sample: Sample) -> Window:
    step, window = 2 ** int(Path(sample.uri).stem), sample.window
    return Window(step * window.y, step * window.x, step * window.height, step * window.width)


def test_what_is_true_of_all_frames_is_said_once(tmp_path: Path) -> None:
    write_dicom(tmp_path / "tiny.dcm", texture((20, 16, 16), "int16"))
    write_dicom(tmp_path / "film.dcm", texture((20, 64, 64), "int16"))
    with pytest.raises(SourceError, match="give more slices, or more films"):
        read(tmp_path)
    write_dicom(tmp_path / "other.dcm", texture((20, 64, 64), "int16", seed=1))
    samples = read(tmp_path)
    assert [skip.reason for skip in samples.skipped] == [
        "is 16 x 16 px; 32 are the least (20 times)"
    ]
    assert samples.split["text"] == "10% by runs of slices, seed 0"


def test_time_points_of_one_place_do_not_shrink_the_gap(tmp_path: Path) -> None:
    """Positions that differ by rounding are one place twice, not a step from slice to slice."""
    write_series(tmp_path / "a", 20, SeriesInstanceUID="1.2.4")
    write_series(tmp_path / "b", 20, first=0.002, SeriesInstanceUID="1.2.4")
    samples = read(tmp_path)
    learned, judged = (
        [_place(Path(sample.uri)) for sample in some]
        for some in (samples.train, samples.validation)
    )
    assert min(abs(a - b) for a in learned for b in judged) > 3 * 2.0 - 0.01


def _place(path: Path) -> float:
    return float(dcmread(path, stop_before_pixels=True).ImagePositionPatient[2])


def test_images_of_patients_are_called_by_ids(tmp_path: Path) -> None:
    folder = tmp_path / "DOE_JOHN"
    write_series(folder, 12, name="DOE")
    (folder / "DOE_JOHN.txt").write_text("a letter")
    (folder / "DOE_JOHN.tif").write_bytes(b"II*\0 but no more")
    (folder / "DOE.JOHN_19600102").write_text("a letter")
    Image.fromarray(texture((1, 64, 64), "uint8")[0]).save(folder / "DOE.png")
    samples = read(tmp_path)
    said = [samples.split, *samples.skipped, *samples.notes]
    said += [sample.name for sample in (*samples.train, *samples.validation)]
    assert not re.search("DOE|JOHN", str(said), re.IGNORECASE)
    assert len(samples.skipped) >= 2


def test_frames_are_measured_one_by_one_blank_ones_too(tmp_path: Path) -> None:
    """Without a size of pixels: nothing is written that needs one."""
    pixels = texture((3, 64, 64), "int16")
    pixels[1] = 7
    write_dicom(tmp_path / "a.dcm", pixels)
    evaluation = evaluate(Exam((str(tmp_path),), ModelOptions("general-x2")))
    name = called(tmp_path / "a.dcm")
    assert [one.name for one in evaluation.pictures] == [f"{name}, frame {n}" for n in (1, 2, 3)]
    first, blank, last = (one.model.whole.psnr for one in evaluation.pictures)
    assert blank == BEST > max(first, last)
    assert evaluation.mean.psnr == pytest.approx((first + BEST + last) / 3)
