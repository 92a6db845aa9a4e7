"""Every option there is: its key, type, default and docstring, read off the dataclasses.

A key is `section.option`, as in configuration files and `--set`.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from dataclasses import MISSING, dataclass, fields
from difflib import get_close_matches
from functools import lru_cache
from itertools import pairwise
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from espcn.recipe import Recipe
from pipeline.options import (
    ClusterOptions,
    OutputOptions,
    RadiometryOptions,
    ReportOptions,
    SourceOptions,
    TilingOptions,
)
from pipeline.scenes.scene import SceneOptions
from workflows.batch.options import BatchOptions, CheckOptions, ModelsOptions, ScheduleOptions
from workflows.data_options import DataOptions
from workflows.job import ModelOptions
from workflows.train_options import CardOptions, DegradationOptions, RunOptions

Subject = Literal["upscale", "train", "batch"]
"""What a configuration is about."""

SECTIONS: dict[Subject, dict[str, type]] = {
    "upscale": {
        "model": ModelOptions,
        "source": SourceOptions,
        "radiometry": RadiometryOptions,
        "tiling": TilingOptions,
        "output": OutputOptions,
        "cluster": ClusterOptions,
        "report": ReportOptions,
    },
    "train": {
        "data": DataOptions,
        "degradation": DegradationOptions,
        "recipe": Recipe,
        "run": RunOptions,
        "card": CardOptions,
    },
    "batch": {
        "batch": BatchOptions,
        "scenes": SceneOptions,
        "models": ModelsOptions,
        "model": ModelOptions,
        "radiometry": RadiometryOptions,
        "tiling": TilingOptions,
        "output": OutputOptions,
        "cluster": ClusterOptions,
        "checks": CheckOptions,
        "schedule": ScheduleOptions,
    },
}
"""Sections of a configuration and the dataclasses that they fill."""

WORDS = {
    NoneType: "null",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    dict: "a mapping",
}
"""Types for people."""


@dataclass(frozen=True, slots=True)
class Option:
    """One option."""

    key: str
    """section.option"""
    hint: Any
    """Type, as annotated."""
    default: object
    """Value when nobody says otherwise."""
    doc: str
    """What it does."""

    @property
    def allowed(self) -> str:
        """The values it takes, in words."""
        return describe_type(self.hint)

    @property
    def choices(self) -> tuple[str, ...]:
        """The words it takes; empty unless it takes nothing else."""
        return get_args(self.hint) if get_origin(self.hint) is Literal else ()


@lru_cache
def catalogue(subject: Subject = "upscale") -> dict[str, Option]:
    """All options by key, section by section, in the order of their declaration."""
    return {o.key: o for name, kind in SECTIONS[subject].items() for o in _options(name, kind)}


def nearest_key(key: str, subject: Subject = "upscale") -> str:
    """The option that a mistyped key most likely means; its section may be missing."""
    names = list(catalogue(subject))
    leaves = {name.partition(".")[2]: name for name in reversed(names)}
    leaf = key.rpartition(".")[2]
    if key not in names and leaf in leaves:
        return leaves[leaf]
    found = get_close_matches(key, [*names, *leaves], n=1, cutoff=0.0)[0]
    return leaves.get(found, found)


def describe_type(hint: object) -> str:
    """A type in words: 'deflate, zstd or none', 'a whole number or null'."""
    parts = _words(hint)
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} or {parts[-1]}"


def _options(section: str, kind: type) -> list[Option]:
    hints, docs = get_type_hints(kind), _docstrings(kind)
    found = []
    for field in fields(kind):
        made = field.default_factory
        default = field.default if made is MISSING else made()
        found.append(
            Option(f"{section}.{field.name}", hints[field.name], default, docs[field.name])
        )
    return found


def _docstrings(kind: type) -> dict[str, str]:
    """The docstring under each field of a dataclass, on one line."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    (body,) = (node.body for node in tree.body if isinstance(node, ast.ClassDef))
    docs = {}
    for field, below in pairwise(body):
        match field, below:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(doc))),
            ):
                docs[name] = re.sub(r"\bNone\b", "null", " ".join(doc.split()))
    return docs


def _words(hint: object) -> list[str]:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return [word for part in arguments for word in _words(part)]
    if origin is Literal:
        return [str(word) for word in arguments]
    if origin is tuple:
        item = describe_type(arguments[0]).removeprefix("a ")
        many = Ellipsis in arguments
        return [f"a list of {item}s" if many and item != "text" else _listed(item, arguments)]
    return [WORDS[origin or hint]]  # type: ignore[index]


def _listed(item: str, arguments: tuple[object, ...]) -> str:
    return "a list of words" if item == "text" else f"a list of {len(arguments)} {item}s"
