"""What an interrupted run needs to go on: one safetensors file, replaced as a whole.

tensors    kernel.0, average.0, optimizer.0, ...     of the run (`Run.state`)
           best.0.weight, best.0.bias, ...           the best network so far
metadata   "espcn-training": {"taken": 1200, "recipe": {..}, "pixels": "sha256", ...}
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from torch import Tensor

from espcn.errors import ModelError
from espcn.recipe import Recipe

_KEY = "espcn-training"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A run at a moment."""

    recipe: Recipe
    """How it is trained; the same to go on."""

    pixels: str
    """Fingerprint of what it is trained on; the same to go on."""

    taken: int
    """Steps taken."""

    tensors: Mapping[str, Tensor]
    """Of the run, and of the best network so far."""

    history: list[dict[str, float]] = field(default_factory=list)
    """What was reported so far."""


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write atomically and durably; raises `ModelError` if it cannot."""
    from safetensors.torch import save

    facts = {
        "recipe": asdict(checkpoint.recipe),
        "pixels": checkpoint.pixels,
        "taken": checkpoint.taken,
        "history": checkpoint.history,
    }
    data = save(dict(checkpoint.tensors), metadata={_KEY: json.dumps(facts)})
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise ModelError(f"cannot write {path}: {error.strerror}") from error


def read_checkpoint(path: Path, recipe: Recipe, pixels: str) -> Checkpoint:
    """The checkpoint of a run of the same recipe on the same pixels; raises `ModelError`.

    The number of steps is that of the checkpoint.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        data = path.read_bytes()
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        facts = json.loads(header["__metadata__"][_KEY])
        tensors = load(data)
    except OSError as error:
        raise ModelError(f"cannot go on from {path}: {error.strerror}") from error
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} is no checkpoint: train without --resume") from error
    mine = json.loads(json.dumps(asdict(recipe)))
    # how many steps a budget stood for was decided when the run began
    mine["steps"] = facts["recipe"].get("steps")
    others = [name for name, value in mine.items() if facts["recipe"].get(name) != value]
    if others:
        name = others[0]
        raise ModelError(
            f"{path} was trained with {name} {facts['recipe'].get(name)}, not {mine[name]}: give "
            "the same options, or train without --resume"
        )
    if facts["pixels"] != pixels:
        raise ModelError(
            f"{path} was trained on other pixels: give the same data, or train without --resume"
        )
    begun = replace(recipe, steps=int(mine["steps"]))
    return Checkpoint(begun, pixels, facts["taken"], tensors, facts["history"])
