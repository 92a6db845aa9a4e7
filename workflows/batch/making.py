"""A scene on its way from tiles to a product in the outbox.

    tiles of every asset -> each published on a worker -> finished on a worker: pictures, checks,
    checksums, STAC item -> landed by one rename

Whatever ends it early, the next run goes on: tiles are staged, published images are marked, and
what was finished lands first.
"""

from __future__ import annotations

import json
import shutil
import time
import uuid
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from pipeline.errors import (
    ChangedError,
    CrashError,
    DamagedStageError,
    DiskFullError,
    NoRoomError,
    PipelineError,
    PublishError,
)
from pipeline.journal import Receipt
from pipeline.publishing import publish_on_worker
from pipeline.scenes.scene import Asset, Reason, SceneError
from pipeline.stage import discard, is_full, replacing, stage_of, sync_directory
from pipeline.task import Target
from pipeline.work import Errand, Work
from workflows.batch.candidates import Candidate
from workflows.batch.finishing import PLANS, finish_on_worker, put_down, told, told_asset
from workflows.batch.job import Batch
from workflows.batch.keys import recipe_of
from workflows.batch.opening import Opened, Part
from workflows.batch.outcome import Check, SceneOutcome, Status
from workflows.batch.product import Finished, Made, MadeAsset
from workflows.batch.state import PRODUCT, State, key_in, products_of, sizes_of
from workflows.staging import mend, opened

REPLACED = "replaced"
"""Where in the state products wait that are being replaced."""
RESERVED = ("reports", "collections", "catalog.json")
"""Names in the outbox that no product may have."""
MARK = "published.json"
"""Which images of a scene's work folder are published: file name to digest of the plan."""


@dataclass(slots=True, eq=False)
class SceneRun:
    """A scene that is being made."""

    batch: Batch
    candidate: Candidate
    opening: Opened
    work: Path
    """Its work folder."""
    tell: Callable[[SceneRun, Receipt | None], None]
    """Told of every tile, and with None when it has landed or failed."""
    queue: Callable[[Work], None]
    """Takes works that are to be done again."""
    stack: ExitStack = field(default_factory=ExitStack)
    """Locks of stages."""
    started: float = field(default_factory=time.monotonic)
    tiles: int = 0
    megapixels: float = 0.0
    left: int = 0
    """Assets that are not published yet."""
    damaged: dict[tuple[str, int | None], int] = field(default_factory=dict)
    finished: Finished | None = None
    error: Exception | None = None
    """Why it failed."""
    landed: bool = False
    refused: bool = False
    """Whether checks failed: what was made is of no use then."""

    @property
    def folder(self) -> Path:
        """The product as it will land."""
        return self.work / "product"

    def works(self) -> list[Work]:
        """What is to be made; may be empty where everything was published before."""
        published = _published(self.work)
        found = []
        for part in self.opening.parts:
            path, plan = part.prepared.plans[0]
            if published.get(path.name) == plan.digest and path.exists():
                discard(stage_of(path))  # a kill may have left it
                continue
            target = self.stack.enter_context(opened(path, plan))
            found.append(Work((target,), part.prepared.upscaler, _AssetRun(self, part, target)))
        self.left = len(found)
        return found

    def is_published(self) -> Iterable[Errand]:
        """All images are in place: what makes them a product is next."""
        if self.left or self.error is not None:
            return
        self._sweep()
        made = Made(
            product=self.opening.product,
            key=self.candidate.key,
            options=recipe_of(self.batch),
            scene=told(self.opening.scene),
            assets=(),
            made=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        try:
            images = put_down(
                self.work,
                (
                    MadeAsset(self._told(part), plan, path)
                    for part in self.opening.parts
                    for path, plan in part.prepared.plans
                ),
            )
        except OSError as error:
            self.fail(_cannot(error, "be finished", self.work))
            return
        upscalers = {part.asset.key: part.prepared.upscaler for part in self.opening.parts}
        yield Errand(
            f"finish-{self.candidate.key[:16]}",
            finish_on_worker,
            (self.folder, made, images, self.batch.checks, upscalers),
            self._finish,
            self.fail,
        )

    def _told(self, part: Part) -> Asset:
        """What tasks may know of an asset."""
        return told_asset(part.asset) if self.opening.scene.medical else part.asset

    @property
    def _images(self) -> set[str]:
        """Names of its images."""
        return {path.name for part in self.opening.parts for path, _ in part.prepared.plans}

    def _sweep(self) -> None:
        """Remove what does not belong to the product: an earlier run may have left it."""
        images = self._images
        for path in self.folder.iterdir():
            if path.name in images:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    def _finish(self, result: object) -> Iterable[Errand]:
        assert isinstance(result, Finished)
        self.finished = result
        wrong = [check for check in result.checks if not check.passed]
        if wrong:
            self.refused = True
            return self.fail(_refused(wrong))
        try:
            self._land()
        except PublishError as error:
            return self.fail(error)
        except OSError as error:
            return self.fail(_cannot(error, "land", self.batch.outbox))
        self.landed = True
        self._end()
        return ()

    def _land(self) -> None:
        """Put the product in place by one rename; what was there goes."""
        scene, outbox = self.opening.scene, self.batch.outbox
        facts = {
            "key": self.candidate.key,
            "scene": scene.id,
            "path": self.candidate.found.shown,
            "dataset": scene.dataset,
            "version": scene.version,
            "bands": scene.band_count,
            "images": sizes_of(self.folder, self._images),
        }
        with replacing(self.folder / PRODUCT) as file:
            file.write(json.dumps(facts, indent=1).encode())
        target, aside = outbox / self.opening.product, self.batch.state / REPLACED
        self._check_name(target)
        if target.exists():
            aside.mkdir(exist_ok=True)
            shutil.rmtree(aside / target.name, ignore_errors=True)
            target.rename(aside / target.name)  # put back by `restore` if a kill comes now
        self.folder.rename(target)
        sync_directory(outbox)
        for product, known in products_of(outbox) if self._replaces else ():
            if product != target.name and known.get("dataset") == scene.dataset:
                aside.mkdir(exist_ok=True)
                (outbox / product).rename(aside / f".{uuid.uuid4().hex}")
        shutil.rmtree(aside, ignore_errors=True)

    def _check_name(self, target: Path) -> None:
        """Raise PublishError if the name is that of another scene's product, or of other things."""
        if target.name.casefold() in RESERVED or (target.exists() and key_in(target) is None):
            raise PublishError(
                f"{target.name} is the name of something else in the outbox; choose another "
                "batch.product"
            )
        for product, known in products_of(target.parent, target.name):
            other, dataset = Path(str(known.get("path"))), known.get("dataset")
            # of what is called by a label nobody knows whether it is still there
            gone = other.is_absolute() and not other.exists()
            same = str(other) == self.candidate.found.shown or gone
            if not same and not (dataset and dataset == self.opening.scene.dataset):
                raise PublishError(
                    f"the product of {other.name} is called {product} too; put {{scene}} or "
                    "{key} into batch.product"
                )

    @property
    def _replaces(self) -> bool:
        """Whether it stands for all other processings of its data."""
        return self.batch.batch.reprocessed == "replace" and bool(self.opening.scene.dataset)

    def fail(self, error: Exception) -> Iterable[Errand]:
        """Give it up."""
        if self.error is None:
            self.error = error
            self._end()
        return ()

    def _end(self) -> None:
        self.stack.close()
        of_use = not (self.landed or self.refused) and reason_of(self.error) in ("failed", "crash")
        # plans for the finish say where images of patients lie, and are written again
        shutil.rmtree(self.work / PLANS if of_use else self.work, ignore_errors=True)
        self.tell(self, None)

    def outcome(self, attempts: int) -> SceneOutcome:
        """What became of it."""
        status: Status = "done" if self.landed else "failed"
        parts, product = self.opening.parts, self.opening.product
        cards = [part.prepared.upscaler.card for part in parts]
        finished = self.finished
        pictures = finished.pictures if finished and self.landed else None
        return SceneOutcome(
            scene=self.opening.scene.id,
            path=self.candidate.found.place(self.batch.inbox),
            status=status,
            key=self.candidate.key,
            family=self.candidate.found.family,
            reason=None if self.landed else reason_of(self.error),
            message="" if self.error is None else self.candidate.found.hide(str(self.error)),
            attempts=0 if is_no_fault(self.error) else attempts,
            product=product if self.landed else None,
            model=", ".join(dict.fromkeys(card.name for card in cards)),
            scale=", ".join(dict.fromkeys(str(card.scale) for card in cards)),
            tiles=self.tiles,
            megapixels=self.megapixels,
            bytes=finished.bytes if finished and self.landed else 0,
            seconds=time.monotonic() - self.started,
            checks=finished.checks if finished else (),
            notes=self.opening.scene.notes,
            pictures=None if pictures is None else _beside(product, pictures),
        )


@dataclass(frozen=True, slots=True, eq=False)
class _AssetRun:
    """One image of a scene, while its tiles are made and put together."""

    run: SceneRun
    part: Part
    target: Target

    def on_tile(self, receipt: Receipt) -> None:
        """Count it."""
        write = self.target.plan.tiling.tile(receipt.tile).write
        bands = len(self.target.plan.profile.bands)
        self.run.tiles += 1
        self.run.megapixels += write.height * write.width * bands / 1e6
        self.run.tell(self.run, receipt)

    def on_end(self, error: PipelineError | None) -> Iterable[Errand]:
        """Publish on a worker."""
        if error is not None:
            return self.run.fail(error)
        if self.run.error is not None:
            return ()
        plan, stage = self.target.plan, self.target.stage
        key = f"publish-{plan.digest[:16]}-{len(self.run.damaged)}"
        arguments = (str(stage), plan.digest, str(self.target.path))
        return [Errand(key, publish_on_worker, arguments, self._then, self._failed)]

    def _then(self, _: object) -> Iterable[Errand]:
        if self.run.error is not None:
            return ()
        _mark(self.run.work, self.target)
        discard(self.target.stage)
        self.run.left -= 1
        return self.run.is_published()

    def _failed(self, error: Exception) -> Iterable[Errand]:
        """What is damaged is made again."""
        if not isinstance(error, DamagedStageError) or self.run.error is not None:
            return self.run.fail(error)
        place = self.target.path.name, error.tile
        self.run.damaged[place] = self.run.damaged.get(place, 0) + 1
        try:
            mend(self.target, error, times=self.run.damaged[place])
        except PipelineError as beyond:
            return self.run.fail(beyond)
        self.run.queue(Work((self.target,), self.part.prepared.upscaler, self))
        return ()


def reason_of(error: BaseException | None) -> Reason:
    """One word for programs."""
    if isinstance(error, SceneError):
        return error.reason
    if isinstance(error, ChangedError):
        return "changed"
    if isinstance(error, CrashError):
        return "crash"
    if is_no_fault(error):
        return "failed"
    if isinstance(error, PipelineError) and error.exit_code == SceneError.exit_code:
        return "unreadable"
    return "failed"


def is_no_fault(error: BaseException | None) -> bool:
    """Whether disk or memory are too small: no attempt is counted, for the scene is as it was."""
    full = isinstance(error, OSError) and is_full(error)
    return full or isinstance(error, (DiskFullError, NoRoomError))


def restore(batch: Batch) -> None:
    """Put back what a killed run was about to replace; remove what it had replaced."""
    aside = batch.state / REPLACED
    for path in aside.iterdir() if aside.is_dir() else ():
        there = batch.outbox / path.name
        if not path.name.startswith(".") and not there.exists():
            path.rename(there)
    shutil.rmtree(aside, ignore_errors=True)


def remember(state: State, outcome: SceneOutcome) -> None:
    """Write down what became of a scene."""
    if outcome.status == "done":
        state.add("done", outcome.key, scene=outcome.scene, product=outcome.product)
    elif outcome.key and outcome.attempts:
        facts = {"reason": outcome.reason, "message": outcome.message}
        state.add("failed", outcome.key, scene=outcome.scene, **facts)


def _published(work: Path) -> dict[str, str]:
    with suppress(OSError, ValueError):
        found = json.loads((work / MARK).read_text())
        if isinstance(found, dict):
            return {str(name): str(digest) for name, digest in found.items()}
    return {}


def _mark(work: Path, target: Target) -> None:
    """Note durably that an image is published, before its stage goes."""
    found = _published(work) | {target.path.name: target.plan.digest}
    with replacing(work / MARK) as file:
        file.write(json.dumps(found).encode())


def _cannot(error: OSError, what: str, place: Path) -> PublishError:
    """That a product cannot be finished, or land."""
    kind = DiskFullError if is_full(error) else PublishError
    return kind(f"cannot {what} ({error.strerror})", uri=str(place))


def _refused(wrong: list[Check]) -> PublishError:
    said = [
        f"{check.name} of {check.asset or 'the product'}"
        + (f" is {check.value:.4g}, the limit {check.limit:.4g}" if check.value is not None else "")
        + (f" ({check.note})" if check.note else "")
        for check in wrong
    ]
    return PublishError(f"is not published, for checks failed: {'; '.join(said)}")


def _beside(product: str, pictures: tuple[str, str]) -> tuple[str, str]:
    before, after = (f"{product}/{Path(name).name}" for name in pictures)
    return before, after
