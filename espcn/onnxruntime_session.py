"""Inference on the CPU in float32 with ONNX Runtime, the default.

Every output pixel is the same to the bit in whatever tile it is computed. Where ONNX Runtime has
blocked kernels for the processor (x86-64) that holds for any shape; elsewhere it convolves by
matrix products, and sums in another order where a layer has 64 output pixels or fewer. Tiles are
therefore grown to at least `SMALLEST` pixels per side, and the growth is cut off again.

Processors of another kind (AVX-512, AVX2, ARM) sum in another order too: the workers of one run
should be of one kind if its bytes are to be repeated.
"""

import threading
from typing import TYPE_CHECKING

import numpy as np

from espcn.architecture import Weights
from espcn.graph import square_of, whole_graph
from espcn.sessions import Pixels, missing

if TYPE_CHECKING:
    from onnxruntime import InferenceSession  # type: ignore[import-untyped]

BLOCK = 256
"""Side of a block in low-resolution pixels: its maps stay near the core, its halo costs 3 %."""

SMALLEST = 32
"""Least side that is computed, in low-resolution pixels without halo."""


class OnnxRuntimeSession:
    """One network in ONNX Runtime; `run` works on the calling thread when `threads` is 1."""

    def __init__(self, weights: Weights, *, threads: int, split: bool) -> None:
        self._session = open_graph(whole_graph(weights, shuffle=not split), threads=threads)
        self._split = split
        self._own = threading.local()
        self._square = square_of(weights)
        self._halo = weights.halo
        self._scale = weights.scale

    def run(self, pixels: Pixels) -> Pixels:
        """(C, h + 2*halo, w + 2*halo) -> (C, h*r, w*r), or planes, for any h, w >= 1.

        Planes are good until the thread's next call.
        """
        height, width = (side - 2 * self._halo for side in pixels.shape[1:])
        grown = grow(pixels, multiple=self._square, smallest=SMALLEST + 2 * self._halo)
        if self._split:
            return as_planes(self._run_in_place(grown), self._square * self._scale)
        fine: Pixels = self._session.run(None, {"pixels": grown[None]})[0][0]
        return fine[:, : height * self._scale, : width * self._scale]

    def _run_in_place(self, pixels: Pixels) -> Pixels:
        """The graph's output in memory that the thread's next call overwrites.

        ONNX Runtime copies its outputs into new arrays: for planes of nine times the input that
        takes as long as rounding them.
        """
        side = self._square * self._scale
        rows, columns = ((length - 2 * self._halo) // self._square for length in pixels.shape[1:])
        shape = (1, len(pixels) * side * side, rows, columns)
        own = self._own
        if getattr(own, "shape", None) != shape:
            own.shape, own.fine = shape, np.empty(shape, np.float32)
            own.binding = self._session.io_binding()
            own.binding.bind_output("fine", "cpu", 0, np.float32, shape, own.fine.ctypes.data)
        own.binding.bind_cpu_input("pixels", pixels[None])
        self._session.run_with_iobinding(own.binding)
        fine: Pixels = own.fine[0]
        return fine


def open_graph(graph: bytes, *, threads: int) -> "InferenceSession":
    """A session on a graph whose idle threads sleep; raises `ModelError` without ONNX Runtime."""
    try:
        import onnxruntime
    except ImportError as error:
        raise missing("onnxruntime", install="onnxruntime") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def as_planes(sub_pixels: Pixels, side: int) -> Pixels:
    """(C * side**2, y, x) of a graph without shuffle -> (C, side, side, y, x)."""
    return sub_pixels.reshape(-1, side, side, *sub_pixels.shape[1:])


def grow(pixels: Pixels, *, multiple: int, smallest: int) -> Pixels:
    """Zeros after the last row and column until both sides suit; the input itself if they do."""
    sides = [max(side, smallest) for side in pixels.shape[1:]]
    after = [
        side + (-side) % multiple - length
        for side, length in zip(sides, pixels.shape[1:], strict=True)
    ]
    if not any(after):
        return pixels
    return np.pad(pixels, [(0, 0), (0, after[0]), (0, after[1])])
