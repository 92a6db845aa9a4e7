"""What an interrupted run needs to go on: one safetensors file, replaced as a whole.

tensors    kernel.0, average.0, optimizer.0, ...     of the run (`Run.state`)
           best.0.weight, best.0.bias, ...           the best network so far
metadata   "espcn-training": {"taken": 1200, "seconds": 95.1, "recipe": {..}, "budget": {..},
                              "pixels": "sha256", "history": [..]}
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from torch import Tensor

from espcn.errors import ModelError
from espcn.recipe import Budget, Recipe
from espcn.weights_file import write_atomically

_KEY = "espcn-training"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A run at a moment."""

    recipe: Recipe
    """How it is trained, with the number of steps that the budget stood for when it began."""

    budget: Budget
    """What was asked for; the same to go on, like the recipe."""

    pixels: str
    """Fingerprint of what it is trained on; the same to go on."""

    taken: int
    """Steps taken."""

    seconds: float
    """Spent on them."""

    tensors: Mapping[str, Tensor]
    """Of the run, and of the best network so far."""

    history: list[dict[str, float]] = field(default_factory=list)
    """What was reported so far."""


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write atomically and durably; raises `ModelError` if it cannot."""
    from safetensors.torch import save

    facts = {
        "recipe": asdict(checkpoint.recipe),
        "budget": asdict(checkpoint.budget),
        "pixels": checkpoint.pixels,
        "taken": checkpoint.taken,
        "seconds": checkpoint.seconds,
        "history": checkpoint.history,
    }
    data = save(dict(checkpoint.tensors), metadata={_KEY: json.dumps(facts)})
    # always the same name: what a killed run leaves is overwritten
    write_atomically(path, data, temporary=path.with_name(f".{path.name}.tmp"))


def read_checkpoint(path: Path, recipe: Recipe, budget: Budget, *, pixels: str) -> Checkpoint:
    """The checkpoint of a run of the same recipe and budget on the same pixels.

    Raises `ModelError` for any other. Where a budget decides, the number of steps is that of the
    checkpoint.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        data = path.read_bytes()
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        facts = json.loads(header["__metadata__"][_KEY])
        theirs = facts["recipe"] | facts["budget"]
        steps, taken, history = int(theirs["steps"]), int(facts["taken"]), list(facts["history"])
        tensors, trained_on, seconds = load(data), facts["pixels"], float(facts["seconds"])
    except OSError as error:
        raise ModelError(f"cannot go on from {path}: {error.strerror}") from error
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} is no checkpoint: begin anew with --overwrite") from error
    _check_same(path, recipe, budget, theirs)
    if trained_on != pixels:
        raise ModelError(
            f"{path} was trained on other pixels: give the same data, or begin anew with "
            "--overwrite"
        )
    recipe = replace(recipe, steps=steps)
    return Checkpoint(recipe, budget, pixels, taken, seconds, tensors, history)


def _check_same(path: Path, recipe: Recipe, budget: Budget, theirs: dict[str, object]) -> None:
    """Raise `ModelError` where a run was asked for in other words."""
    mine = json.loads(json.dumps(asdict(budget) | asdict(recipe)))
    if budget.given:
        del mine["steps"]
    for name, value in mine.items():
        if value != theirs.get(name):
            raise ModelError(
                f"{path} was trained with {name} {theirs.get(name)}, not {value}: give the same "
                "options, or begin anew with --overwrite"
            )
