"""Trees of studies as batches: a scene per series, and nobody's name in what is said of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_files import write_dicom, write_series
from fakes import write_tif
from runs import Ran

from pipeline.profile import Band, Identity, Profile
from pipeline.scenes import files_of, find_scenes, open_scene
from pipeline.scenes.scene import SceneError, SceneOptions
from workflows.batch.comparison import choose_frames
from workflows.batch.placed import moved

CONFIGS = Path(__file__).parents[1] / "configs"
SR = "1.2.840.10008.5.1.4.1.1.88.11"
"""SOP class of reports."""
ALL = SceneOptions(families=("dicom",))


def studies(inbox: Path) -> Path:
    """Two patients: a CT and an MR in folders of their own, two series in one folder."""
    for folder in ("DOE^JANE/CT", "DOE^JANE/MR", "ROE^RICHARD"):
        (inbox / folder).mkdir(parents=True)
    write_series(inbox / "DOE^JANE/CT", 3, name="DOE")
    write_series(inbox / "DOE^JANE/MR", 2, name="DOEJ", Modality="MR")
    write_series(inbox / "ROE^RICHARD", 2, name="ROERI")
    write_series(inbox / "ROE^RICHARD", 2, name="ROERIC")
    (inbox / "ROE^RICHARD/letter.txt").write_text("Dear colleague")
    return inbox


def damage(path: Path, *, left: int = -1000) -> None:
    """Cut a file, in the middle of its pixels or elsewhere."""
    path.write_bytes(path.read_bytes()[:left])


# -------------------------------------------------------------------------------------- finding


def test_every_series_is_a_scene_with_its_own_files(tmp_path: Path) -> None:
    found = list(find_scenes(studies(tmp_path / "in"), ALL))
    assert [one.label[:3] for one in found] == ["ct-", "mr-", "ct-", "ct-"]
    assert sorted(len(files_of(one)) for one in found) == [2, 2, 2, 3]
    assert len({one.label for one in found}) == 4
    assert not any(
        "DOE" in text or "ROE" in text for one in found for text in (one.name, repr(one))
    )
    for one in found:
        scene = open_scene(one, ALL, tmp_path)
        assert scene.id == one.label
        assert scene.assets[0].key == one.label[:2]
        assert "DOE" not in repr(scene)


def test_modalities_are_taken_that_were_asked_for(tmp_path: Path) -> None:
    options = SceneOptions(families=("dicom",), modalities=("mr",))
    (found,) = find_scenes(studies(tmp_path / "in"), options)
    assert found.label.startswith("mr-")


def test_damage_is_a_scene_that_fails_and_costs_no_other(tmp_path: Path) -> None:
    inbox = studies(tmp_path / "in")
    for path in (inbox / "DOE^JANE/MR").iterdir():
        damage(path, left=300)
    damage(next((inbox / "ROE^RICHARD").glob("ROERI0*")), left=300)
    found = list(find_scenes(inbox, ALL))
    broken = [one for one in found if one.problem]
    assert len(found) == 5
    assert [one.label[:6] for one in broken] == ["dicom-", "dicom-"]
    with pytest.raises(SceneError, match=r"^dicom-\w{12}: holds DICOM that cannot be used") as told:
        open_scene(broken[0], ALL, tmp_path)
    assert "DOE" not in str(told.value)
    message = broken[0].hide(str(told.value))
    assert message.startswith("holds DICOM"), "told behind its label, which is not told twice"


def test_reports_beside_images_are_no_damage(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write_series(folder, 2)
    report = write_dicom(
        folder / "report", np.zeros((2, 2), "uint8"), Modality="SR", SOPClassUID=SR
    )
    from pydicom import dcmread

    header = dcmread(report)
    for name in ("PixelData", "Rows", "Columns", "BitsAllocated"):
        delattr(header, name)
    header.save_as(report)
    (found,) = find_scenes(folder, ALL)
    assert not found.problem


def test_folders_of_other_things_are_looked_through(tmp_path: Path) -> None:
    (tmp_path / "in/a").mkdir(parents=True)
    (tmp_path / "in/a/notes.txt").write_text("nothing")
    write_series(tmp_path / "in/a/deep", 1)
    assert len(list(find_scenes(tmp_path / "in", SceneOptions()))) == 1


def test_links_to_nothing_and_to_folders_are_no_damage(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write_series(folder, 2)
    (tmp_path / "elsewhere").mkdir()
    (folder / "manuals").symlink_to(tmp_path / "elsewhere")
    (folder / "notes.txt").symlink_to("gone.txt")
    assert [one.problem for one in find_scenes(folder, ALL)] == [""]


def test_linked_images_outside_a_folder_are_not_dropped_silently(tmp_path: Path) -> None:
    images = write_series(tmp_path / "elsewhere", 3)
    report = write_dicom(
        tmp_path / "report", np.zeros((2, 2), "uint8"), Modality="SR", SOPClassUID=SR
    )
    (tmp_path / "letter").write_text("Dear colleague")
    inbox = tmp_path / "in"
    for study in ("linked", "mixed"):
        (inbox / study).mkdir(parents=True)
        for path in (*images, report, tmp_path / "letter"):
            (inbox / study / path.name).symlink_to(path)
    (inbox / "mixed" / images[0].name).unlink()
    shutil.copy(images[0], inbox / "mixed")
    linked, series, rest = find_scenes(inbox, ALL)
    assert not series.problem
    for found, number in ((linked, 3), (rest, 2)):
        assert f"{number} files: one is a link that leads out of the folder" in found.problem
        assert len(found.files) == number


def test_folders_behind_links_are_told_of_and_fail_nothing(
    espcn: Callable[..., Ran], tmp_path: Path
) -> None:
    inbox, outside = tmp_path / "in", tmp_path / "elsewhere"
    write_series(inbox, 1)
    write_series(outside, 1, name="OUT")
    (inbox / "DOE").symlink_to(outside)
    (inbox / "again").symlink_to(inbox)
    mine = configured(tmp_path, "ct", batch={"format": "zarr"})
    ran = espcn("batch", "--config", mine, "--json")
    assert ran.code == 0
    assert "DOE" not in ran.out + ran.err
    assert sorted((one["scene"][:3], one["status"]) for one in told(ran)) == [
        ("ct-", "done"),
        ("dic", "skipped"),
    ]
    (skipped,) = [one for one in told(ran) if one["status"] == "skipped"]
    assert "is not followed; put the folder itself there" in skipped["message"]


def test_a_loose_file_hides_no_other_scene_below_it(tmp_path: Path) -> None:
    inbox = tmp_path / "in"
    write_series(inbox, 1)
    write_series(inbox / "study", 2, name="MR", Modality="MR")
    (inbox / "sub/deep").mkdir(parents=True)
    write_tif(inbox / "sub/deep/field.tif", np.zeros((1, 8, 8), "uint8"))
    found = list(find_scenes(inbox, SceneOptions()))
    assert [one.family for one in found] == ["dicom", "dicom", "folder"]
    assert found[-1].place(inbox) == "sub/deep/field.tif"


# -------------------------------------------------------------------------------------- checking


def profile(shape: tuple[int, int], **tags: str) -> Profile:
    return Profile(
        "x", "DICOM", *shape, "int16", (Band(1),), Identity(1, 1, ""), tags={"DICOM": tags}
    )


FLAT = {"ImageOrientationPatient": "1\\0\\0\\0\\1\\0"}


def test_corners_are_held_against_the_source_in_its_pixels() -> None:
    coarse = profile((8, 8), PixelSpacing="2\\2", ImagePositionPatient="0\\0\\5", **FLAT)
    right = profile((16, 16), PixelSpacing="1\\1", ImagePositionPatient="-.5\\-.5\\5", **FLAT)
    wrong = profile((16, 16), PixelSpacing="1\\1", ImagePositionPatient="0\\0\\5", **FLAT)
    assert moved(coarse, right) == 0
    assert moved(coarse, wrong) == 0.25
    assert moved(coarse, profile((16, 16), PixelSpacing="1\\1")) is None
    assert moved(profile((8, 8), PixelSpacing="2\\2"), profile((16, 16), PixelSpacing="1\\1")) == 0
    assert moved(profile((8, 8)), profile((16, 16))) == 0


def test_the_first_the_last_and_any_other_frame_are_checked() -> None:
    assert choose_frames(1, "a") == (0,)
    assert choose_frames(3, "a") == (0, 1, 2)
    first, between, last = choose_frames(100, "a")
    assert (first, last) == (0, 99)
    assert 0 < between < 99


# ---------------------------------------------------------------------------------------- making


def configured(folder: Path, preset: str, **more: Any) -> Path:
    """A configuration file over a preset, as a user would write it."""
    lines = {"preset": str(CONFIGS / f"{preset}.yaml"), "inbox": "in", "outbox": "out"}
    lines |= {"cluster": {"workers": 0, "threads": 2}, "checks": {"bias": 1, "consistency": 10}}
    path = folder / "mine.yaml"
    path.write_text(json.dumps(lines | more))  # JSON is YAML
    return path


def told(ran: Ran) -> list[dict[str, Any]]:
    scenes: list[dict[str, Any]] = json.loads(ran.out)["scenes"]
    return scenes


@pytest.mark.parametrize("form", ["zarr", "cog"])
def test_a_tree_becomes_an_output_series_per_series(
    espcn: Callable[..., Ran], tmp_path: Path, form: str
) -> None:
    inbox = studies(tmp_path / "in")
    for path in (inbox / "DOE^JANE/MR").iterdir():
        damage(path)
    mine = configured(tmp_path, "generic", batch={"format": form})
    ran = espcn("batch", "--config", mine, "--json")
    scenes = told(ran)
    assert ran.code == 1, ran.err
    assert sorted(one["status"] for one in scenes) == ["done", "done", "done", "failed"]
    products = sorted(path.parent for path in (tmp_path / "out").glob("*/product.json"))
    assert len(products) == 3
    for product in products:
        facts = json.loads((product / "facts.json").read_text())
        assert all(check["passed"] for check in facts["checks"])
        assert facts["images"][0]["model"] == "ct-x2"
        image = product / facts["images"][0]["href"]
        assert image.suffix == ("" if form == "cog" else ".zarr")
        assert len(list(image.glob("*.dcm"))) == (facts["images"][0]["frames"] * (form == "cog"))
        assert f"{product.name}.png" in facts["files"]
        assert not (product / f"{product.name}.json").exists(), "no STAC item of a body"
    again = told(espcn("batch", "--config", mine, "--json"))
    assert sorted(one["status"] for one in again) == ["failed", "skipped", "skipped", "skipped"]


@pytest.mark.parametrize(("preset", "modality"), [("ct", "CT"), ("mr", "MR"), ("xray", "DX")])
def test_a_preset_takes_its_modalities(
    espcn: Callable[..., Ran], tmp_path: Path, preset: str, modality: str
) -> None:
    inbox = studies(tmp_path / "in")
    write_series(inbox / "XRAY", 1, name="X", Modality="DX")
    mine = configured(tmp_path, preset, batch={"format": "zarr"})
    ran = espcn("batch", "--config", mine, "--json")
    assert ran.code == 0, ran.out + ran.err
    scenes = told(ran)
    assert {one["scene"][:2] for one in scenes} == {modality.lower()}
    assert {one["status"] for one in scenes} == {"done"}
    drawn = any((tmp_path / "out").glob("*/*.png"))
    assert drawn == (modality != "DX"), "text may be burned into radiographs"


def test_the_preset_of_slides_makes_a_pyramid(
    espcn: Callable[..., Ran], tmp_path: Path, shared: Path
) -> None:
    levels = (shared / "data/dicom/wsi").rglob("*.dcm")
    (tmp_path / "in").mkdir()
    for path in sorted(levels, key=lambda level: level.stat().st_size)[:3]:
        shutil.copy(path, tmp_path / "in")
    ran = espcn("batch", "--config", configured(tmp_path, "wsi"), "--json")
    assert ran.code == 0, ran.out + ran.err
    assert [one["status"] for one in told(ran)] == ["done"]


def test_one_series_in_two_places_is_two_products(
    espcn: Callable[..., Ran], tmp_path: Path
) -> None:
    for folder in ("A", "B"):
        (tmp_path / "in" / folder).mkdir(parents=True)
        write_series(tmp_path / "in" / folder, 1)
    mine = configured(tmp_path, "ct", batch={"format": "zarr"})
    scenes = told(espcn("batch", "--config", mine, "--json"))
    assert [one["status"] for one in scenes] == ["done", "done"]
    assert len({one["product"] for one in scenes}) == 2
