"""A run in figures, as a Prometheus text file for node-exporter's textfile collector.

    espcn_scenes{inbox="/data/inbox",status="done"} 12

The file stands for the last run; alert on the age of `espcn_last_success_timestamp_seconds`, which
outlives runs that fail. https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from pipeline.errors import PublishError
from pipeline.stage import replacing
from workflows.batch.outcome import RunSummary

LAST_SUCCESS = "espcn_last_success_timestamp_seconds"
"""The one figure that is carried over from the file before."""
ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
"""What a label's value may not hold as it is."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A gauge with its samples."""

    name: str
    """With the unit at its end, as Prometheus has it."""
    help: str
    """One line."""
    samples: Mapping[str, float] = field(default_factory=dict)
    """Values by label value; '' where the label is not used."""
    label: str = ""
    """Name of the label."""


def write_metrics(path: Path, summary: RunSummary) -> None:
    """Write the figures of a run, in one step; raises PublishError.

    Readable by everyone, since the exporter runs as somebody else.
    """
    before = _last_success(path, summary.inbox)
    text = "".join(_lines(_metrics(summary, before), summary.inbox))
    try:
        with replacing(path) as file:
            file.write(text.encode("utf-8", "replace"))
            os.fchmod(file.fileno(), 0o644)
    except OSError as error:
        raise PublishError(
            f"metrics cannot be written ({error.strerror}); see schedule.metrics_file",
            uri=str(path),
        ) from error


def went_wrong(summary: RunSummary) -> bool:
    """Whether a scene failed in this run, or the run did: by being stopped, or for its lists.

    Scenes that were quarantined by an earlier run are not tried, and no news.
    """
    failed = summary.interrupted or bool(summary.problems)
    return failed or any(one.went_wrong for one in summary.scenes)


def _metrics(summary: RunSummary, before: float | None) -> list[Metric]:
    scenes, ended = summary.scenes, datetime.fromisoformat(summary.ended).timestamp()
    failed = [one for one in scenes if one.status in ("failed", "quarantined")]
    statuses = {str(status): float(number) for status, number in summary.counts.items()}
    reasons = Counter(str(one.reason or one.status) for one in failed)
    checks = sum(not check.passed for one in scenes for check in one.checks)
    success = before if went_wrong(summary) else ended
    return [
        Metric("espcn_scenes", "Scenes by what became of them.", statuses, "status"),
        Metric("espcn_failures", "Scenes that failed, by reason.", reasons, "reason"),
        Metric("espcn_failed_checks", "Checks that products did not pass.", {"": checks}),
        Metric("espcn_tiles", "Tiles made.", {"": sum(one.tiles for one in scenes)}),
        Metric("espcn_megapixels", "Output pixels x bands made.", {"": summary.megapixels}),
        Metric("espcn_products_bytes", "Size of the products made.", {"": summary.bytes}),
        Metric("espcn_run_seconds", "Wall time.", {"": summary.seconds}),
        Metric("espcn_run_interrupted", "1 if it was stopped.", {"": float(summary.interrupted)}),
        Metric("espcn_last_run_timestamp_seconds", "When the last run ended.", {"": ended}),
        Metric(
            LAST_SUCCESS,
            "When the last run ended that was whole and in which nothing failed.",
            {} if success is None else {"": success},
        ),
    ]


def _lines(metrics: list[Metric], inbox: str) -> Iterator[str]:
    """The text format. A metric without samples is left out whole."""
    for metric in metrics:
        if metric.samples:
            yield f"# HELP {metric.name} {metric.help}\n# TYPE {metric.name} gauge\n"
        for value, number in metric.samples.items():
            yield f"{metric.name}{_labels(inbox, metric.label, value)} {number!r}\n"


def _labels(inbox: str, label: str = "", value: str = "") -> str:
    """The inbox tells apart the files of several nightly runs on one machine."""
    more = f',{label}="{value.translate(ESCAPES)}"' if label else ""
    return f'{{inbox="{inbox.translate(ESCAPES)}"{more}}}'


def _last_success(path: Path, inbox: str) -> float | None:
    """When the last success was, by the file that a run before has left."""
    start = re.escape(f"{LAST_SUCCESS}{_labels(inbox)} ")
    try:
        text = path.read_bytes().decode("utf-8", "replace")
    except OSError:
        return None
    found = re.search(rf"^{start}(\d+(?:\.\d+)?)$", text, re.MULTILINE)
    return float(found[1]) if found else None
