"""What a job leaves beside its outputs: report and preview."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio import Affine
from rasterio.enums import ColorInterp

from pipeline.errors import PublishError
from pipeline.journal import Receipt
from pipeline.options import ClusterOptions, OutputOptions, ReportOptions, SourceOptions
from pipeline.sources import open_source
from pipeline.statistics import measure
from workflows.events import Outcome
from workflows.facts import make_facts
from workflows.job import Job, ModelOptions
from workflows.prepare import prepare
from workflows.preview import SIDE, choose_window, preview_path, visible_bands
from workflows.report import make_report, report_path, write_report
from workflows.upscale import upscale

HEIGHT, WIDTH = 300, 420


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four bands, flat but for a busy corner, with a strip of nodata."""
    path = tmp_path_factory.mktemp("scene") / "scene.tif"
    pixels = np.full((4, HEIGHT, WIDTH), 1000, "uint16")
    busy = np.random.default_rng(1).integers(200, 4000, (4, SIDE, SIDE))
    pixels[:, HEIGHT - SIDE :, WIDTH - SIDE :] = busy
    pixels[:, :, :20] = 0
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        dtype="uint16",
        count=4,
        height=HEIGHT,
        width=WIDTH,
        crs="EPSG:32633",
        transform=Affine(10, 0, 0, 0, -10, 0),
        nodata=0,
    ) as file:
        file.write(pixels)
        colours = (ColorInterp.blue, ColorInterp.green, ColorInterp.red, ColorInterp.nir)
        file.colorinterp = colours
    return path


@pytest.fixture(scope="module")
def outcome(scene: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """A finished job of two outputs."""
    folder = tmp_path_factory.mktemp("fine")
    return upscale(
        Job(
            str(scene),
            (str(folder / "a.tif"), str(folder / "b.tif")),
            model=ModelOptions("nearest", 3),
            cluster=ClusterOptions(workers=0, threads=2),
            report=ReportOptions(preview=True),
        )
    )


def test_the_facts_are_those_of_the_plan(scene: Path, tmp_path: Path) -> None:
    job = Job(str(scene), (str(tmp_path / "a.tif"),), input=SourceOptions(bands=(3, 1)))
    facts = make_facts(prepare(Job(job.source, job.outputs, model=ModelOptions("nearest"))))
    assert facts.source.path == str(scene)
    assert (facts.source.height, facts.source.width) == (HEIGHT, WIDTH)
    assert (facts.outputs[0].height, facts.outputs[0].width) == (2 * HEIGHT, 2 * WIDTH)
    assert facts.work.memory_per_tile > 0
    assert 0 < facts.outputs[0].bytes_expected < facts.outputs[0].bytes_needed
    chosen = Job(job.source, job.outputs, model=ModelOptions("nearest"), input=job.input)
    assert make_facts(prepare(chosen)).source.bands == (3, 1)


def test_statistics_are_those_of_the_output(outcome: Outcome) -> None:
    report = make_report(outcome)
    with rasterio.open(outcome.prepared.plans[0][0]) as file:
        for band in report.statistics:
            pixels = file.read(band.band, masked=True).compressed().astype(float)
            assert (band.minimum, band.maximum) == (pixels.min(), pixels.max())
            assert band.mean == pytest.approx(pixels.mean())
            assert band.deviation == pytest.approx(pixels.std())
            assert band.valid_percent == pytest.approx(100 * (WIDTH - 20) / WIDTH, abs=1e-3)


def test_sizes_are_those_on_disk(outcome: Outcome) -> None:
    paths = [path for path, _ in outcome.prepared.plans]
    assert make_report(outcome).sizes == tuple(path.stat().st_size for path in paths)


def test_a_report_and_a_preview_lie_beside_each_output(outcome: Outcome) -> None:
    report, written = outcome.report, outcome.extras
    assert report is not None
    targets = [target for target, _ in outcome.prepared.plans]
    expected = [path(t) for t in targets for path in (preview_path, report_path)]
    assert list(written) == expected
    data = json.loads(report_path(targets[0]).read_text())
    assert data["facts"]["provenance"]["model"] == "nearest"
    assert data["facts"]["work"]["tiles"] == len(outcome.receipts)
    assert data["timings"]["read"] == report.timings.read > 0
    assert data["megapixels_per_second"] > 0
    assert data["versions"]["espcn"]
    fates = {fate["item"]: fate["outcome"] for fate in data["facts"]["outputs"][0]["metadata"]}
    assert fates["coordinate reference system"] == "kept"
    assert fates["transform"] == "changed"


def test_a_report_is_json_where_nothing_is_valid(outcome: Outcome) -> None:
    plan = outcome.prepared.plans[0][1]
    invalid = np.zeros((4, 512, 512), bool)
    empty = measure(np.zeros((4, 512, 512), "uint16"), invalid)
    nothing = Receipt(0, (), empty, clipped=3)
    report = make_report(
        Outcome(outcome.prepared, (nothing,), 1, outcome.shape, 1.0, 0.0, 0.0, 0.0),
    )
    assert [band.mean for band in report.statistics] == [None] * 4
    assert report.statistics[0].valid_percent == 0
    assert report.megapixels_per_second == 0
    assert report.warnings == ("3 values did not fit uint16 and were clipped to its range",)
    assert len(plan.profile.bands) == 4


def test_without_statistics_a_report_has_none(scene: Path, tmp_path: Path) -> None:
    done = upscale(
        Job(
            str(scene),
            (str(tmp_path / "a.tif"),),
            model=ModelOptions("nearest"),
            output=OutputOptions(statistics=False),
            cluster=ClusterOptions(workers=0, threads=1),
        )
    )
    assert make_report(done).statistics == ()


def test_a_report_that_cannot_be_written_is_a_publish_error(
    outcome: Outcome, tmp_path: Path
) -> None:
    with pytest.raises(PublishError, match=r"no/a\.tif\.report\.json: cannot be written"):
        write_report(make_report(outcome), tmp_path / "no" / "a.tif")
    assert list(tmp_path.iterdir()) == []


class TestPreview:
    """The picture."""

    def test_it_shows_the_most_detailed_window(self, scene: Path) -> None:
        window = choose_window(open_source(str(scene)))
        assert (window.y, window.x) == (HEIGHT - SIDE, WIDTH - SIDE)
        assert window.shape == (SIDE, SIDE)

    def test_it_shows_red_green_and_blue(self, scene: Path) -> None:
        assert visible_bands(open_source(str(scene)).profile) == (2, 1, 0)
        two = open_source(str(scene), SourceOptions(bands=(4, 1)))
        assert visible_bands(two.profile) == (0,)
        three = open_source(str(scene), SourceOptions(bands=(4, 3, 2)))
        assert visible_bands(three.profile) == (0, 1, 2)

    def test_with_replication_input_and_result_look_the_same(self, outcome: Outcome) -> None:
        with Image.open(preview_path(outcome.prepared.plans[0][0])) as image:
            picture = np.asarray(image)
        side = 3 * SIDE
        panels = [
            picture[56 : 56 + side, 24 + i * (side + 16) : 24 + i * (side + 16) + side]
            for i in range(3)
        ]
        assert np.array_equal(panels[0], panels[2])
        assert not np.array_equal(panels[0], panels[1])
        assert panels[0].std() > 20

    @pytest.mark.parametrize("shape", [(1, 1), (3, 200), (150, 7)])
    @pytest.mark.parametrize("fill", ["noise", "flat", "invalid"])
    def test_any_scene_has_a_preview(
        self, tmp_path: Path, shape: tuple[int, int], fill: str
    ) -> None:
        noise = np.random.default_rng(1).normal(size=(1, *shape)).astype("float32")
        pixels = {"noise": noise, "flat": noise * 0, "invalid": noise * np.nan}[fill]
        source = tmp_path / "s.tif"
        with rasterio.open(
            source,
            "w",
            driver="GTiff",
            dtype="float32",
            count=1,
            height=shape[0],
            width=shape[1],
            crs="EPSG:4326",
            transform=Affine(1, 0, 0, 0, -1, 0),
            nodata=float("nan"),
        ) as file:
            file.write(pixels)
        upscale(
            Job(
                str(source),
                (str(tmp_path / "f.tif"),),
                model=ModelOptions("bicubic", 2),
                cluster=ClusterOptions(workers=0, threads=1),
                report=ReportOptions(preview=True),
            )
        )
        with Image.open(preview_path(tmp_path / "f.tif")) as picture:
            assert picture.mode == "RGB"
            assert picture.width > 400
