"""The errors that a user of `espcn` meets: a single line with the way out."""


class ModelError(ValueError):
    """A model cannot be read, does not fit the pixels it is given, or cannot run here.

    The message is one line that names the file or model, the values, the limit and what to do.
    """

    exit_code = 2
    """Of the command line: something else must be asked for."""


class DivergedError(ModelError):
    """A training run that left the numbers."""

    exit_code = 4
    """It failed while running."""
