"""GeoTIFF output, judged by GDAL (through rasterio) and rio-cogeo."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from fakes import texture, write_tif
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp
from rio_cogeo import cog_validate

from pipeline.errors import PlanError
from pipeline.options import ClusterOptions, OutputOptions, SourceOptions, TilingOptions
from pipeline.pyramid import halve
from pipeline.radiometry import replicate
from workflows.events import Outcome
from workflows.job import Job, ModelOptions
from workflows.upscale import upscale


def run(source: Path, target: Path, *, tile: int | None = 512, **options: Any) -> Outcome:
    """Replicate pixels two by two: what comes out is known exactly."""
    model = options.pop("model", ModelOptions("nearest", scale=2))
    return upscale(
        Job(
            str(source),
            (str(target),),
            model=model,
            tiling=TilingOptions(tile),
            cluster=ClusterOptions(workers=0, threads=2),
            **options,
        )
    )


def ground(dataset: rasterio.DatasetReader, row: float, column: float) -> tuple[float, float]:
    """Where the corner between pixels lies."""
    t = dataset.transform
    return (t.a * column + t.b * row + t.c, t.d * column + t.e * row + t.f)


def assert_is_cog(path: Path) -> None:
    valid, errors, warnings = cog_validate(path, strict=True)
    assert valid, (errors, warnings)
    assert not warnings
    with rasterio.open(path) as dataset:
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert dataset.block_shapes == [(512, 512)] * dataset.count


def assert_pyramid(path: Path, pixels: np.ndarray, valid: np.ndarray | None = None) -> None:
    """Every overview is the mean of the valid pixels of the level below."""
    with rasterio.open(path) as dataset:
        factors = dataset.overviews(1)
    level, good = pixels, valid
    for index, _ in enumerate(factors):
        level, good = halve(level, good, method="average")
        with rasterio.open(path, overview_level=index) as overview:
            np.testing.assert_array_equal(overview.read(), level)


@pytest.mark.parametrize("compress", ["deflate", "zstd", "lzw", "lerc", "none"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32", "float64"])
def test_pixels_and_overviews_read_back_exactly(tmp_path: Path, compress: str, dtype: str) -> None:
    # LERC is refused for several bands of floats, whose NaN it would lose
    bands = 1 if compress == "lerc" and dtype.startswith("float") else 3
    pixels = texture((bands, 300, 413), dtype)
    source = write_tif(tmp_path / "in.tif", pixels)
    out = tmp_path / "out.tif"
    run(source, out, output=OutputOptions(compress=compress))  # type: ignore[arg-type]
    assert_is_cog(out)
    with rasterio.open(out) as dataset:
        np.testing.assert_array_equal(dataset.read(), replicate(pixels, scale=2))
    assert_pyramid(out, replicate(pixels, scale=2))


def test_int8_reads_back_exactly(tmp_path: Path) -> None:
    pixels = texture((1, 60, 50), "int8")
    out = tmp_path / "out.tif"
    run(write_tif(tmp_path / "in.tif", pixels), out)
    with rasterio.open(out) as dataset:
        np.testing.assert_array_equal(dataset.read(), replicate(pixels, scale=2))


def test_the_bytes_do_not_depend_on_the_tile(tmp_path: Path) -> None:
    pixels = texture((2, 700, 900))
    pixels[:, 100:200, :300] = 0
    source = write_tif(tmp_path / "in.tif", pixels, nodata=0)
    model = ModelOptions("bicubic", scale=3)
    files = []
    for tile in (512, 1024, 1536, 2048, None):
        out = tmp_path / f"{tile}.tif"
        run(source, out, tile=tile, model=model)
        files.append(out.read_bytes())
    assert all(one == two for one, two in itertools.pairwise(files))


@pytest.mark.parametrize("size", [(1, 1), (1, 700), (257, 300), (513, 40)])
def test_odd_sizes_are_valid(tmp_path: Path, size: tuple[int, int]) -> None:
    pixels = texture((1, *size))
    out = tmp_path / "out.tif"
    run(write_tif(tmp_path / "in.tif", pixels), out)
    assert_is_cog(out)
    with rasterio.open(out) as dataset:
        np.testing.assert_array_equal(dataset.read(), replicate(pixels, scale=2))


@pytest.mark.parametrize("where", ["internal", "external"])
def test_a_mask_becomes_an_internal_one_at_every_level(tmp_path: Path, where: str) -> None:
    pixels = texture((3, 400, 600), "uint8")
    mask = np.ones((400, 600), bool)
    mask[50:300, 100:420] = False
    source = tmp_path / "in.tif"
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=where == "internal"):
        write_tif(source, pixels, photometric="RGB")
        with rasterio.open(source, "r+") as dataset:
            dataset.write_mask(mask)
    assert (tmp_path / "in.tif.msk").exists() is (where == "external")
    out = tmp_path / "out.tif"
    run(source, out)
    assert_is_cog(out)
    fine = replicate(mask, scale=2)
    valid = np.broadcast_to(fine, (3, *fine.shape))
    with rasterio.open(out) as dataset:
        np.testing.assert_array_equal(dataset.read_masks(1) != 0, fine)
        np.testing.assert_array_equal(dataset.read(), replicate(pixels, scale=2))
        assert dataset.files == [str(out)]
    assert_pyramid(out, replicate(pixels, scale=2), valid)
    with rasterio.open(out, overview_level=0) as overview:
        blocks = fine.reshape(400, 2, 600, 2).any(axis=(1, 3))
        np.testing.assert_array_equal(overview.read_masks(1) != 0, blocks)


def test_alpha_and_a_mask_are_both_kept(tmp_path: Path) -> None:
    pixels = texture((4, 60, 50), "uint8")
    pixels[3] = 255
    mask = np.ones((60, 50), bool)
    mask[:20] = False
    source = tmp_path / "in.tif"
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        write_tif(source, pixels, photometric="RGB", alpha="unspecified")
        with rasterio.open(source, "r+") as dataset:
            dataset.write_mask(mask)
    run(source, tmp_path / "out.tif")
    with rasterio.open(tmp_path / "out.tif") as dataset:
        np.testing.assert_array_equal(dataset.read_masks(1) != 0, replicate(mask, scale=2))
        np.testing.assert_array_equal(dataset.read(), replicate(pixels, scale=2))


def test_overviews_know_nodata(tmp_path: Path) -> None:
    source = write_tif(tmp_path / "in.tif", texture((1, 600, 500)), nodata=7)
    run(source, tmp_path / "out.tif")
    with rasterio.open(tmp_path / "out.tif", overview_level=0) as overview:
        assert overview.nodata == 7


def test_metadata_that_no_tiff_can_hold_fails_before_the_first_tile(tmp_path: Path) -> None:
    (tmp_path / "out.tif").mkdir()
    source = write_tif(tmp_path / "in.tif", texture((1, 60, 50)))
    with pytest.raises(PlanError, match="is a directory"):
        upscale(Job(str(source), (str(tmp_path / "out.tif"),), overwrite=True))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.tif", "out.tif"]


def test_everything_that_describes_the_image_is_kept(tmp_path: Path) -> None:
    source = tmp_path / "in.tif"
    pixels = texture((4, 70, 80))
    write_tif(source, pixels, nodata=0, photometric="RGB")
    with rasterio.open(source, "r+") as dataset:
        dataset.descriptions = ("red", "green", None, "near infrared")
        dataset.units = ("W", "W", "W", "K")
        dataset.scales = (1e-4, 1e-4, 1e-4, 0.01)
        dataset.offsets = (-0.1, -0.1, -0.1, 273.15)
        dataset.colorinterp = [
            ColorInterp.red,
            ColorInterp.green,
            ColorInterp.blue,
            ColorInterp.undefined,
        ]
        dataset.update_tags(TIFFTAG_DATETIME="2026:01:02 03:04:05", PLATFORM="a & b <c>", ä="ö")
        dataset.update_tags(ns="IMAGERY", ACQUISITIONDATETIME="2026-01-02 03:04:05")
        dataset.update_tags(2, WAVELENGTH="560", STATISTICS_MEAN="1")
    out = tmp_path / "out.tif"
    run(source, out)
    with rasterio.open(source) as one, rasterio.open(out) as two:
        for name in ("crs", "nodatavals", "descriptions", "units", "scales", "offsets", "dtypes"):
            assert getattr(one, name) == getattr(two, name), name
        assert one.colorinterp == two.colorinterp
        assert two.tags()["TIFFTAG_SOFTWARE"].startswith("espcn ")
        assert "model=nearest" in two.tags()["PROCESSING"]
        assert "scale=2" in two.tags()["PROCESSING"]
        assert one.tags().items() <= two.tags().items()
        assert two.tags(ns="IMAGERY") == one.tags(ns="IMAGERY")
        assert two.tags(2)["WAVELENGTH"] == "560"
        values = replicate(pixels, scale=2)[1]
        valid = values[values != 0]
        assert float(two.tags(2)["STATISTICS_MEAN"]) == pytest.approx(valid.mean())
        assert float(two.tags(2)["STATISTICS_STDDEV"]) == pytest.approx(valid.std())


CORNERS = {
    "north-up": rasterio.Affine(10, 0, 500_000, 0, -10, 4_000_000),
    "south-up": rasterio.Affine(10, 0, 500_000, 0, 10, 4_000_000),
    "rotated": rasterio.Affine(8.4, 3.8, 500_000, 5.4, -5.9, 4_000_000),
    "sheared": rasterio.Affine(10, 3, 500_000, -2, -17, 4_000_000),
    "not square": rasterio.Affine(0.3, 0, 12.1, 0, -0.0007, 45.3),
}
MOON = (
    'GEOGCS["Moon 2000",DATUM["D_Moon_2000",SPHEROID["Moon_2000_IAU_IAG",1737400,0]],'
    'PRIMEM["Reference_Meridian",0],UNIT["degree",0.0174532925199433]]'
)
LOCAL = 'LOCAL_CS["site grid",UNIT["metre",1]]'


@pytest.mark.parametrize("affine", CORNERS.values(), ids=CORNERS)
@pytest.mark.parametrize(
    "crs", [None, "EPSG:32633", MOON, LOCAL], ids=["none", "utm", "moon", "local"]
)
@pytest.mark.parametrize("point", [False, True], ids=["area", "point"])
def test_outer_corners_stay_for_every_grid(
    tmp_path: Path, affine: rasterio.Affine, crs: str | None, point: bool
) -> None:
    source, out = tmp_path / "in.tif", tmp_path / "out.tif"
    write_tif(source, texture((1, 31, 47)), transform=affine, crs=crs)
    if point:
        with rasterio.open(source, "r+") as dataset:
            dataset.update_tags(AREA_OR_POINT="Point")
    run(source, out, model=ModelOptions("nearest", scale=3))
    with rasterio.open(source) as one, rasterio.open(out) as two:
        assert one.crs == two.crs
        assert one.tags().get("AREA_OR_POINT") == two.tags().get("AREA_OR_POINT")
        pixel = max(abs(v) for v in (affine.a, affine.b, affine.d, affine.e))
        for row, column in itertools.product((0, 31), (0, 47)):
            before = np.array(ground(one, row, column))
            after = np.array(ground(two, row * 3, column * 3))
            rounding = 4 * np.spacing(np.abs(before).max())
            assert np.abs(after - before).max() <= 1e-9 * pixel + rounding


def test_gcps_and_rpcs_arrive(tmp_path: Path) -> None:
    source, out = tmp_path / "in.tif", tmp_path / "out.tif"
    points = [GroundControlPoint(r, c, 7 + c / 50, 45 - r / 50, 12.0, f"p{r}", "i") for r, c in
              [(0, 0), (0.5, 40), (30, 0.25), (30, 40)]]  # fmt: skip
    write_tif(source, texture((1, 30, 40)), transform=None, crs=None)
    with rasterio.open(source, "r+") as dataset:
        dataset.gcps = (points, rasterio.CRS.from_epsg(4326))
    run(source, out)
    with rasterio.open(out) as dataset:
        found, crs = dataset.gcps
        assert crs == rasterio.CRS.from_epsg(4326)
        assert [(g.row, g.col, g.x, g.y, g.z) for g in found] == [
            (g.row * 2, g.col * 2, g.x, g.y, g.z) for g in points
        ]


def test_an_image_without_georeferencing_stays_without(tmp_path: Path) -> None:
    source, out = tmp_path / "in.tif", tmp_path / "out.tif"
    write_tif(source, texture((1, 30, 40)), transform=None, crs=None)
    run(source, out)
    with rasterio.open(out) as dataset:
        assert dataset.crs is None
        assert dataset.transform.is_identity


def test_a_palette_is_kept_when_categories_go_by_nearest(tmp_path: Path) -> None:
    source, out = tmp_path / "in.tif", tmp_path / "out.tif"
    codes = (np.indices((600, 300)).sum(axis=0) // 9 % 4).astype(np.uint8)[None]
    write_tif(source, codes, photometric="palette")
    colours = {i: (i * 60, 255 - i * 60, 7, 255) for i in range(256) if i < 4}
    with rasterio.open(source, "r+") as dataset:
        dataset.write_colormap(1, colours)
    run(source, out, input=SourceOptions(categorical="nearest"))
    with rasterio.open(out) as dataset:
        np.testing.assert_array_equal(dataset.read(), replicate(codes, scale=2))
        found = dataset.colormap(1)
        assert {i: found[i] for i in colours} == colours
    with rasterio.open(out, overview_level=0) as overview:
        assert set(np.unique(overview.read())) <= {0, 1, 2, 3}


def test_no_overviews_and_no_statistics_when_not_wanted(tmp_path: Path) -> None:
    source, out = tmp_path / "in.tif", tmp_path / "out.tif"
    write_tif(source, texture((1, 600, 700)))
    run(source, out, output=OutputOptions(overviews="none", statistics=False))
    with rasterio.open(out) as dataset:
        assert dataset.overviews(1) == []
        assert not any("STATISTICS" in name for name in dataset.tags(1))


def test_beyond_4_gib_the_header_is_bigtiff() -> None:
    from pipeline.tiff import Image, image_entries, lay_out

    entries = image_entries([], (512 * 40, 512 * 40), level=0, compression=(8, 2))
    counts = np.full(1600, 3_000_000)
    layout = lay_out([Image(0, False, entries, counts)])
    assert layout.header[:4] == b"II+\0"
    assert layout.size == len(layout.header) + 1600 * 3_000_008
    small = lay_out([Image(0, False, entries, counts // 1000)])
    assert small.header[:4] == b"II*\0"
