"""Progress of a training run: a bar on a terminal, a line per measurement elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table

from espcn import launched

if TYPE_CHECKING:
    from espcn.course import Progress
    from workflows.train import Outcome
    from workflows.train_options import Training
    from workflows.training_data import Samples


class Watcher(Protocol):
    """Hears of a training run."""

    def samples(self, samples: Samples) -> None:
        """What it is trained on and what is held back."""

    def progress(self, progress: Progress) -> None:
        """Where it is, and now and then how well it does."""


@contextmanager
def watching_training(console: Console, *, quiet: bool) -> Iterator[Watcher]:
    """What shows a run on the console until the block ends; one of several processes does."""
    if quiet or not launched.first():
        yield _Silent()
    elif console.is_terminal:
        with _bar(console) as bar:
            yield _BarWatcher(bar)
    else:
        yield _LineWatcher(console)


def show_outcome(console: Console, outcome: Outcome) -> None:
    """The figures, and where everything is."""
    table = Table("band", "PSNR, dB", "bicubic", "SSIM", "bicubic", "RMSE", "bicubic", box=None)
    for name, (one, other) in outcome.facts.bands.items():
        ours, theirs = one.whole, other.whole
        table.add_row(
            name,
            *(f"{value:.2f}" for value in (ours.psnr, theirs.psnr)),
            *(f"{value:.4f}" for value in (ours.ssim, theirs.ssim)),
            *(f"{value:.4g}" for value in (ours.rmse, theirs.rmse)),
        )
    console.print(table)
    trained = outcome.facts.trained
    lines = {
        "model": outcome.model,
        "card": outcome.card,
        "pictures": outcome.sheet,
        "verdict": outcome.facts.verdict,
    }
    if trained.interrupted:
        lines["interrupted"] = (
            f"after {trained.steps} of {trained.recipe.steps} steps; --resume goes on"
        )
    for name, value in lines.items():
        console.print(f"{name:12}{value}", soft_wrap=True, highlight=False, markup=False)


def show_interruption(console: Console, training: Training) -> None:
    """What an interruption leaves that came before or after the steps, or would not wait."""
    kept = training.checkpoint.exists()
    hint = "the same command with --resume goes on" if kept else "nothing was kept"
    _print(console, f"espcn: interrupted; {hint}")


def _bar(console: Console) -> Bar:
    return Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[figures]}"),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        console=console,
        transient=True,
    )


class _Silent:
    def samples(self, samples: Samples) -> None: ...

    def progress(self, progress: Progress) -> None: ...


class _BarWatcher:
    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self._task = bar.add_task("reading", total=None, figures="")

    def samples(self, samples: Samples) -> None:
        _tell(self._bar.console, samples)
        self._bar.update(self._task, description="steps")

    def progress(self, progress: Progress) -> None:
        if self._bar.tasks[self._task].total is None:
            # speed is that of the steps since training began or went on
            self._bar.reset(self._task, total=progress.steps, completed=progress.begun)
        self._bar.update(self._task, completed=progress.step)
        if progress.figures is not None:
            self._bar.update(self._task, figures=_figures(progress))


class _LineWatcher:
    def __init__(self, console: Console) -> None:
        self._console = console

    def samples(self, samples: Samples) -> None:
        _tell(self._console, samples)

    def progress(self, progress: Progress) -> None:
        if progress.figures is None:
            return
        done = max(progress.step - progress.begun, 1)
        left = round((progress.steps - progress.step) * progress.seconds / done)
        _print(
            self._console,
            f"{progress.step}/{progress.steps} steps, {_figures(progress)}, "
            f"{left // 60}:{left % 60:02d} left",
        )


def _figures(progress: Progress) -> str:
    figures = progress.figures
    assert figures is not None
    return (
        f"loss {progress.loss:.3f}, {figures.psnr:.2f} dB ({figures.gain:+.2f} dB against bicubic)"
    )


def _tell(console: Console, samples: Samples) -> None:
    """What was read, and what was not."""
    for skip in samples.skipped:
        _print(console, f"skipped {skip.uri}: {skip.reason}")
    for note in samples.notes:
        _print(console, f"note: {note}")
    left_out = ", ".join(f"{count} {reason}" for reason, count in samples.left_out.items())
    pixels = sum(sample.pixels.size for sample in samples.train) / 1e6
    _print(
        console,
        f"{len(samples.train)} samples of {pixels:.1f} Mpx to train on, "
        f"{len(samples.validation)} held back; windows left out: {left_out or 'none'}",
    )


def _print(console: Console, line: str) -> None:
    console.print(line, soft_wrap=True, highlight=False, markup=False)
