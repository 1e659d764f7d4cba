"""Printing for people, with the standard library alone, so that `rlgames doctor` prints whatever is missing."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType

WIDEST = 100  # columns that are used at most: longer lines are hard to read
NAMES = 36  # columns of a column of names at most


def width() -> int:
    """Return the columns of the terminal, 80 where there is none; COLUMNS sets it."""
    return min(shutil.get_terminal_size().columns, WIDEST)


def wrap(text: str, indent: str = "") -> str:
    """Return the text in lines of the terminal's width, all but the first indented; paths and commands stay whole."""
    return textwrap.fill(text, width(), subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def first_line(text: str | None) -> str:
    return (text or "").strip().partition("\n")[0]


def print_fields(**fields: object) -> None:
    """Print a line for each field, the names in a column of their own."""
    for name, value in fields.items():
        print(f"{name.replace('_', ' '):<16} {value}")


def print_entries(title: str, entries: Iterable[Sequence[str]]) -> None:
    """Print a name and its paragraphs, in a column beside it, for each entry (name, paragraph, ...)."""
    entries = list(entries)
    print(wrap(title))
    column = 2 + min(max((len(name) for name, *_ in entries), default=0), NAMES) + 2
    for name, *paragraphs in entries:
        start = f"  {name}".ljust(column)
        for paragraph in filter(None, paragraphs):
            print(wrap(start + paragraph, " " * column))
            start = " " * column
    print()


def print_columns(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows of short cells, two spaces between columns."""
    lines = [columns, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for row in lines:
        print("  " + "  ".join(cell.ljust(size) for cell, size in zip(row, widths, strict=True)).rstrip())


@contextmanager
def status(text: str, quiet: bool = False) -> Iterator[None]:
    """Show what is being done on a terminal, in a line that goes when it is done; elsewhere print nothing."""
    shown = not quiet and sys.stderr is not None and sys.stderr.isatty()
    if shown:
        print(f"{text} ...", end="\r", file=sys.stderr, flush=True)  # what is printed meanwhile overwrites it
    try:
        yield
    finally:
        if shown:
            print(" " * (len(text) + 4), end="\r", file=sys.stderr, flush=True)


def load_command(name: str) -> ModuleType:
    """Import the module that does the work of a command, which may take seconds."""
    with status("loading PyTorch"):
        return import_module(f"rlgames.cli.{name}")
