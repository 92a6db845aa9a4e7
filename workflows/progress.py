"""Progress of a running job: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import (
    Progress as Bar,
)

from workflows.console import show_warning
from workflows.events import Event, Progress, Published, Publishing, Started, Warned

SECONDS = 5.0
"""Least time between two plain lines."""
SHARE = 0.01
"""Least share of the tiles between two plain lines, unless a minute has passed."""


@contextmanager
def watching(console: Console, *, quiet: bool) -> Iterator[Callable[[Event], None]]:
    """A function that shows events on the console until the block ends."""
    if quiet:
        yield lambda _: None
    elif console.is_terminal:
        with _bar(console) as bar:
            yield _BarWatcher(bar)
    else:
        yield _LineWatcher(console)


def _bar(console: Console) -> Bar:
    return Bar(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rates]}"),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        console=console,
        transient=True,
    )


class _BarWatcher:
    """Shows events as a bar."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self._task = bar.add_task("planning", total=None, rates="")

    def __call__(self, event: Event) -> None:
        match event:
            case Warned(message=message):
                show_warning(self._bar.console, message)
            case Started(tiles=tiles, resumed=resumed):
                self._bar.reset(
                    self._task, total=tiles, completed=resumed, description="tiles", rates=""
                )
            case Progress(done=done):
                self._bar.update(self._task, completed=done, rates=_rates(event))
            case Publishing(target=target):
                self._bar.update(self._task, description=f"publishing {Path(target).name}")


class _LineWatcher:
    """Shows events as plain lines, few of them."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown, self._time = 0, -SECONDS

    def __call__(self, event: Event) -> None:
        match event:
            case Warned(message=message):
                show_warning(self._console, message)
            case Started(tiles=tiles, resumed=resumed, shape=shape):
                kept = f", {resumed} of them kept from an earlier run" if resumed else ""
                who = f"{shape.workers or 1} x {shape.threads} worker threads"
                self._print(f"{tiles} tiles{kept}; {who}")
                self._shown = resumed
            case Progress(done=done, tiles=tiles, seconds=seconds):
                passed, made = seconds - self._time, done - self._shown
                due = passed >= SECONDS and (made >= SHARE * tiles or passed >= 60)
                if due or done == tiles:
                    self._shown, self._time = done, seconds
                    self._print(f"{done}/{tiles} tiles, {_rates(event)}, {_left(event)}")
            case Publishing(target=target):
                self._print(f"publishing {target}")
            case Published():
                pass

    def _print(self, line: str) -> None:
        self._console.print(line, soft_wrap=True, highlight=False, markup=False)


def _rates(event: Progress) -> str:
    made, seconds = event.done - event.resumed, max(event.seconds, 1e-3)
    return f"{made / seconds:.1f} tiles/s, {event.megapixels / seconds:.1f} Mpx/s"


def _left(event: Progress) -> str:
    """Time left, from the pace so far."""
    made = max(event.done - event.resumed, 1)
    seconds = round((event.tiles - event.done) * event.seconds / made)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d} left"
