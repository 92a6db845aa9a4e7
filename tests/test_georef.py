"""Nothing moves on the ground. GDAL is the judge of GCPs and RPCs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rasterio.control import GroundControlPoint
from rasterio.rpc import RPC
from rasterio.transform import GCPTransformer, RPCTransformer

from pipeline.georef import Gcp, Georef, zoom_affine

numbers = st.floats(-1e7, 1e7, allow_nan=False)
steps = st.floats(1e-6, 1e4).flatmap(lambda v: st.sampled_from([v, -v]))
small = st.one_of(st.just(0.0), steps)


@given(
    st.tuples(steps, small, numbers, small, steps, numbers),
    st.integers(1, 50_000),
    st.integers(1, 50_000),
    st.integers(1, 8),
)
def test_all_four_outer_corners_stay_to_a_billionth_of_a_pixel(
    affine: tuple[float, ...], height: int, width: int, scale: int
) -> None:
    coarse = Georef(affine=affine)  # type: ignore[arg-type]
    before = np.array(coarse.corners(height, width))
    after = np.array(coarse.zoom(scale).corners(height * scale, width * scale))
    pixel = max(abs(affine[0]), abs(affine[4]), abs(affine[1]), abs(affine[3]))
    rounding = 4 * np.spacing(np.abs(before).max() + pixel * max(height, width))
    assert np.abs(after - before).max() <= 1e-9 * pixel + rounding


def test_the_fine_pixel_is_the_coarse_one_divided() -> None:
    assert zoom_affine((10, 1, 5, 2, -20, 6), scale=2) == (5, 0.5, 5, 1, -10, 6)


def test_gdal_finds_the_same_ground_through_scaled_gcps() -> None:
    gcps = tuple(
        Gcp(row, column, 7 + 0.01 * column + 0.001 * row, 40 - 0.01 * row, 0.0, str(i))
        for i, (row, column) in enumerate([(0, 0), (0, 100), (80, 0), (80, 100), (33, 47)])
    )
    fine = Georef(gcps=gcps).zoom(3)
    assert [g.id for g in fine.gcps] == [g.id for g in gcps]

    def transformer(points: tuple[Gcp, ...]) -> GCPTransformer:
        return GCPTransformer([GroundControlPoint(g.row, g.column, g.x, g.y, g.z) for g in points])

    with transformer(gcps) as coarse, transformer(fine.gcps) as finer:
        for row, column in [(0, 0), (12.5, 80), (79, 99)]:
            # offset 'ul': coordinates of the upper left corner of a (fractional) pixel
            one = coarse.xy(row, column, offset="ul")
            two = finer.xy(row * 3, column * 3, offset="ul")
            np.testing.assert_allclose(two, one, rtol=0, atol=1e-9)


@pytest.fixture
def rpcs() -> dict[str, str]:
    """A plausible push-broom camera."""
    coefficients = {
        "LINE_NUM_COEFF": [0.001, 0.02, -1.0, 0.01] + [1e-4] * 16,
        "LINE_DEN_COEFF": [1.0, 1e-3, -2e-3, 1e-3] + [1e-6] * 16,
        "SAMP_NUM_COEFF": [-0.002, 1.0, 0.03, 0.01] + [2e-4] * 16,
        "SAMP_DEN_COEFF": [1.0, -1e-3, 1e-3, 2e-3] + [1e-6] * 16,
    }
    return {name: " ".join(map(repr, values)) for name, values in coefficients.items()} | {
        "LINE_OFF": "+002503.00 pixels",
        "SAMP_OFF": "2001.5",
        "LINE_SCALE": "2504",
        "SAMP_SCALE": "2002.0",
        "LAT_OFF": "45.1",
        "LONG_OFF": "7.3",
        "HEIGHT_OFF": "300",
        "LAT_SCALE": "0.12",
        "LONG_SCALE": "0.15",
        "HEIGHT_SCALE": "500",
    }


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_gdal_finds_the_same_ground_through_adjusted_rpcs(rpcs: dict[str, str], scale: int) -> None:
    fine = Georef(rpcs=rpcs).zoom(scale).rpcs
    untouched = {"LINE_OFF", "SAMP_OFF", "LINE_SCALE", "SAMP_SCALE"}
    assert {k: v for k, v in fine.items() if k not in untouched} == {
        k: v for k, v in rpcs.items() if k not in untouched
    }
    with RPCTransformer(_rpc(rpcs)) as coarse, RPCTransformer(_rpc(fine)) as finer:
        for x, y in [(7.25, 45.07), (7.3, 45.1), (7.38, 45.16)]:
            # GDAL's pixel coordinates are corner-based: the same ground, times the scale
            row, column = coarse.rowcol(x, y, zs=250, op=float)
            fine_row, fine_column = finer.rowcol(x, y, zs=250, op=float)
            assert fine_row == pytest.approx(row * scale, abs=1e-6)
            assert fine_column == pytest.approx(column * scale, abs=1e-6)


def _rpc(values: dict[str, str]) -> RPC:
    plain = {k: v.split()[0] if k.endswith(("_OFF", "_SCALE")) else v for k, v in values.items()}
    return RPC.from_gdal(plain)


def test_what_is_absent_stays_absent() -> None:
    assert Georef().zoom(2) == Georef()
    assert Georef().corners(3, 4) is None
