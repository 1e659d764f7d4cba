"""Errors that a caller can mend: each message is one line that names the value, what is allowed, and the remedy.

The command line prints them without a traceback; every other exception keeps its own. They are ValueError, TypeError,
... too, so `except ValueError` works as with any library.
"""


class UsageError(Exception):
    """Invalid input, or a machine that lacks what is needed."""


class InvalidValueError(UsageError, ValueError):
    """An argument, an option or a setting whose value is not allowed."""


class InvalidTypeError(UsageError, TypeError):
    """An argument of another type, or an option that does not exist."""


class NotWritableError(UsageError, PermissionError):
    """A file or folder that cannot be written."""


class RunExistsError(UsageError, FileExistsError):
    """A run's directory that is taken."""


class NoRunError(UsageError, FileNotFoundError):
    """A directory without a run, or a run without a checkpoint."""


class OutOfMemoryError(UsageError, MemoryError):
    """More memory is asked for than is free."""
