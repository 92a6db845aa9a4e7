"""A picture for the eye: input, bicubic and super-resolved side by side.

    +--------------------------------------------------+
    | input            bicubic           general-x2    |
    | +------------+   +------------+   +------------+ |
    | |            |   |            |   |            | |
    | +------------+   +------------+   +------------+ |
    | scene.tif   x2   rows 512 to 639, ...             |
    +--------------------------------------------------+

The window is the most detailed of a few fixed candidates: the same job shows the same place.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pipeline.errors import PublishError
from pipeline.options import SourceOptions
from pipeline.plan import Plan
from pipeline.profile import Profile
from pipeline.radiometry import Mask, Pixels, validity
from pipeline.sources import Source, open_source
from pipeline.stage import replacing
from pipeline.tiling import Window

SIDE = 128
"""Side of the window in LR pixels."""
PROBES = 6
"""Candidates along each axis."""
PANEL = 512
"""Panels are enlarged by whole numbers to about this many pixels."""
STRETCH, GAMMA = (0.5, 98.5), 0.8
"""Percentiles that become black and white, and the exponent in between; not of photographs."""
MARGIN, HEAD, FOOT, GAP = 24, 56, 48, 16
"""Pixels around and between the panels."""
CAPTION = 160
"""Room for a caption over a narrow panel."""
PAPER, INK, FAINT, VOID = (17, 20, 24), (236, 238, 240), (140, 148, 156), (34, 39, 46)
"""Colours of the sheet, its captions, its footnote and invalid pixels."""

Picture = NDArray[np.float32]
"""(band, y, x) with one or three bands; NaN where invalid."""


@dataclass(frozen=True, slots=True)
class Tone:
    """From values to shades of grey."""

    limits: tuple[tuple[float, float], ...]
    """(black, white) of each band."""
    gamma: float
    """Exponent in between."""


def write_preview(plan: Plan, target: Path) -> Path:
    """Draw the preview of a finished output beside it; returns its path.

    Raises SourceError if the input or the output cannot be read, PublishError if the picture
    cannot be written.
    """
    coarse = plan.source.open(plan.profile.identity)
    fine = open_source(str(target), SourceOptions(categorical="light", max_pixels=2**62))
    window, scale = choose_window(coarse), plan.provenance.scale
    bands = visible_bands(plan.profile)
    low = _picture(coarse, window, bands)
    high = _picture(fine, window.fine(scale), bands)
    tone = _tone(plan.profile, low)
    panels = [
        ("input", _image(_repeat(low, scale), tone)),
        ("bicubic", _image(_bicubic(coarse, window, bands, scale), tone)),
        (plan.provenance.model, _image(high, tone)),
    ]
    path = preview_path(target)
    try:
        with replacing(path) as file:
            _sheet(panels, _footnote(plan, window)).save(file, "PNG", optimize=True)
    except OSError as error:
        raise PublishError(f"cannot be written ({error.strerror})", uri=str(path)) from error
    return path


def preview_path(target: Path) -> Path:
    """Where the preview of an output lies."""
    return target.with_name(f"{target.name}.preview.png")


def choose_window(source: Source) -> Window:
    """The candidate with the steepest edges per spread of values, valid pixels counting only."""
    height, width = source.profile.height, source.profile.width
    tall, wide = min(SIDE, height), min(SIDE, width)
    corners = {
        (round(i * (height - tall) / (PROBES - 1)), round(j * (width - wide) / (PROBES - 1)))
        for i in range(PROBES)
        for j in range(PROBES)
    }
    windows = [Window(y, x, tall, wide) for y, x in sorted(corners)]
    bands = visible_bands(source.profile)
    return max(windows, key=lambda window: _detail(_picture(source, window, bands)))


def visible_bands(profile: Profile) -> tuple[int, ...]:
    """0-based positions of red, green and blue; else of the first three bands, or of one."""
    colours = [band.colour for band in profile.bands]
    if all(name in colours for name in ("red", "green", "blue")):
        return tuple(colours.index(name) for name in ("red", "green", "blue"))
    seen = [i for i, band in enumerate(profile.bands) if band.role != "alpha"] or [0]
    return tuple(seen[:3]) if len(seen) >= 3 else (seen[0],)


def _detail(picture: Picture) -> float:
    """Mean step between neighbours; windows with gaps come last."""
    grey = picture.mean(axis=0)
    valid = float(np.isfinite(grey).mean())
    steps = np.concatenate([np.abs(np.diff(grey, axis=i)).ravel() for i in (0, 1)])
    steps = steps[np.isfinite(steps)]
    return float(steps.mean()) * valid**8 if steps.size else -1.0


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
    if profile.dtype == "uint8" and profile.driver in ("PNG", "JPEG"):
        return Tone(((0.0, 255.0),) * len(picture), 1.0)
    found = []
    for band in picture:
        values = band[np.isfinite(band)]
        low, high = np.percentile(values, STRETCH) if values.size else (0.0, 1.0)
        found.append((float(low), float(max(high, low + 1e-6 * max(abs(low), 1)))))
    return Tone(tuple(found), GAMMA)


def _image(picture: Picture, tone: Tone) -> Image.Image:
    """8-bit RGB, invalid pixels dark."""
    invalid = ~np.isfinite(picture).all(axis=0)
    bands = [
        np.clip((band - low) / (high - low), 0, 1) ** tone.gamma
        for band, (low, high) in zip(np.where(invalid, 0, picture), tone.limits, strict=True)
    ]
    grey = np.stack(bands if len(bands) == 3 else bands * 3, axis=-1)
    grey = np.rint(255 * grey).astype(np.uint8)
    grey[invalid] = VOID
    return Image.fromarray(grey)


def _repeat(picture: Picture, scale: int) -> Picture:
    return picture.repeat(scale, axis=1).repeat(scale, axis=2)


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
        f"{Path(plan.profile.uri).name}   x{scale}   rows {window.y} to {window.stop_y - 1}, "
        f"columns {window.x} to {window.stop_x - 1}"
    )


def _sheet(panels: list[tuple[str, Image.Image]], footnote: str) -> Image.Image:
    """Panels in a row with captions above and a footnote below."""
    width, height = panels[0][1].size
    zoom = max(1, PANEL // max(width, height))
    width, height = width * zoom, height * zoom
    cell = max(width, CAPTION) + GAP
    sheet = Image.new("RGB", (2 * MARGIN + 3 * cell - GAP, HEAD + height + FOOT), PAPER)
    pen = ImageDraw.Draw(sheet)
    caption, small = ImageFont.load_default(size=22), ImageFont.load_default(size=15)
    for i, (name, image) in enumerate(panels):
        x = MARGIN + i * cell
        pen.text((x, HEAD / 2), name, INK, font=caption, anchor="lm")
        sheet.paste(image.resize((width, height), Image.Resampling.NEAREST), (x, HEAD))
    pen.text((MARGIN, HEAD + height + FOOT / 2), footnote, FAINT, font=small, anchor="lm")
    return sheet
