"""`ThreadedVectorEnv` beside Gymnasium's SyncVectorEnv: the same arrays, information and restarts."""

import threading
import time
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ClosedEnvironmentError, ResetNeeded
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from rlgames.engine.threaded import ThreadedVectorEnv


def cart() -> gym.Env:
    return gym.make("CartPole-v1", max_episode_steps=15)


def assert_equal(found: Any, expected: Any) -> None:
    assert type(found) is type(expected)
    if isinstance(expected, dict):
        assert set(found) == set(expected)
        for key in expected:
            assert_equal(found[key], expected[key])
    elif (isinstance(expected, np.ndarray) and expected.dtype == object) or isinstance(expected, tuple):
        for one, other in zip(found, expected, strict=True):
            assert_equal(one, other)
    else:
        np.testing.assert_array_equal(found, expected)


def play_beside_gymnasiums(ours: VectorEnv, mode: AutoresetMode, steps: int) -> None:
    """Some steps of `ours`, made of `cart`, beside Gymnasium's own, everything compared."""
    theirs = SyncVectorEnv([cart] * ours.num_envs, autoreset_mode=mode)
    assert ours.single_observation_space == theirs.single_observation_space
    assert ours.action_space == theirs.action_space
    assert ours.metadata["autoreset_mode"] is mode
    assert_equal(ours.reset(seed=3), theirs.reset(seed=3))
    rng, ended = np.random.default_rng(0), 0
    for _ in range(steps):
        actions = rng.integers(2, size=ours.num_envs)
        found, expected = ours.step(actions), theirs.step(actions)
        assert_equal(found, expected)
        done = found[2] | found[3]
        ended += int(done.sum())
        if mode is AutoresetMode.DISABLED and done.any():
            if ended % 2:
                with pytest.raises(ResetNeeded, match="over and was not reset"):
                    ours.step(actions)
            options = {"reset_mask": done}
            assert_equal(ours.reset(options=options), theirs.reset(options=dict(options)))
            assert "reset_mask" in options
    assert ended > steps // 10
    theirs.close()


@pytest.mark.parametrize("mode", AutoresetMode)
@pytest.mark.parametrize("threads", [1, 3])
def test_is_gymnasiums_vector_environment(mode: AutoresetMode, threads: int) -> None:
    ours = ThreadedVectorEnv(cart, 4, autoreset_mode=mode, threads=threads)
    play_beside_gymnasiums(ours, mode, steps=80)
    ours.close()


class Slow(gym.Env):
    """Waits without Python's lock, and tells in which thread; action 1 breaks it."""

    observation_space = gym.spaces.Box(0, 1, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        return np.zeros(1, np.float32), {}

    def step(self, action: int):
        time.sleep(0.02)
        if action:
            raise RuntimeError("the cartridge fell out")
        return np.zeros(1, np.float32), 1, False, False, {"thread": threading.current_thread().name}


def test_environments_are_stepped_side_by_side() -> None:
    envs = ThreadedVectorEnv(Slow, 4, threads=2)
    envs.reset()
    info = envs.step(np.zeros(4, np.int64))[4]
    assert len(set(info["thread"])) == 2
    envs.close()


@pytest.mark.parametrize("threads", [1, 2])
def test_what_one_raises_is_raised_and_nothing_hangs(threads: int) -> None:
    envs = ThreadedVectorEnv(Slow, 3, threads=threads)
    envs.reset(seed=0)
    with pytest.raises(RuntimeError, match="the cartridge fell out") as raised:
        envs.step(np.array([0, 1, 0]))
    assert any(entry.name == "step" and "test_threaded" in str(entry.path) for entry in raised.traceback)
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
        (np.array([0, 2, 0]), "no such action: got 2, expected 0 to 1"),
        (np.array([0, -1, 0]), "no such action: got -1, expected 0 to 1"),
    ],
)
def test_bad_actions(actions: np.ndarray, message: str) -> None:
    envs = ThreadedVectorEnv(cart, 3)
    with pytest.raises(ResetNeeded, match="before the first reset"):
        envs.step(np.zeros(3, np.int64))
    envs.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        envs.step(actions)
    envs.close()
