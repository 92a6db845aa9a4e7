"""A model as an ONNX file for other programs: the whole network, its facts, and proof that it runs.

    pixels (batch, C, h + 2*halo, w + 2*halo)  -->  fine (batch, C, h*r, w*r)      both float32

The halo is not in the graph: whoever runs it mirrors `halo` pixels around the image, the edge pixel
repeated (`numpy.pad` calls it symmetric), and reads tiles with that much context. A network of one
band takes any number of bands as its batch.
"""

import json
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from espcn.architecture import Weights
from espcn.card import Card
from espcn.errors import ModelError
from espcn.graph import whole_graph
from espcn.models import read_model
from espcn.onnxruntime_session import open_graph
from espcn.upscaler import Upscaler, load
from espcn.weights_file import check_free, write_atomically

if TYPE_CHECKING:
    from onnx import ModelProto

TOLERANCE = 1e-5
"""Largest difference from our own upscaler, as a share of the range of the values."""

_SIDES = ((32, 32), (37, 45))
"""Heights and widths, without halo, of the images that an export is tried with."""


def export_onnx(
    model: str, path: str | Path, *, scale: int | None = None, overwrite: bool = False
) -> Path:
    """Write a model as ONNX (opset 13) to `path`, checked and tried in ONNX Runtime; the path.

    `model` and `scale` are those of `describe`, but `bicubic` needs a scale. The file appears under
    its name whole, or not at all. Raises `ModelError` for a name that does not end in .onnx, for
    one that exists unless `overwrite`, for a model without a graph (`nearest`), and where the graph
    does not compute what our own upscaler does.
    """
    target = Path(path)
    if target.suffix != ".onnx":
        raise ModelError(f"cannot write {target}: the name of an ONNX file ends in .onnx")
    found = read_model(model, scale=scale)
    if found.weights is None:
        raise ModelError(f"{model} copies pixels and has no graph: name a trained model or bicubic")
    if not found.weights.layers and scale is None:
        raise ModelError(f"{model} enlarges by any factor: choose one, such as --scale 3")
    check_free(target, overwrite=overwrite)
    data = _serialise(found.weights, found.card)
    _try(data, load(model, scale=scale, device="cpu"))
    write_atomically(target, data)
    return target


def _serialise(weights: Weights, card: Card) -> bytes:
    """The graph for any batch, height and width, with its facts, checked by ONNX."""
    import onnx

    model = onnx.load_from_string(whole_graph(weights, square=1))
    _free(model)
    model.producer_name, model.producer_version = "espcn", version("espcn")
    model.doc_string = _expects(card)
    onnx.helper.set_model_props(model, _properties(card))
    try:
        onnx.checker.check_model(model, full_check=True)
    except onnx.checker.ValidationError as error:
        raise ModelError(f"{card.name} makes no valid ONNX graph ({error}): report it") from error
    serialised: bytes = model.SerializeToString(deterministic=True)
    return serialised


def _free(model: "ModelProto") -> None:
    """Let the batch be of any size, and name the sides of what comes out."""
    taken, given = (
        values[0].type.tensor_type.shape.dim for values in (model.graph.input, model.graph.output)
    )
    taken[0].dim_param = "batch"
    given.add(dim_param="batch")
    given.add(dim_value=taken[1].dim_value)
    given.add(dim_param="fine_height")
    given.add(dim_param="fine_width")


def _properties(card: Card) -> dict[str, str]:
    """The facts as ONNX keeps them: text as it is, all else as JSON."""
    facts = card.as_dict() | {
        "input": _expects(card),
        "degradation": card.provenance.get("degradation", "unknown"),
    }
    return {key: fact if isinstance(fact, str) else json.dumps(fact) for key, fact in facts.items()}


def _expects(card: Card) -> str:
    """What goes in and what comes out, for whoever has nothing but the file."""
    span = "any unit and range"
    if card.input_range is not None:
        low, high = card.input_range
        span = f"values from {low:g} to {high:g}"
    if card.value_range is not None:
        low, high = card.value_range
        span += f", which stand for {low:.9g} to {high:.9g} of the data that it was trained on"
    bands = ", ".join(card.band_names) or f"{card.bands} bands"
    shown = "bands one by one, as a batch" if card.bands == 1 else bands
    return (
        f"pixels (batch, {card.bands}, height + {2 * card.halo}, width + {2 * card.halo}) float32, "
        f"{span}, {shown}; {card.halo} px are mirrored around the image, the edge pixel repeated. "
        f"fine (batch, {card.bands}, {card.scale} * height, {card.scale} * width) float32."
    )


def _try(data: bytes, upscaler: Upscaler) -> None:
    """Raise `ModelError` unless ONNX Runtime computes what our own upscaler does."""
    session, card = open_graph(data, threads=1), upscaler.card
    for sides in _SIDES:
        pixels = _noise((2, card.bands, *sides), card)
        (fine,) = session.run(None, {"pixels": pixels})
        ours = np.stack([upscaler(image) for image in pixels])
        difference = float(np.max(np.abs(fine - ours))) if fine.shape == ours.shape else np.inf
        if not difference <= TOLERANCE * float(np.ptp(pixels)):
            raise ModelError(
                f"the graph of {card.name} differs from its upscaler by {difference:g} where "
                f"values span {np.ptp(pixels):g}: nothing was written, report it"
            )


def _noise(shape: tuple[int, ...], card: Card) -> NDArray[np.float32]:
    """Noise over the range that the network was trained on, with a halo."""
    low, high = card.input_range or (0.0, 1.0)
    grown = (*shape[:-2], *(side + 2 * card.halo for side in shape[-2:]))
    return np.random.default_rng(0).uniform(low, high, grown).astype(np.float32)
