"""Standard output of the command line where it is closed, full, or a pipe that nobody reads."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from rlgames.errors import WriteError


class OutputClosedError(BrokenPipeError):
    """Nobody reads the output any more; the pipe of a game or an agent raises a plain BrokenPipeError."""


class CheckedOutput:
    """A stream whose failures are WriteErrors, in one line, and OutputClosedError for a pipe that nobody reads."""

    def __init__(self, stream: Any):
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        with self.checked():
            return self.stream.write(text)

    def flush(self) -> None:
        with self.checked():
            self.stream.flush()

    @contextmanager
    def checked(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError as error:
            raise OutputClosedError(*error.args) from error
        except OSError as error:
            raise WriteError(f"the output cannot be written: {error.strerror or error}") from error


@contextmanager
def checked_output() -> Iterator[None]:
    """Check standard output while it lasts. What could not be written is dropped in the end."""
    open_standard_streams()
    stream = sys.stdout
    sys.stdout = CheckedOutput(stream)
    try:
        yield
    finally:
        sys.stdout = stream
        try:
            stream.flush()
        except OSError:  # Python would try again when it ends
            with suppress(OSError):
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, stream.fileno())
                os.close(null)


def open_standard_streams() -> None:
    """Let /dev/null take the place of closed standard streams: the next file that is opened would take it."""
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
            try:
                os.fstat(descriptor)
            except OSError:
                os.dup2(null, descriptor)
            setattr(sys, name, open(null, mode, encoding="utf-8", closefd=False))  # noqa: SIM115  until Python ends


def complain(text: str) -> None:
    """Print a line on standard error, where nothing can be done if that fails, too."""
    with suppress(OSError):
        print(f"rlgames: {text}", file=sys.stderr)
