"""What is found in an inbox, before anything of it is opened."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True, order=True)
class Found:
    """Something in the inbox that a family claims."""

    path: Path = field(repr=False)
    """Directory, archive or file; of a series of a DICOM folder the folder, # and its id."""
    family: str
    """Whose it is."""
    problem: str = ""
    """Why it cannot be looked at, in one line."""
    passed_over: str = ""
    """Why it is left alone although nothing is wrong with it, in one line."""
    label: str = ""
    """What it is called where its path may tell whom it shows; empty where its path may be said."""
    files: tuple[Path, ...] = field(default=(), repr=False)
    """All that belongs to it, where that does not follow from its path."""

    @property
    def name(self) -> str:
        """Of the scene, as long as nothing else is known."""
        return self.label or self.path.name

    @property
    def shown(self) -> str:
        """What messages call it."""
        return self.label or str(self.path)

    def place(self, inbox: Path) -> str:
        """Where it lies in the inbox, or what it is called instead."""
        return self.label or str(self.path.relative_to(inbox))

    def hide(self, text: str) -> str:
        """A text that is told behind its name, without it and what may not be said of it."""
        if not self.label:
            return text
        paths = sorted({self.path, self.path.parent, *self.files}, key=lambda p: -len(str(p)))
        for path in paths:
            text = text.replace(str(path), self.label)
        return text.removeprefix(f"{self.label}: ")


def leads_nowhere(path: Path) -> bool:
    """Whether a path is a link to what is gone: named as a scene, it is one that fails."""
    return path.is_symlink() and not path.exists()
