"""What a user may choose, with its defaults; the only place where they stand.

Facts that can be computed (halo, chunk sizes) are not options. `workflows.config` fills these
from YAML, `--set` and the command line.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pipeline.pyramid import Method


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """How the input is read."""

    bands: tuple[int, ...] | None = None
    """1-based numbers of the bands to take, in that order; None for all."""
    drivers: tuple[str, ...] = (
        *("GTiff", "COG", "JP2OpenJPEG", "VRT", "PNG", "JPEG"),
        *("Zarr", "DICOM"),
    )
    """GDAL drivers (and Zarr, DICOM) that may open a file; anything else is refused."""
    remote: bool = False
    """Whether URLs and GDAL's /vsi paths may be opened."""
    categorical: Literal["refuse", "nearest", "light"] = "refuse"
    """Palette images and bit masks: refuse, upscale by nearest neighbour, or treat as light."""
    nodata: float | None = None
    """Value that marks invalid pixels, where the file does not say or says it wrong."""
    max_pixels: int = 10**11
    """Most pixels (rows x columns) that a header may claim."""
    spacing: Literal["refuse", "warn"] = "refuse"
    """DICOM whose pixels have no size, or size 0: refuse, or go on with a warning."""


READ_BACK = SourceOptions(
    categorical="light",
    drivers=(*SourceOptions().drivers, "OME-Zarr"),
    spacing="warn",
    max_pixels=2**62,
)
"""How an output is read: what it holds was decided when it was made."""


@dataclass(frozen=True, slots=True)
class RadiometryOptions:
    """How values are understood."""

    input_range: tuple[float, float] | None = None
    """(low, high) in source values that maps to the range a network was trained on. Only for
    networks that declare one; None: what its training recorded, or all of 8 bits. Values beyond it
    are not clipped."""
    saturated: float | Literal["auto", "none"] = "auto"
    """Value that comes back exactly; auto: what the source declares."""


@dataclass(frozen=True, slots=True)
class TilingOptions:
    """How the work is cut."""

    tile: int | None = None
    """Side of an output tile in output pixels, a multiple of 512; None: the plan chooses."""


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """How outputs are written."""

    compress: Literal["deflate", "zstd", "lerc", "lzw", "none"] = "zstd"
    """Lossless compression of GeoTIFF tiles and Zarr chunks; deflate for readers older than GDAL
    2.3. Zarr has zstd, deflate and none."""
    overviews: Literal["auto", "average", "nearest", "mode", "none"] = "auto"
    """Overviews; auto: average for light, mode for categories."""
    statistics: bool = True
    """Whether band statistics are written."""
    zarr_format: Literal[2, 3] = 3
    """Version of the Zarr specification."""
    zarr_sharded: bool = True
    """Whether Zarr v3 arrays are sharded (one object per tile and level)."""
    syntax: Literal["same", "uncompressed", "rle", "jpeg2000", "htj2k", "jpeg"] = "same"
    """Transfer syntax of DICOM outputs. same: uncompressed; of slides jpeg where the source was
    lossy, else jpeg2000, which is lossless here. jpeg: baseline, for slides of 8 bits."""
    deidentify: bool = False
    """Whether DICOM outputs lose what tells whom they show: basic profile of PS3.15. Text that is
    burned into the pixels is not touched."""
    private_tags: tuple[str, ...] = ()
    """Creators whose private attributes DICOM outputs keep; all others are dropped."""

    def method(self, *, categorical: bool) -> Method | None:
        """The overview method, or None for no overviews."""
        if self.overviews == "none":
            return None
        if self.overviews != "auto":
            return self.overviews
        return "mode" if categorical else "average"


@dataclass(frozen=True, slots=True)
class ReportOptions:
    """What is written beside the outputs."""

    report: bool = True
    """Whether OUTPUT.report.json is written."""
    preview: bool = False
    """Whether OUTPUT.preview.png (LR | bicubic | SR) is written."""


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """Where tiles are made."""

    cluster: str = "local"
    """local, a scheduler's address, a YAML file, or the import path of a cluster class."""
    workers: int | None = None
    """Worker processes; None: from cores and memory. 0: threads of this process."""
    threads: int | None = None
    """Threads per worker; None: from cores."""
    memory: str | None = None
    """Memory limit of a worker, such as '4GiB'; None: its share of this machine's."""
    options: dict[str, object] = field(default_factory=dict)
    """Keyword arguments of the cluster class."""
    security: dict[str, str] = field(default_factory=dict)
    """Files of TLS certificates and keys, by the names of distributed.Security: tls_ca_file,
    tls_client_cert, tls_client_key ...; without any, Dask's own configuration is asked."""
    scale: int | None = None
    """Workers to ask a cluster class for."""
    adapt: tuple[int, int] | None = None
    """(least, most) workers of an adaptive cluster class."""
    timeout: float = 60.0
    """Seconds to wait for the first worker."""
    attempts: int = 3
    """Times that a tile is tried before the job fails."""
