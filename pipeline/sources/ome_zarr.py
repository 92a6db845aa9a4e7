"""Our own OME-Zarr of DICOM images, read back: to be checked, shown and measured, frame by frame.

It is no input to be upscaled again: what its series said besides its pixels is not in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from pipeline.errors import SourceError
from pipeline.options import SourceOptions
from pipeline.profile import Band, Profile
from pipeline.radiometry import Mask, Pixels
from pipeline.sources.identity import identify
from pipeline.tiling import Window

if TYPE_CHECKING:
    import zarr

DRIVER = "OME-Zarr"
"""Name of this reader in `source.drivers`, where it must be asked for."""
METADATA = "zarr.json"
"""What a store says of itself."""
LARGEST = 2**24
"""Most bytes of it that are read to tell whose it is: it may hold a position of every frame."""
LENGTHS = {"micrometer": 1e-3, "millimeter": 1.0}
"""Millimetres of units."""


def claims(uri: str) -> bool:
    """Whether a directory is a store that was made of DICOM."""
    return bool(_said(Path(uri)))


def open(uri: str, options: SourceOptions) -> OmeSource:
    """Open the full resolution of a store; raises SourceError."""
    from pipeline.sources.zarr_reader import DAMAGE, Enclosed

    if DRIVER not in options.drivers:
        raise SourceError(
            "is OME-Zarr that was made of DICOM, and lacks what DICOM says; name the series that "
            "it was made of",
            uri=uri,
        )
    try:
        import zarr

        group = zarr.open_group(Enclosed(Path(uri), read_only=True), mode="r")
        array = cast("zarr.Array[Any]", group["0"])
        return OmeSource(array, _profile(uri, array, cast("dict[str, Any]", dict(group.attrs))))
    except DAMAGE as error:
        raise SourceError(f"cannot be opened ({error or type(error).__name__})", uri=uri) from error


@dataclass(frozen=True, slots=True)
class OmeSource:
    """Full resolution of a store."""

    array: zarr.Array[Any] = field(repr=False)
    """([t,] [c,] [z,] y, x)."""
    profile: Profile
    """Its facts."""

    def read(self, window: Window, frame: int = 0) -> Pixels:
        """(band, y, x) of a frame; raises SourceError."""
        from pipeline.sources.zarr_reader import DAMAGE

        place: dict[str, slice | int] = dict(zip("yx", window.slices, strict=True))
        place |= dict.fromkeys("zt", frame)
        try:
            found = np.asarray(
                self.array[tuple(place.get(n, slice(None)) for n in _names(self.array))]
            )
        except DAMAGE as error:
            raise SourceError(
                f"cannot be read ({error or type(error).__name__})", uri=self.profile.uri
            ) from error
        return found if found.ndim == 3 else found[None]

    def mask(self, window: Window, frame: int = 0) -> Mask | None:  # noqa: ARG002 - as asked
        """None: the value of the padding is nodata."""
        return None


def _said(path: Path) -> Mapping[str, Any]:
    """The attributes of a store of ours; nothing of other things."""
    with suppress(OSError, ValueError, LookupError, TypeError):
        file = path / METADATA
        if path.is_dir() and file.stat().st_size <= LARGEST:
            found = json.loads(file.read_bytes())["attributes"]
            if "multiscales" in found["ome"] and "kind" in found["dicom"]:
                return cast("Mapping[str, Any]", found)
    return {}


def _profile(uri: str, array: zarr.Array[Any], said: Mapping[str, Any]) -> Profile:
    """The facts of a store; raises LookupError, ValueError and TypeError for malformed ones."""
    names = _names(array)
    sizes = dict(zip(names, array.shape, strict=True))
    dicom = said["dicom"]
    rescale = dicom.get("rescale", {})
    bands = tuple(
        Band(
            number,
            unit=rescale.get("unit"),
            scale=float(rescale.get("slope", 1)),
            offset=float(rescale.get("intercept", 0)),
        )
        for number in range(1, sizes.get("c", 1) + 1)
    )
    padding = dicom.get("padding")
    return Profile(
        uri=uri,
        driver=DRIVER,
        height=sizes["y"],
        width=sizes["x"],
        dtype=array.dtype.name,
        bands=bands,
        identity=identify([Path(uri) / METADATA]),
        nodata=None if padding is None else float(padding),
        tags={"DICOM": _tags(said["ome"]["multiscales"][0], dicom, names)},
        block=(array.chunks[-2], array.chunks[-1]),
        frames=sizes.get("z", 1) * sizes.get("t", 1),
    )


def _names(array: zarr.Array[Any]) -> str:
    """Of its axes, a letter each."""
    return "".join(map(str, getattr(array.metadata, "dimension_names", None) or ()))


def _tags(multiscale: Mapping[str, Any], dicom: Mapping[str, Any], names: str) -> dict[str, str]:
    """Where its first frame lies, as DICOM has it."""
    tags = {name: str(dicom[name]) for name in ("kind", "Modality") if name in dicom}
    unit = LENGTHS.get(multiscale["axes"][-1].get("unit", ""))
    if unit is None:
        return tags
    scale, shift = (
        dict(zip(names, one[one["type"]], strict=True))
        for one in multiscale["datasets"][0]["coordinateTransformations"]
    )
    tags["PixelSpacing"] = _text([scale["y"] * unit, scale["x"] * unit])
    if "affine" in dicom and dicom["kind"] != "slide":
        first = np.array(dicom["affine"]) @ (shift["x"], shift["y"], shift.get("z", 0.0), 1.0)
        tags["ImagePositionPatient"] = _text(first[:3].tolist())
        tags["ImageOrientationPatient"] = _text(dicom["orientation"])
    return tags


def _text(values: Sequence[float]) -> str:
    return "\\".join(repr(float(value)) for value in values)
