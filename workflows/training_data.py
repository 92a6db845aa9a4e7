"""From what a user names to samples: what is trained on, and what is held back to judge it.

    find     folders and files -> sources; what cannot be read is listed
    choose   the bands of each
    split    ground that is trained on, ground that is held back, and a gap between the two
    draw     windows, evenly over all of it, no more than fit
    read     but for those that are invalid, saturated or constant, which are counted

The same files, options and seed give the same samples in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipeline.errors import ConfigError, SourceError
from pipeline.serial import Json, digest, to_json
from pipeline.sources import dicom
from workflows.choose import Chosen, check_agreement, choose
from workflows.data_options import DataOptions
from workflows.find_sources import READ, Found, Skip, find
from workflows.gather import Losses, gather
from workflows.ground import Group, share_ground
from workflows.samples import Lost, Sample
from workflows.slices import share_body
from workflows.split import Split, split

MOST_HELD_BACK = 4
"""At most one in so many pixels of all samples is held back."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Everything that a training run is given."""

    train: tuple[Sample, ...]
    """What is trained on."""
    validation: tuple[Sample, ...]
    """What is held back."""
    fingerprint: str
    """sha256 over the options and the pixels of all samples, wherever the files lie."""
    skipped: tuple[Skip, ...]
    """What was named or found and is not used, or not all of it, and why."""
    left_out: dict[str, int]
    """Windows that became no samples, by reason; each band of one counts."""
    split: dict[str, Json]
    """How it was split (`text`), and what is held back of which source: [y, x, height, width]."""


def read_samples(
    data: Sequence[str], options: DataOptions, *, scale: int, validation: Sequence[str] = ()
) -> Samples:
    """The samples of all sources in `data`; what is held back comes from `validation`, if given.

    Their sides are multiples of `scale`. No ground that is held back is trained on either way.
    Raises SourceError where nothing usable is left, ConfigError for options that contradict each
    other.
    """
    options.check_scale(scale)
    if validation and options.val_region is not None:
        raise ConfigError("validation data and a region to hold back exclude each other")
    chosen, skipped = _sources(data, options)
    others, skipped_there = _sources(validation, options) if validation else ([], [])
    held_back = frozenset(range(len(chosen), len(chosen) + len(others)))
    chosen += others
    if options.channels == "joint":
        check_agreement(chosen)
    shares = split(_groups(chosen, options), options, held_back=held_back)
    losses, room = Losses(), options.max_pixels
    judged = gather(
        chosen,
        shares.validation,
        options,
        scale=scale,
        room=room // MOST_HELD_BACK,
        losses=losses,
    )
    room -= sum(sample.pixels.size for sample in judged)
    learned = gather(chosen, shares.train, options, scale=scale, room=room, losses=losses)
    learned = _without_repeats(learned, judged, chosen, losses)
    _check(learned, judged, losses)
    return Samples(
        train=tuple(learned),
        validation=tuple(judged),
        fingerprint=_fingerprint(learned, judged, options, scale),
        skipped=(
            *(*skipped, *skipped_there),
            *(*_between(chosen, shares), *losses.skips(chosen)),
        ),
        left_out=losses.by_reason,
        split=_record(chosen, shares, options, named=validation),
    )


def _sources(data: Sequence[str], options: DataOptions) -> tuple[list[Chosen], list[Skip]]:
    """(sources with the bands that are wanted, what is skipped); raises SourceError for none."""
    found, skipped = find(data, replace(READ, nodata=options.nodata))
    made = [choose(one, options) for one in found]
    chosen = [one for one in made if isinstance(one, Chosen)]
    unfit = [one for one in made if isinstance(one, Skip)]
    if not chosen:
        raise SourceError(
            f"none of {len(found)} images can be used; the first: {unfit[0].reason}",
            uri=unfit[0].uri,
        )
    return chosen, [*skipped, *unfit]


def _groups(chosen: Sequence[Chosen], options: DataOptions) -> tuple[Group, ...]:
    """Sources that show the same ground, or the same body."""
    numbered: list[tuple[int, Found]] = list(enumerate(one.found for one in chosen))
    slices = [one for one in numbered if one[1].profile.driver == dicom.DRIVER]
    rasters = [one for one in numbered if one[1].profile.driver != dicom.DRIVER]
    return (
        *share_ground(rasters, block=options.block, gap=options.side),
        *share_body(slices, gap=options.slice_gap),
    )


def _without_repeats(
    learned: Sequence[Sample], judged: Sequence[Sample], chosen: Sequence[Chosen], losses: Losses
) -> list[Sample]:
    """What is not held back under another name as well."""
    known = {sample.digest for sample in judged}
    sources = {one.found.address.uri: source for source, one in enumerate(chosen)}
    kept = []
    for sample in learned:
        if sample.digest in known:
            losses.add(Lost(sources[sample.uri], "held back under another name"))
        else:
            kept.append(sample)
    return kept


def _between(chosen: Sequence[Chosen], shares: Split) -> list[Skip]:
    """Sources that are in neither share."""
    used = {area.source for area in (*shares.train, *shares.validation)}
    return [
        Skip(one.found.address.uri, "lies between what is trained on and what is held back")
        for source, one in enumerate(chosen)
        if source not in used
    ]


def _check(learned: Sequence[Sample], judged: Sequence[Sample], losses: Losses) -> None:
    """Raise SourceError unless there is something to learn from and to judge by."""
    lost = ", ".join(f"{count} {reason}" for reason, count in losses.by_reason.items()) or "none"
    if not learned:
        raise SourceError(f"there is nothing left to train on (windows left out: {lost})")
    if not judged:
        raise SourceError(
            f"nothing can be held back for validation (windows left out: {lost}); name validation "
            "data, or a region that the images have, give more of them, or make blocks smaller"
        )


def _fingerprint(
    learned: Sequence[Sample], judged: Sequence[Sample], options: DataOptions, scale: int
) -> str:
    """Of what is trained on and what is held back, in order."""
    contents = {
        share: [[sample.digest, list(sample.bands)] for sample in samples]
        for share, samples in (("train", learned), ("validation", judged))
    }
    return digest({"options": to_json(options), "scale": scale, **contents})


def _record(
    chosen: Sequence[Chosen], shares: Split, options: DataOptions, *, named: Sequence[str]
) -> dict[str, Json]:
    """The split in words and numbers."""
    text = f"{options.val_fraction:.0%} by blocks of {options.block} px, seed {options.seed}"
    if named:
        text = "validation data of its own"
    elif options.val_region is not None:
        text = options.val_region
    held: dict[int, list[Json]] = {}
    for area in shares.validation:
        window = area.window
        held.setdefault(area.source, []).append([window.y, window.x, window.height, window.width])
    return {
        "text": text,
        "block": options.block,
        "gap": options.side,
        "slice gap": options.slice_gap,
        "validation": [
            {"source": chosen[source].found.name, "windows": windows}
            for source, windows in held.items()
        ],
    }
