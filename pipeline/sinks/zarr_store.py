"""All objects of a store that hold no pixels: metadata, coordinates, grid mapping, provenance."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.errors import ZarrUserWarning
from zarr.storage import MemoryStore

from pipeline.coordinates import centres, is_rotated
from pipeline.plan import Plan
from pipeline.sinks import zarr_metadata as metadata
from pipeline.sinks.zarr_conventions import Attributes, level_affine
from pipeline.sinks.zarr_layout import (
    Objects,
    array_path,
    create_image,
    create_mask,
    create_values,
    group_path,
)
from pipeline.statistics import Statistics


def describe(plan: Plan, statistics: tuple[Statistics, ...]) -> Objects:
    """All objects that hold no pixels: metadata, coordinates, and the grid mapping."""
    objects: Objects = {}
    for level in range(len(plan.levels)):
        attributes = (
            metadata.group_attributes(plan, level) if level else metadata.root_attributes(plan)
        )
        zarr.create_group(
            MemoryStore(objects),
            path=group_path(level),
            zarr_format=plan.output.zarr_format,
            attributes=dict(attributes),
        )
        image = metadata.image_attributes(plan, level, statistics if level == 0 else ())
        create_image(objects, plan, level, image)
        if plan.fine.mask:
            create_mask(objects, plan, level, metadata.mask_attributes(plan))
        _describe_axes(objects, plan, level)
    zarr.create_group(
        MemoryStore(objects),
        path="provenance",
        zarr_format=plan.output.zarr_format,
        attributes=dict(metadata.provenance_attributes(plan)),
    )
    _consolidate(objects, plan)
    return objects


def _consolidate(objects: Objects, plan: Plan) -> None:
    """Copies of all metadata in one place, for each group that may be opened by itself.

    Version 3 has no such thing in its specification yet, but marks it as safe to ignore; xarray
    looks for it and warns of its absence.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Consolidated metadata", category=ZarrUserWarning)
        for level in reversed(range(len(plan.levels))):
            store, format_ = MemoryStore(objects), plan.output.zarr_format
            zarr.consolidate_metadata(store, path=group_path(level), zarr_format=format_)


def _describe_axes(objects: Objects, plan: Plan, level: int) -> None:
    """Coordinates, and what they refer to."""

    def add(name: str, values: NDArray[Any], attributes: Attributes) -> None:
        path = array_path(level, name)
        create_values(objects, plan, path=path, values=values, attributes=attributes)

    add("band", np.arange(1, len(plan.profile.bands) + 1), {})
    affine = level_affine(plan, level)
    if affine and not is_rotated(affine):
        for name, values in zip("yx", centres(affine, *plan.levels[level]), strict=True):
            add(name, values, metadata.axis_attributes(plan, name))
    if metadata.is_located(plan):
        add("spatial_ref", np.array(0), metadata.mapping_attributes(plan, level))
