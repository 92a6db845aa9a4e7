"""What a few windows of a scene decide before its first tile."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fakes import texture, write_tif
from runs import make_job

from pipeline.errors import PlanError
from pipeline.radiometry import Pixels
from workflows.job import ModelOptions
from workflows.prepare import prepare

LIGHT = texture((2, 90, 80)).astype(np.float64)
"""About 1000 to 4000."""
GAP = -3.4028234663852886e38
"""What programs write where there is nothing, declared or not."""


def planned(folder: Path, pixels: Pixels, model: str = "general-x2") -> None:
    path = write_tif(folder / "scene.tif", pixels)
    prepare(make_job(path, folder / "out.tif", model=ModelOptions(model, scale=2)))


@pytest.mark.parametrize(
    ("factor", "dtype", "why", "way"),
    [
        (1e-50, "float64", r"at most, and below 1e-30 digits are lost", r"by 1e\+47 first"),
        (1e-42, "float32", r"at most, and below 1e-30 digits are lost", r"by 1e\+39 first"),
        (1e37, "float64", r"and from 1e\+37 on none counts", r"by 1e-40 first"),
        (1e35, "float32", r"and from 1e\+37 on none counts", r"by 1e-38 first"),
    ],
)
def test_floats_that_no_network_can_hold_are_refused(
    tmp_path: Path, factor: float, dtype: str, why: str, way: str
) -> None:
    pixels = (LIGHT * factor).astype(dtype)
    pixels[0] = LIGHT[0]
    with pytest.raises(PlanError, match=rf"{why} in .* \(band 2\); .* {way}"):
        planned(tmp_path, pixels)
    planned(tmp_path, pixels, "nearest")


@pytest.mark.parametrize("factor", [1e-30, 1e-9, 1.0, 1e9, 1e33])
def test_floats_of_any_usual_size_are_taken(tmp_path: Path, factor: float) -> None:
    planned(tmp_path, LIGHT * factor)


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_gaps_that_are_not_declared_are_no_data(tmp_path: Path, share: float) -> None:
    pixels = LIGHT.astype(np.float32)
    pixels[:, : round(share * 90)] = GAP
    pixels[:, : round(share * 90), ::2] = np.nextafter(np.float32(GAP), np.float32(0))
    planned(tmp_path, pixels)


def test_a_band_of_zeros_is_taken(tmp_path: Path) -> None:
    planned(tmp_path, LIGHT * 0)
