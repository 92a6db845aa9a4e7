"""How the shipped networks are trained, from folders of pictures to a weights file.

    python -m espcn.training --scale 3 --minutes 12 --data yang91 general100 bsds500/train \
        --evaluate set5 --output espcn/weights/general-x3.safetensors

Reads from top to bottom: pictures become pairs of planes, pairs become patches, patches train an
affine-equivariant ESPCN, the average of its last thousand states is measured and written. The loss
is the mean squared error on the luma, as in arXiv 1609.05158, eq. 4, of pairs that `espcn.pictures`
has balanced; the optimiser is SOAP (arXiv 2409.11321).

A budget in minutes is turned into a number of steps before the first one is taken and kept in the
file: with `--steps` and the same seed the run is repeated, to the bit on a CPU. On CUDA the first
weights and all patches are the same again, the rest is so to rounding: cuDNN chooses its kernels by
timing them, and each adds in its own order.
"""

import argparse
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import get_args

import numpy as np
import torch

from espcn import metrics, pictures, resample
from espcn.architecture import Weights
from espcn.descent import Recipe, Run
from espcn.devices import Device, place
from espcn.errors import ModelError
from espcn.network import Network
from espcn.patches import Patches, Plane
from espcn.pictures import Planes
from espcn.weights_file import write_weights

log = logging.getLogger(__name__)

TIMED = 5.0
"""Seconds of steps from which the number of steps within a budget is told."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What is known of a run while it goes on."""

    step: int
    """Steps taken."""

    loss: float
    """Mean since the last report; 1 is what bicubic leaves."""

    weights: Weights
    """The average so far."""


def make(
    recipe: Recipe, patches: Patches, sets: Mapping[str, Planes], *, minutes: float | None = None
) -> Weights:
    """Train on the patches, for as many steps as `minutes` hold if given, and say how.

    What the average reaches on `sets`, which steer nothing, is logged on the way.
    """
    if minutes is not None:
        recipe = replace(recipe, steps=steps_within(minutes, recipe, patches))
    begin = time.perf_counter()
    weights = train(recipe, patches, report=partial(_report, recipe, sets))
    minutes_taken = f"{(time.perf_counter() - begin) / 60:.1f}"
    taken = {"minutes": minutes_taken, "device": _device_name(patches.device)}
    return replace(weights, provenance=_making(recipe) | taken)


def train(
    recipe: Recipe, patches: Patches, *, report: Callable[[Progress], None] | None = None
) -> Weights:
    """Train on the patches and return the averaged weights; `report` is called ten times.

    Raises `ModelError` when the loss is no longer a number.
    """
    with _tuned():
        run = Run(recipe, patches)
        for step in range(1, recipe.steps + 1):
            run.advance()
            if 10 * step // recipe.steps > 10 * (step - 1) // recipe.steps:
                loss = _finite(run.mean_loss(), recipe, step)
                if report is not None:
                    report(Progress(step, loss, run.averaged()))
    return run.averaged()


def steps_within(minutes: float, recipe: Recipe, patches: Patches) -> int:
    """How many steps of this recipe take `minutes` on this machine, from timing some."""
    with _tuned():
        run = Run(recipe, patches)
        _advance(run, recipe.turn_every)
        begin, taken = time.perf_counter(), 0
        while time.perf_counter() - begin < TIMED:
            _advance(run, recipe.turn_every)
            taken += recipe.turn_every
        return max(100, int(minutes * 60 * taken / (time.perf_counter() - begin)))


def measure(weights: Weights, sets: Mapping[str, Planes]) -> dict[str, float]:
    """Mean PSNR in dB of the luma of every set by the papers' protocol, with bicubic beside it."""
    ours, bicubic = _restorer(weights), partial(resample.enlarge, scale=weights.scale)
    figures = {}
    for name, planes in sets.items():
        figures[f"{name}_psnr_y"] = round(_psnr(planes, weights.scale, ours), 3)
        figures[f"{name}_psnr_y_bicubic"] = round(_psnr(planes, weights.scale, bicubic), 3)
    return figures


# ------------------------------------------------------------------------------- on the way


def _advance(run: Run, steps: int) -> None:
    for _ in range(steps):
        run.advance()
    run.mean_loss()


def _tuned() -> AbstractContextManager[None]:
    """On CUDA cuDNN chooses by timing: its guesses are poor for kernels of a single band."""
    flags: AbstractContextManager[None] = torch.backends.cudnn.flags(enabled=True, benchmark=True)
    return flags


def _device_name(device: str) -> str:
    return torch.cuda.get_device_name(device) if device == "cuda" else device


def _finite(loss: float, recipe: Recipe, step: int) -> float:
    if not np.isfinite(loss):
        raise ModelError(
            f"the loss is {loss} before step {step} of {recipe.steps}: train again at less than "
            f"the learning rate {recipe.learning_rate}"
        )
    return loss


def _report(recipe: Recipe, sets: Mapping[str, Planes], progress: Progress) -> None:
    restore = _restorer(progress.weights)
    reached = [
        f"{name} {_psnr(planes, recipe.scale, restore):.3f} dB"
        for name, planes in sets.items()
        if planes
    ]
    told = ", ".join([f"loss {progress.loss:.4f}", *reached])
    log.info("x%d: step %d of %d: %s", recipe.scale, progress.step, recipe.steps, told)


def _restorer(weights: Weights) -> Callable[[Plane], Plane]:
    network = Network(weights).eval()

    @torch.inference_mode()
    def restore(low: Plane) -> Plane:
        padded = np.pad(low, network.halo, mode="symmetric")
        restored: Plane = network(torch.from_numpy(padded)[None, None])[0, 0].numpy()
        return restored

    return restore


def _psnr(planes: Planes, scale: int, restore: Callable[[Plane], Plane]) -> float:
    return float(np.mean([metrics.restored_psnr(each, scale, restore=restore) for each in planes]))


def _making(recipe: Recipe) -> dict[str, str]:
    """What a card should say of a network's making, besides the pictures."""
    return {
        "degradation": "MATLAB bicubic, antialiased, of the luma (ITU-R BT.601)",
        "recipe": ", ".join(
            f"{field.name} {getattr(recipe, field.name)}" for field in fields(recipe)
        ),
        "loss": "squared error over that of bicubic, picture by picture",
        "optimizer": "SOAP, linear warm-up, cosine",
    }


# -------------------------------------------------------------------------- the command line


def main() -> None:
    """Read, train, measure, write."""
    arguments = _arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(arguments.threads)
    device = place(device=arguments.device, precision="fp32", backend="torch").device
    recipe = _recipe(arguments)
    seen, held_back = pictures.read(arguments.data)
    known = {folder.name: pictures.read_folder(folder) for folder in arguments.evaluate}
    patches = Patches(pictures.pairs_of(seen, recipe.window), recipe.window, device=device)
    minutes = None if arguments.steps is not None else arguments.minutes
    weights = make(recipe, patches, known | {"held back": held_back}, minutes=minutes)
    figures = measure(weights, known)
    log.info("%s", figures)
    write_weights(arguments.output, signed(weights, arguments.data, figures))


def signed(weights: Weights, folders: list[Path], figures: dict[str, float]) -> Weights:
    """The weights with their figures and with what a card should say of the pictures."""
    provenance = {
        "training_sets": ", ".join("/".join(folder.parts[-2:]) for folder in folders),
        "held_back": f"every {pictures.EVERY}th picture of a folder",
        "sizes": ", ".join(f"{size:g}" for size in pictures.SIZES),
        "protocol": "luma, unrounded MATLAB bicubic, symmetric borders, scale px shaved, 8 bits",
        "terms": "trained on pictures published for research; the pictures are not included",
    }
    return replace(weights, metrics=figures, provenance=dict(weights.provenance) | provenance)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m espcn.training", description=__doc__)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders of pictures")
    parser.add_argument("--evaluate", type=Path, nargs="*", default=[], help="never trained on")
    parser.add_argument("--output", type=Path, required=True, help="the weights file")
    parser.add_argument("--minutes", type=float, default=8.0, help="unless --steps is given")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=get_args(Device), default="auto")
    for field in fields(Recipe):
        option = f"--{field.name.replace('_', '-')}"
        parser.add_argument(option, type=type(field.default), help=f"default {field.default}")
    return parser.parse_args()


def _recipe(arguments: argparse.Namespace) -> Recipe:
    """What was asked for, and the defaults for the rest."""
    asked = {field.name: getattr(arguments, field.name) for field in fields(Recipe)}
    return Recipe(**{name: value for name, value in asked.items() if value is not None})


if __name__ == "__main__":
    main()
