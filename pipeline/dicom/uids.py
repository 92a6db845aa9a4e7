"""Identifiers that follow from others: the same every time, and telling nothing of them."""

from __future__ import annotations

import hashlib
import uuid

SHOWN = 12
"""Hexadecimal digits that stand for an identifier: 48 bits, for millions of series."""


def derived_uid(source: str, *entropy: str) -> str:
    """A UID of at most 44 characters that follows from another one and from what was done to it.

    The same call gives the same UID, so that nothing is stored twice when it is sent twice. DICOM
    PS3.5, annex B.2: the prefix 2.25 and a UUID; RFC 9562, section 5.8: one made by a hash.
    """
    text = "".join(f"{len(part)}:{part}" for part in (source, *entropy))
    digest = int.from_bytes(
        hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()[:16], "big"
    )
    # the bits that say "version 8" and "variant of the RFC"
    digest = digest & ~(0xF << 76) | 0x8 << 76
    digest = digest & ~(0x3 << 62) | 0x2 << 62
    return f"2.25.{uuid.UUID(int=digest).int}"


def opaque(text: str) -> str:
    """What logs, errors and names say in place of a UID or a path: digits of its sha256.

    Good for what cannot be guessed. Not for names, dates and numbers of patients: these can be
    tried one after the other.
    """
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:SHOWN]
