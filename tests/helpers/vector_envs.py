"""Environments for the engines that step any environment, and the comparison with Gymnasium's SyncVectorEnv.

They are in a module of their own because processes import it.
"""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

FAIL, DIE = 1, 2  # actions of FailingEnv


def make_cart_pole() -> gym.Env:
    return gym.make("CartPole-v1", max_episode_steps=15)


class FailingEnv(gym.Env):
    """Action FAIL raises LookupError, DIE kills the process, and the seed 7 raises LookupError."""

    observation_space = Box(0, 1, (1,), np.float32)
    action_space = Discrete(3)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        if seed == 7:
            raise LookupError("100% of the seeds are used up")
        return np.zeros(1, np.float32), {}

    def step(self, action: int):
        if action == FAIL:
            raise LookupError("the cartridge was removed")
        if action == DIE:
            os.kill(os.getpid(), signal.SIGKILL)
        return np.ones(1, np.float32), 1.0, False, False, {"thread": threading.current_thread().name}


def final_rows(info: dict[str, Any]) -> np.ndarray:
    """Return the last observations of the episodes that ended in a SAME_STEP step; the others are None or zero."""
    mask = info["_final_obs"]
    assert not any(row is not None and row.any() for row in info["final_obs"][~mask])
    return np.stack(list(info["final_obs"][mask]))


def assert_equal(found: Any, expected: Any) -> None:
    """Compare the results of `reset` or `step`, with types and nested information."""
    assert type(found) is type(expected)
    if isinstance(expected, np.ndarray):
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    if isinstance(expected, dict):
        assert set(found) == set(expected)
        for key in expected:
            if key == "final_obs" and "_final_obs" in expected:  # an array of objects in SyncVectorEnv
                assert_equal(final_rows(found), final_rows(expected))
            else:
                assert_equal(found[key], expected[key])
    elif (isinstance(expected, np.ndarray) and expected.dtype == object) or isinstance(expected, tuple | list):
        for one, other in zip(found, expected, strict=True):
            assert_equal(one, other)
    else:
        np.testing.assert_array_equal(found, expected)


def compare_with_sync_vector_env(envs: VectorEnv, mode: AutoresetMode, steps: int) -> None:
    """Step `envs`, made by `make_cart_pole`, and Gymnasium's SyncVectorEnv, and compare all that they return."""
    sync = SyncVectorEnv([make_cart_pole] * envs.num_envs, autoreset_mode=mode)
    assert envs.single_observation_space == sync.single_observation_space
    assert envs.action_space == sync.action_space
    assert envs.metadata["autoreset_mode"] is mode
    assert_equal(envs.reset(seed=3), sync.reset(seed=3))
    rng, ended = np.random.default_rng(0), 0
    for _ in range(steps):
        actions = rng.integers(2, size=envs.num_envs)
        found, expected = envs.step(actions), sync.step(actions)
        assert_equal(found, expected)
        done = found[2] | found[3]
        ended += int(done.sum())
        if mode is AutoresetMode.DISABLED and done.any():
            if ended % 2:
                with pytest.raises(ResetNeeded, match="over and was not reset"):
                    envs.step(actions)
            options = {"reset_mask": done}
            assert_equal(envs.reset(options=options), sync.reset(options=dict(options)))
            assert "reset_mask" in options
    assert ended > steps // 10
    sync.close()
