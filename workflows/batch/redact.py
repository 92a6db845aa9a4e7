"""Text without secrets: what is logged or handed on never holds passwords, tokens or queries."""

from __future__ import annotations

import os
import re

from pipeline.serial import Json

HIDDEN = "***"
"""Stands where a secret stood."""
SECRET = (
    r"passw(?:or)?d|passphrase|secret|token|api[_-]?key|access[_-]?key|account[_-]?key|"
    r"private[_-]?key|credential|signature|\bpwd\b|\bsas\b|\bsig\b"
)
"""Names whose values are secrets, also as parts of longer names: AWS_SECRET_ACCESS_KEY."""
SECRET_NAME = re.compile(rf"{SECRET}|authorization|cookie", re.IGNORECASE)
"""Name of a fact whose value is a secret."""
VARIABLE = re.compile(r"PASSW|SECRET|TOKEN|_KEY$|APIKEY|SIGNATURE|CONNECTION_STRING")
"""Name of an environment variable that holds a secret."""
SHORTEST = 8
"""Characters below which a value of the environment is no secret but a common word."""
PROSE = r"(?:line \d|(?:not|no|is|has|holds|cannot|does|may|its|was)\s)"
"""How messages go on behind the colon of a place or a file: 'my-token: is empty' has no value."""
URL = r"[^\s\"'<>]"
"""A character of a URL in a sentence."""
REDACTIONS = tuple(
    (re.compile(pattern, re.IGNORECASE), rf"\1{HIDDEN}")
    for pattern in (
        r"(://)[^\s/?#]*(?=@)",  # user and password of a URL
        rf"(://(?:[\w.-]{{0,100}}\bhooks?\.[\w.:-]+|[^\s?#\"'<>]{{0,400}}/(?:web)?hooks?)/){URL}+",
        rf"(://[^\s?#\"'<>]{{0,400}}[?#]){URL}+",  # queries and fragments of URLs,
        rf"(\?)[\w.~%\[\]-]+={URL}*",  # of relative ones too
        r"((?:cookie|authorization)[\"']?\s*[:=]\s*[\"']?)[^\n\"']+",  # headers
        r"(\bBearer\s+)[\w.~+/=-]{8,}",
        rf"((?:{SECRET})[\w-]{{0,40}}[\"']?\s*(?:=\s*|:\s*(?!{PROSE})))"
        r"(?:(?:\"[^\"]*\"|'[^']*'|[^\s,;&\"'])+|[\"']\S*)",  # values, quoted or not
        rf"(--[\w-]{{0,40}}(?:{SECRET})[\w-]{{0,40}}\s+)[^\s-]\S*",  # flags
        r"(\b)(?:AKIA|ASIA)[0-9A-Z]{16}\b",  # keys that tell themselves: AWS,
        r"(\b)eyJ[\w-]{8,500}\.[\w-]+\.[\w-]*",  # JSON web tokens,
        r"(\b)(?:gh[pousr]_|github_pat_|xox[abprs]-|glpat-)[\w-]{10,}",  # GitHub, Slack, GitLab
    )
)
"""What is taken out, in this order. Repeats are bounded, so that no line takes long."""


def redact(text: str) -> str:
    """A text without passwords, query strings, tokens and the environment's secrets."""
    for value in _secrets():
        text = text.replace(value, HIDDEN)
    for pattern, instead in REDACTIONS:
        text = pattern.sub(instead, text)
    return text


def redact_json(value: Json) -> Json:
    """A JSON value whose texts are redacted, and whose secrets by name are hidden whole."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, list):
        return [redact_json(item) for item in value]
    if isinstance(value, dict):
        return {
            name: HIDDEN if item and SECRET_NAME.search(name) else redact_json(item)
            for name, item in value.items()
        }
    return value


def _secrets() -> list[str]:
    """Values of the environment that their names call secret, the longest first."""
    found = (value for name, value in os.environ.items() if VARIABLE.search(name))
    return sorted((value for value in found if len(value) >= SHORTEST), key=len, reverse=True)
