"""How the shipped networks are trained, from folders of pictures to a weights file.

    python -m espcn.training --scale 3 --minutes 12 --data yang91 general100 bsds500/train \
        --evaluate set5 --output espcn/weights/general-x3.safetensors

Reads from top to bottom: pictures become pairs of planes, pairs become patches, patches train an
affine-equivariant ESPCN, the average of its last thousand states is measured and written. The loss
is the mean squared error on the luma, as in arXiv 1609.05158, eq. 4; the optimiser is SOAP
(arXiv 2409.11321). A budget in minutes is turned into a number of steps before the first one is
taken and kept in the file: with `--steps` and the same seed the run is repeated.
"""

import argparse
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from espcn import metrics, resample
from espcn.architecture import Weights
from espcn.errors import ModelError
from espcn.network import Network, initial_weights
from espcn.weights_file import write_weights

log = logging.getLogger(__name__)

Plane = NDArray[np.float32]
PICTURES = (".png", ".jpg", ".jpeg", ".bmp")


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides the result besides the pictures."""

    scale: int = 3
    """Enlargement r."""

    steps: int = 10_000
    """Updates of the weights; the learning rate falls to zero over them along a cosine."""

    patch: int = 48
    """Side of the low-resolution part of a patch that is judged, without its context."""

    batch: int = 16
    """Patches per step."""

    learning_rate: float = 3e-3
    """Of SOAP, at the start."""

    average: float = 0.999
    """Decay per step of the moving average of the weights, which is what is kept."""

    seed: int = 0
    """Of the first weights and of the choice of patches."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One picture: what the network sees and what it should answer. Luma, 0 to 1."""

    low: Plane
    """(y + 2*halo, x + 2*halo), with the halo mirrored at the borders."""

    truth: Plane
    """(y * scale, x * scale)."""


def train(recipe: Recipe, pairs: list[Pair], *, device: str = "cpu") -> Weights:
    """Train on the pairs and return the averaged weights; one seed, one device: one result."""
    network = _fresh_network(recipe, device)
    optimizer = _soap(network, recipe)
    average = _Average(network, recipe.average)
    patches = _batches(recipe, pairs, network.halo)
    for step in range(recipe.steps):
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * 0.5 * (1 + np.cos(np.pi * step / recipe.steps))
        loss = _step(network, optimizer, next(patches), device)
        average.update()
        if step % 500 == 0:
            log.info("step %d of %d: loss %.3e", step, recipe.steps, loss)
    average.restore()
    return Weights(network.layers(), recipe.scale)


def steps_within(minutes: float, recipe: Recipe, pairs: list[Pair], *, device: str = "cpu") -> int:
    """How many steps of this recipe take `minutes` on this machine, from timing a few."""
    network = _fresh_network(recipe, device)
    optimizer, patches = _soap(network, recipe), _batches(recipe, pairs, network.halo)
    for _ in range(10):
        _step(network, optimizer, next(patches), device)
    begin = time.perf_counter()
    for _ in range(30):
        _step(network, optimizer, next(patches), device)
    return max(100, int(minutes * 60 * 30 / (time.perf_counter() - begin)))


def read_pairs(folders: list[Path], recipe: Recipe, *, halo: int) -> list[Pair]:
    """Every picture of the folders as luma and its bicubic degradation, in the order of names."""
    paths = [path for folder in folders for path in _pictures(folder)]
    pairs = [_pair(_luma(path), recipe, halo) for path in paths]
    log.info("%d pictures, %.1f LR Mpx", len(pairs), sum(pair.low.size for pair in pairs) / 1e6)
    return pairs


def evaluate(weights: Weights, folder: Path) -> dict[str, float]:
    """Mean PSNR of the luma on a folder by the papers' protocol, with bicubic beside it."""
    network = Network(weights).eval()

    @torch.inference_mode()
    def restore(low: Plane) -> Plane:
        padded = np.pad(low, network.halo, mode="symmetric")
        restored: Plane = network(torch.from_numpy(padded)[None, None])[0, 0].numpy()
        return restored

    scale, name = weights.scale, folder.name
    planes = [_luma(path) for path in _pictures(folder)]
    ours = [metrics.restored_psnr(plane, scale, restore=restore) for plane in planes]
    bicubic = [
        metrics.restored_psnr(plane, scale, restore=lambda low: resample.enlarge(low, scale))
        for plane in planes
    ]
    return {
        f"{name}_psnr_y": round(float(np.mean(ours)), 3),
        f"{name}_psnr_y_bicubic": round(float(np.mean(bicubic)), 3),
    }


# ---------------------------------------------------------------------------------- one step


def _step(
    network: Network, optimizer: torch.optim.Optimizer, batch: tuple[Tensor, Tensor], device: str
) -> float:
    low, truth = (tensor.to(device) for tensor in batch)
    loss = functional.mse_loss(network(low), truth)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return loss.item()


def _fresh_network(recipe: Recipe, device: str) -> Network:
    torch.manual_seed(recipe.seed)
    network = Network(initial_weights(recipe.scale, seed=recipe.seed))
    network.keep_first_kernels_zero_mean()
    network.bf16_layers = 2
    return network.to(device).use_channels_last()


def _soap(network: Network, recipe: Recipe) -> torch.optim.Optimizer:
    from pytorch_optimizer import SOAP

    return SOAP(network.parameters(), lr=recipe.learning_rate, weight_decay=0.0)


class _Average:
    """Exponential moving average of a network's parameters, with the bias of its start removed."""

    def __init__(self, network: Network, decay: float) -> None:
        self.parameters = list(network.parameters())
        self.decay = decay
        self.weight = 0.0
        self.sums = [torch.zeros_like(parameter) for parameter in self.parameters]

    @torch.no_grad()
    def update(self) -> None:
        self.weight = self.decay * self.weight + 1 - self.decay
        for total, parameter in zip(self.sums, self.parameters, strict=True):
            total.mul_(self.decay).add_(parameter, alpha=1 - self.decay)

    @torch.no_grad()
    def restore(self) -> None:
        """Put the average in the place of the parameters."""
        for total, parameter in zip(self.sums, self.parameters, strict=True):
            parameter.copy_(total / self.weight)


# ---------------------------------------------------------------------- pictures and patches


def _pictures(folder: Path) -> list[Path]:
    paths = sorted(path for path in folder.glob("*") if path.suffix.lower() in PICTURES)
    if not paths:
        raise ModelError(f"there are no pictures ({', '.join(PICTURES)}) in {folder}")
    return paths


def _luma(path: Path) -> metrics.Plane:
    from PIL import Image

    with Image.open(path) as image:
        return metrics.luma(np.asarray(image.convert("RGB")))


def _pair(luma: metrics.Plane, recipe: Recipe, halo: int) -> Pair:
    """Degrade one picture; one that is smaller than a patch is continued by mirroring it."""
    truth = metrics.crop_to_multiple(luma, recipe.scale) / 255.0
    low = resample.shrink(truth, recipe.scale)
    missing = [(0, max(0, recipe.patch - side)) for side in low.shape]
    low = np.pad(low, missing, mode="symmetric")
    truth = np.pad(truth, [(0, recipe.scale * after) for _, after in missing], mode="symmetric")
    low = np.pad(low, halo, mode="symmetric")
    return Pair(low.astype(np.float32), truth.astype(np.float32))


def _batches(recipe: Recipe, pairs: list[Pair], halo: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless batches: (n, 1, patch + 2*halo, ..) and (n, 1, patch*scale, ..), by picture area."""
    random = np.random.default_rng(recipe.seed)
    areas = np.array([pair.truth.size for pair in pairs], dtype=np.float64)
    while True:
        chosen = random.choice(len(pairs), size=recipe.batch, p=areas / areas.sum())
        patches = [_patch(recipe, pairs[index], halo, random) for index in chosen]
        low, truth = (np.stack(side)[:, None] for side in zip(*patches, strict=True))
        yield torch.from_numpy(low), torch.from_numpy(truth)


def _patch(
    recipe: Recipe, pair: Pair, halo: int, random: np.random.Generator
) -> tuple[Plane, Plane]:
    """A patch at a random place, turned or mirrored in one of the eight ways of the square."""
    scale, side = recipe.scale, recipe.patch
    height, width = (length - 2 * halo - side + 1 for length in pair.low.shape)
    y, x = int(random.integers(height)), int(random.integers(width))
    low = pair.low[y : y + side + 2 * halo, x : x + side + 2 * halo]
    truth = pair.truth[scale * y : scale * (y + side), scale * x : scale * (x + side)]
    turns, flip = int(random.integers(4)), bool(random.integers(2))
    return _turned(low, turns, flip=flip), _turned(truth, turns, flip=flip)


def _turned(plane: Plane, turns: int, *, flip: bool) -> Plane:
    turned = np.rot90(plane, turns)
    return np.ascontiguousarray(turned[:, ::-1] if flip else turned)


# -------------------------------------------------------------------------- the command line


def main() -> None:
    """Train, measure, write."""
    arguments = _arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(arguments.threads)
    recipe = Recipe(scale=arguments.scale, seed=arguments.seed)
    pairs = read_pairs(arguments.data, recipe, halo=initial_weights(recipe.scale).halo)
    steps = arguments.steps or steps_within(arguments.minutes, recipe, pairs)
    recipe = replace(recipe, steps=steps)
    begin = time.perf_counter()
    weights = train(recipe, pairs)
    minutes = (time.perf_counter() - begin) / 60
    measured: dict[str, float] = {}
    for folder in arguments.evaluate:
        measured |= evaluate(weights, folder)
    log.info("%d steps in %.1f minutes: %s", steps, minutes, measured)
    write_weights(arguments.output, _signed(weights, recipe, arguments.data, minutes, measured))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m espcn.training", description=__doc__)
    parser.add_argument("--scale", type=int, default=3)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders of pictures")
    parser.add_argument("--evaluate", type=Path, nargs="*", default=[], help="never trained on")
    parser.add_argument("--output", type=Path, required=True, help="the weights file")
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--minutes", type=float, default=8.0)
    budget.add_argument("--steps", type=int, help="repeats a run exactly, with the same seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def _signed(
    weights: Weights,
    recipe: Recipe,
    folders: list[Path],
    minutes: float,
    measured: dict[str, float],
) -> Weights:
    """The weights with what a card should say of them."""
    provenance = {
        "training_sets": ", ".join("/".join(folder.parts[-2:]) for folder in folders),
        "degradation": "MATLAB bicubic, antialiased, of the luma (ITU-R BT.601)",
        "recipe": ", ".join(
            f"{field.name} {getattr(recipe, field.name)}" for field in fields(recipe)
        ),
        "optimizer": "SOAP, cosine",
        "minutes": f"{minutes:.1f}",
        "protocol": "luma, unrounded MATLAB bicubic, symmetric borders, scale px shaved, 8 bits",
        "terms": "trained on pictures published for research; the pictures are not included",
    }
    return replace(weights, metrics=measured, provenance=provenance)


if __name__ == "__main__":
    main()
