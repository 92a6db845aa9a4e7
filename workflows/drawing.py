"""What sheets of pictures are drawn of: tones, panels with captions, rows of panels.

+--------------------------------------------------+
| input            bicubic           general-x2    |   name
| (figures)        (figures)         (figures)     |   if there are any
| +------------+   +------------+   +------------+ |
| |            |   |            |   |            | |
| +------------+   +------------+   +------------+ |
| scene.tif   x2   rows 512 to 639, ...            |   footnote
+--------------------------------------------------+   and so on, row below row
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pipeline.errors import PublishError
from pipeline.profile import Profile
from pipeline.stage import replacing
from pipeline.tiling import Window

PROBES = 6
"""Candidates along each axis for the place that is shown."""
STRETCH, GAMMA = (0.5, 98.5), 0.8
"""Percentiles that become black and white, and the exponent in between; not of photographs."""
MARGIN, HEAD, FOOT, GAP = 24, 56, 48, 16
"""Pixels around and between the panels."""
CAPTION = 160
"""Room for a caption over a narrow panel."""
PAPER, INK, FAINT, VOID = (17, 20, 24), (236, 238, 240), (140, 148, 156), (34, 39, 46)
"""Colours of the sheet, its captions, its footnotes and invalid pixels."""

Picture = NDArray[np.float32]
"""(band, y, x) with one or three bands; NaN where invalid."""


@dataclass(frozen=True, slots=True)
class Tone:
    """From values to shades of grey."""

    limits: tuple[tuple[float, float], ...]
    """(black, white) of each band."""
    gamma: float = 1.0
    """Exponent in between."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture of a row."""

    name: str
    """What it shows."""
    image: Image.Image
    """8-bit RGB, of one size throughout a sheet."""
    figures: str = ""
    """What was measured of it."""


@dataclass(frozen=True, slots=True)
class Row:
    """Panels side by side."""

    panels: tuple[Panel, ...]
    """From left to right."""
    footnote: str
    """Where they come from."""


def visible_bands(profile: Profile) -> tuple[int, ...]:
    """0-based positions of red, green and blue; else of the first three bands, or of one."""
    colours = [band.colour for band in profile.bands]
    if all(name in colours for name in ("red", "green", "blue")):
        return tuple(colours.index(name) for name in ("red", "green", "blue"))
    seen = [i for i, band in enumerate(profile.bands) if band.role != "alpha"] or [0]
    return tuple(seen[:3]) if len(seen) >= 3 else (seen[0],)


def candidates(height: int, width: int, side: int) -> list[Window]:
    """The windows of an image among which the most detailed one is shown."""
    tall, wide = min(side, height), min(side, width)
    corners = {
        (round(i * (height - tall) / (PROBES - 1)), round(j * (width - wide) / (PROBES - 1)))
        for i in range(PROBES)
        for j in range(PROBES)
    }
    return [Window(y, x, tall, wide) for y, x in sorted(corners)]


def detail(picture: Picture) -> float:
    """Mean step between neighbours; windows with gaps come last."""
    grey = picture.mean(axis=0)
    valid = float(np.isfinite(grey).mean())
    steps = np.concatenate([np.abs(np.diff(grey, axis=i)).ravel() for i in (0, 1)])
    steps = steps[np.isfinite(steps)]
    return float(steps.mean()) * valid**8 if steps.size else -1.0


def make_tone(picture: Picture, *, photograph: bool) -> Tone:
    """How values like these are shown; those of a photograph are shades already."""
    if photograph:
        return Tone(((0.0, 255.0),) * len(picture))
    found = []
    for band in picture:
        values = band[np.isfinite(band)]
        low, high = np.percentile(values, STRETCH) if values.size else (0.0, 1.0)
        found.append((float(low), float(max(high, low + 1e-6 * max(abs(low), 1)))))
    return Tone(tuple(found), GAMMA)


def make_image(picture: Picture, tone: Tone) -> Image.Image:
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


def repeat(picture: Picture, scale: int) -> Picture:
    """Every pixel as scale x scale equal ones."""
    return picture.repeat(scale, axis=1).repeat(scale, axis=2)


def draw_sheet(rows: Sequence[Row], *, panel: int) -> Image.Image:
    """The rows below each other, panels enlarged by whole numbers to about `panel` pixels."""
    columns = max(len(row.panels) for row in rows)
    width, height = _largest(rows)
    zoom = max(1, panel // max(width, height))
    width, height = width * zoom, height * zoom
    cell, tall = max(width, CAPTION) + GAP, HEAD + height + FOOT
    size = (2 * MARGIN + columns * cell - GAP, tall * len(rows))
    sheet = Image.new("RGB", size, PAPER)
    pen = ImageDraw.Draw(sheet)
    small = ImageFont.load_default(size=15)
    for i, row in enumerate(rows):
        top = i * tall
        for j, each in enumerate(row.panels):
            x = MARGIN + j * cell
            _caption(pen, (x, top), each)
            shown = (each.image.width * zoom, each.image.height * zoom)
            sheet.paste(each.image.resize(shown, Image.Resampling.NEAREST), (x, top + HEAD))
        foot = top + HEAD + height + FOOT / 2
        pen.text((MARGIN, foot), row.footnote, FAINT, font=small, anchor="lm")
    return sheet


def png_bytes(sheet: Image.Image) -> bytes:
    """A sheet as a file."""
    file = BytesIO()
    sheet.save(file, "PNG", optimize=True)
    return file.getvalue()


def write_png(sheet: Image.Image, path: Path) -> Path:
    """Write a sheet in one step; raises PublishError."""
    try:
        with replacing(path) as file:
            file.write(png_bytes(sheet))
    except OSError as error:
        raise PublishError(f"cannot be written ({error.strerror})", uri=str(path)) from error
    return path


def _largest(rows: Sequence[Row]) -> tuple[int, int]:
    images = [panel.image for row in rows for panel in row.panels]
    return max(image.width for image in images), max(image.height for image in images)


def _caption(pen: ImageDraw.ImageDraw, corner: tuple[float, float], panel: Panel) -> None:
    """The name, and what was measured below it, over a panel."""
    x, top = corner
    name = top + HEAD * (0.32 if panel.figures else 0.5)
    pen.text((x, name), panel.name, INK, font=ImageFont.load_default(size=22), anchor="lm")
    if panel.figures:
        small = ImageFont.load_default(size=15)
        pen.text((x, top + HEAD * 0.76), panel.figures, FAINT, font=small, anchor="lm")
