"""The network in torch, for training and for CUDA; the only module that builds `torch.nn`."""

from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

from espcn.architecture import Activation, Layer, Weights
from espcn.interpolation import RADIUS, bicubic_kernels


class ZeroMean(nn.Module):
    """Keeps every kernel's sum at zero while it is trained: no offset passes the first layer."""

    def forward(self, kernels: Tensor) -> Tensor:
        """Subtract its mean from each (k, k) kernel of (out, in, k, k)."""
        return kernels - kernels.mean(dim=(2, 3), keepdim=True)


class Network(nn.Module):
    """ESPCN with valid convolutions: (n, C, h + 2*halo, w + 2*halo) -> (n, C, h*r, w*r).

    Sub-modules bear the field's names, so that `state_dict` has the keys of our weights files.
    """

    kernels: Tensor
    """The skip's kernels, (r**2, 1, 5, 5); a buffer, never trained."""

    bf16_layers: int
    """Leading convolutions that run in bfloat16: 0, 2 (training: the loss keeps a float32 last
    layer) or 3 (inference). The skip is always float32."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        one, two, three = (_convolution(layer) for layer in weights.layers)
        self.feature_map_layer = nn.Sequential(
            one, _activation(weights.activation), two, _activation(weights.activation)
        )
        self.sub_pixel_layer = nn.Sequential(three, nn.PixelShuffle(weights.scale))
        self.halo = weights.halo
        self.core_halo = sum(layer.radius for layer in weights.layers)
        self.bf16_layers = 0
        self.skip = weights.skip
        self.scale = weights.scale
        kernels = torch.from_numpy(bicubic_kernels(weights.scale)).float()
        self.register_buffer("kernels", kernels[:, None], persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Core plus skip, float32 in and out; see `bf16_layers`."""
        device, lowered = pixels.device.type, self.bf16_layers
        core = _trim(pixels, self.halo - self.core_halo)
        with torch.autocast(device, torch.bfloat16, enabled=lowered >= 2):
            maps = self.feature_map_layer(core)
        with torch.autocast(device, torch.bfloat16, enabled=lowered >= 3):
            fine: Tensor = self.sub_pixel_layer(maps if lowered >= 3 else maps.float()).float()
        return fine + self.enlarge(pixels) if self.skip else fine

    def enlarge(self, pixels: Tensor) -> Tensor:
        """The fixed bicubic skip, band by band, without the halo."""
        batch, bands, height, width = _trim(pixels, self.halo - RADIUS).shape
        single = _trim(pixels, self.halo - RADIUS).reshape(batch * bands, 1, height, width)
        fine = functional.pixel_shuffle(functional.conv2d(single, self.kernels), self.scale)
        return fine.reshape(batch, bands, *fine.shape[2:])

    def use_channels_last(self) -> Self:
        """Lay out kernels, and so maps, with the channels innermost: faster on every device."""
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return self

    def keep_first_kernels_zero_mean(self) -> None:
        """From now on train first kernels whose sums are zero."""
        parametrize.register_parametrization(self.feature_map_layer[0], "weight", ZeroMean())

    def layers(self) -> tuple[Layer, ...]:
        """The three convolutions as they are applied, as float32 arrays."""
        convolutions = self.feature_map_layer[0], self.feature_map_layer[2], self.sub_pixel_layer[0]
        return tuple(_layer(convolution) for convolution in convolutions)


def _trim(pixels: Tensor, margin: int) -> Tensor:
    if margin == 0:
        return pixels
    return pixels[..., margin : pixels.shape[-2] - margin, margin : pixels.shape[-1] - margin]


def _activation(name: Activation) -> nn.Module:
    activations: dict[Activation, type[nn.Module]] = {
        "tanh": nn.Tanh,
        "relu": nn.ReLU,
        "none": nn.Identity,
    }
    return activations[name]()


def _convolution(layer: Layer) -> nn.Conv2d:
    out, channels, side, _ = layer.weight.shape
    convolution = nn.Conv2d(channels, out, side, bias=layer.bias is not None)
    with torch.no_grad():
        convolution.weight.copy_(torch.from_numpy(layer.weight))
        if convolution.bias is not None and layer.bias is not None:
            convolution.bias.copy_(torch.from_numpy(layer.bias))
    return convolution


def _layer(convolution: nn.Module) -> Layer:
    assert isinstance(convolution, nn.Conv2d)
    weight = convolution.weight.detach().float().cpu().numpy().copy()
    bias = convolution.bias
    return Layer(weight, None if bias is None else bias.detach().float().cpu().numpy().copy())
