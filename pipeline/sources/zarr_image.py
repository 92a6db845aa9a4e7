"""Which array of a Zarr store is the image, and what lies beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import zarr
from zarr.abc.store import Store

from pipeline.coordinates import Reals
from pipeline.errors import SourceError

Array = zarr.Array[Any]
Attributes = Mapping[str, object]

SHOWN = 6
"""Names that an error lists."""


@dataclass(frozen=True, slots=True)
class Image:
    """The image of a store."""

    array: Array
    """(band, y, x) or (y, x)."""
    group: zarr.Group | None
    """The group that holds it, with its coordinates."""
    mask: Array | None
    """(y, x), not 0 where valid; only where this package wrote one."""
    dims: tuple[str, ...]
    """Names of its axes."""

    @property
    def complete(self) -> bool:
        """Whether its writer left out no object, as is allowed for chunks of fill values."""
        notes = None if self.group is None else self.group.get("provenance")
        return isinstance(notes, zarr.Group) and notes.attrs.get("complete") is True

    @property
    def attributes(self) -> Attributes:
        """Of the image itself."""
        return self.array.attrs.asdict()

    @property
    def surroundings(self) -> Attributes:
        """Of its group."""
        return {} if self.group is None else self.group.attrs.asdict()

    @property
    def mapping(self) -> Attributes:
        """Of the CF grid mapping, or nothing."""
        for name in (self.attributes.get("grid_mapping"), "spatial_ref", "crs"):
            found = self._beside(str(name).split(":")[0]) if name else None
            if found is not None:
                return found.attrs.asdict()
        return {}

    def coordinate(self, axis: int) -> Reals | None:
        """Numbers along an axis (-1: x), unpacked; None if there are none."""
        found = self._beside(self.dims[axis])
        if (
            found is None
            or found.shape != self.array.shape[axis:][:1]
            or found.dtype.kind not in "iuf"
        ):
            return None
        values = np.asarray(found[...], dtype=np.float64)
        packing = {k: float(cast("float", v)) for k, v in found.attrs.items() if k in PACKING}
        return np.asarray(
            values * packing.get("scale_factor", 1.0) + packing.get("add_offset", 0.0)
        )

    def labels(self) -> tuple[str, ...]:
        """What the coordinate of the bands calls them; empty if it just counts."""
        found = self._beside(self.dims[0]) if len(self.dims) == 3 else None
        if found is None or found.shape != self.array.shape[:1]:
            return ()
        values = np.asarray(found[...]).tolist()
        counts = [list(range(first, first + len(values))) for first in (0, 1)]
        return () if values in counts else tuple(str(value) for value in values)

    def grids(self) -> list[str]:
        """Names of 2-D coordinates, which locate every pixel by itself."""
        names = str(self.attributes.get("coordinates") or "").split()
        found = [(name, self._beside(name)) for name in names]
        return [name for name, array in found if array is not None and array.ndim > 1]

    def _beside(self, name: str) -> Array | None:
        found = None if self.group is None else self.group.get(name)
        return found if isinstance(found, zarr.Array) else None


PACKING = ("scale_factor", "add_offset")
"""CF attributes: value * scale_factor + add_offset."""


def find_image(store: Store, path: str, *, uri: str) -> Image:
    """The one image of a store, or the one at `path`; raises SourceError with the candidates."""
    root = _open(store)
    if isinstance(root, zarr.Array):
        return _image(root, None, {}, uri)
    group, found = root, root.get(path) if path else root
    attributes = root.attrs.asdict()
    if isinstance(found, zarr.Group) and (finest := _finest(attributes)):
        holder, _, name = finest.rpartition("/")
        group = cast("zarr.Group", root[holder]) if holder else root
        found = group[name]
    if isinstance(found, zarr.Group):
        group, found = found, _only(found, uri)
    if found is None:
        raise SourceError(f"holds no array {path}", uri=uri)
    return _image(found, group, attributes, uri)


def _open(store: Store) -> Array | zarr.Group:
    """The root; consolidated copies of metadata may be out of date and are not read."""
    try:
        return zarr.open_group(store, mode="r", use_consolidated=False)
    except (FileNotFoundError, ValueError, KeyError):
        return zarr.open_array(store, mode="r")


def _finest(attributes: Attributes) -> str | None:
    """Path of full resolution, by OME-NGFF or the multiscales convention."""
    ome = cast("Attributes", attributes.get("ome") or attributes)
    scales = cast("Any", ome.get("multiscales") or attributes.get("multiscales"))
    if not scales:
        return None
    if isinstance(scales, list):
        return str(scales[0]["datasets"][0]["path"])
    first = next((one for one in scales["layout"] if "derived_from" not in one), None)
    return str((first or scales["layout"][0])["asset"])


def _only(group: zarr.Group, uri: str) -> Array:
    """The one array of a group that can be an image."""
    arrays = dict(group.arrays())
    beside = {
        name
        for array in arrays.values()
        for key in ("ancillary_variables", "coordinates", "bounds")
        for name in str(array.attrs.get(key) or "").split()
    }
    fit = {n: a for n, a in arrays.items() if a.ndim >= 2 and a.dtype.kind in "iufc"}
    fit = {n: a for n, a in fit.items() if n not in beside}
    if len(fit) == 1:
        return next(iter(fit.values()))
    if fit:
        names = [f"{n} {a.shape}" for n, a in sorted(fit.items())]
        raise SourceError(
            f"holds {len(fit)} arrays that can be the image: {_some(names)}; name one, as in "
            f"{uri.rstrip('/')}/{min(fit)}",
            uri=uri,
        )
    inner = sorted(name for name, _ in group.groups())
    more = f"; it has groups, name one: {_some(inner)}" if inner else ""
    raise SourceError(f"holds no array of two or three numeric dimensions{more}", uri=uri)


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


def _image(
    array: zarr.Array[Any] | zarr.Group, group: zarr.Group | None, root: Attributes, uri: str
) -> Image:
    if isinstance(array, zarr.Group):
        return _image(_only(array, uri), array, root, uri)
    mask = None
    if group is not None and array.attrs.get("ancillary_variables") == "mask":
        beside = group.get("mask")
        if isinstance(beside, zarr.Array) and beside.shape == array.shape[-2:]:
            mask = beside
    return Image(array, group, mask, _dims(array, root))


def _dims(array: Array, root: Attributes) -> tuple[str, ...]:
    """Names of the axes, by Zarr v3, xarray's v2 convention or OME-NGFF; (y, x) may be unnamed."""
    names: Any = getattr(array.metadata, "dimension_names", None)
    names = names or array.attrs.get("_ARRAY_DIMENSIONS")
    if not names:
        ome = cast("Any", root.get("ome") or root)
        scales = ome.get("multiscales")
        axes = scales[0].get("axes", []) if isinstance(scales, list) else []
        names = [axis["name"] for axis in axes]
    if not names and array.ndim == 2:
        names = ("y", "x")
    return tuple(str(name) for name in names or ["unnamed"] * array.ndim)
