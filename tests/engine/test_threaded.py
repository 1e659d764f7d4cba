"""`ThreadedVectorEnv` compared with Gymnasium's SyncVectorEnv: the same arrays, information and autoreset modes."""

import threading
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ClosedEnvironmentError, ResetNeeded
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode
from helpers.vector_envs import FAIL, FailingEnv, compare_with_sync_vector_env, make_cart_pole

from rlgames.engine.threaded import ThreadedVectorEnv


@pytest.mark.parametrize("mode", AutoresetMode)
@pytest.mark.parametrize("threads", [1, 3])
def test_equals_sync_vector_env(mode: AutoresetMode, threads: int) -> None:
    envs = ThreadedVectorEnv(make_cart_pole, 4, autoreset_mode=mode, threads=threads)
    compare_with_sync_vector_env(envs, mode, steps=80)
    envs.close()


def test_envs_are_stepped_in_parallel() -> None:
    """Each step waits until another environment is stepped too."""
    both = threading.Barrier(2, timeout=60)

    class WaitingEnv(FailingEnv):
        def step(self, action: int) -> Any:
            both.wait()
            return super().step(action)

    envs = ThreadedVectorEnv(WaitingEnv, 4, threads=2)
    envs.reset()
    info = envs.step(np.zeros(4, np.int64))[4]
    assert len(set(info["thread"])) == 2
    envs.close()


@pytest.mark.parametrize("threads", [1, 2])
def test_step_raises_the_exception_of_an_env_with_its_traceback(threads: int) -> None:
    envs = ThreadedVectorEnv(FailingEnv, 3, threads=threads)
    envs.reset(seed=0)
    with pytest.raises(LookupError, match="the cartridge was removed") as raised:
        envs.step(np.array([0, FAIL, 0]))
    assert any(entry.name == "step" and "vector_envs" in str(entry.path) for entry in raised.traceback)
    with pytest.raises(ResetNeeded):
        envs.step(np.zeros(3, np.int64))
    envs.reset()
    envs.step(np.zeros(3, np.int64))
    envs.close()
    envs.close()
    for call in (envs.reset, lambda: envs.step(np.zeros(3, np.int64)), envs.render):
        with pytest.raises(ClosedEnvironmentError, match="make another"):
            call()


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        (np.zeros(2, np.int64), "expected 3 integer actions, got int64 of shape"),
        (np.zeros(3), "expected 3 integer actions, got float64"),
        (np.array([0, 2, 0]), "invalid action 2: expected 0 to 1"),
        (np.array([0, -1, 0]), "invalid action -1: expected 0 to 1"),
    ],
)
def test_step_rejects_invalid_actions(actions: np.ndarray, message: str) -> None:
    envs = ThreadedVectorEnv(make_cart_pole, 3)
    with pytest.raises(ResetNeeded, match="before the first reset"):
        envs.step(np.zeros(3, np.int64))
    envs.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        envs.step(actions)
    envs.close()


class ClosingEnv(FailingEnv):
    """Notes that it was closed; those of the other spaces have three numbers to observe."""

    def __init__(self, closed: list[int], number: int, shape: tuple[int, ...] = (1,)) -> None:
        self.closed, self.number = closed, number
        self.observation_space = Box(0, 1, shape, np.float32)

    def close(self) -> None:
        self.closed.append(self.number)
        if self.number == 0:
            raise ZeroDivisionError("the first cannot be closed")


@pytest.mark.parametrize("failure", ["make", "spaces"])
def test_what_was_made_is_closed_if_a_later_one_fails(failure: str) -> None:
    closed: list[int] = []
    numbers = iter((1, 2, 3))

    def make() -> gym.Env:
        number = next(numbers)
        if number == 3 and failure == "make":
            raise LookupError("no third cartridge")
        return ClosingEnv(closed, number, (3,) if number == 3 else (1,))

    expected = (
        (LookupError, "no third") if failure == "make" else (TypeError, "of the same spaces, got Box.*, then Box")
    )
    with pytest.raises(expected[0], match=expected[1]):
        ThreadedVectorEnv(make, 4)
    assert sorted(closed) == ([1, 2] if failure == "make" else [1, 2, 3])


def test_close_closes_all_although_one_raises() -> None:
    closed: list[int] = []
    numbers = iter(range(3))
    envs = ThreadedVectorEnv(lambda: ClosingEnv(closed, next(numbers)), 3)
    with pytest.raises(ZeroDivisionError, match="the first cannot be closed"):
        envs.close()
    assert sorted(closed) == [0, 1, 2]


@pytest.mark.parametrize(
    ("observation", "action"), [(Discrete(3), Discrete(2)), (Box(0, 1), Box(0, 1)), (Box(0, 1), Discrete(2, start=1))]
)
def test_spaces_that_cannot_be_stepped_are_refused(observation: Any, action: Any) -> None:
    def make() -> gym.Env:
        env = FailingEnv()
        env.observation_space, env.action_space = observation, action
        return env

    with pytest.raises(TypeError, match="expected Box observations and Discrete actions from 0, got"):
        ThreadedVectorEnv(make, 2)
