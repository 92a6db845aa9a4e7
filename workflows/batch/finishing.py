"""Finishing a product on a worker: plans are kilobytes, so they wait in files and do not travel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.kernel import Upscaler
from pipeline.scenes.scene import Asset, Scene
from pipeline.staged_plan import write_plan
from pipeline.task import load_plan
from workflows.batch.options import CheckOptions
from workflows.batch.product import Finished, Made, MadeAsset, finish_product

PLANS = "plans"
"""Where plans wait in a scene's work folder."""


@dataclass(frozen=True, slots=True)
class Image:
    """What `MadeAsset` is, but for the plan."""

    asset: Asset
    """What it was made of."""
    plan: tuple[str, str]
    """Directory and digest of its plan."""
    target: Path
    """Where it lies."""


def put_down(work: Path, made: Iterable[MadeAsset]) -> tuple[Image, ...]:
    """Images whose plans are written below a scene's work folder; raises OSError."""
    images = []
    for one in made:
        place = work / PLANS / one.plan.digest
        place.mkdir(parents=True, exist_ok=True)
        write_plan(place, one.plan)
        images.append(Image(one.asset, (str(place), one.plan.digest), one.target))
    return tuple(images)


def told(scene: Scene) -> Scene:
    """A scene as tasks may know it: of an image of a patient without its paths."""
    if not scene.medical:
        return scene
    return replace(scene, path=Path(scene.id), assets=tuple(map(told_asset, scene.assets)))


def told_asset(asset: Asset) -> Asset:
    """The same of an asset, whose plan says all that its making takes."""
    return replace(asset, uri=asset.key)


def finish_on_worker(
    folder: Path,
    made: Made,
    images: tuple[Image, ...],
    limits: CheckOptions,
    upscalers: Mapping[str, Upscaler],
) -> Finished:
    """`finish_product` of what is made without its assets, and of those apart."""
    assets = tuple(MadeAsset(one.asset, load_plan(*one.plan), one.target) for one in images)
    return finish_product(folder, replace(made, assets=assets), limits, upscalers)
