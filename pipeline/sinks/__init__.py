"""Sinks: outputs being written, each one module with the functions of `Sink`.

A sink writes into a staging directory only (see `pipeline.stage`): `begin` on the driver, `write`
on workers in any order and possibly more than once per tile, `publish` on the driver once every
tile is in. A new format is one new module here (or an entry point in the group `espcn.sinks`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol, cast

from pipeline.errors import ConfigError
from pipeline.fate import Fate
from pipeline.journal import Receipt, Staged
from pipeline.kernel import Fine
from pipeline.plan import Plan
from pipeline.profile import Profile
from pipeline.tiling import Tile

FORMATS = {
    "cog": "pipeline.sinks.cog",
    "zarr": "pipeline.sinks.zarr",
    "ome_zarr": "pipeline.sinks.ome_zarr",
    "png": "pipeline.sinks.png",
    "slide": "pipeline.sinks.slide",
    "dicom": "pipeline.sinks.dicom",
}
"""Our own sinks by name."""


class Sink(Protocol):
    """What the module of a sink offers."""

    def claims(self, target: Path, profile: Profile) -> bool:
        """Whether this format is meant by the target's name, for a source of that profile."""

    def check(self, plan: Plan, target: Path) -> None:
        """Raise PlanError if the format cannot hold the output, or what is at `target` is of a
        kind that must not be replaced."""

    def fates(self, plan: Plan) -> tuple[Fate, ...]:
        """What becomes of the source's metadata in this format."""

    def begin(self, stage: Path, plan: Plan) -> None:
        """Prepare an empty stage; also called on a resumed one, then changes nothing."""

    def write(self, stage: Path, plan: Plan, tile: Tile, fine: Fine) -> tuple[Staged, ...]:
        """Make one tile durable: whole files under their final names within the stage."""

    def publish(
        self, stage: Path, plan: Plan, receipts: Mapping[int, Receipt], target: Path
    ) -> None:
        """Make the output from the stage, verifying what it takes, and put it in place in one step.

        Replaces what is at `target`. Interrupted at any moment it can be called again. Raises
        OSError for what the user can mend, and DamagedStageError with the tile that must be written
        again, or without one where the job must start again.
        """


def sink_for(target: Path, profile: Profile) -> tuple[str, Sink]:
    """(name, sink) of the format that a target's suffix asks for; raises ConfigError."""
    for name in _names():
        sink = load_sink(name)
        if sink.claims(target, profile):
            return name, sink
    if profile.slide:
        raise ConfigError(
            "a slide goes into several files or a store; use a directory or .zarr", uri=str(target)
        )
    formats = "a directory, .dcm or .zarr for DICOM" if profile.medical else ".tif, .zarr or .png"
    raise ConfigError(
        f"no output format has the suffix '{target.suffix}'; use {formats}", uri=str(target)
    )


@lru_cache
def load_sink(name: str) -> Sink:
    """A sink by its name."""
    for entry in entry_points(group="espcn.sinks", name=name):
        return cast("Sink", entry.load())
    return cast("Sink", import_module(FORMATS[name]))


def _names() -> list[str]:
    return [entry.name for entry in entry_points(group="espcn.sinks")] + list(FORMATS)
