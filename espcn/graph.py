r"""The network as an ONNX graph, written straight from the numbers, without torch.

    pixels --> conv -> act -> conv -> act -> conv --(residual)--> add --> shuffle --> fine
        \--> trim --> conv 5x5, one kernel per sub-pixel ---------/

All convolutions are valid. Vector units compute 16 output channels at once, and the last layer
has only C*r**2 of them: at x2 and one band, a quarter. There its kernels are laid out four times,
once for each pixel of a 2x2 square, at a stride of two; the additional weights are zeros, so not a
bit of the result changes, and the network is 1.14 times as fast.

    one kernel (3x3)       the four of a 2x2 square (4x4, stride 2)
        a b c                a b c 0   0 a b c   0 0 0 0   0 0 0 0
        d e f                d e f 0   0 d e f   a b c 0   0 a b c
        g h i                g h i 0   0 g h i   d e f 0   0 d e f
                             0 0 0 0   0 0 0 0   g h i 0   0 g h i
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from espcn.architecture import Weights
from espcn.interpolation import RADIUS, bicubic_kernels

if TYPE_CHECKING:
    from onnx import NodeProto, TensorProto

_OPSET = 13
_IR_VERSION = 8
_LANES = 16


def square_of(weights: Weights) -> int:
    """Side of the square of input pixels that the last layer computes at once: 1 or 2.

    Height and width of the pixels without halo must be multiples of it.
    """
    return 2 if 4 * weights.bands * weights.scale**2 <= _LANES else 1


def whole_graph(weights: Weights, *, shuffle: bool = True, square: int | None = None) -> bytes:
    """`pixels` (1, C, h + 2*halo, w + 2*halo) -> `fine` (1, C, h*r, w*r), float32.

    Without `shuffle` the sub-pixels (1, C*R*R, h*r/R, w*r/R) that it would put in their places.
    `square` is the fastest unless given; with 1 any height and width will do.
    """
    draft = _Draft(weights, square=square_of(weights) if square is None else square)
    if not weights.layers:
        return draft.finish(draft.skip(), shuffle=shuffle)
    residual = draft.core()
    fine = draft.add("Add", residual, draft.skip()) if weights.skip else residual
    return draft.finish(fine, shuffle=shuffle)


def core_graph(weights: Weights) -> bytes:
    """The convolutions alone: `pixels` -> `fine` before skip and shuffle."""
    draft = _Draft(weights, square=square_of(weights))
    return draft.finish(draft.core(), shuffle=False)


def finishing_graph(weights: Weights, *, shuffle: bool = True) -> bytes:
    """What is left after the core: `pixels` and `residual` -> `fine`; no `pixels` without skip."""
    inputs = ["pixels", "residual"] if weights.skip else ["residual"]
    draft = _Draft(weights, square=square_of(weights), inputs=inputs)
    fine = draft.add("Add", "residual", draft.skip()) if weights.skip else "residual"
    return draft.finish(fine, shuffle=shuffle)


@dataclass(slots=True)
class _Draft:
    """A graph being written; each verb adds nodes and returns the name of their result."""

    weights: Weights
    square: int
    inputs: list[str] = field(default_factory=lambda: ["pixels"])
    nodes: list["NodeProto"] = field(default_factory=list)
    constants: list["TensorProto"] = field(default_factory=list)

    def core(self) -> str:
        weights = self.weights
        one, two, three = weights.layers
        act = {"tanh": "Tanh", "relu": "Relu", "none": "Identity"}[weights.activation]
        maps = self.trim("pixels", weights.halo - sum(layer.radius for layer in weights.layers))
        maps = self.add(act, self.convolve(maps, one.weight, one.bias))
        maps = self.add(act, self.convolve(maps, two.weight, two.bias))
        return self.convolve_squares(maps, three.weight, three.bias)

    def skip(self) -> str:
        kernels = bicubic_kernels(self.weights.scale).astype(np.float32)[:, None]
        pixels = self.trim("pixels", self.weights.halo - RADIUS)
        bands = self.weights.bands
        every_band = np.tile(kernels, (bands, 1, 1, 1))
        return self.convolve_squares(pixels, every_band, None, group=bands)

    def shuffle(self, maps: str) -> str:
        """Sub-pixels to their places: channel c*R**2 + R*y + x goes to (y, x) of band c."""
        side = self.square * self.weights.scale
        return self.add("DepthToSpace", maps, attributes={"blocksize": side, "mode": "CRD"})

    def trim(self, pixels: str, margin: int) -> str:
        if margin == 0:
            return pixels
        bounds = ([margin, margin], [-margin, -margin], [2, 3])
        named = [self.constant(np.array(values, dtype=np.int64)) for values in bounds]
        return self.add("Slice", pixels, *named)

    def convolve(
        self,
        maps: str,
        kernels: NDArray[np.float32],
        bias: NDArray[np.float32] | None,
        *,
        stride: int = 1,
        group: int = 1,
    ) -> str:
        operands = [self.constant(value) for value in (kernels, bias) if value is not None]
        attributes: dict[str, object] = {"strides": [stride, stride], "group": group}
        return self.add("Conv", maps, *operands, attributes=attributes)

    def convolve_squares(
        self,
        maps: str,
        kernels: NDArray[np.float32],
        bias: NDArray[np.float32] | None,
        *,
        group: int = 1,
    ) -> str:
        """A convolution whose outputs are sub-pixels, a square of input pixels at a time."""
        side, bands, scale = self.square, self.weights.bands, self.weights.scale
        spread = _for_squares(kernels, side, bands=bands, scale=scale)
        if bias is not None:
            sub_pixels = bias.reshape(bands, 1, scale, 1, scale)
            bias = np.broadcast_to(sub_pixels, (bands, side, scale, side, scale)).reshape(-1)
        return self.convolve(maps, spread, bias, stride=side, group=group)

    def add(
        self, operation: str, *operands: str, attributes: dict[str, object] | None = None
    ) -> str:
        from onnx import helper

        name = f"v{len(self.nodes)}"
        node = helper.make_node(operation, operands, [name])
        for key, value in (attributes or {}).items():
            node.attribute.append(helper.make_attribute(key, value))
        self.nodes.append(node)
        return name

    def constant(self, value: NDArray[np.generic]) -> str:
        from onnx import numpy_helper

        name = f"k{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def finish(self, result: str, *, shuffle: bool) -> bytes:
        """Name the result `fine` and serialise."""
        from onnx import TensorProto, helper

        result = self.shuffle(result) if shuffle else result
        nodes = [*self.nodes, helper.make_node("Identity", [result], ["fine"])]
        bands, scale = self.weights.bands, self.weights.scale
        channels = {"pixels": bands, "residual": bands * (self.square * scale) ** 2}
        inputs = [
            helper.make_tensor_value_info(
                name, TensorProto.FLOAT, [1, channels[name], f"{name}_height", f"{name}_width"]
            )
            for name in self.inputs
        ]
        output = helper.make_tensor_value_info("fine", TensorProto.FLOAT, None)
        graph = helper.make_graph(nodes, "espcn", inputs, [output], self.constants)
        opset = helper.make_opsetid("", _OPSET)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=_IR_VERSION)
        serialised: bytes = model.SerializeToString()
        return serialised


def _for_squares(
    kernels: NDArray[np.float32], square: int, *, bands: int, scale: int
) -> NDArray[np.float32]:
    """(C*r**2, n, k, k) -> (C*(s*r)**2, n, k+s-1, k+s-1), a kernel per pixel of a square."""
    _, inputs, side, _ = kernels.shape
    grown = side + square - 1
    spread = np.zeros((bands, square, scale, square, scale, inputs, grown, grown), np.float32)
    by_pixel = kernels.reshape(bands, scale, scale, inputs, side, side)
    for y in range(square):
        for x in range(square):
            spread[:, y, :, x, :, :, y : y + side, x : x + side] = by_pixel
    return spread.reshape(-1, inputs, grown, grown)
