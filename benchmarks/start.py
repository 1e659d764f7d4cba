"""How long Python takes to import rlgames and to answer `rlgames --help`, and which imports take it.

Run: python benchmarks/start.py [ROUNDS]

Times are the processor's seconds (user and system) of a fresh process, the least of the rounds; imports are measured by
`python -X importtime`.
"""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys

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


def main(rounds: int = 10) -> None:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    least = dict.fromkeys(STARTS, float("inf"))
    for _ in range(rounds):  # in turn, so that what else runs on the machine slows all of them alike
        for name, arguments in STARTS.items():
            least[name] = min(least[name], processor_seconds(arguments))
    for name, seconds in least.items():
        print(f"{name:<24} {seconds:6.3f} s")
    print("\npackages that `import rlgames` imports, each with what it imports itself:")
    for seconds, name in slowest_imports("rlgames", 8):
        print(f"{name:<24} {seconds:6.3f} s")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
