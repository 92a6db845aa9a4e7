"""The values that a network's range stands for: given, recorded by its training, or of 8 bits."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr
from espcn_networks import random_weights
from fakes import Box, make_profile, texture, write_tif

import espcn
import pipeline
from espcn.architecture import Weights
from espcn.errors import ModelError
from espcn.weights_file import read_weights, write_weights
from pipeline.doubts import doubts
from pipeline.errors import PlanError
from pipeline.options import ClusterOptions, RadiometryOptions
from pipeline.survey import normalisation, range_of
from workflows.cli import run
from workflows.evaluate import evaluate
from workflows.job import Job, ModelOptions
from workflows.trials import Exam
from workflows.upscale import upscale

Range = tuple[float, float]
Capture = pytest.CaptureFixture[str]


def tanh(recorded: str | None = None) -> Weights:
    provenance = {} if recorded is None else {"value_range": recorded}
    return replace(random_weights(scale=2, widths=(8, 8)), provenance=provenance)


@pytest.fixture
def wide(tmp_path: Path) -> str:
    """A tanh network trained on values from 0 to 4000."""
    path = tmp_path / "wide.safetensors"
    write_weights(path, tanh("0 4000"))
    return str(path)


class TestCard:
    """What a file says."""

    def test_it_is_read_from_the_provenance(self, tmp_path: Path) -> None:
        path = tmp_path / "m.safetensors"
        write_weights(path, tanh("-1024 3071.5"))
        assert espcn.describe(str(path)).value_range == (-1024.0, 3071.5)
        loaded = espcn.load(str(path), device="cpu")
        assert loaded.value_range == (-1024.0, 3071.5)
        assert espcn.consistent(loaded, steps=1).value_range == (-1024.0, 3071.5)

    def test_it_is_unknown_where_nothing_was_recorded_or_any_range_will_do(
        self, tmp_path: Path
    ) -> None:
        path = tmp_path / "m.safetensors"
        write_weights(path, tanh())
        assert espcn.describe(str(path)).value_range is None
        equivariant = read_weights(
            Path(espcn.__file__).with_name("weights") / "general-x2.safetensors"
        )
        write_weights(path, replace(equivariant[0], provenance={"value_range": "0 1"}))
        card = espcn.describe(str(path))
        assert (card.input_range, card.value_range) == (None, None)

    @pytest.mark.parametrize("text", ["0 to 255", "255", "a b", "9 1", "0 inf", "nan 1", "1 1"])
    def test_what_is_no_range_is_refused(self, text: str) -> None:
        with pytest.raises(ModelError, match=r"value_range|low < high"):
            tanh(text)


class TestRule:
    """Which values map to the ends of the range."""

    @pytest.mark.parametrize(
        ("dtype", "given", "recorded", "expected"),
        [
            ("uint16", (5.0, 9.0), (0.0, 4000.0), (5.0, 9.0)),
            ("uint16", None, (0.0, 4000.0), (0.0, 4000.0)),
            ("float32", None, (0.0, 1.0), (0.0, 1.0)),
            ("uint8", None, (0.0, 4000.0), (0.0, 4000.0)),
            ("uint8", None, (0.0, 255.0), (0.0, 255.0)),
            ("uint8", None, None, (0.0, 255.0)),
            ("uint8", (0.0, 100.0), None, (0.0, 100.0)),
        ],
    )
    def test_what_is_given_wins_then_what_is_recorded_then_8_bits(
        self, dtype: str, given: Range | None, recorded: Range | None, expected: Range
    ) -> None:
        profile, options = make_profile((1, 9, 9), dtype), RadiometryOptions(input_range=given)
        network = Box(input_range=(-1.0, 1.0), value_range=recorded)
        assert range_of(profile, options, network) == expected
        gain, centre = normalisation(profile, options, network) or (0.0, 0.0)
        assert [(value - centre) / gain for value in expected] == pytest.approx([-1, 1])
        assert range_of(profile, options, Box(value_range=recorded)) is None

    @pytest.mark.parametrize("recorded", [None, (0.0, 255.0)])
    def test_8_bits_say_nothing_of_other_data(self, recorded: Range | None) -> None:
        network = Box(input_range=(0.0, 1.0), value_range=recorded)
        with pytest.raises(PlanError, match="cannot know that of uint16 data"):
            range_of(make_profile((1, 9, 9)), RadiometryOptions(), network)

    @pytest.mark.parametrize(
        ("dtype", "given", "recorded", "doubtful"),
        [
            ("uint8", None, (0.0, 4000.0), True),
            ("uint8", (0.0, 255.0), (0.0, 4000.0), False),
            ("uint8", None, (0.0, 255.0), False),
            ("uint8", None, None, False),
            ("uint16", None, (0.0, 4000.0), False),
        ],
    )
    def test_8_bits_taken_for_others_are_told(
        self, dtype: str, given: Range | None, recorded: Range | None, doubtful: bool
    ) -> None:
        profile, options = make_profile((1, 9, 9), dtype), RadiometryOptions(input_range=given)
        network = Box(input_range=(0.0, 1.0), value_range=recorded)
        assert bool(doubts(profile, network, options, model="m", scene="it")) == doubtful
        assert not doubts(profile, Box(), options, model="m", scene="it")


def job(source: Path, model: str, **radiometry: Range) -> Job:
    return Job(
        str(source),
        (str(source.with_name(f"{source.stem}-{len(radiometry)}.tif")),),
        model=ModelOptions(model, device="cpu"),
        radiometry=RadiometryOptions(**radiometry),
        cluster=ClusterOptions(workers=0, threads=1),
    )


class TestUse:
    """Files, arrays and trials."""

    def test_a_file_and_an_array_are_mapped_as_if_the_range_were_given(
        self, tmp_path: Path, wide: str
    ) -> None:
        pixels = texture((1, 60, 50))
        source = write_tif(tmp_path / "a.tif", pixels)
        plain, given = job(source, wide), job(source, wide, input_range=(0.0, 4000.0))
        found = [upscale(each).report for each in (plain, given)]
        fine = [rasterio.open(each.outputs[0]).read() for each in (plain, given)]
        np.testing.assert_array_equal(*fine)
        assert [report and report.facts.source.value_range for report in found] == [(0, 4000)] * 2
        lazily = pipeline.upscale(
            xr.DataArray(pixels, dims=("band", "y", "x")), espcn.load(wide, device="cpu")
        )
        np.testing.assert_array_equal(lazily.values, fine[0])

    def test_8_bits_are_taken_for_what_the_network_knows_and_told(
        self, tmp_path: Path, wide: str, capsys: Capture
    ) -> None:
        source, output = (
            write_tif(tmp_path / "a.tif", texture((1, 60, 50), "uint8")),
            tmp_path / "b.tif",
        )
        line = (
            "the model wide was trained on values from 0 to 4000 and takes those of the source, "
            "8 bits, for the same; if they are not, set radiometry.input_range"
        )
        command = ["upscale", str(source), str(output), "-m", wide, "--workers", "0"]
        assert run([*command, "--dry-run"]) == 0
        out, err = capsys.readouterr()
        assert err == f"espcn: warning: {line}\n"
        assert "sees 0 to 4000 as its range" in out
        assert run(command) == 0
        out, err = capsys.readouterr()
        assert err.splitlines()[0] == f"espcn: warning: {line}"
        report = json.loads(Path(f"{output}.report.json").read_text())
        assert report["facts"]["warnings"] == [line]
        assert report["facts"]["source"]["value_range"] == [0, 4000]
        ranged = ["--dry-run", "--set", "radiometry.input_range=[0, 255]"]
        assert run([*command, "--overwrite", *ranged]) == 0
        assert capsys.readouterr().err == ""

    def test_an_array_of_8_bits_is_told_too(
        self, wide: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        array = xr.DataArray(texture((1, 30, 30), "uint8"), dims=("band", "y", "x"))
        with caplog.at_level(logging.WARNING):
            pipeline.upscale(array, espcn.load(wide, device="cpu"))
        (record,) = caplog.records
        assert record.getMessage().startswith("the model was trained on values from 0 to 4000")

    def test_trials_use_it_and_an_evaluation_tells(self, tmp_path: Path, wide: str) -> None:
        data = tmp_path / "data"
        data.mkdir()
        write_tif(data / "a.tif", texture((1, 60, 60)))
        model = ModelOptions(wide, device="cpu")
        exam = Exam((str(data),), model)
        given = replace(exam, radiometry=RadiometryOptions(input_range=(0.0, 4000.0)))
        assert evaluate(exam) == evaluate(given)
        assert evaluate(exam).warnings == ()
        write_tif(data / "b.tif", texture((1, 60, 60), "uint8"))
        write_tif(data / "c.tif", texture((1, 60, 60), "uint8"))
        (line,) = evaluate(exam).warnings
        assert "takes those of the data, 8 bits, for the same" in line
