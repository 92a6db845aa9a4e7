"""Dask's own log lines, about workers that come and go, are not for users."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

logger = logging.getLogger(__name__)


@contextmanager
def quiet_dask() -> Iterator[None]:
    """Dask, which must have been imported, says nothing but what its event loop fails at."""
    names = [name for name in logging.root.manager.loggerDict if name.startswith("distributed.")]
    loggers = [logging.getLogger(n) for n in ("distributed", "asyncio", "tornado", *names)]
    before = [one.level for one in loggers]
    loop, retold = logging.getLogger("tornado.application"), _Retold()
    for one in loggers:
        if one.getEffectiveLevel() > logging.DEBUG:
            one.setLevel(logging.CRITICAL)
    loop.addFilter(retold)
    try:
        yield
    finally:
        loop.removeFilter(retold)
        for one, level in zip(loggers, before, strict=True):
            one.setLevel(level)


class _Retold(logging.Filter):
    """Tracebacks of Dask's event loop, of a job that Slurm refused for one: in a line, and once."""

    def __init__(self) -> None:
        super().__init__()
        self._told: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is logged as it is, as who looks for a mistake wants it."""
        if logging.getLogger("tornado").isEnabledFor(logging.DEBUG):
            return True
        error = record.exc_info[1] if record.exc_info else None
        said = record.getMessage() if error is None else f"{type(error).__name__}: {error}"
        line = " ".join(said.split())
        kind = re.sub(r"/\S+", "", line)  # names of temporary files differ each time
        if kind not in self._told:
            self._told.add(kind)
            logger.warning("Dask: %s", line)
        return False
