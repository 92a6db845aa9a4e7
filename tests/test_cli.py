"""The command line: exit codes, one-line errors, output for people and for programs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
import runs
from rasterio import Affine
from rich.console import Console
from runs import Ran

from pipeline.errors import PipelineError, PublishError, TileError
from workflows import upscale as story
from workflows.console import show_models
from workflows.events import Progress, Publishing, Started, Warned
from workflows.job import Job
from workflows.progress import watching

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="session")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small georeferenced scene of two bands."""
    path = tmp_path_factory.mktemp("scene") / "scene.tif"
    pixels = np.random.default_rng(1).integers(100, 9000, (2, 60, 80), dtype="uint16")
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        dtype="uint16",
        count=2,
        height=60,
        width=80,
        crs="EPSG:32633",
        transform=Affine(10, 0, 399960, 0, -10, 5300040),
        nodata=0,
    ) as file:
        file.write(pixels)
        file.update_tags(NOTE="[bold]not markup[/bold]", STATISTICS_MEAN="3")
    return path


def one_line(ran: Ran) -> str:
    """The error of a command line that must have failed in one line."""
    assert ran.out == ""
    assert re.fullmatch(r"espcn: error: [^\n]+\n", ran.err), ran.err
    return ran.err


def raising(error: BaseException) -> Callable[..., None]:
    """A function that fails."""

    def fail(*_: object) -> None:
        raise error

    return fail


def upscale(espcn: Callable[..., Ran], scene: Path, *arguments: str | Path) -> Ran:
    """`espcn upscale` in threads of this process, without a network."""
    threads = ("--model", "nearest", "--workers", "0")
    return espcn("upscale", scene, *arguments, *threads)


class TestExitCodes:
    """2 wrong usage, 3 an input that cannot be processed, 4 a failure while running."""

    @pytest.mark.parametrize(
        ("arguments", "named"),
        [
            (["upscal"], "Did you mean 'upscale'"),
            (["upscale"], "source"),
            (["upscale", "SCENE", "OUT.tif", "--nope"], "--nope"),
            (["upscale", "SCENE", "OUT.tif", "--workers", "many"], "--workers"),
            (["upscale", "SCENE", "OUT.tif", "--compress", "zip"], "deflate, zstd, lerc, lzw or"),
            (["upscale", "SCENE", "OUT.tif", "--precision", "fp64"], "fp32 or bf16"),
            (["upscale", "SCENE", "OUT.tif", "--bands", "0"], "counted from 1"),
            (["upscale", "SCENE", "OUT.tif", "--set", "tiling.tile=1000"], "a multiple of 512"),
            (["upscale", "SCENE", "OUT.tif", "--set", "tilling.tile=1024"], "'tiling.tile'"),
            (["upscale", "SCENE", "OUT.tif", "--config", "TYPO"], "'output.compress'"),
            (["upscale", "SCENE", "OUT.tif", "--config", "no.yaml"], "no.yaml"),
            (["upscale", "SCENE", "OUT.tif", "--model", "general-x9"], "general-x"),
            (["upscale", "SCENE", "OUT.tif", "--scale", "3"], "enlarges by 2"),
            (["upscale", "SCENE", "OUT.xyz"], ".xyz"),
            (["upscale", "SCENE", "SCENE"], "is the input"),
            (["upscale", "SCENE", "OUT.tif", "--output", "OUT.tif"], "twice"),
            (["upscale", "SCENE", "OUT.tif", "--output", "SAME.tif"], "twice"),
            (["upscale", "SCENE", "OUT.tif", "--output", "LINKED.tif"], "twice"),
            (["upscale", "SCENE", "EXISTS.tif"], "--overwrite"),
            (["config", "check", "TYPO"], "'output.compress'"),
            (["sample"], "output"),
        ],
        ids=lambda value: " ".join(value[1:]) if isinstance(value, list) else "",
    )
    def test_wrong_usage_is_2(
        self,
        espcn: Callable[..., Ran],
        scene: Path,
        tmp_path: Path,
        arguments: list[str],
        named: str,
    ) -> None:
        (tmp_path / "EXISTS.tif").write_text("there before")
        (tmp_path / "TYPO").write_text("output: {compres: zstd}\n")
        places = {"SCENE": str(scene)}
        for name in ("OUT.tif", "OUT.xyz", "EXISTS.tif", "TYPO"):
            places[name] = str(tmp_path / name)
        (tmp_path / "link").symlink_to(tmp_path)
        places["LINKED.tif"] = str(tmp_path / "link" / "OUT.tif")
        places["SAME.tif"] = str(tmp_path / ".." / tmp_path.name / "OUT.tif")
        ran = espcn(*(places.get(argument, argument) for argument in arguments))
        assert ran.code == 2
        assert named in one_line(ran)
        assert (tmp_path / "EXISTS.tif").read_text() == "there before"

    @pytest.mark.parametrize("command", ["upscale", "inspect"])
    def test_an_input_that_cannot_be_processed_is_3(
        self, espcn: Callable[..., Ran], tmp_path: Path, command: str
    ) -> None:
        (tmp_path / "text.tif").write_text("not an image")
        (tmp_path / "empty.tif").write_text("")
        output = [tmp_path / "out.tif"] if command == "upscale" else []
        for name, why in (
            ("missing.tif", "does not exist"),
            ("", "is a directory"),
            ("text.tif", "cannot be opened"),
            ("empty.tif", "is empty"),
        ):
            ran = espcn(command, tmp_path / name, *output)
            assert ran.code == 3
            assert why in one_line(ran)
            assert str(tmp_path / name) in ran.err

    @pytest.mark.parametrize(
        ("error", "shown"),
        [
            (TileError("failed 3 times", tile=7), "failed 3 times (tile 7)"),
            (PublishError("the disk is full", uri="/a/b"), "/a/b: the disk is full"),
            (ZeroDivisionError("two\nlines"), "ZeroDivisionError: two lines (a bug; --debug"),
        ],
    )
    def test_a_failure_while_running_is_4(
        self,
        espcn: Callable[..., Ran],
        monkeypatch: pytest.MonkeyPatch,
        error: Exception,
        shown: str,
    ) -> None:
        monkeypatch.setattr(story, "upscale", raising(error))
        ran = espcn("upscale", "a.tif", "b.tif")
        assert ran.code == 4
        assert shown in one_line(ran)

    def test_an_error_stays_on_one_line_however_long(
        self, espcn: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("COLUMNS", "40")
        ran = espcn("inspect", "/tmp/" + "very-long-name-" * 15)
        assert "very-long-name-" * 15 in one_line(ran)

    @pytest.mark.parametrize(
        ("said", "shown"),
        [
            ("no XML (unclosed token: line 1, column 0)", None),
            ("../../etc/passwd: not a whole safetensors file", None),
            ("/data/my-token: is empty (0 bytes)", None),
            ("no answer, token: qwertz, twice", "no answer, token: ***, twice"),
            ("no answer, password=not qwertz", "no answer, password=*** qwertz"),
        ],
    )
    def test_an_error_says_all_but_secrets(
        self,
        espcn: Callable[..., Ran],
        monkeypatch: pytest.MonkeyPatch,
        said: str,
        shown: str | None,
    ) -> None:
        monkeypatch.setattr(story, "upscale", raising(TileError(said)))
        ran = espcn("upscale", "a.tif", "b.tif")
        assert one_line(ran) == f"espcn: error: {shown or said}\n"

    def test_ctrl_c_is_130_and_says_how_to_go_on(
        self, espcn: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(story, "upscale", raising(KeyboardInterrupt()))
        ran = espcn("upscale", "a.tif", "b.tif")
        assert ran.code == 130
        assert ran.err == "espcn: interrupted; the same command goes on where it stopped\n"

    def test_ctrl_c_before_the_command_has_begun_is_130_too(
        self, espcn: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("workflows.cli.get_command", raising(KeyboardInterrupt()))
        ran = espcn("upscale", "a.tif", "b.tif")
        assert ran.code == 130
        assert ran.err == "espcn: interrupted; the same command goes on where it stopped\n"

    def test_debug_prints_where_and_an_error_is_one_line_without(self, tmp_path: Path) -> None:
        code = "from workflows.cli import main; main()"
        missing, output = str(tmp_path / "missing.tif"), str(tmp_path / "out.tif")
        _, plain = runs.finish(runs.start(code, "inspect", missing))
        assert len(plain.splitlines()) == 1
        _, log = runs.finish(runs.start(code, "upscale", missing, output, "--debug"))
        assert "Traceback (most recent call last)" in log
        assert log.splitlines()[-1] == plain.strip()

    def test_debug_shows_where(
        self,
        espcn: Callable[..., Ran],
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        monkeypatch.setattr(story, "upscale", raising(PipelineError("no")))
        assert espcn("upscale", "a.tif", "b.tif", "--debug").code == 4
        assert "Traceback" in caplog.text


class TestUpscale:
    """Whole jobs, with pixel replication."""

    def test_a_job_leaves_its_output_a_report_and_a_preview(
        self, espcn: Callable[..., Ran], scene: Path, tmp_path: Path
    ) -> None:
        output = tmp_path / "fine.tif"
        ran = upscale(espcn, scene, output, "--scale", "3", "--preview")
        assert ran.code == 0, ran.err
        with rasterio.open(scene) as coarse, rasterio.open(output) as fine:
            assert np.array_equal(fine.read(), coarse.read().repeat(3, 1).repeat(3, 2))
        assert f"{output}  240 x 180 px, 2 bands, uint16" in ran.out
        for suffix in (".report.json", ".preview.png"):
            assert f"{output}{suffix}\n" in ran.out
            assert Path(f"{output}{suffix}").exists()
        assert not list(tmp_path.glob(".*"))

    def test_an_existing_output_is_replaced_only_when_asked(
        self, espcn: Callable[..., Ran], scene: Path, tmp_path: Path
    ) -> None:
        output = tmp_path / "fine.tif"
        assert upscale(espcn, scene, output).code == 0
        before = output.stat().st_ino
        refused = upscale(espcn, scene, output)
        assert (refused.code, output.stat().st_ino) == (2, before)
        assert upscale(espcn, scene, output, "--overwrite", "--quiet").code == 0
        assert output.stat().st_ino != before

    def test_quiet_prints_nothing(
        self, espcn: Callable[..., Ran], scene: Path, tmp_path: Path
    ) -> None:
        ran = upscale(espcn, scene, tmp_path / "fine.tif", "--quiet")
        assert (ran.code, ran.out, ran.err) == (0, "", "")

    def test_json_on_stdout_is_the_report(
        self, espcn: Callable[..., Ran], scene: Path, tmp_path: Path
    ) -> None:
        output = tmp_path / "fine.tif"
        ran = upscale(espcn, scene, output, "--json")
        report = json.loads(ran.out)
        assert report == json.loads(Path(f"{output}.report.json").read_text())
        assert report["facts"]["outputs"][0]["path"] == str(output)
        assert "tiles" in ran.err

    def test_options_that_switch_the_report_off_are_heard(
        self, espcn: Callable[..., Ran], scene: Path, tmp_path: Path
    ) -> None:
        ran = upscale(espcn, scene, tmp_path / "fine.tif", "--set", "report.report=false")
        assert ran.code == 0
        assert [path.name for path in tmp_path.iterdir()] == ["fine.tif"]

    def test_a_dry_run_shows_the_plan_and_writes_nothing(
        self, espcn: Callable[..., Ran], scene: Path, tmp_path: Path
    ) -> None:
        ran = upscale(espcn, scene, tmp_path / "fine.tif", "--dry-run")
        assert ran.code == 0
        for fact in (str(scene), "160 x 120 px", "cog", "1 of 512 px", "nearest, x2", "free"):
            assert fact in ran.out
        assert re.search(r"tag STATISTICS_MEAN +dropped", ran.out)
        assert re.search(r"transform +changed", ran.out)
        assert re.search(r"nodata +kept", ran.out)
        assert list(tmp_path.iterdir()) == []

    def test_a_dry_run_as_json_is_the_plan(
        self, espcn: Callable[..., Ran], scene: Path, tmp_path: Path
    ) -> None:
        facts = json.loads(upscale(espcn, scene, tmp_path / "f.tif", "--dry-run", "--json").out)
        assert facts["provenance"]["model"] == "nearest"
        assert facts["outputs"][0]["width"] == 160
        outcomes = {fate["item"]: fate["outcome"] for fate in facts["outputs"][0]["metadata"]}
        assert outcomes["tag STATISTICS_MEAN"] == "dropped"

    @pytest.mark.parametrize("lack", ["disk", "memory"])
    def test_a_dry_run_refuses_what_the_run_refuses(
        self,
        espcn: Callable[..., Ran],
        scene: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        lack: str,
    ) -> None:
        arguments = [scene, tmp_path / "fine.tif", "--output", tmp_path / "fine.zarr"]
        if lack == "disk":
            # enough for one of the outputs, not for both
            monkeypatch.setattr("shutil.disk_usage", lambda _: (2**40, 0, 12 * 2**20))
        else:
            arguments += ["--set", "cluster.memory=500KiB"]
        dry = upscale(espcn, *arguments, "--dry-run")  # type: ignore[arg-type]
        real = upscale(espcn, *arguments)  # type: ignore[arg-type]
        assert dry == real
        assert dry.code == 3
        assert re.search(r"\d+ MiB.* has \d+ MiB", one_line(dry))
        assert list(tmp_path.iterdir()) == []

    def test_flags_reach_the_job(
        self, espcn: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        jobs: list[Job] = []

        def remember(job: Job, _: object) -> None:
            jobs.append(job)
            raise PipelineError("enough")

        monkeypatch.setattr(story, "upscale", remember)
        espcn(
            *("upscale", "a.tif", "b.tif", "--output", "c.zarr", "-m", "x.safetensors"),
            *("--scale", "4", "--bands", "3,1", "--precision", "bf16", "--device", "cpu"),
            *("--cluster", "tcp://h:1", "--workers", "0", "--compress", "zstd", "--preview"),
            *("--categorical", "light", "--overwrite", "--set", "output.statistics=false"),
        )
        (job,) = jobs
        assert (job.source, job.outputs, job.overwrite) == ("a.tif", ("b.tif", "c.zarr"), True)
        assert (job.model.name, job.model.scale) == ("x.safetensors", 4)
        assert (job.model.precision, job.model.device) == ("bf16", "cpu")
        assert (job.input.bands, job.input.categorical) == ((3, 1), "light")
        assert (job.cluster.cluster, job.cluster.workers) == ("tcp://h:1", 0)
        assert (job.output.compress, job.output.statistics) == ("zstd", False)
        assert job.report.preview


@pytest.mark.parametrize(("value", "said"), [("-5", "-5"), (".nan", "nan"), ("0.5", "0.5")])
def test_nodata_that_was_asked_for_and_marks_nothing_is_told(
    espcn: Callable[..., Ran], scene: Path, tmp_path: Path, value: str, said: str
) -> None:
    line = f"source.nodata = {said} marks nothing: it is no uint16 value"
    options = (tmp_path / "out.tif", "--set", f"source.nodata={value}")
    for more in (("--dry-run",), ()):
        assert upscale(espcn, scene, *options, *more).err.startswith(f"espcn: warning: {line}\n")
    report = json.loads((tmp_path / "out.tif.report.json").read_text())
    assert line in report["warnings"]


class TestVerdict:
    """A model that did not beat bicubic when it was trained."""

    REASON = "the model weak failed its validation: PSNR 30.10 dB, bicubic 30.39 dB"

    @pytest.fixture
    def weak(self, tmp_path: Path) -> Path:
        """The shipped network, with a failing verdict."""
        from espcn.models import read_model
        from espcn.weights_file import write_weights

        weights = read_model("general-x2").weights
        assert weights is not None
        path = tmp_path / "weak.safetensors"
        verdict = "fail: PSNR 30.10 dB, bicubic 30.39 dB"
        write_weights(path, replace(weights, provenance={"verdict": verdict}))
        return path

    def test_a_run_warns_before_and_in_its_report(
        self, espcn: Callable[..., Ran], scene: Path, weak: Path, tmp_path: Path
    ) -> None:
        output = tmp_path / "fine.tif"
        ran = espcn("upscale", scene, output, "-m", weak, "--workers", "0")
        assert ran.code == 0
        assert ran.err.splitlines()[0] == f"espcn: warning: {self.REASON}"
        assert ran.err.count(self.REASON) == 1
        assert f"note: {self.REASON}\n" in ran.out
        report = json.loads(Path(f"{output}.report.json").read_text())
        assert report["facts"]["warnings"] == [self.REASON]
        assert report["warnings"][0] == self.REASON

    @pytest.mark.parametrize("form", [(), ("--json",), ("--set", "model.consistency=1")])
    def test_a_dry_run_warns(
        self,
        espcn: Callable[..., Ran],
        scene: Path,
        weak: Path,
        tmp_path: Path,
        form: tuple[str, ...],
    ) -> None:
        ran = espcn("upscale", scene, tmp_path / "f.tif", "-m", weak, "--dry-run", *form)
        assert (ran.code, ran.err) == (0, f"espcn: warning: {self.REASON}\n")
        if form == ("--json",):
            assert json.loads(ran.out)["warnings"] == [self.REASON]

    def test_quiet_leaves_it_to_the_report(
        self, espcn: Callable[..., Ran], scene: Path, weak: Path, tmp_path: Path
    ) -> None:
        ran = espcn("upscale", scene, tmp_path / "f.tif", "-m", weak, "--workers", "0", "--quiet")
        assert (ran.code, ran.out, ran.err) == (0, "", "")
        assert self.REASON in (tmp_path / "f.tif.report.json").read_text()
        dry = espcn("upscale", scene, tmp_path / "g.tif", "-m", weak, "--dry-run", "--quiet")
        assert (dry.code, dry.err) == (0, "")

    def test_a_model_that_passed_or_was_not_judged_does_not_warn(
        self, espcn: Callable[..., Ran], scene: Path, tmp_path: Path
    ) -> None:
        ran = espcn("upscale", scene, tmp_path / "f.tif", "--dry-run", "--json")
        assert (ran.code, ran.err) == (0, "")
        assert json.loads(ran.out)["warnings"] == []

    def test_a_terminal_shows_it_above_the_bar(self) -> None:
        console = Console(force_terminal=True, width=120, record=True)
        with watching(console, quiet=False) as on_event:
            on_event(Warned(self.REASON))
        assert f"espcn: warning: {self.REASON}" in console.export_text()

    def test_models_shows_verdicts_and_bands(self, weak: Path) -> None:
        from espcn import describe

        card = replace(describe(str(weak)), bands=3, band_names=("B04", "B03", "B02"))
        console = Console(width=200, record=True)
        show_models(console, [card])
        shown = console.export_text()
        assert "fail: PSNR 30.10 dB, bicubic 30.39 dB" in shown
        assert "B04, B03, B02" in shown


class TestInformation:
    """Commands that only tell."""

    def test_inspect_shows_the_profile(self, espcn: Callable[..., Ran], scene: Path) -> None:
        ran = espcn("inspect", scene)
        assert ran.code == 0
        for fact in ("80 x 60 px, 2 bands", "uint16", "WGS 84 / UTM zone 33N", "399960"):
            assert fact in ran.out
        assert "[bold]not markup[/bold]" in ran.out
        assert json.loads(espcn("inspect", scene, "--json").out)["width"] == 80

    def test_models_lists_what_ships(self, espcn: Callable[..., Ran]) -> None:
        ran = espcn("models")
        assert ran.code == 0
        for card in json.loads(espcn("models", "--json").out):
            assert card["name"] in ran.out
            assert card["sha256"][:12] in ran.out

    def test_config_show_says_who_chose_a_value(
        self, espcn: Callable[..., Ran], tmp_path: Path
    ) -> None:
        file = tmp_path / "my.yaml"
        file.write_text("output: {compress: zstd}\n")
        ran = espcn("config", "show", file, "--set", "tiling.tile=512")
        assert re.search(rf"output.compress +zstd +{re.escape(str(file))}", ran.out)
        assert re.search(r"tiling.tile +512 +--set", ran.out)
        assert re.search(r"model.name +general-x2 +default", ran.out)
        assert espcn("config", "check", file).out == (
            f"{file}: 1 options of espcn upscale set, all valid\n"
        )

    def test_config_knows_the_options_of_training_by_the_sections_of_a_file(
        self, espcn: Callable[..., Ran], tmp_path: Path
    ) -> None:
        paper = Path(__file__).parents[1] / "configs/train/paper.yaml"
        ran = espcn("config", "check", paper)
        assert (ran.code, ran.err) == (0, "")
        assert re.fullmatch(rf"{paper}: \d+ options of espcn train set, all valid\n", ran.out)
        ran = espcn("config", "show", paper, "--set", "recipe.scale=4")
        assert re.search(r"recipe.network +tanh +\S+paper.yaml", ran.out)
        assert re.search(r"recipe.scale +4 +--set", ran.out)
        assert "tiling.tile" not in ran.out
        file = tmp_path / "my.yaml"
        file.write_text("recipe: {sub_imag: 17}\n")
        assert "did you mean 'recipe.sub_image'" in espcn("config", "check", file).err

    def test_config_shows_and_checks_training_where_told_to(
        self, espcn: Callable[..., Ran], tmp_path: Path
    ) -> None:
        assert re.search(r"run.device +auto +default", espcn("config", "show", "--train").out)
        shown = json.loads(espcn("config", "show", "--train", "--json").out)
        assert shown["recipe.scale"] == {"value": 3, "origin": "default"}
        file = tmp_path / "my.yaml"
        file.write_text("recpie: {sub_image: 17}\n")
        ran = espcn("config", "check", file, "--train")
        assert (ran.code, ran.out) == (2, "")
        assert "did you mean 'recipe.sub_image'" in ran.err

    def test_import_writes_beside_the_checkpoint_and_replaces_nothing_unasked(
        self, espcn: Callable[..., Ran], tmp_path: Path
    ) -> None:
        import torch
        from espcn_networks import random_weights

        from espcn.weights_file import weights_to_tensors

        tensors = weights_to_tensors(random_weights(scale=3)).items()
        path, ours = tmp_path / "weights.pth", tmp_path / "weights.safetensors"
        torch.save({name: torch.from_numpy(tensor) for name, tensor in tensors}, path)
        ran = espcn("import", path)
        assert (ran.code, ran.err) == (0, "")
        assert re.search(r"weights +x3", ran.out)
        before = ours.stat().st_mtime_ns
        for arguments in ((path,), (path, ours)):
            ran = espcn("import", *arguments)
            assert (ran.code, ran.out) == (2, "")
            refusal = f"{ours} exists: choose another name or give --overwrite"
            assert ran.err == f"espcn: error: {refusal}\n"
        assert ours.stat().st_mtime_ns == before
        assert espcn("import", path, "--overwrite").code == 0
        assert espcn("import", path, tmp_path / "other.safetensors").code == 0

    def test_the_version_is_that_of_the_package(self, espcn: Callable[..., Ran]) -> None:
        from importlib.metadata import version

        assert espcn("--version").out == f"espcn {version('espcn')}\n"

    def test_without_a_command_there_is_help(self, espcn: Callable[..., Ran]) -> None:
        ran = espcn()
        assert ran.code == 2
        assert "upscale" in ran.out + ran.err
        assert "error" not in ran.err

    def test_completion_is_offered(
        self, espcn: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("COMP_WORDS", "espcn upscale a b --compress z")
        monkeypatch.setenv("COMP_CWORD", "5")
        monkeypatch.setenv("_ESPCN_COMPLETE", "complete_bash")
        with pytest.raises(SystemExit):
            espcn()


class TestProgress:
    """What is shown while a job runs."""

    @staticmethod
    def lines(tiles: int, seconds_each: float, capsys: Capture) -> list[str]:
        shape = SimpleNamespace(workers=2, threads=3)
        with watching(Console(stderr=True, width=200), quiet=False) as on_event:
            on_event(Started(None, tiles, 10, shape))  # type: ignore[arg-type]
            for done in range(11, tiles + 1):
                made = done - 10
                on_event(Progress(done, tiles, 10, 4.0 * made, seconds_each * made))
            on_event(Publishing("/a/out.tif"))
        return capsys.readouterr().err.splitlines()

    def test_a_short_job_prints_few_lines(self, capsys: Capture) -> None:
        shown = self.lines(110, 0.01, capsys)
        assert shown[0] == "110 tiles, 10 of them kept from an earlier run; 2 x 3 worker threads"
        assert shown[-2] == "110/110 tiles, 100.0 tiles/s, 400.0 Mpx/s, 0:00:00 left"
        assert shown[-1] == "publishing /a/out.tif"
        assert len(shown) == 4

    def test_a_long_job_prints_no_more_than_a_line_per_percent(self, capsys: Capture) -> None:
        assert 50 < len(self.lines(10_010, 1.0, capsys)) < 210

    def test_a_terminal_gets_a_bar(self) -> None:
        console = Console(force_terminal=True, width=120, record=True)
        shape = SimpleNamespace(workers=1, threads=1)
        with watching(console, quiet=False) as on_event:
            on_event(Started(None, 4, 0, shape))  # type: ignore[arg-type]
            on_event(Progress(2, 4, 0, 8.0, 2.0))
            on_event(Publishing("/a/out.tif"))
        shown = console.export_text()
        assert "2/4" in shown
        assert "1.0 tiles/s, 4.0 Mpx/s" in shown


class TestSample:
    """The demo scene."""

    def test_it_is_what_a_satellite_would_deliver(
        self, espcn: Callable[..., Ran], tmp_path: Path
    ) -> None:
        path = tmp_path / "scene.tif"
        assert espcn("sample", path, "--height", "64", "--width", "600").code == 0
        with rasterio.open(path) as file:
            assert file.shape == (64, 600)
            assert (file.nodata, file.crs, file.res) == (0, "EPSG:32633", (10, 10))
            assert file.descriptions == ("blue", "green", "red", "nir")
            assert [c.name for c in file.colorinterp] == ["blue", "green", "red", "nir"]
            pixels = file.read()
        assert (pixels == 0).all(axis=0)[0, :40].all()
        assert (pixels != 0).all(axis=0)[:, 100:].all()

    def test_the_same_scene_has_the_same_pixels_however_it_is_cut(self) -> None:
        from pipeline.tiling import Window
        from workflows.sample import Scene, draw

        scene = Scene(samples=1)
        whole = draw(scene, Window(512, 0, 64, 512))
        assert np.array_equal(whole, draw(Scene(samples=1), Window(512, 0, 64, 512)))
        assert np.array_equal(whole[:, :, :100], draw(scene, Window(512, 0, 64, 100)))
        assert not np.array_equal(whole, draw(Scene(samples=1, seed=2), Window(512, 0, 64, 512)))

    def test_a_directory_that_is_missing_is_one_line(
        self, espcn: Callable[..., Ran], tmp_path: Path
    ) -> None:
        ran = espcn("sample", tmp_path / "no" / "scene.tif")
        assert ran.code == 4
        assert str(tmp_path) in one_line(ran)
