"""Wait for the processes that a test starts."""

from __future__ import annotations

import os
import time
from pathlib import Path

TIMEOUT = 120.0  # seconds; only a failing test takes as long


def is_running(pid: int) -> bool:
    """Return whether the process runs; one that has ended but was not waited for does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def wait_until_ended(pids: list[int]) -> bool:
    """Return True once none of the processes runs, False if one still does after TIMEOUT."""
    deadline = time.monotonic() + TIMEOUT
    while any(map(is_running, pids)):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
