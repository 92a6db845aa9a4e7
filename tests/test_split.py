"""Splitting ground: nothing is both trained on and judged, whatever overlaps whatever."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pyproj
import pytest
import rasterio
from fakes import make_profile
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ConfigError
from pipeline.georef import Gcp, Georef
from pipeline.options import SourceOptions
from pipeline.sources import Address
from pipeline.tiling import Window
from workflows.boxes import Grid, carried, whole
from workflows.data_options import DataOptions, Region, parse_region
from workflows.draw import Cut, drawn, shuffled
from workflows.find_sources import Found
from workflows.ground import Ground, share_ground
from workflows.places import fit
from workflows.split import Area, Split, split, without

SMALL = DataOptions(side=24, block=64)
"""Options for scenes of some hundred pixels."""


def scene(
    *,
    pixel: float = 10.0,
    height: int = 300,
    width: int = 300,
    x: float = 500_000.0,
    y: float = 4_000_000.0,
    crs: str = "EPSG:32633",
    name: str = "scene.tif",
    turn: float = 0.0,
) -> Found:
    """A source that exists as a profile only."""
    driver = "PNG" if name.endswith(".png") else "GTiff"
    affine = (pixel, turn, x, turn, -pixel, y) if crs else None
    profile = replace(
        make_profile((1, height, width), georef=Georef(crs=crs or None, affine=affine)),
        uri=f"/nowhere/{name}",
        driver=driver,
    )
    return Found(Address(profile.uri, SourceOptions()), profile, name)


def picture(name: str, side: int = 100) -> Found:
    return scene(height=side, width=side, crs="", name=name)


def shares(
    sources: list[Found], options: DataOptions = SMALL, held_back: frozenset[int] = frozenset()
) -> Split:
    groups = share_ground(
        list(enumerate(sources)), block=options.block, gap=options.side, held_back=held_back
    ).groups
    return split(groups, options, held_back=held_back)


def corners(window: Window, source: Found, target: Found) -> np.ndarray:
    """(4, 2) a window of one source in pixels (x, y) of another with the same map."""
    start, end = (rasterio.Affine(*(one.profile.georef.affine or ())) for one in (source, target))
    xs, ys = (window.x, window.stop_x), (window.y, window.stop_y)
    return np.array(
        [~end @ (start @ (x, y)) for x, y in zip((*xs, *xs[::-1]), np.repeat(ys, 2), strict=True)]
    )


def apart(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether a line of the direction of any side parts two parallelograms."""
    for shape in (one, other):
        for across in ((shape[1] - shape[0]), (shape[2] - shape[1])):
            normal = np.array([-across[1], across[0]])
            first, second = one @ normal, other @ normal
            tolerance = 1e-6 * np.abs(normal).max()
            if first.max() <= second.min() + tolerance or second.max() <= first.min() + tolerance:
                return True
    return False


placed = st.builds(
    scene,
    pixel=st.sampled_from([10.0, 20.0, 30.0, 60.0]),
    height=st.integers(40, 300),
    width=st.integers(40, 300),
    x=st.integers(0, 6000).map(lambda metres: 500_000.0 + metres),
    y=st.integers(0, 6000).map(lambda metres: 4_000_000.0 - metres),
    turn=st.sampled_from([0.0, 0.0, 0.0, 3.0]),
)


@given(sources=st.lists(placed, min_size=1, max_size=5), seed=st.integers(0, 99))
def test_ground_that_is_held_back_is_farther_than_the_gap(sources: list[Found], seed: int) -> None:
    found = shares(sources, replace(SMALL, seed=seed))
    pixels = [np.hypot(*(one.profile.georef.affine or ())[:2]) for one in sources]
    for held in found.validation:
        source = sources[held.source]
        margin = math.floor(SMALL.side * min(pixels) / pixels[held.source])
        near = corners(held.window.grow(margin), source, source)
        for area in found.train:
            assert apart(near, corners(area.window, sources[area.source], source))


@given(sources=st.lists(placed, min_size=1, max_size=4), seed=st.integers(0, 9))
def test_areas_lie_in_their_sources_and_apart(sources: list[Found], seed: int) -> None:
    found = shares(sources, replace(SMALL, seed=seed))
    areas = [*found.train, *found.validation]
    for index, area in enumerate(areas):
        profile = sources[area.source].profile
        assert area.window.clip(profile.height, profile.width) == area.window
        for other in areas[:index]:
            both = area.window.overlap(other.window)
            assert area.source != other.source or not (both.height and both.width)


def test_bands_of_one_scene_hold_back_the_same_ground() -> None:
    scenes = [scene(), scene(name="B05", pixel=20.0, height=150, width=150), scene(name="B09")]
    held = {area.source: area.window for area in shares(scenes).validation}
    assert set(held) == {0, 1, 2}
    assert held[0] == held[2]
    assert held[0].grow(2).overlap(held[1].fine(2)) == held[1].fine(2)
    assert held[1].grow(1).fine(2).overlap(held[0]) == held[0]


def test_scenes_of_neighbouring_zones_are_compared() -> None:
    """The same ground in two zones of UTM: 12 degrees east is the border of 32 and 33."""
    zones = ("EPSG:32632", "EPSG:32633")
    across = pyproj.Transformer.from_crs(*zones, always_xy=True)
    x, y = across.transform(766_000.0, 5_300_000.0)
    scenes = [scene(crs=zones[0], x=766_000.0, y=5_300_000.0), scene(crs=zones[1], x=x, y=y)]
    assert len(share_ground(list(enumerate(scenes)), block=64, gap=24).groups) == 1
    found = shares(scenes)
    judged, *more = {area.source for area in found.validation}
    assert not more, "one is turned against the other: it is held back as a whole or not at all"
    other = 1 - judged
    turned = [area.window for area in found.train if area.source == other]
    assert turned, "what is far enough is trained on"
    back = pyproj.Transformer.from_crs(zones[other], zones[judged], always_xy=True)
    start, end = (
        rasterio.Affine(*(scenes[i].profile.georef.affine or ())) for i in (other, judged)
    )
    points = [
        ~end @ back.transform(*(start @ (x, y)))
        for window in turned
        for y in range(window.y, window.stop_y + 1, 3)
        for x in range(window.x, window.stop_x + 1, 3)
    ]
    for held in (area.window.grow(SMALL.side - 1) for area in found.validation):
        assert not any(held.x < x < held.stop_x and held.y < y < held.stop_y for x, y in points)


def test_another_planet_is_no_neighbour() -> None:
    moon = 'PROJCS["Moon",GEOGCS["GCS_Moon",DATUM["D_Moon",SPHEROID["Moon",1737400,0]],PRIMEM["0",0],UNIT["Degree",0.0174532925199433]],PROJECTION["Equirectangular"],UNIT["Meter",1]]'  # noqa: E501
    groups = share_ground([(0, scene()), (1, scene(crs=moon))], block=64, gap=24).groups
    assert len(groups) == 2


def test_bands_of_a_scene_that_no_map_knows_belong_together() -> None:
    bands = [scene(crs="", name=f"patch_{n}_B{n}.tif") for n in (3, 3)]
    same = [scene(crs="", name=f"patch_B{n}.tif") for n in (2, 3, 4)]
    groups = share_ground(list(enumerate([*bands[:1], *same])), block=512, gap=24).groups
    assert sorted(len(group.footprints) for group in groups) == [1, 3]


def ground(sources: list[Found], **more: Any) -> Ground:
    return share_ground(list(enumerate(sources)), **{"block": 64, "gap": 24, **more})


def sizes(sources: list[Found], **more: Any) -> list[int]:
    """How many sources each group has."""
    return sorted(len(group.footprints) for group in ground(sources, **more).groups)


def by_points(found: Found, *, missed: float = 0.0, crs: str = "EPSG:32633") -> Found:
    """The same ground by control points, the first of which is `missed` by that many pixels."""
    affine = rasterio.Affine(*(found.profile.georef.affine or ()))
    height, width = found.profile.shape[1:]
    pixels = [(y, x) for y in (0, height) for x in (0, width / 2, width)]
    points = tuple(
        Gcp(y, x, *(affine @ (x + missed * (not i), y)), 0.0) for i, (y, x) in enumerate(pixels)
    )
    georef = Georef(gcps=points, gcps_crs=crs or None)
    return replace(found, profile=replace(found.profile, georef=georef))


def nameless(found: Found) -> Found:
    """The same source without a reference system."""
    georef = replace(found.profile.georef, crs=None)
    return replace(found, profile=replace(found.profile, georef=georef))


def test_control_points_tell_what_ground_an_image_shows() -> None:
    shifted = scene(x=500_500.0, name="b.tif")
    groups = ground([scene(), by_points(shifted)]).groups
    (plain, fitted) = groups[0].footprints
    assert plain.exact
    assert fitted.exact
    np.testing.assert_allclose(fitted.box.left, 50.0, atol=1e-6)
    assert groups[0].gap == pytest.approx(24, abs=1e-6)
    found = shares([scene(), by_points(scene())])
    assert {a.window for a in found.validation if a.source == 0} == {
        a.window for a in found.validation if a.source == 1
    }
    assert sizes([scene(), by_points(scene(x=900_000.0))]) == [1, 1]


def test_what_control_points_are_missed_by_widens_the_gap() -> None:
    (group,) = ground([scene(), by_points(scene(), missed=9.0)]).groups
    assert 24 + 9 / 6 < group.gap < 24 + 9
    (affine, missed) = fit(by_points(scene(), missed=9.0).profile.georef.gcps) or ((), 0)
    assert missed == pytest.approx(group.gap - 24)
    assert rasterio.Affine(*affine).almost_equals(
        rasterio.Affine(*scene().profile.georef.affine or ()), precision=100
    )
    assert sizes([scene(), by_points(scene(), missed=500.0)], block=512) == [1, 1]


def test_points_on_a_line_say_nothing() -> None:
    points = [Gcp(y, 2 * y, 10.0 * y, 20.0 * y, 0.0) for y in (0.0, 100.0, 200.0)]
    assert fit(points) is None
    assert fit(points[:2]) is None


def test_coordinates_without_a_map_are_compared_with_all_they_fit() -> None:
    bare = nameless(scene(x=500_500.0, name="bare"))
    assert sizes([scene(), bare]) == [2]
    assert sizes([bare, nameless(scene(x=503_000.0, name="b"))]) == [2]
    assert sizes([bare, nameless(scene(x=900_000.0, name="b"))]) == [1, 1]
    through = [scene(), nameless(scene(x=502_500.0)), nameless(scene(x=505_000.0))]
    assert sizes(through) == [3]
    assert sizes([scene(), by_points(scene(), crs="")]) == [2]


def test_coordinates_that_fit_several_maps_are_left_out() -> None:
    zones = [scene(crs="EPSG:32632"), scene(), nameless(scene())]
    found = ground(zones)
    assert set(found.unclear) == {2}
    assert "gdal_edit -a_srs" in found.unclear[2]
    assert sorted(len(group.footprints) for group in found.groups) == [1, 1]
    same = [scene(), scene(crs=pyproj.CRS("EPSG:32633").to_wkt()), nameless(scene())]
    assert sizes(same) == [3]


@pytest.mark.parametrize(
    ("names", "count"),
    [
        (("red.tif", "nir.tif"), 1),
        (("x_B02.tif", "x_b8a.tif"), 1),
        (("train_red/red_patch_7.tif", "train_nir/nir_patch_7.tif"), 1),
        (("red_1.tif", "nir_2.tif"), 2),
        (("infrared_1.tif", "1.tif"), 2),
        (("a.tif", "b.tif"), 2),
    ],
)
def test_bands_are_known_by_their_names(names: tuple[str, str], count: int) -> None:
    """They are too small for their size to tell."""
    assert len(sizes([scene(crs="", name=name) for name in names], block=512)) == count


def test_bands_of_other_resolutions_have_the_ground_of_their_scene() -> None:
    scenes = [
        scene(crs="", name="x_B05.tif", height=150, width=150),
        scene(crs="", name="x_B02.tif"),
    ]
    held = {area.source: area.window for area in shares(scenes).validation}
    assert held[0].grow(1).fine(2).overlap(held[1]) == held[1]
    located_one = [scene(name="x_B02.tif"), scenes[0]]
    assert {a.source: a.window for a in shares(located_one).validation}[1] == held[0]


def test_large_rasters_of_one_size_in_one_folder_are_a_scene() -> None:
    bands = [scene(crs="", name=f"{name}.tif") for name in "abc"]
    assert sizes(bands) == [3]
    found = shares(bands)
    held = [{a.window for a in found.validation if a.source == i} for i in range(3)]
    assert held[0] == held[1] == held[2] != set()
    assert "a.tif, b.tif, c.tif" in ground(bands).notes[0]
    assert sizes([bands[0], scene(crs="", name="other/b.tif")]) == [1, 1]
    assert sizes([bands[0], scene(crs="", name="b.tif", width=301)]) == [1, 1]


def test_a_band_without_georeferencing_lies_where_the_others_do() -> None:
    lost = scene(crs="", name="lost.tif")
    assert sizes([lost, scene(), scene(name="b.tif")]) == [3]
    far = scene(x=900_000.0, name="far.tif")
    assert sizes([lost, scene(), far]) == [1, 1, 1], "it may be either"
    assert "lost.tif" in ground([lost, scene(), far]).notes[0]


def test_chips_are_no_scene_and_a_note_says_so() -> None:
    chips = [scene(crs="", name=f"{i}.tif", height=64, width=64) for i in range(9)]
    found = ground(chips)
    assert len(found.groups) == 9
    (note,) = found.notes
    assert "0.tif, 1.tif, 2.tif and 6 more" in note
    assert not ground([picture(f"{i}.png") for i in range(9)]).notes
    assert not ground(chips[:1]).notes


def test_what_is_named_for_validation_is_another_scene_than_its_neighbour() -> None:
    bands = [scene(crs="", name=f"{name}.tif") for name in "ab"]
    assert sizes(bands, held_back=frozenset({1})) == [1, 1]
    named = [scene(crs="", name=f"{name}.tif") for name in ("red", "nir")]
    assert sizes(named, held_back=frozenset({1})) == [2]


@pytest.mark.parametrize("count", [1, 2, 40])
@pytest.mark.parametrize("side", [64, 640])
def test_every_turn_holds_back_other_ground_until_all_was(count: int, side: int) -> None:
    scenes = [
        scene(x=500_000.0 + 100_000 * i, name=str(i), height=side, width=side) for i in range(count)
    ]
    groups = ground(scenes).groups
    turns = [split(groups, SMALL, held_back=frozenset(), turn=turn) for turn in range(10)]
    if count * side == 64:
        assert not any(one.validation for one in turns)
        return
    assert turns[0] == split(groups, SMALL, held_back=frozenset())
    assert len({one.validation for one in turns}) > 1
    held = {(a.source, a.window) for one in turns for a in one.validation}
    pixels = sum(window.height * window.width for _, window in held)
    assert pixels >= 0.9 * count * side**2


def test_pictures_are_never_cut() -> None:
    pictures = [picture(f"{i}.png") for i in range(20)]
    found = shares(pictures)
    assert len(found.validation) == 2
    assert len(found.train) == 18
    assert not {a.source for a in found.validation} & {a.source for a in found.train}
    assert shares(pictures) == found
    others = {shares(pictures, replace(SMALL, seed=seed)).validation for seed in range(5)}
    assert len(others) > 1


def test_many_scenes_are_held_back_as_a_whole_and_few_are_cut() -> None:
    far = [scene(x=500_000.0 + 100_000 * i, name=str(i)) for i in range(20)]
    found = shares(far)
    assert {a.window for a in found.validation} == {Window(0, 0, 300, 300)}
    found = shares(far[:2])
    assert {a.source for a in found.validation} == {0, 1}
    assert {a.source for a in found.train} == {0, 1}


def test_a_single_small_source_leaves_nothing_to_judge_by() -> None:
    assert shares([picture("a.png")]).validation == ()


def test_a_region_is_meant_in_pixels_of_the_finest_source() -> None:
    scenes = [scene(), scene(name="B05", pixel=20.0, height=150, width=150)]
    found = shares(scenes, replace(SMALL, val_region="columns 201:"))
    assert found.validation == (
        Area(0, Window(0, 201, 300, 99)),
        Area(1, Window(0, 101, 150, 49)),
    )
    assert found.train == (Area(0, Window(0, 0, 300, 177)), Area(1, Window(0, 0, 150, 88)))


def test_ground_of_validation_data_is_not_trained_on() -> None:
    inner = scene(x=500_500.0, y=3_999_500.0, height=100, width=100, name="inner")
    found = shares([scene(), inner], held_back=frozenset({1}))
    assert found.validation == (Area(1, Window(0, 0, 100, 100)),)
    assert Window(0, 0, 26, 300) in {area.window for area in found.train}
    assert sum(a.window.height * a.window.width for a in found.train) == 300**2 - 148**2


def test_a_world_wide_raster_among_fine_ones_is_no_burden() -> None:
    world = scene(pixel=1.0, x=-180.0, y=90.0, height=180, width=360, crs="EPSG:4326")
    found = shares([world, scene(pixel=0.1)])
    assert found.train


@pytest.mark.parametrize(
    ("text", "region"),
    [
        ("columns 1450:", Region(columns=(1450, None))),
        ("rows :512", Region(rows=(0, 512))),
        (" rows 0:512, columns 100:300 ", Region((0, 512), (100, 300))),
    ],
)
def test_a_region_is_written_as_one_says_it(text: str, region: Region) -> None:
    assert parse_region(text) == region


@pytest.mark.parametrize("text", ["", "1450:", "columns 9:3", "columns -3:", "lines 0:1"])
def test_what_is_no_region_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="region"):
        DataOptions(val_region=text)


windows = st.builds(
    Window, st.integers(0, 30), st.integers(0, 30), st.integers(1, 30), st.integers(1, 30)
)


@given(windows, windows)
def test_a_window_without_a_hole_is_all_the_rest(window: Window, hole: Window) -> None:
    def pixels(one: Window) -> list[tuple[int, int]]:
        return [(y, x) for y in range(one.y, one.stop_y) for x in range(one.x, one.stop_x)]

    rest = [pixel for part in without(window, hole) for pixel in pixels(part)]
    assert sorted(rest) == sorted(set(pixels(window)) - set(pixels(hole)))


@given(
    windows=st.lists(
        st.builds(
            Window, st.integers(0, 9), st.integers(0, 9), st.integers(1, 99), st.integers(1, 99)
        ),
        max_size=4,
    ),
    scale=st.integers(1, 4),
    run=st.integers(1, 3),
    seed=st.integers(0, 9),
)
def test_every_piece_is_drawn_once_and_all_ground_is_in_pieces(
    windows: list[Window], scale: int, run: int, seed: int
) -> None:
    cuts = [Cut(Area(i, window), 16, scale, run) for i, window in enumerate(windows)]
    found = list(drawn(cuts, seed))
    assert len(set(found)) == len(found) == sum(cut.stretches for cut in cuts)
    for index, window in enumerate(windows):
        pieces = [p for s in found if s.source == index for p in s.pieces()]
        assert all(p.height % scale == p.width % scale == 0 for p in pieces)
        assert all(0 < max(p.shape) <= 16 and p.overlap(window) == p for p in pieces)
        covered = {(y, x) for p in pieces for y in range(p.y, p.stop_y)
                   for x in range(p.x, p.stop_x)}  # fmt: skip
        assert len(covered) == sum(p.height * p.width for p in pieces), "no overlap"
        height, width = (side // scale * scale for side in window.shape)
        assert len(covered) == height * width


@given(st.integers(0, 60), st.integers(0, 9))
def test_shuffling_is_a_permutation(count: int, seed: int) -> None:
    assert sorted(shuffled(count, seed)) == list(range(count))


def test_shuffling_holds_only_what_was_drawn() -> None:
    order = shuffled(10**12, 0)
    assert len({next(order) for _ in range(1000)}) == 1000


def test_a_box_is_carried_there_and_back() -> None:
    one = Grid((10.0, 0.0, 500_000.0, 0.0, -10.0, 4_000_000.0), "EPSG:32633")
    two = Grid((20.0, 5.0, 500_100.0, 5.0, -20.0, 4_000_200.0), "EPSG:32633")
    box = whole((100, 200))
    assert carried(carried(box, one, one), one, one).grow(1e-6).holds(box)
    assert carried(carried(box, one, two), two, one).grow(1e-6).holds(box)
