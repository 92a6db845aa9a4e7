"""A recipe: everything that decides a training run besides the pixels."""

from dataclasses import dataclass
from math import cos, pi
from typing import Literal

from espcn.errors import ModelError

KERNELS = (5, 3, 3)
"""Sides of the three convolutions, (f1, f2, f3) of arXiv 1609.05158."""

HALO = sum(side // 2 for side in KERNELS)
"""Low-resolution pixels of context on each side."""


@dataclass(frozen=True, slots=True)
class Window:
    """The patches' geometry, in low-resolution pixels."""

    side: int
    """Of the part that is judged."""

    halo: int
    """Context around it, which the network sees and does not answer."""

    scale: int
    """Enlargement r."""

    sub_image: int | None = None
    """Side of what the network sees of a patch that lies on the grid; None for random patches."""

    @property
    def seen(self) -> slice:
        """Rows, and columns, of a patch with halo that the network really sees."""
        length = self.side + 2 * self.halo
        if self.sub_image is None:
            return slice(0, length)
        first = self.halo - (self.sub_image - self.side) // 2
        return slice(first, first + self.sub_image)


@dataclass(frozen=True, slots=True)
class Budget:
    """When a run ends; after the recipe's steps where neither is given."""

    minutes: float | None = None
    """Of training, on this machine."""

    epochs: int | None = None
    """Times that every pixel is shown, instead of minutes."""

    @property
    def given(self) -> bool:
        """Whether it decides the number of steps."""
        return self.minutes is not None or self.epochs is not None


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a network is trained. The defaults are those of the networks that ship."""

    scale: int = 3
    """Enlargement."""

    network: Literal["equivariant", "tanh"] = "equivariant"
    """equivariant: ReLU, no biases, bicubic skip, any unit will do. tanh: the published ESPCN."""

    start: str | None = None
    """Model to start from instead of random weights, a name or a file; {scale} stands for the
    scale. A quarter of the usual learning rate spoils less of it."""

    steps: int = 10_000
    """Updates of the weights; minutes or epochs, where given, decide instead."""

    patch: int = 48
    """Side of what is judged of a patch, in low-resolution pixels, without its context."""

    batch: int = 16
    """Patches per step."""

    sub_image: int | None = None
    """Side of the paper's sub-images, in low-resolution pixels, which then replace random patches:
    every pixel is ground truth once an epoch; null for random patches, turned and mirrored."""

    optimizer: Literal["soap", "adam"] = "soap"
    """SOAP (arXiv 2409.11321) or Adam (arXiv 1412.6980)."""

    learning_rate: float = 12e-3
    """At its highest. For SOAP half and twice as much lost 0.02 and 0.1 dB within 2,400 steps."""

    lowest_rate: float = 0.0
    """Where the rate's cosine ends."""

    last_layer: float = 1.0
    """Share of the rate that the last layer gets; 0.1 in the paper."""

    warm_up: float = 0.03
    """Share of the steps over which the rate rises from zero. Without it 0.05 dB were lost within
    600 steps."""

    turn_every: int = 32
    """Steps between two turns of SOAP's bases; turning them three times as often won nothing."""

    average: float = 0.999
    """Decay per step of the moving average of the weights, which is what is kept."""

    keep: Literal["best", "last"] = "best"
    """Which average, of those measured on the way: the best on what was held back, or the last. A
    few pictures that were held back choose by chance among those of a rate that falls to zero."""

    balance: bool = True
    """Whether every picture weighs by the error that bicubic leaves in it (`espcn.pairs`)."""

    sizes: tuple[float, ...] = (1.0,)
    """Sizes at which every picture is shown: smaller ones are sharper, and more of them."""

    bf16: bool = True
    """Whether the first two convolutions are trained in bfloat16; the third is float32."""

    seed: int = 0
    """Of the first weights and of the choice of patches."""

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ModelError(f"a seed of {self.seed} cannot be: need 0 or more")
        if self.sub_image is not None and self.sub_image <= overlap():
            raise ModelError(
                f"sub-images of {self.sub_image} px leave nothing to judge: need more than "
                f"{overlap()}"
            )

    @property
    def window(self) -> Window:
        """The geometry of a patch."""
        if self.sub_image is None:
            return Window(self.patch, HALO, self.scale)
        return Window(self.sub_image - overlap(), HALO, self.scale, sub_image=self.sub_image)

    def rate(self, step: int) -> float:
        """The learning rate of step 0, 1, ..."""
        rising = min(1.0, (step + 1) / (1.0 + self.warm_up * self.steps))
        falling = 0.5 * (1.0 + cos(pi * step / self.steps))
        return rising * (self.lowest_rate + (self.learning_rate - self.lowest_rate) * falling)


def overlap() -> int:
    """Pixels that neighbouring sub-images share: the sum of f mod 2 over the kernels' sides.

    Section 4.1 of arXiv 1609.05158: sub-images of 17r x 17r are taken at a stride of
    (17 - sum of mod(f, 2)) * r.
    """
    return sum(side % 2 for side in KERNELS)
