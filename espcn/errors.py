"""The one error a user of `espcn` meets: `ModelError`, a single line with the way out."""


class ModelError(ValueError):
    """A model cannot be read, does not fit the pixels it is given, or cannot run here.

    The message is one line that names the file or model, the values, the limit and what to do.
    """
