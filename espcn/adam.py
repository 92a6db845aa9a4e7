"""Adam with a rate of its own for every kernel, in the manner of `espcn.soap`.

D. Kingma and J. Ba, "Adam: A Method for Stochastic Optimization", arXiv 1412.6980, algorithm 1.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

DECAYS = (0.9, 0.999)
"""Of the running means of gradients and of their squares, per step; the paper's."""

SMALLEST = 1e-8
"""Added to the roots of the second moments; the paper's."""


class Adam:
    """The optimiser of a list of kernels; all of its arithmetic is float32."""

    def __init__(self, kernels: Sequence[Tensor], shares: Sequence[float]) -> None:
        """`shares` of the rate that the kernels get."""
        self.rate = torch.zeros((), device=kernels[0].device)
        self._kernels, self._shares = kernels, shares
        self._means = [torch.zeros_like(kernel) for kernel in kernels]
        self._squares = [torch.zeros_like(kernel) for kernel in kernels]

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor]) -> None:
        """One update of every kernel by its share of `rate`, which the caller sets."""
        states = zip(
            self._kernels, self._shares, self._means, self._squares, gradients, strict=True
        )
        for kernel, share, mean, square, gradient in states:
            mean.lerp_(gradient, 1 - DECAYS[0])
            square.lerp_(gradient.square(), 1 - DECAYS[1])
            kernel.sub_(share * self.rate * mean / (square.sqrt() + SMALLEST))

    def turn(self) -> None:
        """Nothing to turn."""

    def state(self) -> list[Tensor]:
        """All that is remembered between steps, in place."""
        return [*self._means, *self._squares]

    @staticmethod
    def correction(step: int) -> float:
        """What the rate of update 1, 2, .. must be multiplied by, for means that start at zero."""
        return float((1 - DECAYS[1] ** step) ** 0.5 / (1 - DECAYS[0] ** step))
