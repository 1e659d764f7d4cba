"""Check that nothing of a Ray cluster that a test has started is left behind."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from helpers.leaks import is_zombie

GRACE_PERIOD = 90.0  # seconds that processes may take to end, on a busy machine


def agent_ports() -> dict[str, int]:
    """Return ports for the agents of a node: without, its start fails if they take 15 seconds, on a busy machine."""
    names = "metrics_agent_port", "metrics_export_port", "runtime_env_agent_port", "dashboard_agent_listen_port"
    sockets = [socket.socket() for _ in names]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return dict(zip(names, ports, strict=True))


def descendants() -> set[tuple[int, str]]:
    """Return the processes that this one has started, directly or not, each with the time at which it was started."""
    started, parents = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        pid = int(path.parent.name)
        parents[pid], started[pid] = int(fields[1]), fields[19]
    found, new = set(), {os.getpid()}
    while new:
        new = {pid for pid, parent in parents.items() if parent in new} - found
        found |= new
    return {(pid, started[pid]) for pid in found if not is_zombie(pid)}


@contextmanager
def all_end() -> Iterator[None]:
    """Enter it around the end of a cluster: fail if processes that this one has started do not end."""
    before = {process for process in descendants() if is_of_ray(process[0])}
    yield
    deadline = time.monotonic() + GRACE_PERIOD
    while left := still_running(before):
        assert time.monotonic() < deadline, f"Ray leaves behind: {sorted(left)}"
        time.sleep(0.5)


def is_of_ray(pid: int) -> bool:
    return b"ray" in Path(f"/proc/{pid}/cmdline").read_bytes()


def still_running(processes: set[tuple[int, str]]) -> set[tuple[int, str]]:
    """Return those of `processes` that run, whoever is their parent now."""
    running = set()
    for pid, started in processes:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[19] == started and fields[0] != "Z":
            running.add((pid, started))
    return running
