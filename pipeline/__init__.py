"""Huge rasters in tiles: read with overlap, upscale on Dask, write without a seam.

    pipeline.upscale(data_array, espcn.load("general-x2"))      a lazy, georeferenced DataArray

Whole files are the business of `workflows.upscale`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.lazy import upscale

__all__ = ["upscale"]


def __getattr__(name: str) -> object:
    """Import xarray and dask.array only when the façade is used: workers never need them."""
    if name == "upscale":
        from pipeline.lazy import upscale

        return upscale
    raise AttributeError(f"module 'pipeline' has no attribute {name!r}")
