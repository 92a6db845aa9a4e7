"""A job as a value: one input, its outputs, and every option with its default."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pipeline.options import (
    ClusterOptions,
    OutputOptions,
    RadiometryOptions,
    ReportOptions,
    SourceOptions,
    TilingOptions,
)


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """Which network, and where it runs."""

    name: str = "general-x2"
    """Name of a shipped model, `nearest`, `bicubic`, or a .safetensors file."""
    scale: int | None = None
    """Scale of `nearest` and `bicubic`; for others it must agree with the weights."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where it runs; auto: on a GPU if there is one."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Arithmetic; bf16 is faster and a few counts less exact."""
    consistency: int = 0
    """Steps of back-projection after the network, which make the result degrade to the input more
    nearly; each enlarges the halo."""


@dataclass(frozen=True, slots=True)
class Job:
    """One image in, one or several images out."""

    source: str
    """Path of the input."""
    outputs: tuple[str, ...]
    """Paths of the outputs; their suffixes choose the formats."""
    overwrite: bool = False
    """Whether existing outputs may be replaced."""
    model: ModelOptions = field(default_factory=ModelOptions)
    """Which network."""
    input: SourceOptions = field(default_factory=SourceOptions)
    """How the input is read."""
    radiometry: RadiometryOptions = field(default_factory=RadiometryOptions)
    """How its values are understood."""
    tiling: TilingOptions = field(default_factory=TilingOptions)
    """How the work is cut."""
    output: OutputOptions = field(default_factory=OutputOptions)
    """How outputs are written."""
    cluster: ClusterOptions = field(default_factory=ClusterOptions)
    """Where tiles are made."""
    report: ReportOptions = field(default_factory=ReportOptions)
    """What is written beside the outputs."""
