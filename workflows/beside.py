"""What a finished job leaves beside its outputs: a report and, if asked for, a preview."""

from __future__ import annotations

from pathlib import Path

from workflows.events import Outcome
from workflows.preview import write_preview
from workflows.report import Report, make_report, write_report


def write_beside(outcome: Outcome) -> tuple[Report, tuple[Path, ...]]:
    """(report, paths written) as the job's report options ask for. Raises PipelineError."""
    options, plans = outcome.prepared.job.report, outcome.prepared.plans
    report, written = make_report(outcome), []
    if options.preview:
        written += [write_preview(plan, target) for target, plan in plans]
    if options.report:
        written += [write_report(report, target) for target, _ in plans]
    return report, tuple(written)
