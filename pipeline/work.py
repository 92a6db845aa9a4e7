"""What a pool is given: images to make, errands, and who is told of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from pipeline.errors import PipelineError, PublishError
from pipeline.journal import Receipt
from pipeline.kernel import Upscaler
from pipeline.task import Call, Target


class Ends(Protocol):
    """Who is told of a work."""

    def on_tile(self, receipt: Receipt) -> None:
        """A tile is durable."""

    def on_end(self, error: PipelineError | None) -> Iterable[Errand]:
        """All tiles are durable, or the work failed; what is to be done about it."""


@dataclass(frozen=True, slots=True, eq=False)
class Work:
    """One image being made."""

    targets: tuple[Target, ...]
    """Its outputs, which share a tiling."""
    upscaler: Upscaler
    """The network."""
    ends: Ends
    """Who is told, in the driver's thread."""


@dataclass(frozen=True, slots=True, eq=False)
class Errand:
    """Something that a worker does once; what it returns should be small."""

    key: str
    """Dask's name for it, without secrets."""
    function: Callable[..., object]
    """Called on a worker, with `arguments`."""
    arguments: tuple[object, ...]
    """A few kilobytes at most."""
    then: Callable[[object], Iterable[Errand]]
    """Told what it returned, in the driver's thread; what is to be done next."""
    failed: Callable[[Exception], Iterable[Errand]]
    """Told what it raised, likewise."""


def make_together(
    calls: tuple[Call, ...], upscaler: Upscaler, make: Callable[..., object]
) -> tuple[list[object], PipelineError | None]:
    """What `make` makes of some tiles, up to the first that fails, and why that does."""
    made = list[object]()
    for call in calls:
        try:
            made.append(make(call, upscaler))
        except PipelineError as error:
            return made, error
    return made, None


def missing(targets: tuple[Target, ...]) -> Iterator[Call]:
    """A call for every tile that some target lacks, in the order of the tiling."""
    stages = [(str(t.stage), t.plan.digest) for t in targets]  # shared, and so pickled once a task
    for tile in range(len(targets[0].plan.tiling)):
        lacking = (
            stage
            for stage, target in zip(stages, targets, strict=True)
            if tile not in target.journal.receipts
        )
        if found := tuple(lacking):
            yield Call(tile, 1, found)


def keep_receipts(
    targets: tuple[Target, ...], made: list[tuple[Call, tuple[Receipt, ...]]]
) -> None:
    """Make receipts durable; raises PublishError."""
    by_stage = defaultdict[str, list[Receipt]](list)
    for call, receipts in made:
        for (stage, _), receipt in zip(call.stages, receipts, strict=True):
            by_stage[stage].append(receipt)
    journals = {str(target.stage): target.journal for target in targets}
    for stage, own in by_stage.items():
        try:
            journals[stage].add(*own)
        except OSError as error:
            raise PublishError(
                f"cannot record finished tiles ({error.strerror}); mend that and run the same "
                "command again to go on",
                uri=stage,
            ) from error
