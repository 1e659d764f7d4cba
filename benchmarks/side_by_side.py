"""What the benchmarks share: one line on the machine, and one table, for a terminal or for a README."""

from __future__ import annotations

import platform
from collections.abc import Callable, Collection, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Literal

from rich.console import Console
from rich.table import Table

import rlgames
from rlgames.engine.vector_env import CORES

Turn = Callable[[float], float]  # plays for so many seconds: steps or frames a second
Justify = Literal["left", "right"]
progress = Console(stderr=True)  # what is being measured right now; kept out of what is pasted


def machine(*packages: str) -> str:
    """The processor, its cores, and the versions of Python, rlgames and those of `packages` that are installed."""
    found = [f"Python {platform.python_version()}", f"rlgames {rlgames.__version__}"]
    for package in packages:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return f"{processor()}, {CORES} core{'s' * (CORES > 1)}; {', '.join(found)}"


def spread(ratios: Sequence[float], digits: int) -> str:
    """Median (least–greatest)."""
    middle, least, greatest = (f"{value:,.{digits}f}" for value in (median(ratios), min(ratios), max(ratios)))
    return f"{middle} ({least}–{greatest})"


def in_turn(sides: Collection[Turn], rounds: int, seconds: float) -> list[list[float]]:
    """Rates of all sides in each round, so that whatever else the machine does slows all of them alike.

    A first turn of each is not counted.
    """
    for turn in sides:
        turn(seconds)
    rates = []
    for i in range(rounds):
        progress.print(f"round {i + 1} of {rounds}", highlight=False)
        rates.append([turn(seconds) for turn in sides])
    return rates


def processor() -> str:
    about = Path("/proc/cpuinfo")  # Linux
    lines = about.read_text().splitlines() if about.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def rate(per_second: float) -> str:
    """Three digits: 91.2 M, 243 k, 87."""
    for size, unit in ((1e6, " M"), (1e3, " k"), (1.0, "")):
        if per_second >= size:
            value = per_second / size
            return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}{unit}"
    return f"{per_second:.2g}"


def report(
    title: str,
    columns: Mapping[str, Justify],
    rows: Sequence[Sequence[str]],
    notes: Sequence[str],
    markdown: bool,
) -> None:
    """Print a table between its title and its notes: rich on a terminal, else (or with `markdown`) Markdown.

    `columns` maps their heads to the side on which they are flush.
    """
    console = Console()
    if console.is_terminal and not markdown:
        table = Table(title=title, title_justify="left")
        for head, side in columns.items():
            table.add_column(head, justify=side)
        for row in rows:
            table.add_row(*row)
        console.print(table)
        console.print(*notes, sep="\n", markup=False, highlight=False)
        return
    rule = ["---:" if side == "right" else "---" for side in columns.values()]
    table = ["| " + " | ".join(row) + " |" for row in (columns, rule, *rows)]
    print("\n".join([title, "", *table, *(f"\n{note}" for note in notes)]))
