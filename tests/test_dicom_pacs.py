"""A real PACS takes what we write, serves it back unchanged, shows it, and has nothing twice."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pacs
import pytest
from pydicom import dcmread
from runs import make_job

from pipeline.options import OutputOptions, SourceOptions
from workflows.job import ModelOptions
from workflows.upscale import upscale

pytestmark = [
    pytest.mark.skipif(bool(pacs.missing()), reason=pacs.missing()),
    pytest.mark.filterwarnings("ignore::UserWarning:pydicom"),
]

SLICES = 3
"""Slices of the real series that are sent; all of them would tell no more."""
INPUTS = {
    "ct": ("ct_series", "uncompressed"),
    "mr": ("mr_series", "jpeg2000"),
    "xray": ("syntaxes/RG3_RLE", "uncompressed"),
    "ultrasound": ("syntaxes/US1_RLE", "rle"),
    "film": ("pydicom/test_files/SC_rgb_rle_2frame.dcm", "uncompressed"),
    "slide": ("wsi", "same"),
}
"""What is upscaled, and the transfer syntax that it is written in. Colours in JPEG 2000 are stored
and served too, but Orthanc 1.10 shows none, NEMA's own neither."""


@pytest.fixture(scope="module")
def outputs(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Directories of upscaled instances, by kind."""
    folder, found = tmp_path_factory.mktemp("outputs"), {}
    for kind, (name, syntax) in INPUTS.items():
        source = _part(shared / "data/dicom" / name, folder / f"{kind}-in")
        job = make_job(
            source,
            folder / kind,
            input=SourceOptions(spacing="warn"),
            model=ModelOptions("nearest", scale=2),
            output=OutputOptions(syntax=syntax),  # type: ignore[arg-type] # one of them
        )
        upscale(job)
        found[kind] = folder / kind
    return found


def _part(source: Path, folder: Path) -> Path:
    """All of a slide, or of one file; the first slices of a series in a folder of their own."""
    if source.is_file() or source.name == "wsi":
        return source
    folder.mkdir()
    for path in sorted(path for path in source.iterdir() if path.name != "LICENSE")[:SLICES]:
        shutil.copy(path, folder)
    return folder


@pytest.fixture(scope="module")
def said(outputs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the PACS says of them."""
    return pacs.ask(tmp_path_factory.mktemp("pacs"), *outputs.values())


@pytest.fixture(scope="module")
def files(outputs: dict[str, Path]) -> dict[str, Path]:
    """All instances by their UID."""
    found = [path for folder in outputs.values() for path in folder.glob("*.dcm")]
    return {str(dcmread(path, stop_before_pixels=True).SOPInstanceUID): path for path in found}


def test_every_instance_is_stored_by_c_store(said: dict[str, Any], files: dict[str, Path]) -> None:
    assert said["stored"]["Instances"] == len(files) > 2 * SLICES
    assert said["stored"]["Series"] == len(INPUTS)
    assert {one["uid"] for one in said["c_store"]} == set(files)


def test_what_is_sent_again_is_there_once(said: dict[str, Any]) -> None:
    assert said["sent_again"] == said["stored"]


def test_every_instance_is_stored_by_stow_rs(said: dict[str, Any], files: dict[str, Path]) -> None:
    assert said["emptied"]["Instances"] == 0
    assert said["stowed"] == said["stored"]
    assert {one["uid"] for one in said["stow"]} == set(files)


def test_it_serves_what_was_stored(said: dict[str, Any], files: dict[str, Path]) -> None:
    for one in said["stow"]:
        assert Path(one["file"]).read_bytes() == files[one["uid"]].read_bytes()
        assert one["web"] > 0.9 * files[one["uid"]].stat().st_size
    for one in said["c_store"]:  # whose file meta information is the PACS's own
        ours, theirs = dcmread(files[one["uid"]]), dcmread(one["file"])
        assert theirs.file_meta.TransferSyntaxUID == ours.file_meta.TransferSyntaxUID
        assert theirs == ours


def test_it_shows_the_first_and_the_last_frame(said: dict[str, Any]) -> None:
    shown = {one["uid"]: one["shown"] for one in said["c_store"]}
    assert all(set(found) == {200} for found in shown.values()), shown


def test_it_sees_the_pyramid_of_a_slide(
    said: dict[str, Any], outputs: dict[str, Path], files: dict[str, Path]
) -> None:
    headers = [dcmread(path, stop_before_pixels=True) for path in files.values()]
    levels = [one for one in headers if "TotalPixelMatrixColumns" in one]
    sizes = sorted(
        ([one.TotalPixelMatrixColumns, one.TotalPixelMatrixRows] for one in levels), reverse=True
    )
    (pyramid,) = said["slides"].values()
    assert len(sizes) == len(list(outputs["slide"].glob("*.dcm")))
    assert pyramid["sizes"] == sizes
    assert set(pyramid["tiles"]) == {200}
