"""Overlays, one bit a pixel, on finer pixels: each bit becomes a square of them.

DICOM PS3.3, section C.9.2; bits are packed from the lowest of each byte on (PS3.5, section 8.1.2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.dicom.headers import damages

if TYPE_CHECKING:
    from pydicom import Dataset

GROUPS = range(0x6000, 0x6100, 2)
"""Groups of overlays."""
ROWS, COLUMNS, FRAMES, ORIGIN, AREA = 0x10, 0x11, 0x15, 0x50, 0x1301
MEASURED = (0x1302, 0x1303)
"""Mean and deviation of the pixels in a region: of the coarse ones."""
DATA = 0x3000
LARGEST = 2**16 - 1
"""Rows and columns that an overlay can have."""


def refine_overlays(dataset: Dataset, scale: int) -> None:
    """Change all overlays in place; those that lie in unused bits of pixels are gone with these."""
    overlays = [tag for tag in list(dataset.keys()) if tag.group in GROUPS]
    for group in {tag.group for tag in overlays}:
        bits = _bits(dataset, group)
        if bits is not None and max(bits.shape[1:]) * scale <= LARGEST:
            _replace(dataset, group, bits, scale)
            continue
        for tag in overlays:
            if tag.group == group:
                del dataset[tag]


def _bits(dataset: Dataset, group: int) -> np.ndarray | None:
    """(frame, y, x) of zeros and ones; None for what is no whole overlay."""
    rows, columns, frames = (
        (_numbers(dataset, group, element) or (1,))[0] for element in (ROWS, COLUMNS, FRAMES)
    )
    data = dataset.get((group, DATA))
    packed = b"" if data is None or not isinstance(data.value, bytes) else data.value
    count = frames * rows * columns
    if min(frames, rows, columns) < 1 or 8 * len(packed) < count:
        return None
    flat = np.unpackbits(np.frombuffer(packed, np.uint8), count=count, bitorder="little")
    return flat.reshape(frames, rows, columns)


def _replace(dataset: Dataset, group: int, bits: np.ndarray, scale: int) -> None:
    fine = bits.repeat(scale, axis=1).repeat(scale, axis=2)
    packed = np.packbits(fine, bitorder="little").tobytes()
    dataset[group, DATA].value = packed + b"\0" * (len(packed) % 2)
    dataset[group, ROWS].value, dataset[group, COLUMNS].value = fine.shape[1:]
    origin = _numbers(dataset, group, ORIGIN)
    if origin:
        dataset[group, ORIGIN].value = [(place - 1) * scale + 1 for place in origin]
    area = _numbers(dataset, group, AREA)
    if area:
        dataset[group, AREA].value = str(area[0] * scale**2)
    for element in MEASURED:
        if (group, element) in dataset:
            del dataset[group, element]


def _numbers(dataset: Dataset, group: int, element: int) -> tuple[int, ...]:
    """Whole numbers of an attribute of an overlay; empty where it has none."""
    found = dataset.get((group, element))
    if found is None or found.is_empty:
        return ()
    try:
        return tuple(int(value) for value in (found.value if found.VM > 1 else [found.value]))
    except damages():
        return ()
