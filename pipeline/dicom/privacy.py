"""Nothing that tells whom an image shows may be said: not by us, not by the libraries we call."""

from __future__ import annotations

import logging
import re
import warnings
from pathlib import Path

from pipeline.dicom.uids import opaque
from pipeline.errors import PipelineError

LIBRARY = "pydicom"
"""Its warnings and log records quote the values that they are about."""
_UNSAID = ("ignore", None, Warning, re.compile(rf"{LIBRARY}(\.|$)"), 0)


def hush() -> None:
    """Let pydicom warn and log no more; good to call again, and from many threads.

    Without it a date of birth that is none would be printed: "Invalid value for VR DA: ...".
    """
    # no `catch_warnings`: it restores what other threads have changed meanwhile
    if warnings.filters[:1] != [_UNSAID]:
        warnings.filterwarnings("ignore", module=_UNSAID[3].pattern)
    for logger in (LIBRARY, *_below()):
        logging.getLogger(logger).addFilter(_silent)  # added once, however often


def called(path: str | Path) -> str:
    """What errors and logs call a file or a folder; `espcn inspect --phi` lists which is which."""
    return f"DICOM {opaque(str(path))}"


def forget_phi(error: PipelineError, path: str | Path) -> PipelineError:
    """The same error without the path that it is about, which becomes its opaque name.

    Paths tell of patients as often as attributes do: folders are named after them.
    """
    text = error.message.replace(str(path), called(path))
    folder = str(Path(path).parent)
    text = text.replace(folder, "...") if len(folder) > 1 else text
    return type(error)(text, uri=called(path), tile=error.tile)


def _silent(record: logging.LogRecord) -> bool:  # noqa: ARG001 - whatever it says
    """Lets nothing through."""
    return False


def _below() -> list[str]:
    """Loggers of its modules so far: what a filter stops does not include those below."""
    return [name for name in logging.root.manager.loggerDict if name.startswith(f"{LIBRARY}.")]
