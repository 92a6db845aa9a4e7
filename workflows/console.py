"""Tables for people: profiles, models, plans, results and options."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table

from espcn import Card
from pipeline.fate import Fate
from pipeline.plan import mib
from pipeline.profile import Band, Profile
from pipeline.serial import to_json
from workflows.catalogue import Subject, catalogue
from workflows.config import Settings
from workflows.facts import Facts, Input
from workflows.report import Report

if TYPE_CHECKING:
    from espcn.evaluation import Quality
    from workflows.evaluate import Evaluation
    from workflows.inspect_dicom import Inspection

PIPED_WIDTH = 10_000
"""Columns where nobody looks: lines of a pipe or a file are never broken."""
COLOURS = {"kept": "green", "changed": "yellow", "dropped": "red"}
"""Of the outcomes of metadata."""


def open_console(*, stderr: bool = False) -> Console:
    """The terminal, or whatever stands in for it."""
    console = Console(stderr=stderr, highlight=False)
    piped = None if console.is_terminal else PIPED_WIDTH
    return Console(stderr=stderr, highlight=False, width=piped, markup=True)


def show_line(console: Console, line: str) -> None:
    """One line, never broken and free of markup."""
    console.print(line, soft_wrap=True, markup=False)


def show_warning(console: Console, message: str) -> None:
    """What a user should know, as errors are shown."""
    show_line(console, f"espcn: warning: {message}")


def show_profile(console: Console, profile: Profile) -> None:
    """What is known of a raster."""
    georef = profile.georef
    crs = (georef.crs or georef.gcps_crs or "none").split('"')
    rows = [
        ("file", profile.uri),
        ("format", profile.driver),
        ("size", f"{profile.width} x {profile.height} px, {len(profile.bands)} bands"),
        ("data type", f"{profile.dtype}, {_size(profile.nbytes)} uncompressed"),
        ("stored in", f"blocks of {profile.block[1]} x {profile.block[0]} px"),
        ("reference system", crs[1] if len(crs) > 1 else crs[0]),
        ("transform", _numbers(georef.affine) if georef.affine else "none"),
        ("corners", _corners(profile)),
        ("control points", str(len(georef.gcps)) if georef.gcps else ""),
        ("RPCs", "yes" if georef.rpcs else ""),
        ("nodata", "" if profile.nodata is None else f"{profile.nodata:g}"),
        ("mask", "per dataset" if profile.mask else ""),
        ("photometry", "0 is white" if profile.white_is_zero else ""),
        ("saturated at", "" if profile.saturated is None else f"{profile.saturated:g}"),
    ]
    tags = [(f"{ns}:{k}" if ns else k, v) for ns, d in profile.tags.items() for k, v in d.items()]
    console.print(_table(("", ""), [row for row in [*rows, *tags] if row[1]], header=False))
    columns = ("band", "name", "role", "colour", "unit", "scale", "offset", "tags")
    console.print(_table(columns, [_band_row(band) for band in profile.bands]))


def show_dicom(console: Console, inspection: Inspection) -> None:
    """Series, and what is not used."""
    from workflows.inspect_dicom import rows_of

    console.print(_table(("", ""), rows_of(inspection), header=False))


def show_models(console: Console, cards: Iterable[Card]) -> None:
    """What ships."""
    columns = ("model", "scale", "bands", "halo", "activation", "measured", "verdict", "sha256")
    console.print(_table(columns, [_model_row(card) for card in cards]))


def frames_of(source: Input) -> str:
    """What is added to a size where there are several images of it."""
    return f", {source.frames} frames" if source.frames > 1 else ""


def show_facts(console: Console, facts: Facts) -> None:
    """The plan of a job."""
    source, model, work = facts.source, facts.provenance, facts.work
    processes = f"{work.workers} processes x " if work.workers else ""
    steps = f"{model.consistency} steps of consistency with {model.degradation}"
    low, high = source.value_range or (0.0, 0.0)
    size = f"{source.width} x {source.height} px" + frames_of(source)
    rows = [
        ("source", source.path),
        ("", f"{size}, {len(source.bands)} bands, {source.dtype}"),
        ("model", f"{model.model}, x{model.scale}, sha256 {model.sha256[:12]}, {model.backend}"),
        *([("", steps)] if model.consistency else []),
        *([("", f"sees {low:.9g} to {high:.9g} as its range")] if source.value_range else []),
        ("tiles", f"{work.tiles} of {work.side} px, halo {work.halo}"),
        ("workers", f"{processes}{work.threads} threads"),
        ("memory", f"{mib(work.memory_per_tile)} a tile, {mib(work.memory_per_thread)} a thread"),
    ]
    for output in facts.outputs:
        disk = (
            f"an estimated {_size(output.bytes_expected)}, {_size(output.bytes_needed)} while "
            f"it is made, {mib(output.bytes_free)} free"
        )
        rows += [
            ("output", output.path),
            ("", f"{output.width} x {output.height} px, {output.format}, {disk}"),
        ]
    console.print(_table(("", ""), rows, header=False))
    for output in facts.outputs:
        show_fates(console, output.metadata, title=Path(output.path).name)


def show_fates(console: Console, fates: Sequence[Fate], *, title: str) -> None:
    """What becomes of the metadata."""
    table = _table((f"metadata of {title}", "", ""), [])
    for fate in fates:
        table.add_row(fate.item, f"[{COLOURS[fate.outcome]}]{fate.outcome}[/]", _plain(fate.note))
    console.print(table)


def show_report(console: Console, report: Report, extras: Sequence[Path]) -> None:
    """What a finished job has made."""
    facts = report.facts
    for output, size in zip(facts.outputs, report.sizes, strict=True):
        bands = f"{len(facts.source.bands)} bands, {facts.source.dtype}{frames_of(facts.source)}"
        show_line(
            console, f"{output.path}  {output.width} x {output.height} px, {bands}, {_size(size)}"
        )
    for path in extras:
        show_line(console, str(path))
    kept = f", {report.resumed} of them kept from an earlier run" if report.resumed else ""
    speed = f"{report.megapixels_per_second:.1f} Mpx/s"
    show_line(console, f"{facts.work.tiles} tiles in {report.timings.total:.1f} s ({speed}){kept}")
    for warning in report.warnings:
        show_line(console, f"note: {warning}")


def show_evaluation(console: Console, evaluation: Evaluation) -> None:
    """How well a model did, picture by picture and on average, each time beside bicubic."""
    columns = ("picture", "PSNR dB", "SSIM", "RMSE", "bias", "consistency", "spectral angle")
    rows = [
        _quality_row(each.name, each.model.whole, each.bicubic.whole)
        for each in evaluation.pictures
    ]
    mean = _quality_row("mean", evaluation.mean, evaluation.mean_bicubic)
    facts = f"{evaluation.model}, x{evaluation.scale}, sha256 {evaluation.sha256[:12]}"
    show_line(console, f"{facts}; protocol {evaluation.protocol}; in brackets bicubic")
    console.print(_table(columns, [*rows, mean]))
    for skip in evaluation.skipped:
        show_line(console, f"skipped: {skip.uri}: {skip.reason}")
    for warning in evaluation.warnings:
        show_line(console, f"note: {warning}")


def _quality_row(name: str, ours: Quality, bicubic: Quality) -> tuple[str, ...]:
    formats = ("{:.2f}", "{:.4f}", "{:#.5g}", "{:+.2g}", "{:#.4g}", "{:.3f}")
    pairs = zip(astuple(ours), astuple(bicubic), formats, strict=True)
    cells = [
        "" if one is None else f"{form.format(one)} ({form.format(other)})"
        for one, other, form in pairs
    ]
    return (name, *cells)


def show_settings(console: Console, settings: Settings, subject: Subject) -> None:
    """Every option about a subject: value, who chose it, what it does."""
    options = catalogue(subject)
    rows = [
        (key, _value(s.value), s.origin, f"{options[key].doc} ({options[key].allowed})")
        for key, s in settings.items()
    ]
    console.print(_table(("option", "value", "from", "what it does"), rows))


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, header: bool = True) -> Table:
    table = Table(box=box.SIMPLE_HEAD if header else None, show_header=header, pad_edge=False)
    for number, name in enumerate(columns):
        table.add_column(name, style="bold" if number == 0 else "", overflow="fold")
    for row in rows:
        table.add_row(*(_plain(cell) for cell in row))
    return table


def _plain(text: str) -> str:
    """Text that is no markup, whatever a file's tags say, and has no control characters."""
    shown = "".join(c if c.isprintable() else " " for c in text)
    return shown.replace("[", r"\[")


def _size(size: int) -> str:
    """Bytes for people, small ones too."""
    return mib(size) if size >= 2**20 else f"{-(-size // 2**10)} KiB"


def _band_row(band: Band) -> tuple[str, ...]:
    tags = ", ".join(f"{k}={v}" for k, v in band.tags.items())
    return (
        str(band.number),
        band.description or "",
        band.role,
        band.colour,
        band.unit or "",
        f"{band.scale:g}",
        f"{band.offset:g}",
        tags,
    )


def _corners(profile: Profile) -> str:
    corners = profile.georef.corners(profile.height, profile.width)
    return "  ".join(f"({x:.10g}, {y:.10g})" for x, y in corners or ())


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.10g}" for value in values)


def _model_row(card: Card) -> tuple[str, ...]:
    mixed = ", ".join(card.band_names) or str(card.bands)
    bands = "any" if card.bands == 1 else mixed
    facts = (f"x{card.scale}", bands, str(card.halo), card.activation)
    return (card.name, *facts, _metrics(card), card.verdict, card.sha256[:12])


def _metrics(card: Card) -> str:
    """PSNR beside bicubic's, on each set that it was measured on."""
    measured = {"set5_psnr_y": "Set5", "validation_psnr": "held back"}
    return ", ".join(
        f"{where} {card.metrics[name]:.2f} dB (bicubic {card.metrics[f'{name}_bicubic']:.2f})"
        for name, where in measured.items()
        if {name, f"{name}_bicubic"} <= card.metrics.keys()
    )


def _value(value: object) -> str:
    """A value as YAML has it."""
    if isinstance(value, str):
        return value
    return json.dumps(to_json(value))
