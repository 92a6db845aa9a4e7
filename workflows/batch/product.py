"""What makes finished images a product: checks, pictures, checksums and, last, what it is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import DiskFullError, PipelineError, PublishError
from pipeline.kernel import Upscaler
from pipeline.plan import Plan
from pipeline.scenes.scene import Asset, Scene
from pipeline.stage import is_full, write_durably
from workflows.batch.checks import check_asset
from workflows.batch.medical import FACTS, facts_of, may_be_drawn
from workflows.batch.options import CheckOptions
from workflows.batch.outcome import Check
from workflows.batch.pictures import write_pictures
from workflows.batch.stac_assets import CHECKSUMS, FileFacts
from workflows.batch.stac_item import make_item
from workflows.batch.state import PRODUCT


@dataclass(frozen=True, slots=True)
class MadeAsset:
    """An image that was made of an asset."""

    asset: Asset
    """What it was made of."""
    plan: Plan
    """How it was made."""
    target: Path
    """The finished COG or Zarr, inside the product's folder."""


@dataclass(frozen=True, slots=True)
class Made:
    """A scene of which all images are made."""

    product: str
    """Name of the product and of its folder."""
    key: str
    """Hash of input, models and options."""
    options: str
    """Digest of models and options alone."""
    scene: Scene
    """What it was made of."""
    assets: tuple[MadeAsset, ...]
    """At least one."""
    made: str
    """When, ISO 8601 in UTC."""

    @property
    def item(self) -> str:
        """Name of the file that says what it is: a STAC item, or what stands in its place."""
        return FACTS if self.scene.medical else f"{self.product}.json"


@dataclass(frozen=True, slots=True)
class Finished:
    """A product that may land, unless a check failed."""

    checks: tuple[Check, ...]
    """All of them."""
    pictures: tuple[str, str] | None
    """Names of the pictures before and after within the folder; None for codes alone."""
    bytes: int
    """Of all files of the folder."""


def finish_product(
    folder: Path, made: Made, limits: CheckOptions, upscalers: Mapping[str, Upscaler]
) -> Finished:
    """Check the images in `folder` and write beside them all that a product has.

    Runs on a worker. `upscalers` are those that made them, by the key of their asset. Where a check
    fails there is no item and nothing else is written. May be called again. Raises PipelineError.
    """
    try:
        return _finish(folder, made, limits, upscalers)
    except PipelineError as error:
        # GDAL's exceptions cannot be pickled: with one of them this error would arrive as text
        error.__cause__ = error.__context__ = None
        raise
    except OSError as error:
        why = "the disk is full" if is_full(error) else f"cannot be finished ({error.strerror})"
        kind = DiskFullError if is_full(error) else PublishError
        raise kind(
            f"{why}; mend that and run again to go on", uri=error.filename or str(folder)
        ) from None


def _finish(
    folder: Path, made: Made, limits: CheckOptions, upscalers: Mapping[str, Upscaler]
) -> Finished:
    """The same; raises OSError too."""
    item = folder / made.item
    item.unlink(missing_ok=True)
    checks = tuple(
        check
        for one in made.assets
        for check in check_asset(one, limits, upscalers[one.asset.key], key=made.key)
    )
    if not all(check.passed for check in checks):
        return Finished(checks, None, 0)
    drawn = all(may_be_drawn(one) for one in made.assets)
    pictures = write_pictures(folder, made) if drawn else None
    files = hash_files(folder, leave_out=(item.name, CHECKSUMS, PRODUCT))
    text = facts_of(made, checks, files) if made.scene.medical else _item(made, checks, files)
    files[item.name] = FileFacts(len(text), hashlib.sha256(text).hexdigest())
    lines = "".join(f"{one.sha256}  {name}\n" for name, one in sorted(files.items())).encode()
    write_durably(folder / CHECKSUMS, lines)
    write_durably(item, text)
    return Finished(checks, pictures, len(lines) + sum(one.size for one in files.values()))


def _item(made: Made, checks: tuple[Check, ...], files: Mapping[str, FileFacts]) -> bytes:
    """The STAC item as text."""
    facts = make_item(made, checks, files).to_dict(False, transform_hrefs=False)
    return (json.dumps(facts, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def hash_files(folder: Path, *, leave_out: tuple[str, ...] = ()) -> dict[str, FileFacts]:
    """Size and sha256 of all files below a folder but hidden ones, by their paths within it."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if not path.is_file() or name.as_posix() in leave_out or name.parts[0].startswith("."):
            continue
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        found[name.as_posix()] = FileFacts(path.stat().st_size, sha256)
    return found
