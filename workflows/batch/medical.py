"""What a product of DICOM says of itself in place of a STAC item: how it was made, not of whom.

A body lies nowhere on the Earth, and its series says all there is to say in its own headers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pipeline.serial import to_json
from workflows.batch.outcome import Check
from workflows.batch.stac_assets import FileFacts

if TYPE_CHECKING:
    from workflows.batch.product import Made, MadeAsset

FACTS = "facts.json"
"""Name of the file, within the product's folder."""
DRAWN = ("CT", "MR", "PT", "NM", "SM")
"""Modalities whose frames are what was measured: text burned into others may tell whom they show,
and pictures go into the report."""


def may_be_drawn(one: MadeAsset) -> bool:
    """Whether a picture of it tells nothing but what was measured."""
    profile = one.plan.profile
    grey = len(profile.bands) == 1 or profile.slide
    return not profile.medical or (grey and profile.dicom.get("Modality") in DRAWN)


def facts_of(made: Made, checks: Sequence[Check], files: Mapping[str, FileFacts]) -> bytes:
    """The text of the file."""
    text = {
        "product": made.product,
        "made": made.made,
        "key": made.key,
        "options": made.options,
        "research_use": "Derived by super-resolution. For research, not for diagnosis.",
        "images": [_image(one) for one in made.assets],
        "notes": list(made.scene.notes),
        "checks": [to_json(check) for check in checks],
        "files": {name: to_json(facts) for name, facts in files.items()},
    }
    return (json.dumps(text, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _image(one: MadeAsset) -> dict[str, object]:
    plan, fine = one.plan, one.plan.fine
    return {
        "key": one.asset.key,
        "href": one.target.name,
        "frames": fine.frames,
        "rows": fine.height,
        "columns": fine.width,
        **{
            name: getattr(plan.provenance, name)
            for name in ("software", "model", "sha256", "scale", "backend", "consistency")
        },
    }
