"""Workers: processes that fail, die or are left alone are detected, and none outlives its parent."""

from __future__ import annotations

import inspect
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.processes import TIMEOUT, wait_until_ended

from rlgames.agents.workers import Workers


def exit_early(report: Callable[[Any], None], should_continue: Callable[[], bool]) -> None:
    sys.exit(0)


def die_within_a_message(report: Callable[[Any], None], should_continue: Callable[[], bool]) -> None:
    report("whole")
    pipe = inspect.getclosurevars(report).nonlocals["pipe"]
    os.write(pipe.fileno(), b"\0\0\1\0half a message")
    os.kill(os.getpid(), signal.SIGKILL)


def test_reports_raises_for_a_worker_that_exits_or_dies():
    """Exit without a result; kill -9 in the middle of a message."""
    exits, dies = Workers(exit_early, [()]), Workers(die_within_a_message, [()])
    try:
        with pytest.raises(RuntimeError, match="worker 0 ended with exit code 0 while it was running"):
            list(exits.reports())
        reports: list[Any] = []
        with pytest.raises(RuntimeError, match="worker 0 was killed by SIGKILL while it was running"):
            reports.extend(dies.reports())
    finally:
        results = exits.close(), dies.close(), dies.close()
    assert results == ([], [], [])
    assert multiprocessing.active_children() == []


def test_workers_end_when_their_parent_is_killed(tmp_path: Path):
    """Also one that hangs."""
    (tmp_path / "endless.py").write_text(
        "import os, time\n"
        "from rlgames.engine import parent\n"
        "def run(report, should_continue):\n"
        "    parent.GRACE_PERIOD = 0.1\n"
        "    report(os.getpid())\n"
        "    time.sleep(1e6)\n"
    )
    program = (
        "from endless import run\n"
        "from rlgames.agents.workers import Workers\n"
        "for pid in Workers(run, [()]).reports():\n"
        "    print(pid, flush=True)\n"
    )
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "TMPDIR": str(temporary)},
    )
    try:
        assert process.stdout
        worker = int(process.stdout.readline())
        process.kill()
        _, errors = process.communicate(timeout=TIMEOUT)  # until the worker, which has the same stderr, has ended too
        assert wait_until_ended([worker])
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert errors == ""
    assert list(temporary.iterdir()) == []


def test_a_forked_process_leaves_the_workers_of_its_parent_alone(monkeypatch: pytest.MonkeyPatch):
    """It has the same atexit callbacks."""
    workers = Workers(exit_early, [])
    with monkeypatch.context() as patch:
        patch.setattr(workers.fork_guard, "pid", os.getpid() + 1)
        assert workers.close() == []
        assert not workers.stop[0]
    workers.close()
    assert workers.stop[0]


def test_a_script_without_a_main_guard_gets_a_hint(tmp_path: Path):
    program = "from rlgames.agents.workers import Workers\nlist(Workers(print, [()]).reports())"
    (tmp_path / "script.py").write_text(program)
    result = subprocess.run(
        [sys.executable, tmp_path / "script.py"], capture_output=True, text=True, check=False, timeout=TIMEOUT
    )
    assert result.returncode == 1
    assert 'before it was running: does the script have if __name__ == "__main__"?' in result.stderr
