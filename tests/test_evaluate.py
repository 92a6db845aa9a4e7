"""`espcn evaluate`: the published figures, windows without gaps, what is skipped, what is left."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from espcn_networks import random_weights
from fakes import write_tif
from PIL import Image

import espcn
from espcn.degradation import Degradation, mtf_sigma
from espcn.weights_file import write_weights
from pipeline.errors import SourceError
from pipeline.options import RadiometryOptions
from workflows import trials
from workflows.cli import run
from workflows.drawing import FOOT, HEAD
from workflows.evaluate import FIGURES, SHEET, Evaluation, evaluate
from workflows.find_sources import find
from workflows.job import ModelOptions
from workflows.sheet import PANEL
from workflows.trials import Exam, make_trials

Capture = pytest.CaptureFixture[str]

PUBLISHED = {2: 33.66, 3: 30.39, 4: 28.42}
"""Mean PSNR in dB of bicubic on the luma of Set5."""


def pixels(*shape: int, dtype: str = "uint16", top: int = 9000) -> np.ndarray:
    """Noise over slopes, nowhere 0."""
    y, x = np.mgrid[: shape[-2], : shape[-1]]
    noise = np.random.default_rng(5).random(shape)
    return (100 + (top - 100) * (0.3 * noise + 0.7 * (y + 2 * x) / (y + 2 * x).max())).astype(dtype)


def exam(*data: Path, model: str = "bicubic", scale: int | None = 3, **more: object) -> Exam:
    options = ModelOptions(model, scale if model in ("bicubic", "nearest") else None, "cpu")
    return Exam(tuple(map(str, data)), options, **more)  # type: ignore[arg-type]


def saved(folder: Path, **weights: object) -> str:
    """A network nobody trained, as a file."""
    provenance = weights.pop("provenance", {})
    path = folder / "network.safetensors"
    made = random_weights(widths=(8, 8), **weights)  # type: ignore[arg-type]
    write_weights(path, replace(made, provenance=provenance))
    return str(path)


def photograph(path: Path, *shape: int) -> Path:
    values = np.moveaxis(pixels(3, *shape, dtype="uint8", top=255), 0, -1)
    Image.fromarray(values).save(path)
    return path


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bicubic_on_set5_is_what_the_papers_print(shared: Path, scale: int) -> None:
    found = evaluate(exam(shared / "data/sr/set5", scale=scale, protocol="paper"))
    assert len(found.pictures) == 5
    assert round(found.mean.psnr, 2) == round(found.mean_bicubic.psnr, 2) == PUBLISHED[scale]
    assert {each.bands for each in found.pictures} == {("luma",)}
    assert {each.peaks for each in found.pictures} == {(255.0,)}


def test_a_shipped_network_reaches_what_its_card_says(shared: Path) -> None:
    found = evaluate(exam(shared / "data/sr/set5", model="general-x3", protocol="paper"))
    card = espcn.describe("general-x3")
    assert found.mean.psnr == pytest.approx(card.metrics["set5_psnr_y"], abs=0.005)
    assert (found.model, found.sha256, found.scale) == ("general-x3", card.sha256, 3)


@pytest.mark.parametrize("offset", [0, 20_000])
def test_pixels_are_restored_as_the_upscaler_does_with_mirrored_borders(
    tmp_path: Path, offset: int
) -> None:
    path = write_tif(tmp_path / "a.tif", pixels(2, 90, 75) + np.uint16(offset))
    network = espcn.load("general-x3", device="cpu")
    (found,), _ = find([str(path)])
    (tried,) = make_trials(found, exam(path, model="general-x3"), network)
    low = tried.trial.low - offset
    padded = np.pad(low, [(0, 0), *[(network.halo,) * 2] * 2], mode="symmetric")
    expected = np.floor(network(padded.astype(np.float32)).astype(float) + offset + 0.5)
    difference = np.abs(tried.trial.restored - expected)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-3


class TestDegradation:
    """What the data is degraded by."""

    def test_it_is_the_model_s_own_unless_another_is_named(self, tmp_path: Path) -> None:
        path = write_tif(tmp_path / "a.tif", pixels(2, 60, 66))
        own = Degradation("gaussian", 3, (1.5,)).text
        model = saved(tmp_path, scale=3, skip=True, bias=False, provenance={"degradation": own})
        ranges = RadiometryOptions(input_range=(0.0, 9000.0))
        found = evaluate(exam(path, model=model, radiometry=ranges))
        assert found.pictures[0].degradation == own
        other = evaluate(exam(path, model=model, degradation="bicubic", radiometry=ranges))
        assert other.pictures[0].degradation == "bicubic x3"
        assert found.mean_bicubic != other.mean_bicubic

    def test_a_sensor_s_is_that_of_the_bands_by_their_names(self, tmp_path: Path) -> None:
        write_tif(tmp_path / "T33_B03.tif", pixels(1, 60, 66))
        write_tif(tmp_path / "T33_B8A.tif", pixels(1, 60, 66))
        found = evaluate(exam(tmp_path, degradation="sentinel2"))
        sigmas = [Degradation.parse(each.degradation).sigma for each in found.pictures]
        assert sigmas == [(mtf_sigma(3, 0.28),), (mtf_sigma(3, 0.33),)]
        assert [each.bands for each in found.pictures] == [("B03",), ("B8A",)]

    def test_a_model_for_a_sensor_is_measured_by_the_bands_of_that_sensor(
        self, tmp_path: Path
    ) -> None:
        data = tmp_path / "data"
        data.mkdir()
        write_tif(data / "T33_B03.tif", pixels(1, 60, 66))
        scene = write_tif(data / "two.tif", pixels(3, 60, 66))
        with rasterio.open(scene, "r+") as file:
            file.descriptions = ("B8A", "unheard of", "B12")
        mean = Degradation("sensor", 3, (1.5,)).text
        model = saved(
            tmp_path, scale=3, skip=True, activation="relu", bias=False,
            provenance={"degradation": mean, "sensor": "sentinel2"},
        )  # fmt: skip
        plain = exam(data, model=model, radiometry=RadiometryOptions(input_range=(0.0, 9000.0)))
        one, three = evaluate(plain).pictures
        assert Degradation.parse(one.degradation).sigma == (mtf_sigma(3, 0.28),)
        assert Degradation.parse(three.degradation).sigma == (
            mtf_sigma(3, 0.33), 1.5, mtf_sigma(3, 0.23),
        )  # fmt: skip
        # nothing but the model's own blur could be undone so far
        many = replace(plain, model=replace(plain.model, consistency=4))
        again = [band.consistency for band in evaluate(many).pictures[1].model.bands]
        before = [band.consistency for band in three.model.bands]
        assert all(now < 0.5 * then for now, then in zip(again, before, strict=True))

    def test_a_joint_model_for_a_sensor_keeps_what_it_was_trained_for(self, tmp_path: Path) -> None:
        path = write_tif(tmp_path / "a.tif", pixels(2, 60, 66, dtype="uint8", top=255))
        with rasterio.open(path, "r+") as file:
            file.descriptions = ("B02", "B03")
        own = Degradation("sensor", 3, (1.25, 1.75)).text
        origin = {"degradation": own, "sensor": "sentinel2"}
        model = saved(tmp_path, scale=3, bands=2, provenance=origin)
        assert evaluate(exam(path, model=model)).pictures[0].degradation == own

    def test_steps_of_consistency_make_it_consistent(self, tmp_path: Path) -> None:
        path = write_tif(tmp_path / "a.tif", pixels(1, 90, 96))
        plain = exam(path, model="general-x3")
        steps = replace(plain, model=replace(plain.model, consistency=2))
        assert evaluate(steps).mean.consistency < 0.7 * evaluate(plain).mean.consistency


class TestWindows:
    """What is measured of a picture."""

    def test_a_picture_without_gaps_is_measured_as_a_whole(self, tmp_path: Path) -> None:
        write_tif(tmp_path / "a.tif", pixels(2, 70, 61), nodata=0)
        (measured,) = evaluate(exam(tmp_path)).pictures
        assert (measured.name, measured.height, measured.width) == ("a.tif", 69, 60)
        assert measured.dtype == "uint16"

    def test_gaps_are_not_judged(self, tmp_path: Path) -> None:
        scene = pixels(1, 300, 400)
        whole = write_tif(tmp_path / "whole.tif", scene[:, :, 128:])
        scene[:, :40, :100] = 0
        path = write_tif(tmp_path / "gaps.tif", scene, nodata=0)
        found = evaluate(exam(path))
        names = [each.name for each in found.pictures]
        assert names[0] == "gaps.tif [0:128, 136:264]"
        assert len(names) == 5
        assert found.mean_bicubic.rmse == pytest.approx(
            evaluate(exam(whole)).mean_bicubic.rmse, rel=0.1
        )

    def test_a_large_picture_is_measured_in_windows_that_do_not_overlap(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(trials, "WHOLE", 1000)
        monkeypatch.setattr(trials, "SIDES", (48, 24))
        path = write_tif(tmp_path / "a.tif", pixels(1, 100, 400))
        names = [each.name for each in evaluate(exam(path)).pictures]
        assert len(names) == 8
        assert names[:2] == ["a.tif [0:48, 0:48]", "a.tif [0:48, 117:165]"]
        assert names[-1] == "a.tif [52:100, 352:400]"

    def test_alpha_is_no_light(self, tmp_path: Path) -> None:
        values = np.moveaxis(pixels(4, 60, 60, dtype="uint8", top=255), 0, -1)
        values[..., 3] = 255
        Image.fromarray(values).save(tmp_path / "a.png")
        (measured,) = evaluate(exam(tmp_path)).pictures
        assert measured.bands == ("red", "green", "blue")
        (luma,) = evaluate(exam(tmp_path, protocol="paper")).pictures
        assert luma.bands == ("luma",)


class TestSkips:
    """What cannot be measured is listed; nothing at all is an error."""

    def test_what_cannot_be_measured_is_listed_with_the_reason(self, tmp_path: Path) -> None:
        photograph(tmp_path / "good.png", 60, 60)
        write_tif(tmp_path / "empty.tif", np.zeros((1, 60, 60), np.uint16), nodata=0)
        write_tif(tmp_path / "small.tif", pixels(1, 15, 15))
        (tmp_path / "text.tif").write_text("not an image")
        found = evaluate(exam(tmp_path))
        assert [each.name for each in found.pictures] == ["good.png"]
        reasons = {Path(skip.uri).name: skip.reason for skip in found.skipped}
        assert set(reasons) == {"empty.tif", "small.tif", "text.tif"}
        assert "no window of 128 x 128 px without invalid pixels" in reasons["empty.tif"]
        assert "SSIM needs 11 x 11 px" in reasons["small.tif"]

    def test_a_network_of_several_bands_takes_those_only(self, tmp_path: Path) -> None:
        write_tif(tmp_path / "three.tif", pixels(3, 60, 60, dtype="uint8", top=255))
        model = saved(tmp_path, scale=2, bands=3)
        found = evaluate(exam(tmp_path / "three.tif", model=model))
        assert len(found.pictures[0].model.bands) == 3
        two = write_tif(tmp_path / "two.tif", pixels(2, 60, 60, dtype="uint8", top=255))
        with pytest.raises(SourceError, match="takes 3 bands at once"):
            evaluate(exam(two, model=model))

    def test_a_network_of_a_range_must_know_that_of_the_data(self, tmp_path: Path) -> None:
        path = write_tif(tmp_path / "a.tif", pixels(1, 60, 60))
        model = saved(tmp_path, scale=2, skip=False)
        with pytest.raises(SourceError, match=r"radiometry.input_range"):
            evaluate(exam(path, model=model))


class TestCommand:
    """The command line."""

    def ran(self, capsys: Capture, *arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        return (code, *capsys.readouterr())

    def test_a_table_shows_every_picture_and_the_mean(
        self, tmp_path: Path, capsys: Capture
    ) -> None:
        photograph(tmp_path / "one.png", 60, 72)
        (tmp_path / "two.png").write_text("not an image")
        code, out, err = self.ran(capsys, "evaluate", "general-x2", tmp_path)
        assert (code, err.strip()) == (0, "")
        for part in ("general-x2, x2", "protocol wald", "one.png", "mean", "skipped: "):
            assert part in out

    def test_the_report_is_the_json_and_a_sheet(self, tmp_path: Path, capsys: Capture) -> None:
        data, report = tmp_path / "data", tmp_path / "new" / "report"
        data.mkdir()
        photograph(data / "one.png", 60, 72)
        photograph(data / "two.png", 300, 300)
        code, out, _ = self.ran(
            capsys, "evaluate", "general-x3", data, "--protocol", "paper", "--report", report,
            "--json",
        )  # fmt: skip
        assert code == 0
        assert sorted(path.name for path in report.iterdir()) == sorted((FIGURES, SHEET))
        assert json.loads(out) == json.loads((report / FIGURES).read_text())
        assert set(json.loads(out)) == set(Evaluation.__dataclass_fields__)
        with Image.open(report / SHEET) as sheet:
            assert sheet.height == 2 * (HEAD + PANEL + FOOT)
            assert sheet.width > 4 * PANEL

    @pytest.mark.parametrize(
        ("arguments", "code", "said"),
        [
            (("nothing-x3", "DATA"), 2, "there is no model"),
            (("bicubic", "DATA", "--protocol", "fairest"), 2, "paper"),
            (("bicubic", "DATA", "--degradation", "lanczos x2"), 2, "choose from bicubic"),
            (("bicubic", "DATA", "--degradation", "bicubic x3"), 2, "does not degrade by 2"),
            (("bicubic", "DATA", "--degradation", "bicubic", "--protocol", "paper"), 2, "leave"),
            (("JOINT", "DATA", "--protocol", "paper"), 2, "mixes 3 bands"),
            (("bicubic", "DATA", "--protocol", "paper"), 3, "choose the protocol wald"),
            (("bicubic", "DATA", "--degradation", "sentinel2"), 3, "sentinel2 has no band"),
            (("bicubic", "NOWHERE"), 3, "does not exist"),
            (("bicubic", "DATA", "--report", "FILE"), 4, "cannot be written"),
            (("bicubic",), 2, "data"),
        ],
    )
    def test_what_cannot_be_asked_for_is_one_line(
        self,
        tmp_path: Path,
        capsys: Capture,
        arguments: tuple[str, ...],
        code: int,
        said: str,
    ) -> None:
        places = {
            "DATA": write_tif(tmp_path / "a.tif", pixels(1, 60, 60)),
            "JOINT": saved(tmp_path, scale=2, bands=3),
            "NOWHERE": tmp_path / "nowhere",
            "FILE": tmp_path / "a.tif",
        }
        chosen = [places.get(argument, argument) for argument in arguments]
        got, out, err = self.ran(capsys, "evaluate", *chosen)
        assert (got, out) == (code, "")
        assert err.startswith("espcn: error: ")
        assert err.count("\n") == 1
        assert said in err

    def test_a_model_is_exported(self, tmp_path: Path, capsys: Capture) -> None:
        path = tmp_path / "model.onnx"
        assert self.ran(capsys, "export", "general-x2", path) == (0, f"{path}\n", "")
        assert path.stat().st_size > 10_000
        code, _, err = self.ran(capsys, "export", "general-x2", tmp_path / "model.pt")
        assert code == 2
        assert "ends in .onnx" in err

    def test_what_exists_is_not_replaced_unless_told_to(
        self, tmp_path: Path, capsys: Capture
    ) -> None:
        path = tmp_path / "model.onnx"
        path.touch()
        code, out, err = self.ran(capsys, "export", "general-x2", path)
        assert (code, out) == (2, "")
        assert err == f"espcn: error: {path} exists: choose another name or give --overwrite\n"
        assert self.ran(capsys, "export", "general-x2", path, "--overwrite")[0] == 0

    def test_a_model_that_failed_is_exported_with_a_warning(
        self, tmp_path: Path, capsys: Capture
    ) -> None:
        model = saved(tmp_path, scale=2, provenance={"verdict": "fail: 30.10 dB"})
        path = tmp_path / "model.onnx"
        warning = "espcn: warning: the model network failed its validation: 30.10 dB\n"
        assert self.ran(capsys, "export", model, path) == (0, f"{path}\n", warning)

    def test_bicubic_is_exported_at_a_scale(self, tmp_path: Path, capsys: Capture) -> None:
        path = tmp_path / "model.onnx"
        code, out, err = self.ran(capsys, "export", "bicubic", path)
        assert (code, out) == (2, "")
        assert "choose one, such as --scale 3" in err
        assert self.ran(capsys, "export", "bicubic", path, "--scale", "3") == (0, f"{path}\n", "")
