"""Whether the bands of a scene are those that a network mixes: as many, and in its order.

A network that goes band by band takes any. One that mixes several has learned what each shows;
others in their places would come out wrong without an error. Names are compared where both sides
have them:

    B02 = b2 = "B2, central wavelength 490 nm"        B8A = B08A        a bare number is no name
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from pipeline.errors import PlanError
from pipeline.kernel import Upscaler
from pipeline.profile import Band, Profile


def check_bands(
    profile: Profile,
    upscaler: Upscaler,
    *,
    model: str,
    scene: str,
    select: Callable[[Sequence[int]], str],
) -> None:
    """Raise PlanError if the bands of `profile` are not those that the network mixes.

    `model` and `scene` are what the message calls them. `select` says how bands are chosen: it is
    given their 1-based numbers, or none where it is not known which they are.
    """
    if upscaler.bands == 1:
        return
    wanted, light = upscaler.band_names, [profile.bands[i] for i in profile.light]
    if len(light) == upscaler.bands and _agree(wanted, light):
        return
    numbers = _numbers(wanted, profile)
    taken = f"{upscaler.bands} bands at once" + (f" ({', '.join(wanted)})" if wanted else "")
    if len(light) != upscaler.bands:
        found, way = str(len(light)), select(numbers)
    else:
        found = ", ".join(band.description or f"band {band.number}" for band in light)
        way = select(numbers) if numbers else "choose another model, or name them as it does"
    raise PlanError(f"{model} takes {taken}, {scene} has {found}; {way}", uri=profile.uri)


def _agree(wanted: Sequence[str], light: Sequence[Band]) -> bool:
    """Whether no band is known to be another one than the network wants in its place."""
    if not wanted:
        return True
    pairs = [(_bare(name), _name_of(band)) for name, band in zip(wanted, light, strict=True)]
    return all(found in (None, name) for name, found in pairs)


def _numbers(wanted: Sequence[str], profile: Profile) -> tuple[int, ...]:
    """Numbers of the wanted bands, and of those that are not light; none if one is missing."""
    light = [profile.bands[i] for i in profile.light]
    known = {_name_of(band): band.number for band in reversed(light)}
    if not wanted or any(_bare(name) not in known for name in wanted):
        return ()
    others = [band.number for band in profile.bands if band not in light]
    return (*(known[_bare(name)] for name in wanted), *others)


def _name_of(band: Band) -> str | None:
    """A band's name, reduced to what can be compared; None where it has none."""
    name = _bare(band.description or "")
    return None if name in ("", f"band{band.number}", str(band.number)) else name


def _bare(name: str) -> str:
    """Case, spaces, explanations after a comma and leading zeros make no other band."""
    first = re.split(r"[,;(]", name.casefold())[0]
    return re.sub(r"(?<!\d)0+(?=\d)", "", re.sub(r"[\s_-]", "", first))
