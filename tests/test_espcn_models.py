"""Names, cards and scales."""

import json
from pathlib import Path

import pytest

import espcn


def test_three_models_ship_with_what_a_reader_wants_to_know() -> None:
    cards = espcn.shipped()
    assert [card.name for card in cards] == ["general-x2", "general-x3", "general-x4"]
    for card, scale in zip(cards, (2, 3, 4), strict=True):
        assert (card.scale, card.bands, card.halo) == (scale, 1, 4)
        assert card.equivariant
        assert card.input_range is None
        assert card.metrics["set5_psnr_y"] > card.metrics["set5_psnr_y_bicubic"]
        assert card.provenance["training_sets"]
        assert "set5" not in card.provenance["training_sets"].lower()
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
