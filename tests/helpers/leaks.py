"""Find processes, threads and sockets that a test leaves behind (Linux; elsewhere none are found)."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import threading
import time
from pathlib import Path
from typing import NamedTuple

GRACE_PERIOD = 60.0  # seconds that something may take to end after the test, on a busy machine
LASTING_PROCESSES = ("resource_tracker", "forkserver")  # multiprocessing's own, one each
LASTING_THREADS = (
    "rlgames",
    "asyncio",
    "pytest_timeout",
    "Thread-auto-conversion",
    "execnet",
)  # shared pools, test runners


class Resources(NamedTuple):
    """Processes, threads and sockets that this process holds."""

    processes: frozenset[int]
    threads: frozenset[threading.Thread]
    sockets: frozenset[str]


def held() -> Resources:
    """Return the child processes, threads and sockets of this process."""
    return Resources(frozenset(child_processes()), frozenset(threading.enumerate()), frozenset(open_sockets()))


def left_since(before: Resources) -> list[str]:
    """Return descriptions of what is held now and was not before, once it had time to end; processes are killed."""
    deadline = time.monotonic() + GRACE_PERIOD
    while leaks := new_since(before):
        if time.monotonic() > deadline:
            break
        gc.collect()
        time.sleep(0.05)
    for pid in child_processes() - before.processes:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if not is_lasting(pid):
                os.kill(pid, signal.SIGKILL)
    return leaks


def new_since(before: Resources) -> list[str]:
    now = held()
    processes = [f"process {pid}: {command_of(pid)}" for pid in now.processes - before.processes if not is_lasting(pid)]
    threads = [
        f"thread {thread.name}"
        for thread in now.threads - before.threads
        if not thread.name.startswith(LASTING_THREADS)
    ]
    return processes + threads + [f"open {socket}" for socket in now.sockets - before.sockets]


def child_processes() -> set[int]:
    children = set()
    for task in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):  # a thread that has just ended
            children |= {int(pid) for pid in task.read_text().split()}
    return {pid for pid in children if not is_zombie(pid)}


def is_zombie(pid: int) -> bool:
    """Return whether a process has ended and waits for its parent to collect its exit code."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def is_lasting(pid: int) -> bool:
    return any(name in command_of(pid) for name in LASTING_PROCESSES)


def open_sockets() -> set[str]:
    sockets = set()
    with contextlib.suppress(OSError):
        for entry in os.scandir("/proc/self/fd"):
            with contextlib.suppress(OSError):
                target = os.readlink(entry.path)
                if target.startswith("socket:"):
                    sockets.add(target)
    return sockets
