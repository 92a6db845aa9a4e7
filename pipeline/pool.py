"""Many images at once over one cluster: their tiles, and the errands between and after them.

    works     drawn as there is room; few are open together, and each gets its turn
    tiles     in flight: two per thread, more where they take no time
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
from typing import TYPE_CHECKING, Protocol, cast

from pipeline.alone import run_alone
from pipeline.crew import POLL, Crew, scheduler_lost
from pipeline.errors import PipelineError, PublishError, TileError
from pipeline.journal import Receipt
from pipeline.kernel import Upscaler
from pipeline.task import Call, Target, make_tile

if TYPE_CHECKING:
    from distributed import Future, as_completed

logger = logging.getLogger(__name__)

AHEAD = 2
"""Tiles in flight per worker thread: one that runs, one that waits."""
MOST_AHEAD = 64
"""Tiles in flight per worker thread where they take next to no time."""
ROUNDS_AHEAD = 4
"""Rounds of the driver for which quick tiles are sent ahead."""


class Ends(Protocol):
    """Who is told of a work."""

    def on_tile(self, receipt: Receipt) -> None:
        """A tile is durable."""

    def on_end(self, error: PipelineError | None) -> Iterable[Errand]:
        """All tiles are durable, or the work failed; what is to be done about it."""


@dataclass(frozen=True, slots=True, eq=False)
class Work:
    """One image being made."""

    targets: tuple[Target, ...]
    """Its outputs, which share a tiling."""
    upscaler: Upscaler
    """The network."""
    ends: Ends
    """Who is told, in the driver's thread."""


@dataclass(frozen=True, slots=True, eq=False)
class Errand:
    """Something that a worker does once; what it returns should be small."""

    key: str
    """Dask's name for it, without secrets."""
    function: Callable[..., object]
    """Called on a worker, with `arguments`."""
    arguments: tuple[object, ...]
    """A few kilobytes at most."""
    then: Callable[[object], Iterable[Errand]]
    """Told what it returned, in the driver's thread; what is to be done next."""
    failed: Callable[[Exception], Iterable[Errand]]
    """Told what it raised, likewise."""


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
    """A tile in flight."""

    call: Call
    owner: _Open


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
    """Tiles that ended per second of late."""

    def run(self, works: Iterable[Work | None]) -> None:
        """Do all works and the errands that come of them.

        `works` may give None for one that is not ready yet: it is asked again. Raises PipelineError
        where nothing can go on: the scheduler is gone, or no worker is left.
        """
        from distributed import as_completed

        source = iter(works)
        completed = as_completed([], loop=self.crew.client.loop, raise_errors=False)
        with ThreadPoolExecutor(1) as single:
            try:
                while True:
                    self._begin_some(source)
                    self._send(completed)
                    if self._exhausted and not (self._open or self._flights or self._alone):
                        return
                    begun = time.monotonic()
                    ended = self.crew.wait(completed, until=self._is_due)
                    self._settle_all(ended, single)
                    self._settle_alone()
                    self._measure(len(ended), time.monotonic() - begun)
            finally:
                self.crew.forget(list(self._flights))

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
            opened = _Open(work, _missing(work.targets))
            self._open.append(opened)
            self._close_if_done(opened)

    @property
    def _has_room(self) -> bool:
        """Whether another work could be opened."""
        return not self._exhausted and len(self._open) < self.at_once

    def _is_due(self) -> bool:
        """Whether there is something to do besides what workers have ended."""
        return self._has_room or any(one.done() for one in self._alone)

    def _measure(self, ended: int, seconds: float) -> None:
        rate = ended / max(seconds, POLL)
        self._rate = (self._rate + rate) / 2

    def _send(self, completed: as_completed) -> None:
        """Fill up what is in flight: errands first, then tiles of all open works in turn."""
        errands = [self._errands.popleft() for _ in range(len(self._errands))]
        for errand in errands:
            future = self.crew.submit(errand.function, errand.arguments, key=errand.key)
            self._flights[future] = errand
            completed.add(future)
        least, most = AHEAD * self.crew.threads, MOST_AHEAD * self.crew.threads
        wanted = min(max(least, round(ROUNDS_AHEAD * POLL * self._rate)), most)
        flights = [*self._again, *self._draw(wanted - len(self._flights) - len(self._again))]
        self._again = []
        together = defaultdict[int, list[_Flight]](list)
        for flight in flights:
            together[id(flight.owner.work.upscaler)].append(flight)
        for some in together.values():
            calls = {flight.call.key: flight.call for flight in some}
            sent = self.crew.send(self.function, calls, upscaler=some[0].owner.work.upscaler)
            self._flights.update(zip(sent, some, strict=True))
            completed.update(sent)

    def _draw(self, room: int) -> Iterator[_Flight]:
        """The next tiles, one of each open work in turn."""
        turns = deque(one for one in self._open if not one.drawn)
        while room > 0 and turns:
            opened = turns.popleft()
            call = next(opened.waiting, None)
            if call is None:
                opened.drawn = True
                continue
            opened.flying += 1
            room -= 1
            turns.append(opened)
            yield _Flight(call, opened)
        # whoever was served last is served last again
        self._open.rotate(-1)

    def _settle_all(self, ended: list[Future], single: ThreadPoolExecutor) -> None:
        """See to everything that workers have ended."""
        finished = defaultdict[_Open, list[tuple[Call, tuple[Receipt, ...]]]](list)
        for future in ended:
            flight = self._flights.pop(future, None)
            if flight is None:
                continue  # forgotten meanwhile
            if isinstance(flight, Errand):
                self._settle_errand(future, flight)
            elif future.status == "finished":
                made = cast("tuple[Receipt, ...]", self.crew.result(future))
                finished[flight.owner].append((flight.call, made))
            elif future.status == "error":
                self._settle_error(flight, future.exception(), single)
            else:
                raise scheduler_lost()
        for opened, tiles in finished.items():
            self._keep(opened, tiles)

    def _keep(self, opened: _Open, made: list[tuple[Call, tuple[Receipt, ...]]]) -> None:
        """Journal finished tiles, those of a round with one sync."""
        opened.flying -= len(made)
        if opened.error is None:
            try:
                _journal(opened.work.targets, made)
            except PublishError as error:
                self._give_up(opened, error)
            else:
                for _, receipts in made:
                    opened.work.ends.on_tile(receipts[0])
        self._close_if_done(opened)

    def _settle_error(
        self, flight: _Flight, error: BaseException | None, single: ThreadPoolExecutor
    ) -> None:
        """A tile raised, or its worker died too often."""
        opened, call = flight.owner, flight.call
        if opened.error is not None or isinstance(error, PipelineError):
            opened.flying -= 1
            if isinstance(error, PipelineError):
                self._give_up(opened, error)
            self._close_if_done(opened)
        elif type(error).__name__ == "KilledWorker":
            logger.warning("tile %d: its workers died", call.tile)
            promise = single.submit(run_alone, self.function, call, opened.work.upscaler)
            self._alone[promise] = flight
        elif call.attempt < self.attempts:
            logger.warning("tile %d: attempt %d failed (%r)", call.tile, call.attempt, error)
            self._again.append(_once_more(flight))
        else:
            opened.flying -= 1
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
                self._keep(flight.owner, [(flight.call, made)])
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

    def _settle_errand(self, future: Future, errand: Errand) -> None:
        if future.status == "finished":
            self._errands.extend(errand.then(self.crew.result(future)))
        elif future.status == "error":
            error = future.exception()
            assert isinstance(error, Exception)
            self._errands.extend(errand.failed(error))
        else:
            raise scheduler_lost()

    def _give_up(self, opened: _Open, error: PipelineError) -> None:
        """Make no more tiles of a work."""
        if opened.error is not None:
            return
        opened.error, opened.waiting = error, iter(())
        opened.drawn = True
        mine = [f for f, one in self._flights.items() if _is_of(one, opened)]
        for future in mine:
            del self._flights[future]
        again = [flight for flight in self._again if flight.owner is opened]
        self._again = [flight for flight in self._again if flight.owner is not opened]
        opened.flying -= len(mine) + len(again)
        self.crew.forget(mine)

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


def _once_more(flight: _Flight) -> _Flight:
    """The same tile, once more."""
    return _Flight(replace(flight.call, attempt=flight.call.attempt + 1), flight.owner)


def _is_of(flight: _Flight | Errand, opened: _Open) -> bool:
    return isinstance(flight, _Flight) and flight.owner is opened


def _missing(targets: tuple[Target, ...]) -> Iterator[Call]:
    """A call for every tile that some target lacks, in the order of the tiling."""
    for tile in range(len(targets[0].plan.tiling)):
        lacking = [t for t in targets if tile not in t.journal.receipts]
        if lacking:
            yield Call(tile, 1, tuple((str(t.stage), t.plan.digest) for t in lacking))


def _journal(targets: tuple[Target, ...], made: list[tuple[Call, tuple[Receipt, ...]]]) -> None:
    """Make receipts durable; raises PublishError."""
    by_stage = defaultdict[str, list[Receipt]](list)
    for call, receipts in made:
        for (stage, _), receipt in zip(call.stages, receipts, strict=True):
            by_stage[stage].append(receipt)
    journals = {str(target.stage): target.journal for target in targets}
    for stage, own in by_stage.items():
        try:
            journals[stage].add(*own)
        except OSError as error:
            raise PublishError(
                f"cannot record finished tiles ({error.strerror}); mend that and run the same "
                "command again to go on",
                uri=stage,
            ) from error
