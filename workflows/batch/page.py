"""The report of a run: one HTML page that needs nothing else, and the same facts as JSON.

The page is `page.html`, a Jinja template that escapes all that it is given; `page.css` and
`page.js` are put into it. Its Content-Security-Policy (https://www.w3.org/TR/CSP3/) names those
two by their hashes and allows nothing else: no network, and no script that came in a name.
"""

from __future__ import annotations

import base64
import hashlib
import json
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from pipeline.errors import PublishError, SourceError
from pipeline.serial import from_json, to_json
from pipeline.stage import replacing
from workflows.batch import page_words as words
from workflows.batch.outcome import RunSummary
from workflows.batch.page_facts import ORDER, find_troubles, judge, link, make_rows
from workflows.batch.page_pictures import make_cards

if TYPE_CHECKING:
    from jinja2 import Template

SHOWN = 10
"""Scenes of one trouble that are listed at once; the others unfold."""


def write_page(summary: RunSummary, outbox: Path) -> tuple[Path, Path]:
    """Write (HTML, JSON) of a run into the outbox's reports, each in one step.

    Raises PublishError.
    """
    reports = outbox / "reports"
    page, facts = reports / f"{summary.run}.html", reports / f"{summary.run}.json"
    try:
        reports.mkdir(parents=True, exist_ok=True)
        for path, text in ((facts, summary_json(summary)), (page, render(summary, outbox))):
            with replacing(path) as file:
                file.write(text.encode())
    except OSError as error:
        raise PublishError(f"cannot be written ({error.strerror})", uri=str(reports)) from error
    return page, facts


def summary_json(summary: RunSummary) -> str:
    """A run as text; in ASCII, for names of files need not be Unicode."""
    return json.dumps(to_json(summary), indent=1) + "\n"


def read_summary(path: Path) -> RunSummary:
    """The run that a JSON report tells of; raises SourceError."""
    try:
        return from_json(RunSummary, json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        message = f"is no report of a run that this version knows ({error!r})"
        raise SourceError(message, uri=str(path)) from error


def render(summary: RunSummary, outbox: Path) -> str:
    """The page as text."""
    rows = make_rows(summary, outbox)
    style, script = (_asset(f"page.{kind}") for kind in ("css", "js"))
    return _template().render(
        run=summary,
        verdict=judge(summary),
        counts={status: summary.counts[status] for status in ORDER},
        troubles=find_troubles(rows),
        cards=make_cards(rows, outbox),
        rows=rows,
        previous=previous_run(summary, outbox),
        shown=SHOWN,
        style=Markup(style),
        script=Markup(script),
        policy=_policy(style, script),
    )


def previous_run(summary: RunSummary, outbox: Path) -> RunSummary | None:
    """The run before, if its report is still there and can be read."""
    earlier = (path for path in (outbox / "reports").glob("*.json") if path.stem < summary.run)
    newest = max(earlier, default=None)
    if newest is None or not newest.with_suffix(".html").exists():
        return None
    try:
        return read_summary(newest)
    except SourceError:
        return None


def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True,
        finalize=words.plain,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "amount": words.amount,
        "breakable": words.breakable,
        "counted": words.counted,
        "day": words.day,
        "duration": words.duration,
        "figure": words.figure,
        "size": words.size,
    }
    environment.globals |= {"period": words.period, "link": link}
    return environment.from_string(_asset("page.html"))


def _asset(name: str) -> str:
    return files("workflows.batch").joinpath(name).read_text("utf-8")


def _policy(style: str, script: str) -> str:
    """What the page may load and run: its own pictures, style and script."""
    hashes = [
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for text in (style, script)
    ]
    return (
        "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; "
        f"style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'"
    )
