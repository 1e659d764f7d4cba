"""How long Python takes to import rlgames and to answer `rlgames --help`, and which imports take it.

    .venv/bin/python benchmarks/start.py [--rounds 10]     (two minutes)

Times are the processor's seconds (user and system) of a fresh process, the least of the rounds; imports are measured by
`python -X importtime`.
"""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import tyro
from side_by_side import progress
from tables import Table

STARTS = {
    "python": ["-c", "pass"],
    "import numpy": ["-c", "import numpy"],
    "import gymnasium": ["-c", "import gymnasium"],
    "import rlgames": ["-c", "import rlgames"],
    "rlgames --help": ["-m", "rlgames", "--help"],
    "rlgames train --help": ["-m", "rlgames", "train", "--help"],
    "rlgames evaluate --help": ["-m", "rlgames", "evaluate", "--help"],
    "rlgames.make": ["-c", "import rlgames; rlgames.make"],
    "rlgames.PPO": ["-c", "import rlgames; rlgames.PPO"],
}
IMPORTS = 8  # that the second table has


def processor_seconds(arguments: list[str]) -> float:
    """Return the user and system time of a Python process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def slowest_imports(module: str, count: int) -> list[tuple[float, str]]:
    """Return seconds and names of the packages, of any depth, whose import takes longest with all that they import."""
    command = [sys.executable, "-X", "importtime", "-c", f"import {module}"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    rows = re.findall(r"\| +(\d+) \| +([a-zA-Z]\w*)$", lines, re.MULTILINE)
    return sorted(((int(time) / 1e6, name) for time, name in rows), reverse=True)[:count]


def main(rounds: int = 10, markdown: bool = False, json: Path | None = None) -> None:
    """Measure starts and imports.

    Args:
        rounds: of which the least time counts.
        markdown: print tables as Markdown.
        json: write them into this file too, from which the documentation is made.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    least = dict.fromkeys(STARTS, float("inf"))
    for i in range(rounds):  # in turn, so that what else runs on the machine slows all of them alike
        progress.print(f"round {i + 1} of {rounds}", style="dim", highlight=False)
        for name, arguments in STARTS.items():
            least[name] = min(least[name], processor_seconds(arguments))
    Table(
        "Seconds of the processor until a new process is done",
        {"process": "left", "seconds": "right"},
        [(f"`{name}`", f"{seconds:.3f}") for name, seconds in least.items()],
        (f"Least times; rounds: {rounds}.",),
    ).show(markdown, json)
    Table(
        "Seconds of the imports of `import rlgames` that take longest",
        {"package": "left", "seconds": "right"},
        [(f"`{name}`", f"{seconds:.3f}") for seconds, name in slowest_imports("rlgames", IMPORTS)],
        ("Each with what it imports itself; measured once.",),
    ).show(markdown, json)


if __name__ == "__main__":
    tyro.cli(main)
