"""What was decided and what happened, as one JSON file beside each output."""

from __future__ import annotations

import json
import platform
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import PublishError
from pipeline.plan import Plan
from pipeline.serial import to_json
from pipeline.stage import replacing
from pipeline.statistics import add_up
from workflows.facts import Facts, make_facts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.journal import Receipt
    from workflows.events import Outcome

PACKAGES = ("espcn", "numpy", "rasterio", "dask", "distributed", "zarr", "onnxruntime", "torch")
"""Software whose versions a report names."""


@dataclass(frozen=True, slots=True)
class BandStatistics:
    """Statistics of the valid output pixels of one band; None where there are none."""

    band: int
    """1-based number in the source."""
    valid_percent: float
    """Share of valid pixels."""
    minimum: float | None
    """Smallest value."""
    maximum: float | None
    """Largest value."""
    mean: float | None
    """Arithmetic mean."""
    deviation: float | None
    """Population standard deviation."""


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds; all but the first three are summed over tiles."""

    total: float
    """Wall time of the job."""
    tiles: float
    """Wall time of all tiles."""
    publish: float
    """Wall time of putting the outputs together."""
    read: float
    """Reading and decoding the source."""
    infer: float
    """Filling, network, restoring."""
    write: float
    """Overviews, encoding, writing."""
    cpu: float
    """Of which the threads computed; the rest they waited."""


@dataclass(frozen=True, slots=True)
class Report:
    """What happened."""

    facts: Facts
    """What was decided."""
    sizes: tuple[int, ...]
    """Bytes of each output."""
    statistics: tuple[BandStatistics, ...]
    """Of each band; empty if switched off."""
    clipped: int
    """Values that did not fit the data type, or narrower limits."""
    resumed: int
    """Tiles that an earlier run had left."""
    timings: Timings
    """Where the time went."""
    megapixels_per_second: float
    """Output pixels x bands made in this run, in millions, per second of `timings.tiles`."""
    versions: dict[str, str]
    """Of the software."""
    warnings: tuple[str, ...]
    """What a user should know."""


def make_report(outcome: Outcome) -> Report:
    """The report of a finished job."""
    facts = make_facts(outcome.prepared, outcome.shape)
    plan, receipts = outcome.prepared.plans[0][1], outcome.receipts
    clipped = sum(receipt.clipped for receipt in receipts)
    read, infer, write = (sum(r.seconds[i] for r in receipts) for i in range(3))
    return Report(
        facts=facts,
        sizes=tuple(size_on_disk(path) for path, _ in outcome.prepared.plans),
        statistics=_statistics(plan, receipts),
        clipped=clipped,
        resumed=outcome.resumed,
        timings=Timings(
            outcome.seconds,
            outcome.tile_seconds,
            outcome.publish_seconds,
            read,
            infer,
            write,
            sum(r.cpu for r in receipts),
        ),
        megapixels_per_second=_throughput(outcome),
        versions={"python": platform.python_version()} | versions_of(),
        warnings=(*facts.warnings, *_warnings(plan, clipped)),
    )


def write_report(report: Report, target: Path) -> Path:
    """Write the report beside an output, in one step; raises PublishError."""
    path = report_path(target)
    try:
        with replacing(path) as file:
            file.write(report_json(report).encode())
    except OSError as error:
        raise PublishError(f"cannot be written ({error.strerror})", uri=str(path)) from error
    return path


def report_path(target: Path) -> Path:
    """Where the report of an output lies."""
    return target.with_name(f"{target.name}.report.json")


def report_json(value: Report | Facts) -> str:
    """Facts or a report as text."""
    return json.dumps(to_json(value), indent=2, ensure_ascii=False) + "\n"


def size_on_disk(path: Path) -> int:
    """Bytes of a file or of all files of a directory, which others may be changing."""
    total = 0
    for file in (path, *path.rglob("*")):
        with suppress(FileNotFoundError):
            total += file.stat().st_size if file.is_file() else 0
    return total


def _statistics(plan: Plan, receipts: Sequence[Receipt]) -> tuple[BandStatistics, ...]:
    """Exact statistics from the parts that the tiles measured."""
    if not all(receipt.statistics for receipt in receipts):
        return ()
    found = []
    for i, band in enumerate(plan.profile.bands):
        all_of_it = add_up(receipt.statistics[i] for receipt in receipts)
        share = 100 * all_of_it.count / max(all_of_it.total, 1)
        values = (
            (all_of_it.minimum, all_of_it.maximum, all_of_it.mean, all_of_it.deviation)
            if all_of_it.count
            else (None,) * 4
        )
        found.append(BandStatistics(band.number, round(share, 3), *values))
    return tuple(found)


def _warnings(plan: Plan, clipped: int) -> tuple[str, ...]:
    if not clipped:
        return ()
    limits = plan.profile.limits
    kind = f"{limits[0]} to {limits[1]}" if limits else plan.profile.dtype
    return (f"{clipped} values did not fit {kind} and were clipped to its range",)


def _throughput(outcome: Outcome) -> float:
    """Mpx/s of the tiles made in this run."""
    return round(outcome.megapixels / outcome.tile_seconds, 3) if outcome.tile_seconds else 0.0


def versions_of() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
