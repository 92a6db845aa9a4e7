"""From what a user names to samples: what is trained on, and what is held back to judge it.

    find     folders and files -> sources; what cannot be read is listed
    choose   the bands of each
    split    ground that is trained on, ground that is held back, and a gap between the two
    draw     windows, evenly over all of it, no more than fit
    read     but for those that are invalid, saturated or constant, which are counted

The same files, options and seed give the same samples in the same order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.errors import ConfigError, SourceError
from pipeline.profile import Profile
from pipeline.serial import Json, digest, to_json
from workflows.choose import Chosen, check_agreement, choose
from workflows.data_options import DataOptions
from workflows.find_sources import READ, Found, Skip, find
from workflows.ground import Ground, share_ground
from workflows.samples import Sample
from workflows.shares import REPEATED, Shares, read_shares
from workflows.slices import share_body


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
    notes: tuple[str, ...]
    """What the user should know of the data, a line each."""


def read_samples(
    data: Sequence[str],
    options: DataOptions,
    *,
    scale: int,
    validation: Sequence[str] = (),
    exclude: Sequence[Path] = (),
) -> Samples:
    """The samples of all sources in `data`; what is held back comes from `validation`, if given.

    Their sides are multiples of `scale`. No ground that is held back is trained on either way.
    `exclude` are files and folders that are none of the user's data. Raises SourceError where
    nothing usable is left, ConfigError for options that contradict each other.
    """
    options.check_scale(scale)
    if validation and options.val_region is not None:
        raise ConfigError("validation data and a region to hold back exclude each other")
    chosen, skipped = _sources(data, options, exclude)
    others, skipped_there = _sources(validation, options, exclude) if validation else ([], [])
    held_back = frozenset(range(len(chosen), len(chosen) + len(others)))
    chosen += others
    notes = check_agreement(chosen) if options.channels == "joint" else ()
    ground = _ground(chosen, options, held_back)
    shares = read_shares(chosen, ground.groups, options, scale=scale, held_back=held_back)
    _check(chosen, shares, options)
    return Samples(
        train=shares.train,
        validation=shares.validation,
        fingerprint=_fingerprint(shares, options, scale),
        skipped=_counted(
            *(*skipped, *skipped_there),
            *(*_between(chosen, shares, ground), *shares.losses.skips(chosen)),
        ),
        left_out=shares.losses.by_reason,
        split=_record(chosen, shares, options, named=validation),
        notes=(*notes, *ground.notes, *shares.notes, *_proportion(shares)),
    )


def _sources(
    data: Sequence[str], options: DataOptions, exclude: Sequence[Path]
) -> tuple[list[Chosen], list[Skip]]:
    """(sources with the bands that are wanted, what is skipped); raises SourceError for none."""
    found, skipped = find(data, replace(READ, nodata=options.nodata), exclude=exclude)
    made = [choose(one, options) for one in found]
    chosen = [one for one in made if isinstance(one, Chosen)]
    unfit = [one for one in made if isinstance(one, Skip)]
    if not chosen:
        raise SourceError(
            f"none of {len(found)} images can be used; the first: {unfit[0].reason}",
            uri=unfit[0].uri,
        )
    return chosen, [*skipped, *unfit]


def _ground(chosen: Sequence[Chosen], options: DataOptions, held_back: frozenset[int]) -> Ground:
    """Sources that show the same ground, or the same body."""
    numbered: list[tuple[int, Found]] = list(enumerate(one.found for one in chosen))
    slices = [one for one in numbered if _is_slice(one[1].profile)]
    rasters = [one for one in numbered if not _is_slice(one[1].profile)]
    ground = share_ground(rasters, block=options.block, gap=options.side, held_back=held_back)
    bodies = share_body(slices, gap=options.slice_gap)
    return replace(ground, groups=(*ground.groups, *bodies))


def _is_slice(profile: Profile) -> bool:
    """Whether it is held back whole, or not at all."""
    return profile.medical and not profile.slide


def _counted(*skips: Skip) -> tuple[Skip, ...]:
    """Each once; what is true of several frames of a file says of how many."""
    return tuple(
        skip if count == 1 else replace(skip, reason=f"{skip.reason} ({count} times)")
        for skip, count in Counter(skips).items()
    )


def _between(chosen: Sequence[Chosen], shares: Shares, ground: Ground) -> list[Skip]:
    """Sources that are in neither share."""
    used = {area.source for area in (*shares.areas.train, *shares.areas.validation)}
    usual = "lies between what is trained on and what is held back"
    return [
        Skip(one.found.label, ground.unclear.get(source, usual))
        for source, one in enumerate(chosen)
        if source not in used
    ]


def _check(chosen: Sequence[Chosen], shares: Shares, options: DataOptions) -> None:
    """Raise SourceError unless there is something to learn from and to judge by."""
    counts = shares.losses.by_reason
    lost = ", ".join(f"{count} {reason}" for reason, count in counts.items()) or "none"
    if not shares.train and shares.validation and (not shares.areas.train or REPEATED in counts):
        other = (
            "a smaller region" if options.val_region else "other data to train on or to hold back"
        )
        raise SourceError(
            "nothing is left to train on: all of it is held back for validation, or lies too near "
            f"to what is (windows left out: {lost}); name {other}"
        )
    if not shares.train:
        raise SourceError(f"there is nothing left to train on (windows left out: {lost})")
    if not shares.validation:
        others = (
            "; data.nodata says what marks invalid pixels, data.seed draws other blocks"
            if counts
            else ""
        )
        cut = any(not _is_slice(one.found.profile) for one in chosen)
        ways = (
            "a region that the images have, give more of them, or make blocks smaller"
            if cut
            else "give more slices, or more films: each is held back whole"
        )
        raise SourceError(
            f"nothing can be held back for validation (windows left out: {lost}); name validation "
            f"data, or {ways}{others}"
        )


def _proportion(shares: Shares) -> Iterator[str]:
    """A note where the split is the wrong way round."""
    judged, learned = (
        sum(sample.pixels.size for sample in some) for some in (shares.validation, shares.train)
    )
    if judged > learned:
        yield (
            f"more is held back ({judged / 1e6:.1f} Mpx) than trained on ({learned / 1e6:.1f} Mpx)"
        )


def _fingerprint(shares: Shares, options: DataOptions, scale: int) -> str:
    """Of what is trained on and what is held back, in order."""
    contents = {
        share: [[sample.digest, list(sample.bands)] for sample in samples]
        for share, samples in (("train", shares.train), ("validation", shares.validation))
    }
    return digest({"options": to_json(options), "scale": scale, **contents})


def _record(
    chosen: Sequence[Chosen], shares: Shares, options: DataOptions, *, named: Sequence[str]
) -> dict[str, Json]:
    """The split in words and numbers."""
    slices = [_is_slice(one.found.profile) for one in chosen]
    blocks = [] if all(slices) else [f"blocks of {options.block} px"]
    runs = ["runs of slices"] if any(slices) else []
    text = f"{options.val_fraction:.0%} by {' and '.join(blocks + runs)}, seed {options.seed}"
    if shares.turn:
        text += f", draw {shares.turn + 1}"
    if named:
        text = "validation data of its own"
    elif options.val_region is not None:
        text = options.val_region
    held: dict[int, list[Json]] = {}
    for area in shares.areas.validation:
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
