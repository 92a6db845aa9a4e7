"""Pictures of products, small enough to lie inside the run report."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from PIL import Image, ImageOps

from workflows.batch.page_facts import Row

MOST = 24
"""Products whose pictures a report holds: about 4 MB of them."""
SIDE = 512
"""Longest side of a picture in a report, in pixels."""
QUALITY = 88
"""Of WebP: what the network added must not be taken for the packing's."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture as text."""

    uri: str
    """All of it, as a data: URI."""
    width: int
    """In pixels."""
    height: int
    """In pixels."""


@dataclass(frozen=True, slots=True)
class Card:
    """The same ground before and after."""

    row: Row
    """The scene."""
    before: Picture
    """The input."""
    after: Picture
    """What the network made of it."""


def make_cards(rows: Iterable[Row], outbox: Path) -> tuple[Card, ...]:
    """Cards of the first products whose pictures can be read."""
    cards = (_card(row, outbox) for row in rows if row.scene.status == "done")
    return tuple(islice((card for card in cards if card is not None), MOST))


def _card(row: Row, outbox: Path) -> Card | None:
    """None without pictures: a report is written whatever has become of them."""
    if row.scene.pictures is None:
        return None
    try:
        before, after = (_embed(outbox / path) for path in row.scene.pictures)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
    return Card(row, before, after)


def _embed(path: Path) -> Picture:
    """A picture packed anew; Pillow raises all sorts of errors for broken ones."""
    with Image.open(path) as image:
        small = image.convert("RGBA" if image.has_transparency_data else "RGB")
    if max(small.size) > SIDE:
        small = ImageOps.contain(small, (SIDE, SIDE))
    packed = io.BytesIO()
    small.save(packed, "WEBP", quality=QUALITY)
    text = base64.b64encode(packed.getvalue()).decode()
    return Picture(f"data:image/webp;base64,{text}", small.width, small.height)
