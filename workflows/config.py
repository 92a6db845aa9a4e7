"""From files, `--set` and flags to a checked `Job`; the only module that knows pydantic.

    defaults  <  preset  <  configuration file  <  cluster file  <  --set  <  flags

Every value remembers the layer that it came from.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from espcn.architecture import MAX_SCALE
from pipeline.errors import ConfigError
from pipeline.pyramid import BLOCK
from workflows.batch.job import Batch
from workflows.catalogue import SECTIONS, Option, Subject, catalogue, nearest_key
from workflows.job import Job
from workflows.strict_yaml import parse_yaml, read_yaml
from workflows.train_options import Training

MODEL = "model.safetensors"
"""Name of the weights file where only its folder is named."""

PRESET = "preset"
"""Key of a configuration file that names another one, relative to it, whose options it changes."""

SHORT = {"inbox": "batch.inbox", "outbox": "batch.outbox"}
"""Options that may stand at the top of a configuration file of batch."""

CLUSTER_FILES = (".yaml", ".yml")
"""Suffixes by which `cluster.cluster` is known to name a file of cluster options."""

FLAGS: dict[Subject, dict[str, str]] = {
    "upscale": {
        "model": "model.name",
        "scale": "model.scale",
        "device": "model.device",
        "precision": "model.precision",
        "consistency": "model.consistency",
        "bands": "source.bands",
        "categorical": "source.categorical",
        "compress": "output.compress",
        "syntax": "output.syntax",
        "deidentify": "output.deidentify",
        "cluster": "cluster.cluster",
        "workers": "cluster.workers",
        "preview": "report.preview",
    },
    "train": {
        "scale": "recipe.scale",
        "bands": "data.bands",
        "channels": "data.channels",
        "degradation": "degradation.kind",
        "minutes": "run.minutes",
        "epochs": "run.epochs",
        "device": "run.device",
        "val_fraction": "data.val_fraction",
        "val_region": "data.val_region",
        "seed": "recipe.seed",
    },
    "batch": {
        "inbox": "batch.inbox",
        "outbox": "batch.outbox",
        "only": "batch.only",
        "bands": "scenes.bands",
        "device": "model.device",
        "cluster": "cluster.cluster",
        "workers": "cluster.workers",
    },
}
"""Options that have a flag of their own on the command line."""

RIVALS = {"run.minutes": "run.epochs", "run.epochs": "run.minutes"}
"""Options of which one, chosen on the command line, stands for the other in a file as well."""

MULTIPLE = f"a multiple of {BLOCK}, such as {2 * BLOCK}"
"""Tiles are whole blocks of the output."""

RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "model.consistency": (lambda v: v >= 0, "0 or more"),
    "source.bands": (lambda v: v and min(v) >= 1, "one band or more, counted from 1"),
    "source.drivers": (lambda v: v, "one driver or more, such as GTiff"),
    "source.max_pixels": (lambda v: v >= 1, "1 or more"),
    "radiometry.input_range": (lambda v: v[0] < v[1], "[low, high] with low < high"),
    "tiling.tile": (
        lambda v: v >= BLOCK and v % BLOCK == 0,
        MULTIPLE,
    ),
    "cluster.workers": (lambda v: v >= 0, "0 or more"),
    "cluster.threads": (lambda v: v >= 1, "1 or more"),
    "cluster.memory": (lambda v: _bytes(v) > 0, "a size above 0, such as 4GiB"),
    "cluster.scale": (lambda v: v >= 1, "1 or more"),
    "cluster.adapt": (
        lambda v: 0 <= v[0] <= v[1] and v[1],
        "[least, most], least <= most",
    ),
    "cluster.timeout": (lambda v: v > 0, "more than 0"),
    "cluster.attempts": (lambda v: v >= 1, "1 or more"),
    "batch.attempts": (lambda v: v >= 1, "1 or more"),
    "batch.open_scenes": (lambda v: v >= 1, "1 or more"),
    "batch.product": (lambda v: v and "/" not in v, "a name without /"),
    "models.rules": (
        lambda v: v and all(isinstance(one, str) for one in v.values()),
        "patterns and models, one or more",
    ),
    "scenes.families": (lambda v: v, "one or more"),
    "scenes.max_unpacked": (lambda v: v >= 1, "1 or more"),
    "checks.coverage": (lambda v: 0 <= v <= 1, "0 to 1"),
    "checks.valid_difference": (lambda v: v >= 0, "0 or more"),
    "checks.bias": (lambda v: v >= 0, "0 or more"),
    "checks.consistency": (lambda v: v >= 0, "0 or more"),
    "checks.corners": (lambda v: v >= 0, "0 or more"),
    "checks.windows": (lambda v: v >= 0, "0 or more"),
    "schedule.settle": (lambda v: v >= 0, "0 or more"),
    "schedule.keep_reports": (lambda v: v >= 1, "1 or more"),
    "recipe.scale": (lambda v: 2 <= v <= MAX_SCALE, f"2 to {MAX_SCALE}"),
    "recipe.steps": (lambda v: v >= 1, "1 or more"),
    "recipe.patch": (lambda v: v >= 8, "8 or more"),
    "recipe.batch": (lambda v: v >= 1, "1 or more"),
    "recipe.learning_rate": (lambda v: 0 < v < math.inf, "more than 0"),
    "recipe.lowest_rate": (lambda v: v >= 0, "0 or more"),
    "recipe.last_layer": (lambda v: v > 0, "more than 0"),
    "recipe.warm_up": (lambda v: 0 <= v < 1, "0 or more, less than 1"),
    "recipe.turn_every": (lambda v: v >= 1, "1 or more"),
    "recipe.average": (lambda v: 0 <= v < 1, "0 or more, less than 1"),
    "recipe.sizes": (lambda v: v and 0 < min(v) <= max(v) <= 1, "more than 0, at most 1"),
    "degradation.sigma": (lambda v: v > 0, "more than 0"),
    "run.minutes": (lambda v: v > 0, "more than 0"),
    "run.epochs": (lambda v: v >= 1, "1 or more"),
    "run.threads": (lambda v: v >= 1, "1 or more"),
    "run.value_range": (lambda v: v[0] < v[1], "[low, high] with low < high"),
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
    subject: Subject = "upscale",
) -> Settings:
    """The value of every option about a subject.

    `assignments` are those of `--set`, 'section.key=value'; `flags` go by the names of `FLAGS`,
    None for one that was not given. Raises ConfigError.
    """
    base = _file_layer(file, subject) if file else {}
    top = _assigned(assignments, subject) | _flagged(flags or {}, subject)
    cluster = (base | top).get("cluster.cluster")
    if cluster and str(cluster.value).endswith(CLUSTER_FILES):
        top.pop("cluster.cluster", None)
        base |= _cluster_layer(cluster)
    for key, rival in RIVALS.items():
        if key in top and top[key].value is not None and rival not in top:
            base.pop(rival, None)
    options = catalogue(subject)
    settings = {key: Setting(option.default, "default") for key, option in options.items()}
    for key, setting in (base | top).items():
        _put(settings, key, setting)
    return {key: _checked(options[key], setting) for key, setting in settings.items()}


def check_settings(settings: Settings, subject: Subject) -> int:
    """How many options were set; raises ConfigError or `ModelError` for what cannot go together."""
    _filled(settings, subject)
    return sum(setting.origin != "default" for setting in settings.values())


def subject_of(file: Path | None) -> Subject:
    """What a configuration file is about, told by its sections; `upscale` where none is known."""
    named = read_yaml(file) if file else {}
    tops = {SHORT[name].partition(".")[0] if name in SHORT else name for name in named}
    known = {subject: len(tops & SECTIONS[subject].keys()) for subject in SECTIONS}
    return max(known, key=known.__getitem__)


def make_job(
    source: str, outputs: Sequence[str], settings: Settings, *, overwrite: bool = False
) -> Job:
    """The job that the settings describe."""
    options = _filled(settings, "upscale")
    options["input"] = options.pop("source")
    return Job(source, tuple(outputs), overwrite, **options)


def make_batch(settings: Settings) -> Batch:
    """The batch that the settings describe."""
    return Batch(**_filled(settings, "batch"))


def make_training(
    sources: Sequence[str],
    output: Path,
    settings: Settings,
    *,
    validation: Sequence[str] = (),
    overwrite: bool = False,
    resume: bool = False,
) -> Training:
    """The training run that the settings describe; `output` may be the folder of its model."""
    options = _filled(settings, "train")
    model = output / MODEL if output.is_dir() or not output.suffix else output
    return Training(tuple(sources), model, tuple(validation), overwrite, resume, **options)


def _filled(settings: Settings, subject: Subject) -> dict[str, Any]:
    """The options of every section."""
    return {
        section: kind(**{f.name: settings[f"{section}.{f.name}"].value for f in fields(kind)})
        for section, kind in SECTIONS[subject].items()
    }


def _file_layer(file: Path, subject: Subject) -> Settings:
    """What a configuration file sets, and the preset that it begins with."""
    found: Settings = {}
    sections, named = SECTIONS[subject], read_yaml(file)
    if subject == "batch":
        preset = named.pop(PRESET, None)
        if preset is not None:
            found |= _file_layer(file.parent / str(preset), subject)
        for name in SHORT.keys() & named.keys():
            found[SHORT[name]] = Setting(_beside(file, SHORT[name], named.pop(name)), str(file))
    for section, content in named.items():
        if section in sections and not isinstance(content, dict | None):
            raise ConfigError(f"{file}: {section} must be a section of options, got {content!r}")
        if not isinstance(content, dict):
            content = {} if section in sections else {"": content}  # noqa: PLW2901 - emptied
        for name, value in content.items():
            key = f"{section}.{name}".rstrip(".")
            _check_known(key, str(file), subject)
            found[key] = Setting(_beside(file, key, value), str(file))
    return found


def _beside(file: Path, key: str, value: object) -> object:
    """A cluster file or a directory named in a file lies relative to that file."""
    if key == "cluster.cluster" and str(value).endswith(CLUSTER_FILES):
        return str(file.parent / str(value))
    if key in SHORT.values() and isinstance(value, str) and value:
        return str(file.parent / value)
    return value


def _cluster_layer(named: Setting) -> Settings:
    """What a file of cluster options sets; it says itself which cluster it is about."""
    file = Path(named.value)
    found = {f"cluster.{name}": Setting(v, str(file)) for name, v in read_yaml(file).items()}
    for key in found:
        _check_known(key, str(file), "upscale", drop="cluster.")
    return {"cluster.cluster": Setting("local", str(file))} | found


def _assigned(assignments: Sequence[str], subject: Subject) -> Settings:
    """What `--set` sets: the text right of '=' is YAML."""
    found: Settings = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals:
            raise ConfigError(f"--set {assignment}: must look like section.option=value")
        _check_known(key, "--set", subject)
        found[key] = Setting(parse_yaml(text, name=f"--set {key}"), "--set")
    return found


def _flagged(flags: Mapping[str, object], subject: Subject) -> Settings:
    """What flags set."""
    found: Settings = {}
    for name, value in flags.items():
        if name == "bands" and isinstance(value, str):
            value = _listed(value, subject)  # noqa: PLW2901 - 1,2,3 is a list
        if value is not None:
            found[FLAGS[subject][name]] = Setting(value, f"--{name.replace('_', '-')}")
    return found


def _listed(text: str, subject: Subject) -> object:
    """Bands are numbers to `upscale`, and names or numbers, as text, to the others."""
    if subject != "upscale":
        return [name.strip() for name in text.split(",") if name.strip()]
    return parse_yaml(f"[{text}]", name="--bands")


def _check_known(key: str, origin: str, subject: Subject, *, drop: str = "") -> None:
    if key not in catalogue(subject) and not key.startswith("cluster.options."):
        near = nearest_key(key, subject).removeprefix(drop)
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


def _bytes(size: str) -> int:
    """A size as Dask reads it; 0 for what is none."""
    from dask.utils import parse_bytes

    try:
        return parse_bytes(size)
    except (ValueError, OverflowError):
        return 0


def _shown(value: object) -> str:
    """A value as YAML would have it, cut short."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 80 else f"{text[:77]}..."
