"""Putting outputs together: what it takes on disk, and what becomes of damage on the way."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import runs
from fakes import write_tif
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import DamagedStageError, PlanError, PublishError
from pipeline.options import OutputOptions, ReportOptions, TilingOptions
from pipeline.room import Room
from pipeline.sinks import assembly
from pipeline.sinks.assembly import Verbatim, assemble, in_steps, is_assembled
from pipeline.sinks.parts import Piece, placed, read_index, write_part
from pipeline.stage import mark_publishing, stage_of
from workflows import upscale as story
from workflows.events import Event, Progress, Publishing
from workflows.fit import check_fit
from workflows.job import Job, ModelOptions
from workflows.prepare import prepare
from workflows.report import size_on_disk

MIB = 2**20
BOUND = 1.2
"""Most that stage and output may take together, in sizes of the output; and a MiB, or a block."""


class Killed(BaseException):
    """Ends a run at once, as far as that goes without ending the process."""


def dies_at(step: int) -> Callable[..., None]:
    """A `cut` that never returns from its `step`-th call: progress is recorded, nothing is cut."""
    calls, cut = itertools.count(), assembly.cut

    def cut_or_die(stage: Path, pieces: Sequence[Piece]) -> None:
        if next(calls) == step:
            raise Killed
        cut(stage, pieces)

    return cut_or_die


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return runs.write_scene(tmp_path_factory.mktemp("scene") / "scene.tif", 700, 650, bands=3)


def make_job(scene: Path, target: Path, **changes: Any) -> Job:
    return runs.make_job(
        scene,
        target,
        model=ModelOptions("nearest", scale=2),
        report=ReportOptions(report=False),
        **changes,
    )


@pytest.fixture(scope="module")
def expected(scene: Path) -> Callable[[str], str]:
    """sha256 of an uninterrupted run, by suffix."""
    found = dict[str, str]()

    def hash_of(suffix: str) -> str:
        target = scene.with_name(f"expected{suffix}")
        if suffix not in found:
            story.upscale(make_job(scene, target))
            found[suffix] = runs.hash_of(target)
        return found[suffix]

    return hash_of


def interrupted(scene: Path, target: Path, step: int) -> Job:
    """A job that was killed while it published, after that many steps."""
    job = make_job(scene, target)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assembly, "cut", dies_at(step))
        with pytest.raises(Killed):
            story.upscale(job)
    assert not target.exists()
    assert json.loads((stage_of(target) / assembly.RECORD).read_text())["steps"] == step + 1
    return job


def stop_before_publishing(job: Job) -> None:
    """Do a job until all its tiles are in."""

    def stop(event: Event) -> None:
        if isinstance(event, Publishing):
            raise Killed

    with pytest.raises(Killed):
        story.upscale(job, stop)


def made_by(job: Job) -> int:
    """Tiles that a job made."""
    tiles = list[bool]()
    story.upscale(job, lambda event: tiles.append(isinstance(event, Progress)))
    return sum(tiles)


def flip(path: Path, at: int) -> None:
    """Change one bit of a byte."""
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 4]))


def last_part(target: Path) -> Path:
    """A part that publishing needs until its end."""
    return max((stage_of(target) / "parts").glob("*.part"))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "flipped": lambda path: flip(path, 7),
    "short": lambda path: os.truncate(path, 9),
    "missing": Path.unlink,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize(("suffix", "step"), [(".tif", 0), (".tif", 3), (".png", 1)])
def test_a_part_damaged_between_a_kill_and_the_next_run_is_made_again(
    scene: Path,
    expected: Callable[[str], str],
    tmp_path: Path,
    suffix: str,
    step: int,
    damage: Callable[[Path], object],
) -> None:
    target = tmp_path / f"out{suffix}"
    job = interrupted(scene, target, step)
    damage(last_part(target))
    assert made_by(job) == 1
    assert runs.hash_of(target) == expected(suffix)
    assert not stage_of(target).exists()


@pytest.mark.parametrize("suffix", [".tif", ".png"])
@pytest.mark.parametrize("victim", ["output", "pieces.npz", "assembled.json"])
def test_damage_that_no_tile_can_mend_starts_the_job_again(
    scene: Path, expected: Callable[[str], str], tmp_path: Path, suffix: str, victim: str
) -> None:
    target = tmp_path / f"out{suffix}"
    job = interrupted(scene, target, 1)
    flip(next(stage_of(target).glob(f"{victim}*")), 100 if victim != "assembled.json" else 0)
    assert made_by(job) == 9
    assert runs.hash_of(target) == expected(suffix)


@pytest.mark.parametrize("folder", ["parts", "seeds", "output.zarr"])
def test_damage_found_before_anything_was_cut_costs_that_tile(
    scene: Path, expected: Callable[[str], str], tmp_path: Path, folder: str
) -> None:
    target = tmp_path / ("out.zarr" if folder == "output.zarr" else "out.tif")
    job = make_job(scene, target)
    stop_before_publishing(job)
    mark_publishing(stage_of(target))
    files = [path for path in (stage_of(target) / folder).rglob("*") if path.is_file()]
    victim = sorted(files)[4]
    flip(victim, victim.stat().st_size - 9)
    assert made_by(job) == 1
    if target.suffix == ".tif":
        assert runs.hash_of(target) == expected(".tif")


def test_a_tile_that_is_damaged_each_time_it_is_made_ends_the_job(
    scene: Path, tmp_path: Path
) -> None:
    target = tmp_path / "out.tif"

    def spoil(event: Event) -> None:
        if isinstance(event, Publishing):
            flip(last_part(target), 7)

    with pytest.raises(PublishError, match=r"0000008\.part is not what was written, 3 times"):
        story.upscale(make_job(scene, target), spoil)
    assert not target.exists()


def weighed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What the folder weighs whenever something in it becomes durable, is cut or goes away.

    In between it only grows, so that the largest is the peak.
    """
    weights = list[int]()

    def weigh(call: Callable[..., Any]) -> Callable[..., Any]:
        def weighing(*args: Any, **options: Any) -> Any:
            weights.append(size_on_disk(folder))
            return call(*args, **options)

        return weighing

    for name in ("fsync", "truncate", "unlink", "replace"):
        monkeypatch.setattr(os, name, weigh(getattr(os, name)))
    return weights


SHAPES = {
    "a row of tiles": (250, 2600, 512, (".tif", ".png", ".zarr")),
    "a column of tiles": (2000, 250, 512, (".tif", ".png")),
    "many tiles": (900, 800, 512, (".tif", ".png", ".zarr")),
    "large tiles": (1100, 700, 1024, (".tif",)),
    "one tile": (900, 700, 2048, (".tif", ".png")),
}


@pytest.mark.parametrize(
    ("height", "width", "tile", "suffix"),
    [
        pytest.param(*shape, suffix, id=f"{name}, {suffix}")
        for name, (*shape, suffixes) in SHAPES.items()
        for suffix in suffixes
    ],
)
def test_stage_and_output_together_stay_within_a_fifth_of_the_output(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    height: int,
    width: int,
    tile: int,
    suffix: str,
) -> None:
    scene = runs.write_scene(tmp_path / "scene.tif", height, width, bands=1)
    folder = tmp_path / "out"
    folder.mkdir()
    job = runs.make_job(
        scene,
        folder / f"out{suffix}",
        tiling=TilingOptions(tile),
        report=ReportOptions(report=False),
    )
    with monkeypatch.context() as patch:
        weights = weighed(folder, patch)
        story.upscale(job)
    output = size_on_disk(folder)
    assert output * 0.95 < max(weights) <= BOUND * output + MIB
    assert max(weights) <= prepare_again(job).peak


def prepare_again(job: Job) -> Room:
    """What a plan says of the disk that its first output takes."""
    (room,) = prepare(replace(job, overwrite=True)).rooms
    return room


def test_a_network_on_a_photograph_stays_within_it_too(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    folder = tmp_path / "out"
    folder.mkdir()
    image = np.asarray(Image.open(shared / "data/sr/set5/img_003.png").convert("RGB"))
    Image.fromarray(np.tile(image, (3, 3, 1))).save(tmp_path / "in.png")
    job = runs.make_job(tmp_path / "in.png", folder / "out.png", report=ReportOptions(report=False))
    with monkeypatch.context() as patch:
        weights = weighed(folder, patch)
        story.upscale(job)
    assert max(weights) <= BOUND * size_on_disk(folder) + MIB
    assert max(weights) <= prepare_again(job).peak


@pytest.mark.parametrize("compress", ["zstd", "deflate", "lzw", "none"])
@pytest.mark.parametrize("suffix", [".tif", ".zarr", ".png"])
def test_noise_that_nothing_packs_takes_no_more_than_was_planned(
    tmp_path: Path, compress: Any, suffix: str
) -> None:
    if (compress, suffix) == ("lzw", ".zarr"):
        pytest.skip("Zarr has no LZW")
    noise = np.random.default_rng(0).integers(0, 2**16, (1, 500, 440), np.uint16)
    with rasterio.open(
        tmp_path / "in.tif", "w", driver="GTiff", count=1, height=500, width=440, dtype="uint16"
    ) as dataset:
        dataset.write(noise)
    target = tmp_path / f"out{suffix}"
    job = runs.make_job(
        tmp_path / "in.tif",
        target,
        output=OutputOptions(compress=compress),
        report=ReportOptions(report=False),
    )
    room = prepare(job).rooms[0]
    story.upscale(job)
    size = size_on_disk(target)
    assert size <= room.output + 2**14  # the header
    assert room.output < 1.7 * size


@pytest.mark.parametrize("suffix", [".tif", ".zarr", ".png"])
def test_two_values_of_which_a_network_makes_many_take_no_more_than_was_planned(
    tmp_path: Path, suffix: str
) -> None:
    codes = np.random.default_rng(0).integers(0, 2, (1, 700, 640), np.uint16) * np.uint16(65535)
    source, target = write_tif(tmp_path / "in.tif", codes), tmp_path / f"out{suffix}"
    job = runs.make_job(
        source,
        target,
        output=OutputOptions(compress="deflate"),
        report=ReportOptions(report=False),
    )
    room = prepare(job).rooms[0]
    story.upscale(job)
    assert size_on_disk(target) <= room.output + 2**14


def test_what_is_staged_counts_as_room_already_taken(
    scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "out.tif"
    job = make_job(scene, target)
    stop_before_publishing(job)
    prepared = prepare(job)
    free = prepared.rooms[0].peak - size_on_disk(stage_of(target))
    for room, fits in ((free, True), (free - MIB, False)):
        monkeypatch.setattr("shutil.disk_usage", lambda _, room=room: (2**40, 0, room))
        if fits:
            check_fit(prepared)
            continue
        with pytest.raises(PlanError, match="MiB free"):
            check_fit(prepared)
    mark_publishing(stage_of(target))
    check_fit(prepared)


@st.composite
def outputs(draw: st.DrawFn) -> tuple[list[list[bytes]], list[tuple[int, int]]]:
    """(pieces by part, order of the output); the pieces of a part come in theirs."""
    data = draw(
        st.lists(st.lists(st.binary(min_size=1, max_size=40), max_size=5), min_size=1, max_size=4)
    )
    order = draw(st.permutations([part for part, some in enumerate(data) for _ in some]))
    seen = dict.fromkeys(range(len(data)), -1)
    found = []
    for number in order:
        seen[number] += 1
        found.append((number, seen[number]))
    return data, found


@given(outputs(), st.integers(1, 60), st.data())
def test_an_output_is_its_pieces_wherever_it_was_interrupted(
    tmp_path_factory: pytest.TempPathFactory,
    output: tuple[list[list[bytes]], list[tuple[int, int]]],
    step: int,
    data: st.DataObject,
) -> None:
    (contents, order), stage = output, tmp_path_factory.mktemp("stage")
    for part, some in enumerate(contents):
        write_part(stage, f"{part}", [(piece[:3], piece[3:]) for piece in some])
    index = [read_index(stage, f"{part}").tolist() for part in range(len(contents))]
    target = stage / "output"

    def pieces() -> Iterator[Piece]:
        for part, piece in order:
            yield Piece(f"{part}", *index[part][piece])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assembly, "LEAST_STEP", step)
        steps = list(in_steps(placed(pieces), 0))
    for death in data.draw(st.lists(st.integers(0, 3), max_size=3)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(assembly, "cut", dies_at(death))
            try:
                assemble(stage, target, b"header", steps, Verbatim(stage))
            except Killed:
                continue
    assemble(stage, target, b"header", steps, Verbatim(stage))
    assert target.read_bytes() == b"header" + b"".join(contents[p][n] for p, n in order)
    assert is_assembled(stage, target)
    assert not any((stage / f"{part}").exists() for part, some in enumerate(contents) if some)


def test_an_index_that_is_not_what_was_written_is_found(tmp_path: Path) -> None:
    write_part(tmp_path, "a", [(b"one",), (b"three",)])
    assert read_index(tmp_path, "a")[:, 0].tolist() == [3, 5]
    size = (tmp_path / "a").stat().st_size
    for at in range(8, size):
        flip(tmp_path / "a", at)
        with pytest.raises(DamagedStageError) as found:
            read_index(tmp_path, "a", tile=7)
        assert found.value.tile == 7
        flip(tmp_path / "a", at)
    for length in (0, 7, 15, size - 1):
        os.truncate(tmp_path / "a", length) if length < size else None
        with pytest.raises(DamagedStageError):
            read_index(tmp_path, "a")
        (tmp_path / "a").unlink()
        write_part(tmp_path, "a", [(b"one",), (b"three",)])
