"""The training core: patches, pairs, optimisers, steps, and what a run makes of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import count

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from training_runs import squares

import espcn
from espcn import course, parallel, training
from espcn.architecture import Layer, Weights
from espcn.degradation import Degradation
from espcn.material import Material, fingerprint, in_counts, in_unit, unit_for
from espcn.pairs import Picture, Unit, make_pairs, unit_of
from espcn.patches import Choices, Pair, Patches
from espcn.recipe import Budget, Recipe, Window
from espcn.validation import Figures, Validation

pytest.importorskip("torch")

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from espcn.adam import Adam
from espcn.beginnings import first_weights
from espcn.descent import Run, _choices
from espcn.network import Network
from espcn.soap import Soap

SMALL = Recipe(scale=2, steps=100, patch=16, batch=2, turn_every=4)
TANH = replace(SMALL, network="tanh", learning_rate=1e-3)
PAPER = Recipe(
    scale=3,
    network="tanh",
    sub_image=17,
    optimizer="adam",
    learning_rate=1e-3,
    lowest_rate=1e-4,
    last_layer=0.1,
    warm_up=0.0,
    average=0.0,
    balance=False,
    bf16=False,
)
"""That of configs/train/paper.yaml."""


def picture(
    *shape: int, scale: int = 2, seed: int = 0, dtype: str = "uint8", kind: str = "bicubic"
) -> Picture:
    sigma = () if kind == "bicubic" else (0.5 * scale,)
    return Picture(squares(shape, dtype, seed=seed), Degradation(kind, scale, sigma))  # type: ignore[arg-type]


def material(recipe: Recipe, bands: int = 1) -> Material:
    """Two pictures, one of them smaller than a patch, and one to validate with."""
    shapes = ((bands, 120, 90), (bands, 30, 34), (bands, 60, 60))
    made = [picture(*shape, scale=recipe.scale, seed=i) for i, shape in enumerate(shapes)]
    return Material(made[:2], made[2:], 255.0)


def patches_of(recipe: Recipe, bands: int = 1) -> Patches:
    return training._patches(
        recipe, material(recipe, bands), unit_for(recipe, material(recipe, bands)), "cpu"
    )


def steps_of(recipe: Recipe, count: int, bands: int = 1) -> Run:
    run = Run(recipe, patches_of(recipe, bands))
    for _ in range(count):
        run.advance()
    return run


def assert_same(one: Weights, other: Weights) -> None:
    for first, second in zip(one.layers, other.layers, strict=True):
        np.testing.assert_array_equal(first.weight, second.weight)
        assert (first.bias is None) == (second.bias is None)
        if first.bias is not None and second.bias is not None:
            np.testing.assert_array_equal(first.bias, second.bias)


# ---------------------------------------------------------------------------------- patches


def test_patches_are_slices_of_the_pictures_turned_and_mirrored() -> None:
    random = np.random.default_rng(0)
    window = Window(side=6, halo=2, scale=3)
    shapes, gains = ((6, 6), (7, 19), (23, 9)), (1.0, 0.25, 3.0)
    pairs = [
        Pair(
            random.random((4, y + 4, x + 4), dtype=np.float32),
            random.random((4, 3 * y, 3 * x), dtype=np.float32),
            gain,
        )
        for (y, x), gain in zip(shapes, gains, strict=True)
    ]
    centred, plain = (Patches(pairs, window, device="cpu", centred=c) for c in (True, False))
    choices = plain.choose(500, random)
    assert set(choices.picture) == {0, 1, 2}
    assert set(choices.way) == set(range(8))
    for index, (y, x) in enumerate(shapes):
        chosen = choices.picture == index
        assert (choices.y[chosen].min(), choices.y[chosen].max()) == (0, y - 6)
        assert (choices.x[chosen].min(), choices.x[chosen].max()) == (0, x - 6)
    low, truth, weights = plain.gather(plain.locate(choices))
    assert (low.shape, truth.shape, weights.shape) == (
        (500, 4, 10, 10),
        (500, 4, 18, 18),
        (500, 1, 1, 1),
    )
    less_mean, truth_less_mean, _ = centred.gather(centred.locate(choices))
    for index in range(500):
        expected_low, expected_truth = _sliced(pairs, window, choices, index)
        np.testing.assert_array_equal(low[index], expected_low)
        np.testing.assert_array_equal(truth[index], expected_truth)
        assert float(weights[index]) == np.float32(gains[choices.picture[index]])
        mean = expected_low.mean(axis=(1, 2), keepdims=True)
        np.testing.assert_allclose(less_mean[index], expected_low - mean, atol=1e-6)
        np.testing.assert_allclose(truth_less_mean[index], expected_truth - mean, atol=1e-6)


def _sliced(
    pairs: list[Pair], window: Window, choices: Choices, index: int
) -> tuple[np.ndarray, np.ndarray]:
    pair, way = pairs[choices.picture[index]], int(choices.way[index])
    y, x, side = int(choices.y[index]), int(choices.x[index]), window.side
    low = pair.low[:, y : y + side + 2 * window.halo, x : x + side + 2 * window.halo]
    y, x, side = (window.scale * length for length in (y, x, side))
    return _turned(low, way), _turned(pair.truth[:, y : y + side, x : x + side], way)


def _turned(planes: np.ndarray, way: int) -> np.ndarray:
    planes = planes[:, ::-1] if way & 1 else planes
    planes = planes[:, :, ::-1] if way & 2 else planes
    return planes.transpose(0, 2, 1) if way & 4 else planes


def test_large_pictures_are_chosen_more_often() -> None:
    chosen = patches_of(SMALL).choose(4000, np.random.default_rng(0)).picture
    share = 60 * 45 / (60 * 45 + 16 * 17)
    assert np.mean(chosen == 0) == pytest.approx(share, abs=0.02)


def test_patches_and_their_truth_lie_on_the_same_ground() -> None:
    """Degrading the truth of a patch gives its low-resolution part, turned or not."""
    recipe = replace(SMALL, scale=3, patch=24)
    patches = patches_of(recipe, bands=2)
    low, truth, _ = patches.gather(patches.locate(patches.choose(16, np.random.default_rng(0))))
    for patch, fine in zip(low.numpy(), truth.numpy(), strict=True):
        degraded = Degradation("bicubic", 3).shrink(fine)
        np.testing.assert_allclose(degraded[:, 3:-3, 3:-3], patch[:, 7:-7, 7:-7], atol=1e-4)


@settings(max_examples=25)
@given(
    shapes=st.lists(st.tuples(st.integers(3, 90), st.integers(3, 90)), min_size=1, max_size=3),
    scale=st.integers(2, 4),
)
def test_every_pixel_is_ground_truth_once_and_only_once_an_epoch(
    shapes: list[tuple[int, int]], scale: int
) -> None:
    """The sub-images of arXiv 1609.05158, section 4.1, on images of any size.

    17 x 17 px are seen at a stride of 14; of an image count all rows and columns that make a whole
    low-resolution pixel.
    """
    recipe = replace(PAPER, scale=scale)
    ends = np.cumsum([y * x for y, x in shapes]).tolist()
    images = [
        np.arange(end - y * x, end).reshape(1, y, x)
        for (y, x), end in zip(shapes, ends, strict=True)
        if min(y, x) >= scale
    ]
    if not images:
        return
    ways = Degradation("gaussian", scale, (0.5 * scale,))
    pairs = make_pairs([Picture(image, ways) for image in images], recipe.window, balance=False)
    patches = Patches(pairs, recipe.window, device="cpu", centred=False)
    epoch = patches.on_grid(np.arange(patches.cells))
    low, truth, _ = patches.gather(patches.locate(epoch))
    shown = truth[~truth.isnan()].numpy()
    wanted = [
        image[:, : image.shape[1] // scale * scale, : image.shape[2] // scale * scale]
        for image in images
    ]
    np.testing.assert_array_equal(
        np.sort(shown), np.sort(np.concatenate([pixels.ravel() for pixels in wanted]))
    )
    for number, patch in enumerate(low.numpy()):
        y, x = int(epoch.y[number]), int(epoch.x[number])
        assert (y % 14, x % 14) == (0, 0)
        seen = pairs[epoch.picture[number]].low[:, y + 3 : y + 20, x + 3 : x + 20]
        assert seen.shape == (1, 17, 17)
        np.testing.assert_array_equal(patch, np.pad(seen, ((0, 0), (3, 2), (3, 2)), mode="edge"))


def test_an_epoch_shows_every_sub_image_once_in_an_order_of_its_own() -> None:
    patches = patches_of(PAPER)
    count = patches.cells
    chunks = [_choices(PAPER, patches, chunk) for chunk in range(2)]
    names = ("picture", "y", "x")
    shown = np.stack([np.concatenate([getattr(c, n) for c in chunks]) for n in names], axis=1)
    epochs = [shown[i * count : (i + 1) * count].tolist() for i in range(len(shown) // count)]
    assert len(epochs) > 100
    assert len({tuple(map(tuple, sorted(epoch))) for epoch in epochs}) == 1
    assert len(set(map(tuple, epochs[0]))) == count
    assert epochs[0] != epochs[1]


# ------------------------------------------------------------------------------------ pairs


@pytest.mark.parametrize("kind", ["bicubic", "gaussian"])
def test_a_loss_of_one_is_what_bicubic_leaves_in_every_picture(kind: str) -> None:
    pictures = [
        picture(2, 60, 75, kind=kind, dtype="uint16"),
        picture(2, 48, 90, kind=kind, seed=1),
    ]
    window = Window(side=8, halo=4, scale=2)
    for one, pair in zip(pictures, make_pairs(pictures, window, balance=True), strict=True):
        bicubic = one.degradation.enlarge(pair.low[:, 4:-4, 4:-4].astype(np.float64))
        loss = np.mean(np.square((bicubic - pair.truth) * pair.gain))
        assert loss == pytest.approx(1.0, rel=1e-3)
    even = [pair.gain for pair in make_pairs(pictures, window, balance=False)]
    assert even[0] == even[1]


def test_what_bicubic_restores_almost_perfectly_does_not_outweigh_all_else() -> None:
    pictures = [picture(1, 60, 60, seed=seed) for seed in range(3)]
    smooth = np.add.outer(np.arange(60.0), np.arange(60.0))[None]
    pictures.append(Picture(smooth, pictures[0].degradation))
    *others, last = (pair.gain for pair in make_pairs(pictures, SMALL.window))
    assert last < 11 * max(others)


def test_smaller_sizes_are_more_pictures() -> None:
    pairs = make_pairs([picture(3, 100, 80)], SMALL.window, sizes=(1.0, 0.6))
    assert [pair.truth.shape for pair in pairs] == [(3, 100, 80), (3, 60, 48)]


def test_no_picture_and_too_small_pictures_are_refused() -> None:
    with pytest.raises(espcn.ModelError, match="nothing to train on"):
        make_pairs([], SMALL.window)
    with pytest.raises(espcn.ModelError, match=r"1x9 px is too small for scale 2"):
        make_pairs([picture(1, 1, 9)], SMALL.window)


def test_pictures_of_different_bands_are_refused() -> None:
    mixed = Material([picture(1, 60, 60), picture(3, 60, 60)], [picture(1, 60, 60)], 255.0)
    with pytest.raises(espcn.ModelError, match="1 and 3 bands"):
        training.train(SMALL, mixed, device="cpu")


# ------------------------------------------------------------------------------- optimisers


@pytest.mark.parametrize("share", [1.0, 0.1])
def test_soap_takes_the_steps_of_the_published_one(share: float) -> None:
    """On matrices, which is what kernels are to it; bases are turned at every step."""
    pytorch_optimizer = pytest.importorskip("pytorch_optimizer")
    random = torch.Generator().manual_seed(0)
    start = [torch.randn(shape, generator=random) for shape in ((6, 11), (9, 4))]
    ours = [matrix.clone() for matrix in start]
    theirs = [torch.nn.Parameter(matrix.clone()) for matrix in start]
    oracle = pytorch_optimizer.SOAP(
        [{"params": theirs[:1], "lr": 0.01}, {"params": theirs[1:], "lr": share * 0.01}],
        weight_decay=0.0,
        precondition_frequency=1,
    )
    soap = None
    for step in range(30):
        gradients = [torch.randn(matrix.shape, generator=random) for matrix in start]
        for parameter, gradient in zip(theirs, gradients, strict=True):
            parameter.grad = gradient.clone()
        oracle.step()
        if soap is None:
            soap = Soap(ours, gradients, [1.0, share])
            continue
        soap.rate.fill_(0.01 * soap.correction(step))
        soap.step(gradients)
        soap.turn()
    for one, other, first in zip(ours, theirs, start, strict=True):
        torch.testing.assert_close(one, other.detach(), rtol=1e-3, atol=1e-4)
        assert not torch.allclose(one, first, atol=0.005)


def test_adam_takes_the_steps_of_torch_s_and_the_last_layer_is_slower() -> None:
    random = torch.Generator().manual_seed(0)
    start = [torch.randn(shape, generator=random) for shape in ((6, 2, 3, 3), (6,))]
    ours = [kernel.clone() for kernel in start]
    theirs = [torch.nn.Parameter(kernel.clone()) for kernel in start]
    oracle = torch.optim.Adam(
        [{"params": theirs[:1], "lr": 0.01}, {"params": theirs[1:], "lr": 0.001}]
    )
    adam = Adam(ours, [1.0, 0.1])
    for step in range(1, 31):
        gradients = [torch.randn(kernel.shape, generator=random) for kernel in start]
        for parameter, gradient in zip(theirs, gradients, strict=True):
            parameter.grad = gradient.clone()
        oracle.step()
        adam.rate.fill_(0.01 * adam.correction(step))
        adam.step(gradients)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other.detach(), rtol=1e-5, atol=1e-6)


def test_the_rate_falls_from_its_highest_to_its_lowest() -> None:
    rates = [PAPER.rate(step) for step in range(PAPER.steps)]
    assert rates == sorted(rates, reverse=True)
    assert (rates[0], rates[-1]) == (1e-3, pytest.approx(1e-4, rel=1e-4))
    warm = [Recipe(steps=1000).rate(step) for step in range(1000)]
    assert warm[0] < 0.05 * max(warm)
    assert 25 < int(np.argmax(warm)) < 35


def test_the_last_layer_of_the_paper_s_network_is_ten_times_slower() -> None:
    """Adam's first step is the rate itself, wherever there is a gradient."""
    recipe = replace(PAPER, steps=1)
    run = Run(recipe, patches_of(recipe))
    before = [kernel.detach().clone() for kernel in run._kernels]
    run.advance()
    moved = [
        (after.detach() - kernel).abs().median().item()
        for after, kernel in zip(run._kernels, before, strict=True)
    ]
    # the fitted bias of the last layer has none
    assert moved[:-1] == pytest.approx([1e-3, 1e-3, 1e-3, 1e-3, 1e-4], rel=0.1)


# ------------------------------------------------------------------------------------ steps


def test_networks_stay_equivariant_however_far_their_parameters_drift() -> None:
    run = Run(SMALL, patches_of(SMALL))
    with torch.no_grad():
        run._kernels[0].add_(100.0)
    for _ in range(3):
        run.advance()
    assert run.averaged().equivariant


@pytest.mark.parametrize("bands", [1, 3])
def test_a_network_before_its_first_step_is_close_to_bicubic(bands: int) -> None:
    # two small pictures are little to fit three hundred weights to
    for recipe, limit in ((SMALL, 1.5), (TANH, 4.0)):
        run = steps_of(recipe, 0, bands)
        held_back = material(recipe, bands)
        unit = unit_for(recipe, held_back)
        figures = Validation(
            held_back.validation, recipe, unit, peak=held_back.peak, device="cpu"
        ).figures(run.averaged())
        assert figures.gain > -limit


def test_a_step_can_be_recorded_once_and_started_again() -> None:
    """What a CUDA graph asks for: fixed places in memory, no number of the host, no waiting."""
    for recipe in (SMALL, replace(PAPER, batch=2)):
        patches = patches_of(recipe)
        launched, restarted = Run(recipe, patches), Run(recipe, patches)
        restarted._update = _Recording(restarted._update)
        for run in (launched, restarted):
            for _ in range(12):
                run.advance()
        assert restarted.mean_loss() == launched.mean_loss()
        assert_same(launched.averaged(), restarted.averaged())


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


@pytest.mark.parametrize("recipe", [SMALL, TANH, replace(PAPER, batch=2)], ids=["eq", "tanh", "p"])
def test_a_run_goes_on_from_its_state_as_if_it_had_not_stopped(recipe: Recipe) -> None:
    uninterrupted = steps_of(recipe, 13)
    resumed = Run(recipe, patches_of(recipe))
    resumed.restore(steps_of(recipe, 7).state(), 7)
    for _ in range(6):
        resumed.advance()
    assert_same(uninterrupted.averaged(), resumed.averaged())
    assert uninterrupted.mean_loss() == resumed.mean_loss()


def test_the_state_of_another_network_is_refused() -> None:
    with pytest.raises(espcn.ModelError, match="of another network"):
        steps_of(SMALL, 0).restore(steps_of(TANH, 0).state(), 0)


def test_a_batch_must_be_shared_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "number_of_processes", lambda: 3)
    with pytest.raises(espcn.ModelError, match="16 patches cannot be shared by 3 processes"):
        parallel.share_of(16)


# ------------------------------------------------------------------------------ whole runs


def test_a_seed_repeats_a_run() -> None:
    recipe = replace(SMALL, steps=4)
    once, again = (training.train(recipe, material(recipe), device="cpu") for _ in range(2))
    assert_same(once.weights, again.weights)
    other = training.train(replace(recipe, seed=1), material(recipe), device="cpu")
    assert np.abs(once.weights.layers[0].weight - other.weights.layers[0].weight).max() > 0.1


@pytest.mark.parametrize("bands", [1, 3])
def test_a_run_beats_bicubic_and_reports_as_it_goes(bands: int) -> None:
    seen: list[course.Progress] = []
    recipe = replace(SMALL, batch=4, steps=60)
    trained = training.train(recipe, material(recipe, bands), device="cpu", report=seen.append)
    assert trained.figures.gain > 0.1
    assert trained.weights.equivariant
    assert (trained.weights.bands, trained.steps, trained.interrupted) == (bands, 60, False)
    measured = [progress for progress in seen if progress.figures is not None]
    assert [progress.step for progress in measured] == list(range(3, 61, 3))
    assert trained.figures.psnr == max(row["psnr"] for row in trained.history)
    assert [row["loss"] for row in trained.history] == [progress.loss for progress in measured]


def test_the_last_average_is_kept_where_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    falling = count(50.0, -1.0)
    monkeypatch.setattr(Validation, "figures", lambda *_: Figures(next(falling), 0.0))
    best, last = (
        training.train(replace(SMALL, steps=8, keep=keep), material(SMALL), device="cpu")  # type: ignore[arg-type]
        for keep in ("best", "last")
    )
    assert best.figures.psnr == best.history[0]["psnr"] > best.history[-1]["psnr"]
    assert last.figures.psnr == last.history[-1]["psnr"] < last.history[0]["psnr"]


def test_there_must_be_something_to_validate_with() -> None:
    with pytest.raises(espcn.ModelError, match="nothing to validate with"):
        training.train(SMALL, replace(material(SMALL), validation=()), device="cpu")


def test_a_loss_that_is_no_number_ends_the_run() -> None:
    recipe = replace(SMALL, steps=30, learning_rate=1e30)
    with pytest.raises(espcn.ModelError, match=r"diverged by step \d+ of 30 .*than the learning"):
        training.train(recipe, material(recipe), device="cpu")


def test_weights_that_the_last_step_blew_up_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss is of the weights before the step."""
    advance = Run.advance

    def last(run: Run) -> None:
        advance(run)
        with torch.no_grad():
            run._kernels[-1].fill_(math.inf if run.taken == 3 else 0.0)

    monkeypatch.setattr(Run, "advance", last)
    recipe = replace(SMALL, steps=3)
    with pytest.raises(espcn.ModelError, match=r"diverged by step 3 of 3"):
        training.train(recipe, material(recipe), device="cpu")


def test_a_budget_of_minutes_becomes_a_number_of_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "TIMED", 0.0)
    patches = patches_of(SMALL)
    assert training.steps_within(0.0, SMALL, patches) == 100
    monkeypatch.setattr(training, "TIMED", 0.01)
    assert training.steps_within(10.0, SMALL, patches) > 100


def test_epochs_become_a_number_of_steps() -> None:
    """As many as show every pixel so often: 60 x 45 and 16 x 17 px, the second continued."""
    assert training._steps(SMALL, Budget(epochs=3), patches_of(SMALL)) == math.ceil(
        3 * (60 * 45 + 16 * 17) / 16**2 / 2
    )
    # 40 x 30 and 10 x 11 px at a stride of 14: 3 x 3 and 1 sub-images
    patches = patches_of(PAPER)
    assert patches.cells == 10
    assert training._steps(PAPER, Budget(epochs=40), patches) == math.ceil(40 * 10 / 16)
    assert training._steps(SMALL, Budget(), patches) == SMALL.steps


# ------------------------------------------------------------------------------- tanh units


@pytest.mark.parametrize("bands", [1, 3])
def test_folding_the_unit_into_the_weights_changes_nothing(bands: int) -> None:
    """0 to 1 go in and come out; the core computed in units of mean 0 and spread 1."""
    random = np.random.default_rng(0)
    start = first_weights(replace(TANH, seed=3), bands)
    layers = tuple(
        Layer(4 * layer.weight, random.normal(0, 0.3, len(layer.weight)).astype(np.float32))
        for layer in start.layers
    )
    weights = replace(start, layers=layers)
    unit, own = Unit(850.0, 210.0), Material((), (), peak=4000.0, floor=-120.0)
    counts = random.uniform(-120, 3880, (1, bands, 20, 24))
    inside = torch.from_numpy(unit.of(counts))
    outside = torch.from_numpy(((counts - own.floor) / own.peak).astype(np.float32))
    with torch.inference_mode():
        expected = Network(weights)(inside).numpy() * unit.spread + unit.centre
        found = Network(in_counts(weights, unit, own))(outside).numpy() * own.peak + own.floor
    assert np.ptp(expected) > unit.spread
    np.testing.assert_allclose(found, expected, atol=2e-5 * own.peak)
    back = in_unit(in_counts(weights, unit, own), unit, own)
    with torch.inference_mode():
        again = Network(back)(inside).numpy() * unit.spread + unit.centre
    np.testing.assert_allclose(again, expected, atol=2e-5 * own.peak)


def test_the_unit_makes_mean_zero_and_spread_one_of_all_pixels_together() -> None:
    pictures = [picture(2, 40, 50), picture(2, 90, 20, seed=1, dtype="uint16")]
    values = np.concatenate(
        [unit_of(pictures).of(one.pixels.astype(float)).ravel() for one in pictures]
    )
    assert values.mean() == pytest.approx(0, abs=1e-4)
    assert values.std() == pytest.approx(1, abs=1e-4)


def test_equivariant_networks_are_trained_in_counts() -> None:
    assert unit_for(SMALL, material(SMALL)) == Unit()
    weights = first_weights(SMALL, 1)
    assert in_counts(weights, Unit(), material(SMALL)) is weights


def test_the_fingerprint_is_of_all_that_is_learned_from() -> None:
    own = material(SMALL)
    first = own.training[0]
    changed = first.pixels.copy()
    changed[0, 0, 0] ^= 1
    other = [
        replace(own, peak=254.0),
        replace(own, training=own.training[::-1]),
        replace(own, training=[replace(first, pixels=changed), own.training[1]]),
        replace(own, validation=[picture(1, 60, 60, kind="gaussian", seed=2)]),
    ]
    assert len({fingerprint(each) for each in (own, *other)}) == 5
    assert fingerprint(own) == fingerprint(material(SMALL))


# ---------------------------------------------------------------------------- architecture


def test_a_sub_image_must_leave_something_to_judge() -> None:
    with pytest.raises(espcn.ModelError, match="sub-images of 3 px leave nothing"):
        Recipe(sub_image=3)
    assert (PAPER.window.side, PAPER.window.seen) == (14, slice(3, 20))
