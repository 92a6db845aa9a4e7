"""Everything that is decided before a tile runs; a plan that cannot fit never starts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pipeline.errors import NoRoomError, PlanError
from pipeline.fate import Provenance, refine
from pipeline.kernel import Upscaler, make_tiling
from pipeline.options import OutputOptions, TilingOptions
from pipeline.profile import Profile
from pipeline.pyramid import BLOCK, Method, level_shapes, levels_within
from pipeline.radiometry import Radiometry
from pipeline.serial import digest
from pipeline.sources import Address
from pipeline.tiling import Tiling

CPU_SIDE, GPU_SIDE = 2048, 4096
"""Usual sides of a tile in fine pixels."""
FLAT = ("png", "dicom")
"""Formats without overviews."""
NETWORK_CHANNELS = 64 + 64 + 32
"""Feature maps that an ESPCN holds at once, in float32."""


@dataclass(frozen=True)
class Plan:
    """How one output is made. Picklable, JSON-able; equal plans give equal bytes."""

    source: Address
    """The input."""
    profile: Profile
    """Its facts."""
    provenance: Provenance
    """Software, model and scale."""
    radiometry: Radiometry
    """How its values go through the network."""
    tiling: Tiling
    """How it is cut."""
    output: OutputOptions
    """How the output is written."""
    format: str
    """The sink that writes it, by the name of its module."""

    @cached_property
    def fine(self) -> Profile:
        """The facts of the output."""
        return refine(self.profile, self.provenance)

    @cached_property
    def digest(self) -> str:
        """Identifies the output's bytes: equal for equal input, weights, options and format."""
        return digest(self)

    @property
    def categorical(self) -> bool:
        """Whether the values are codes."""
        return any(band.role == "category" for band in self.profile.bands)

    @property
    def method(self) -> Method | None:
        """How overviews are made, or None for none."""
        return self.output.method(categorical=self.categorical)

    @property
    def levels(self) -> tuple[tuple[int, int], ...]:
        """(height, width) of full resolution and of every overview."""
        shapes = level_shapes(*self.tiling.shape)
        return shapes if self.method and self.format not in FLAT else shapes[:1]

    @property
    def tile_levels(self) -> int:
        """How many of the overviews a tile writes by itself."""
        return min(levels_within(self.tiling.side), len(self.levels) - 1)

    @property
    def tile_bytes(self) -> int:
        """Memory that one tile needs, in bytes; an upper estimate."""
        return tile_bytes(self.profile, self.tiling)


def choose_side(
    profile: Profile,
    upscaler: Upscaler,
    options: TilingOptions,
    *,
    memory: int,
    threads: int,
    gpu: bool = False,
) -> int:
    """Side of a tile in fine pixels: as asked for, or the largest that suits.

    `memory` is what one worker thread may use, in bytes; `threads` how many there are in all.
    Raises PlanError for a size that is not a multiple of a block.
    """
    if options.tile is not None:
        if options.tile < BLOCK or options.tile % BLOCK:
            raise PlanError(f"tiling.tile must be a multiple of {BLOCK}, got {options.tile}")
        return options.tile
    usual = GPU_SIDE if gpu else CPU_SIDE
    # blocks on a fixed grid: tiles that are whole numbers of blocks compute nothing twice
    unit = math.lcm(BLOCK, upscaler.block * upscaler.scale) if upscaler.fixed else BLOCK
    if unit > 2 * usual:  # no tile fits such blocks: those at its borders are computed twice
        unit = BLOCK
    sides = [side for side in range(unit, max(usual, unit) + 1, unit) if _handy(side // unit)]
    for side in reversed(sides):
        tiling = make_tiling(
            profile.height, profile.width, upscaler, side=side, frames=profile.frames
        )
        small = side == sides[0]
        if tile_bytes(profile, tiling) > memory and not small:
            continue
        if len(tiling) >= 2 * threads or small:
            return side
    raise AssertionError("unreachable: the smallest side always returns")


def _handy(blocks: int) -> bool:
    """Powers of two: the deeper a tile is divisible, the more overviews it makes itself."""
    return blocks & (blocks - 1) == 0


def tile_bytes(profile: Profile, tiling: Tiling) -> int:
    """Memory of one tile at its peak, in bytes; an upper estimate."""
    margin = 2 * (tiling.halo + tiling.reach)
    rows, columns = (
        min(-(-tiling.side // tiling.scale) + 2 * tiling.align, size) + margin
        for size in (tiling.height, tiling.width)
    )
    itemsize, bands = np.dtype(profile.dtype).itemsize, len(profile.bands)
    coarse = rows * columns * (bands * (itemsize + 1) + 2 * 4)
    fine = min(tiling.side, tiling.shape[0]) * min(tiling.side, tiling.shape[1]) * bands
    block = min(rows, 520) * min(columns, 520)
    # fine pixels, a validity mask, overviews, and one copy on the way to the encoder
    return coarse + fine * (2 * itemsize + itemsize // 2 + 2) + block * 4 * NETWORK_CHANNELS


def check_memory(plan: Plan, *, memory: int) -> None:
    """Raise NoRoomError if a tile cannot fit the `memory` bytes of a worker thread."""
    need = plan.tile_bytes
    if need > memory:
        raise NoRoomError(
            f"a tile of {plan.tiling.side} px needs {mib(need)}, a worker thread has "
            f"{mib(memory)}; use a smaller tiling.tile, fewer threads or more memory",
            uri=plan.profile.label,
        )


def mib(size: float) -> str:
    """Bytes for people."""
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"
