"""Processes end after the parent that started them, also within a step that never returns.

Only the kernel's alarm takes 23 seconds; the others do without the grace period.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.processes import wait_until_ended

from rlgames.engine.parent import end_with_parent

HANG = """
import os, time
import gymnasium, numpy
from rlgames.engine import parent
class Hang(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(0, 1, (1,), numpy.float32)
    action_space = gymnasium.spaces.Discrete(2)
    def reset(self, *, seed=None, options=None):
        return numpy.zeros(1, numpy.float32), {"pid": os.getpid()}
    def step(self, action):
        sleep(10**6)
sleep = time.sleep
def run(pipe=None):
    parent.end_with_parent()
    pipe.send(os.getpid())
    sleep(10**6)
"""
QUICKLY = "parent.GRACE_PERIOD = 0\n"
HOLDING_THE_LOCK = "sleep = lambda seconds: any(iter(int, 1))\n"  # an endless loop in C
PROGRAM = """
import multiprocessing, os, sys, time
import hang
if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    reader, writer = context.Pipe(duplex=False)
    process = context.Process(target=hang.run, args=(writer,))
    process.start()
    pids = [reader.recv()]
    if "fork" in sys.argv:
        pids.append(os.fork())  # it holds all pipes of its parent
        if not pids[1]:
            time.sleep(10**6)
    print(*pids, flush=True)
    time.sleep(10**6)
"""
VECTOR_PROGRAM = """
import hang
from rlgames.engine import ProcessVectorEnv
if __name__ == "__main__":
    envs = ProcessVectorEnv(hang.Hang, 2)
    print(*envs.reset()[1]["pid"], flush=True)
    envs.step([0, 0])
"""


def pids_of_a_killed_program(program: str, folder: Path, *arguments: str, changes: str) -> list[int]:
    """Start the program, kill it once it has printed the ids of its processes, and return them."""
    (folder / "hang.py").write_text(HANG + changes)
    (folder / "program.py").write_text(program)
    command = [sys.executable, str(folder / "program.py"), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        pids = [int(pid) for pid in process.stdout.readline().split()]
        process.kill()
    assert pids
    return pids


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_process_in_an_endless_step_ends_after_its_parent(method: str, tmp_path: Path) -> None:
    assert wait_until_ended(pids_of_a_killed_program(PROGRAM, tmp_path, method, changes=QUICKLY))


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="pidfd_open is of Linux")
def test_process_ends_although_a_fork_of_its_parent_lives_on(tmp_path: Path) -> None:
    process, fork = pids_of_a_killed_program(PROGRAM, tmp_path, "spawn", "fork", changes=QUICKLY)
    try:
        assert wait_until_ended([process])
    finally:
        os.kill(fork, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
@pytest.mark.skipif(sys.platform != "linux", reason="the alarm is of Linux")
def test_process_that_holds_the_lock_ends_after_its_parent(method: str, tmp_path: Path) -> None:
    assert wait_until_ended(pids_of_a_killed_program(PROGRAM, tmp_path, method, changes=HOLDING_THE_LOCK))


def test_processes_of_a_vector_env_end_within_a_step(tmp_path: Path) -> None:
    assert wait_until_ended(pids_of_a_killed_program(VECTOR_PROGRAM, tmp_path, changes=QUICKLY))


def test_a_process_that_nobody_started_is_refused() -> None:
    assert multiprocessing.parent_process() is None
    with pytest.raises(RuntimeError, match="processes that multiprocessing started"):
        end_with_parent()
