"""Opening a scene, in a process of its own: a reader that crashes costs that scene only."""

from __future__ import annotations

import fnmatch
import os
import re
import signal
import time
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from pipeline.alone import process_of_its_own
from pipeline.errors import ConfigError, ResumeError
from pipeline.scenes import open_scene
from pipeline.scenes.found import Found
from pipeline.scenes.scene import Asset, Scene, SceneError
from workflows.batch.job import Batch
from workflows.fit import check_fit
from workflows.job import Job, ModelOptions
from workflows.prepare import Prepared, prepare

NEAREST = range(2, 9)
"""Scales by which codes can be enlarged."""
LONGEST = 1800.0
"""Seconds that a scene may take to be opened; a large archive is unpacked in a few minutes."""
SUFFIXES = {"cog": ".tif", "zarr": ".zarr"}
"""Of images, by format; those of DICOM are directories of DICOM files in place of COGs."""


@dataclass(frozen=True, slots=True)
class Part:
    """One asset of a scene, with everything decided."""

    asset: Asset
    """What it is."""
    prepared: Prepared
    """How it is made; one output."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A scene that can be made."""

    scene: Scene
    """What it is."""
    product: str
    """Name of its product."""
    parts: tuple[Part, ...]
    """Its assets."""


def open_and_prepare(batch: Batch, found: Found, key: str, work: Path, apart: str = "") -> Opened:
    """Headers to plans; images are put into `work`/product. Raises PipelineError."""
    folder = work / "product"
    folder.mkdir(parents=True, exist_ok=True)
    scene = open_scene(found, batch.scenes, work)
    product = product_name(batch, scene, key) + apart
    models = {asset.key: _model(batch, scene, asset) for asset in scene.assets}
    parts = []
    for asset in scene.assets:
        job = Job(
            source=asset.uri,
            outputs=(str(folder / f"{product}_{asset.key}{_suffix(batch, scene)}"),),
            overwrite=True,
            model=models[asset.key],
            input=asset.options,
            radiometry=batch.radiometry
            if asset.saturated is None
            else replace(batch.radiometry, saturated=asset.saturated),
            tiling=batch.tiling,
            output=batch.output,
            cluster=batch.cluster,
        )
        prepared = prepare(job)
        check_fit(prepared)
        parts.append(Part(asset, prepared))
    return Opened(scene, product, tuple(parts))


def _suffix(batch: Batch, scene: Scene) -> str:
    """How the names of a scene's images end."""
    return "" if scene.medical and batch.batch.format == "cog" else SUFFIXES[batch.batch.format]


def product_name(batch: Batch, scene: Scene, key: str) -> str:
    """The name of a scene's product, by the template; raises ConfigError."""
    facts = {
        "scene": scene.id,
        "family": scene.family,
        "platform": scene.platform or "unknown",
        "key": key[:12],
        "date": f"{scene.time:%Y%m%d}" if scene.time else "undated",
    }
    try:
        name = batch.batch.product.format_map(facts)
    except (KeyError, ValueError, IndexError, AttributeError) as error:
        raise ConfigError(
            f"batch.product = {batch.batch.product!r}: {error} is none of "
            f"{', '.join('{' + one + '}' for one in facts)}"
        ) from error
    # names of directories of DICOM end without a suffix
    return re.sub(r"[^\w+-]" if scene.medical else r"[^\w.+-]", "_", name).lstrip(".") or "scene"


def _model(batch: Batch, scene: Scene, asset: Asset) -> ModelOptions:
    """The network of an asset, by the first rule that fits it."""
    if asset.kind == "classes":
        return replace(
            batch.model, name="nearest", scale=_scale_of_codes(batch, scene, asset), consistency=0
        )
    return replace(batch.model, name=_ruled(batch, scene, asset))


def _ruled(batch: Batch, scene: Scene, asset: Asset) -> str:
    what = f"{scene.family}/{asset.key}"
    for pattern, model in batch.models.rules.items():
        if fnmatch.fnmatchcase(what, pattern):
            return model
    raise SceneError(
        f"no rule of models.rules fits {what}; add the rule '*': general-x2",
        uri=str(scene.path),
        reason="unsupported",
    )


def _scale_of_codes(batch: Batch, scene: Scene, asset: Asset) -> int:
    """To the finest grid that is made, if codes can be enlarged so far; else as the bands beside
    them."""
    import espcn

    scales = {
        one.key: espcn.describe(_ruled(batch, scene, one)).scale
        for one in scene.assets
        if one.kind != "classes"
    }
    beside = [one for one in scene.assets if one.key in scales]
    grids = [one.resolution / scales[one.key] for one in beside if one.resolution]
    if asset.resolution and grids:
        ratio = asset.resolution / min(grids)
        if abs(ratio - round(ratio)) < 1e-6 and round(ratio) in NEAREST:
            return round(ratio)
    same = [scales[one.key] for one in beside if one.resolution == asset.resolution]
    return same[0] if same else max(scales.values(), default=2)


class Doorman:
    """Opens scenes one after the other, in a process that may crash and is then started anew."""

    def __init__(self) -> None:
        self._process: ProcessPoolExecutor | None = None
        self._pid = 0
        self._since: float | None = None
        """When the scene that is being opened was begun."""
        self._waiting = 0

    def open(
        self, batch: Batch, found: Found, key: str, work: Path, apart: str = ""
    ) -> Future[Opened]:
        """What `open_and_prepare` returns or raises, later; SceneError if it ends its process."""
        task = partial(open_and_prepare, batch, found, key, work, apart)
        try:
            opening = self._started().submit(task)
        except BrokenProcessPool:  # it crashed over the scene before
            self.close()
            opening = self._started().submit(task)
        self._since = self._since or time.monotonic()
        opening.add_done_callback(self._note)
        self._waiting += 1
        return opening

    def _started(self) -> ProcessPoolExecutor:
        """The process; raises ResumeError if there can be none."""
        if self._process is None:
            self._process, self._waiting, self._since = process_of_its_own(), 0, None
            try:
                self._pid = self._process.submit(os.getpid).result()
            except BrokenProcessPool as error:
                self._process = None
                raise ResumeError(
                    "no process can be started to open scenes in; run espcn from a file or by its "
                    "command, not from standard input"
                ) from error
        return self._process

    def _note(self, _: Future[Opened]) -> None:
        """One is open: the clock of the next one begins."""
        self._waiting -= 1
        self._since = time.monotonic() if self._waiting else None

    def hurry(self) -> None:
        """End the process if a scene takes for ever: its opening fails, and another is started."""
        if self._since is not None and time.monotonic() - self._since > LONGEST:
            self._since = None
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)

    def result(self, opening: Future[Opened], found: Found) -> Opened:
        """The opened scene; raises PipelineError."""
        try:
            return opening.result()
        except BrokenProcessPool as error:
            self.close()
            raise SceneError(
                "crashes the reader that opens it, or keeps it for longer than "
                f"{LONGEST / 60:.0f} min",
                uri=found.shown,
                reason="crash",
            ) from error

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)  # whatever it is at, it changes nothing of ours
            self._process.shutdown(wait=True, cancel_futures=True)
            self._process = None
