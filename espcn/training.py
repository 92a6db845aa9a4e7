"""A network is trained, from pictures to weights that know where they come from.

Reads from top to bottom: pictures become pairs, pairs become patches, patches train a network step
by step; now and then the average of its last thousand states is held against pictures that it has
not seen, and the best one is kept. The loss is the mean squared error of arXiv 1609.05158, eq. 4.

A budget in minutes or epochs is turned into a number of steps before the first one is taken and is
kept in the weights: with that number and the same seed the run is repeated, to the bit on a CPU. On
CUDA the first weights and all patches are the same again, the rest is so to rounding: cuDNN chooses
its kernels by timing them, and each adds in its own order.
"""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType

import numpy as np
import torch

from espcn import parallel
from espcn.architecture import Layer, Weights
from espcn.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from espcn.descent import Run
from espcn.devices import Device, place
from espcn.errors import ModelError
from espcn.material import Material, fingerprint, in_counts, unit_for
from espcn.pairs import Unit, make_pairs
from espcn.patches import Patches
from espcn.recipe import Recipe
from espcn.validation import Figures, Validation

TIMED = 5.0
"""Seconds of steps from which the number of steps within a budget is told."""

REPORTS = 20
"""How often a run is measured."""

SAVED_EVERY = 60.0
"""Seconds between two checkpoints."""

SHOWN_EVERY = 0.5
"""Seconds between two looks at the step."""


@dataclass(frozen=True, slots=True)
class Budget:
    """When a run ends; the recipe's steps where neither is given."""

    minutes: float | None = None
    """Of training, on this machine."""

    epochs: int | None = None
    """Times that every pixel is shown."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What is known of a run while it goes on."""

    step: int
    """Steps taken."""

    steps: int
    """Steps in all."""

    seconds: float
    """Since training began or went on."""

    loss: float | None = None
    """Mean since the last measurement; 1 is what bicubic leaves. None between measurements."""

    figures: Figures | None = None
    """What the average so far reaches on the validation pictures; None between measurements."""


@dataclass(frozen=True, slots=True)
class Trained:
    """What came of a run."""

    weights: Weights
    """The best network."""

    figures: Figures
    """What it reaches on the validation pictures."""

    recipe: Recipe
    """As it was carried out, with its number of steps."""

    steps: int
    """Steps taken."""

    seconds: float
    """Spent on steps since training began or went on."""

    waiting: float
    """Share of that time in which steps waited for their patches."""

    device: str
    """What it ran on."""

    pixels: str
    """SHA-256 of what it was trained on and validated with."""

    leads: bool = True
    """Whether this is the process, of several, that writes files."""

    interrupted: bool = False
    """Whether it was stopped before its last step."""

    history: list[dict[str, float]] = field(default_factory=list)
    """Step, loss and PSNR of every report."""


def train(
    recipe: Recipe,
    material: Material,
    *,
    budget: Budget | None = None,
    device: Device = "auto",
    threads: int = 1,
    checkpoint: Path | None = None,
    resume: bool = False,
    report: Callable[[Progress], None] = lambda _: None,
) -> Trained:
    """Train a network; Ctrl-C ends the run after its step, and what is best so far is returned.

    `threads` compute on a CPU. `checkpoint` is written every minute and at the end of an
    interrupted run; `resume` goes on from it, to the same result as a run that was not interrupted.
    Raises `ModelError` when there is nothing to train on or to validate with, when the loss is no
    longer a number, and for a checkpoint of another run.
    """
    if not material.validation:
        raise ModelError("there is nothing to validate with: give --val or a --val-fraction")
    chosen = place(device=device, precision="fp32", backend="torch").device
    torch.set_num_threads(threads)
    with parallel.joined(chosen) as own, _tuned():
        unit = unit_for(recipe, material)
        patches = _patches(recipe, material, unit, own)
        validation = Validation(material.validation, recipe, unit, peak=material.peak, device=own)
        pixels, before = fingerprint(material), None
        if resume and checkpoint is not None:
            before = read_checkpoint(checkpoint, recipe, pixels)
            recipe = before.recipe
        else:
            recipe = replace(recipe, steps=_steps(recipe, budget or Budget(), patches))
        descent = _Descent(recipe, patches, validation, pixels)
        if before is not None:
            descent.go_on(before)
        trained = descent.finish(checkpoint, report)
        return replace(trained, weights=in_counts(trained.weights, unit, material))


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


def _steps(recipe: Recipe, budget: Budget, patches: Patches) -> int:
    """The number of steps that a budget stands for."""
    if budget.epochs is not None:
        shown = recipe.patch**2 if recipe.sub_image is None else None
        patches_an_epoch = patches.cells if shown is None else patches.area / shown
        return max(1, int(np.ceil(budget.epochs * patches_an_epoch / recipe.batch)))
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
    return max(100, int(minutes * 60 * taken / max(time.perf_counter() - begin, 1e-9)))


# ------------------------------------------------------------------------------- on the way


class _Descent:
    """A run with what is measured of it on the way."""

    def __init__(
        self, recipe: Recipe, patches: Patches, validation: Validation, pixels: str
    ) -> None:
        self.pixels = pixels
        self._recipe, self._patches, self._validation = recipe, patches, validation
        self._run = Run(recipe, patches)
        self._best: tuple[Weights, Figures] | None = None
        self._history: list[dict[str, float]] = []

    def go_on(self, checkpoint: Checkpoint) -> None:
        """From where a run was interrupted."""
        best = {n: t for n, t in checkpoint.tensors.items() if n.startswith("best.")}
        own = {n: t for n, t in checkpoint.tensors.items() if n not in best}
        self._run.restore(own, checkpoint.taken)
        self._history = checkpoint.history
        if best:
            like = self._run.averaged()
            layers = tuple(_layer_of(best, number) for number in range(3))
            weights = replace(like, layers=layers)
            self._best = weights, self._validation.figures(weights)

    def finish(self, checkpoint: Path | None, report: Callable[[Progress], None]) -> Trained:
        """All steps that are left, unless interrupted."""
        run, steps = self._run, self._recipe.steps
        begin = saved = shown = time.perf_counter()
        with _interruptible() as interrupted:
            while run.taken < steps and not parallel.agreed(int(interrupted())):
                run.advance()
                if run.taken * REPORTS // steps > (run.taken - 1) * REPORTS // steps:
                    report(self._measure(time.perf_counter() - begin))
                now = time.perf_counter()
                if now - shown > SHOWN_EVERY:
                    report(Progress(run.taken, steps, now - begin))
                    shown = now
                if checkpoint is not None and now - saved > SAVED_EVERY:
                    self._save(checkpoint)
                    saved = now
        seconds = time.perf_counter() - begin
        if run.taken < steps and checkpoint is not None:
            self._save(checkpoint)
        if self._best is None:
            self._measure(seconds)
        assert self._best is not None
        weights, figures = self._best
        waiting = run.waited / max(seconds, 1e-9)
        return Trained(
            weights,
            figures,
            self._recipe,
            run.taken,
            seconds,
            waiting,
            device=_device_name(self._patches.device),
            pixels=self.pixels,
            leads=parallel.is_first(),
            interrupted=run.taken < steps,
            history=self._history,
        )

    def _measure(self, seconds: float) -> Progress:
        """The average so far on the validation pictures; the best is kept."""
        loss = _finite(self._run.mean_loss(), self._recipe, self._run.taken)
        weights = self._run.averaged()
        figures = self._validation.figures(weights)
        if self._best is None or figures.psnr >= self._best[1].psnr:
            self._best = weights, figures
        row = {"step": self._run.taken, "loss": loss, "psnr": figures.psnr}
        self._history.append(row | {"psnr_bicubic": figures.psnr_bicubic})
        return Progress(self._run.taken, self._recipe.steps, seconds, loss, figures)

    def _save(self, path: Path) -> None:
        if not parallel.is_first():
            return
        tensors = self._run.state()
        for number, layer in enumerate(self._best[0].layers if self._best else ()):
            tensors[f"best.{number}.weight"] = torch.from_numpy(layer.weight)
            if layer.bias is not None:
                tensors[f"best.{number}.bias"] = torch.from_numpy(layer.bias)
        taken = self._run.taken
        write_checkpoint(path, Checkpoint(self._recipe, self.pixels, taken, tensors, self._history))


@contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """Ctrl-C and a polite kill only set a flag; a second one is not waited for."""
    asked = list[int]()

    def note(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - as signal asks
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    try:
        before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not in the main thread, where signals do not arrive
        yield lambda: False
        return
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _advance(run: Run, steps: int) -> None:
    for _ in range(steps):
        run.advance()
    run.mean_loss()


def _tuned() -> AbstractContextManager[None]:
    """On CUDA cuDNN chooses by timing: its guesses are poor for kernels of a single band."""
    flags: AbstractContextManager[None] = torch.backends.cudnn.flags(enabled=True, benchmark=True)
    return flags


def _device_name(device: str) -> str:
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device


def _finite(loss: float, recipe: Recipe, step: int) -> float:
    if not np.isfinite(loss):
        raise ModelError(
            f"the loss is {loss} before step {step} of {recipe.steps}: train again at less than "
            f"the learning rate {recipe.learning_rate}"
        )
    return loss


def _layer_of(tensors: dict[str, torch.Tensor], number: int) -> Layer:
    bias = tensors.get(f"best.{number}.bias")
    weight = tensors[f"best.{number}.weight"].numpy()
    return Layer(weight, None if bias is None else bias.numpy())
