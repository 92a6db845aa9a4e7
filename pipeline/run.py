"""Running the tiles of one image on a Dask cluster; see `pipeline.pool` for many."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.crew import Crew
from pipeline.errors import PipelineError
from pipeline.journal import Receipt
from pipeline.kernel import Upscaler
from pipeline.pool import Pool
from pipeline.task import Target
from pipeline.work import Errand, Work

if TYPE_CHECKING:
    from distributed import Client


@dataclass(slots=True)
class _Single:
    """The end of the only work."""

    on_tile: Callable[[Receipt], None]
    error: PipelineError | None = None

    def on_end(self, error: PipelineError | None) -> Iterable[Errand]:
        self.error = error
        return ()


def run(
    client: Client,
    targets: Sequence[Target],
    upscaler: Upscaler,
    *,
    threads: int,
    attempts: int,
    on_tile: Callable[[Receipt], None],
) -> None:
    """Make every tile that a target lacks, and journal it.

    `threads` tiles run at once, more or fewer as workers come and go; `on_tile` is called in this
    thread as tiles become durable. A tile that fails for want of a worker is tried `attempts`
    times. Raises PipelineError.
    """
    single = _Single(on_tile)
    Pool(Crew(client, threads), attempts).run([Work(tuple(targets), upscaler, single)])
    if single.error is not None:
        raise single.error
