"""ESPCN super-resolution: models as values, run by ONNX Runtime, OpenVINO or torch.

    card = espcn.describe("general-x3")          facts, from the file's header and numbers
    upscaler = espcn.load("general-x3")          callable on (band, y, x) float32 with a halo

Importing this package imports numpy and nothing heavier.
"""

from espcn.card import Card
from espcn.consistency import Consistent, consistent
from espcn.devices import cuda_devices, cuda_room
from espcn.errors import ModelError
from espcn.export import export_onnx
from espcn.foreign import import_checkpoint
from espcn.models import describe, shipped
from espcn.upscaler import Upscaler, load

__all__ = [
    "Card",
    "Consistent",
    "ModelError",
    "Upscaler",
    "consistent",
    "cuda_devices",
    "cuda_room",
    "describe",
    "export_onnx",
    "import_checkpoint",
    "load",
    "shipped",
]
