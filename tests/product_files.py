"""Products for the tests: small scenes, upscaled for real, and what may go wrong with them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from fakes import texture, write_tif
from runs import make_job

from pipeline.kernel import Upscaler
from pipeline.options import SourceOptions
from pipeline.radiometry import Pixels
from pipeline.scenes.scene import Asset, BandFacts, Scene
from workflows.batch.options import CheckOptions
from workflows.batch.outcome import Check
from workflows.batch.product import Finished, Made, MadeAsset, finish_product
from workflows.job import ModelOptions
from workflows.upscale import upscale

BANDS = (
    BandFacts("B04", "red", 0.665, 0.038, scale=0.0001, offset=-0.1),
    BandFacts("B03", "green", 0.56, 0.045, scale=0.0001, offset=-0.1),
    BandFacts("B02", "blue", 0.493, 0.098, scale=0.0001, offset=-0.1),
    BandFacts("B08", "nir", 0.833, 0.145, scale=0.0001, offset=-0.1),
)
"""Of the light of `make_scene`."""
GAP = (slice(20, 50), slice(0, 60))
"""Where it has no data."""
MADE = "2026-11-26T02:00:00+00:00"


def landscape(bands: int = 4, height: int = 190, width: int = 170) -> Pixels:
    """Smooth fields of many sizes, a gap of zeros, a few saturated pixels."""
    pixels = texture((bands, height, width), seed=3).astype(np.float64)
    coarse = np.random.default_rng(4).random((bands, height // 24 + 2, width // 24 + 2))
    fields = coarse.repeat(24, 1).repeat(24, 2)[:, :height, :width]
    pixels = (300 + 0.5 * pixels + 3000 * fields).astype(np.uint16)
    pixels[:, *GAP] = 0
    pixels[:, 100:103, 100:103] = 65535
    return pixels


def make_scene(folder: Path) -> Scene:
    """A scene of four bands of light at 10 m and a classification at 20 m."""
    folder.mkdir()
    light = write_tif(
        folder / "light.tif", landscape(), nodata=0, tiled=True, blockxsize=128, blockysize=128
    )
    with rasterio.open(light, "r+") as dataset:
        for number, facts in enumerate(BANDS, start=1):
            dataset.set_band_description(number, facts.name)
    codes = np.random.default_rng(5).integers(0, 12, (1, 95, 85)).astype(np.uint8)
    at_20_m = rasterio.Affine(20, 0, 500_000, 0, -20, 4_000_000)
    scl = write_tif(folder / "scl.tif", codes, nodata=0, transform=at_20_m)
    return Scene(
        id="S2B_MSIL2A_20180101T105441_T33SVA",
        family="sentinel2",
        path=folder,
        assets=(
            Asset("r10m", str(light), bands=BANDS, resolution=10.0),
            Asset(
                "scl",
                str(scl),
                kind="classes",
                bands=(BandFacts("SCL"),),
                resolution=20.0,
                options=SourceOptions(categorical="nearest"),
            ),
        ),
        time=datetime(2018, 1, 1, 10, 54, 41, 24000, UTC),
        platform="sentinel-2b",
        instruments=("msi",),
        properties={
            "eo:cloud_cover": 12.5,
            "view:sun_azimuth": 170.1,
            "gsd": 10,
            "proj:epsg": 32633,
            "s2:processing_baseline": "02.06",
        },
        notes=("B01 is missing",),
    )


def one_asset_scene(path: Path, **changes: Any) -> Scene:
    """A file as a scene."""
    asset = Asset(path.stem, str(path), **changes)
    return Scene(id=path.stem, family="folder", path=path, assets=(asset,))


def make(
    scene: Scene,
    folder: Path,
    *,
    models: dict[str, ModelOptions] | None = None,
    suffix: str = ".tif",
) -> tuple[Made, dict[str, Upscaler]]:
    """Upscale all assets of a scene into `folder`, as a batch would."""
    folder.mkdir()
    product, assets, upscalers = f"{scene.id}_SR", [], dict[str, Upscaler]()
    for asset in scene.assets:
        model = (models or {}).get(asset.key, ModelOptions("general-x4"))
        target = folder / f"{product}_{asset.key}{suffix}"
        done = upscale(make_job(Path(asset.uri), target, input=asset.options, model=model))
        (_, plan), *_ = done.prepared.plans
        for beside in folder.glob("*.report.json"):
            beside.unlink()
        assets.append(MadeAsset(asset, plan, target))
        upscalers[asset.key] = done.prepared.upscaler
    made = Made(product, "f" * 64, "0" * 64, scene, tuple(assets), MADE)
    return made, upscalers


def copied(made: Made, folder: Path) -> Made:
    """The same images in another folder, for a test to spoil."""
    shutil.copytree(made.assets[0].target.parent, folder)
    moved = (replace(one, target=folder / one.target.name) for one in made.assets)
    return replace(made, assets=tuple(moved))


def finish(
    made: Made, upscalers: dict[str, Upscaler], limits: CheckOptions | None = None
) -> Finished:
    """Finish a product in the folder of its images."""
    folder = made.assets[0].target.parent
    return finish_product(folder, made, limits or CheckOptions(), upscalers)


def failed(checks: Sequence[Check], asset: str | None = None) -> set[str]:
    """Names of the checks that failed."""
    return {c.name for c in checks if not c.passed and asset in (None, c.asset)}


def spoil(path: Path, change: Callable[[Pixels], Pixels | None]) -> None:
    """Change the pixels of a COG in place."""
    with rasterio.open(path, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as dataset:
        pixels = dataset.read()
        changed = change(pixels)
        dataset.write(pixels if changed is None else changed)


def item_of(made: Made) -> dict[str, Any]:
    """The STAC item as it was written."""
    folder = made.assets[0].target.parent
    found: dict[str, Any] = json.loads((folder / f"{made.product}.json").read_text())
    return found
