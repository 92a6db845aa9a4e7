"""A model's facts, read from its weights file without running it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from espcn.architecture import Activation, Weights


@dataclass(frozen=True, slots=True)
class Card:
    """What a caller must know to feed a model, and what a reader wants to know about it."""

    name: str
    """As it is asked for: a shipped model, `bicubic`, `nearest`, or the stem of a weights file."""

    scale: int
    """Output pixels per input pixel along each axis."""

    bands: int
    """Bands the model mixes; 1 means that it is applied to each band by itself, however many."""

    halo: int
    """Receptive-field radius in low-resolution pixels: the context a tile needs on every side."""

    activation: Activation
    """Between the layers; `none` for the models without layers."""

    skip: bool
    """Whether the bicubic enlargement of the input is part of the output."""

    equivariant: bool
    """Whether SR(a*x + b) = a*SR(x) + b for every a > 0: then any unit and range will do."""

    input_range: tuple[float, float] | None
    """Values the network was trained on, which scenes must be mapped to; None if any will do."""

    sha256: str
    """Of the weights file's bytes; for models without a file, of their description."""

    metrics: Mapping[str, float]
    """Measured quality in dB, such as `set5_psnr_y` and `set5_psnr_y_bicubic`; may be empty."""

    provenance: Mapping[str, str]
    """Training sets, degradation, recipe, minutes, terms, verdict; may be empty."""

    band_names: tuple[str, ...] = ()
    """What each of `bands` shows, in order; empty where unknown."""

    value_range: tuple[float, float] | None = None
    """Values of the data it was trained on that `input_range` stands for; None if unknown."""

    @property
    def verdict(self) -> str:
        """`pass` or `fail: ...` as its training has judged; empty where it did not."""
        return self.provenance.get("verdict", "")

    @property
    def warning(self) -> str | None:
        """What whoever uses the model must hear, in one line; None unless its verdict is a fail."""
        judged, _, reason = self.verdict.partition(":")
        if judged.strip() != "fail":
            return None
        why = " ".join(reason.split()) or "no reason is given"
        return f"the model {self.name} failed its validation: {why}"

    def as_dict(self) -> dict[str, object]:
        """The facts as plain values, in the order of the fields."""
        return asdict(self)

    def as_json(self) -> str:
        """The facts as one JSON object."""
        return json.dumps(self.as_dict(), indent=2)


def card_of(weights: Weights, *, name: str, sha256: str) -> Card:
    """The card of a network; `sha256` stands for the numbers, whether in a file or not."""
    return Card(
        name=name,
        scale=weights.scale,
        bands=weights.bands,
        halo=weights.halo,
        activation=weights.activation if weights.layers else "none",
        skip=weights.skip,
        equivariant=weights.equivariant,
        input_range=None if weights.equivariant else weights.input_range,
        sha256=sha256,
        metrics=weights.metrics,
        provenance=weights.provenance,
        band_names=weights.band_names,
        value_range=None if weights.equivariant else weights.value_range,
    )
