"""Helpers of the benchmarks: timed loops, measurements in turns, a line on the machine, and one table."""

from __future__ import annotations

import json
import platform
import shlex
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

import rlgames
from rlgames.engine.vector_env import CORES

Benchmark = Callable[[float], float]  # runs for so many seconds; returns steps, frames or samples a second
Justify = Literal["left", "right"]
NONE = "—"  # a cell without a value
progress = Console(stderr=True)  # names what is measured at the moment; stdout has the table alone


def steps_per_second(work: Callable[[], int], seconds: float, clock: Callable[[], float] = perf_counter) -> float:
    """Call `work` for `seconds`, at least once; return the sum of its results for each second of the `clock`.

    `time.thread_time` counts the seconds in which this thread computes, and not those in which others do.
    """
    steps, start = 0, clock()
    while not steps or clock() - start < seconds:
        steps += work()
    return steps / (clock() - start)


def measure_in_turns(benchmarks: Collection[Benchmark], rounds: int, seconds: float) -> list[list[float]]:
    """Return the rates of all benchmarks in each round.

    They take turns, so that anything else the machine does slows all of them equally. A first turn of each does not
    count: it compiles code and fills caches.
    """
    for benchmark in benchmarks:
        benchmark(seconds)
    return [[benchmark(seconds) for benchmark in benchmarks] for _ in range(rounds)]


def format_rate(rate: float) -> str:
    """Return three digits: 91.2 M, 243 k, 87."""
    for size, unit in ((1e6, " M"), (1e3, " k"), (1.0, "")):
        if rate >= size:
            value = rate / size
            return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}{unit}"
    return f"{rate:.2g}"


def format_ratios(ratios: Sequence[float], digits: int) -> str:
    """Return the median and, in brackets, the smallest and largest of the ratios of all rounds."""
    middle, smallest, largest = (f"{value:,.{digits}f}" for value in (median(ratios), min(ratios), max(ratios)))
    return f"{middle} ({smallest}–{largest})"


def describe_machine(*packages: str) -> str:
    """Return the processor, its cores, and the versions of Python, rlgames and the installed ones of `packages`."""
    versions = [f"Python {platform.python_version()}", f"rlgames {rlgames.__version__}"]
    for package in packages:
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return f"{processor()}, {CORES} core{'s' * (CORES > 1)}; {', '.join(versions)}"


def processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")  # Linux
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def print_table(
    title: str,
    columns: Mapping[str, Justify],
    rows: Sequence[Sequence[str]],
    notes: Sequence[str],
    markdown: bool,
    path: Path | None = None,
) -> None:
    """Print a table between its title and its notes: rich on a terminal, otherwise (or with `markdown`) Markdown.

    `columns` maps each head to its justification. The table is written into the JSON file `path` too; see `save_table`.
    """
    if path is not None:
        save_table(path, title, {"columns": columns, "rows": rows, "notes": notes})
    console = Console()
    if console.is_terminal and not markdown:
        table = Table(title=title, title_justify="left")
        for head, justify in columns.items():
            table.add_column(head, justify=justify)
        for row in rows:
            table.add_row(*row)
        console.print(table)
        console.print(*notes, sep="\n", markup=False, highlight=False)
        return
    rule = ["---:" if justify == "right" else "---" for justify in columns.values()]
    table = ["| " + " | ".join(row) + " |" for row in (columns, rule, *rows)]
    print("\n".join([title, "", *table, *(f"\n{note}" for note in notes)]))


def save_table(path: Path, title: str, table: dict[str, Any]) -> None:
    """Write a table into a JSON file of tables by their titles, with its command and date; others in it stay."""
    tables = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    options = [word for word in sys.argv[1:] if word not in ("--markdown", "--json", str(path))]
    command = shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *options])
    tables[title] = {"command": command, "date": f"{date.today()}", **table}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(tables, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
