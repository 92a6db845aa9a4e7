"""From what a user writes to a model: shipped names, `bicubic` and `nearest`, weights files."""

import hashlib
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from espcn.architecture import MAX_SCALE, Weights
from espcn.card import Card, card_of
from espcn.errors import ModelError
from espcn.weights_file import read_weights

BUILT_IN = ("bicubic", "nearest")
"""Models without a weights file, at any scale."""

_DEFAULT_SCALE = 2
_SUFFIX = ".safetensors"
_SHIPPED = Path(__file__).with_name("weights")


@dataclass(frozen=True, slots=True)
class Model:
    """A model that was found and read."""

    card: Card
    """Its facts."""

    weights: Weights | None
    """Its numbers; None for `nearest`, which has none."""


def describe(model: str, *, scale: int | None = None) -> Card:
    """The card of a shipped model, of `bicubic` or `nearest`, or of a weights file.

    `scale` chooses for `bicubic` and `nearest` (2 if not given); for the others it may only
    confirm. Reads one small file and imports neither torch nor a runtime. Raises `ModelError`.
    """
    return read_model(model, scale=scale).card


def shipped() -> tuple[Card, ...]:
    """The cards of the models that come with the package, by name."""
    return tuple(describe(name) for name in shipped_names())


def shipped_names() -> list[str]:
    """Names of the models that come with the package, sorted."""
    return sorted(path.stem for path in _SHIPPED.glob(f"*{_SUFFIX}"))


def address_of(model: str) -> str:
    """The same model for every process of this machine: paths are made absolute, names stay."""
    return model if model in (*BUILT_IN, *shipped_names()) else str(Path(model).absolute())


def read_model(model: str, *, scale: int | None = None) -> Model:
    """Find and read a model; the errors are those of `describe`."""
    if model in BUILT_IN:
        return _built_in(model, _DEFAULT_SCALE if scale is None else scale)
    path = _path(model)
    weights, sha256 = read_weights(path)
    if scale is not None and scale != weights.scale:
        raise ModelError(
            f"{model} enlarges by {weights.scale}, not by {scale}: leave the scale out or "
            f"choose another model"
        )
    return Model(card_of(weights, name=path.stem, sha256=sha256), weights)


def _built_in(name: str, scale: int) -> Model:
    if not 2 <= scale <= MAX_SCALE:
        raise ModelError(f"{name} cannot enlarge by {scale}: choose a scale from 2 to {MAX_SCALE}")
    bicubic = Weights((), scale)
    sha256 = hashlib.sha256(f"espcn {name} x{scale} version 1".encode()).hexdigest()
    card = card_of(bicubic, name=name, sha256=sha256)
    if name == "bicubic":
        return Model(card, bicubic)
    nearest = replace(card, halo=0, skip=False)
    return Model(nearest, None)


def _path(model: str) -> Path:
    names = shipped_names()
    if model in names:
        return _SHIPPED / f"{model}{_SUFFIX}"
    if not _is_name(model):
        return Path(model)
    known = [*names, *BUILT_IN]
    close = get_close_matches(model, known, n=1, cutoff=0.3)
    hint = f"did you mean {close[0]}?" if close else "or give a .safetensors file"
    raise ModelError(f"there is no model {model!r}: choose from {', '.join(known)}; {hint}")


def _is_name(model: str) -> bool:
    """Whether this can only be a name: no folder, no suffix, and no such file."""
    path = Path(model)
    return len(path.parts) == 1 and not path.suffix and not path.exists()
