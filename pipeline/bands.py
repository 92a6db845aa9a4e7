"""Whether the bands of a scene are those that a network mixes: as many, and in its order.

A network that goes band by band takes any. One that mixes several has learned what each shows;
others in their places would come out wrong without an error. Names are compared where both sides
have them:

    B02 = b2 = SR_B2 = "B2, central wavelength 490 nm"   B8A = B08A   a bare number is no name
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from pipeline.errors import PlanError
from pipeline.kernel import Upscaler
from pipeline.profile import COLOURS, Band, Profile

NUMBERED = re.compile(r"(?<![a-z0-9])B(\d{1,2}A?)(?![a-z0-9])", re.IGNORECASE)
"""A band of a satellite's sensor, wherever it stands in a name."""


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
        known = [band.description or _name_of(band, wanted) for band in light]
        found = ", ".join(name or "an unnamed band" for name in known)
        way = select(numbers) if numbers else "choose another model, or name them as it does"
    raise PlanError(f"{model} takes {taken}, {scene} has {found}; {way}", uri=profile.label)


def unnamed(profile: Profile, upscaler: Upscaler) -> tuple[Band, ...]:
    """Light bands that may be others than the network wants in their places: nothing names them.

    None where the network names none either.
    """
    wanted, light = upscaler.band_names, [profile.bands[i] for i in profile.light]
    return tuple(band for band in light if _name_of(band, wanted) is None) if wanted else ()


def comparable(name: str) -> str:
    """A band's name without what makes no other band of it: just its number, where it has one."""
    numbered = NUMBERED.findall(name)
    if numbered:
        return f"b{numbered[-1].lstrip('0') or '0'}".casefold()
    return re.sub(r"[\s_-]", "", name.casefold())


def _agree(wanted: Sequence[str], light: Sequence[Band]) -> bool:
    """Whether no band is known to be another one than the network wants in its place."""
    if not wanted:
        return True
    named = [_name_of(band, wanted) for band in light]
    return all(found in (None, comparable(name)) for name, found in zip(wanted, named, strict=True))


def _numbers(wanted: Sequence[str], profile: Profile) -> tuple[int, ...]:
    """Numbers of the wanted bands, and of those that are not light; none if one is missing."""
    light = [profile.bands[i] for i in profile.light]
    known = {_name_of(band, wanted): band.number for band in reversed(light)}
    if not wanted or any(comparable(name) not in known for name in wanted):
        return ()
    others = [band.number for band in profile.bands if band not in light]
    return (*(known[comparable(name)] for name in wanted), *others)


def _name_of(band: Band, wanted: Sequence[str]) -> str | None:
    """What a band is known to be; None for a bare number, and for a colour among other names."""
    if band.description:
        name = comparable(band.description)
        return None if name in ("", f"band{band.number}", str(band.number)) else name
    coloured = band.colour in COLOURS and any(name.casefold() in COLOURS for name in wanted)
    return band.colour if coloured else None
