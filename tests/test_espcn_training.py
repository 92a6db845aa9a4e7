"""The training script, on a picture drawn here and for a few steps."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import espcn

pytest.importorskip("torch")

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from espcn import pictures, resample, training
from espcn.descent import Recipe, Run
from espcn.patches import Choices, Pair, Patches, Window
from espcn.soap import Soap, correction


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures of tilted squares, one of them smaller than a patch."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    y, x = np.mgrid[0:200, 0:180]
    for number, side in enumerate((200, 60)):
        squares = ((x + y // 3) // 11 + (y - x // 4) // 13) % 2
        picture = np.repeat((40 + 170 * squares).astype(np.uint8)[:side, :side, None], 3, axis=2)
        Image.fromarray(picture).save(folder / f"{number}.png")
    return folder


def patches_of(folder: Path, recipe: Recipe) -> Patches:
    pairs = pictures.pairs_of(pictures.read_folder(folder), recipe.window)
    return Patches(pairs, recipe.window, device="cpu")


def test_the_script_writes_a_model_that_runs_and_is_equivariant(
    folder: Path, tmp_path: Path
) -> None:
    output = tmp_path / "tiny.safetensors"
    command = [
        *(sys.executable, "-m", "espcn.training", "--scale", "2", "--steps", "25"),
        *("--data", str(folder), "--evaluate", str(folder), "--output", str(output)),
        *("--device", "cpu", "--batch", "8"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    card = espcn.describe(str(output))
    assert card.equivariant
    assert card.metrics["pictures_psnr_y"] > card.metrics["pictures_psnr_y_bicubic"]
    assert "steps 25, patch 48, batch 8" in card.provenance["recipe"]
    assert "step 25 of 25" in done.stderr


def test_a_seed_repeats_a_run(folder: Path) -> None:
    recipe = Recipe(scale=3, steps=3, patch=16, batch=2)
    once, again = (training.train(recipe, patches_of(folder, recipe)) for _ in range(2))
    for one, other in zip(once.layers, again.layers, strict=True):
        np.testing.assert_array_equal(one.weight, other.weight)


def test_a_budget_becomes_a_number_of_steps(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "TIMED", 0.0)
    recipe = Recipe(scale=2, patch=16, batch=2, turn_every=2)
    patches = patches_of(folder, recipe)
    assert training.steps_within(0.0, recipe, patches) == 100
    monkeypatch.setattr(training, "TIMED", 0.01)
    assert training.steps_within(10.0, recipe, patches) > 100


def test_a_loss_that_is_no_number_ends_the_run(folder: Path) -> None:
    recipe = Recipe(scale=2, steps=30, patch=16, batch=2, learning_rate=float("inf"))
    with pytest.raises(espcn.ModelError, match="train again at less than the learning rate"):
        training.train(recipe, patches_of(folder, recipe))


def test_patches_are_slices_of_the_pictures_turned_and_mirrored() -> None:
    random = np.random.default_rng(0)
    window = Window(side=6, halo=2, scale=3)
    shapes = ((6, 6), (7, 19), (23, 9))
    pairs = [
        Pair(
            random.random((y + 4, x + 4), dtype=np.float32),
            random.random((3 * y, 3 * x), dtype=np.float32),
        )
        for y, x in shapes
    ]
    patches = Patches(pairs, window, device="cpu")
    choices = patches.choose(500, random)
    assert set(choices.picture) == {0, 1, 2}
    assert set(choices.way) == set(range(8))
    for index, (y, x) in enumerate(shapes):
        chosen = choices.picture == index
        assert (choices.y[chosen].min(), choices.y[chosen].max()) == (0, y - 6)
        assert (choices.x[chosen].min(), choices.x[chosen].max()) == (0, x - 6)
    low, truth = patches.gather(patches.locate(choices))
    for index in range(500):
        expected_low, expected_truth = _sliced(pairs, window, choices, index)
        mean = expected_low.mean()
        np.testing.assert_allclose(low[index, 0], expected_low - mean, atol=1e-6)
        np.testing.assert_allclose(truth[index, 0], expected_truth - mean, atol=1e-6)


def _sliced(
    pairs: list[Pair], window: Window, choices: Choices, index: int
) -> tuple[np.ndarray, np.ndarray]:
    pair, way = pairs[choices.picture[index]], int(choices.way[index])
    y, x, side = int(choices.y[index]), int(choices.x[index]), window.side
    low = pair.low[y : y + side + 2 * window.halo, x : x + side + 2 * window.halo]
    y, x, side = (window.scale * length for length in (y, x, side))
    return _turned(low, way), _turned(pair.truth[y : y + side, x : x + side], way)


def _turned(plane: np.ndarray, way: int) -> np.ndarray:
    plane = np.flipud(plane) if way & 1 else plane
    plane = np.fliplr(plane) if way & 2 else plane
    return plane.T if way & 4 else plane


def test_patches_and_their_truth_lie_on_the_same_ground(folder: Path) -> None:
    """Degrading the truth of a patch gives its low-resolution part, turned or not."""
    recipe = Recipe(scale=3, patch=24)
    patches = patches_of(folder, recipe)
    low, truth = patches.gather(patches.locate(patches.choose(16, np.random.default_rng(0))))
    for patch, fine in zip(low.numpy()[:, 0], truth.numpy()[:, 0], strict=True):
        degraded = resample.shrink(fine, 3)
        np.testing.assert_allclose(degraded[3:-3, 3:-3], patch[7:-7, 7:-7], atol=1e-5)


def test_every_picture_weighs_by_what_bicubic_leaves_of_it(folder: Path) -> None:
    """The loss of bicubic is one in every picture that was not continued by mirroring."""
    window = Window(side=8, halo=4, scale=3)
    for pair in pictures.pairs_of(pictures.read_folder(folder), window):
        bicubic = resample.enlarge(pair.low[4:-4, 4:-4].astype(np.float64), 3)
        assert np.mean((bicubic - pair.truth) ** 2) == pytest.approx(1.0, rel=1e-3)


def test_every_twentieth_picture_is_held_back(tmp_path: Path) -> None:
    for number in range(41):
        Image.new("RGB", (3, 2), (number, number, number)).save(tmp_path / f"{number:02d}.png")
    seen, held_back = pictures.read([tmp_path])
    lumas = [int(plane[0, 0]) for plane in pictures.read_folder(tmp_path)]
    assert [int(plane[0, 0]) for plane in held_back] == [lumas[19], lumas[39]]
    assert len(seen) == 39


def test_soap_takes_the_steps_of_the_published_one() -> None:
    """On matrices, which is what kernels are to it; bases are turned at every step."""
    pytorch_optimizer = pytest.importorskip("pytorch_optimizer")
    random = torch.Generator().manual_seed(0)
    start = [torch.randn(shape, generator=random) for shape in ((6, 11), (9, 4))]
    ours = [matrix.clone() for matrix in start]
    theirs = [torch.nn.Parameter(matrix.clone()) for matrix in start]
    oracle = pytorch_optimizer.SOAP(theirs, lr=0.01, weight_decay=0.0, precondition_frequency=1)
    soap = None
    for step in range(30):
        gradients = [torch.randn(matrix.shape, generator=random) for matrix in start]
        for parameter, gradient in zip(theirs, gradients, strict=True):
            parameter.grad = gradient.clone()
        oracle.step()
        if soap is None:
            soap = Soap(ours, gradients)
            continue
        soap.rate.fill_(0.01 * correction(step))
        soap.step(gradients)
        soap.turn()
    for one, other, first in zip(ours, theirs, start, strict=True):
        torch.testing.assert_close(one, other.detach(), rtol=1e-3, atol=1e-4)
        assert not torch.allclose(one, first, atol=0.05)


def test_networks_stay_equivariant_however_far_their_parameters_drift(folder: Path) -> None:
    recipe = Recipe(scale=2, steps=20, patch=16, batch=2)
    run = Run(recipe, patches_of(folder, recipe))
    with torch.no_grad():
        run._kernels[0].add_(100.0)
    for _ in range(3):
        run.advance()
    assert run.averaged().equivariant


def test_a_step_can_be_recorded_once_and_started_again(folder: Path) -> None:
    """What a CUDA graph asks for: fixed places in memory, no number of the host, no waiting."""
    recipe = Recipe(scale=2, steps=100, patch=16, batch=2, turn_every=4)
    patches = patches_of(folder, recipe)
    launched, restarted = Run(recipe, patches), Run(recipe, patches)
    restarted._update = _Recording(restarted._update)
    for run in (launched, restarted):
        for _ in range(20):
            run.advance()
    assert restarted.mean_loss() == launched.mean_loss()
    for one, other in zip(launched.averaged().layers, restarted.averaged().layers, strict=True):
        np.testing.assert_array_equal(one.weight, other.weight)


class _Recording(TorchDispatchMode):
    """A CUDA graph for the CPU: the operations of the first call, run again on the same memory."""

    def __init__(self, update: Callable[[], object]) -> None:
        super().__init__()
        self._update, self._operations = update, []

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        waiting = ("item", "local_scalar", "nonzero", "masked_select", "lift_fresh", "unique")
        assert not any(word in str(operation) for word in waiting), operation
        result = operation(*args, **(kwargs or {}))
        self._operations.append((operation, args, kwargs or {}, result))
        return result

    def __call__(self) -> None:
        if not self._operations:
            with self:
                self._update()
            return
        with torch.no_grad():
            for operation, args, kwargs, result in self._operations:
                _refill(result, operation(*args, **kwargs))


def _refill(place: object, value: object) -> None:
    if isinstance(place, (tuple, list)):
        for one, other in zip(place, value, strict=True):
            _refill(one, other)
    elif isinstance(place, torch.Tensor) and place.data_ptr() != value.data_ptr():
        place.copy_(value)
