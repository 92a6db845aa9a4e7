"""A network of several bands is refused a scene whose bands are not those, or lie otherwise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import dask
import numpy as np
import pytest
import rasterio
import xarray as xr
from fakes import Box, make_profile

import espcn
from espcn.architecture import Layer, Weights
from espcn.weights_file import write_weights
from pipeline.bands import check_bands, unnamed
from pipeline.errors import PlanError
from pipeline.lazy import upscale as upscale_lazily
from pipeline.options import ClusterOptions, SourceOptions
from pipeline.profile import Profile, Role
from workflows.cli import run
from workflows.evaluate import evaluate
from workflows.events import Warned
from workflows.job import Job, ModelOptions
from workflows.prepare import prepare
from workflows.trials import Exam
from workflows.upscale import upscale

SENTINEL = ("B02", "B03", "B04")


def profile_of(*names: str | None, roles: Sequence[Role] = ()) -> Profile:
    profile = make_profile((len(names), 20, 30), roles=roles)
    pairs = zip(profile.bands, names, strict=True)
    return replace(profile, bands=tuple(replace(b, description=name) for b, name in pairs))


def check(profile: Profile, *names: str, bands: int = 3) -> None:
    check_bands(
        profile,
        Box(bands=bands, band_names=names),
        model="m",
        scene="it",
        select=lambda numbers: f"select {list(numbers)}",
    )


class TestCheck:
    """The rule."""

    @pytest.mark.parametrize(
        "names",
        [
            ("B02", "B03", "B04"),
            ("b2", "B3", "B04"),
            ("B2, central wavelength 490 nm", "B3, central wavelength 560 nm", "B4 (665 nm)"),
            (" b02 ", "SR_B3", "T31TDH_20180101T105441_B04_10m"),
            (None, None, None),
            (None, "B03", ""),
            ("Band 1", "Band 2", "band_3"),
            ("1", "2", "3"),
        ],
    )
    def test_the_same_bands_or_unknown_ones_fit(self, names: tuple[str | None, ...]) -> None:
        check(profile_of(*names), *SENTINEL)

    @pytest.mark.parametrize(
        ("names", "way"),
        [
            (("B04", "B03", "B02"), r"select \[3, 2, 1\]"),
            (("B02", "B04", "B03"), r"select \[1, 3, 2\]"),
            (("B02", "B03", "B08"), "choose another model, or name them as it does"),
            (("red", "green", "blue"), "choose another model, or name them as it does"),
            ((None, None, "B02"), "choose another model, or name them as it does"),
        ],
    )
    def test_other_bands_or_another_order_are_refused(
        self, names: tuple[str | None, ...], way: str
    ) -> None:
        with pytest.raises(PlanError, match=rf"m takes 3 bands at once \(B02, B03, B04\).*{way}"):
            check(profile_of(*names), *SENTINEL)

    def test_the_numbers_behind_band_names_count_unless_they_are_their_own(self) -> None:
        with pytest.raises(PlanError, match="it has Band 2, Band 1, B04"):
            check(profile_of("Band 2", "Band 1", "B04"), *SENTINEL)
        check(profile_of("Band 1", "Band 2", "Band 3"), "Band 1", "Band 2", "Band 3")

    def test_b8a_is_not_b8_nor_b10_b1(self) -> None:
        check(profile_of("B08A", "B10"), "B8A", "B10", bands=2)
        for found in (("B8", "B10"), ("B8A", "B01")):
            with pytest.raises(PlanError, match="choose another model"):
                check(profile_of(*found), "B8A", "B10", bands=2)

    def test_a_wrong_count_is_told_which_bands_to_select(self) -> None:
        names = ("B01", "B02", "B03", "B04", "B08")
        with pytest.raises(PlanError, match=r"it has 5; select \[2, 3, 4\]"):
            check(profile_of(*names), *SENTINEL)
        with pytest.raises(PlanError, match=r"it has 2; select \[\]"):
            check(profile_of("B02", "B03"), *SENTINEL)
        with pytest.raises(PlanError, match=r"takes 3 bands at once, it has 5; select \[\]"):
            check(profile_of(*names))

    def test_colours_are_names_where_the_network_has_such(self) -> None:
        profile = profile_of(None, None, None)
        colours = ("blue", "green", "red")
        bands = tuple(replace(b, colour=c) for b, c in zip(profile.bands, colours, strict=True))
        profile = replace(profile, bands=bands)
        with pytest.raises(PlanError, match=r"it has blue, green, red; select \[3, 2, 1\]"):
            check(profile, "red", "green", "blue")
        check(profile, "Blue", "green", "red")
        check(profile, *SENTINEL)

    def test_bands_that_nothing_names_are_doubtful_where_names_are_wanted(self) -> None:
        def numbers(profile: Profile, *names: str) -> list[int]:
            network = Box(bands=len(names) or 3, band_names=names)
            return [band.number for band in unnamed(profile, network)]

        assert numbers(profile_of(None, "B03", "Band 3"), *SENTINEL) == [1, 3]
        assert numbers(profile_of("B02", "b3", "SR_B4"), *SENTINEL) == []
        assert numbers(profile_of(None, None, None)) == []
        roles: tuple[Role, ...] = ("light", "light", "light", "alpha")
        assert numbers(profile_of("B02", "B03", "B04", None, roles=roles), *SENTINEL) == []

    def test_without_names_only_the_count_matters(self) -> None:
        check(profile_of("B04", "B03", "B02"))

    def test_alpha_is_no_band_of_the_network_and_stays_selected(self) -> None:
        roles: tuple[Role, ...] = ("light", "light", "light", "alpha")
        check(profile_of("B02", "B03", "B04", None, roles=roles), *SENTINEL)
        with pytest.raises(PlanError, match=r"select \[3, 2, 1, 4\]"):
            check(profile_of("B04", "B03", "B02", None, roles=roles), *SENTINEL)

    def test_a_network_that_goes_band_by_band_takes_all(self) -> None:
        check(profile_of("B04", "red", None, "x"), bands=1)
        check(profile_of("B04", "B03"), "B02", bands=1)


@pytest.fixture
def joint(tmp_path: Path) -> str:
    """A network of three named bands at x2 that adds to each a tenth of the third."""
    kernel = np.zeros((3, 3, 1, 1), np.float32)
    kernel[:, 2] = 1
    last = np.repeat(np.eye(3, dtype=np.float32), 4, axis=0)[:, :, None, None] / 10
    middle = np.eye(3, dtype=np.float32)[:, :, None, None]
    weights = Weights(
        (Layer(kernel), Layer(middle), Layer(last)),
        2,
        input_range=(0.0, 1.0),
        band_names=SENTINEL,
    )
    path = tmp_path / "joint.safetensors"
    write_weights(path, weights)
    return str(path)


Scene = Callable[..., Path]


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """Writes a GeoTIFF with a flat band of 20, 30, 40, ... for each name."""

    def write(*names: str) -> Path:
        path = tmp_path / f"{'-'.join(names)}.tif"
        transform = rasterio.Affine(10, 0, 0, 0, -10, 0)
        with rasterio.open(
            path, "w", driver="GTiff", height=20, width=30, count=len(names), dtype="uint8",
            crs="EPSG:32633", transform=transform, photometric="MINISBLACK",
        ) as file:  # fmt: skip
            for number, name in enumerate(names, 1):
                file.write(np.full((20, 30), 10 * (number + 1), np.uint8), number)
                file.set_band_description(number, name)
        return path

    return write


def job_of(source: Path, model: str, *, bands: tuple[int, ...] | None = None) -> Job:
    return Job(
        str(source),
        (str(source.with_name("fine.tif")),),
        model=ModelOptions(model, device="cpu"),
        input=SourceOptions(bands=bands),
        cluster=ClusterOptions(workers=0, threads=1),
    )


class TestFiles:
    """The plan of a job."""

    def test_bands_in_their_order_are_mixed(self, scene: Scene, joint: str) -> None:
        job = job_of(scene("b2", "b3", "b4"), joint)
        upscale(job)
        with rasterio.open(job.outputs[0]) as file:
            fine = file.read()
        assert [np.unique(band).tolist() for band in fine] == [[24], [34], [44]]

    def test_another_order_is_refused_and_the_way_out_works(self, scene: Scene, joint: str) -> None:
        path = scene("B04", "B03", "B02")
        with pytest.raises(PlanError, match="the source has B04, B03, B02") as caught:
            prepare(job_of(path, joint))
        assert "the model joint takes 3 bands at once (B02, B03, B04)" in str(caught.value)
        assert str(caught.value).endswith("select them with --bands 3,2,1")
        prepare(job_of(path, joint, bands=(3, 2, 1)))

    def test_another_count_is_refused_and_the_way_out_works(self, scene: Scene, joint: str) -> None:
        path = scene("B01", "B02", "B03", "B04")
        with pytest.raises(PlanError, match=r"the source has 4; select them with --bands 2,3,4$"):
            prepare(job_of(path, joint))
        prepare(job_of(path, joint, bands=(2, 3, 4)))
        with pytest.raises(PlanError, match=r"the source has 2; select them with --bands$"):
            prepare(job_of(path, joint, bands=(2, 3)))

    def test_bands_without_names_are_taken_with_a_warning(
        self, scene: Scene, joint: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        events: list[object] = []
        outcome = upscale(job_of(scene("", "B03", ""), joint), events.append)
        line = (
            "the model joint takes B02, B03, B04 in this order, and bands 1, 3 of the source "
            "cannot be told by name: see that they are these"
        )
        assert events[0] == Warned(line)
        assert outcome.report is not None
        assert outcome.report.warnings == (line,)
        job = replace(job_of(scene("B02", "B03", "B04"), joint), overwrite=True)
        named = upscale(job).report
        assert named is not None
        assert named.warnings == ()
        bare = str(scene("", "", ""))
        assert run(["upscale", bare, f"{bare}.tif", "-m", joint, "--dry-run"]) == 0
        assert "bands 1, 2, 3 of the source cannot be told" in capsys.readouterr().err

    def test_an_evaluation_says_so_once(self, scene: Scene, joint: str) -> None:
        folder = scene("", "", "").parent / "data"
        folder.mkdir()
        for name in ("a.tif", "b.tif"):
            scene("", "", "").rename(folder / name)
        found = evaluate(Exam((str(folder),), ModelOptions(joint, device="cpu")))
        assert len(found.pictures) == 2
        (line,) = found.warnings
        assert "bands 1, 2, 3 of the data cannot be told by name" in line


class TestArrays:
    """The lazy façade."""

    @staticmethod
    def array(names: Sequence[object] | None, **attributes: object) -> xr.DataArray:
        values = np.stack([np.full((20, 30), 10 * (i + 2), np.uint8) for i in range(3)])
        coords = {} if names is None else {"band": list(names)}
        return xr.DataArray(values, dims=("band", "y", "x"), coords=coords, attrs=attributes)

    def test_names_are_read_from_the_coordinate(self, joint: str) -> None:
        upscaler = espcn.load(joint, device="cpu")
        with dask.config.set(scheduler="synchronous"):
            fine = upscale_lazily(self.array(("B02", "B03", "B04")), upscaler).values
        assert fine[:, 0, 0].tolist() == [24, 34, 44]
        turned = self.array(("B04", "B03", "B02"))
        with pytest.raises(PlanError, match=r"the array has B04, B03.*isel\(band=\[2, 1, 0\]\)"):
            upscale_lazily(turned, upscaler)
        upscale_lazily(turned.isel(band=[2, 1, 0]), upscaler)

    def test_bands_without_names_are_taken_with_a_warning(
        self, joint: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        upscaler = espcn.load(joint, device="cpu")
        upscale_lazily(self.array(("B02", "B03", "B04")), upscaler)
        assert not caplog.records
        upscale_lazily(self.array((1, 2, 3)), upscaler)
        (record,) = caplog.records
        assert record.getMessage() == (
            "the model takes B02, B03, B04 in this order, and bands 1, 2, 3 of the array cannot be "
            "told by name: see that they are these"
        )

    def test_names_in_an_attribute_follow_the_numbers_of_the_bands(self, joint: str) -> None:
        upscaler = espcn.load(joint, device="cpu")
        array = self.array((1, 2, 3), long_name=("B04", "B03", "B02"))
        with pytest.raises(PlanError, match="the array has B04, B03, B02"):
            upscale_lazily(array, upscaler)
        upscale_lazily(array.isel(band=[2, 1, 0]), upscaler)
        four = xr.concat([array, array[:1].assign_coords(band=[4])], "band")
        four.attrs["long_name"] = ["B02", "B03", "B04", "B08"]
        upscale_lazily(four[:3], upscaler)
        with pytest.raises(PlanError, match="the array has B03, B04, B08"):
            upscale_lazily(four[1:], upscaler)

    @pytest.mark.parametrize("names", [("B04", "B03", "B02"), ["B04", "B03", "B02"]])
    def test_names_in_an_attribute_alone_count_by_position(
        self, joint: str, names: Sequence[str]
    ) -> None:
        with pytest.raises(PlanError, match="the array has B04, B03, B02"):
            upscale_lazily(self.array(None, long_name=names), espcn.load(joint, device="cpu"))

    @pytest.mark.parametrize("name", ["reflectance", ("B02", "B03"), 7, None])
    def test_an_attribute_that_names_no_bands_is_let_pass(self, joint: str, name: object) -> None:
        upscaler = espcn.load(joint, device="cpu")
        upscale_lazily(self.array(None, long_name=name), upscaler)
        upscale_lazily(self.array((0, 1, 7), long_name=name), upscaler)
