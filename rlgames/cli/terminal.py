"""How commands listen and answer: options become dataclasses (tyro), bad input one line, rows a table."""

from __future__ import annotations

import io
import math
import re
import textwrap
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stderr
from itertools import dropwhile, takewhile
from typing import Any

import gymnasium as gym
import tyro

MARKERS = (tyro.conf.FlagCreatePairsOff, tyro.conf.PositionalMetavarFromFieldName)


class Refusal(Exception):
    """Input that cannot be meant, or a machine that lacks what it takes; the message is one line."""


@contextmanager
def refusing() -> Iterator[None]:
    """Around what looks at input before the work begins: its errors are the user's to mend."""
    try:
        yield
    except (ValueError, TypeError, OSError, MemoryError, gym.error.Error) as error:
        raise Refusal(" ".join(str(error).split())) from error


def parse(kind: Any, name: str, argv: list[str], **more: Any) -> Any:
    """The options of a command, an instance of `kind`. Prints the help and leaves when asked to.

    Raises Refusal for options that tyro refuses. `more` goes to `tyro.cli`.
    """
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            return tyro.cli(kind, prog=f"rlgames {name}", args=argv, config=MARKERS, **more)
    except SystemExit as leave:
        if not leave.code:
            raise
    raise Refusal(f"{complaint(said.getvalue())} (see rlgames {name} --help)")


def complaint(box: str) -> str:
    """What tyro has drawn into a box, in one line: the first paragraph, and the options that it suggests."""
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line).strip("│ ") for line in box.splitlines()[1:]]
    rule = re.compile("[─╰╯-]*").fullmatch  # without UTF-8 there is one below the title too
    first = " ".join(takewhile(lambda line: not rule(line), dropwhile(rule, lines)))
    suggested = box.partition("Perhaps you meant:")[2].partition("For full helptext")[0]
    near = list(dict.fromkeys(re.findall(r" (--[a-z][\w.-]*) ", suggested)))
    return re.sub("^Missing from .*?:", "missing:", first) + (f"; did you mean {' or '.join(near)}?" if near else "")


def at_least(least: int, **values: float | None) -> None:
    """Raises Refusal for an option below `least`."""
    for name, value in values.items():
        if value is not None and not value >= least:
            raise Refusal(f"expected --{name.replace('_', '-')} >= {least}, got {value}")


def above_zero(**values: float) -> None:
    """Raises Refusal for an option that is 0, negative or not a number."""
    for name, value in values.items():
        if not 0 < value < math.inf:
            raise Refusal(f"expected --{name} > 0, got {value}")


def check_device(name: str) -> None:
    """Raises Refusal for a device that torch does not have here."""
    import torch

    try:
        torch.empty(0, device="cpu" if name == "auto" else name)
    except (RuntimeError, AssertionError) as error:
        reason = textwrap.shorten(first_line(str(error)), 80, placeholder=" ...")
        raise Refusal(f"no device {name!r} here ({reason}): use --device auto or cpu") from error


def first_line(text: str | None) -> str:
    return (text or "").strip().partition("\n")[0]


def say(**lines: object) -> None:
    """A line for each, the names in a column of their own."""
    for name, value in lines.items():
        print(f"{name.replace('_', ' '):<16} {value}")


def show(title: str, columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    """A table; on a terminal drawn to its width, elsewhere plain lines with at least two spaces between columns."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

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
