"""Plain images in, plain images out, judged by Pillow."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from fakes import texture, write_tif
from PIL import Image, ImageCms
from rasterio.enums import ColorInterp

import espcn
from pipeline.errors import PlanError
from pipeline.options import ClusterOptions, SourceOptions, TilingOptions
from pipeline.radiometry import replicate
from pipeline.sinks.png_bytes import chunk, chunks
from workflows.job import Job, ModelOptions
from workflows.upscale import upscale


def run(
    source: Path, target: Path, *, model: str = "nearest", tile: int | None = None, **options: Any
) -> Image.Image:
    """Upscale twofold and read back."""
    options["cluster"] = ClusterOptions(workers=0, threads=1)
    options["tiling"] = TilingOptions(tile)
    upscale(Job(str(source), (str(target),), model=ModelOptions(model, 2), **options))
    Image.open(target).verify()  # the checksums of all chunks
    image = Image.open(target)
    image.load()
    return image


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "I;16"])
def test_every_kind_of_png_keeps_its_kind_and_pixels(tmp_path: Path, mode: str) -> None:
    bands, dtype = (1, "uint16") if mode == "I;16" else (len(mode), "uint8")
    pixels = np.squeeze(texture((bands, 40, 50), dtype).transpose(1, 2, 0))
    Image.fromarray(pixels).save(tmp_path / "in.png")
    fine = run(tmp_path / "in.png", tmp_path / "out.png")
    assert fine.mode == mode
    np.testing.assert_array_equal(np.asarray(fine), pixels.repeat(2, 0).repeat(2, 1))


@pytest.mark.parametrize("line", [None, 1])
def test_slabs_larger_than_a_chunk_and_lower_than_usual_are_joined(
    tmp_path: Path, line: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if line:  # as if the image were very wide: slabs of one row
        monkeypatch.setattr("pipeline.sinks.png.LINE", line)
    pixels = np.random.default_rng(0).integers(0, 2**16, (4, 70, 1500), np.uint16)
    source = write_tif(tmp_path / "in.tif", pixels, photometric="RGB", alpha="yes")
    run(source, tmp_path / "out.png", tile=4096)
    with rasterio.open(tmp_path / "out.png") as dataset:
        np.testing.assert_array_equal(dataset.read(), replicate(pixels, scale=2))


def test_the_icc_profile_and_the_provenance_are_kept(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    pixels = texture((3, 40, 50), "uint8").transpose(1, 2, 0)
    for name in ("in.png", "in.jpg"):
        Image.fromarray(pixels).save(tmp_path / name, icc_profile=profile)
        fine = run(tmp_path / name, tmp_path / f"{name}.out.png", model="general-x2")
        assert fine.info["icc_profile"] == profile
        assert espcn.describe("general-x2").sha256 in fine.info["PROCESSING"]


def test_a_photograph_is_super_resolved_and_its_alpha_is_not(tmp_path: Path) -> None:
    pixels = texture((4, 60, 50), "uint8").transpose(1, 2, 0).copy()
    pixels[..., 3] = np.where(np.arange(60)[:, None] % 7 < 3, 255, 90)
    Image.fromarray(pixels).save(tmp_path / "in.png")
    fine = np.asarray(run(tmp_path / "in.png", tmp_path / "out.png", model="general-x2"))
    np.testing.assert_array_equal(fine[..., 3], pixels[..., 3].repeat(2, 0).repeat(2, 1))
    assert (fine[..., :3] != pixels[..., :3].repeat(2, 0).repeat(2, 1)).mean() > 0.5


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize(
    "colours", ["gray", "gray alpha", "red green blue", "red green blue alpha"]
)
def test_all_tiles_and_rows_come_together(tmp_path: Path, dtype: str, colours: str) -> None:
    names = colours.split()
    pixels = texture((len(names), 300, 410), dtype)
    source = write_tif(tmp_path / "in.tif", pixels, photometric="RGB" if len(names) > 2 else None)
    with rasterio.open(source, "r+") as dataset:
        dataset.colorinterp = [ColorInterp[name] for name in names]
    for tile in (512, 1024):
        run(source, tmp_path / f"{tile}.png", tile=tile)
    with rasterio.open(tmp_path / "512.png") as dataset:
        np.testing.assert_array_equal(dataset.read(), replicate(pixels, scale=2))
        assert [colour.name for colour in dataset.colorinterp] == names
    assert (tmp_path / "512.png").read_bytes() == (tmp_path / "1024.png").read_bytes()


def test_the_stream_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.sinks.png.LEAST_STEP", 1)  # DEFLATE starts anew every 64 rows
    Image.fromarray(texture((1, 400, 90), "uint8")[0]).save(tmp_path / "in.png")
    run(tmp_path / "in.png", tmp_path / "out.png", tile=512)
    found = list(chunks((tmp_path / "out.png").read_bytes()))
    stream = b"".join(data for kind, data in found if kind == b"IDAT")
    assert len(zlib.decompress(stream)) == 800 * (1 + 180)  # checks Adler-32 as well
    assert sum(kind == b"IDAT" for kind, _ in found) > 800 / 64
    assert found[-1] == (b"IEND", b"")


def test_palette_nodata_gamma_and_text_are_what_gdal_makes_of_them(tmp_path: Path) -> None:
    codes = (np.indices((70, 300)).sum(axis=0) // 9 % 4).astype(np.uint8)[None]
    palette = write_tif(tmp_path / "palette.tif", codes, photometric="palette")
    with rasterio.open(palette, "r+") as dataset:
        dataset.write_colormap(1, {i: (i * 60, 255 - i * 60, 7, 255) for i in range(4)})
        dataset.update_tags(TOPIC="maps: ö 漢", LONG="x" * 3000)
    fine = run(palette, tmp_path / "palette.png", input=SourceOptions(categorical="nearest"))
    assert fine.mode == "P"
    assert fine.getpalette()[:12] == [0, 255, 7, 60, 195, 7, 120, 135, 7, 180, 75, 7]  # type: ignore[index]
    assert (fine.info["TOPIC"], fine.info["LONG"]) == ("maps: ö 漢", "x" * 3000)
    np.testing.assert_array_equal(np.asarray(fine), replicate(codes, scale=2)[0])

    write_tif(tmp_path / "grey.tif", texture((1, 40, 50), "uint16"), nodata=700)
    run(tmp_path / "grey.tif", tmp_path / "grey.png")
    with rasterio.open(tmp_path / "grey.png") as dataset:
        assert dataset.nodata == 700

    Image.fromarray(texture((3, 40, 50), "uint8").transpose(1, 2, 0)).save(tmp_path / "plain.png")
    plain = (tmp_path / "plain.png").read_bytes()
    primaries = struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
    colours = chunk(b"gAMA", struct.pack(">I", 45455)) + chunk(b"cHRM", primaries)
    (tmp_path / "gamma.png").write_bytes(plain[:33] + colours + plain[33:])
    fine = run(tmp_path / "gamma.png", tmp_path / "fine.png")
    assert fine.info["gamma"] == 0.45455
    assert fine.info["chromaticity"] == (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)


def test_photographs_are_as_small_as_gdal_writes_them(shared: Path, tmp_path: Path) -> None:
    ours = theirs = 0
    for image in sorted((shared / "data/sr/set5").glob("*.png"))[:3]:
        fine = np.asarray(run(image, tmp_path / f"{image.stem}.png", model="general-x2"))
        planes = fine.transpose(2, 0, 1) if fine.ndim == 3 else fine[None]
        write_tif(tmp_path / "gdal.png", planes, driver="PNG", crs=None, transform=None)
        ours += (tmp_path / f"{image.stem}.png").stat().st_size
        theirs += (tmp_path / "gdal.png").stat().st_size
    assert ours < 1.05 * theirs


@pytest.mark.parametrize(
    ("shape", "dtype", "reason"),
    [((1, 9, 9), "float32", "not float32"), ((5, 9, 9), "uint8", "not 5")],
)
def test_what_a_png_cannot_hold_is_refused(
    tmp_path: Path, shape: tuple[int, int, int], dtype: str, reason: str
) -> None:
    source = write_tif(tmp_path / "in.tif", texture(shape, dtype))
    with pytest.raises(PlanError, match=reason):
        run(source, tmp_path / "out.png")
    assert [path.name for path in tmp_path.iterdir()] == ["in.tif"]
