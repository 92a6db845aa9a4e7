"""Whole runs on DICOM images under the model that replicates pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydicom import Dataset, dcmread

from pipeline.options import ClusterOptions, OutputOptions, SourceOptions, TilingOptions
from workflows.job import Job, ModelOptions
from workflows.upscale import upscale


def replicated(
    source: Path, target: Path, *, scale: int = 2, tile: int = 512, **output: Any
) -> list[Path]:
    """Replicate the pixels of a series; the files of the output in the order of their numbers."""
    job = Job(
        str(source),
        (str(target),),
        model=ModelOptions("nearest", scale),
        input=SourceOptions(spacing="warn"),
        tiling=TilingOptions(tile),
        cluster=ClusterOptions(workers=0, threads=2),
        output=OutputOptions(**output),
    )
    upscale(job)
    return by_number(target.iterdir()) if target.is_dir() else [target]


def by_number(paths: Any) -> list[Path]:
    """Files of instances in the order of their numbers."""
    return sorted(paths, key=lambda path: int(header(path).get("InstanceNumber") or 0))


def header(path: Path) -> Dataset:
    """Attributes without pixels."""
    return dcmread(path, stop_before_pixels=True)
