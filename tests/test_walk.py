"""Every real file there is: a correct result by rasterio's account, or one clear error."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import runs
from rasterio.enums import MaskFlags
from rasterio.io import DatasetReader
from rio_cogeo import cog_validate

from pipeline.errors import PipelineError, PlanError, SourceError
from pipeline.options import ClusterOptions, ReportOptions, SourceOptions
from workflows.job import Job, ModelOptions
from workflows.upscale import upscale

SCALE = 2
FOLDER = Path(__file__).resolve().parents[2] / "shared" / "data" / "eo"
FILES = sorted(p for p in FOLDER.rglob("*") if p.is_file()) if FOLDER.is_dir() else []
SIDECARS = {".msk", ".ovr"}
"""Suffixes of files that belong to others; opened by themselves they may be images or not."""
LARGE = {"cog_cmap.tif"}
"""Files of tiny size and 250 million output pixels."""
TRIED = 250_000
"""Bytes of the largest file that the network is tried on."""

pytestmark = [
    pytest.mark.skipif(not FILES, reason="needs the folder ../shared/data/eo beside the checkout"),
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
]


def each(files: list[Path]) -> pytest.MarkDecorator:
    """One test per file."""
    return pytest.mark.parametrize(
        "source",
        [
            pytest.param(
                path,
                id=str(path.relative_to(FOLDER)),
                marks=[pytest.mark.slow] if path.name in LARGE else [],
            )
            for path in files
        ],
    )


@pytest.fixture(scope="module")
def job() -> Iterator[Job]:
    """What every file is put through, on threads of this process."""
    with runs.threads_here() as cluster:
        yield Job(
            "",
            (),
            model=ModelOptions("nearest", scale=SCALE),
            input=SourceOptions(categorical="nearest"),
            cluster=ClusterOptions(cluster.scheduler_address),
            report=ReportOptions(report=False),
        )


def make(job: Job, source: Path, folder: Path) -> Path | None:
    """The output; None where there is one clear error and nothing left behind."""
    target = folder / "out.tif"
    try:
        upscale(replace(job, source=str(source), outputs=(str(target),)))
    except PipelineError as error:
        assert_clear(error, source)
        assert list(folder.iterdir()) == []
        return None
    assert list(folder.iterdir()) == [target]
    return target


def assert_clear(error: PipelineError, source: Path) -> None:
    assert isinstance(error, SourceError | PlanError)
    assert "\n" not in str(error)
    assert str(source) in str(error)
    assert not opens(source), str(error)


def opens(source: Path) -> bool:
    """Whether rasterio reads all of a file, and as real numbers."""
    try:
        with rasterio.open(source) as dataset:
            if dataset.count == 0:  # a product of several images
                return False
            dataset.read()
            return not any("complex" in dtype for dtype in dataset.dtypes)
    except rasterio.errors.RasterioError:
        return False


@each(FILES)
def test_pixel_replication_keeps_everything(source: Path, job: Job, tmp_path: Path) -> None:
    target = make(job, source, tmp_path)
    if target is None:
        return
    with rasterio.open(source) as coarse, rasterio.open(target) as fine:
        assert_same_pixels(coarse, fine)
        assert_same_ground(coarse, fine)
        assert_same_meaning(coarse, fine)
        assert_same_tags(coarse, fine)
        assert fine.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    assert cog_validate(target, strict=True) == (True, [], [])


def replicated(values: np.ndarray) -> np.ndarray:
    return values.repeat(SCALE, axis=-2).repeat(SCALE, axis=-1)


def assert_same_pixels(coarse: DatasetReader, fine: DatasetReader) -> None:
    np.testing.assert_array_equal(fine.read(), replicated(coarse.read()))
    np.testing.assert_array_equal(fine.dataset_mask(), replicated(coarse.dataset_mask()))


def assert_same_ground(coarse: DatasetReader, fine: DatasetReader) -> None:
    points, crs = coarse.gcps
    if points:
        assert [(g.row / SCALE, g.col / SCALE, g.x, g.y, g.z) for g in fine.gcps[0]] == [
            (g.row, g.col, g.x, g.y, g.z) for g in points
        ]
        assert fine.gcps[1] == crs
        return
    assert fine.crs == coarse.crs
    if coarse.rpcs:
        assert_same_rpcs(coarse, fine)
    for row, column in ((0, 0), (0, coarse.width), (coarse.height, 0), coarse.shape):
        want = ground(coarse, row, column)
        have = ground(fine, row * SCALE, column * SCALE)
        if coarse.transform.is_identity:
            have /= SCALE
            assert fine.transform.is_identity
        # doubles of this size are that far apart; the transform rounds a few times
        rounding = 4 * np.spacing(np.abs(want).max())
        pixel = max(abs(coarse.transform.a), abs(coarse.transform.b))
        assert np.abs(have - want).max() <= 1e-9 * pixel + rounding


def ground(dataset: DatasetReader, row: float, column: float) -> np.ndarray:
    """(x, y) of a corner of a pixel."""
    a, b, c, d, e, f = tuple(dataset.transform)[:6]
    return np.array([a * column + b * row + c, d * column + e * row + f])


def assert_same_rpcs(coarse: DatasetReader, fine: DatasetReader) -> None:
    old, new = coarse.rpcs.to_dict(), fine.rpcs.to_dict()
    for name in ("line", "samp"):
        offset, scale = old.pop(f"{name}_off"), old.pop(f"{name}_scale")
        assert new.pop(f"{name}_off") == pytest.approx((offset + 0.5) * SCALE - 0.5, abs=1e-6)
        assert new.pop(f"{name}_scale") == pytest.approx(scale * SCALE)
    for name, value in old.items():
        assert new[name] == pytest.approx(value, rel=1e-12), name


def assert_same_meaning(coarse: DatasetReader, fine: DatasetReader) -> None:
    assert fine.dtypes == coarse.dtypes
    assert str(fine.nodatavals) == str(coarse.nodatavals)
    for name in ("descriptions", "units", "scales", "offsets", "colorinterp", "mask_flag_enums"):
        assert getattr(fine, name) == getattr(coarse, name), name
    if coarse.colorinterp[0].name == "palette":
        assert fine.colormap(1) == coarse.colormap(1)


CHANGED = (
    *("TIFFTAG_SOFTWARE", "PROCESSING", "AREA_OR_POINT"),
    *("TIFFTAG_XRESOLUTION", "TIFFTAG_YRESOLUTION"),
)
"""Tags that tell of the processing, or of pixels per inch."""
DROPPED = {"rio_creation_kwds", "xml:gml.root-instance", "IMAGE_STRUCTURE", "DERIVED_SUBDATASETS"}
"""Domains that describe the file or the coarse grid."""


def assert_same_tags(coarse: DatasetReader, fine: DatasetReader) -> None:
    assert lasting(fine.tags()) == lasting(coarse.tags())
    assert fine.tags().get("AREA_OR_POINT", "Area") == coarse.tags().get("AREA_OR_POINT", "Area")
    assert fine.tags()["TIFFTAG_SOFTWARE"].startswith("espcn ")
    assert "model=nearest" in fine.tags()["PROCESSING"]
    for name in ("TIFFTAG_XRESOLUTION", "TIFFTAG_YRESOLUTION"):
        if coarse.tags().get("TIFFTAG_RESOLUTIONUNIT", "1")[0] in "23" and name in coarse.tags():
            assert float(fine.tags()[name]) == SCALE * float(coarse.tags()[name])
    for band in coarse.indexes:
        assert lasting(fine.tags(band)) == lasting(coarse.tags(band))
    assert set(fine.tag_namespaces()) >= set(coarse.tag_namespaces()) - DROPPED - {"RPC"}


def lasting(tags: dict[str, str]) -> dict[str, str]:
    return {k: v for k, v in tags.items() if not k.startswith("STATISTICS") and k not in CHANGED}


@each([p for p in FILES if p.suffix not in SIDECARS and p.stat().st_size <= TRIED])
def test_the_network_leaves_gaps_alone_and_means_as_they_were(
    source: Path, job: Job, tmp_path: Path
) -> None:
    job = replace(job, model=ModelOptions("general-x2"), input=SourceOptions(categorical="light"))
    target = make(job, source, tmp_path)
    if target is None:
        return
    with rasterio.open(source) as coarse, rasterio.open(target) as fine:
        old, new = coarse.read(), fine.read()
        np.testing.assert_array_equal(fine.dataset_mask(), replicated(coarse.dataset_mask()))
        for band in range(coarse.count):
            valid = valid_of(coarse, old, band)
            if coarse.colorinterp[band].name == "alpha":
                np.testing.assert_array_equal(new[band], replicated(old[band]))
                continue
            gap = ~replicated(valid)
            np.testing.assert_array_equal(new[band][gap], replicated(old[band])[gap])
            assert_close(old[band].astype(float), block_means(new[band]), valid)


def valid_of(dataset: DatasetReader, pixels: np.ndarray, band: int) -> np.ndarray:
    """Where a band holds light."""
    flags = dataset.mask_flag_enums[band]
    valid = np.isfinite(pixels[band])
    if MaskFlags.all_valid not in flags:
        valid &= dataset.read_masks(band + 1) != 0
    return valid


def block_means(pixels: np.ndarray) -> np.ndarray:
    """Mean of each block of fine pixels under a coarse one."""
    height, width = (side // SCALE for side in pixels.shape)
    blocks = pixels.astype(float).reshape(height, SCALE, width, SCALE)
    return np.asarray(blocks.mean(axis=(1, 3)))


def assert_close(old: np.ndarray, new: np.ndarray, valid: np.ndarray) -> None:
    """The network adds detail; averaged again it shows nearly what was there."""
    if not valid.any():
        return
    spread, step = old[valid].std(), 1.0 if np.abs(old[valid]).max() > 2 else 0.01
    error = new[valid] - old[valid]
    assert np.sqrt((error**2).mean()) <= 0.25 * spread + step
    assert abs(error.mean()) <= 0.02 * spread + step
