"""`ProcessVectorEnv` beside Gymnasium's SyncVectorEnv, and what it does when something goes wrong in a process."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ClosedEnvironmentError, ResetNeeded
from gymnasium.vector import AutoresetMode
from test_threaded import cart, play_beside_gymnasiums

from rlgames.engine.processes import ProcessVectorEnv


def living() -> list[Any]:
    return [process for process in multiprocessing.active_children() if "ProcessVectorEnv" in process.name]


@pytest.mark.parametrize("mode", AutoresetMode)
def test_is_gymnasiums_vector_environment(mode: AutoresetMode) -> None:
    ours = ProcessVectorEnv(cart, 3, autoreset_mode=mode)
    play_beside_gymnasiums(ours, mode, steps=60)
    kept = ours.step(np.zeros(3, np.int64))[0]
    before = kept.copy()
    ours.reset(seed=0)
    np.testing.assert_array_equal(kept, before)
    with pytest.raises(NotImplementedError, match="snapshot"):
        ours.snapshot()
    ours.close()
    assert not living()


class Box(gym.Env):
    """Action 1 breaks it, action 2 ends its process; a seed of 7 cannot be."""

    observation_space = gym.spaces.Box(0, 1, (1,), np.float32)
    action_space = gym.spaces.Discrete(3)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        if seed == 7:
            raise LookupError("100% of the sevens are gone")
        return np.zeros(1, np.float32), {}

    def step(self, action: int):
        if action == 1:
            raise LookupError("the cartridge fell out")
        if action == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return np.ones(1, np.float32), 1.0, False, False, {}


def test_what_one_raises_is_raised_with_its_traceback() -> None:
    envs = ProcessVectorEnv(Box, 3)
    with pytest.raises(RuntimeError, match="(?s)environment 1 .*in reset\n.*LookupError: 100% of the sevens are gone"):
        envs.reset(seed=6)
    envs.reset(seed=0)
    with pytest.raises(RuntimeError, match="(?s)environment 2 .*in step\n.*LookupError: the cartridge fell out"):
        envs.step(np.array([0, 0, 1]))
    with pytest.raises(ResetNeeded, match="before the first reset"):
        envs.step(np.zeros(3, np.int64))
    envs.reset(seed=0)
    assert envs.step(np.zeros(3, np.int64))[1].sum() == 3
    envs.close()
    envs.close()
    assert not living()
    with pytest.raises(ClosedEnvironmentError):
        envs.reset()


@pytest.mark.filterwarnings("ignore:.*:UserWarning")  # which is how Gymnasium logs the traceback
def test_what_an_environment_does_not_have_ends_its_process_and_closing_still_ends_the_others() -> None:
    envs = ProcessVectorEnv(Box, 2)
    with pytest.raises(AttributeError, match="no_such_thing"):
        envs.get_attr("no_such_thing")
    assert not living()
    with pytest.raises(ClosedEnvironmentError):
        envs.reset()


def test_a_process_that_dies_is_an_error_and_ends_the_others() -> None:
    envs = ProcessVectorEnv(Box, 3)
    envs.reset(seed=0)
    with pytest.raises(RuntimeError, match="process 1 of ProcessVectorEnv was killed by SIGKILL"):
        envs.step(np.array([0, 2, 0]))
    assert not living()
    envs.close()
    with pytest.raises(ClosedEnvironmentError):
        envs.step(np.zeros(3, np.int64))


def test_a_process_that_has_died_is_found_by_whatever_asks_it_next() -> None:
    envs = ProcessVectorEnv(Box, 2)
    envs.reset(seed=0)
    envs.processes[0].kill()
    with pytest.raises(RuntimeError, match="process 0 of ProcessVectorEnv was killed by SIGKILL"):
        envs.render()
    assert not living()


class Fate:
    """Stands for a process: its exit code becomes known some seconds after the first look."""

    def __init__(self, code: int, after: float) -> None:
        self.code, self.reader, self.writer = code, *multiprocessing.Pipe(duplex=False)
        self.timer = threading.Timer(after, self.writer.close)
        self.timer.start()

    @property
    def sentinel(self) -> Any:
        return self.reader

    @property
    def exitcode(self) -> int | None:
        return self.code if self.reader.poll() else None


@pytest.mark.parametrize(("ends", "expected"), [([(-9, 0.3), (0, 0.0)], (0, -9)), ([(0, 0.3), (0, 0.0)], (0, 0))])
def test_who_ended_by_himself_is_not_taken_for_who_was_killed(ends: list[tuple[int, float]], expected: Any) -> None:
    envs = ProcessVectorEnv.__new__(ProcessVectorEnv)
    envs.closed = True  # nothing to close
    envs.processes = [Fate(*end) for end in ends]  # type: ignore[list-item]
    assert envs._dead() == expected


def test_sigterm_is_for_the_parent_and_a_script_that_closes_nothing_ends(tmp_path: Any) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import os, signal\nfrom functools import partial\nimport gymnasium, numpy\n"
        "from rlgames.engine.processes import ProcessVectorEnv\n"
        "if __name__ == '__main__':\n"
        "    envs = ProcessVectorEnv(partial(gymnasium.make, 'CartPole-v1'), 2)\n    envs.reset(seed=0)\n"
        "    for process in envs.processes:\n        os.kill(process.pid, signal.SIGTERM)\n"
        "    print(envs.step(numpy.zeros(2, int))[1])\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout) == (0, "[1. 1.]\n"), done.stderr


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        (np.zeros(1, np.int64), "expected 2 integer actions, got int64 of shape"),
        (np.zeros(2), "expected 2 integer actions, got float64"),
        (np.array([0, 3]), "no such action: got 3, expected 0 to 2"),
        (np.array([0, -1]), "no such action: got -1, expected 0 to 2"),
    ],
)
def test_bad_actions(actions: np.ndarray, message: str) -> None:
    envs = ProcessVectorEnv(Box, 2)
    try:
        with pytest.raises(ResetNeeded, match="before the first reset"):
            envs.step(np.zeros(2, np.int64))
        with pytest.raises(ResetNeeded, match="reset all environments once"):
            envs.reset(options={"reset_mask": np.array([True, False])})
        envs.reset(seed=0)
        with pytest.raises(ValueError, match=message):
            envs.step(actions)
        assert envs.step(np.zeros(2, np.int64))[0].sum() == 2
    finally:
        envs.close()


def test_a_script_without_its_guard_is_told(tmp_path: Any) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from functools import partial\nimport gymnasium\nfrom rlgames.engine.processes import ProcessVectorEnv\n"
        "ProcessVectorEnv(partial(gymnasium.make, 'CartPole-v1'), 2)\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1
    told = [line for line in done.stderr.splitlines() if "resource_tracker" not in line]  # which may warn after the end
    assert told[-1].startswith("RuntimeError: process ")
    assert told[-1].endswith('does the script guard it by if __name__ == "__main__"?')
