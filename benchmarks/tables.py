"""Tables of the benchmarks: printed, and kept in JSON files with the command, the commit and the machine.

The documentation is made from the files in benchmarks/results/, see `results` in docs/generate.py. A file maps the
titles of its tables to

    command, date     as they were run
    commit, changed   of the repository, None where unknown; whether rlgames/ or benchmarks/ differed from it
    machine           processor, cores, memory in GB, instruction set, GPU, load average when the script began, and
                      versions; None where unknown, or where there is none
    seeds, episodes   of the trainings and of their evaluations, None where there are none
    columns           "left" or "right" by their heads
    rows, notes       as they are printed
    values            more than the table shows, if there is more
"""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import torch
from rich.console import Console
from rich.table import Table as RichTable

import rlgames
from rlgames.engine.vector_env import CORES
from rlgames.runs.machine import describe_machine

Justify = Literal["left", "right"]
ROOT = Path(__file__).parents[1]
MEASURED = ("rlgames", "benchmarks", ":!benchmarks/results")  # what a commit must have for a result to be repeated
PACKAGES = ("gymnasium", "numpy", "numba", "torch")  # whose versions every table has
NONE = "—"  # a cell without a value
LOAD = os.getloadavg()[0]  # of the minute before the script began: others' work, not its own


@dataclass(frozen=True)
class Table:
    """Table of a benchmark."""

    title: str
    columns: Mapping[str, Justify]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()
    packages: Sequence[str] = ()  # whose versions matter, besides those that every table has
    seeds: Sequence[int] | None = None
    episodes: int | None = None  # of an evaluation
    values: Any = None  # JSON, more than the cells show

    def show(self, markdown: bool, path: Path | None = None) -> None:
        """Print it: rich on a terminal, otherwise (or with `markdown`) Markdown. Write it into the file `path` too."""
        entry = self.as_json(path)
        if path is not None:
            save(path, {self.title: entry})
        m = entry["machine"]
        versions = ", ".join(f"{name} {number}" for name, number in m["versions"].items())
        notes = [*self.notes, f"{m['gpu'] or m['processor']}, {m['cores']} cores, load average {m['load']}; {versions}"]
        console = Console()
        if console.is_terminal and not markdown:
            table = RichTable(title=self.title, title_justify="left")
            for head, justify in self.columns.items():
                table.add_column(head, justify=justify)
            for row in self.rows:
                table.add_row(*row)
            console.print(table)
            console.print(*notes, sep="\n", markup=False, highlight=False)
            return
        rule = ["---:" if justify == "right" else "---" for justify in self.columns.values()]
        lines = ["| " + " | ".join(row) + " |" for row in (self.columns, rule, *self.rows)]
        print("\n".join([self.title, "", *lines, *(f"\n{note}" for note in notes)]), end="\n\n")

    def as_json(self, path: Path | None = None) -> dict[str, Any]:
        """Return its entry in a file of results; `path`, the file's, is no part of the command."""
        commit = git("rev-parse", "HEAD")
        entry = {
            "command": command(path),
            "date": f"{date.today()}",
            "commit": commit and commit[:12],
            "changed": bool(commit and git("status", "--porcelain", "--untracked-files=no", "--", *MEASURED)),
            "machine": machine(self.packages),
            "seeds": None if self.seeds is None else list(self.seeds),
            "episodes": self.episodes,
            "columns": dict(self.columns),
            "rows": [list(row) for row in self.rows],
            "notes": list(self.notes),
        }
        return entry if self.values is None else entry | {"values": self.values}


def command(path: Path | None) -> str:
    """Return the command line that this process was started by, without the options for its output."""
    options = [word for word in sys.argv[1:] if word not in ("--markdown", "--json", str(path))]
    return shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *options])


def git(*arguments: str) -> str | None:
    """Return what git prints of this repository; None without it."""
    try:
        done = subprocess.run(["git", "-C", str(ROOT), *arguments], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def machine(packages: Sequence[str] = ()) -> dict[str, Any]:
    """Return what the machine is, and the versions of Python, rlgames and the installed ones of `packages`."""
    described = describe_machine(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    versions = {"Python": platform.python_version(), "rlgames": rlgames.__version__}
    for package in (*PACKAGES, *packages):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "processor": described["processor"],
        "cores": CORES,
        "memory": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        "instruction_set": described["instruction_set"],
        "gpu": described["device"] if torch.cuda.is_available() else None,
        "load": round(LOAD, 2),
        "versions": versions,
    }


def save(path: Path, entries: Mapping[str, Any]) -> None:
    """Write tables by their titles into a file; others in it stay."""
    tables = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(as_text(tables | dict(entries)), encoding="utf-8")


def as_text(tables: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a file's text: a line for each fact of a table and for each row, so that a difference is short."""
    text = []
    for title, entry in tables.items():
        facts = []
        for name, value in entry.items():
            lines = ",\n   ".join(dumps(row) for row in value) if name == "rows" else ""
            facts.append(f"  {dumps(name)}: " + (f"[\n   {lines}\n  ]" if lines else dumps(value)))
        text.append(f" {dumps(title)}: {{\n" + ",\n".join(facts) + "\n }")
    return "{\n" + ",\n".join(text) + "\n}\n"


def dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
