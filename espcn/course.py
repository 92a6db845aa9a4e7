"""A run on its way to the last step: measured, saved, interrupted, resumed.

step, step, step, ..     until all are taken, or Ctrl-C
    measured             20 times: the average on the validation pictures; the best is kept,
                         or the last where the recipe says so
    shown                twice a second: where it is
    saved                once a minute and at the end: a checkpoint
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from espcn import launched, parallel
from espcn.architecture import Layer, Weights
from espcn.checkpoint import Checkpoint, write_checkpoint
from espcn.descent import Run
from espcn.errors import DivergedError
from espcn.interruption import interruptible
from espcn.patches import Patches
from espcn.recipe import Budget, Recipe
from espcn.validation import Figures, Validation

REPORTS = 20
"""How often a run is measured."""

SAVED_EVERY = 60.0
"""Seconds between two checkpoints."""

SHOWN_EVERY = 0.5
"""Seconds between two looks at the step."""

ASKED_EVERY = 16
"""Steps between two times that several processes ask the first whether to go on."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What is known of a run while it goes on."""

    step: int
    """Steps taken."""

    steps: int
    """Steps in all."""

    seconds: float
    """Since training began or went on."""

    begun: int = 0
    """The step at which it did."""

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
    """Spent on all of its steps, also before it was interrupted."""

    waiting: float
    """Share of the time since training began or went on in which steps waited for their patches."""

    device: str
    """What it ran on."""

    pixels: str
    """SHA-256 of what it was trained on and validated with."""

    history: list[dict[str, float]] = field(default_factory=list)
    """Step, loss, PSNR and bicubic's of every measurement."""

    @property
    def interrupted(self) -> bool:
        """Whether it was stopped before its last step."""
        return self.steps < self.recipe.steps


class Course:
    """A run with what is measured and kept of it."""

    def __init__(
        self,
        recipe: Recipe,
        budget: Budget,
        patches: Patches,
        validation: Validation,
        *,
        pixels: str,
        start: Weights | None = None,
        checkpoint: Path | None = None,
    ) -> None:
        self._recipe, self._budget, self._patches = recipe, budget, patches
        self._validation, self._pixels, self._path = validation, pixels, checkpoint
        self._run = Run(recipe, patches, start=start)
        self._begin, self._begun, self._spent = time.perf_counter(), 0, 0.0
        self._best: tuple[Weights, Figures] | None = None
        self._history: list[dict[str, float]] = []

    def go_on(self, checkpoint: Checkpoint) -> None:
        """From where a run was interrupted."""
        best = {n: t for n, t in checkpoint.tensors.items() if n.startswith("best.")}
        own = {n: t for n, t in checkpoint.tensors.items() if n not in best}
        self._run.restore(own, checkpoint.taken)
        self._begun, self._spent = checkpoint.taken, checkpoint.seconds
        self._history = checkpoint.history
        if best:
            layers = tuple(_layer_of(best, number) for number in range(3))
            weights = replace(self._run.averaged(), layers=layers)
            self._best = weights, self._validation.figures(weights)

    def finish(self, report: Callable[[Progress], None]) -> Trained:
        """Take all steps that are left, unless interrupted; only the first process reports.

        Raises `ModelError` when the network is no longer made of numbers.
        """
        self._begin = time.perf_counter()
        shown, saved = _Every(SHOWN_EVERY), _Every(SAVED_EVERY)
        tell = report if launched.first() else lambda _: None
        with interruptible() as interrupted:
            while not self._ended(interrupted):
                self._run.advance()
                if self._is_due():
                    tell(self._measure())
                elif shown.is_due():
                    tell(self._progress())
                if saved.is_due():
                    self._save()
            self._save()
        interrupted_early = self._run.taken < self._recipe.steps
        if interrupted_early and (self._best is None or self._run.is_finite()):
            self._measure()
        return self._trained()

    def _ended(self, interrupted: Callable[[], bool]) -> bool:
        """Whether all steps are taken, or Ctrl-C was pressed."""
        if self._run.taken >= self._recipe.steps:
            return True
        if parallel.number_of_processes() > 1 and self._run.taken % ASKED_EVERY:
            return False
        return bool(parallel.agreed(int(interrupted())))

    def _is_due(self) -> bool:
        """Whether the run is measured after this step."""
        taken, steps = self._run.taken, self._recipe.steps
        return taken * REPORTS // steps > (taken - 1) * REPORTS // steps

    def _measure(self) -> Progress:
        """The average so far on the validation pictures; see `Recipe.keep`."""
        loss = self._run.mean_loss()
        self._check(loss)
        weights = self._run.averaged()
        figures = self._validation.figures(weights)
        better = self._best is None or figures.psnr >= self._best[1].psnr
        if better or self._recipe.keep == "last":
            self._best = weights, figures
        row = {"step": self._run.taken, "loss": loss, "psnr": figures.psnr}
        self._history.append(row | {"psnr_bicubic": figures.psnr_bicubic})
        return replace(self._progress(), loss=loss, figures=figures)

    def _check(self, loss: float) -> None:
        if not (np.isfinite(loss) and self._run.is_finite()):
            raise DivergedError(
                f"training diverged by step {self._run.taken} of {self._recipe.steps} (loss "
                f"{loss:g}): train again at less than the learning rate "
                f"{self._recipe.learning_rate:g}"
            )

    def _progress(self) -> Progress:
        seconds = time.perf_counter() - self._begin
        return Progress(self._run.taken, self._recipe.steps, seconds, self._begun)

    def _save(self) -> None:
        """Write a checkpoint, but for a network that is lost."""
        if self._path is None or not launched.first() or not self._run.is_finite():
            return
        tensors = self._run.state()
        for number, layer in enumerate(self._best[0].layers if self._best else ()):
            tensors[f"best.{number}.weight"] = torch.from_numpy(layer.weight)
            if layer.bias is not None:
                tensors[f"best.{number}.bias"] = torch.from_numpy(layer.bias)
        said = self._recipe, self._budget, self._pixels, self._run.taken, self._seconds()
        write_checkpoint(self._path, Checkpoint(*said, tensors, self._history))

    def _seconds(self) -> float:
        """Spent on all steps so far."""
        return self._spent + time.perf_counter() - self._begin

    def _trained(self) -> Trained:
        assert self._best is not None
        weights, figures = self._best
        here = max(time.perf_counter() - self._begin, 1e-9)
        return Trained(
            weights,
            figures,
            self._recipe,
            self._run.taken,
            self._seconds(),
            waiting=self._run.waited / here,
            device=_device_name(self._patches.device),
            pixels=self._pixels,
            history=self._history,
        )


class _Every:
    """A clock that strikes."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._last = seconds, time.perf_counter()

    def is_due(self) -> bool:
        """Whether it has struck since it was last looked at."""
        now = time.perf_counter()
        if now - self._last < self._seconds:
            return False
        self._last = now
        return True


def _device_name(device: str) -> str:
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device


def _layer_of(tensors: dict[str, torch.Tensor], number: int) -> Layer:
    bias = tensors.get(f"best.{number}.bias")
    weight = tensors[f"best.{number}.weight"].numpy()
    return Layer(weight, None if bias is None else bias.numpy())
