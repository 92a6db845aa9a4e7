"""The catalog of an outbox: complete, quick over many products, whole at any moment."""

from __future__ import annotations

import json
import logging
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pystac
import pytest

from pipeline.errors import PublishError
from workflows.batch import catalog
from workflows.batch.catalog import update_catalog


def add_item(outbox: Path, name: str, **changes: Any) -> Path:
    """Let a product land that consists of its item only."""
    bbox = changes.pop("bbox", [10.0, 50.0, 11.0, 51.0])
    collection = changes.pop("collection", "sentinel2-msi")
    item = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [],
        "id": name,
        "geometry": None if bbox is None else {"type": "Point", "coordinates": bbox[:2]},
        "bbox": bbox,
        "properties": {
            "datetime": "2018-01-01T10:54:41Z",
            "platform": "sentinel-2b",
            "instruments": ["msi"],
            "gsd": 5,
            "eo:cloud_cover": 10.0,
        }
        | changes,
        "links": [
            {"rel": "root", "href": "../catalog.json"},
            {"rel": "collection", "href": f"../collections/{collection}.json"},
        ],
        "assets": {"r10m": {"href": "./a.tif", "espcn:model": "general-x2", "espcn:scale": 2}},
        "collection": collection,
    }
    staged = outbox / ".espcn" / "work" / name
    staged.mkdir(parents=True)
    (staged / f"{name}.json").write_text(json.dumps(item))
    return staged.rename(outbox / name)


def read(path: Path) -> dict[str, Any]:
    """A JSON file."""
    found: dict[str, Any] = json.loads(path.read_bytes())
    return found


def listed(outbox: Path) -> list[str]:
    """Names of all items that the catalog leads to, by its links."""
    found = []
    for child in read(outbox / "catalog.json")["links"]:
        if child["rel"] == "child":
            path = outbox / child["href"]
            items = [link for link in read(path)["links"] if link["rel"] == "item"]
            found += [read(path.parent / link["href"])["id"] for link in items]
    return sorted(found)


def test_every_product_is_listed_in_the_collection_of_its_make(tmp_path: Path) -> None:
    add_item(tmp_path, "b")
    add_item(tmp_path, "a", datetime="2020-05-05T00:00:00Z", bbox=[9.0, 49.0, 10.0, 50.5])
    add_item(tmp_path, "c", collection="landsat-oli-tirs", platform="landsat-8")
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "reports.txt").write_text("x")
    update_catalog(tmp_path, "Night")
    root = pystac.Catalog.from_file(str(tmp_path / "catalog.json"))
    assert root.title == "Night"
    assert sorted(child.id for child in root.get_children()) == [
        "landsat-oli-tirs",
        "sentinel2-msi",
    ]
    assert sorted(item.id for item in root.get_items(recursive=True)) == ["a", "b", "c"]
    collection = root.get_child("sentinel2-msi")
    assert isinstance(collection, pystac.Collection)
    assert collection.extent.spatial.bboxes == [[9.0, 49.0, 11.0, 51.0]]
    (interval,) = read(tmp_path / "collections/sentinel2-msi.json")["extent"]["temporal"][
        "interval"
    ]
    assert interval == ["2018-01-01T10:54:41Z", "2020-05-05T00:00:00Z"]
    summaries = collection.summaries.to_dict()
    assert summaries["platform"] == ["sentinel-2b"]
    assert summaries["eo:cloud_cover"] == {"minimum": 10, "maximum": 10}
    assert summaries["espcn:model"] == ["general-x2"]
    for item in root.get_items(recursive=True):
        parent = item.get_collection()
        assert parent is not None
        assert parent.id == item.collection_id
        assert item.get_root_link() is not None


def test_what_is_gone_is_no_longer_listed(tmp_path: Path) -> None:
    add_item(tmp_path, "a")
    add_item(tmp_path, "b", collection="landsat-oli-tirs")
    update_catalog(tmp_path, "Night")
    assert listed(tmp_path) == ["a", "b"]
    shutil.rmtree(tmp_path / "b")
    update_catalog(tmp_path, "Night")
    assert listed(tmp_path) == ["a"]
    assert not (tmp_path / "collections/landsat-oli-tirs.json").exists()


def test_a_replaced_product_is_read_anew(tmp_path: Path) -> None:
    add_item(tmp_path, "a")
    update_catalog(tmp_path, "Night")
    shutil.rmtree(tmp_path / "a")
    add_item(tmp_path, "a", platform="sentinel-2c")
    update_catalog(tmp_path, "Night")
    summaries = read(tmp_path / "collections/sentinel2-msi.json")["summaries"]
    assert summaries["platform"] == ["sentinel-2c"]


def test_only_new_items_are_read_and_nothing_is_written_for_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(520):
        add_item(tmp_path, f"scene_{i:03}")
    update_catalog(tmp_path, "Night")
    assert len(listed(tmp_path)) == 520
    opened = list[str]()
    real = catalog._read_item
    monkeypatch.setattr(
        catalog, "_read_item", lambda path, status: opened.append(path.stem) or real(path, status)
    )
    times = {p: p.stat().st_mtime_ns for p in (tmp_path / "collections").iterdir()}
    update_catalog(tmp_path, "Night")
    assert not opened
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "collections").iterdir()} == times
    add_item(tmp_path, "scene_new")
    started = time.process_time()
    update_catalog(tmp_path, "Night")
    assert time.process_time() - started < 1
    assert opened == ["scene_new"]
    assert len(listed(tmp_path)) == 521


@pytest.mark.parametrize("damage", [b"", b"{", b"[1]", b'{"scene_1": {"size": 1}}', b"\xff"])
def test_a_damaged_index_is_made_anew(tmp_path: Path, damage: bytes) -> None:
    for i in range(3):
        add_item(tmp_path, f"scene_{i}")
    update_catalog(tmp_path, "Night")
    (tmp_path / ".espcn/catalog.json").write_bytes(damage)
    update_catalog(tmp_path, "Night")
    assert listed(tmp_path) == ["scene_0", "scene_1", "scene_2"]


def test_what_is_no_item_is_left_out_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    add_item(tmp_path, "a")
    for name, text in (("x", "{"), ("y", "[]"), ("z", '{"type": "Feature"}')):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.json").write_text(text)
    with caplog.at_level(logging.WARNING):
        update_catalog(tmp_path, "Night")
    assert listed(tmp_path) == ["a"]
    assert len(caplog.records) == 3


def test_boxes_over_the_antimeridian_make_the_extent_whole(tmp_path: Path) -> None:
    add_item(tmp_path, "a", bbox=[177.0, -20.0, -178.0, -16.0])
    add_item(tmp_path, "b", bbox=[170.0, -30.0, 172.0, -28.0])
    add_item(tmp_path, "c", bbox=None)
    update_catalog(tmp_path, "Night")
    extent = read(tmp_path / "collections/sentinel2-msi.json")["extent"]
    assert extent["spatial"]["bbox"] == [[-180, -30, 180, -16]]


def test_an_empty_outbox_has_an_empty_catalog(tmp_path: Path) -> None:
    update_catalog(tmp_path, "Night")
    assert listed(tmp_path) == []


def test_readers_find_whole_files_whose_links_lead_somewhere(tmp_path: Path) -> None:
    update_catalog(tmp_path, "Night")
    done, seen, wrong = threading.Event(), list[int](), list[BaseException]()

    def look() -> None:
        try:
            while not done.is_set():
                seen.append(len(listed(tmp_path)))
        except BaseException as error:
            wrong.append(error)

    readers = [threading.Thread(target=look) for _ in range(3)]
    for reader in readers:
        reader.start()
    for i in range(60):
        add_item(tmp_path, f"scene_{i:02}", collection=f"make-{i % 3}")
        update_catalog(tmp_path, "Night")
    done.set()
    for reader in readers:
        reader.join()
    assert not wrong
    assert len(set(seen)) > 3, "they looked while it grew"
    assert len(listed(tmp_path)) == 60


def test_an_outbox_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "collections").write_text("in the way")
    with pytest.raises(PublishError, match="catalog cannot be written"):
        update_catalog(tmp_path, "Night")
