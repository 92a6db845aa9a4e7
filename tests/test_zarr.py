"""Zarr as output and as input: xarray, rioxarray, odc-geo and rasterio say whether it is right."""

from __future__ import annotations

import errno
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import odc.geo.xr  # noqa: F401 - gives arrays their .odc
import pytest
import rasterio
import rioxarray  # noqa: F401 - gives arrays their .rio
import xarray as xr
import zarr
from affine import Affine
from fakes import Box, make_profile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.enums import ColorInterp

from pipeline import stage as staging
from pipeline.coordinates import render_gcps
from pipeline.errors import DamagedStageError, PlanError, SourceError
from pipeline.fate import Provenance
from pipeline.georef import Gcp
from pipeline.journal import Journal, Receipt
from pipeline.kernel import Fine, Recipe, make_tiling, upscale_tile
from pipeline.options import OutputOptions, SourceOptions
from pipeline.plan import Plan
from pipeline.pyramid import halve
from pipeline.radiometry import Radiometry
from pipeline.sinks import sink_for, zarr_place, zarr_stage
from pipeline.sinks import zarr as sink
from pipeline.sources import Address, open_source
from pipeline.statistics import measure
from pipeline.tiling import Window

pytestmark = [
    # rioxarray and rasterio multiply affines the old way
    pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning"),
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
]

UTM = CRS.from_epsg(32633)
NORTH_UP = Affine(10, 0, 500_000, 0, -10, 5_000_000)
GRIDS = {
    "north-up": NORTH_UP,
    "south-up": Affine(10, 0, 500_000, 0, 10, 5_000_000),
    "rotated": Affine(10, 2, 500_000, 3, -10, 5_000_000),
    "not square": Affine(1 / 3, 0, -180.1, 0, -1 / 7, 89.9),
}
STORES = {
    "sharded": OutputOptions(),
    "unsharded": OutputOptions(zarr_sharded=False, compress="zstd"),
    "v2": OutputOptions(zarr_format=2, compress="none"),
    "v2 deflate": OutputOptions(zarr_format=2),
}


@dataclass
class Job:
    """A source upscaled to a staged Zarr store, tile by tile, without Dask."""

    folder: Path
    source: Path
    side: int = 512
    output: OutputOptions = field(default_factory=OutputOptions)
    options: SourceOptions = field(default_factory=SourceOptions)
    name: str = "out.zarr"

    def __post_init__(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self.stage = self.folder / "stage"
        self.target = self.folder / self.name
        self.receipts: dict[int, Receipt] = {}
        self.address = Address(str(self.source), self.options)
        profile = open_source(str(self.source), self.options).profile
        provenance = Provenance(
            software="espcn 0", model="box", sha256="0" * 64, scale=2, backend="numpy"
        )
        tiling = make_tiling(profile.height, profile.width, Box(), side=self.side)
        radiometry = Radiometry(
            profile.dtype, 1.0, (0.0,) * len(profile.bands), nodata=profile.nodata
        )
        self.plan = Plan(self.address, profile, provenance, radiometry, tiling, self.output, "zarr")
        self.recipe = Recipe(profile, tiling, radiometry, Box())

    def fine(self, index: int) -> Fine:
        source, tile = open_source(str(self.source), self.options), self.plan.tiling.tile(index)
        window = self.plan.tiling.read(tile)
        return upscale_tile(self.recipe, tile, source.read(window), source.mask(window))

    def write(self, index: int) -> Receipt:
        fine = self.fine(index)
        files = sink.write(self.stage, self.plan, self.plan.tiling.tile(index), fine)
        self.receipts[index] = Receipt(index, files, measure(fine.pixels, fine.valid))
        return self.receipts[index]

    def stage_all(self) -> Job:
        sink.check(self.plan, self.target)
        self.stage.mkdir(exist_ok=True)
        sink.begin(self.stage, self.plan)
        for tile in reversed(list(self.plan.tiling)):
            self.write(tile.index)
        return self

    def publish(self) -> Path:
        sink.publish(self.stage, self.plan, self.receipts, self.target)
        return self.target

    def whole(self) -> Fine:
        """The same scene in one piece."""
        height, width = self.plan.tiling.shape
        side = 512 * (1 + max(height, width) // 512)
        return replace_side(self, side).fine(0)


def replace_side(job: Job, side: int) -> Job:
    return Job(job.folder, job.source, side, job.output, job.options, job.name)


def scene(bands: int, height: int, width: int, dtype: str = "uint16") -> NDArray[Any]:
    """Something like an image: slopes, edges and noise."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[:height, :width]
    values = 1000 + 3 * x + 2 * y + 400 * ((x // 37 + y // 23) % 2) + rng.normal(0, 20, y.shape)
    return np.stack([values * (1 + band) / 2 for band in range(bands)]).astype(dtype)


def geotiff(path: Path, pixels: NDArray[Any], mask: Any = None, **profile: Any) -> Path:
    described = profile.pop("describe", None)
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(
            path,
            "w",
            driver="GTiff",
            count=len(pixels),
            height=pixels.shape[1],
            width=pixels.shape[2],
            dtype=pixels.dtype,
            **profile,
        ) as dataset,
    ):
        dataset.write(pixels)
        if described:
            described(dataset)
        if mask is not None:
            dataset.write_mask(mask)
    return path


@pytest.fixture(scope="module")
def tif(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two bands, 1302 x 1042 when fine: three levels, no size a multiple of anything."""
    folder = tmp_path_factory.mktemp("tif")
    pixels = scene(2, 651, 521)
    pixels[:, 100:140, 200:300] = 0
    return geotiff(folder / "scene.tif", pixels, crs=UTM, transform=NORTH_UP, nodata=0)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    pixels = scene(2, 60, 50)
    return geotiff(tmp_path / "small.tif", pixels, crs=UTM, transform=NORTH_UP)


def opened(path: Path, level: int = 0, **options: Any) -> xr.Dataset:
    group = str(level) if level else None
    return xr.open_zarr(path, group=group, chunks=None, mask_and_scale=False, **options)


def tree(path: Path) -> dict[str, bytes]:
    return {str(f.relative_to(path)): f.read_bytes() for f in path.rglob("*") if f.is_file()}


class TestPixels:
    @pytest.mark.parametrize("store", STORES)
    def test_every_level_is_the_pyramid_of_the_untiled_image(
        self, tmp_path: Path, tif: Path, store: str
    ) -> None:
        job = Job(tmp_path, tif, output=STORES[store]).stage_all()
        path = job.publish()
        whole = job.whole()
        pixels, valid = whole.pixels, whole.valid
        for level in range(len(job.plan.levels)):
            np.testing.assert_array_equal(opened(path, level)["image"].values, pixels)
            pixels, valid = halve(pixels, valid, method="average", nodata=0)

    @pytest.mark.parametrize("side", [1024, 1536, 2048])
    def test_pixels_do_not_depend_on_the_size_of_tiles(
        self, tmp_path: Path, tif: Path, side: int
    ) -> None:
        one = Job(tmp_path / "one", tif).stage_all().publish()
        other = Job(tmp_path / "other", tif, side).stage_all().publish()
        for level in range(3):
            left, right = opened(one, level)["image"], opened(other, level)["image"]
            np.testing.assert_array_equal(left.values, right.values)

    def test_no_overviews_where_none_are_asked_for(self, tmp_path: Path, tif: Path) -> None:
        path = Job(tmp_path, tif, output=OutputOptions(overviews="none")).stage_all().publish()
        assert "multiscales" not in opened(path).attrs
        assert not (path / "1").exists()

    @pytest.mark.parametrize("dtype", ["int8", "uint32", "float32", "float64"])
    @pytest.mark.parametrize("store", STORES)
    def test_every_data_type_comes_back(self, tmp_path: Path, dtype: str, store: str) -> None:
        tif = geotiff(tmp_path / "a.tif", (scene(1, 9, 7) % 100).astype(dtype))
        job = Job(tmp_path, tif, output=STORES[store]).stage_all()
        image = opened(job.publish())["image"]
        assert image.dtype == dtype
        np.testing.assert_array_equal(image.values, job.whole().pixels)

    def test_shards_hold_a_tile_of_a_level_with_all_bands(self, tmp_path: Path, tif: Path) -> None:
        path = Job(tmp_path, tif, 1024).stage_all().publish()
        arrays = [zarr.open_array(path / name / "image", mode="r") for name in ("", "1", "2")]
        assert [a.shards for a in arrays] == [(2, 1024, 1024), (2, 512, 512), (2, 326, 261)]
        assert [a.chunks for a in arrays] == [(1, 512, 512), (1, 512, 512), (1, 326, 261)]


class TestStage:
    def test_a_tile_can_be_written_twice(self, tmp_path: Path, tif: Path) -> None:
        job = Job(tmp_path, tif).stage_all()
        before, first = tree(job.stage), job.receipts[2]
        assert job.write(2).files == first.files
        assert tree(job.stage) == before

    def test_threads_do_not_disturb_each_other(self, tmp_path: Path, tif: Path) -> None:
        job, again = Job(tmp_path / "one", tif).stage_all(), Job(tmp_path / "other", tif)
        again.stage.mkdir()
        sink.begin(again.stage, again.plan)
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(again.write, range(len(again.plan.tiling))))
        assert tree(again.stage) == tree(job.stage)

    def test_receipts_name_every_staged_object(self, tmp_path: Path, tif: Path) -> None:
        job = Job(tmp_path, tif, 1024, OutputOptions(zarr_sharded=False)).stage_all()
        named = {file.name for receipt in job.receipts.values() for file in receipt.files}
        assert named == set(tree(job.stage))

    @pytest.mark.parametrize("damage", ["flipped", "truncated", "missing"])
    def test_damage_is_found_and_redone(self, tmp_path: Path, tif: Path, damage: str) -> None:
        job = Job(tmp_path, tif, 1024).stage_all()
        intact = tree(job.stage)
        victim = job.stage / next(f for f in job.receipts[1].files if "image" in f.name).name
        data = bytearray(victim.read_bytes())
        data[len(data) // 2] ^= 1
        victim.write_bytes(data if damage == "flipped" else data[:-1])
        if damage == "missing":
            victim.unlink()
        journal = Journal(job.stage / "journal.jsonl", job.plan.digest, job.receipts)
        assert staging.damaged(job.stage, journal) == {1}
        job.write(1)
        assert tree(job.stage) == intact

    def test_an_unfinished_store_cannot_be_opened(self, tmp_path: Path, tif: Path) -> None:
        job = Job(tmp_path, tif).stage_all()
        with pytest.raises(SourceError, match="holds no Zarr metadata"):
            open_source(str(job.stage / "output.zarr"))

    def test_objects_of_fill_values_are_written_too(self, tmp_path: Path) -> None:
        tif = geotiff(tmp_path / "void.tif", np.zeros((1, 300, 300), "uint16"), nodata=0)
        job = Job(tmp_path, tif, output=OutputOptions(zarr_sharded=False)).stage_all()
        names = {file.name for receipt in job.receipts.values() for file in receipt.files}
        assert names >= {f"output.zarr/image/c/0/{y}/{x}" for y in (0, 1) for x in (0, 1)}

    def test_beginning_again_changes_nothing(self, tmp_path: Path, tif: Path) -> None:
        job = Job(tmp_path, tif).stage_all()
        before = tree(job.stage)
        sink.begin(job.stage, job.plan)
        assert tree(job.stage) == before


class TestPublishing:
    def test_a_missing_tile_is_an_error(self, tmp_path: Path, tif: Path) -> None:
        job = Job(tmp_path, tif).stage_all()
        del job.receipts[3]
        with pytest.raises(DamagedStageError, match="lacks 1 of 9 tiles, the first is 3"):
            job.publish()
        assert not job.target.exists()

    @pytest.mark.parametrize("kind", ["image", "seeds"])
    @pytest.mark.parametrize("damage", ["missing", "truncated"])
    def test_a_lost_object_is_an_error(
        self, tmp_path: Path, tif: Path, kind: str, damage: str
    ) -> None:
        job = Job(tmp_path, tif).stage_all()
        victim = job.stage / next(f.name for f in job.receipts[1].files if kind in f.name)
        victim.write_bytes(victim.read_bytes()[:-1])
        if damage == "missing":
            victim.unlink()
        with pytest.raises(
            DamagedStageError, match=r"lacks 1 of 9 tiles|seeds/1\.0\.1\.seed"
        ) as found:
            job.publish()
        assert found.value.tile == 1
        assert not job.target.exists()

    def test_a_flipped_byte_is_an_error(self, tmp_path: Path, tif: Path) -> None:
        job = Job(tmp_path, tif).stage_all()
        victim = job.stage / job.receipts[5].files[0].name
        victim.write_bytes(victim.read_bytes()[:-1] + b"!")
        with pytest.raises(DamagedStageError, match="lacks 1 of 9 tiles, the first is 5"):
            job.publish()

    def test_a_vanished_store_is_an_error(self, tmp_path: Path, small: Path) -> None:
        job = Job(tmp_path, small).stage_all()
        shutil.rmtree(job.stage / "output.zarr")
        with pytest.raises(DamagedStageError, match="has vanished"):
            job.publish()

    @pytest.mark.parametrize(
        ("module", "place"),
        [(zarr_stage, "put_in_place"), (sink, "describe"), (sink, "upper_parts")],
    )
    def test_a_full_disk_keeps_all_that_is_staged(
        self,
        tmp_path: Path,
        tif: Path,
        monkeypatch: pytest.MonkeyPatch,
        module: ModuleType,
        place: str,
    ) -> None:
        job = Job(tmp_path, tif).stage_all()
        # seeds are used up one row of tiles after the other
        staged = {name: data for name, data in tree(job.stage).items() if "seed" not in name}
        with monkeypatch.context() as full:
            full.setattr(module, place, _full)
            with pytest.raises(OSError, match="No space left"):
                job.publish()
        assert tree(job.stage).items() >= staged.items()
        assert tree(job.publish()) == tree(Job(tmp_path / "new", tif).stage_all().publish())

    def test_published_twice_is_published_once(self, tmp_path: Path, small: Path) -> None:
        job = Job(tmp_path, small).stage_all()
        before = tree(job.publish())
        assert tree(job.publish()) == before

    def test_left_overs_of_killed_writes_are_not_published(
        self, tmp_path: Path, small: Path
    ) -> None:
        job = Job(tmp_path, small).stage_all()
        (job.stage / "output.zarr/image/.c.host-1-abc.tmp").write_bytes(b"half")
        assert not list(job.publish().rglob("*.tmp"))

    @pytest.mark.parametrize("atomic", [True, False])
    def test_an_existing_store_is_replaced(
        self, tmp_path: Path, small: Path, monkeypatch: pytest.MonkeyPatch, atomic: bool
    ) -> None:
        if not atomic:
            monkeypatch.setattr(zarr_place, "exchange", lambda *_: False)
        old = Job(tmp_path, small, output=OutputOptions(compress="none")).stage_all().publish()
        (old / "stray").write_text("of the old store")
        job = Job(tmp_path, small).stage_all()
        job.publish()
        assert not (job.target / "stray").exists()
        assert tree(job.target) == tree(Job(tmp_path / "new", small).stage_all().publish())
        assert not list(tmp_path.glob(".*previous"))

    def test_a_kill_between_the_two_renames_is_mended_by_publishing_again(
        self, tmp_path: Path, small: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(zarr_place, "exchange", lambda *_: False)
        Job(tmp_path, small, output=OutputOptions(compress="none")).stage_all().publish()
        job = Job(tmp_path, small).stage_all()
        with monkeypatch.context() as killed:
            killed.setattr(Path, "rename", _killed_at(2))
            with pytest.raises(KeyboardInterrupt):
                job.publish()
        assert not job.target.exists()
        assert (tmp_path / ".out.zarr.espcn-previous" / "zarr.json").exists()
        sink.begin(job.stage, job.plan)
        assert open_source(str(job.publish())).profile.shape == (2, 120, 100)
        assert not (tmp_path / ".out.zarr.espcn-previous").exists()

    def test_a_kill_after_the_exchange_leaves_the_new_store(
        self, tmp_path: Path, small: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        Job(tmp_path, small, output=OutputOptions(compress="none")).stage_all().publish()
        job = Job(tmp_path, small).stage_all()
        with monkeypatch.context() as killed:
            killed.setattr(Path, "rename", _killed_at(1))
            with pytest.raises(KeyboardInterrupt):
                job.publish()
        before = tree(job.target)
        assert json.loads(before["zarr.json"])["attributes"]["plan_sha256"] == job.plan.digest
        assert tree(job.publish()) == before
        assert not (job.stage / "output.zarr").exists()

    def test_a_stage_that_holds_the_former_output_starts_afresh(
        self, tmp_path: Path, small: Path
    ) -> None:
        old = Job(tmp_path, small, output=OutputOptions(compress="none")).stage_all().publish()
        job = Job(tmp_path, small)
        job.stage.mkdir(exist_ok=True)
        shutil.move(old, job.stage / "output.zarr")
        sink.begin(job.stage, job.plan)
        assert not tree(job.stage)

    def test_a_failed_second_rename_brings_the_old_store_back(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(zarr_place, "exchange", lambda *_: False)
        (tmp_path / "target").mkdir()
        (tmp_path / "target" / "zarr.json").write_text("{}")
        with pytest.raises(OSError, match="No such file"):
            zarr_place.put_in_place(tmp_path / "absent", tmp_path / "target")
        assert (tmp_path / "target" / "zarr.json").exists()

    def test_a_directory_of_other_things_is_never_replaced(
        self, tmp_path: Path, small: Path
    ) -> None:
        job = Job(tmp_path, small).stage_all()
        staged = tree(job.stage)
        job.target.mkdir()
        (job.target / "thesis.txt").write_text("years of work")
        with pytest.raises(PlanError, match="not a Zarr store"):
            sink.check(job.plan, job.target)
        with pytest.raises(FileExistsError, match="not a Zarr store"):
            job.publish()
        assert (job.target / "thesis.txt").exists()
        assert tree(job.stage) == staged

    def test_a_file_is_never_replaced(self, tmp_path: Path, small: Path) -> None:
        job = Job(tmp_path, small)
        job.target.write_bytes(b"PK")
        with pytest.raises(PlanError, match="not a Zarr store"):
            sink.check(job.plan, job.target)

    @pytest.mark.parametrize("link", [False, True])
    def test_an_empty_directory_never_passes_for_the_staged_store(
        self, tmp_path: Path, small: Path, monkeypatch: pytest.MonkeyPatch, link: bool
    ) -> None:
        job = Job(tmp_path, small).stage_all()
        (empty := tmp_path / "empty" if link else job.target).mkdir()
        if link:
            job.target.symlink_to(empty)
        sink.check(job.plan, job.target)
        with monkeypatch.context() as killed:
            killed.setattr(zarr_place, "sync_directory", _killed)
            with pytest.raises(KeyboardInterrupt):
                job.publish()
        before = tree(job.target)
        assert "zarr.json" in before
        assert tree(job.publish()) == before

    def test_a_kill_while_the_former_store_is_removed_is_mended(
        self, tmp_path: Path, small: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        Job(tmp_path, small, output=OutputOptions(compress="none")).stage_all().publish()
        job = Job(tmp_path, small).stage_all()
        with monkeypatch.context() as killed:
            killed.setattr(shutil, "rmtree", _killed)
            with pytest.raises(KeyboardInterrupt):
                job.publish()
        assert not (job.stage / "output.zarr").exists()
        before = tree(job.target)
        assert tree(job.publish()) == before

    def test_a_straggler_does_not_bring_a_discarded_stage_back(
        self, tmp_path: Path, small: Path
    ) -> None:
        job = Job(tmp_path, small).stage_all()
        staging.discard(job.stage)
        with pytest.raises(FileNotFoundError):
            job.write(0)
        assert not job.stage.exists()
        job.stage.mkdir()
        with pytest.raises(FileNotFoundError):
            job.write(0)
        assert not tree(job.stage)


def _full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def _killed(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def _killed_at(call: int) -> Any:
    """Path.rename that dies at its n-th call."""
    calls, rename = iter(range(1, 100)), Path.rename

    def dying(self: Path, target: Path) -> Path:
        if next(calls) == call:
            raise KeyboardInterrupt
        return rename(self, target)

    return dying


class TestPlace:
    @pytest.mark.parametrize("store", STORES)
    @pytest.mark.parametrize("grid", GRIDS)
    def test_rioxarray_and_odc_find_every_level_where_it_lies(
        self, tmp_path: Path, grid: str, store: str
    ) -> None:
        tif = geotiff(tmp_path / "a.tif", scene(1, 300, 270), crs=UTM, transform=GRIDS[grid])
        path = Job(tmp_path, tif, output=STORES[store]).stage_all().publish()
        for level in (0, 1):
            image = opened(path, level)["image"]
            want = GRIDS[grid] @ Affine.scale(2.0**level / 2)
            assert image.rio.crs == UTM
            assert image.rio.transform().almost_equals(want, 1e-9)
            assert image.odc.geobox.crs == UTM
            assert image.odc.geobox.affine.almost_equals(want, 1e-9)
            assert image.odc.geobox.shape == (600 >> level, 540 >> level)
            assert ("x" in image.coords) == (grid != "rotated")

    @pytest.mark.parametrize("grid", ["north-up", "south-up", "not square"])
    def test_gdal_reads_version_2(self, tmp_path: Path, grid: str) -> None:
        tif = geotiff(tmp_path / "a.tif", scene(2, 60, 50), crs=UTM, transform=GRIDS[grid])
        path = Job(tmp_path, tif, output=STORES["v2"]).stage_all().publish()
        with rasterio.open(f'ZARR:"{path}":/image') as dataset:
            assert dataset.crs == UTM
            assert dataset.transform.almost_equals(GRIDS[grid] @ Affine.scale(0.5), 1e-9)
            np.testing.assert_array_equal(dataset.read(), opened(path)["image"].values)

    def test_geozarr_says_where_all_levels_lie(self, tmp_path: Path, tif: Path) -> None:
        path = Job(tmp_path, tif).stage_all().publish()
        root = zarr.open_group(path, mode="r")
        layout = root.attrs["multiscales"]["layout"]  # type: ignore[index,call-overload]
        for level, entry in enumerate(layout):
            array = root[entry["asset"]]
            assert isinstance(array, zarr.Array)
            assert list(array.shape[1:]) == entry["spatial:shape"]
            want = list(NORTH_UP @ Affine.scale(2.0**level / 2))[:6]
            assert entry["spatial:transform"] == array.attrs["spatial:transform"] == want
            assert CRS.from_wkt(str(array.attrs["proj:wkt2"])) == UTM
        assert [entry.get("derived_from") for entry in layout] == [None, "image", "1/image"]

    def test_an_image_without_a_place_is_ome_zarr(self, tmp_path: Path) -> None:
        tif = geotiff(tmp_path / "a.tif", scene(3, 300, 400, "uint8"))
        image = opened(Job(tmp_path, tif).stage_all().publish())
        (scales,) = image.attrs["ome"]["multiscales"]
        assert [d["path"] for d in scales["datasets"]] == ["image", "1/image"]
        assert scales["datasets"][1]["coordinateTransformations"] == [
            {"type": "scale", "scale": [1, 2, 2]},
            {"type": "translation", "translation": [0, 0.5, 0.5]},
        ]
        assert "spatial_ref" not in image.variables
        assert "x" not in image.variables

    def test_a_transform_without_a_system_and_a_system_without_a_transform(
        self, tmp_path: Path
    ) -> None:
        one = geotiff(tmp_path / "1.tif", scene(1, 20, 30), transform=NORTH_UP)
        image = opened(Job(tmp_path / "1", one).stage_all().publish())["image"]
        assert image.rio.crs is None
        assert image.rio.transform().almost_equals(NORTH_UP @ Affine.scale(0.5), 1e-9)

    def test_ground_control_points_are_scaled(self, tmp_path: Path) -> None:
        gcps = [
            GroundControlPoint(row, col, 15 + col / 100, 45 - row / 100, 7.0, f"g{row}", "note")
            for row, col in ((0.5, 0.5), (0, 50), (60, 0), (60, 50))
        ]
        tif = geotiff(tmp_path / "a.tif", scene(1, 60, 50), gcps=gcps, crs=CRS.from_epsg(4326))
        job = Job(tmp_path, tif).stage_all()
        path = job.publish()
        found = opened(path)["image"].rio.get_gcps()
        assert [(g.row, g.col, g.x, g.y, g.z) for g in found] == [
            (2 * g.row, 2 * g.col, g.x, g.y, g.z) for g in gcps
        ]
        assert open_source(str(path)).profile.georef == job.plan.fine.georef


def richly(dataset: rasterio.io.DatasetWriter) -> None:
    dataset.descriptions = ("red", "near infrared")
    dataset.units = ("sr-1", "sr-1")
    dataset.scales, dataset.offsets = (1e-4, 1e-4), (-0.1, -0.1)
    dataset.colorinterp = (ColorInterp.red, ColorInterp.undefined)
    dataset.update_tags(MISSION="A", AREA_OR_POINT="Point", TIFFTAG_DATETIME="2026:01:02 03:04:05")
    dataset.update_tags(ns="ORBIT", NUMBER="12")
    dataset.update_tags(1, WAVELENGTH="665")


class TestMetadata:
    @pytest.fixture
    def rich(self, tmp_path: Path) -> Path:
        pixels, valid = scene(2, 60, 50), np.full((60, 50), 255, "uint8")
        valid[:9, :7] = 0
        return geotiff(
            tmp_path / "rich.tif", pixels, valid, crs=UTM, transform=NORTH_UP, describe=richly
        )

    @pytest.mark.parametrize("store", STORES)
    def test_all_of_it_comes_back(self, tmp_path: Path, rich: Path, store: str) -> None:
        job = Job(tmp_path, rich, output=STORES[store]).stage_all()
        found, want = open_source(str(job.publish())).profile, job.plan.fine
        same = {
            name: getattr(want, name)
            for name in ("uri", "driver", "identity", "files", "block", "forgotten")
        }
        assert replace(found, **same) == want

    def test_rpcs_and_palettes_come_back(self, tmp_path: Path) -> None:
        def describe(dataset: rasterio.io.DatasetWriter) -> None:
            dataset.write_colormap(1, {0: (0, 0, 0, 0), 7: (255, 9, 1, 255)})
            numbers = dict.fromkeys(("LINE_OFF", "LINE_SCALE", "SAMP_OFF", "SAMP_SCALE"), "5")
            numbers |= {
                f"{n}_{v}": "1" for n in ("LAT", "LONG", "HEIGHT") for v in ("OFF", "SCALE")
            }
            series = {f"{n}_{p}_COEFF": "1 " * 20 for n in ("LINE", "SAMP") for p in ("NUM", "DEN")}
            dataset.update_tags(ns="RPC", **numbers, **series)

        pixels = (scene(1, 20, 20) % 8).astype("uint8")
        tif = geotiff(tmp_path / "a.tif", pixels, photometric="palette", describe=describe)
        options = SourceOptions(categorical="nearest")
        job = Job(tmp_path, tif, options=options).stage_all()
        found = open_source(str(job.publish()), options).profile
        assert found.georef.rpcs == job.plan.fine.georef.rpcs
        assert found.georef.rpcs["LINE_OFF"] == "10.5"
        assert found.colormap == job.plan.fine.colormap
        assert found.bands[0].role == "category"

    def test_xarray_reads_physical_values(self, tmp_path: Path, rich: Path) -> None:
        path = Job(tmp_path, rich).stage_all().publish()
        counts = opened(path)["image"]
        physical = xr.open_zarr(path, chunks=None)["image"]
        np.testing.assert_allclose(physical.values, counts.values * 1e-4 - 0.1, atol=1e-6)
        assert physical.attrs["long_name"] == ["red", "near infrared"]
        assert physical.attrs["units"] == "sr-1"
        assert physical["band"].values.tolist() == [1, 2]

    def test_the_mask_lies_beside_the_image(self, tmp_path: Path, rich: Path) -> None:
        path = Job(tmp_path, rich).stage_all().publish()
        mask = opened(path)["mask"]
        assert set(np.unique(mask)) == {0, 255}
        assert (mask.values[:18, :14] == 0).all()
        assert (mask.values == 0).sum() == 18 * 14

    @pytest.mark.parametrize("nodata", [0, 65535])
    @pytest.mark.parametrize("store", STORES)
    def test_nodata_is_known_to_readers(self, tmp_path: Path, store: str, nodata: int) -> None:
        pixels = scene(1, 40, 40)
        pixels[0, :5] = nodata
        tif = geotiff(tmp_path / "a.tif", pixels, nodata=nodata)
        path = Job(tmp_path, tif, output=STORES[store]).stage_all().publish()
        assert open_source(str(path)).profile.nodata == nodata
        assert opened(path)["image"].rio.nodata == nodata
        masked = xr.open_zarr(path, chunks=None)["image"]
        np.testing.assert_array_equal(np.isnan(masked), opened(path)["image"] == nodata)

    @pytest.mark.parametrize("store", STORES)
    def test_nan_and_float_nodata_are_known_to_readers(self, tmp_path: Path, store: str) -> None:
        for nodata in (np.nan, -9999.5):
            pixels = scene(1, 20, 20, "float32")
            pixels[0, :5] = nodata
            tif = geotiff(tmp_path / "a.tif", pixels, nodata=nodata)
            path = Job(tmp_path / f"{nodata}", tif, output=STORES[store]).stage_all().publish()
            found = open_source(str(path)).profile.nodata
            assert found == nodata or (found is not None and np.isnan([found, nodata]).all())
            assert np.isnan(xr.open_zarr(path, chunks=None)["image"][0, :10]).all()

    @pytest.mark.parametrize("store", STORES)
    def test_zero_is_a_value_where_nothing_is_nodata(self, tmp_path: Path, store: str) -> None:
        tif = geotiff(tmp_path / "a.tif", np.zeros((1, 20, 20), "uint8"))
        path = Job(tmp_path, tif, output=STORES[store]).stage_all().publish()
        assert open_source(str(path)).profile.nodata is None
        assert xr.open_zarr(path, chunks=None)["image"].dtype == "uint8"

    def test_nodata_that_no_pixel_can_hold_is_kept_and_told(self, tmp_path: Path) -> None:
        tif = geotiff(tmp_path / "a.tif", scene(1, 20, 20))
        job = Job(tmp_path, tif)
        job.plan = replace(job.plan, profile=replace(job.plan.profile, nodata=-9999.0))
        job.stage_all()
        assert open_source(str(job.publish())).profile.nodata == -9999
        (fate,) = [fate for fate in sink.fates(job.plan) if fate.item == "nodata"]
        assert "nodata_declared" in fate.note

    def test_bands_that_are_packed_differently_are_kept_and_told(
        self, tmp_path: Path, rich: Path
    ) -> None:
        with rasterio.open(rich, "r+") as dataset:
            dataset.scales = (1e-4, 1e-3)
        job = Job(tmp_path, rich).stage_all()
        path = job.publish()
        assert opened(path)["image"].attrs["scales"] == [1e-4, 1e-3]
        assert [band.scale for band in open_source(str(path)).profile.bands] == [1e-4, 1e-3]
        (fate,) = [fate for fate in sink.fates(job.plan) if fate.item == "scales and offsets"]
        assert "differ" in fate.note

    def test_statistics_are_those_of_the_valid_pixels(self, tmp_path: Path, tif: Path) -> None:
        path = Job(tmp_path, tif).stage_all().publish()
        image = opened(path)["image"]
        for band, facts in zip(image.values, image.attrs["bands"], strict=True):
            values = band[band != 0].astype(np.float64)
            found = facts["statistics"]
            assert found["STATISTICS_MINIMUM"] == values.min()
            assert found["STATISTICS_MAXIMUM"] == values.max()
            assert found["STATISTICS_MEAN"] == pytest.approx(values.mean(), rel=1e-12)
            assert found["STATISTICS_STDDEV"] == pytest.approx(values.std(), rel=1e-9)

    def test_who_made_it_is_written_down(self, tmp_path: Path, small: Path) -> None:
        path = Job(tmp_path, small).stage_all().publish()
        notes = zarr.open_group(path / "provenance", mode="r").attrs
        assert (notes["model"], notes["scale"], notes["sha256"]) == ("box", 2, "0" * 64)
        assert "model=box" in opened(path).attrs["processing"]

    @pytest.mark.parametrize("compress", ["lerc", "lzw"])
    def test_codecs_that_zarr_lacks_are_refused(
        self, tmp_path: Path, small: Path, compress: Any
    ) -> None:
        job = Job(tmp_path, small, output=OutputOptions(compress=compress))
        with pytest.raises(PlanError, match="deflate, zstd or none"):
            sink.check(job.plan, job.target)

    def test_the_suffix_asks_for_it(self) -> None:
        assert sink_for(Path("a/b.ZARR"), make_profile((1, 2, 2))) == ("zarr", sink)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, tif: Path) -> Path:
    return Job(tmp_path_factory.mktemp("store"), tif, 1024).stage_all().publish()


class TestSource:
    """What reading any store must hold."""

    @given(data=st.data())
    @settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_any_window_is_that_part_of_the_image(self, store: Path, data: st.DataObject) -> None:
        source, image = open_source(str(store)), opened(store)["image"]
        _, height, width = source.profile.shape
        y, x = (data.draw(st.integers(0, size - 1)) for size in (height, width))
        window = Window(
            y, x, data.draw(st.integers(1, height - y)), data.draw(st.integers(1, width - x))
        )
        found = source.read(window)
        np.testing.assert_array_equal(found, image[:, *window.slices].values)
        assert source.mask(window) is None

    def test_bands_come_in_the_order_asked_for(self, store: Path) -> None:
        source = open_source(str(store), SourceOptions(bands=(2, 1, 2)))
        image = opened(store)["image"].values
        np.testing.assert_array_equal(
            source.read(Window(500, 500, 30, 40)), image[[1, 0, 1], 500:530, 500:540]
        )

    def test_an_overview_is_opened_by_its_path(self, store: Path) -> None:
        for uri in (store / "1", store / "1" / "image"):
            profile = open_source(str(uri)).profile
            assert profile.shape == (2, 651, 521)
            assert profile.georef.affine == tuple(NORTH_UP)[:6]

    def test_a_store_is_as_good_an_input_as_a_geotiff(self, tmp_path: Path, small: Path) -> None:
        first = Job(tmp_path / "first", small).stage_all().publish()
        pixels = opened(first)["image"].values
        tif = geotiff(tmp_path / "b.tif", pixels, crs=UTM, transform=NORTH_UP @ Affine.scale(0.5))
        one = opened(Job(tmp_path / "one", first).stage_all().publish())["image"]
        other = opened(Job(tmp_path / "other", tif).stage_all().publish())["image"]
        np.testing.assert_array_equal(one.values, other.values)
        assert one.odc.geobox == other.odc.geobox

    def test_a_missing_object_of_a_complete_store_is_an_error(
        self, tmp_path: Path, store: Path
    ) -> None:
        copy = shutil.copytree(store, tmp_path / "copy.zarr")
        (copy / "image/c/0/1/0").unlink()
        source = open_source(str(copy))
        assert source.read(Window(0, 0, 1024, 1024)).any()
        with pytest.raises(SourceError, match=r"rows 1000-1099.*c/0/1/0 is missing"):
            source.read(Window(1000, 0, 100, 100))

    def test_a_missing_object_of_a_sparse_store_is_nodata(self, tmp_path: Path) -> None:
        values = np.zeros((1, 40, 40), "uint16")
        values[0, 30:, 30:] = 5
        array = xr.DataArray(values, dims=("band", "y", "x"), name="a").chunk({"y": 20, "x": 20})
        array.to_dataset().to_zarr(tmp_path / "a.zarr", consolidated=False)
        assert not (tmp_path / "a.zarr/a/c/0/0/0").exists()
        found = open_source(str(tmp_path / "a.zarr")).read(Window(0, 0, 40, 40))
        np.testing.assert_array_equal(found, values)

    @pytest.mark.parametrize("damage", ["truncated", "garbled"])
    def test_a_damaged_object_is_an_error_that_names_the_place(
        self, tmp_path: Path, store: Path, damage: str
    ) -> None:
        copy = shutil.copytree(store, tmp_path / "copy.zarr")
        victim = copy / "image/c/0/0/0"
        data = victim.read_bytes()
        victim.write_bytes(data[:1000] if damage == "truncated" else b"\xff" * len(data))
        with pytest.raises(SourceError, match="rows 5-14, columns 0-9: the store is damaged"):
            open_source(str(copy)).read(Window(5, 0, 10, 10))

    def test_another_version_has_another_identity(self, tmp_path: Path, small: Path) -> None:
        path = Job(tmp_path, small).stage_all().publish()
        first = open_source(str(path)).profile.identity
        assert open_source(str(path)).profile.identity == first
        victim = path / "image/c/0/0/0"
        victim.write_bytes(victim.read_bytes() + b"!")
        assert open_source(str(path)).profile.identity.digest != first.digest


def labelled(**changes: Any) -> xr.DataArray:
    coords = {"y": 5_000_000 - 10 * np.arange(20) - 5.0, "x": 500_000 + 10 * np.arange(30) + 5.0}
    options: dict[str, Any] = {"dims": ("y", "x"), "coords": coords, "name": "red"} | changes
    return xr.DataArray(scene(1, 20, 30)[0], **options)


def foreign(folder: Path, array: xr.DataArray, **options: Any) -> str:
    array.to_dataset(name=array.name or "a").to_zarr(
        folder / "f.zarr", consolidated=False, **options
    )
    return str(folder / "f.zarr")


class TestForeignStores:
    @pytest.mark.parametrize("version", [2, 3])
    def test_of_rioxarray(self, tmp_path: Path, version: Any) -> None:
        array = labelled().rio.write_crs(UTM).rio.write_transform().rio.write_nodata(7)
        array.attrs |= {"units": "K", "scale_factor": 0.1, "add_offset": 5.0, "sensor": "S"}
        source = open_source(foreign(tmp_path, array, zarr_format=version))
        profile = source.profile
        assert CRS.from_wkt(str(profile.georef.crs)) == UTM
        assert profile.georef.affine == tuple(NORTH_UP)[:6]
        assert profile.nodata == 7
        (band,) = profile.bands
        assert (band.unit, band.scale, band.offset) == ("K", 0.1, 5.0)
        assert profile.tags == {"": {"sensor": "S"}}
        np.testing.assert_array_equal(source.read(Window(2, 3, 4, 5))[0], array[2:6, 3:8])

    def test_of_xarray_with_coordinates_only(self, tmp_path: Path) -> None:
        profile = open_source(foreign(tmp_path, labelled())).profile
        assert profile.georef.affine == tuple(NORTH_UP)[:6]
        assert profile.georef.crs is None

    def test_coordinates_win_over_the_transform_of_another_cut(self, tmp_path: Path) -> None:
        array = labelled().rio.write_crs(UTM).rio.write_transform()[4:, 7:]
        profile = open_source(foreign(tmp_path, array)).profile
        assert profile.georef.affine == (10, 0, 500_070, 0, -10, 4_999_960)

    def test_with_geozarr_attributes_only(self, tmp_path: Path) -> None:
        array = labelled(coords={}, attrs={"proj:code": "EPSG:32633"})
        array.attrs["spatial:transform"] = list(NORTH_UP)[:6]
        georef = open_source(foreign(tmp_path, array)).profile.georef
        assert georef.affine == tuple(NORTH_UP)[:6]
        assert CRS.from_wkt(str(georef.crs)) == UTM

    def test_with_a_grid_mapping_in_parameters_only(self, tmp_path: Path) -> None:
        array = labelled().rio.write_crs(UTM)
        for name in ("crs_wkt", "spatial_ref"):
            del array.spatial_ref.attrs[name]
        crs = CRS.from_wkt(str(open_source(foreign(tmp_path, array)).profile.georef.crs))
        assert crs.to_dict()["proj"] in ("utm", "tmerc")

    def test_of_ome_zarr(self, tmp_path: Path) -> None:
        root = zarr.create_group(tmp_path / "o.zarr")
        for level, size in enumerate((40, 20)):
            root.create_array(str(level), shape=(3, size, size), dtype="uint8")
        axes = [{"name": name} for name in "cyx"]
        datasets = [{"path": "0"}, {"path": "1"}]
        root.attrs["ome"] = {
            "version": "0.5",
            "multiscales": [{"axes": axes, "datasets": datasets}],
        }
        profile = open_source(str(tmp_path / "o.zarr")).profile
        assert (profile.shape, profile.georef.affine) == ((3, 40, 40), None)

    def test_band_labels_become_descriptions(self, tmp_path: Path) -> None:
        array = xr.DataArray(
            scene(2, 9, 9), dims=("band", "y", "x"), coords={"band": [0.49, 0.66]}, name="r"
        )
        bands = open_source(foreign(tmp_path, array)).profile.bands
        assert [band.description for band in bands] == ["0.49", "0.66"]


def _unevenly() -> xr.DataArray:
    array = labelled()
    return array.assign_coords(x=array.x + np.where(array.x > 500_100, 0.5, 0))


REFUSED = {
    "unevenly spaced": (_unevenly, "unevenly spaced x coordinates"),
    "turned": (lambda: labelled().T, r"dimensions \(x, y\); select and transpose"),
    "in time": (
        lambda: labelled().expand_dims(time=3),
        r"dimensions \(time, y, x\)",
    ),
    "complex": (lambda: labelled().astype("complex64"), "holds complex64 values"),
    "64-bit": (lambda: labelled().astype("int64"), "holds int64 values"),
    "geolocated": (
        lambda: xr.DataArray(
            np.ones((4, 4), "f4"),
            dims=("y", "x"),
            coords={"lon": (("y", "x"), np.ones((4, 4))), "lat": (("y", "x"), np.ones((4, 4)))},
            name="a",
        ),
        "geolocation arrays",
    ),
}


class TestHostileStores:
    @pytest.mark.parametrize("case", REFUSED)
    def test_what_cannot_be_understood_is_refused(self, tmp_path: Path, case: str) -> None:
        make, why = REFUSED[case]
        with pytest.raises(SourceError, match=why):
            open_source(foreign(tmp_path, make()))

    def test_several_images_are_listed(self, tmp_path: Path) -> None:
        both = xr.Dataset({"a": labelled(), "b": labelled()})
        both.to_zarr(tmp_path / "f.zarr", consolidated=False)
        with pytest.raises(SourceError, match=r"a \(20, 30\), b \(20, 30\); name one, as in .*/a"):
            open_source(str(tmp_path / "f.zarr"))
        profile = open_source(str(tmp_path / "f.zarr" / "b")).profile
        assert profile.georef.affine == tuple(NORTH_UP)[:6]

    def test_groups_are_listed(self, tmp_path: Path) -> None:
        zarr.create_group(tmp_path / "g.zarr").create_group("inner")
        with pytest.raises(SourceError, match="name one: inner"):
            open_source(str(tmp_path / "g.zarr"))

    def test_the_driver_must_be_allowed(self, store: Path) -> None:
        with pytest.raises(SourceError, match=r"source\.drivers does not allow"):
            open_source(str(store), SourceOptions(drivers=("GTiff",)))

    @pytest.mark.parametrize(
        ("uri", "why"),
        [
            ("https://example.org/a.zarr", "is not local"),
            ("/vsicurl/https://example.org/a.zarr", "is not local"),
            ("absent.zarr", "does not exist"),
        ],
    )
    def test_only_local_directories_are_opened(self, uri: str, why: str) -> None:
        with pytest.raises(SourceError, match=why):
            open_source(uri)

    def test_a_file_by_that_name_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "a.zarr").write_bytes(b"PK")
        with pytest.raises(SourceError, match="is not a directory"):
            open_source(str(tmp_path / "a.zarr"))

    @pytest.mark.parametrize(
        "text",
        [b"", b"{", b"[]", b"null", b'{"zarr_format": 3, "node_type": "array"}', b"\xff" * 99],
    )
    def test_malformed_metadata_is_one_clear_error(self, tmp_path: Path, text: bytes) -> None:
        (tmp_path / "a.zarr").mkdir()
        (tmp_path / "a.zarr" / "zarr.json").write_bytes(text)
        with pytest.raises(SourceError, match=r"a\.zarr"):
            open_source(str(tmp_path / "a.zarr"))

    @pytest.mark.parametrize(
        "attributes",
        [
            {"bands": [1, 2]},
            {"tags": {"": 5}},
            {"colormap": {"a": "b"}},
            {"rpcs": 7},
            {"scale_factor": "much"},
            {"_FillValue": "%%%"},
            {"_CRS": {"wkt": "nonsense"}},
            {"spatial:transform": [1, 2]},
            {"colormap": {"1": [1, 2]}},
            {"rpcs": {"LINE_OFF": "north"}},
            {"rpcs": {"SAMP_SCALE": None}},
            {"rpcs": {"SAMP_OFF": "nan"}},
            {"spatial:transform": [1, 0, 0, 0, float("nan"), 0]},
            {"spatial:transform": [0, 0, 0, 0, 0, 0]},
        ],
    )
    def test_malformed_attributes_are_one_clear_error(
        self, tmp_path: Path, small: Path, attributes: dict[str, Any]
    ) -> None:
        path = Job(tmp_path, small).stage_all().publish()
        shutil.rmtree(path / "spatial_ref")
        text = json.loads((path / "image" / "zarr.json").read_text())
        if "scale_factor" in attributes:
            del text["attributes"]["bands"]
        text["attributes"] |= attributes
        (path / "image" / "zarr.json").write_text(json.dumps(text))
        with pytest.raises(SourceError):
            open_source(str(path))

    @pytest.mark.parametrize("stated", ["mauve", 7, ["red"], "RED", ""])
    def test_a_colour_that_nobody_knows_is_undefined(
        self, tmp_path: Path, small: Path, stated: object
    ) -> None:
        path = Job(tmp_path, small).stage_all().publish()
        text = json.loads((path / "image" / "zarr.json").read_text())
        text["attributes"]["bands"][0]["colour"] = stated
        (path / "image" / "zarr.json").write_text(json.dumps(text))
        assert open_source(str(path)).profile.bands[0].colour == "undefined"

    @pytest.mark.parametrize(
        ("attributes", "why"),
        [
            ({"GeoTransform": "0 nan 0 0 0 1"}, "maps pixels to nowhere"),
            ({"GeoTransform": "0 0 0 0 0 0"}, "maps pixels to nowhere"),
            ({"gcps": render_gcps([Gcp(0, np.inf, 1, 2, 3)])}, "malformed ground control points"),
            ({"gcps": render_gcps([Gcp(0, 0, 1, np.nan, 3)])}, "malformed ground control points"),
        ],
    )
    def test_a_place_that_is_not_finite_is_refused(
        self, tmp_path: Path, small: Path, attributes: dict[str, str], why: str
    ) -> None:
        path = Job(tmp_path, small).stage_all().publish()
        text = json.loads((path / "spatial_ref" / "zarr.json").read_text())
        text["attributes"] |= attributes
        (path / "spatial_ref" / "zarr.json").write_text(json.dumps(text))
        with pytest.raises(SourceError, match=why):
            open_source(str(path))

    @pytest.mark.parametrize("error", [MemoryError, AssertionError])
    def test_what_is_no_fault_of_the_store_is_not_called_damage(
        self, store: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
    ) -> None:
        def fail(*_: object) -> None:
            raise error

        source = open_source(str(store))
        monkeypatch.setattr(source, "_require", fail)
        with pytest.raises(error):
            source.read(Window(0, 0, 9, 9))

    def test_chunks_too_large_for_memory_are_refused(self, tmp_path: Path) -> None:
        zarr.create_array(
            tmp_path / "a.zarr", shape=(90_000, 90_000), chunks=(90_000, 90_000), dtype="uint8"
        )
        with pytest.raises(SourceError, match="rewrite it with smaller ones"):
            open_source(str(tmp_path / "a.zarr"))

    def test_an_absurd_size_is_refused(self, tmp_path: Path) -> None:
        zarr.create_array(tmp_path / "a.zarr", shape=(10**7, 10**7), chunks=(9, 9), dtype="uint8")
        with pytest.raises(SourceError, match=r"more than source\.max_pixels"):
            open_source(str(tmp_path / "a.zarr"))

    @pytest.mark.parametrize("what", ["object", "metadata"])
    def test_links_that_lead_out_of_the_store_are_not_followed(
        self, tmp_path: Path, small: Path, what: str
    ) -> None:
        path = Job(tmp_path, small).stage_all().publish()
        victim = path / ("image/c/0/0/0" if what == "object" else "image/zarr.json")
        victim.rename(tmp_path / "elsewhere")
        victim.symlink_to(tmp_path / "elsewhere")
        with pytest.raises(SourceError, match="link that leads out of the store"):
            open_source(str(path)).read(Window(0, 0, 9, 9))
