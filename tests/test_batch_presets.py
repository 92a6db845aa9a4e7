"""Every preset, run on a small scene of its kind through the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import landsat_files
import pytest
import runs
import scene_files_s2
from runs import Ran

CONFIGS = Path(__file__).parents[1] / "configs"


def sentinel2(inbox: Path) -> None:
    scene_files_s2.Safe().write(inbox)


def landsat(inbox: Path) -> None:
    folder = inbox / "scene"
    folder.mkdir()
    landsat_files.Product().write(folder)


def aerial(inbox: Path) -> None:
    runs.write_scene(inbox / "m_3008501_ne_16_1_20110815.tif", 80, 90, bands=4)


def everything(inbox: Path) -> None:
    for write in (sentinel2, landsat, aerial):
        write(inbox)


@pytest.mark.parametrize(
    ("preset", "write", "scenes", "kinds"),
    [
        ("sentinel2", sentinel2, 1, {"r10m", "r20m", "r60m"}),
        ("landsat", landsat, 1, {"ms", "qa_pixel"}),
        ("aerial", aerial, 1, {"image"}),
        ("generic", everything, 3, {"r10m", "ms", "image"}),
    ],
)
def test_a_preset_makes_products_of_its_scenes(
    espcn: Callable[..., Ran],
    tmp_path: Path,
    preset: str,
    write: Callable[[Path], None],
    scenes: int,
    kinds: set[str],
) -> None:
    inbox, outbox = tmp_path / "in", tmp_path / "out"
    inbox.mkdir()
    write(inbox)
    # a file of one's own over a preset, as a user would write it
    mine = tmp_path / "mine.yaml"
    mine.write_text(
        f"preset: {CONFIGS / preset}.yaml\ninbox: in\noutbox: out\n"
        "checks: {bias: 1, consistency: 10}\ncluster: {workers: 0, threads: 2}\n"
    )
    ran = espcn("batch", "--config", mine, "--json")
    told = json.loads(ran.out)["scenes"]
    assert ran.code == 0, [(one["scene"], one["message"]) for one in told]
    assert [one["status"] for one in told] == ["done"] * scenes
    items = [json.loads(path.read_text()) for path in outbox.glob("*_SR/*_SR.json")]
    assert len(items) == scenes
    assert kinds <= {key for item in items for key in item["assets"]}
    assert espcn("config", "check", mine).out.strip().endswith("all valid")
    again = espcn("batch", "--config", mine, "--json")
    assert [one["status"] for one in json.loads(again.out)["scenes"]] == ["skipped"] * scenes
