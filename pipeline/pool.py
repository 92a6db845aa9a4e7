"""Many images at once over one cluster: their tiles, and the errands between and after them.

    works     drawn as there is room; few are open together, and each gets its turn
    tiles     in flight: two per thread; those that take next to no time go together
    errands   whatever else a worker does: publishing, checking

A tile that fails costs its work and nothing else. A tile whose workers died is made once more in a
process of its own, so that no other is blamed for it.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future as Promise
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, cast

from pipeline.alone import run_alone
from pipeline.crew import POLL, Crew, scheduler_lost
from pipeline.errors import PipelineError, PublishError, TileError
from pipeline.journal import Receipt
from pipeline.task import Call, make_tile
from pipeline.work import Errand, Work, keep_receipts, make_together, missing

if TYPE_CHECKING:
    from distributed import Future, as_completed

logger = logging.getLogger(__name__)

AHEAD = 2
"""Tasks in flight per worker thread: one that runs, one that waits."""
LEAST_SECONDS = 0.1
"""Seconds that a task should take: quicker tiles share one, for a task costs 5 ms of CPU."""
MOST_TOGETHER = 32
"""Tiles that share a task."""


@dataclass(slots=True, eq=False)
class _Open:
    """A work on its way."""

    work: Work
    waiting: Iterator[Call]
    """Tiles that were not sent yet."""
    flying: int = 0
    """Tiles that are in flight, or made alone."""
    drawn: bool = False
    """Whether all tiles were sent."""
    error: PipelineError | None = None
    """Why it is given up."""


@dataclass(slots=True, eq=False)
class _Flight:
    """Tiles in flight, in one task."""

    calls: tuple[Call, ...]
    owner: _Open

    @property
    def key(self) -> str:
        """Dask's name for it."""
        return self.calls[0].key


@dataclass(slots=True)
class Pool:
    """Works and errands on a crew."""

    crew: Crew
    """The workers."""
    attempts: int
    """Times that a tile is tried."""
    at_once: int = 1
    """Works whose tiles are in flight together."""
    function: Callable[..., object] = make_tile
    """What makes a tile on a worker."""
    _open: deque[_Open] = field(default_factory=deque)
    _again: list[_Flight] = field(default_factory=list)
    _errands: deque[Errand] = field(default_factory=deque)
    _flights: dict[Future, _Flight | Errand] = field(default_factory=dict)
    _alone: dict[Promise[object], _Flight] = field(default_factory=dict)
    _exhausted: bool = False
    """Whether all works were drawn."""
    _rate: float = 0.0
    """Tiles that came in per second of late."""
    _kept: int = 0
    """Tiles that came in since it was measured."""

    def run(self, works: Iterable[Work | None]) -> None:
        """Do all works and the errands that come of them.

        `works` may give None for one that is not ready yet: it is asked again. Raises PipelineError
        where nothing can go on: the scheduler is gone, or no worker is left.
        """
        from distributed import as_completed

        source = iter(works)
        completed = as_completed([], loop=self.crew.client.loop, raise_errors=False)
        single = ThreadPoolExecutor(1)
        try:
            while True:
                self._begin_some(source)
                self._send(completed)
                if self._exhausted and not (self._open or self._flights or self._alone):
                    return
                begun = time.monotonic()
                ended = self.crew.wait(completed, until=self._is_due)
                self._settle_all(ended, single, completed)
                self._settle_alone()
                self._measure(time.monotonic() - begun)
        finally:
            self.crew.forget(list(self._flights))
            single.shutdown(wait=False, cancel_futures=True)

    def add(self, errands: Iterable[Errand]) -> None:
        """Errands that no work has called for."""
        self._errands.extend(errands)

    def _begin_some(self, works: Iterator[Work | None]) -> None:
        """Open works until as many are as may be, or the next one is not ready."""
        while self._has_room:
            work = next(works, _END)
            self._exhausted = work is _END
            if not isinstance(work, Work):
                return
            opened = _Open(work, missing(work.targets))
            self._open.append(opened)
            self._close_if_done(opened)

    @property
    def _has_room(self) -> bool:
        """Whether another work could be opened."""
        return not self._exhausted and len(self._open) < self.at_once

    def _is_due(self) -> bool:
        """Whether there is something to do besides what workers have ended."""
        return self._has_room or any(one.done() for one in self._alone)

    def _measure(self, seconds: float) -> None:
        """How many tiles came in during the last round."""
        self._rate = (self._rate + self._kept / max(seconds, POLL)) / 2
        self._kept = 0

    def _send(self, completed: as_completed) -> None:
        """Fill up what is in flight: errands first, then tiles of all open works in turn."""
        errands = [self._errands.popleft() for _ in range(len(self._errands))]
        for errand in errands:
            future = self.crew.submit(errand.function, errand.arguments, key=errand.key)
            self._flights[future] = errand
            completed.add(future)
        threads = max(self.crew.threads, 1)
        together = min(max(round(LEAST_SECONDS * self._rate / threads), 1), MOST_TOGETHER)
        room = AHEAD * threads - len(self._flights) - len(self._again)
        flights = [*self._again, *self._draw(room, together)]
        self._again = []
        by_network = defaultdict[int, list[_Flight]](list)
        for flight in flights:
            by_network[id(flight.owner.work.upscaler)].append(flight)
        for some in by_network.values():
            sent = self.crew.send(
                make_together,
                {flight.key: flight.calls for flight in some},
                upscaler=some[0].owner.work.upscaler,
                make=self.function,
            )
            self._flights.update(zip(sent, some, strict=True))
            completed.update(sent)

    def _draw(self, room: int, together: int) -> Iterator[_Flight]:
        """The next tiles, of each open work in turn."""
        turns = deque(one for one in self._open if not one.drawn)
        while room > 0 and turns:
            opened = turns.popleft()
            calls = tuple(itertools.islice(opened.waiting, together))
            if not calls:
                opened.drawn = True
                continue
            opened.flying += len(calls)
            room -= 1
            turns.append(opened)
            yield _Flight(calls, opened)
        # whoever was served last is served last again
        self._open.rotate(-1)

    def _settle_all(
        self, ended: list[Future], single: ThreadPoolExecutor, completed: as_completed
    ) -> None:
        """See to everything that workers have ended."""
        finished = defaultdict[_Open, list[tuple[Call, tuple[Receipt, ...]]]](list)
        wrong = list[tuple[_Open, PipelineError]]()
        for future in ended:
            flight = self._flights.pop(future, None)
            if flight is None:
                continue  # forgotten meanwhile
            if future.status in ("pending", "lost") and self.crew.is_connected:
                # its worker died with the result: Dask has it made again
                self._flights[future] = flight
                completed.add(future)
                continue
            result, error = self._outcome(future)
            if isinstance(flight, Errand):
                follow = flight.then(result) if error is None else flight.failed(error)
                self._errands.extend(follow)
            elif error is not None:
                self._settle_error(flight, error, single)
            else:
                made, fault = cast("_Made", result)
                finished[flight.owner] += zip(flight.calls, made, strict=False)
                if fault is not None:
                    flight.owner.flying -= len(flight.calls) - len(made)
                    wrong.append((flight.owner, fault))
        for opened, fault in wrong:
            self._give_up(opened, fault)
        for opened, tiles in finished.items():
            self._keep(opened, tiles)
        for opened, _ in wrong:
            self._close_if_done(opened)

    def _outcome(self, future: Future) -> tuple[object, Exception | None]:
        """What a future returned, or what it raised; raises TileError if the scheduler is gone."""
        if future.status == "finished":
            try:
                return self.crew.result(future), None
            except PipelineError:
                raise
            except Exception as error:  # its workers died before they told it
                return None, error
        if future.status == "error":
            raised = future.exception()
            assert isinstance(raised, Exception)
            return None, raised
        raise scheduler_lost()

    def _keep(self, opened: _Open, made: list[tuple[Call, tuple[Receipt, ...]]]) -> None:
        """Journal finished tiles, those of a round with one sync."""
        opened.flying -= len(made)
        self._kept += len(made)
        if opened.error is None:
            try:
                keep_receipts(opened.work.targets, made)
            except PublishError as error:
                self._give_up(opened, error)
            else:
                for _, receipts in made:
                    opened.work.ends.on_tile(receipts[0])
        self._close_if_done(opened)

    def _settle_error(self, flight: _Flight, error: Exception, single: ThreadPoolExecutor) -> None:
        """A task raised, or its worker died too often."""
        opened, call = flight.owner, flight.calls[0]
        if opened.error is not None:
            opened.flying -= len(flight.calls)
            self._close_if_done(opened)
        elif type(error).__name__ == "KilledWorker":
            logger.warning("tile %d: its workers died", call.tile)
            for one in flight.calls:
                promise = single.submit(run_alone, self.function, one, opened.work.upscaler)
                self._alone[promise] = _Flight((one,), opened)
        elif call.attempt < self.attempts:
            logger.warning("tile %d: attempt %d failed (%r)", call.tile, call.attempt, error)
            self._again += _once_more(flight)
        else:
            opened.flying -= len(flight.calls)
            self._give_up(
                opened,
                TileError(
                    f"failed {call.attempt} times, at last with {type(error).__name__}: {error}",
                    tile=call.tile,
                ),
            )
            self._close_if_done(opened)

    def _settle_alone(self) -> None:
        """See to tiles that were made in a process of their own."""
        for promise in [one for one in self._alone if one.done()]:
            flight = self._alone.pop(promise)
            error = promise.exception()
            if error is None:
                made = cast("tuple[Receipt, ...]", promise.result())
                self._keep(flight.owner, [(flight.calls[0], made)])
                continue
            flight.owner.flying -= 1
            known = isinstance(error, PipelineError)
            self._give_up(
                flight.owner,
                cast("PipelineError", error)
                if known
                else TileError(f"failed alone with {type(error).__name__}: {error}"),
            )
            self._close_if_done(flight.owner)

    def _give_up(self, opened: _Open, error: PipelineError) -> None:
        """Make no more tiles of a work."""
        if opened.error is not None:
            return
        opened.error, opened.waiting = error, iter(())
        opened.drawn = True
        mine = {
            future: flight
            for future, flight in self._flights.items()
            if isinstance(flight, _Flight) and flight.owner is opened
        }
        for future in mine:
            del self._flights[future]
        for promise in [one for one, flight in self._alone.items() if flight.owner is opened]:
            if promise.cancel():
                del self._alone[promise]
                opened.flying -= 1
        again = [flight for flight in self._again if flight.owner is opened]
        self._again = [flight for flight in self._again if flight.owner is not opened]
        opened.flying -= sum(len(flight.calls) for flight in [*mine.values(), *again])
        self.crew.forget(list(mine))

    def _close_if_done(self, opened: _Open) -> None:
        """Tell a work that it has ended, once."""
        if opened.flying or opened not in self._open:
            return
        if opened.error is None:
            call = next(opened.waiting, None)
            if call is not None:
                opened.waiting = itertools.chain([call], opened.waiting)
                return
        self._open.remove(opened)
        self._errands.extend(opened.work.ends.on_end(opened.error))


_END = object()
_Made = tuple[list[tuple[Receipt, ...]], PipelineError | None]


def _once_more(flight: _Flight) -> list[_Flight]:
    """The same tiles, once more, each for itself."""
    return [
        _Flight((replace(call, attempt=call.attempt + 1),), flight.owner) for call in flight.calls
    ]
