"""XML of strangers: parsed without entities, up to a size; elements are found by their plain names.

Namespaces and nesting of the same element differ between versions of a product; its name does not.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from pipeline.scenes.scene import SceneError

MOST = 32 * 2**20
"""Bytes that are read of an XML file; the metadata of a Sentinel-2 tile have 0.6 MB."""
CHUNK = 64 * 1024
"""Bytes that are parsed at once."""


@dataclass(frozen=True, slots=True)
class Markup:
    """The elements of an XML file."""

    path: Path
    """The file."""
    root: str
    """Name of the outermost element, without namespace."""
    named: dict[str, list[ElementTree.Element]]
    """All elements by name without namespace, in the file's order."""

    def all(self, *names: str) -> list[ElementTree.Element]:
        """The elements of these names."""
        return [element for name in names for element in self.named.get(name, ())]

    def text(self, *names: str) -> str:
        """The first text that is not blank among the elements of these names; '' if there is none.

        In the order of the names.
        """
        texts = ((element.text or "").strip() for element in self.all(*names))
        return next((text for text in texts if text), "")

    def number(self, *names: str) -> float | None:
        """That text as a number; None where it is no finite one."""
        return number(self.text(*names))


def parse_xml(path: Path, *, until: str = "") -> Markup:
    """Read an XML file; raises SceneError if it is no XML, too large or declares a document type.

    Entities come with document types only. What follows the end of the first element `until` is
    not read.
    """
    builder = _Builder(path, until)
    parser = ElementTree.XMLParser(target=builder)
    try:
        with path.open("rb") as file:
            while not builder.done and (chunk := file.read(CHUNK)):
                parser.feed(chunk)
                if file.tell() > MOST:
                    message = f"has more than {MOST} bytes, which no metadata need"
                    raise SceneError(message, uri=str(path), reason="hostile")
        top = builder.top if builder.done else parser.close()
    except (ElementTree.ParseError, LookupError, ValueError) as error:  # an unknown encoding
        raise SceneError(
            f"is not well-formed XML ({error}): it is damaged or has not arrived whole",
            uri=str(path),
        ) from error
    except OSError as error:
        raise SceneError(f"cannot be read ({error.strerror})", uri=str(path)) from error
    assert top is not None  # the parser had found no element
    named: dict[str, list[ElementTree.Element]] = defaultdict(list)
    for element in top.iter():
        named[_plain(element.tag)].append(element)
    return Markup(path, _plain(top.tag), dict(named))


def number(text: str | None) -> float | None:
    """A text as a number; None where it is no finite one."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


class _Builder(ElementTree.TreeBuilder):
    """Builds the tree; stops at a document type, in whichever encoding it stands."""

    def __init__(self, path: Path, until: str) -> None:
        super().__init__()
        self.path, self.until = path, until
        self.top: ElementTree.Element | None = None
        """The outermost element."""
        self.done = False
        """Whether the last element that matters has ended."""

    def start(self, tag: str, attrs: dict[str, str]) -> ElementTree.Element:
        """Called by the parser."""
        element = super().start(tag, attrs)
        self.top = element if self.top is None else self.top
        return element

    def end(self, tag: str) -> ElementTree.Element:
        """Called by the parser."""
        self.done = self.done or _plain(tag) == self.until
        return super().end(tag)

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:  # noqa: ARG002
        """Called by the parser."""
        raise SceneError(
            "declares a document type, which no metadata need", uri=str(self.path), reason="hostile"
        )


def _plain(tag: str) -> str:
    return tag.rpartition("}")[2]
