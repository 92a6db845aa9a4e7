"""The plainest way to run a network: eager torch, float32, the whole image in one forward.

Nothing is tiled, fused or laid out cleverly. It is what tests compare with, and what the benchmark
measures against; it needs about 0.8 GB of memory per megapixel.
"""

import numpy as np
from numpy.typing import NDArray

from espcn.errors import ModelError
from espcn.models import read_model


def whole_image(model: str, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """(band, y, x) in the network's units -> (band, y * scale, x * scale), band by band.

    Borders are mirrored symmetrically. Raises `ModelError` for a model without weights.
    """
    import torch

    from espcn.network import Network

    weights = read_model(model).weights
    if weights is None or not weights.layers:
        raise ModelError(f"{model} has no weights to run in torch: name a trained model")
    network, halo = Network(weights).eval(), weights.halo
    field = np.pad(pixels, ((0, 0), (halo, halo), (halo, halo)), mode="symmetric")
    with torch.inference_mode():
        bands = [network(torch.from_numpy(band[None, None]))[0, 0].numpy() for band in field]
    return np.stack(bands)
