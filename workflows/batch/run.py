"""The story of `espcn batch`: an inbox of scenes becomes an outbox of products.

find     what is in the inbox; what was made before, or fails again and again, is left out
open     one scene after the other, in a process of its own, a few ahead of the tiles
make     the tiles of several scenes over one cluster, published and checked on its workers
land     each product by one rename, as soon as it is complete
report   a page, and the same as JSON
"""

from __future__ import annotations

import platform
import shutil
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import espcn
from pipeline.cluster import Gpus, open_cluster
from pipeline.crew import Crew
from pipeline.dicom.uids import opaque
from pipeline.errors import ConfigError, PipelineError, PublishError
from pipeline.journal import Receipt
from pipeline.pool import Pool
from pipeline.scenes import dicom
from pipeline.work import Work
from workflows.batch.candidates import Candidate, candidates, check_places
from workflows.batch.catalog import update_catalog
from workflows.batch.job import Batch
from workflows.batch.making import SceneRun, is_no_fault, reason_of, remember, restore
from workflows.batch.opening import Doorman, Opened
from workflows.batch.outcome import RunSummary, SceneOutcome
from workflows.batch.quarantine import put_away, take_back
from workflows.batch.state import Left, State, bands_in, holding, products_of, read_state
from workflows.report import versions_of

AHEAD = 2
"""Scenes that are opened before their turn comes."""


@dataclass(frozen=True, slots=True)
class Planned:
    """The inbox was looked through."""

    candidates: tuple[Candidate, ...]
    """Everything in it."""

    @property
    def waiting(self) -> tuple[Candidate, ...]:
        """What is to be made."""
        return tuple(one for one in self.candidates if one.status is None)


@dataclass(frozen=True, slots=True)
class Begun:
    """A scene was opened and its tiles begin."""

    key: str
    """Of the scene."""
    scene: str
    """Its name."""
    tiles: int
    """All of them."""


@dataclass(frozen=True, slots=True)
class Tiled:
    """A tile of a scene is durable."""

    key: str
    """Of the scene."""
    scene: str
    """Its name."""
    megapixels: float
    """Output pixels x bands of this run so far, of all scenes, in millions."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A scene landed, or failed."""

    outcome: SceneOutcome
    """What became of it."""


@dataclass(frozen=True, slots=True)
class Troubled:
    """Something went wrong beside the scenes."""

    message: str
    """What, in one line."""


Event = Planned | Begun | Tiled | Ended | Troubled


def plan_batch(batch: Batch, *, retry: bool = False, settled: bool = False) -> list[Candidate]:
    """What a run would do; changes nothing. Raises PipelineError."""
    check_places(batch)
    return candidates(batch, read_state(batch.state), settled=settled, retry=retry)


def run_batch(
    batch: Batch,
    tell: Callable[[Event], None] | None = None,
    *,
    retry: bool = False,
    settled: bool = False,
    only_paths: Sequence[Path] | None = None,
) -> RunSummary:
    """Make every product that the outbox lacks; never raises for what is wrong with a scene.

    `settled` leaves out scenes that may still be arriving, `retry` takes up what was quarantined,
    `only_paths` restricts the run to some. Raises ConfigError, and PipelineError for what stops
    all of them. Ctrl-C ends it with what has landed; the next run goes on.
    """
    check_places(batch)
    with holding(batch.outbox) as state:
        restore(batch)
        if retry and batch.batch.quarantine is not None:
            take_back(Path(batch.batch.quarantine).absolute())
        listed = candidates(batch, state, settled=settled, retry=retry, only_paths=only_paths)
        whole = only_paths is None and batch.batch.only is None
        for one in listed if retry else ():
            if one.key in state.failures:
                state.add("retry", one.key)
        line = _Line(batch, state, listed, tell or (lambda _: None), whole)
        return line.run()


@dataclass(slots=True)
class _Line:
    """The scenes of a run, one after the other and several at once."""

    batch: Batch
    state: State
    listed: list[Candidate]
    tell: Callable[[Event], None]
    whole: bool
    """Whether all of the inbox is listed."""
    doorman: Doorman = field(default_factory=Doorman)
    opening: deque[tuple[Candidate, Future[Opened]]] = field(default_factory=deque)
    deferred: list[tuple[Candidate, Opened]] = field(default_factory=list)
    """Scenes whose data another one is being made of: the newer of the two is to stay."""
    works: deque[Work] = field(default_factory=deque)
    running: list[SceneRun] = field(default_factory=list)
    outcomes: dict[Path, SceneOutcome] = field(default_factory=dict)
    megapixels: float = 0.0
    pool: Pool | None = None

    def run(self) -> RunSummary:
        started, begun = datetime.now(UTC), time.monotonic()
        waiting = [one for one in self.listed if one.status is None]
        for one in self.listed:
            if one.status is not None:
                self.outcomes[one.found.path] = _untouched(self.batch, one)
        self.tell(Planned(tuple(self.listed)))
        if self.whole:
            self._tidy(waiting)
        interrupted, stopped = False, None
        try:
            self._make(deque(waiting))
        except KeyboardInterrupt:
            interrupted = True
        except PipelineError as error:
            stopped = error
        finally:
            self.doorman.close()
            for scene in self.running:
                scene.stack.close()
        problems = self._write_lists()
        if stopped is not None:
            raise stopped
        return RunSummary(
            run=f"{started:%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:4]}",
            started=started.isoformat(timespec="seconds"),
            ended=datetime.now(UTC).isoformat(timespec="seconds"),
            seconds=time.monotonic() - begun,
            inbox=self._inbox(),
            outbox=str(self.batch.outbox),
            scenes=tuple(self.outcomes[path] for path in sorted(self.outcomes)),
            versions={"python": platform.python_version()} | versions_of(),
            interrupted=interrupted,
            problems=problems,
        )

    def _write_lists(self) -> tuple[str, ...]:
        """Write the catalog and the list of failures; what stood in the way of that, told as well.

        Products have landed by now, and the next run writes both anew.
        """
        outbox, problems = self.batch.outbox, list[str]()
        lists: tuple[Callable[[], None], ...] = (
            lambda: update_catalog(outbox, outbox.name),
            lambda: self.state.quarantine(self.batch.batch.attempts),
        )
        for write in lists:
            try:
                write()
            except PublishError as error:
                problems.append(str(error))
                self.tell(Troubled(str(error)))
        return tuple(problems)

    def _inbox(self) -> str:
        """What reports call the inbox: its path may name a patient."""
        path = str(self.batch.inbox)
        if any(one.family == dicom.FAMILY for one in self.outcomes.values()):
            return f"DICOM {opaque(path)}"
        return path

    def _make(self, waiting: deque[Candidate]) -> None:
        """Over one cluster."""
        if not waiting:
            return
        options = self.batch.cluster
        with open_cluster(options, gpus=_gpus(self.batch)) as (client, shape):
            crew = Crew(client, shape.total_threads)
            self.pool = Pool(crew, options.attempts, at_once=self.batch.batch.open_scenes)
            self.pool.run(self._works(waiting))

    def _works(self, waiting: deque[Candidate]) -> Iterator[Work | None]:
        """Works as scenes are opened; None while the next one is not open yet."""
        while waiting or self.opening or self.running or self.works or self.deferred:
            while waiting and len(self.opening) < AHEAD:
                one = waiting.popleft()
                self.opening.append((one, self._open(one)))
            self.doorman.hurry()
            again, self.deferred = self.deferred, []
            for one_deferred in again:
                self._take_up(*one_deferred)
            if self.works:
                yield self.works.popleft()
            elif self.opening and self.opening[0][1].done():
                self._begin(*self.opening.popleft())
            else:
                yield None

    def _begin(self, candidate: Candidate, opening: Future[Opened]) -> None:
        """Take a scene up, or note why it cannot be."""
        try:
            opened = self.doorman.result(opening, candidate.found)
        except (ConfigError, espcn.ModelError):
            raise  # of all scenes
        except Exception as error:
            self._reject(candidate, error)
            # the process may have taken those with it that were waiting for it
            self.opening = deque((one, self._reopened(one, other)) for one, other in self.opening)
            return
        self._take_up(candidate, opened)

    def _take_up(self, candidate: Candidate, opened: Opened) -> None:
        """Begin a scene, unless a product stands for it, or its data are being made just now."""
        dataset = opened.scene.dataset
        if dataset and any(one.opening.scene.dataset == dataset for one in self.running):
            self.deferred.append((candidate, opened))
            return
        left = _stands_for(self.batch, candidate, opened)
        if left is not None:
            self._leave_out(candidate, opened, left)
            return
        work = self._work_folder(candidate)
        run = SceneRun(self.batch, candidate, opened, work, self._told, self.works.append)
        self.running.append(run)
        try:
            works = run.works()
        except Exception as error:
            run.fail(error)
            return
        tiles = sum(len(work.targets[0].plan.tiling) for work in works)
        self.tell(Begun(candidate.key, opened.scene.id, tiles))
        self.works.extend(works)
        if not works:
            assert self.pool is not None
            self.pool.add(run.is_published())

    def _reopened(self, candidate: Candidate, opening: Future[Opened]) -> Future[Opened]:
        if opening.done() and type(opening.exception()).__name__ == "BrokenProcessPool":
            return self._open(candidate)
        return opening

    def _open(self, one: Candidate) -> Future[Opened]:
        return self.doorman.open(self.batch, one.found, one.key, self._work_folder(one), one.apart)

    def _told(self, run: SceneRun, receipt: Receipt | None) -> None:
        """A tile is in, or a scene has ended."""
        if receipt is not None:
            made = self.megapixels + sum(one.megapixels for one in self.running)
            self.tell(Tiled(run.candidate.key, run.opening.scene.id, made))
            return
        self.running.remove(run)
        self.megapixels += run.megapixels
        self._end(run.candidate, run.outcome(self._attempt(run.candidate)))

    def _reject(self, candidate: Candidate, error: Exception) -> None:
        """A scene cannot be opened."""
        shutil.rmtree(self._work_folder(candidate), ignore_errors=True)
        outcome = SceneOutcome(
            scene=candidate.name,
            path=candidate.found.place(self.batch.inbox),
            status="failed",
            key=candidate.key,
            family=candidate.found.family,
            reason=reason_of(error),
            message=candidate.found.hide(" ".join((str(error) or type(error).__name__).split())),
            attempts=0 if is_no_fault(error) else self._attempt(candidate),
        )
        self._end(candidate, outcome)

    def _leave_out(self, candidate: Candidate, opened: Opened, left: Left) -> None:
        shutil.rmtree(self._work_folder(candidate), ignore_errors=True)
        self.state.add("left", candidate.key, scene=opened.scene.id, **asdict(left))
        outcome = _untouched(self.batch, replace(candidate, status="skipped", reason=left.message))
        self.outcomes[candidate.found.path] = replace(outcome, scene=opened.scene.id)
        self.tell(Ended(self.outcomes[candidate.found.path]))

    def _end(self, candidate: Candidate, outcome: SceneOutcome) -> None:
        remember(self.state, outcome)
        if outcome.status == "failed" and outcome.attempts >= self.batch.batch.attempts:
            outcome = replace(outcome, status="quarantined")
            self._put_away(candidate)
        self.outcomes[candidate.found.path] = outcome
        self.tell(Ended(outcome))

    def _put_away(self, candidate: Candidate) -> None:
        """Out of the inbox, if the configuration says where to."""
        if self.batch.batch.quarantine is not None:
            put_away(
                candidate.found,
                candidate.key,
                Path(self.batch.batch.quarantine).absolute(),
                inbox=self.batch.inbox,
                others=[one.found.path for one in self.listed],
            )

    def _attempt(self, candidate: Candidate) -> int:
        known = self.state.failures.get(candidate.key)
        return (known.number if known else 0) + 1

    def _work_folder(self, candidate: Candidate) -> Path:
        folder = self.batch.state / "work" / candidate.key[:24]
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _tidy(self, waiting: Sequence[Candidate]) -> None:
        """Remove what was begun for scenes that are gone, or have changed since."""
        known = {one.key[:24] for one in waiting}
        folder = self.batch.state / "work"
        for path in folder.iterdir() if folder.is_dir() else ():
            if path.name not in known:
                shutil.rmtree(path, ignore_errors=True)


def _gpus(batch: Batch) -> Gpus:
    """The GPUs of this machine that workers would use."""
    wanted = batch.model.device != "cpu" and batch.model.precision == "fp32"
    number = espcn.cuda_devices() if wanted and batch.cluster.cluster == "local" else 0
    return Gpus(number, espcn.cuda_room()) if number else Gpus()


def _untouched(batch: Batch, candidate: Candidate) -> SceneOutcome:
    """The outcome of a scene that this run does not make."""
    assert candidate.status is not None
    made = candidate.reason.partition("made before: ")[2]
    return SceneOutcome(
        scene=candidate.name,
        path=candidate.found.place(batch.inbox),
        status=candidate.status,
        key=candidate.key,
        family=candidate.found.family,
        reason="unreadable" if candidate.status == "failed" else None,
        message=candidate.reason,
        product=made or None,
    )


def _stands_for(batch: Batch, candidate: Candidate, opened: Opened) -> Left | None:
    """Why a scene is not made: a product of the same data is there that is newer, or as good."""
    scene = opened.scene
    if batch.batch.reprocessed != "replace" or not scene.dataset:
        return None
    for product, facts in products_of(batch.outbox):
        other, version = Path(str(facts.get("path"))), str(facts.get("version"))
        if facts.get("dataset") != scene.dataset or other == candidate.found.path:
            continue
        if version > scene.version:
            message = f"{product} is of a newer processing ({version})"
        elif version == scene.version and other.exists() and bands_in(facts) >= scene.band_count:
            message = f"{product} is of the same data ({other.name})"
        else:
            continue
        return Left(product, str(facts["key"]), message)
    return None
