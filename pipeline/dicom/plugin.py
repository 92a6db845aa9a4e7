"""These decoders for whoever uses pydicom's own functions: `register()`, then `pydicom.pixels`.

pydicom 3 asks a plugin for one frame at a time. What it gets has gone through every check of
`decode`, and colours are RGB. `decoding_plugin="espcn"` asks for it where others are installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.dicom.decode import decode_frame as decode
from pipeline.dicom.stored import Stored
from pipeline.dicom.syntaxes import LOSSY, SYNTAXES

if TYPE_CHECKING:
    from pydicom.pixels.decoders.base import DecodeRunner

LABEL = "espcn"
"""The plugin's name."""
DECODER_DEPENDENCIES = {
    uid: ("imagecodecs>=2025.1",) for uid, syntax in SYNTAXES.items() if syntax.codec != "native"
}
"""What pydicom tells a user to install; it looks for this name."""


def is_available(uid: str) -> bool:
    """Whether frames of a transfer syntax can be decoded; pydicom looks for this name."""
    return uid in DECODER_DEPENDENCIES


def register() -> None:
    """Make the decoders known to pydicom; once is enough, twice does no harm."""
    from pydicom.pixels.decoders.base import get_decoder

    for uid in DECODER_DEPENDENCIES:
        try:
            decoder = get_decoder(uid)
        except NotImplementedError:  # retired syntaxes that pydicom does not know
            continue
        if LABEL not in decoder.available_plugins:
            decoder.add_plugin(LABEL, (__name__, "decode_frame"))


def decode_frame(source: bytes, runner: DecodeRunner) -> bytes:
    """One frame as pydicom wants it: samples of a pixel side by side. Raises SourceError."""
    stored = _stored(runner)
    pixels = decode(source, stored)
    runner.set_option("planar_configuration", 0)
    if stored.bands > 1:
        runner.set_option("photometric_interpretation", "RGB")
    return np.moveaxis(pixels, 0, -1).tobytes()


def _stored(runner: DecodeRunner) -> Stored:
    """The facts that pydicom took from the header."""
    signed, bits = bool(runner.pixel_representation), runner.bits_allocated
    stored, syntax = runner.bits_stored, str(runner.transfer_syntax)
    samples, photometric = runner.samples_per_pixel, str(runner.photometric_interpretation)
    return Stored(
        dtype=f"{'int' if signed else 'uint'}{bits}",
        bits_allocated=bits,
        bits_stored=stored,
        high_bit=stored - 1,
        signed=signed,
        rows=runner.rows,
        columns=runner.columns,
        frames=runner.number_of_frames,
        samples=samples,
        bands=samples,
        photometric=photometric,
        photometric_read="RGB" if samples > 1 else photometric,
        planar=0,
        syntax=syntax,
        syntax_name=SYNTAXES[syntax].name,
        lossy=syntax in LOSSY,
        padding=None,
        limits=None,
        least=(runner.rows, runner.columns),
    )
