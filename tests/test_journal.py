"""What is written down comes back, whatever interrupts the writing."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from fakes import FakeNetwork, make_profile, texture
from hypothesis import given
from hypothesis import strategies as st

from pipeline.fate import Provenance
from pipeline.georef import Gcp, Georef
from pipeline.journal import Receipt, Staged, create_journal, open_journal
from pipeline.kernel import make_tiling
from pipeline.options import OutputOptions, SourceOptions
from pipeline.plan import Plan
from pipeline.radiometry import Radiometry
from pipeline.serial import from_json, to_json
from pipeline.sources import Address
from pipeline.stage import damaged, write_durably
from pipeline.statistics import measure


def make_plan() -> Plan:
    georef = Georef("LOCAL_CS[]", (1, 0, 0, 0, -1, 0), (Gcp(1, 2, 3, 4, 5, "a"),), None, {"A": "b"})
    return Plan(
        Address("/a.tif", SourceOptions(bands=(2, 1))),
        make_profile((2, 50, 40), "float32", nodata=float("nan"), georef=georef),
        Provenance("espcn 0", "m", "ab", 2, "numpy"),
        Radiometry("float32", 1.0, (0.1, -2.0), float("nan")),
        make_tiling(50, 40, FakeNetwork(), side=512),
        OutputOptions(compress="zstd"),
        "cog",
    )


def test_a_plan_survives_json_and_keeps_its_digest() -> None:
    plan = make_plan()
    again = from_json(Plan, json.loads(json.dumps(to_json(plan))))
    assert again.digest == plan.digest
    assert math.isnan(again.profile.nodata or 0)
    assert again.profile.georef == plan.profile.georef
    assert again.source == plan.source


def test_every_option_that_changes_bytes_changes_the_digest() -> None:
    from dataclasses import replace

    plan = make_plan()
    others = [
        replace(plan, output=OutputOptions(compress="lzw")),
        replace(plan, provenance=replace(plan.provenance, sha256="cd")),
        replace(plan, provenance=replace(plan.provenance, backend="torch")),
        replace(plan, radiometry=replace(plan.radiometry, saturated=9.0)),
        replace(plan, format="zarr"),
        replace(plan, profile=make_profile((2, 50, 40), "float32")),
    ]
    assert len({p.digest for p in [plan, *others]}) == len(others) + 1


def receipt(tile: int) -> Receipt:
    statistics = measure(texture((2, 20, 30), "float32", seed=tile), None)
    return Receipt(tile, (Staged(f"parts/{tile}", 7, 2**32 - 1),), statistics, 3, (0.1, 0.2, 0.3))


def test_receipts_come_back_as_they_were(tmp_path: Path) -> None:
    journal = create_journal(tmp_path / "journal.jsonl", "plan")
    journal.add(receipt(4))
    journal.add(receipt(1), receipt(2))
    again = open_journal(tmp_path / "journal.jsonl")
    assert again is not None
    assert again.plan == "plan"
    assert again.receipts == {n: receipt(n) for n in (4, 1, 2)}


@given(st.data())
def test_a_line_torn_anywhere_costs_that_line_only(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("torn") / "journal.jsonl"
    journal = create_journal(path, "plan")
    journal.add(receipt(0))
    whole = path.stat().st_size
    journal.add(receipt(1))
    torn = path.read_bytes()[: data.draw(st.integers(whole, path.stat().st_size - 1))]
    path.write_bytes(torn)
    again = open_journal(path)
    assert again is not None
    assert set(again.receipts) == {0}
    again.add(receipt(5))
    final = open_journal(path)
    assert final is not None
    assert set(final.receipts) == {0, 5}


@pytest.mark.parametrize("text", ["", "{", '{"no": "plan"}\n', '{"plan": "p"}\nrubbish\n{}\n'])
def test_a_journal_that_makes_no_sense_is_not_used(tmp_path: Path, text: str) -> None:
    (tmp_path / "journal.jsonl").write_text(text)
    assert open_journal(tmp_path / "journal.jsonl") is None
    assert open_journal(tmp_path / "absent") is None


def test_missing_short_and_flipped_files_are_found(tmp_path: Path) -> None:
    journal = create_journal(tmp_path / "journal.jsonl", "plan")
    for tile in range(4):
        staged = write_durably(tmp_path / f"{tile}.part", b"abc" * 100)
        journal.add(Receipt(tile, (staged,)))
    (tmp_path / "0.part").unlink()
    (tmp_path / "1.part").write_bytes(b"abc" * 99)
    flipped = bytearray((tmp_path / "2.part").read_bytes())
    flipped[150] ^= 1
    (tmp_path / "2.part").write_bytes(flipped)
    assert damaged(tmp_path, journal) == {0, 1, 2}
