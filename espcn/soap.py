"""SOAP, Adam in the eigenbasis of Shampoo's covariances, for kernels taken as matrices.

    G (m, n) = gradient of a kernel (out, in * k * k)
    L = mean of G G', R = mean of G' G                 covariances of rows and of columns
    U = eigenvectors of L, V = eigenvectors of R       turned towards them now and then
    W -= rate * U (U' M V / sqrt(S)) V'                M = mean of G, S = mean of (U' G V)**2

N. Vyas et al., "SOAP: Improving and Stabilizing Shampoo using Adam", arXiv 2409.11321, algorithms 3
and 4. On matrices it takes the steps of `pytorch_optimizer.SOAP`. Nothing in a step waits for the
device or holds a number of the host, so that a CUDA graph can record it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

DECAY = 0.95
"""Of all running means, per step; the paper's."""

SMALLEST = 1e-8
"""Added to the roots of the second moments."""


@dataclass(frozen=True, slots=True)
class _State:
    """What is kept of one kernel; all of it is updated in place."""

    kernel: Tensor
    """(m, ..), the parameter itself."""

    mean: Tensor
    """M, (m, n)."""

    square: Tensor
    """S, (m, n), in the eigenbasis."""

    covariances: tuple[Tensor, Tensor]
    """L (m, m) and R (n, n)."""

    bases: tuple[Tensor, Tensor]
    """U (m, m) and V (n, n), orthonormal columns by falling eigenvalue."""


class Soap:
    """The optimiser of a list of kernels; all of its arithmetic is float32."""

    def __init__(
        self,
        kernels: Sequence[Tensor],
        gradients: Sequence[Tensor],
        shares: Sequence[float] | None = None,
    ) -> None:
        """Take the first bases from first `gradients`, which change no kernel.

        `shares` of the rate that the kernels get; 1 if not given. A bias is a matrix of one column.
        """
        self.rate = torch.zeros((), device=kernels[0].device)
        self._shares = shares or [1.0] * len(kernels)
        self._states = [
            _first_state(kernel, _matrix(gradient))
            for kernel, gradient in zip(kernels, gradients, strict=True)
        ]

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor]) -> None:
        """One update of every kernel by `rate`, which the caller sets."""
        for state, share, gradient in zip(self._states, self._shares, gradients, strict=True):
            _update(state, _matrix(gradient), share * self.rate)

    @torch.no_grad()
    def turn(self) -> None:
        """Turn the bases towards the eigenvectors by one power iteration; due now and then."""
        for state in self._states:
            for axis in (0, 1):
                _turn(state, axis)

    def state(self) -> list[Tensor]:
        """All that is remembered between steps, in place."""
        return [
            tensor
            for state in self._states
            for tensor in (state.mean, state.square, *state.covariances, *state.bases)
        ]

    @staticmethod
    def correction(step: int) -> float:
        """What the rate of update 1, 2, .. must be multiplied by, for means that start at zero.

        D. Kingma and J. Ba, "Adam", arXiv 1412.6980, section 2.
        """
        missing = 1.0 - DECAY**step
        return float(missing**0.5 / missing)


def _matrix(gradient: Tensor) -> Tensor:
    return gradient.reshape(len(gradient), -1)


def _first_state(kernel: Tensor, gradient: Tensor) -> _State:
    covariances = tuple(
        (1 - DECAY) * product for product in (gradient @ gradient.T, gradient.T @ gradient)
    )
    left, right = (torch.linalg.eigh(covariance)[1].flip(1) for covariance in covariances)
    return _State(
        kernel,
        mean=torch.zeros_like(gradient),
        square=torch.zeros_like(gradient),
        covariances=(covariances[0], covariances[1]),
        bases=(left.contiguous(), right.contiguous()),
    )


def _update(state: _State, gradient: Tensor, rate: Tensor) -> None:
    left, right = state.bases
    rotated = left.T @ gradient @ right
    state.mean.lerp_(gradient, 1 - DECAY)
    state.square.lerp_(rotated.square(), 1 - DECAY)
    direction = (left.T @ state.mean @ right) / (state.square.sqrt() + SMALLEST)
    state.kernel.sub_(rate * (left @ direction @ right.T).view(state.kernel.shape))
    rows, columns = state.covariances
    rows.lerp_(gradient @ gradient.T, 1 - DECAY)
    columns.lerp_(gradient.T @ gradient, 1 - DECAY)


def _turn(state: _State, axis: int) -> None:
    covariance, basis = state.covariances[axis], state.bases[axis]
    product = covariance @ basis
    order = torch.argsort((basis * product).sum(dim=0), descending=True)
    state.square.copy_(state.square.index_select(axis, order))
    basis.copy_(torch.linalg.qr(product.index_select(1, order))[0])
