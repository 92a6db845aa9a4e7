"""The training script, on a picture drawn here and for a few steps."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import espcn

pytest.importorskip("torch")
pytest.importorskip("pytorch_optimizer")

from espcn import training


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two pictures of tilted squares, one of them smaller than a patch."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    y, x = np.mgrid[0:200, 0:180]
    for number, side in enumerate((200, 60)):
        squares = ((x + y // 3) // 11 + (y - x // 4) // 13) % 2
        picture = np.repeat((40 + 170 * squares).astype(np.uint8)[:side, :side, None], 3, axis=2)
        Image.fromarray(picture).save(folder / f"{number}.png")
    return folder


def test_the_script_writes_a_model_that_runs_and_is_equivariant(
    pictures: Path, tmp_path: Path
) -> None:
    output = tmp_path / "tiny.safetensors"
    command = [
        *(sys.executable, "-m", "espcn.training", "--scale", "2", "--steps", "25"),
        *("--data", str(pictures), "--evaluate", str(pictures), "--output", str(output)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    card = espcn.describe(str(output))
    assert card.equivariant
    assert card.metrics["pictures_psnr_y"] > card.metrics["pictures_psnr_y_bicubic"]
    assert "steps 25" in card.provenance["recipe"]


def test_a_seed_repeats_a_run(pictures: Path) -> None:
    recipe = training.Recipe(scale=3, steps=3, patch=16, batch=2)
    pairs = training.read_pairs([pictures], recipe, halo=4)
    once, again = (training.train(recipe, pairs) for _ in range(2))
    for one, other in zip(once.layers, again.layers, strict=True):
        np.testing.assert_array_equal(one.weight, other.weight)


def test_patches_and_their_truth_lie_on_the_same_ground(pictures: Path) -> None:
    """Degrading the truth of a patch gives its low-resolution part, turned or not."""
    recipe = training.Recipe(scale=3, patch=24, batch=16)
    pairs = training.read_pairs([pictures], recipe, halo=4)
    low, truth = next(training._batches(recipe, pairs, 4))
    for patch, fine in zip(low.numpy()[:, 0], truth.numpy()[:, 0], strict=True):
        degraded = training.resample.shrink(fine, 3)
        np.testing.assert_allclose(degraded[3:-3, 3:-3], patch[7:-7, 7:-7], atol=1e-5)
