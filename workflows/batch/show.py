"""Batches on a terminal: what would be done, how far it is, what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from workflows.batch.candidates import Candidate
from workflows.batch.job import Batch
from workflows.batch.outcome import RunSummary, SceneOutcome
from workflows.batch.redact import redact
from workflows.batch.run import Begun, Ended, Event, Planned, Tiled, Troubled
from workflows.console import show_warning

COLOURS = {"done": "green", "skipped": "dim", "failed": "red", "quarantined": "red"}
"""Of the words."""


def show_candidates(console: Console, batch: Batch, listed: Sequence[Candidate]) -> None:
    """What a run would do."""
    table = Table("scene", "family", "MB", "what", "why", box=None, header_style="bold")
    for one in listed:
        size = f"{one.inputs.size / 1e6:.0f}" if one.inputs else ""
        path = one.found.place(batch.inbox)
        table.add_row(
            escape(path), one.found.family, size, one.status or "make", escape(one.reason)
        )
    console.print(table)
    new = sum(one.status is None for one in listed)
    console.print(f"{new} of {len(listed)} scenes to make, into {escape(str(batch.outbox))}")


@contextmanager
def watching_batch(console: Console, *, quiet: bool) -> Iterator[Callable[[Event], None]]:
    """A function that shows events on the console until the block ends; `quiet` what is wrong."""
    if quiet:
        yield partial(_show_if_wrong, console)
    elif console.is_terminal:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=console, transient=True) as bar:
            yield _Watcher(console, bar)
    else:
        yield _Watcher(console, None)


def _show_if_wrong(console: Console, event: Event) -> None:
    """A line for a scene that failed, and for what went wrong beside the scenes."""
    match event:
        case Ended(outcome=outcome) if outcome.went_wrong:
            console.print(_line(outcome), highlight=False)
        case Troubled(message=message):
            show_warning(console, redact(message))


class _Watcher:
    """Bars for scenes and tiles on a terminal, a line for each scene everywhere."""

    def __init__(self, console: Console, bar: Progress | None) -> None:
        self._console, self._bar = console, bar
        if bar is not None:
            self._scenes = bar.add_task("scenes", total=None, rate="")
            self._tiles = bar.add_task("tiles", total=0, rate="")
        self._total = 0

    def __call__(self, event: Event) -> None:
        match event:
            case Planned():
                self._plan(event)
            case Begun(tiles=tiles):
                self._total += tiles
                self._update("_tiles", total=self._total)
            case Tiled(scene=scene, megapixels=megapixels):
                self._update("_tiles", advance=1, rate=f"{megapixels:.0f} Mpx  {scene}")
            case Ended(outcome=outcome):
                self._update("_scenes", advance=1)
                self._console.print(_line(outcome), highlight=False)
            case Troubled():
                _show_if_wrong(self._console, event)

    def _plan(self, event: Planned) -> None:
        waiting, listed = len(event.waiting), len(event.candidates)
        self._update("_scenes", total=waiting)
        self._console.print(f"{waiting} of {listed} scenes to make", highlight=False)

    def _update(self, task: str, **changes: object) -> None:
        if self._bar is not None:
            self._bar.update(getattr(self, task), **changes)  # type: ignore[arg-type]


def _line(outcome: SceneOutcome) -> str:
    word = f"[{COLOURS[outcome.status]}]{outcome.status}[/]"
    if outcome.status == "done":
        speed = outcome.megapixels / outcome.seconds if outcome.seconds else 0.0
        facts = f"{outcome.tiles} tiles, {speed:.1f} Mpx/s, {outcome.bytes / 1e6:.0f} MB"
        return f"{word}  {escape(outcome.scene)}: {facts}"
    return f"{word}  {escape(outcome.scene)}: {escape(redact(outcome.message))}"


def show_summary(console: Console, summary: RunSummary, page: Path | None) -> None:
    """The table at the end."""
    table = Table("scene", "status", "Mpx", "MB", "why", box=None, header_style="bold")
    for one in summary.scenes:
        if one.status == "skipped" and len(summary.scenes) > 30:
            continue
        made = (f"{one.megapixels:.1f}", f"{one.bytes / 1e6:.1f}") if one.bytes else ("", "")
        word = f"[{COLOURS[one.status]}]{one.status}[/]"
        table.add_row(escape(one.path), word, *made, escape(redact(one.message)))
    console.print(table)
    counts = " / ".join(f"{number} {word}" for word, number in summary.counts.items())
    speed = summary.megapixels / summary.seconds if summary.seconds else 0.0
    console.print(
        f"{counts}; {speed:.1f} Mpx/s, {summary.bytes / 1e9:.2f} GB in {summary.seconds:.0f} s"
    )
    if page is not None:
        console.print(f"report  {escape(str(page))}")
