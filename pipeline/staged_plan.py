"""The plan of a stage as a file: what workers read, and by what a later run knows it again.

    plan.json      the plan; of an image of a patient without its paths, which may tell of whom
    source.json    these paths, for the owner alone: there as long as a run works here, no longer

A run that is killed outright leaves both; the next run over the same output takes them away.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

from pipeline.journal import Journal, create_journal, open_journal
from pipeline.plan import Plan
from pipeline.serial import from_json, to_json
from pipeline.stage import SOURCE, clear, replacing, write_durably

PLAN = "plan.json"
"""What is being made."""


def begin(stage: Path, plan: Plan) -> tuple[Journal, bool]:
    """(journal, resumed): go on where the same plan stopped, or start afresh.

    What another plan left is discarded. The caller holds the lock.
    """
    journal = open_journal(stage / "journal.jsonl")
    if journal is not None and journal.plan == plan.digest:
        _write_source(stage, plan)
        return journal, True
    clear(stage)
    write_plan(stage, plan)
    return create_journal(stage / "journal.jsonl", plan.digest), False


def is_of(stage: Path, plan: Plan) -> bool:
    """Whether a plan began this stage; looks only, needs no lock."""
    try:
        with (stage / "journal.jsonl").open("rb") as file:
            return bool(json.loads(file.readline())["plan"] == plan.digest)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def write_plan(folder: Path, plan: Plan) -> None:
    """Make a plan durable; raises OSError."""
    _write_source(folder, plan)
    text = json.dumps(to_json(_veiled(plan)), indent=1)
    write_durably(folder / PLAN, text.encode())


def read_plan(folder: Path) -> Plan:
    """The plan as it was written, or without its paths where they are gone.

    Raises OSError, ValueError, KeyError and TypeError.
    """
    plan = from_json(Plan, json.loads((folder / PLAN).read_text()))
    try:
        said = json.loads((folder / SOURCE).read_text())
    except FileNotFoundError:
        return plan
    address = replace(plan.source, uri=str(said["address"]))
    files = tuple(str(path) for path in said["files"])
    return replace(
        plan, source=address, profile=replace(plan.profile, uri=str(said["uri"]), files=files)
    )


def _write_source(folder: Path, plan: Plan) -> None:
    """Write down where an image of a patient lies, for the owner's eyes only."""
    profile = plan.profile
    if not profile.medical:
        return
    said = {"address": plan.source.uri, "uri": profile.uri, "files": profile.files}
    with replacing(folder / SOURCE) as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(json.dumps(said).encode())


def _veiled(plan: Plan) -> Plan:
    """Without the paths of an image of a patient."""
    profile = plan.profile
    if not profile.medical:
        return plan
    return replace(
        plan,
        source=replace(plan.source, uri=profile.label),
        profile=replace(profile, uri=profile.label, files=()),
    )
