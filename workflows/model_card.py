"""A model's card: what it is, what it was made of, how well it does, and what it is not for."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from espcn.evaluation import Figures

if TYPE_CHECKING:
    from espcn.course import Trained
    from workflows.train_options import Training
    from workflows.training_data import Samples

NEVER = (
    "Do not measure in its output what the input does not resolve. Fine detail is what is likely "
    "there, learned from other images; it is no observation, and no basis for a diagnosis, an "
    "identification or an area of single objects."
)
"""True of all super-resolution."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a card is written from."""

    name: str
    """Of the model."""
    training: Training
    """What was asked for."""
    samples: Samples
    """What it was trained on and measured with."""
    trained: Trained
    """What came of it."""
    origin: dict[str, str]
    """Provenance, as the weights file has it."""
    bands: dict[str, tuple[Figures, Figures]]
    """(ours, bicubic's) by band, on what was held back; 'all' is their mean."""

    @property
    def verdict(self) -> str:
        """pass, or fail and why."""
        return self.origin["verdict"]

    @property
    def metrics(self) -> dict[str, float]:
        """Figures for the weights file."""
        ours, theirs = (figures.whole for figures in self.bands["all"])
        named = {
            "validation_psnr": ours.psnr,
            "validation_psnr_bicubic": theirs.psnr,
            "validation_ssim": ours.ssim,
            "validation_ssim_bicubic": theirs.ssim,
            "validation_rmse": ours.rmse,
            "validation_rmse_bicubic": theirs.rmse,
            "validation_bias": ours.bias,
            "validation_consistency": ours.consistency,
        }
        return {name: round(value, 4) for name, value in named.items()}


def card_text(facts: Facts) -> str:
    """The card in Markdown."""
    return "\n".join(_lines(facts)) + "\n"


def _lines(facts: Facts) -> Iterator[str]:
    card, recipe = facts.training.card, facts.trained.recipe
    yield f"# {facts.name}"
    yield ""
    yield card.title or f"ESPCN (arXiv 1609.05158), x{recipe.scale}."
    yield ""
    yield f"Verdict: **{facts.verdict}**"
    if facts.trained.interrupted:
        yield f"(interrupted after {facts.trained.steps} of {recipe.steps} steps)"
    yield from _section("Data", _data(facts))
    yield from _section("How well it does", _quality(facts))
    yield from _section("Tested on", [card.domain or "Nothing but what was held back."])
    yield from _section("What it is not for", filter(None, [card.misuse, NEVER]))
    yield from _section("How it was made", _making(facts))


def _section(title: str, lines: Sequence[str] | Iterator[str]) -> Iterator[str]:
    yield from ("", f"## {title}", "")
    yield from lines


def _data(facts: Facts) -> Iterator[str]:
    samples, card = facts.samples, facts.training.card
    yield card.data or "The user's own data; its origin was not stated."
    yield ""
    yield f"Terms: {card.terms or 'not stated.'}"
    yield ""
    pixels = sum(sample.pixels.size for sample in samples.train)
    yield (
        f"{len(samples.train)} samples of {pixels / 1e6:.1f} Mpx were trained on, "
        f"{len(samples.validation)} held back ({facts.origin['split']}; which they are stands in "
        f"`{facts.training.folder.name}/split.json`). Fingerprint of both: `{samples.fingerprint}`."
    )
    if "value_range" in facts.origin:
        yield (
            f"The network knows values from {' to '.join(facts.origin['value_range'].split())}; "
            "`--set radiometry.input_range='[low, high]'` gives other data theirs."
        )
    left_out = ", ".join(f"{count} {reason}" for reason, count in samples.left_out.items())
    if left_out:
        yield f"Windows left out: {left_out}."
    for note in samples.notes:
        yield f"Note: {note}."
    if samples.skipped:
        yield ""
        yield f"Not used, or not all of it ({len(samples.skipped)}):"
        yield ""
        for skip in samples.skipped:
            yield f"- `{'/'.join(Path(skip.uri).parts[-2:])}` {skip.reason}"


def _quality(facts: Facts) -> Iterator[str]:
    options = facts.training.degradation
    kind = f"{options.kind} ({options.sensor})" if options.kind == "sensor" else options.kind
    yield (
        f"What was held back is degraded ({kind}, x{facts.trained.recipe.scale}), restored and "
        "compared with what it was, without a border of as many pixels as the scale. Errors are in "
        "counts of the data; PSNR refers to each sample's own range of values."
    )
    yield ""
    yield "| band | PSNR, dB | bicubic | SSIM | bicubic | RMSE | bicubic | bias | consistency |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for name, (one, other) in facts.bands.items():
        ours, theirs = one.whole, other.whole
        yield (
            f"| {name} | {ours.psnr:.2f} | {theirs.psnr:.2f} | {ours.ssim:.4f} | "
            f"{theirs.ssim:.4f} | {ours.rmse:.4g} | {theirs.rmse:.4g} | {ours.bias:+.3g} | "
            f"{ours.consistency:.3g} |"
        )


def _making(facts: Facts) -> Iterator[str]:
    trained = facts.trained
    packages = ", ".join(f"{name} {version(name)}" for name in ("espcn", "torch", "numpy"))
    yield (
        f"{trained.steps} of {trained.recipe.steps} steps in {trained.seconds / 60:.1f} minutes on "
        f"{trained.device}; {packages}, Python {platform.python_version()}. "
        f"{trained.waiting:.1%} of the time steps waited for data."
    )
    yield ""
    yield "| option | value |"
    yield "|---|---|"
    sections = ("data", "degradation")
    for section in sections:
        options = getattr(facts.training, section)
        for field in fields(options):
            yield f"| {section}.{field.name} | {getattr(options, field.name)} |"
    for field in fields(trained.recipe):
        yield f"| recipe.{field.name} | {getattr(trained.recipe, field.name)} |"
    yield ""
    yield "| step | loss | PSNR, dB | bicubic |"
    yield "|---|---|---|---|"
    for row in trained.history:
        yield (
            f"| {row['step']:.0f} | {row['loss']:.4f} | {row['psnr']:.3f} | "
            f"{row['psnr_bicubic']:.3f} |"
        )
