"""A batch as a value: an inbox, an outbox, and every option with its default."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pipeline.options import (
    ClusterOptions,
    OutputOptions,
    RadiometryOptions,
    TilingOptions,
)
from pipeline.scenes.scene import SceneOptions
from workflows.batch.options import BatchOptions, CheckOptions, ModelsOptions, ScheduleOptions
from workflows.job import ModelOptions


@dataclass(frozen=True, slots=True)
class Batch:
    """Scenes in, products out."""

    batch: BatchOptions
    """Where from and where to."""
    scenes: SceneOptions = field(default_factory=SceneOptions)
    """How scenes are found and what is taken of them."""
    models: ModelsOptions = field(default_factory=ModelsOptions)
    """Which network a raster gets."""
    model: ModelOptions = field(default_factory=ModelOptions)
    """Where networks run; its name and scale do not count here."""
    radiometry: RadiometryOptions = field(default_factory=RadiometryOptions)
    """How values are understood."""
    tiling: TilingOptions = field(default_factory=TilingOptions)
    """How the work is cut."""
    output: OutputOptions = field(default_factory=OutputOptions)
    """How images are written."""
    cluster: ClusterOptions = field(default_factory=ClusterOptions)
    """Where tiles are made."""
    checks: CheckOptions = field(default_factory=CheckOptions)
    """Limits that every product must keep."""
    schedule: ScheduleOptions = field(default_factory=ScheduleOptions)
    """What a nightly run adds."""

    @property
    def inbox(self) -> Path:
        """Directory of scenes, absolute."""
        return Path(self.batch.inbox).absolute()

    @property
    def outbox(self) -> Path:
        """Directory of products, absolute."""
        return Path(self.batch.outbox).absolute()

    @property
    def state(self) -> Path:
        """Where the state lies."""
        return self.outbox / ".espcn"
