"""A picture for the eye: input, bicubic and super-resolved side by side, as `drawing` lays out.

The window is the most detailed of a few fixed candidates of the middle frame: the same job shows
the same place.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.options import READ_BACK
from pipeline.plan import Plan
from pipeline.profile import Profile
from pipeline.radiometry import Mask, Pixels, validity
from pipeline.sources import Source, open_source
from pipeline.tiling import Window
from workflows.drawing import (
    Panel,
    Picture,
    Row,
    Tone,
    candidates,
    detail,
    draw_sheet,
    make_image,
    make_tone,
    repeat,
    visible_bands,
    write_png,
)
from workflows.frames import middle

SIDE = 128
"""Side of the window in LR pixels."""
PANEL = 512
"""Panels are enlarged by whole numbers to about this many pixels."""


def write_preview(plan: Plan, target: Path) -> Path:
    """Draw the preview of a finished output beside it; returns its path.

    Raises SourceError if the input or the output cannot be read, PublishError if the picture
    cannot be written.
    """
    coarse = middle(plan.source.open(plan.profile.identity))
    fine = middle(open_source(str(target), READ_BACK))
    window, scale = choose_window(coarse), plan.provenance.scale
    bands = visible_bands(plan.profile)
    low = _picture(coarse, window, bands)
    high = _picture(fine, window.fine(scale), bands)
    tone = _tone(plan.profile, low)
    panels = (
        Panel("input", make_image(repeat(low, scale), tone)),
        Panel("bicubic", make_image(_bicubic(coarse, window, bands, scale), tone)),
        Panel(plan.provenance.model, make_image(high, tone)),
    )
    sheet = draw_sheet([Row(panels, _footnote(plan, window))], panel=PANEL)
    return write_png(sheet, preview_path(target))


def preview_path(target: Path) -> Path:
    """Where the preview of an output lies."""
    return target.with_name(f"{target.name}.preview.png")


def choose_window(source: Source) -> Window:
    """The candidate with the steepest edges per spread of values, valid pixels counting only."""
    bands = visible_bands(source.profile)
    windows = candidates(source.profile.height, source.profile.width, SIDE)
    return max(windows, key=lambda window: detail(_picture(source, window, bands)))


def _picture(source: Source, window: Window, bands: tuple[int, ...]) -> Picture:
    """Visible bands of a window inside the image."""
    pixels = source.read(window)
    valid = validity(source.profile, pixels, source.mask(window))
    return _masked(pixels, valid, bands)


def _masked(pixels: Pixels, valid: Mask | None, bands: tuple[int, ...]) -> Picture:
    chosen = pixels[list(bands)].astype(np.float32)
    if valid is not None:
        chosen[:, ~valid[list(bands)].all(axis=0)] = np.nan
    return chosen


def _tone(profile: Profile, picture: Picture) -> Tone:
    """How all three panels are shown."""
    photograph = profile.dtype == "uint8" and profile.driver in ("PNG", "JPEG")
    return make_tone(picture, photograph=photograph)


def _bicubic(source: Source, window: Window, bands: tuple[int, ...], scale: int) -> Picture:
    """The window enlarged by Pillow, with context so that its border is right."""
    profile = source.profile
    outer = window.grow(4).clip(profile.height, profile.width)
    picture = _picture(source, outer, bands)
    invalid = np.asarray(~np.isfinite(picture).all(axis=0))
    filled = np.where(invalid, np.nanmean(picture) if not invalid.all() else 0, picture)
    size = (outer.width * scale, outer.height * scale)
    enlarged = np.stack(
        [np.asarray(Image.fromarray(b).resize(size, Image.Resampling.BICUBIC)) for b in filled]
    )
    enlarged[:, np.kron(invalid, np.ones((scale, scale), bool))] = np.nan
    y, x = window.within(outer).fine(scale).slices
    return enlarged[:, y, x]


def _footnote(plan: Plan, window: Window) -> str:
    scale = plan.provenance.scale
    return (
        f"{Path(plan.profile.label).name}   x{scale}   rows {window.y} to {window.stop_y - 1}, "
        f"columns {window.x} to {window.stop_x - 1}"
    )
