"""What a user may choose about a training run, besides its data and its recipe."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from espcn.degradation import Degradation, Sensor, mtf_sigma, sensor_degradation
from espcn.recipe import Recipe
from pipeline.errors import ConfigError
from workflows.data_options import DataOptions

TYPICAL_MTF = 0.3
"""At the Nyquist frequency, of optical instruments: what a Gaussian of no width stands for."""


@dataclass(frozen=True, slots=True)
class DegradationOptions:
    """How low-resolution pixels are made of those that are given."""

    kind: Literal["bicubic", "gaussian", "sensor"] = "bicubic"
    """bicubic: MATLAB's. gaussian: a blur, then every scale-th pixel. sensor: the blur of each
    band's optics."""
    sigma: float | None = None
    """Of gaussian, in fine pixels; null: that of an MTF of 0.3 at Nyquist, 0.49 times the scale."""
    sensor: Sensor = "sentinel2"
    """Whose bands they are, for kind sensor; bands are told by their names."""

    def __post_init__(self) -> None:
        if self.sigma is not None and self.kind != "gaussian":
            raise ConfigError(
                f"a sigma of {self.sigma:g} means nothing to the degradation {self.kind}: choose "
                "gaussian, or leave it out"
            )

    def of(self, scale: int, bands: tuple[str, ...]) -> Degradation:
        """That of pixels of these bands; raises `ModelError` for bands the sensor does not have."""
        if self.kind == "sensor":
            return sensor_degradation(scale, self.sensor, bands)
        if self.kind == "gaussian":
            sigma = mtf_sigma(scale, TYPICAL_MTF) if self.sigma is None else self.sigma
            return Degradation("gaussian", scale, (sigma,))
        return Degradation("bicubic", scale)


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How long a network is trained, and where."""

    minutes: float | None = None
    """Minutes of training; null: the recipe's steps."""
    epochs: int | None = None
    """Times that every pixel is shown, instead of minutes."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where it is trained; auto: on a GPU if there is one."""
    threads: int | None = None
    """Threads that compute on a CPU; null: one per core."""
    value_range: tuple[float, float] | None = None
    """The values that a tanh network calls 0 and 1; null: 0 and 255 for 8 bits, else the least and
    the greatest of the training data."""

    def __post_init__(self) -> None:
        if self.minutes is not None and self.epochs is not None:
            raise ConfigError(
                f"{self.minutes:g} minutes and {self.epochs} epochs exclude each other: give one"
            )


@dataclass(frozen=True, slots=True)
class CardOptions:
    """What the model's card says that no program can know."""

    title: str = ""
    """What the model is for, in one line."""
    data: str = ""
    """What it was trained on, and who made that."""
    terms: str = ""
    """Under which licence or terms the data may be used, and the model with it."""
    domain: str = ""
    """What it was tested on."""
    misuse: str = ""
    """What it must not be used for, besides what is true of all such models."""


@dataclass(frozen=True, slots=True)
class Training:
    """Everything that `espcn train` is told."""

    sources: tuple[str, ...]
    """Files and folders to learn from."""
    output: Path
    """The weights file; its neighbours bear its name."""
    validation: tuple[str, ...] = ()
    """Files and folders to validate with; none: a share of the others is held back."""
    overwrite: bool = False
    """Whether an existing model may be replaced, and an interrupted run forgotten."""
    resume: bool = False
    """Whether to go on with an interrupted run."""
    data: DataOptions = field(default_factory=DataOptions)
    """How data becomes samples."""
    degradation: DegradationOptions = field(default_factory=DegradationOptions)
    """What is done to them."""
    recipe: Recipe = field(default_factory=Recipe)
    """How the network learns."""
    run: RunOptions = field(default_factory=RunOptions)
    """How long, and where."""
    card: CardOptions = field(default_factory=CardOptions)
    """What the card says."""

    @property
    def outputs(self) -> tuple[Path, Path, Path]:
        """The weights, their card, and the sheet of pictures."""
        card, sheet = (self.output.with_suffix(suffix) for suffix in (".md", ".png"))
        return self.output, card, sheet

    @property
    def folder(self) -> Path:
        """Where the run keeps its checkpoint and its log."""
        return self.output.with_name(f"{self.output.stem}.training")

    @property
    def checkpoint(self) -> Path:
        """Of an interrupted run."""
        return self.folder / "checkpoint.safetensors"

    def degradation_of(self, bands: tuple[str, ...]) -> Degradation:
        """What is done to pixels of these bands; see `DegradationOptions.of`."""
        return self.degradation.of(self.recipe.scale, bands)
