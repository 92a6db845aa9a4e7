"""MTL, the metadata file of Landsat products, in its three notations: groups of named values.

The format is that of the data format control books of the U.S. Geological Survey (LSDS-1822 and
its kin): the same groups as ODL text, as XML (Collection 2) and as JSON.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.scenes.markup import parse_xml
from pipeline.scenes.scene import SceneError

NOTATIONS = ("txt", "xml", "json")
"""Suffixes, the original first."""
ROOTS = ("LANDSAT_METADATA_FILE", "L1_METADATA_FILE")
"""Names of the outermost group, in Collection 2 and before."""
MAX_BYTES = 8 * 2**20
"""Largest metadata file that is parsed; real ones have 30 kB."""
NOTHING = ("", "NULL", "NA", "N/A")
"""Values that say that there is none."""

Groups = dict[str, dict[str, str]]
"""Values by name, by group."""


@dataclass(frozen=True, slots=True)
class Mtl:
    """A metadata file. Names occur in several groups with different meanings."""

    path: Path
    """Where it was read from."""
    groups: Groups
    """Values by name, by group."""

    def text(self, name: str, *groups: str) -> str | None:
        """A value, from the first of these groups that has it."""
        for group in groups:
            value = self.groups.get(group, {}).get(name, "")
            if value not in NOTHING:
                return value
        return None

    def number(self, name: str, *groups: str) -> float | None:
        """A value as a number; raises SceneError if it is none."""
        value = self.text(name, *groups)
        if value is None:
            return None
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise SceneError(f"has {name} = {value!r}, which is no number", uri=str(self.path))
        return number


def read_mtl(path: Path) -> Mtl:
    """The groups of a metadata file; raises SceneError."""
    parse: dict[str, Callable[[Path], Groups]] = {"txt": _text, "xml": _xml, "json": _json}
    groups = parse[path.suffix[1:].lower()](path)
    if not any(groups.values()):
        raise SceneError("holds no metadata of a Landsat product", uri=str(path))
    return Mtl(path, groups)


def _bytes(path: Path) -> bytes:
    """The contents of a metadata file; raises SceneError."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise SceneError(
                f"has more than {MAX_BYTES} bytes, too much for metadata",
                uri=str(path),
                reason="hostile",
            )
        return path.read_bytes()
    except OSError as error:
        raise SceneError(f"cannot be read ({error.strerror})", uri=str(path)) from error


def _text(path: Path) -> Groups:
    """ODL: NAME = VALUE lines in nested groups, to a line END."""
    groups: Groups = {}
    nesting: list[str] = []
    for line in _bytes(path).decode("utf-8", "replace").splitlines():
        name, _, value = (part.strip() for part in line.partition("="))
        if name == "END":
            break
        if name == "GROUP":
            nesting.append(value)
        elif name == "END_GROUP":
            nesting = nesting[:-1]
        elif nesting and nesting[0] in ROOTS:
            groups.setdefault(nesting[-1], {})[name] = value.strip('"')
    else:
        raise SceneError("has no END line: it is truncated", uri=str(path), reason="incomplete")
    return groups


def _xml(path: Path) -> Groups:
    markup = parse_xml(path)
    if markup.root not in ROOTS:
        return {}
    root = markup.named[markup.root][0]
    return {group.tag: {one.tag: (one.text or "").strip() for one in group} for group in root}


def _json(path: Path) -> Groups:
    try:
        data = json.loads(_bytes(path))
    except (ValueError, RecursionError) as error:
        raise SceneError(f"is not JSON ({error})", uri=str(path)) from error
    found = [data[name] for name in ROOTS if name in data] if isinstance(data, dict) else []
    if not found or not isinstance(found[0], dict):
        return {}
    groups = {name: group for name, group in found[0].items() if isinstance(group, dict)}
    return {
        name: {key: "" if value is None else str(value) for key, value in group.items()}
        for name, group in groups.items()
    }
