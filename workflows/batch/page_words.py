"""Numbers, times and names as the run report shows them."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime

from markupsafe import Markup

NOTHING = "–"
"""Where there is no figure."""


def plain(value: object) -> object:
    """A value that shows what it holds: no control, direction or undecodable characters in text."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return "".join(map(_shown, value))
    return value


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    return " " if character.isspace() else "\N{REPLACEMENT CHARACTER}"


def breakable(name: str) -> Markup:
    """A long name, escaped, that may be broken after the marks that divide it."""
    return Markup("<wbr>").join(re.split(r"(?<=[_/])", str(plain(name))))


def counted(number: int, noun: str) -> str:
    """'1 scene', '1,200 scenes'."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def amount(value: float) -> str:
    """Three digits of small numbers, all whole ones of great numbers: '12.3', '12,345'."""
    if not value or not math.isfinite(value):
        return NOTHING
    return f"{value:,.0f}" if abs(value) >= 99.95 else f"{value:#.3g}"


def figure(value: float | None) -> str:
    """What was measured: '0.9987', '1.2e-07'."""
    return NOTHING if value is None else f"{value:.4g}"


def size(count: int) -> str:
    """Bytes as disks and bills count them: '12.3 MB'."""
    if not count:
        return NOTHING
    if count < 1000:
        return f"{count} B"
    power = min(int(math.log10(count) // 3), 4)
    return f"{amount(count / 1000**power)} {('kB', 'MB', 'GB', 'TB')[power - 1]}"


def duration(seconds: float) -> str:
    """Two units at most: '3.2 s', '4 min 5 s', '26 h 12 min'."""
    if not seconds > 0 or not math.isfinite(seconds):
        return NOTHING
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, left = divmod(minutes, 60)
    return f"{hours} h {left} min" if hours else f"{minutes} min {rest} s"


def moment(text: str) -> str:
    """When, in UTC: '26 Nov 2026, 02:00 UTC'; what is no ISO 8601 stays as it is."""
    when = _parse(text)
    return text if when is None else f"{day(text)}, {when:%H:%M} UTC"


def day(text: str) -> str:
    """The day, in UTC: '26 Nov 2026'; what is no ISO 8601 stays as it is."""
    when = _parse(text)
    return text if when is None else f"{when.day} {when:%b %Y}"


def period(start: str, end: str) -> str:
    """From when to when, in UTC; the day only once if it is the same."""
    first, last = _parse(start), _parse(end)
    if first is None or last is None:
        return f"{start} to {end}"
    if first.date() != last.date():
        return f"{moment(start)} to {moment(end)}"
    return f"{day(start)}, {first:%H:%M} to {last:%H:%M} UTC"


def _parse(text: str) -> datetime | None:
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).astimezone(UTC)
