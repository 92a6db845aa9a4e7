"""YAML without surprises: plain values only, no repeated keys, no aliases, of limited size."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, cast

import yaml

from pipeline.errors import ConfigError

MAX_BYTES = 2**20
"""Largest file that is read; real ones have a few hundred bytes."""

NUMBER = re.compile(
    r"^(?:[-+]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[-+]?\.?inf|\.?nan)$",
    re.IGNORECASE,
)
"""Numbers of YAML 1.2, and 'nan' and 'inf' without a dot. YAML 1.1 reads 1e5 as text."""


class _Loader(yaml.SafeLoader):
    """A safe loader that refuses what is a mistake or an attack more often than meant."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Refuse aliases: a few lines of them can stand for gigabytes."""
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem="aliases (*name) are not allowed", problem_mark=mark)
        return super().compose_node(parent, index)

    def construct_integer(self, node: Any) -> int | str:
        """As in YAML 1.2: 010 is ten, and 1:30 is no ninety."""
        text = str(self.construct_scalar(node)).replace("_", "")
        if ":" in text:
            return text
        return int(text) if text.lstrip("+-").isdecimal() else int(text, 0)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        """Refuse repeated keys: all but the last would be lost without a word."""
        seen: list[object] = []
        for key, _ in node.value:
            if key.value in seen:
                problem = f"the key '{key.value}' is repeated"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            seen.append(key.value)
        return super().construct_mapping(node, deep=deep)


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_integer)
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", NUMBER, list("-+.0123456789niNI"))


def read_yaml(file: Path) -> dict[str, object]:
    """The mapping that a file holds, empty for an empty file; raises ConfigError."""
    try:
        with file.open("rb") as opened:
            data = opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror})") from error
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{file}: is larger than {MAX_BYTES} bytes; that is no configuration")
    content = parse_yaml(data, name=str(file))
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise ConfigError(f"{file}: must be a mapping of options, such as 'tiling: {{tile: 1024}}'")
    return cast("dict[str, object]", content)


def parse_yaml(text: str | bytes, *, name: str) -> object:
    """The value of a YAML text; raises ConfigError, which calls it `name`."""
    try:
        return cast("object", yaml.load(text, Loader=_Loader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{name}{where}: is not valid YAML ({error.problem})") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{name}: is not valid YAML ({type(error).__name__})") from error
