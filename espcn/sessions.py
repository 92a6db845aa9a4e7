"""What runs a network: a `Session` per backend, each in a module of its own."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from espcn.errors import ModelError

Pixels = NDArray[np.float32]


class Session(Protocol):
    """A loaded network, shared by the threads of a process."""

    def run(self, pixels: Pixels) -> Pixels:
        """(C, h + 2*halo, w + 2*halo) -> (C, h*r, w*r); C is the network's own band count.

        A session that was made `split` gives planes instead, see `Upscaler.planes`.
        """


def missing(package: str, *, install: str) -> ModelError:
    """The error for a package that is not installed; `install` is what to give to pip."""
    return ModelError(f"{package} is not installed: pip install {install}")
