"""What a band's values mean: light, transparency, or codes that must never be averaged."""

from __future__ import annotations

import re
from pathlib import Path

from pipeline.errors import SourceError
from pipeline.options import SourceOptions
from pipeline.profile import Role

CODE_NAMES = re.compile(
    r"(?<![a-z0-9])(qa_?pixel|pixel_?qa|qa_?radsat|radsat_?qa|(sr_)?qa_?aerosol|bqa|scl|fmask|"
    r"msk_[a-z]+)(?![a-z0-9])",
    re.IGNORECASE,
)
"""Names of the quality and class layers of Landsat, Sentinel-2 and HLS products."""


def band_role(
    uri: str,
    *,
    description: str | None,
    alpha: bool,
    palette: bool,
    bits: str | None,
    options: SourceOptions,
) -> Role:
    """The role of a band; raises SourceError for codes unless the options say what to do."""
    if alpha:
        return "alpha"
    reason = _code_reason(uri, description, palette=palette, bits=bits)
    if reason is None or options.categorical == "light":
        return "category" if options.categorical == "nearest" else "light"
    if options.categorical == "nearest":
        return "category"
    raise SourceError(
        f"{reason}: its values are codes, not light; upscale them by nearest neighbour with "
        "--categorical nearest, or insist with --categorical light",
        uri=uri,
    )


def _code_reason(
    uri: str, description: str | None, *, palette: bool, bits: str | None
) -> str | None:
    """Why the values look like codes, or None."""
    if palette:
        return "is a palette image"
    if bits in ("2", "4"):
        return f"has {bits} bits a pixel, which come out dark in 8"
    if bits == "1":
        return "is a bit mask (1 bit a pixel)"
    for name in (Path(uri).stem, description or ""):
        found = CODE_NAMES.search(name.replace("-", "_"))
        if found:
            return f"is named like a quality layer ({found.group(0).strip('_')})"
    return None
