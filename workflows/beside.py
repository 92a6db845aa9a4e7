"""What a finished job leaves beside its outputs: a report and, if asked for, a preview."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pipeline.errors import PipelineError
from workflows.events import Outcome
from workflows.preview import write_preview
from workflows.report import Report, make_report, write_report


def write_beside(outcome: Outcome) -> tuple[Report, tuple[Path, ...]]:
    """(report, paths written) as the job's report options ask for.

    The outputs are in place: what cannot be written beside them is a warning of the report.
    """
    options, report = outcome.prepared.job.report, make_report(outcome)
    written: list[Path] = []
    for target, plan in outcome.prepared.plans:
        try:
            if options.preview:
                written.append(write_preview(plan, target))
            if options.report:
                written.append(write_report(report, target))
        except PipelineError as error:
            report = replace(report, warnings=(*report.warnings, str(error)))
    return report, tuple(written)
