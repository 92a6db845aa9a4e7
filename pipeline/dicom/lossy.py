"""What a header says of lossy compression: once it happened, it is never taken back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.dicom.geometry import decimal_string

if TYPE_CHECKING:
    from pydicom import Dataset

    from pipeline.dicom.stored import Stored

METHODS = {
    **dict.fromkeys(("50", "51", "53", "55"), "ISO_10918_1"),
    "81": "ISO_14495_1",
    **dict.fromkeys(("90", "91"), "ISO_15444_1"),
    **dict.fromkeys(("201", "202", "203"), "ISO_15444_15"),
}
"""Defined terms of methods, by the end of the transfer syntax. DICOM PS3.3, C.7.6.1.1.5.1."""
JPEG = METHODS["50"]
"""That of JPEG baseline."""


def keep_loss(dataset: Dataset, stored: Stored, *, size: int | None = None) -> None:
    """Say that the source was lossy, where it was and did not; `size` is that of its file."""
    if not stored.lossy or dataset.get("LossyImageCompression") == "01":
        return
    method = METHODS.get(stored.syntax.rpartition(".")[2])
    if method is None or not size:
        dataset.LossyImageCompression = "01"
    else:
        add_loss(dataset, method, stored.frames * stored.frame_bytes / size)


def add_loss(dataset: Dataset, method: str, ratio: float) -> None:
    """Append one more lossy compression to those that were; `ratio` is plain over packed bytes."""
    dataset.LossyImageCompression = "01"
    for name, value in (
        ("LossyImageCompressionRatio", decimal_string(round(ratio, 3))),
        ("LossyImageCompressionMethod", method),
    ):
        before = dataset.get(name)
        listed = [] if before in (None, "") else [before]
        if hasattr(before, "__iter__") and not isinstance(before, str):
            listed = list(before)
        setattr(dataset, name, [*map(str, listed), value] if listed else value)
