"""The pool: works in turn, errands between them, and what fails alone."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from distributed import Client

from pipeline.cluster import open_cluster
from pipeline.crew import Crew
from pipeline.errors import PipelineError, SourceError, TileError
from pipeline.journal import Receipt
from pipeline.options import ClusterOptions
from pipeline.pool import Pool
from pipeline.task import Call, Target
from pipeline.work import Errand, Work


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """Two threads of this process."""
    with open_cluster(ClusterOptions(workers=0, threads=2)) as (client, _):
        yield client


@dataclass
class Journal:
    """Receipts in memory."""

    receipts: dict[int, Receipt] = field(default_factory=dict)
    rounds: int = 0

    def add(self, *receipts: Receipt) -> None:
        self.rounds += 1
        self.receipts |= {receipt.tile: receipt for receipt in receipts}


def target(name: str, tiles: int) -> Target:
    plan = SimpleNamespace(tiling=range(tiles), digest=name * 8)
    return Target(Path(name), Path(name), cast("Any", plan), cast("Any", Journal()))


@dataclass
class Ends:
    """Notes what it is told."""

    log: list[tuple[str, str]]
    name: str
    errands: list[Errand] = field(default_factory=list)
    error: PipelineError | None = None

    def on_tile(self, receipt: Receipt) -> None:
        self.log.append((self.name, f"tile {receipt.tile}"))

    def on_end(self, error: PipelineError | None) -> Iterable[Errand]:
        self.error = error
        self.log.append((self.name, "failed" if error else "done"))
        return self.errands


def work(log: list[tuple[str, str]], name: str, tiles: int, *errands: Errand) -> Work:
    return Work((target(name, tiles),), cast("Any", name), Ends(log, name, list(errands)))


def tile(call: Call, upscaler: object) -> tuple[Receipt, ...]:
    """Fails for the work 'wrong', crashes for 'deadly' where it is alone."""
    if upscaler == "wrong" and call.tile == 3:
        raise SourceError("cannot be read", tile=call.tile)
    if upscaler == "odd":
        raise ZeroDivisionError
    return (Receipt(call.tile, ()),)


def pool_of(client: Client, **options: Any) -> Pool:
    return Pool(Crew(client, 2), 2, function=tile, **options)


def test_all_tiles_of_all_works_are_made_once(client: Client) -> None:
    log = list[tuple[str, str]]()
    works = [work(log, name, 7) for name in "abcde"]
    pool_of(client, at_once=2).run(works)
    for one in works:
        journal = cast("Journal", one.targets[0].journal)
        assert sorted(journal.receipts) == list(range(7))
        assert log.count((one.ends.name, "done")) == 1  # type: ignore[attr-defined]
        assert sum(entry[0] == one.ends.name for entry in log) == 8  # type: ignore[attr-defined]


def test_tiles_that_are_there_are_not_made_again(client: Client) -> None:
    log = list[tuple[str, str]]()
    half = work(log, "half", 6)
    half.targets[0].journal.receipts.update({i: Receipt(i, ()) for i in range(4)})
    whole = work(log, "whole", 3)
    whole.targets[0].journal.receipts.update({i: Receipt(i, ()) for i in range(3)})
    pool_of(client).run([whole, half, work(log, "empty", 0)])
    assert sorted(entry for entry in log if entry[0] == "half") == [
        ("half", "done"),
        ("half", "tile 4"),
        ("half", "tile 5"),
    ]
    assert ("whole", "done") in log
    assert ("empty", "done") in log


def test_a_tile_that_fails_costs_its_work_and_no_other(client: Client) -> None:
    log = list[tuple[str, str]]()
    works = [work(log, "wrong", 40), work(log, "right", 40), work(log, "odd", 2)]
    pool_of(client, at_once=3).run(works)
    wrong, right, odd = (cast("Ends", one.ends) for one in works)
    assert isinstance(wrong.error, SourceError)
    assert wrong.error.tile == 3
    assert right.error is None
    assert len(works[1].targets[0].journal.receipts) == 40
    assert isinstance(odd.error, TileError)
    assert "failed 2 times, at last with ZeroDivisionError" in str(odd.error)
    assert log.count(("wrong", "failed")) == log.count(("odd", "failed")) == 1


def test_errands_follow_works_and_one_another(client: Client) -> None:
    log, told = list[tuple[str, str]](), list[object]()

    def second(result: object) -> Iterable[Errand]:
        told.append(result)
        return [Errand("second", divmod, (7, 0), lambda _: (), failed)]

    def failed(error: Exception) -> Iterable[Errand]:
        told.append(type(error).__name__)
        return ()

    first = Errand("first", divmod, (7, 2), second, failed)
    pool_of(client).run([work(log, "a", 3, first), work(log, "b", 3)])
    assert told == [(3, 1), "ZeroDivisionError"]


def test_a_work_that_is_not_ready_is_asked_for_again(client: Client) -> None:
    log, asked = list[tuple[str, str]](), 0

    def works() -> Iterator[Work | None]:
        nonlocal asked
        yield work(log, "a", 3)
        while asked < 3:
            asked += 1
            yield None
        yield work(log, "b", 3)

    pool_of(client, at_once=2).run(works())
    assert log.count(("b", "done")) == 1


def test_quick_tiles_are_journaled_many_at_a_time(client: Client) -> None:
    log = list[tuple[str, str]]()
    quick = work(log, "quick", 3000)
    pool_of(client).run([quick])
    journal = cast("Journal", quick.targets[0].journal)
    assert len(journal.receipts) == 3000
    assert journal.rounds < 300


def crash(call: Call, upscaler: object) -> tuple[Receipt, ...]:
    """Ends the process that makes tile 1 of 'deadly'."""
    if upscaler == "deadly" and call.tile == 1:
        os.abort()
    return (Receipt(call.tile, ()),)


@pytest.mark.timeout(200)
def test_a_tile_that_kills_workers_is_told_from_those_that_die_with_it() -> None:
    log = list[tuple[str, str]]()
    works = [work(log, "deadly", 4), work(log, "innocent", 12)]
    with open_cluster(ClusterOptions(workers=1, threads=2)) as (client, _):
        Pool(Crew(client, 2), 1, at_once=2, function=crash).run(works)
    deadly, innocent = (cast("Ends", one.ends) for one in works)
    assert innocent.error is None
    assert len(works[1].targets[0].journal.receipts) == 12
    assert isinstance(deadly.error, TileError)
    assert "crashed, alone as well" in str(deadly.error)
