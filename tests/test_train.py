"""`espcn train`: what it writes, what interrupts it, what it refuses."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from io import StringIO
from pathlib import Path
from typing import IO

import numpy as np
import pytest
import rasterio
from fakes import texture, write_tif
from PIL import Image
from rasterio.errors import NotGeoreferencedWarning
from rich.console import Console
from runs import Ran
from training_runs import (
    HERE,
    SMALL,
    as_torchrun_does,
    await_step,
    scalars,
    squares,
    start,
    write_pictures,
)

from espcn import describe
from espcn.architecture import Weights
from espcn.course import Progress
from espcn.material import Material
from espcn.models import read_model
from espcn.resample import shrink
from espcn.validation import Figures
from espcn.weights_file import read_weights
from pipeline.stage import replacing
from workflows import train as story
from workflows.cli import run
from workflows.config import make_training, read_settings
from workflows.held_back import _restorer
from workflows.train_progress import watching_training

Capture = pytest.CaptureFixture[str]
PAPER = HERE.parent / "configs" / "train" / "paper.yaml"
STEPS = 80
LONG = ("--set", f"recipe.steps={STEPS}")
"""Enough to interrupt."""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("data") / "pictures")


@pytest.fixture(scope="module")
def whole(pictures: Path) -> Path:
    """The model of a run that nothing interrupted."""
    model = pictures.with_name("whole.safetensors")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        assert run(["train", str(pictures), "-o", str(model), *SMALL, *LONG, "--quiet"]) == 0
    return model


def weights_of(model: Path) -> Weights:
    return read_weights(model)[0]


def assert_same(model: Path, other: Path) -> None:
    """To the bit, and measured to be so."""
    one, two = weights_of(model), weights_of(other)
    for first, second in zip(one.layers, two.layers, strict=True):
        np.testing.assert_array_equal(first.weight, second.weight)
    assert one.metrics == two.metrics
    assert history(model) == history(other)


def history(model: Path) -> list[str]:
    """The card's table of what was measured on the way."""
    return model.with_suffix(".md").read_text().partition("| step |")[2].splitlines()


def copied(model: Path, folder: Path) -> Path:
    """A model with its checkpoint and its log."""
    shutil.copytree(model.with_suffix(".training"), folder / f"{model.stem}.training")
    return Path(shutil.copy(model, folder))


# ------------------------------------------------------------------------- what it writes


def test_a_run_writes_a_model_that_beats_bicubic_and_says_what_it_is(whole: Path) -> None:
    card = describe(str(whole))
    assert card.equivariant
    assert (card.scale, card.bands, card.verdict) == (2, 1, "pass")
    assert card.metrics["validation_psnr"] > card.metrics["validation_psnr_bicubic"] + 0.5
    assert card.metrics["validation_rmse"] < card.metrics["validation_rmse_bicubic"]
    said = card.provenance
    assert f"steps {STEPS}, patch 16, batch 4" in said["recipe"]
    assert "seed 0" in said["recipe"]
    assert said["degradation"] == "bicubic x2"
    assert said["split"] == "10% by blocks of 512 px, seed 0"
    assert re.fullmatch("[0-9a-f]{64}", said["training_set"])
    assert re.fullmatch(r"espcn \S+, torch \S+", said["versions"])
    assert not whole.with_suffix(".training").joinpath("checkpoint.safetensors").exists()


def test_the_card_says_what_it_was_made_of_and_what_it_is_not_for(whole: Path) -> None:
    text = whole.with_suffix(".md").read_text()
    assert text.startswith("# whole\n")
    assert "Verdict: **pass**" in text
    assert "9 samples of 0.1 Mpx were trained on, 1 held back (10% by blocks" in text
    assert "no basis for a diagnosis" in text
    assert "Terms: not stated." in text
    assert len(history(whole)) == 2 + 20
    for option in ("data.channels | luma", "degradation.kind | bicubic", "recipe.patch | 16"):
        assert f"| {option} |" in text
    with Image.open(whole.with_suffix(".png")) as sheet:
        assert sheet.width > 4 * 336, "112 px, enlarged by 3, four times"


def test_what_is_held_back_is_recorded(whole: Path) -> None:
    split = json.loads((whole.with_suffix(".training") / "split.json").read_text())
    ((held),) = split["validation"]
    assert held["windows"] == [[0, 0, 96, 112]]
    assert re.fullmatch(r"\d\d\.png", held["source"])


def test_tensorboard_sees_every_measurement(whole: Path) -> None:
    found = scalars(whole.with_suffix(".training"))
    assert set(found) == {"loss", "validation/psnr", "validation/psnr_over_bicubic"}
    for values in found.values():
        assert [step for step, _ in values] == list(range(STEPS // 20, STEPS + 1, STEPS // 20))
    rows = [row.split("|")[1:5] for row in history(whole)[2:]]
    for (_, loss, psnr, bicubic), (_, logged), (_, level), (_, gain) in zip(
        rows, *(found[name] for name in sorted(found)), strict=True
    ):
        assert float(loss) == pytest.approx(logged, abs=1e-3)
        assert float(psnr) == pytest.approx(level, abs=1e-2)
        assert float(psnr) - float(bicubic) == pytest.approx(gain, abs=1e-2)


def test_a_seed_repeats_a_run(
    espcn: Callable[..., Ran], pictures: Path, whole: Path, tmp_path: Path
) -> None:
    model = tmp_path / "again.safetensors"
    assert espcn("train", pictures, "-o", model, *SMALL, *LONG, "--seed", "0").code == 0
    assert_same(model, whole)


def test_the_command_of_the_original_project_makes_its_folder(
    espcn: Callable[..., Ran], pictures: Path, tmp_path: Path
) -> None:
    """espcn train -t TRAIN -v VAL -o DIR --epochs 40 --config configs/train/paper.yaml"""
    others = write_pictures(tmp_path / "val", 2, first=20)
    command = ("-t", pictures, "-v", others, "-o", tmp_path / "made", "--epochs", "2")
    small = ("--scale", "3", "--set", "run.threads=1", "--device", "cpu")
    config = ("--config", PAPER)
    ran = espcn("train", *command, *config, *small)
    assert ran.code in (0, 5), ran.err
    model = tmp_path / "made" / "model.safetensors"
    weights = weights_of(model)
    assert (weights.activation, weights.skip, weights.input_range) == ("tanh", False, (0.0, 1.0))
    assert [layer.weight.shape for layer in weights.layers] == [
        (64, 1, 5, 5),
        (32, 64, 3, 3),
        (9, 32, 3, 3),
    ]
    said = weights.provenance
    # 32 x 37 px: 3 x 3 sub-images of each of 10 pictures, twice, 16 at a time
    assert said["steps_taken"] == "12"
    assert said["degradation"].startswith("gaussian x3")
    assert said["split"] == "validation data of its own"
    assert said["value_range"] == "0 255"


# --------------------------------------------------------------------------- interruptions


@pytest.mark.skipif(os.name == "nt", reason="signals are those of POSIX")
def test_an_interrupted_run_keeps_the_best_and_resumes_to_the_same_result(
    espcn: Callable[..., Ran], pictures: Path, whole: Path, tmp_path: Path
) -> None:
    model = tmp_path / "whole.safetensors"
    command = ("train", pictures, "-o", model, *SMALL, *LONG)
    process = start(*command)
    await_step(process, STEPS // 4)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert re.search(rf"interrupted +after \d+ of {STEPS} steps; --resume goes on", out)
    kept = describe(str(model))
    assert STEPS // 4 <= int(kept.provenance["steps_taken"]) < STEPS
    assert kept.metrics["validation_psnr"] > kept.metrics["validation_psnr_bicubic"]
    assert "(interrupted after" in model.with_suffix(".md").read_text()

    split = tmp_path / "whole.training" / "split.json"
    before, split_before = model.read_bytes(), split.read_bytes()
    assert "go on with --resume" in espcn(*command).line
    for changed, named in (
        (("--set", "recipe.learning_rate=0.01"), "with learning_rate 0.012, not 0.01"),
        (("--set", "recipe.steps=81"), f"with steps {STEPS}, not 81"),
        (("--epochs", "3"), "with epochs None, not 3"),
        (("--set", "data.seed=5"), "on other pixels"),
        (("--degradation", "gaussian"), "on other pixels"),
    ):
        ran = espcn(*command, *changed, "--resume")
        assert ran.code == 2
        assert f"checkpoint.safetensors was trained {named}: give the same" in ran.line
    assert (model.read_bytes(), split.read_bytes()) == (before, split_before)

    assert espcn(*command, "--resume").code == 0
    assert_same(model, whole)
    found = scalars(model.with_suffix(".training"))
    assert found["loss"][-1][0] == STEPS
    assert not (tmp_path / "whole.training" / "checkpoint.safetensors").exists()


@pytest.mark.skipif(os.name == "nt", reason="signals are those of POSIX")
def test_a_killed_run_resumes_from_its_checkpoint_to_the_same_result(
    espcn: Callable[..., Ran], pictures: Path, whole: Path, tmp_path: Path
) -> None:
    model = tmp_path / "whole.safetensors"
    command = ("train", pictures, "-o", model, *SMALL, *LONG)
    process = start(*command, quick_to_save=True)
    await_step(process, STEPS // 2)
    process.kill()
    process.communicate()
    assert not model.exists()
    assert (tmp_path / "whole.training" / "checkpoint.safetensors").exists()
    assert espcn(*command, "--resume").code == 0
    assert_same(model, whole)


def test_ctrl_c_before_the_first_step_says_that_nothing_was_kept(
    espcn: Callable[..., Ran], pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(story, "read_samples", interrupted)
    ran = espcn("train", pictures, "-o", tmp_path / "m.safetensors", *SMALL)
    assert ran == Ran(130, "", "espcn: interrupted; nothing was kept\n")
    assert not list(tmp_path.iterdir())


def test_a_run_whose_result_could_not_be_written_is_not_lost(
    espcn: Callable[..., Ran],
    pictures: Path,
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = tmp_path / "whole.safetensors"
    command = ("train", pictures, "-o", model, *SMALL, *LONG)

    with monkeypatch.context() as patched:
        patched.setattr(story, "replacing", without_room_for(".png"))
        ran = espcn(*command)
    assert ran.code == 4
    assert "cannot be written (No space left on device)" in ran.line
    assert not model.with_suffix(".md").exists()
    assert not model.exists()
    assert espcn(*command, "--resume").code == 0
    assert_same(model, whole)


def test_a_model_is_replaced_with_all_that_belongs_to_it_or_not_at_all(
    espcn: Callable[..., Ran],
    pictures: Path,
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = [copied(whole, tmp_path)]
    files += [Path(shutil.copy(whole.with_suffix(end), tmp_path)) for end in (".md", ".png")]
    before = [path.read_bytes() for path in files]
    monkeypatch.setattr(story, "replacing", without_room_for(".safetensors"))
    other = ("--seed", "1", "--overwrite")
    assert espcn("train", pictures, "-o", files[0], *SMALL, *LONG, *other).code == 4
    assert [path.read_bytes() for path in files] == before


def without_room_for(suffix: str) -> Callable[[Path], AbstractContextManager[IO[bytes]]]:
    """`replacing` on a disk that is full once a file of that suffix comes."""

    def full(path: Path) -> AbstractContextManager[IO[bytes]]:
        if path.suffix == suffix:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return replacing(path)

    return full


def test_a_run_that_cannot_begin_leaves_the_interrupted_one_as_it_was(
    espcn: Callable[..., Ran], pictures: Path, tmp_path: Path
) -> None:
    model, folder = tmp_path / "m.safetensors", tmp_path / "m.training"
    folder.mkdir()
    for name in ("checkpoint.safetensors", "split.json", "events.out.tfevents.1"):
        (folder / name).write_text("of before")
    start_from = ("--set", "recipe.start=nowhere", "--overwrite")
    ran = espcn("train", pictures, "-o", model, *SMALL, *LONG, *start_from)
    assert ran.code == 2
    assert "nowhere" in ran.line
    assert {path.read_text() for path in folder.iterdir()} == {"of before"}
    assert len(list(folder.iterdir())) == 3


def test_samples_too_small_to_measure_are_refused_before_training(
    espcn: Callable[..., Ran], pictures: Path, tmp_path: Path
) -> None:
    side = ("--set", "data.side=14")
    ran = espcn("train", pictures, "-o", tmp_path / "m.safetensors", *SMALL, *side)
    assert ran.code == 2
    assert "too little to measure" in ran.line


@pytest.mark.parametrize("name", ["m.safetensors", "m.md", "m.png"])
def test_nothing_that_exists_is_replaced_unasked(
    espcn: Callable[..., Ran], pictures: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_text("precious")
    ran = espcn("train", pictures, "-o", tmp_path / "m.safetensors", *SMALL)
    assert ran.code == 2
    assert f"{name} exists" in ran.line
    if name == "m.safetensors":
        return  # as a folder it would be the one to write into
    (tmp_path / name).unlink()
    (tmp_path / name).mkdir()
    ran = espcn("train", pictures, "-o", tmp_path / "m.safetensors", *SMALL, "--overwrite")
    assert ran.code == 2
    assert "is a folder" in ran.line


def test_what_a_run_writes_is_not_learned_from(
    espcn: Callable[..., Ran], pictures: Path, tmp_path: Path
) -> None:
    """A model beside its data: with --overwrite its sheet would be one picture more."""
    folder = tmp_path / "own"
    shutil.copytree(pictures, folder)
    few = ("--set", "recipe.steps=5")
    command = ("train", folder, "-o", folder / "m.safetensors", *SMALL, *few)
    assert espcn(*command).code == 0
    first = read_weights(folder / "m.safetensors")[0].provenance["training_set"]
    assert espcn(*command, "--overwrite").code == 0
    assert read_weights(folder / "m.safetensors")[0].provenance["training_set"] == first


def test_a_network_starts_from_another(
    espcn: Callable[..., Ran], pictures: Path, tmp_path: Path
) -> None:
    """One step at a rate of next to nothing leaves it what it is."""
    model = tmp_path / "m.safetensors"
    still = ("recipe.start=general-x{scale}", "recipe.learning_rate=1e-9", "recipe.steps=1")
    options = [text for option in still for text in ("--set", option)]
    assert espcn("train", pictures, "-o", model, *SMALL, "--scale", "3", *options).code == 0
    shipped = read_model("general-x3").weights
    assert shipped is not None
    for one, other in zip(read_weights(model)[0].layers, shipped.layers, strict=True):
        last = one.weight.shape == shipped.layers[2].weight.shape  # errs to no side on these
        np.testing.assert_allclose(one.weight, other.weight, atol=1e-3 if last else 1e-6)
    own = tmp_path / "tanh.safetensors"
    tanh = ("--set", "recipe.network=tanh", "--overwrite")
    few = ("--set", "recipe.steps=400")
    assert espcn("train", pictures, "-o", own, *SMALL, *tanh, *few).code == 0
    again = (*options, "--set", f"recipe.start={own}")
    assert espcn("train", pictures, "-o", model, *SMALL, *again, *tanh).code == 0
    for one, other in zip(read_weights(model)[0].layers, read_weights(own)[0].layers, strict=True):
        np.testing.assert_allclose(one.weight, other.weight, rtol=1e-5, atol=1e-6)
        assert one.bias is not None
        assert other.bias is not None
        np.testing.assert_allclose(one.bias, other.bias, rtol=1e-5, atol=1e-5)
    ran = espcn(
        "train", pictures, "-o", model, *SMALL, "--set", f"recipe.start={own}", "--overwrite"
    )
    assert ran.code == 2
    assert "is no equivariant network to start from" in ran.line
    wrong = ("--set", "recipe.start=general-x4", "--scale", "2", "--overwrite")
    ran = espcn("train", pictures, "-o", model, *SMALL, *wrong)
    assert ran.code == 2
    assert "choose another to start from" in ran.line


# ----------------------------------------------------------------------- what goes wrong


def test_a_loss_that_is_no_number_ends_the_run_and_leaves_what_exists(
    espcn: Callable[..., Ran], pictures: Path, whole: Path, tmp_path: Path
) -> None:
    model = copied(whole, tmp_path)
    before = model.read_bytes()
    rate = ("--set", "recipe.learning_rate=1e30", "--overwrite")
    ran = espcn("train", pictures, "-o", model, *SMALL, *LONG, *rate)
    assert ran.code == 4
    assert re.search(
        rf"diverged by step \d+ of {STEPS} \(loss nan\): train again at less than", ran.line
    )
    assert model.read_bytes() == before


def test_a_model_that_does_not_beat_bicubic_is_written_with_a_failing_verdict(
    espcn: Callable[..., Ran], pictures: Path, tmp_path: Path
) -> None:
    model = tmp_path / "bad.safetensors"
    useless = ("--set", "recipe.learning_rate=1e-9", "--set", "recipe.steps=2")
    ran = espcn("train", pictures, "-o", model, *SMALL, *useless)
    assert ran.code == 5
    assert re.search(r"verdict +fail: [\d.]+ dB on what was held back, bicubic reaches", ran.out)
    assert describe(str(model)).verdict.startswith("fail: ")
    assert "Verdict: **fail: " in model.with_suffix(".md").read_text()
    ran = espcn(
        *("upscale", pictures / "00.png", tmp_path / "out.png", "--model", model),
        *("--workers", "0", "--device", "cpu"),
    )
    assert ran.code == 0
    assert "espcn: warning: " in ran.err
    assert "fail" in ran.err


def test_beginning_anew_forgets_the_interrupted_run(
    espcn: Callable[..., Ran], pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else --resume would go on with a run that was given up."""
    model = tmp_path / "m.safetensors"
    checkpoint = tmp_path / "m.training" / "checkpoint.safetensors"
    checkpoint.parent.mkdir()
    checkpoint.write_bytes(b"of a run that was given up")
    monkeypatch.setattr(Path, "unlink", forbidden_after(1))
    rate = ("--set", "recipe.learning_rate=1e30", "--overwrite")
    assert espcn("train", pictures, "-o", model, *SMALL, *LONG, *rate).code == 4
    assert not checkpoint.exists()


def forbidden_after(count: int) -> Callable[..., None]:
    """`Path.unlink`, so often."""
    unlink, calls = Path.unlink, list[Path]()

    def checked(path: Path, *, missing_ok: bool = False) -> None:
        calls.append(path)
        assert len(calls) <= count
        unlink(path, missing_ok=missing_ok)

    return checked


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        ([], 2, "name images, or folders of images"),
        (["EMPTY"], 3, "nothing that can be read"),
        (["NOWHERE"], 3, "does not exist"),
        (["PICTURES", "--config", "TYPO"], 2, "did you mean 'recipe.patch'?"),
        (["PICTURES", "--set", "recipe.patches=8"], 2, "did you mean 'recipe.patch'?"),
        (["PICTURES", "--set", "recipe.patch=4"], 2, "must be 8 or more"),
        (["PICTURES", "--set", "recipe.sub_image=3"], 2, "leave nothing to judge"),
        (["PICTURES", "--set", "recipe.network=relu"], 2, "must be equivariant or tanh"),
        (["PICTURES", "--scale", "1"], 2, "must be 2 to 8"),
        (["PICTURES", "--minutes", "0"], 2, "must be more than 0"),
        (["PICTURES", "--minutes", "1", "--epochs", "1"], 2, "exclude each other"),
        (["PICTURES", "--val", "PICTURES", "--val-region", "rows 1:"], 2, "--val excludes"),
        (["PICTURES", "--val", "PICTURES", "--val-fraction", "0.2"], 2, "--val excludes"),
        (["PICTURES", "--set", "degradation.sigma=2"], 2, "means nothing to the degradation"),
        (["PICTURES", "--bands", "B04"], 3, "has none of the bands B04"),
        (["PICTURES", "--bands", "9", "--channels", "joint"], 3, "has not all of the bands 9"),
        (["SCENE", "--channels", "luma"], 3, "luma is that of red, green and blue"),
        (["SCENE", "--degradation", "sensor"], 2, "sentinel2"),
        (["SCENE", "--resume"], 2, "there is no interrupted run to resume"),
        (["SCENE", "--output", "EXISTS"], 2, "give --overwrite"),
        (["SCENE", "--output", "m.pth"], 2, "ends in .safetensors"),
        (["SCENE", "--output", "/no/such/m.safetensors"], 2, "there is no folder /no"),
        (["SMALL"], 3, "are the least"),
        (["CONSTANT"], 3, "nothing left to train on"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_is_refused_in_one_line(
    espcn: Callable[..., Ran],
    pictures: Path,
    tmp_path: Path,
    arguments: list[str],
    code: int,
    named: str,
) -> None:
    places = {
        name: tmp_path / name for name in ("EMPTY", "NOWHERE", "TYPO", "SCENE", "SMALL", "CONSTANT")
    }
    places |= {"PICTURES": pictures, "EXISTS": tmp_path / "EXISTS.safetensors"}
    places["EMPTY"].mkdir()
    places["TYPO"].write_text("recipe: {patchs: 8}\n")
    places["EXISTS"].write_text("there before")
    write_tif(places["SCENE"], texture((1, 400, 400)))
    write_tif(places["SMALL"], texture((1, 20, 400)))
    write_tif(places["CONSTANT"], np.full((1, 400, 400), 7, np.uint16))
    output = () if "--output" in arguments else ("--output", tmp_path / "m.safetensors")
    cut = ("--set", "data.side=48", "--set", "data.block=96")
    ran = espcn("train", *(places.get(word, word) for word in arguments), *output, *cut)
    assert ran.code == code
    assert named in ran.line
    assert places["EXISTS"].read_text() == "there before"
    assert not (tmp_path / "m.safetensors").exists()


# -------------------------------------------------------------------------- other networks


def test_a_tanh_network_sees_the_values_that_it_was_trained_on(
    espcn: Callable[..., Ran], pictures: Path, tmp_path: Path
) -> None:
    """0 to 255 are its 0 to 1: a PNG comes out as it did when the network was measured."""
    model = tmp_path / "tanh.safetensors"
    network = ("--set", "recipe.network=tanh", "--set", "recipe.learning_rate=0.003")
    ran = espcn("train", pictures, "-o", model, *SMALL, *LONG, *network)
    assert ran.code in (0, 5), ran.err
    weights = weights_of(model)
    assert weights.metrics["validation_psnr"] > weights.metrics["validation_psnr_bicubic"] - 0.5
    assert weights.input_range == (0.0, 1.0)
    assert weights.provenance["value_range"] == "0 255"
    with Image.open(pictures / "03.png") as picture:
        truth = np.asarray(picture.convert("L"))
    low = np.clip(np.rint(shrink(truth.astype(np.float64), 2)), 0, 255).astype(np.uint8)
    Image.fromarray(low).save(tmp_path / "low.png")
    command = ("upscale", tmp_path / "low.png", tmp_path / "fine.png", "--model", model)
    assert espcn(*command, "--workers", "0", "--device", "cpu").code == 0
    with Image.open(tmp_path / "fine.png") as picture:
        fine = np.asarray(picture).astype(np.float64)
    measured = _restorer(weights, Material((), (), 255.0))(low[None].astype(np.float32))[0]
    assert np.abs(fine - np.clip(measured, 0, 255)).max() < 0.51


def test_joint_networks_learn_several_bands_and_keep_their_names(
    espcn: Callable[..., Ran], tmp_path: Path
) -> None:
    scene = write_tif(tmp_path / "scene.tif", squares((3, 400, 400), "uint16"))
    with rasterio.open(scene, "r+") as dataset:
        dataset.descriptions = ("B04", "B03", "B02")
    model = tmp_path / "joint.safetensors"
    cut = ("--set", "data.side=96", "--set", "data.block=128")
    ran = espcn("train", scene, "-o", model, *SMALL, *LONG, *cut, "--channels", "joint")
    assert ran.code == 0, ran.err + ran.out
    card = describe(str(model))
    assert (card.bands, card.band_names) == (3, ("B04", "B03", "B02"))
    text = model.with_suffix(".md").read_text()
    for name in ("all", "B04", "B03", "B02"):
        assert f"\n| {name} |" in text
    upscale = ("--model", model, "--workers", "0", "--device", "cpu")
    assert espcn("upscale", scene, tmp_path / "fine.tif", *upscale).code == 0
    with rasterio.open(tmp_path / "fine.tif") as dataset:
        assert (dataset.count, dataset.shape) == (3, (800, 800))
    assert espcn("upscale", scene, tmp_path / "x.tif", *upscale, "--bands", "1,2").code == 3


def test_the_blur_of_a_sensor_is_that_of_each_band(
    espcn: Callable[..., Ran], tmp_path: Path
) -> None:
    for number, name in enumerate(("B02", "B05")):
        write_tif(tmp_path / f"scene_{name}.tif", squares((1, 300, 400), "uint16", seed=number))
    model = tmp_path / "s2.safetensors"
    cut = ("--set", "data.side=64", "--set", "data.block=128", "--set", "recipe.steps=20")
    command = ("train", tmp_path, "-o", model, *SMALL, *cut, "--channels", "each")
    ran = espcn(*command, "--degradation", "sensor")
    assert ran.code in (0, 5), ran.err
    said = describe(str(model)).provenance
    mean = np.mean([2 * np.sqrt(-2 * np.log(mtf)) / np.pi for mtf in (0.26, 0.38)])
    assert said["degradation"] == f"sensor x2 sigma {round(float(mean), 4)}"
    assert said["sensor"] == "sentinel2"


# ------------------------------------------------------------------------------- progress


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_shows_loss_gain_over_bicubic_and_time_left(terminal: bool) -> None:
    """Of a run that went on at step 60, at two steps a second."""
    console = Console(file=StringIO(), force_terminal=terminal, width=140)
    with watching_training(console, quiet=False) as watcher:
        watcher.progress(Progress(62, 100, 1.0, begun=60))
        figures = Figures(psnr=31.5, psnr_bicubic=30.0)
        watcher.progress(Progress(80, 100, 10.0, begun=60, loss=0.875, figures=figures))
    assert isinstance(console.file, StringIO)
    shown = console.file.getvalue()
    assert "loss 0.875, 31.50 dB (+1.50 dB against bicubic)" in shown
    assert "80/100" in shown
    if not terminal:
        assert shown.endswith("0:10 left\n")
        assert shown.count("\n") == 1


def test_other_processes_than_the_first_are_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    console = Console(file=StringIO())
    with watching_training(console, quiet=False) as watcher:
        figures = Figures(psnr=31.5, psnr_bicubic=30.0)
        watcher.progress(Progress(80, 100, 10.0, loss=0.875, figures=figures))
    assert isinstance(console.file, StringIO)
    assert console.file.getvalue() == ""


# ------------------------------------------------------------------------- configuration


def test_the_paper_s_recipe_is_the_paper_s() -> None:
    file = PAPER
    settings = read_settings(file, flags={"epochs": 40}, subject="train")
    training = make_training(["data"], Path("m"), settings)
    recipe, data = training.recipe, training.data
    assert (recipe.network, recipe.sub_image, recipe.window.side) == ("tanh", 17, 14)
    assert (recipe.rate(0), recipe.last_layer) == (1e-3, 0.1)
    assert recipe.rate(recipe.steps - 1) == pytest.approx(1e-4, rel=1e-4)
    assert (recipe.sizes, recipe.balance, data.channels) == ((1.0,), False, "luma")
    assert training.degradation.kind == "gaussian"
    assert training.run.epochs == 40


def test_minutes_on_the_command_line_stand_for_epochs_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_text("run: {epochs: 40}\n")
    for flags, assignments in (({"minutes": 2.0}, ()), ({}, ("run.minutes=2",))):
        settings = read_settings(file, assignments, flags=flags, subject="train")
        run_options = make_training(["data"], Path("m"), settings).run
        assert (run_options.minutes, run_options.epochs) == (2.0, None)


# ------------------------------------------------------------------------------ resources


@pytest.mark.skipif(sys.platform != "linux", reason="the loopback is called lo")
def test_two_processes_train_one_network(pictures: Path, tmp_path: Path) -> None:
    """They agree to the bit, and with one process to rounding; only the first writes and speaks."""
    ours = tmp_path / "two.safetensors"
    float32 = ("--set", "recipe.bf16=false", "--set", "recipe.steps=6")
    # Adam: the bases of SOAP are eigenvectors of what is next to nothing at first, and rounding
    # turns them
    network = (
        *("--set", "recipe.network=tanh", "--set", "recipe.optimizer=adam"),
        *("--set", "recipe.learning_rate=0.0001"),
    )
    command = ("train", pictures, *SMALL, *float32, *network)
    with as_torchrun_does(2) as environments:
        processes = [
            subprocess.Popen(
                [sys.executable, "training_runs.py", tmp_path / "weights", *command, "-o", ours],
                cwd=HERE,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for environment in environments
        ]
        (out, log), (nothing, silence) = (each.communicate(timeout=60) for each in processes)
    assert [each.returncode for each in processes] == [0, 0], log + silence
    assert log.count("6/6 steps") == out.count("verdict") == 1
    assert (nothing, silence) == ("", "")
    alone = tmp_path / "one.safetensors"
    assert run([str(word) for word in (*command, "-o", alone)]) == 0
    first, second = (np.load(tmp_path / f"weights.{rank}.npz") for rank in (0, 1))
    assert set(first) == set(second)
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])
    for one, two in zip(weights_of(alone).layers, weights_of(ours).layers, strict=True):
        assert np.linalg.norm(one.weight - two.weight) < 1e-5 * np.linalg.norm(one.weight)


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is told in kilobytes")
def test_memory_does_not_grow_with_the_number_of_scenes(tmp_path: Path) -> None:
    small, large = tmp_path / "small", tmp_path / "large"
    pixels = squares((1, 2000, 2000), "uint16")
    for folder, count in ((small, 1), (large, 16)):
        folder.mkdir()
        for number in range(count):
            place = rasterio.Affine(10, 0, 500_000, 0, -10, 50_000 * (1 + number))
            scene = np.roll(pixels, 101 * number, axis=2)
            write_tif(folder / f"{number}.tif", scene, transform=place)
    script = "import training_runs; training_runs.measure_memory()"
    command = [sys.executable, "-c", script, *map(str, (small, large, tmp_path / "m.safetensors"))]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first, second = map(int, done.stdout.split())
    assert second - first < 40_000, "kilobytes, of 128,000 in the scenes"


def test_steps_hardly_wait_for_their_patches(whole: Path) -> None:
    text = whole.with_suffix(".md").read_text()
    (share,) = re.findall(r"([\d.]+)% of the time steps waited for data", text)
    assert float(share) < 5
