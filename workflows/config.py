"""From files, `--set` and flags to a checked `Job`; the only module that knows pydantic.

    defaults  <  configuration file  <  cluster file  <  --set  <  flags

Every value remembers the layer that it came from.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from pipeline.errors import ConfigError
from pipeline.pyramid import BLOCK
from workflows.catalogue import SECTIONS, Option, catalogue, nearest_key
from workflows.job import Job
from workflows.strict_yaml import parse_yaml, read_yaml

CLUSTER_FILES = (".yaml", ".yml")
"""Suffixes by which `cluster.cluster` is known to name a file of cluster options."""

FLAGS = {
    "model": "model.name",
    "scale": "model.scale",
    "device": "model.device",
    "precision": "model.precision",
    "consistency": "model.consistency",
    "bands": "source.bands",
    "categorical": "source.categorical",
    "compress": "output.compress",
    "cluster": "cluster.cluster",
    "workers": "cluster.workers",
    "preview": "report.preview",
}
"""Options that have a flag of their own on the command line."""

MULTIPLE = f"a multiple of {BLOCK}, such as {2 * BLOCK}"
"""Tiles are whole blocks of the output."""

RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "model.consistency": (lambda v: v >= 0, "0 or more"),
    "source.bands": (lambda v: v and min(v) >= 1, "one band or more, counted from 1"),
    "source.max_pixels": (lambda v: v >= 1, "1 or more"),
    "radiometry.input_range": (lambda v: v[0] < v[1], "[low, high] with low < high"),
    "tiling.tile": (
        lambda v: v >= BLOCK and v % BLOCK == 0,
        MULTIPLE,
    ),
    "cluster.workers": (lambda v: v >= 0, "0 or more"),
    "cluster.threads": (lambda v: v >= 1, "1 or more"),
    "cluster.scale": (lambda v: v >= 1, "1 or more"),
    "cluster.adapt": (
        lambda v: 0 <= v[0] <= v[1] and v[1],
        "[least, most], least <= most",
    ),
    "cluster.timeout": (lambda v: v > 0, "more than 0"),
    "cluster.attempts": (lambda v: v >= 1, "1 or more"),
}
"""What types cannot say."""


@dataclass(frozen=True, slots=True)
class Setting:
    """The value of an option and who chose it."""

    value: Any
    """Checked: of the option's type."""
    origin: str
    """'default', the path of a file, '--set' or a flag."""


Settings = dict[str, Setting]
"""By key."""


def read_settings(
    file: Path | None = None,
    assignments: Sequence[str] = (),
    *,
    flags: Mapping[str, object] | None = None,
) -> Settings:
    """The value of every option.

    `assignments` are those of `--set`, 'section.key=value'; `flags` go by the names of `FLAGS`,
    None for one that was not given. Raises ConfigError.
    """
    base = _file_layer(file) if file else {}
    top = _assigned(assignments) | _flagged(flags or {})
    cluster = (base | top).get("cluster.cluster")
    if cluster and str(cluster.value).endswith(CLUSTER_FILES):
        top.pop("cluster.cluster", None)
        base |= _cluster_layer(cluster)
    settings = {key: Setting(option.default, "default") for key, option in catalogue().items()}
    for key, setting in (base | top).items():
        _put(settings, key, setting)
    return {key: _checked(catalogue()[key], setting) for key, setting in settings.items()}


def make_job(
    source: str, outputs: Sequence[str], settings: Settings, *, overwrite: bool = False
) -> Job:
    """The job that the settings describe."""
    options = {
        section: kind(**{f.name: settings[f"{section}.{f.name}"].value for f in fields(kind)})
        for section, kind in SECTIONS.items()
    }
    options["input"] = options.pop("source")
    return Job(source, tuple(outputs), overwrite, **options)


def _file_layer(file: Path) -> Settings:
    """What a configuration file sets."""
    found: Settings = {}
    for section, content in read_yaml(file).items():
        if section in SECTIONS and not isinstance(content, dict | None):
            raise ConfigError(f"{file}: {section} must be a section of options, got {content!r}")
        if not isinstance(content, dict):
            content = {} if section in SECTIONS else {"": content}  # noqa: PLW2901 - emptied
        for name, value in content.items():
            key = f"{section}.{name}".rstrip(".")
            _check_known(key, str(file))
            found[key] = Setting(_beside(file, key, value), str(file))
    return found


def _beside(file: Path, key: str, value: object) -> object:
    """A cluster file named in a file lies relative to that file."""
    if key == "cluster.cluster" and str(value).endswith(CLUSTER_FILES):
        return str(file.parent / str(value))
    return value


def _cluster_layer(named: Setting) -> Settings:
    """What a file of cluster options sets; it says itself which cluster it is about."""
    file = Path(named.value)
    found = {f"cluster.{name}": Setting(v, str(file)) for name, v in read_yaml(file).items()}
    for key in found:
        _check_known(key, str(file), drop="cluster.")
    return {"cluster.cluster": Setting("local", str(file))} | found


def _assigned(assignments: Sequence[str]) -> Settings:
    """What `--set` sets: the text right of '=' is YAML."""
    found: Settings = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals:
            raise ConfigError(f"--set {assignment}: must look like section.option=value")
        _check_known(key, "--set")
        found[key] = Setting(parse_yaml(text, name=f"--set {key}"), "--set")
    return found


def _flagged(flags: Mapping[str, object]) -> Settings:
    """What flags set."""
    found: Settings = {}
    for name, value in flags.items():
        if name == "bands" and isinstance(value, str):
            value = parse_yaml(f"[{value}]", name="--bands")  # noqa: PLW2901 - 1,2,3 is a list
        if value is not None:
            found[FLAGS[name]] = Setting(value, f"--{name}")
    return found


def _check_known(key: str, origin: str, *, drop: str = "") -> None:
    if key not in catalogue() and not key.startswith("cluster.options."):
        near = nearest_key(key).removeprefix(drop)
        raise ConfigError(
            f"{origin}: there is no option '{key.removeprefix(drop)}'; did you mean '{near}'?"
        )


def _put(settings: Settings, key: str, setting: Setting) -> None:
    """Set an option, or one entry of the mapping `cluster.options`."""
    if key in settings:
        settings[key] = setting
        return
    parent = "cluster.options"
    entry = {key.removeprefix(f"{parent}."): setting.value}
    settings[parent] = Setting(settings[parent].value | entry, setting.origin)


def _checked(option: Option, setting: Setting) -> Setting:
    """The setting with its value as the option's type; raises ConfigError."""
    if setting.origin == "default":
        return setting
    where = f"{setting.origin}: {option.key} = {_shown(setting.value)}"
    try:
        # JSON's strict mode: lists become tuples, but no text becomes a number, no number a yes
        text = json.dumps(setting.value, default=str)
        value = TypeAdapter[Any](option.hint).validate_json(text, strict=True)
    except (ValidationError, ValueError) as error:
        raise ConfigError(f"{where} must be {option.allowed}") from error
    passes, text = RULES.get(option.key, (lambda _: True, ""))
    if value is not None and not passes(value):
        raise ConfigError(f"{where} must be {text}")
    return Setting(value, setting.origin)


def _shown(value: object) -> str:
    """A value as YAML would have it, cut short."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 80 else f"{text[:77]}..."
