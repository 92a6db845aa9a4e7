"""Georeferencing and metadata that GDAL itself loses on a naive way through a GeoTIFF."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from fakes import texture, write_tif
from PIL import Image
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp

from pipeline.errors import PlanError, SourceError
from pipeline.options import ClusterOptions, OutputOptions, ReportOptions
from workflows.job import Job, ModelOptions
from workflows.upscale import Outcome, upscale

ROTATED_POLE = (
    'GEOGCRS["rotated",BASEGEOGCRS["WGS 84",DATUM["WGS 84",ELLIPSOID["WGS 84",6378137,'
    '298.257223563]]],DERIVINGCONVERSION["rotation",METHOD["PROJ ob_tran o_proj=longlat"],'
    'PARAMETER["o_lon_p",0],PARAMETER["o_lat_p",39.25],PARAMETER["lon_0",18]],CS[ellipsoidal,2],'
    'AXIS["longitude",east],AXIS["latitude",north],ANGLEUNIT["degree",0.0174532925199433]]'
)


def run(source: Path, target: Path, *, scale: int = 2, compress: str = "zstd") -> Outcome:
    """Replicate pixels."""
    return upscale(
        Job(
            str(source),
            (str(target),),
            model=ModelOptions("nearest", scale),
            cluster=ClusterOptions(workers=0, threads=1),
            output=OutputOptions(compress=compress),  # type: ignore[arg-type]
            report=ReportOptions(report=False),
        )
    )


def fates_of(outcome: Outcome) -> dict[str, str]:
    """Item: outcome, as the report has them."""
    assert outcome.report is not None
    return {f.item: f.outcome for f in outcome.report.facts.outputs[0].metadata}


def test_a_compound_crs_keeps_its_height(tmp_path: Path) -> None:
    crs = rasterio.CRS.from_epsg(7415)
    source = write_tif(tmp_path / "in.tif", texture((1, 20, 20)), crs=crs)
    run(source, tmp_path / "out.tif")
    with rasterio.open(source) as one, rasterio.open(tmp_path / "out.tif") as two:
        assert one.crs == two.crs


def test_a_crs_that_no_geotiff_holds_is_refused_and_zarr_takes_it(tmp_path: Path) -> None:
    source = write_tif(tmp_path / "in.tif", texture((1, 20, 20)), crs=ROTATED_POLE)
    with pytest.raises(PlanError, match=r"write \.zarr"):
        run(source, tmp_path / "out.tif")
    run(source, tmp_path / "out.zarr")
    assert (tmp_path / "out.zarr").is_dir()


@pytest.mark.parametrize("scale", [2, 3])
@pytest.mark.parametrize("point", ["Area", "Point"])
def test_gcps_stay_whatever_a_pixel_stands_for(tmp_path: Path, scale: int, point: str) -> None:
    source = tmp_path / "in.tif"
    write_tif(source, texture((1, 30, 40)), transform=None, crs=None)
    with rasterio.open(source, "r+") as dataset:
        dataset.update_tags(AREA_OR_POINT=point)
        points = [GroundControlPoint(r, c, c / 9, -r / 9) for r in (1, 20) for c in (2, 30)]
        dataset.gcps = (points, rasterio.CRS.from_epsg(4326))
    run(source, tmp_path / "out.tif", scale=scale)
    with rasterio.open(source) as one, rasterio.open(tmp_path / "out.tif") as two:
        wanted = [(g.row * scale, g.col * scale, g.x, g.y) for g in one.gcps[0]]
        assert [(g.row, g.col, g.x, g.y) for g in two.gcps[0]] == wanted
        assert one.tags()["AREA_OR_POINT"] == two.tags()["AREA_OR_POINT"] == point


def test_a_transform_wins_over_gcps_and_the_table_says_so(tmp_path: Path) -> None:
    write_tif(tmp_path / "a.tif", texture((1, 20, 20)))
    rasterio.open(tmp_path / "a.tif").close()
    vrt = (
        '<VRTDataset rasterXSize="20" rasterYSize="20"><SRS>EPSG:32633</SRS>'
        "<GeoTransform>5, 10, 0, 9, 0, -10</GeoTransform>"
        '<GCPList Projection="EPSG:4326"><GCP Id="1" Pixel="0" Line="0" X="1" Y="1"/></GCPList>'
        '<VRTRasterBand dataType="UInt16" band="1"><SimpleSource>'
        '<SourceFilename relativeToVRT="1">a.tif</SourceFilename><SourceBand>1</SourceBand>'
        "</SimpleSource></VRTRasterBand></VRTDataset>"
    )
    (tmp_path / "a.vrt").write_text(vrt)
    outcome = run(tmp_path / "a.vrt", tmp_path / "out.tif")
    with rasterio.open(tmp_path / "out.tif") as dataset:
        assert tuple(dataset.transform)[:6] == (5, 0, 5, 0, -5, 9)
    fates = fates_of(outcome)
    assert fates["ground control points"] == "dropped"
    assert fates["transform"] == "changed"


def test_band_metadata_of_every_domain_is_kept(tmp_path: Path) -> None:
    source = write_tif(tmp_path / "in.tif", texture((2, 20, 20)))
    with rasterio.open(source, "r+") as dataset:
        dataset.update_tags(2, ns="IMAGERY", CENTRAL_WAVELENGTH_UM="0.56")
    run(source, tmp_path / "out.tif")
    with rasterio.open(tmp_path / "out.tif") as dataset:
        assert dataset.tags(2, ns="IMAGERY") == {"CENTRAL_WAVELENGTH_UM": "0.56"}


def test_the_ceiling_of_twelve_bits_is_theirs(tmp_path: Path) -> None:
    pixels = texture((1, 40, 40))
    pixels[0, 10:20, 10:20] = 4095
    source = write_tif(tmp_path / "in.tif", pixels, NBITS=12)
    job = Job(str(source), (str(tmp_path / "out.tif"),), cluster=ClusterOptions(workers=0))
    outcome = upscale(job)
    with rasterio.open(tmp_path / "out.tif") as dataset:
        fine = dataset.read()
        assert dataset.tags(1, ns="IMAGE_STRUCTURE").get("NBITS") is None
    assert (fine[0, 20:40, 20:40] == 4095).all()
    assert fates_of(outcome)["bits a sample"] == "changed"


def test_beside_alpha_a_mask_is_changed_and_the_table_says_so(tmp_path: Path) -> None:
    pixels = texture((2, 20, 20), "uint8")
    pixels[1] = 255
    pixels[1, 2, 2] = 0
    source = write_tif(tmp_path / "in.tif", pixels)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(source, "r+") as dataset:
        dataset.colorinterp = (ColorInterp.gray, ColorInterp.alpha)
        mask = np.full((20, 20), 255, np.uint8)
        mask[5, 5] = 0
        dataset.write_mask(mask)
    fates = fates_of(run(source, tmp_path / "out.tif"))
    assert fates["mask"] == "changed"


@pytest.mark.parametrize("options", [{}, {"alpha": "unspecified"}], ids=["grey", "alpha"])
def test_where_0_is_white_it_stays_white(tmp_path: Path, options: dict[str, str]) -> None:
    pixels = texture((1 + len(options), 20, 20), "uint8")
    source = write_tif(tmp_path / "in.tif", pixels, photometric="MINISWHITE", **options)
    assert fates_of(run(source, tmp_path / "out.tif"))["0 is white"] == "kept"
    for path in (source, tmp_path / "out.tif"):
        with rasterio.open(path) as dataset:
            assert dataset.tags(ns="IMAGE_STRUCTURE")["MINISWHITE"] == "YES"
    with rasterio.open(tmp_path / "out.tif") as dataset:
        assert np.array_equal(dataset.read()[:, ::2, ::2], pixels)


@pytest.mark.parametrize("suffix", [".png", ".zarr"])
def test_formats_that_know_no_white_0_say_so(tmp_path: Path, suffix: str) -> None:
    pixels = texture((1, 20, 20), "uint8")
    source = write_tif(tmp_path / "in.tif", pixels, photometric="MINISWHITE")
    assert fates_of(run(source, tmp_path / f"out{suffix}"))["0 is white"] == "dropped"


def test_tables_that_are_not_read_have_a_line(tmp_path: Path) -> None:
    source = write_tif(tmp_path / "in.tif", texture((1, 20, 20)))
    (tmp_path / "in.tif.aux.xml").write_text(
        '<PAMDataset><PAMRasterBand band="1"><CategoryNames><Category>sea</Category>'
        "</CategoryNames><GDALRasterAttributeTable/></PAMRasterBand></PAMDataset>"
    )
    fates = fates_of(run(source, tmp_path / "out.tif"))
    assert fates["category names"] == fates["raster attribute table"] == "dropped"


def test_lerc_is_refused_where_it_would_lose_nan(tmp_path: Path) -> None:
    source = write_tif(tmp_path / "in.tif", texture((2, 20, 20)).astype(np.float32))
    with pytest.raises(PlanError, match="LERC loses NaN"):
        run(source, tmp_path / "out.tif", compress="lerc")


@pytest.mark.parametrize("suffix", [".msk", ".ovr"])
def test_a_sidecar_that_is_a_vrt_is_refused(tmp_path: Path, suffix: str) -> None:
    source = write_tif(tmp_path / "in.tif", texture((1, 20, 20)))
    Path(f"{source}{suffix}").write_text('<VRTDataset rasterXSize="20" rasterYSize="20"/>')
    with pytest.raises(SourceError, match="has a VRT as its"):
        run(source, tmp_path / "out.tif")


def test_metadata_that_names_an_overview_file_is_refused(tmp_path: Path) -> None:
    source = write_tif(tmp_path / "in.tif", texture((1, 20, 20)))
    Path(f"{source}.aux.xml").write_text(
        '<PAMDataset><Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">/vsicurl/x</MDI>'
        "</Metadata></PAMDataset>"
    )
    with pytest.raises(SourceError, match="names other files"):
        run(source, tmp_path / "out.tif")


@pytest.mark.parametrize("share", [0.4, 0.97])
def test_a_small_truncated_png_is_refused(tmp_path: Path, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (50, 60, 3)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "whole.png")
    data = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "in.png").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(SourceError, match="damaged or truncated"):
        run(tmp_path / "in.png", tmp_path / "out.png")


def test_a_fourth_band_that_is_no_alpha_does_not_become_one_in_png(tmp_path: Path) -> None:
    source = write_tif(tmp_path / "in.tif", texture((4, 20, 20), "uint8"), photometric="RGB")
    with rasterio.open(source, "r+") as dataset:
        dataset.colorinterp = [*dataset.colorinterp[:3], rasterio.enums.ColorInterp.nir]
    with pytest.raises(PlanError, match="is alpha"):
        run(source, tmp_path / "out.png")
