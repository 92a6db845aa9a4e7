"""Plain images in, plain images out, judged by Pillow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fakes import texture, write_tif
from PIL import Image, ImageCms

import espcn
from pipeline.errors import PlanError
from pipeline.options import ClusterOptions
from workflows.job import Job, ModelOptions
from workflows.upscale import upscale


def run(source: Path, target: Path, *, model: str = "nearest") -> Image.Image:
    """Upscale twofold and read back."""
    cluster = ClusterOptions(workers=0, threads=1)
    upscale(Job(str(source), (str(target),), model=ModelOptions(model, 2), cluster=cluster))
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
