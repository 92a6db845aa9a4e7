"""What can go wrong, as one small tree.

    PipelineError                     exit code
    ├── ConfigError                       2      wrong usage or configuration
    ├── SourceError                       3      the input cannot be read or understood
    │   └── ChangedError                  3      it changed while it was being read
    ├── PlanError                         3      the job cannot fit, or the output cannot hold it
    │   └── NoRoomError                   3      this machine's disk or memory is too small for it
    ├── TileError                         4      a tile failed while running
    │   └── CrashError                    4      it ended the process that made it
    ├── ResumeError                       4      the staged state cannot be used
    └── PublishError                      4      the finished output cannot be put in place
        ├── DiskFullError                 4      there is no room for it
        └── DamagedStageError             4      what is staged was damaged and must be made again

Every message is one line: it names the file, the values, the limit and the way out.
"""

from __future__ import annotations


class PipelineError(Exception):
    """A failure that the user can act on; the command line prints its message and nothing else."""

    exit_code = 4

    def __init__(self, message: str, *, uri: str | None = None, tile: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.uri = uri
        """The file that the failure is about, where there is one."""
        self.tile = tile
        """Index of the output tile that failed, where there is one."""

    def __str__(self) -> str:
        where = "" if self.tile is None else f" (tile {self.tile})"
        prefix = "" if self.uri is None or self.uri in self.message else f"{self.uri}: "
        return " ".join(f"{prefix}{self.message}{where}".split())

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.message, self.uri, self.tile))


class ConfigError(PipelineError):
    """Wrong usage or configuration."""

    exit_code = 2


class SourceError(PipelineError):
    """The input cannot be read or understood."""

    exit_code = 3


class ChangedError(SourceError):
    """The input is not what the plan was made for: its tiles may not belong together."""


class PlanError(PipelineError):
    """The job cannot fit memory or disk, or the output format cannot hold the result."""

    exit_code = 3


class NoRoomError(PlanError):
    """The job does not fit this disk or this memory: nothing is wrong with the input."""


class TileError(PipelineError):
    """A tile failed while running."""


class CrashError(TileError):
    """A tile ended the process that made it, and did so again where it was alone."""


class ResumeError(PipelineError):
    """The staged state of an earlier or concurrent run stands in the way."""


class PublishError(PipelineError):
    """The finished output could not be verified or put in place."""


class DiskFullError(PublishError):
    """The disk or the quota is full: nothing is wrong with the input."""


class DamagedStageError(PublishError):
    """Staged files are not what was recorded.

    With a `tile`, that tile can be made again; without one, the job must start again.
    """


def _rebuild(
    kind: type[PipelineError], message: str, uri: str | None, tile: int | None
) -> PipelineError:
    """Unpickle an error: exceptions with keyword-only arguments need the help."""
    return kind(message, uri=uri, tile=tile)
