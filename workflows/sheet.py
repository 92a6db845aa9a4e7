"""A sheet of what a network did to pictures: the truth, what it saw, bicubic, and what it made.

One row per picture, the same place in all four panels; the figures over them are those of the whole
picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from espcn.evaluation import Figures, Pixels, Trial
from pipeline.tiling import Window
from workflows.drawing import Panel, Picture, Row, candidates, detail, make_image, make_tone, repeat

SIDE = 192
"""Side of the place in fine pixels, rounded down to whole LR pixels."""
PANEL = 384
"""Panels are enlarged by whole numbers to about this many pixels."""
MOST = 12
"""Rows of a sheet: nobody looks at hundreds."""


@dataclass(frozen=True, slots=True)
class Look:
    """How a picture is shown."""

    name: str
    """Below its row."""
    model: str
    """Over what the network made."""
    bands: tuple[int, ...]
    """0-based positions of the one or three that are seen."""
    photograph: bool
    """Whether its values are shades already."""


def make_row(trial: Trial, ours: Figures, bicubic: Figures, look: Look) -> Row:
    """One row: the most detailed of a few fixed places of the picture."""
    scale = trial.degradation.scale
    window = _place(trial, look)
    fine = window.fine(scale)
    truth = _cut(trial.truth, fine, look)
    tone = make_tone(truth, photograph=look.photograph)
    low = repeat(_cut(trial.low, window, look), scale)
    panels = (
        Panel("HR", make_image(truth, tone)),
        Panel(f"LR x{scale}", make_image(low, tone)),
        Panel("bicubic", make_image(_cut(trial.bicubic, fine, look), tone), _figures(bicubic)),
        Panel(look.model, make_image(_cut(trial.restored, fine, look), tone), _figures(ours)),
    )
    return Row(panels, look.name)


def _place(trial: Trial, look: Look) -> Window:
    """In LR pixels."""
    height, width = trial.low.shape[1:]
    scale = trial.degradation.scale
    windows = candidates(height, width, max(1, SIDE // scale))
    return max(windows, key=lambda window: detail(_cut(trial.truth, window.fine(scale), look)))


def _cut(pixels: Pixels, window: Window, look: Look) -> Picture:
    part: Picture = pixels[:, *window.slices][list(look.bands)].astype(np.float32)
    return part


def _figures(figures: Figures) -> str:
    return f"{figures.whole.psnr:.2f} dB   {figures.whole.ssim:.4f}"
