"""A network is trained, from pictures to weights that know where they come from.

Reads from top to bottom: pictures become pairs, pairs become patches, patches train a network step
by step; now and then the average of its last thousand states is held against pictures that it has
not seen, and the best one is kept. Last of all it is made to err to no side. The loss is the mean
squared error of arXiv 1609.05158, eq. 4.

A budget in minutes or epochs is turned into a number of steps before the first one is taken and is
kept in the weights: with that number and the same seed the run is repeated, to the bit on a CPU. On
CUDA the first weights and all patches are the same again, the rest is so to rounding: cuDNN chooses
its kernels by timing them, and each adds in its own order.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from espcn import parallel
from espcn.architecture import Weights
from espcn.beginnings import weights_of
from espcn.checkpoint import read_checkpoint
from espcn.course import Course, Progress, Trained
from espcn.descent import Run, first_places
from espcn.devices import Device, place
from espcn.errors import ModelError
from espcn.last_layer import without_bias
from espcn.material import Material, fingerprint, in_counts, in_unit, unit_for
from espcn.pairs import Unit, make_pairs
from espcn.patches import Patches
from espcn.recipe import Budget, Recipe
from espcn.validation import Validation

TIMED = 5.0
"""Seconds of steps from which the number of steps within a budget is told."""

LEVELLED = 2**20
"""Low-resolution pixels, at most, over which the mean error is made zero."""

FEWEST = 100
"""Steps that are taken within any budget of minutes."""


def train(  # noqa: PLR0913 - each is one thing that a run is told
    recipe: Recipe,
    material: Material,
    *,
    budget: Budget | None = None,
    device: Device = "auto",
    threads: int = 1,
    checkpoint: Path | None = None,
    resume: bool = False,
    begin: Callable[[], None] = lambda: None,
    report: Callable[[Progress], None] = lambda _: None,
) -> Trained:
    """Train a network; Ctrl-C ends the run after its step, and what is best so far is returned.

    `threads` compute on a CPU. `checkpoint` is written every minute and at the end; `resume` goes
    on from it, to the same result as a run that was not interrupted. `begin` is called when nothing
    speaks against the run any more, before its first step. Raises `ModelError` when there
    is nothing to train on or to validate with, when the loss is no longer a number, and for a
    checkpoint of another run.
    """
    if not material.validation:
        raise ModelError("there is nothing to validate with: give --val or a --val-fraction")
    chosen = place(device=device, precision="fp32", backend="torch").device
    torch.set_num_threads(threads)
    with parallel.joined(chosen) as own, _tuned():
        unit, until = unit_for(recipe, material), budget or Budget()
        patches = _patches(recipe, material, unit, own)
        validation = Validation(material.validation, recipe, unit, peak=material.peak, device=own)
        pixels, before = fingerprint(material), None
        if resume and checkpoint is not None:
            before = read_checkpoint(checkpoint, recipe, until, pixels=pixels)
            recipe = before.recipe
        else:
            recipe = replace(recipe, steps=_steps(recipe, until, patches))
        course = Course(
            recipe,
            until,
            patches,
            validation,
            pixels=pixels,
            start=_start(recipe, material, unit, patches.bands),
            checkpoint=checkpoint,
        )
        if before is not None:
            course.go_on(before)
        begin()
        trained = course.finish(report)
        weights = _levelled(trained.weights, recipe, patches)
        return replace(trained, weights=in_counts(weights, unit, material))


def _patches(recipe: Recipe, material: Material, unit: Unit, device: str) -> Patches:
    pairs = make_pairs(
        material.training,
        recipe.window,
        sizes=recipe.sizes,
        balance=recipe.balance,
        unit=unit,
    )
    bands = {pair.low.shape[0] for pair in pairs}
    if len(bands) > 1:
        raise ModelError(
            f"the pictures have {' and '.join(map(str, sorted(bands)))} bands: select the same ones"
        )
    equivariant = recipe.network == "equivariant"
    return Patches(pairs, recipe.window, device=device, centred=equivariant)


def _start(recipe: Recipe, material: Material, unit: Unit, bands: int) -> Weights | None:
    """The model to start from, in the unit of the run; None for random weights."""
    if recipe.start is None:
        return None
    return in_unit(weights_of(recipe.start, recipe, bands), unit, material)


def _levelled(weights: Weights, recipe: Recipe, patches: Patches) -> Weights:
    """With no mean error; in tanh networks offsets see to that."""
    if recipe.network == "tanh":
        return weights
    places = first_places(recipe, patches, pixels=min(LEVELLED, patches.area))
    return without_bias(weights, patches, places)


def _steps(recipe: Recipe, budget: Budget, patches: Patches) -> int:
    """The number of steps that a budget stands for."""
    if budget.epochs is not None:
        random = recipe.sub_image is None
        epoch = patches.area / recipe.patch**2 if random else patches.cells
        return max(1, int(np.ceil(budget.epochs * epoch / recipe.batch)))
    if budget.minutes is not None:
        return parallel.agreed(steps_within(budget.minutes, recipe, patches))
    return recipe.steps


def steps_within(minutes: float, recipe: Recipe, patches: Patches) -> int:
    """How many steps of this recipe take `minutes` on this machine, from timing some."""
    run = Run(recipe, patches)
    _advance(run, recipe.turn_every)
    begin, taken = time.perf_counter(), 0
    while parallel.agreed(int(time.perf_counter() - begin < TIMED)):
        _advance(run, recipe.turn_every)
        taken += recipe.turn_every
    return max(FEWEST, int(minutes * 60 * taken / max(time.perf_counter() - begin, 1e-9)))


def _advance(run: Run, steps: int) -> None:
    for _ in range(steps):
        run.advance()
    run.mean_loss()


def _tuned() -> AbstractContextManager[None]:
    """On CUDA cuDNN chooses by timing: its guesses are poor for kernels of a single band."""
    flags: AbstractContextManager[None] = torch.backends.cudnn.flags(enabled=True, benchmark=True)
    return flags
