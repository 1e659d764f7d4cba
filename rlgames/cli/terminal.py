"""CLI helpers: options (tyro), errors, tables."""

from __future__ import annotations

import io
import math
import re
import textwrap
from collections.abc import Iterable
from contextlib import redirect_stderr
from itertools import dropwhile, takewhile
from typing import Any

import tyro
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rlgames.errors import UsageError

MARKERS = (tyro.conf.FlagCreatePairsOff, tyro.conf.PositionalMetavarFromFieldName)


def parse(options: Any, name: str, argv: list[str], *, default: Any = None, description: str | None = None) -> Any:
    """Parse the options of a command into an instance of the dataclass `options`; print the help and exit if asked to.

    Raises UsageError for invalid options.
    """
    stderr, defaults = io.StringIO(), {} if default is None else {"default": default}
    try:
        with redirect_stderr(stderr):
            return tyro.cli(
                options, prog=f"rlgames {name}", args=argv, config=MARKERS, description=description, **defaults
            )
    except SystemExit as leave:
        if not leave.code:
            raise
    raise UsageError(f"{error_text(stderr.getvalue())} (see rlgames {name} --help)")


def error_text(box: str) -> str:
    """Return the error that tyro prints in a box as one line: its first paragraph, and the options it suggests."""
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line).strip("│ ") for line in box.splitlines()[1:]]
    rule = re.compile("[─╰╯-]*").fullmatch  # without UTF-8 there is one below the title too
    first = " ".join(takewhile(lambda line: not rule(line), dropwhile(rule, lines)))
    suggested = box.partition("Perhaps you meant:")[2].partition("For full helptext")[0]
    near = list(dict.fromkeys(re.findall(r" (--[a-z][\w.-]*) ", suggested)))
    return re.sub("^Missing from .*?:", "missing:", first) + (f"; did you mean {' or '.join(near)}?" if near else "")


def check_minimum(least: int, **values: float | None) -> None:
    """Raises UsageError for an option below `least`."""
    for name, value in values.items():
        if value is not None and not value >= least:
            raise UsageError(f"expected --{name.replace('_', '-')} >= {least}, got {value}")


def check_positive(**values: float) -> None:
    """Raises UsageError for an option that is 0, negative or not a number."""
    for name, value in values.items():
        if not 0 < value < math.inf:
            raise UsageError(f"expected --{name} > 0, got {value}")


def check_device(name: str) -> None:
    """Raises UsageError for a device that torch does not have here."""
    import torch  # noqa: PLC0415  heavy

    try:
        torch.empty(0, device="cpu" if name == "auto" else name)
    except (RuntimeError, AssertionError) as error:
        reason = textwrap.shorten(first_line(str(error)), 80, placeholder=" ...")
        raise UsageError(f"no device {name!r} here ({reason}): use --device auto or cpu") from error


def first_line(text: str | None) -> str:
    return (text or "").strip().partition("\n")[0]


def print_fields(**fields: object) -> None:
    """Print a line for each field, the names in a column of their own."""
    for name, value in fields.items():
        print(f"{name.replace('_', ' '):<16} {value}")


def print_table(title: str, columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    """Print a table; on a terminal drawn to its width, elsewhere plain lines with two spaces between columns."""
    console, rows = Console(highlight=False), list(rows)
    if console.is_terminal:
        console.print(Text(title, "bold"))
        table = Table(*columns, box=box.SIMPLE_HEAD)
        table.columns[0].no_wrap = True
        for column in table.columns[1:]:
            column.overflow = "fold"  # a path is not cut off
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        return console.print(table)
    lines = [columns, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    print(title)
    for row in lines:
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print()
