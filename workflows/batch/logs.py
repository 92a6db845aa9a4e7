"""Log lines of a run: for people on a terminal, as JSON for programs, without secrets in either.

    logger = logging.getLogger(__name__)
    with open_log(json_lines=True), about("3f2a91c07be4"):
        logger.info("published", extra={"facts": {"tiles": 144}})

    {"ts": "2026-11-26T02:00:00.123Z", "level": "info", "logger": "workflows.batch.run",
     "event": "published", "scene": "3f2a91c07be4", "tiles": 144}

A scene's correlation id is the beginning of its key.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TextIO, cast

from rich.console import Console
from rich.text import Text

from pipeline.serial import Json, to_json
from workflows.batch.redact import redact, redact_json
from workflows.console import open_console

CORRELATION = 12
"""Characters of a scene's key that its log lines name."""
OURS = ("workflows", "pipeline", "espcn")
"""Loggers that tell of a run; of others only warnings are shown."""
NOISY = ("distributed", "tornado", "asyncio", "bokeh")
"""Loggers of Dask and what it stands on: silent unless asked, for workers come and go."""
STYLES = {logging.WARNING: "yellow", logging.ERROR: "red", logging.CRITICAL: "bold red"}
"""Of levels, on a terminal."""
SEPARATORS = {number: f"\\u{number:04x}" for number in (0x85, 0x2028, 0x2029)}
"""What JSON may hold as it is, and some readers take for the end of a line."""

_scene: ContextVar[str] = ContextVar("scene", default="")


@contextmanager
def about(key: str) -> Iterator[None]:
    """What this thread logs in the block is about the scene with that key."""
    token = _scene.set(key[:CORRELATION])
    try:
        yield
    finally:
        _scene.reset(token)


@contextmanager
def open_log(
    *, json_lines: bool = False, debug: bool = False, stream: TextIO | None = None
) -> Iterator[None]:
    """Show what is logged on `stream` (stderr), a line each, until the block ends.

    `debug` shows all there is, Dask's own lines too. The lines that `logging.basicConfig` would
    print are not printed a second time.
    """
    root = logging.getLogger()
    level = logging.DEBUG if debug else logging.INFO
    before = (root.level, root.handlers)
    plain = [handler for handler in root.handlers if type(handler) is logging.StreamHandler]
    handler = _handler(json_lines=json_lines, stream=stream)
    handler.addFilter(lambda record: debug or _is_shown(record))
    root.handlers = [*(other for other in root.handlers if other not in plain), handler]
    root.setLevel(level)
    try:
        yield
    finally:
        root.setLevel(before[0])
        root.handlers = before[1]


@contextmanager
def forward_log(log: Callable[[int, str], None]) -> Iterator[None]:
    """Hand what our loggers say to a function of (level, line), and to no other handler."""
    handler = _Forward(log)
    loggers = [logging.getLogger(name) for name in OURS]
    before = [(logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
    try:
        yield
    finally:
        for logger, (level, propagate) in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate


def _is_shown(record: logging.LogRecord) -> bool:
    top = record.name.partition(".")[0]
    return top not in NOISY and record.levelno >= (logging.INFO if top in OURS else logging.WARNING)


def _handler(*, json_lines: bool, stream: TextIO | None) -> logging.Handler:
    if not json_lines:
        console = (
            open_console(stderr=True) if stream is None else Console(file=stream, highlight=False)
        )
        return _Terminal(console)
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_JsonLine())
    return handler


class _JsonLine(logging.Formatter):
    """A record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        facts = redact_json(to_json(getattr(record, "facts", {})))
        entry = {
            **cast("dict[str, Json]", facts),
            "ts": _time(record).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": redact(record.getMessage()),
        }
        if _scene.get():
            entry["scene"] = _scene.get()
        if record.exc_info:
            entry["trace"] = redact(self.formatException(record.exc_info))
        text = json.dumps(entry, ensure_ascii=False, default=str)
        return text.encode("utf-8", "replace").decode().translate(SEPARATORS)


class _Terminal(logging.Handler):
    """A record as a line for people, coloured on a terminal; a trace may follow."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Print it."""
        try:
            self._console.print(_line(record), soft_wrap=True)
            if record.exc_info:
                trace = logging.Formatter().formatException(record.exc_info)
                self._console.print(Text(redact(trace)), soft_wrap=True)
        except Exception:
            self.handleError(record)


class _Forward(logging.Handler):
    """A record as a call of a function."""

    def __init__(self, log: Callable[[int, str], None]) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Call it."""
        self._log(record.levelno, f"{_scene.get()} {_said(record)}".lstrip())


def _said(record: logging.LogRecord) -> str:
    """A record's message on one line, free of secrets and control characters."""
    line = " ".join(redact(record.getMessage()).split())
    return "".join(c if c.isprintable() else " " for c in line)


def _line(record: logging.LogRecord) -> Text:
    """'2026-11-26 02:00:03Z warning 3f2a91c07be4 what happened'."""
    loud = record.levelno >= logging.WARNING
    line = Text()
    line.append(f"{_time(record):%Y-%m-%d %H:%M:%S}Z ", style="dim")
    if loud:
        line.append(f"{record.levelname.lower()} ", style=STYLES.get(record.levelno, ""))
    if _scene.get():
        line.append(f"{_scene.get()} ", style="cyan")
    return line.append(_said(record))


def _time(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)
