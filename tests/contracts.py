"""What every source and every sink owes the engine; each format subclasses these."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeNetwork, texture, write_tif

from pipeline.errors import SourceError
from pipeline.fate import Provenance
from pipeline.journal import Receipt, create_journal
from pipeline.kernel import Fine, make_tiling
from pipeline.options import OutputOptions, SourceOptions
from pipeline.plan import Plan
from pipeline.radiometry import Pixels, Radiometry, replicate
from pipeline.sinks import load_sink, sink_for
from pipeline.sources import Address, open_source
from pipeline.stage import damaged
from pipeline.statistics import measure
from pipeline.tiling import Window


class SourceContract:
    """Subclasses write `pixels` (band, y, x) to a path of their own and return it."""

    pixels: Pixels = texture((3, 70, 90))

    def make(self, folder: Path) -> Path:
        """Write `self.pixels` in the format."""
        raise NotImplementedError

    def test_the_profile_tells_the_shape_and_type(self, tmp_path: Path) -> None:
        profile = open_source(str(self.make(tmp_path))).profile
        assert profile.shape == self.pixels.shape
        assert profile.dtype == self.pixels.dtype.name
        assert Path(profile.uri).is_absolute()

    @pytest.mark.parametrize("window", [Window(0, 0, 70, 90), Window(3, 88, 1, 2)])
    def test_a_window_is_that_part_of_the_image(self, tmp_path: Path, window: Window) -> None:
        source = open_source(str(self.make(tmp_path)))
        rows, columns = window.slices
        np.testing.assert_array_equal(source.read(window), self.pixels[:, rows, columns])
        mask = source.mask(window)
        assert mask is None or (mask.shape == window.shape and mask.dtype == bool)

    def test_bands_come_in_the_order_asked_for(self, tmp_path: Path) -> None:
        source = open_source(str(self.make(tmp_path)), SourceOptions(bands=(3, 1)))
        assert [band.number for band in source.profile.bands] == [3, 1]
        found = source.read(Window(0, 0, 70, 90))
        np.testing.assert_array_equal(found, self.pixels[[2, 0]])

    def test_a_band_that_is_not_there_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match="there is no band 4"):
            open_source(str(self.make(tmp_path)), SourceOptions(bands=(4,)))

    def test_an_address_is_small_and_opens_the_same(self, tmp_path: Path) -> None:
        address = Address(str(self.make(tmp_path)), SourceOptions())
        text = pickle.dumps(address)
        assert len(text) < 1024
        identity = open_source(address.uri).profile.identity
        source = pickle.loads(text).open(identity)
        assert source is address.open(identity), "kept open for the next tile"

    def test_another_version_of_the_file_is_another_identity(self, tmp_path: Path) -> None:
        path = self.make(tmp_path)
        address = Address(str(path), SourceOptions())
        before = open_source(str(path)).profile.identity
        self.pixels = self.pixels + np.uint8(1)
        try:
            self.make(tmp_path)
        finally:
            del self.pixels
        with pytest.raises(SourceError, match="changed"):
            address.open(before)


class SinkContract:
    """Subclasses name a target and read it back."""

    target: str
    """Name of an output."""
    pixels: Pixels = texture((3, 300, 333), "uint8")
    output = OutputOptions()

    def read(self, path: Path) -> Pixels:
        """All pixels (band, y, x) of a published output."""
        raise NotImplementedError

    @pytest.fixture
    def plan(self, tmp_path: Path) -> Plan:
        """Three bands, four tiles, twice as fine."""
        source = write_tif(tmp_path / "in.tif", self.pixels, photometric="RGB")
        profile = open_source(str(source)).profile
        height, width = self.pixels.shape[1:]
        return Plan(
            Address(str(source), SourceOptions()),
            profile,
            Provenance("espcn 0", "fake", "00" * 32, 2, "numpy"),
            Radiometry("uint8", 1.0, (0.0,) * 3),
            make_tiling(height, width, FakeNetwork(), side=512),
            self.output,
            sink_for(Path(self.target), profile)[0],
        )

    @pytest.fixture
    def stage(self, tmp_path: Path) -> Path:
        """An empty staging directory."""
        (tmp_path / "stage").mkdir()
        return tmp_path / "stage"

    @property
    def fine(self) -> Pixels:
        """What is written."""
        return replicate(self.pixels, scale=2)

    def write(self, stage: Path, plan: Plan, index: int) -> Receipt:
        """Write one tile."""
        tile = plan.tiling.tile(index)
        part = self.fine[:, *tile.write.slices]
        files = load_sink(plan.format).write(stage, plan, tile, Fine(part, None))
        return Receipt(index, files, measure(part, None))

    def write_all(self, stage: Path, plan: Plan) -> dict[int, Receipt]:
        """Begin, and write all tiles in an odd order."""
        load_sink(plan.format).begin(stage, plan)
        order = [3, 0, 2, 1]
        return {index: self.write(stage, plan, index) for index in order}

    def test_what_is_written_reads_back(self, stage: Path, plan: Plan, tmp_path: Path) -> None:
        receipts = self.write_all(stage, plan)
        target = tmp_path / self.target
        assert not target.exists(), "nothing may appear before it is whole"
        load_sink(plan.format).publish(stage, plan, receipts, target)
        np.testing.assert_array_equal(self.read(target), self.fine)

    def test_every_staged_file_is_named_with_its_checksum(self, stage: Path, plan: Plan) -> None:
        receipts = self.write_all(stage, plan)
        journal = create_journal(stage / "journal.jsonl", plan.digest)
        journal.add(*receipts.values())
        assert damaged(stage, journal) == set()
        named = {file.name for receipt in receipts.values() for file in receipt.files}
        found = {p.relative_to(stage).as_posix() for p in stage.rglob("*") if p.is_file()}
        assert found == named | {"journal.jsonl"}
        for name in named:
            whole = (stage / name).read_bytes()
            (stage / name).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
            assert len(damaged(stage, journal)) == 1
            (stage / name).write_bytes(whole)

    def test_a_tile_written_twice_is_the_same_file(self, stage: Path, plan: Plan) -> None:
        load_sink(plan.format).begin(stage, plan)
        assert self.write(stage, plan, 1) == self.write(stage, plan, 1)

    def test_beginning_again_keeps_what_is_there(
        self, stage: Path, plan: Plan, tmp_path: Path
    ) -> None:
        receipts = self.write_all(stage, plan)
        load_sink(plan.format).begin(stage, plan)
        load_sink(plan.format).publish(stage, plan, receipts, tmp_path / self.target)
        np.testing.assert_array_equal(self.read(tmp_path / self.target), self.fine)

    def test_publishing_replaces_and_may_be_repeated(
        self, stage: Path, plan: Plan, tmp_path: Path
    ) -> None:
        sink, target = load_sink(plan.format), tmp_path / self.target
        sink.publish(stage, plan, self.write_all(stage, plan), target)
        again = tmp_path / "again"
        again.mkdir()
        self.pixels = 255 - self.pixels
        try:
            other = replace(plan, radiometry=replace(plan.radiometry, saturated=1.0))
            receipts = self.write_all(again, other)
            sink.publish(again, other, receipts, target)
            np.testing.assert_array_equal(self.read(target), self.fine)
            # a kill between the last rename and the clean-up
            sink.publish(again, other, receipts, target)
            np.testing.assert_array_equal(self.read(target), self.fine)
        finally:
            del self.pixels

    def test_every_fate_says_what_and_why(self, plan: Plan) -> None:
        fates = load_sink(plan.format).fates(plan)
        assert {fate.outcome for fate in fates} <= {"kept", "changed", "dropped"}
        assert all(fate.note for fate in fates if fate.outcome != "kept")
        assert len({fate.item for fate in fates}) == len(fates)
