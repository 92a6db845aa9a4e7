"""Names, cards and scales."""

import json
from pathlib import Path

import pytest

import espcn

SHIPPED = {
    "ct": (2,),
    "general": (2, 3, 4),
    "landsat": (2, 3),
    "mr": (2,),
    "paper": (3, 4),
    "sentinel2": (2, 3, 4),
}
"""Domains and their scales."""


def test_models_ship_with_what_a_reader_wants_to_know() -> None:
    cards = espcn.shipped()
    named = [(name, scale) for name, scales in SHIPPED.items() for scale in scales]
    assert [card.name for card in cards] == [f"{name}-x{scale}" for name, scale in named]
    for card, (_, scale) in zip(cards, named, strict=True):
        assert (card.scale, card.bands, card.halo) == (scale, 1, 4)
        paper = card.name.startswith("paper")
        assert card.equivariant is not paper
        assert card.input_range == ((0.0, 1.0) if paper else None)
        figure = "set5_psnr_y" if "set5_psnr_y" in card.metrics else "validation_psnr"
        assert card.metrics[figure] > card.metrics[f"{figure}_bicubic"]
        data = card.provenance.get("training_sets") or card.provenance["training_data"]
        assert "set5" not in data.lower().partition("never")[0]
        assert json.loads(card.as_json())["sha256"] == card.sha256


@pytest.mark.parametrize(("name", "halo"), [("bicubic", 2), ("nearest", 0)])
def test_models_without_weights_take_any_scale(name: str, halo: int) -> None:
    assert espcn.describe(name).scale == 2
    cards = [espcn.describe(name, scale=scale) for scale in (2, 3, 4, 8)]
    assert [card.scale for card in cards] == [2, 3, 4, 8]
    assert {card.halo for card in cards} == {halo}
    assert all(card.equivariant for card in cards)
    assert len({card.sha256 for card in cards}) == len(cards)
    for scale in (0, 1, 9, -2):
        with pytest.raises(espcn.ModelError, match="2 to 8"):
            espcn.describe(name, scale=scale)


def test_a_scale_may_confirm_but_not_contradict() -> None:
    assert espcn.describe("general-x3", scale=3).scale == 3
    with pytest.raises(espcn.ModelError, match="enlarges by 3, not by 2"):
        espcn.describe("general-x3", scale=2)


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(espcn.ModelError, match=r"did you mean general-x\d\?"):
        espcn.describe("generl-x3")
    with pytest.raises(espcn.ModelError, match="did you mean bicubic"):
        espcn.load("bicubik")
    with pytest.raises(espcn.ModelError, match=r"\.safetensors file"):
        espcn.describe("zzz")


def test_a_file_beside_us_does_not_hide_a_shipped_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "general-x2").write_bytes(b"an output somebody named like a model")
    monkeypatch.chdir(tmp_path)
    assert espcn.describe("general-x2").scale == 2
    assert espcn.load("general-x2").address.model == "general-x2"
