"""What TensorBoard shows of a training run: loss, PSNR, and PSNR over bicubic, by step."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from tensorboardX import SummaryWriter

    from espcn.course import Progress


class TrainingLog:
    """Event files in a folder; a run that begins anew removes those of the one before."""

    def __init__(self) -> None:
        """Write nothing yet."""
        self._writer: SummaryWriter | None = None

    def begin(self, folder: Path, *, resumed: bool) -> None:
        """Note what follows in `folder`."""
        from tensorboardX import SummaryWriter

        if not resumed:
            for old in folder.glob("events.out.tfevents.*"):
                old.unlink()
        self._writer = SummaryWriter(str(folder))

    def add(self, progress: Progress) -> None:
        """Note a measurement; what is no measurement is left out."""
        if self._writer is None or progress.figures is None:
            return
        figures = progress.figures
        scalars = {
            "loss": progress.loss,
            "validation/psnr": figures.psnr,
            "validation/psnr_over_bicubic": figures.gain,
        }
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, progress.step)
        self._writer.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._writer is not None:
            self._writer.close()
