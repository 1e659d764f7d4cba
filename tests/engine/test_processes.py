"""`ProcessVectorEnv` compared with Gymnasium's SyncVectorEnv, and its errors when an environment or process fails."""

import multiprocessing
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.error import ClosedEnvironmentError, ResetNeeded
from gymnasium.vector import AutoresetMode
from helpers.vector_envs import DIE, FAIL, FailingEnv, compare_with_sync_vector_env, make_cart_pole

from rlgames.engine.processes import ProcessVectorEnv


def living_processes() -> list[Any]:
    return [process for process in multiprocessing.active_children() if "ProcessVectorEnv" in process.name]


@pytest.mark.parametrize("mode", AutoresetMode)
def test_equals_sync_vector_env(mode: AutoresetMode) -> None:
    envs = ProcessVectorEnv(make_cart_pole, 2, autoreset_mode=mode)
    try:
        compare_with_sync_vector_env(envs, mode, steps=60)
        held = envs.step(np.zeros(2, np.int64))[0]
        expected = held.copy()
        envs.reset(seed=0)
        np.testing.assert_array_equal(held, expected)
        with pytest.raises(NotImplementedError, match="snapshot"):
            envs.snapshot()
    finally:
        envs.close()
    assert not living_processes()


def test_invalid_arguments_and_exceptions_of_an_env_are_raised_and_the_envs_live_on() -> None:
    """One process after another is slow to start, so these share one batch."""
    envs = ProcessVectorEnv(FailingEnv, 2)
    try:
        check_invalid_arguments(envs)
        check_exceptions_of_an_env(envs)
    finally:
        envs.close()
        envs.close()
    assert not living_processes()
    with pytest.raises(ClosedEnvironmentError):
        envs.reset()


def check_invalid_arguments(envs: ProcessVectorEnv) -> None:
    with pytest.raises(ResetNeeded, match="before the first reset"):
        envs.step(np.zeros(2, np.int64))
    with pytest.raises(ResetNeeded, match="reset all environments once"):
        envs.reset(options={"reset_mask": np.array([True, False])})
    for actions, message in [
        (np.zeros(1, np.int64), "expected 2 integer actions, got int64 of shape"),
        (np.zeros(2), "expected 2 integer actions, got float64"),
        (np.array([0, 3]), "invalid action 3: expected 0 to 2"),
        (np.array([0, -1]), "invalid action -1: expected 0 to 2"),
    ]:
        envs.reset(seed=0)
        with pytest.raises(ValueError, match=message):
            envs.step(actions)
        assert envs.step(np.zeros(2, np.int64))[0].sum() == 2


def check_exceptions_of_an_env(envs: ProcessVectorEnv) -> None:
    with pytest.raises(
        RuntimeError, match="(?s)environment 1 .*in reset\n.*LookupError: 100% of the seeds are used up"
    ):
        envs.reset(seed=6)
    envs.reset(seed=0)
    with pytest.raises(RuntimeError, match="(?s)environment 1 .*in step\n.*LookupError: the cartridge was removed"):
        envs.step(np.array([0, FAIL]))
    with pytest.raises(ResetNeeded, match="before the first reset"):
        envs.step(np.zeros(2, np.int64))
    envs.reset(seed=0)
    assert envs.step(np.zeros(2, np.int64))[1].sum() == 2


@pytest.mark.filterwarnings("ignore:.*:UserWarning")  # Gymnasium logs the traceback so
def test_unknown_attribute_ends_all_processes() -> None:
    envs = ProcessVectorEnv(FailingEnv, 2)
    with pytest.raises(AttributeError, match="no_such_attribute"):
        envs.get_attr("no_such_attribute")
    assert not living_processes()
    with pytest.raises(ClosedEnvironmentError):
        envs.reset()


def test_step_raises_when_a_process_dies_and_ends_the_others() -> None:
    envs = ProcessVectorEnv(FailingEnv, 2)
    envs.reset(seed=0)
    with pytest.raises(RuntimeError, match="process 1 of ProcessVectorEnv was killed by SIGKILL"):
        envs.step(np.array([0, DIE]))
    assert not living_processes()
    envs.close()
    with pytest.raises(ClosedEnvironmentError):
        envs.step(np.zeros(2, np.int64))


def test_render_raises_when_a_process_has_died() -> None:
    envs = ProcessVectorEnv(FailingEnv, 1)
    envs.reset(seed=0)
    envs.processes[0].kill()
    with pytest.raises(RuntimeError, match="process 0 of ProcessVectorEnv was killed by SIGKILL"):
        envs.render()
    assert not living_processes()


class EndingProcess:
    """Stands for a process whose exit code becomes known `delay` seconds from now."""

    def __init__(self, code: int, delay: float) -> None:
        self.code, self.reader, self.writer = code, *multiprocessing.Pipe(duplex=False)
        self.timer = threading.Timer(delay, self.writer.close)
        self.timer.start()

    @property
    def sentinel(self) -> Any:
        return self.reader

    @property
    def exitcode(self) -> int | None:
        return self.code if self.reader.poll() else None


@pytest.mark.parametrize(("ends", "expected"), [([(-9, 0.3), (0, 0.0)], (0, -9)), ([(0, 0.3), (0, 0.0)], (0, 0))])
def test_find_dead_prefers_a_process_that_failed(ends: list[tuple[int, float]], expected: Any) -> None:
    envs = ProcessVectorEnv.__new__(ProcessVectorEnv)
    envs.closed = True  # nothing to close
    processes = [EndingProcess(*end) for end in ends]
    envs.processes = processes  # type: ignore[assignment]
    assert envs._find_dead() == expected
    for process in processes:
        process.timer.join()
        process.reader.close()


SCRIPT = """
import os, signal
from functools import partial
import gymnasium, numpy
from rlgames.engine.processes import ProcessVectorEnv
def main():
    envs = ProcessVectorEnv(partial(gymnasium.make, "CartPole-v1"), 2)
    envs.reset(seed=0)
    for process in envs.processes:
        os.kill(process.pid, signal.SIGTERM)
    print(envs.step(numpy.zeros(2, int))[1])
"""


def run_script(path: Path, text: str) -> subprocess.CompletedProcess:
    path.write_text(text)
    return subprocess.run([sys.executable, str(path)], capture_output=True, text=True, check=False, timeout=120)


def test_processes_ignore_sigterm_and_end_with_the_script(tmp_path: Path) -> None:
    """The script closes nothing."""
    done = run_script(tmp_path / "script.py", SCRIPT + 'if __name__ == "__main__":\n    main()\n')
    assert (done.returncode, done.stdout) == (0, "[1. 1.]\n"), done.stderr


def test_script_without_main_guard_gets_a_clear_error(tmp_path: Path) -> None:
    done = run_script(tmp_path / "script.py", SCRIPT + "main()\n")
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if "resource_tracker" not in line]  # it may warn at exit
    assert lines[-1].startswith("RuntimeError: process ")
    assert lines[-1].endswith('does the script guard it by if __name__ == "__main__"?')
