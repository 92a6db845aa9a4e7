"""Whether DICOM can hold an output, and what becomes of the source's attributes."""

from __future__ import annotations

import os
import re
from pathlib import Path

from pipeline.dicom.encode import Syntax, check_syntax
from pipeline.dicom.headers import read_meta
from pipeline.dicom.instances import text
from pipeline.dicom.series import Series
from pipeline.dicom.write import IMPLEMENTATION_UID, NATIVE_LIMIT
from pipeline.errors import PlanError, SourceError
from pipeline.fate import Fate
from pipeline.plan import Plan

LONGEST_SIDE = 2**16 - 1
"""Rows and columns that an image can have. DICOM PS3.3, section C.7.6.3.1."""
OURS = re.compile(r"[0-9a-f]{12}\.dcm")
"""What instances are called."""


def syntax_of(plan: Plan) -> Syntax:
    """The syntax that is meant."""
    return "uncompressed" if plan.output.syntax == "same" else plan.output.syntax


def check_plan(plan: Plan, series: Series, target: Path) -> None:
    """Raise PlanError for what DICOM cannot hold, or if `target` is of another kind."""
    _check_target(plan, series, target)
    stored, name = series.stored, plan.profile.label
    if [band.number for band in plan.profile.bands] != list(range(1, stored.bands + 1)):
        raise PlanError("DICOM images keep all their bands; leave out --bands", uri=name)
    if syntax_of(plan) == "jpeg":
        raise PlanError(
            "JPEG, which is lossy, is for slides; use --syntax jpeg2000 or another lossless one",
            uri=name,
        )
    check_syntax(syntax_of(plan), stored)
    _check_size(plan, series)


def _check_target(plan: Plan, series: Series, target: Path) -> None:
    """Never replace what is not DICOM of ours."""
    number = len(series.instances)
    if target.suffix.lower() == ".dcm":
        if number > 1:
            raise PlanError(
                f"has {number} instances, which do not go into one file; name a directory",
                uri=plan.profile.label,
            )
        if target.is_dir():
            raise PlanError("is a directory; choose another name", uri=str(target))
        if os.path.lexists(target) and not _is_derived(target):
            raise PlanError(
                "is no DICOM output and will not be replaced; move it away or choose another name",
                uri=str(target),
            )
    elif os.path.lexists(target) and not _is_ours(target):
        raise PlanError(
            "is no directory of DICOM outputs only and will not be replaced; move it away or "
            "choose another name",
            uri=str(target),
        )


def _is_derived(target: Path) -> bool:
    """Whether it is a file that we wrote, by its meta information."""
    if target.is_symlink():
        return False
    try:
        return text(read_meta(target), "ImplementationClassUID") == IMPLEMENTATION_UID
    except SourceError:
        return False


def _is_ours(target: Path) -> bool:
    """Whether it is a directory of nothing but instances named as ours are."""
    return (
        not target.is_symlink()
        and target.is_dir()
        and all(OURS.fullmatch(entry.name) for entry in target.iterdir())
    )


def _check_size(plan: Plan, series: Series) -> None:
    """Sides and bytes have limits."""
    height, width = plan.tiling.shape
    if max(height, width) > LONGEST_SIDE:
        raise PlanError(
            f"would have {width} x {height} pixels; {LONGEST_SIDE} a side are the limit of DICOM, "
            "write to .zarr",
            uri=plan.profile.label,
        )
    most = max(one.stored.frames for one in series.instances)
    size = most * plan.fine.nbytes // plan.fine.frames
    if syntax_of(plan) == "uncompressed" and size > NATIVE_LIMIT:
        raise PlanError(
            f"{most} uncompressed frames take {size} bytes, {NATIVE_LIMIT} fit one DICOM file; use "
            "--syntax jpeg2000 or another compressed one",
            uri=plan.profile.label,
        )


def fates_of(plan: Plan) -> tuple[Fate, ...]:
    """What becomes of the attributes, by groups of them."""
    scale, kept = plan.provenance.scale, ", ".join(plan.output.private_tags)
    palette = len(plan.profile.bands) > 1
    return (
        Fate("size", "changed", f"x {scale}"),
        *([Fate("frames", "kept", str(plan.profile.frames))] if plan.profile.frames > 1 else []),
        Fate("pixel spacing", "changed", f"/ {scale}"),
        Fate("image position", "changed", "outer corners stay"),
        Fate("places in pixels", "changed", "regions, shutters, collimators, overlays"),
        Fate("data type and bits", "kept", plan.profile.dtype),
        Fate("windows, rescaling and tables", "kept"),
        *([Fate("colours", "changed", "as RGB")] if palette else []),
        Fate("instance and series identifiers", "changed", "follow from source, model, options"),
        Fate("image type", "changed", "DERIVED"),
        Fate("series number and description", "changed", f"SRx{scale}"),
        Fate("derivation, source and equipment", "changed", "added"),
        Fate("thumbnails, extremes and signatures", "dropped", "of the coarse pixels"),
        _private(kept),
        _identity(anonymous=plan.output.deidentify),
    )


def _private(kept: str) -> Fate:
    if kept:
        return Fate("private attributes", "changed", f"only those of {kept} are kept")
    return Fate("private attributes", "dropped", "their meaning is not known")


def _identity(*, anonymous: bool) -> Fate:
    if not anonymous:
        return Fate("patient, study and acquisition", "kept")
    return Fate(
        "patient, study and acquisition",
        "changed",
        "basic profile of DICOM PS3.15; text burned into the pixels is not touched",
    )
