"""Errors that a caller can mend: each message is one line that names the value, what is allowed, and the remedy.

The command line prints them without a traceback; every other exception keeps its own. They are ValueError, TypeError,
... too, so `except ValueError` works as with any library.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from importlib.util import find_spec
from typing import Any


class UsageError(Exception):
    """Invalid input, or a machine that lacks what is needed."""

    exit_status = 2  # of the command line


class InvalidValueError(UsageError, ValueError):
    """An argument, an option or a setting whose value is not allowed."""


class InvalidTypeError(UsageError, TypeError):
    """An argument of another type, or an option that does not exist."""


class NotWritableError(UsageError, PermissionError):
    """A file or folder that cannot be written."""


class DivergedError(InvalidValueError):
    """An agent whose weights have become infinite or NaN."""


class FailedError(UsageError):
    """The machine failed in the middle of the work."""

    exit_status = 1


class WriteError(FailedError, OSError):
    """A file that can no longer be written: the disk is full, or the folder is gone."""


class RunExistsError(UsageError, FileExistsError):
    """A run's directory that is taken, by another run or by another process."""


class NoRunError(UsageError, FileNotFoundError):
    """A directory without a run, or a run without a checkpoint."""


class ForkedError(UsageError, RuntimeError):
    """An environment with threads or processes of its own, in a process that was forked after it was made."""


class OutOfMemoryError(UsageError, MemoryError):
    """More memory is asked for than is free."""


class MissingPackageError(UsageError, ModuleNotFoundError):
    """A package that rlgames requires is not installed."""


PACKAGES = {  # that rlgames requires, by the module that is imported
    "PIL": "pillow",
    "cv2": "opencv-python-headless",
    "gymnasium": "gymnasium",
    "matplotlib": "matplotlib",
    "numba": "numba",
    "numpy": "numpy",
    "rich": "rich",
    "platformdirs": "platformdirs",
    "safetensors": "safetensors",
    "shtab": "shtab",
    "scipy": "scipy",
    "torch": "torch",
    "tyro": "tyro",
}


def missing_package(error: ModuleNotFoundError) -> MissingPackageError | None:
    """Return the error of one line for a required package that is missing; None for any other module."""
    module = (error.name or "").partition(".")[0]
    name = PACKAGES.get(module)
    if name is None or find_spec(module) is not None:
        return None
    what = "agents need PyTorch, which" if name == "torch" else f"rlgames needs {name}, which"
    return MissingPackageError(
        f"{what} is not installed: pip install {name} (rlgames doctor lists what is missing)", name=error.name
    )


def brief(value: Any) -> str:
    """Return the repr of a value for an error: one line of at most 80 characters, all printable."""
    if isinstance(value, int) and value.bit_length() > 1_000:  # Python refuses to print the largest ones
        return f"an integer of {value.bit_length():,} bits"
    text = "".join(each if each.isprintable() else "?" for each in " ".join(repr(value).split()))
    return text if len(text) <= 80 else f"{text[:77]}..."


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return "did you mean 'ppo'? " for the known name that is most like `name`, in any case; "" if none is."""
    by_lower = {each.lower(): each for each in known}
    near = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return f"did you mean {by_lower[near[0]]!r}? " if near else ""
