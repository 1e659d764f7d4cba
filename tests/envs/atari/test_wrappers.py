"""Wrappers that other libraries have for ale-py's environments, around Pong: the same as around ale-py's own Pong."""

from __future__ import annotations

from typing import Any

import ale_py
import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ClosedEnvironmentError
from gymnasium.wrappers import AtariPreprocessing

SAME_START = {"noop_max": 0}  # ours draws the number of no-ops from a generator of its own
ALE_SETTINGS = {"frameskip": 1, "repeat_action_probability": 0.0}


@pytest.fixture(autouse=True, scope="module")
def registered() -> None:
    gym.register_envs(ale_py)


def play(env: gym.Env, steps: int) -> list[Any]:
    rng = np.random.default_rng(0)
    trace: list[Any] = [env.reset(seed=0)[0]]
    for _ in range(steps):
        *result, _ = env.step(int(rng.integers(6)))
        trace += result
    return trace


@pytest.mark.parametrize(
    "settings", [{}, {"grayscale_obs": False, "scale_obs": True}, {"frame_skip": 2, "terminal_on_life_loss": True}]
)
def test_atari_preprocessing_of_gymnasium(settings: dict[str, Any]) -> None:
    ours = AtariPreprocessing(gym.make("rlgames/Pong-v0", noop_max=0), noop_max=0, **settings)
    theirs = AtariPreprocessing(gym.make("ALE/Pong-v5", **ALE_SETTINGS), noop_max=0, **settings)
    for one, other in zip(play(ours, 120), play(theirs, 120), strict=True):
        np.testing.assert_array_equal(one, other)


def test_atari_preprocessing_draws_noops_and_refuses_a_second_skip() -> None:
    env = AtariPreprocessing(gym.make("rlgames/Pong-v0"))
    assert env.reset(seed=0)[0].shape == (84, 84)
    with pytest.raises(ValueError, match="Disable frame-skipping"):
        AtariPreprocessing(gym.make("rlgames/Pong-v0", frame_skip=4))


def test_atari_wrapper_of_stable_baselines3() -> None:
    env_util = pytest.importorskip("stable_baselines3.common.env_util")
    ours, theirs = (
        env_util.make_atari_env(name, 2, seed=0, env_kwargs=settings, wrapper_kwargs={"noop_max": 0})
        for name, settings in (("rlgames/Pong-v0", SAME_START), ("ALE/Pong-v5", ALE_SETTINGS))
    )
    np.testing.assert_array_equal(ours.reset(), theirs.reset())
    rng = np.random.default_rng(0)
    for _ in range(60):
        actions = rng.integers(6, size=2)
        for one, other in zip(ours.step(actions)[:3], theirs.step(actions)[:3], strict=True):
            np.testing.assert_array_equal(one, other)
    noops = env_util.make_atari_env("rlgames/Pong-v0")
    assert noops.reset().shape == (1, 84, 84, 1)


@pytest.mark.parametrize("actions", ["all", "minimal"])
def test_meanings_are_ales_names_of_the_actions(actions: str) -> None:
    env: Any = gym.make("rlgames/Pong-v0", actions=actions).unwrapped
    meanings = ["NOOP", "FIRE", "RIGHT", "LEFT", "RIGHTFIRE", "LEFTFIRE"]
    assert env.get_action_meanings() == (meanings if actions == "all" else ["RIGHT", "LEFT"])
    env.reset(seed=0)
    assert (env.ale.lives(), env._frameskip) == (0, 1)
    env.close()
    with pytest.raises(ClosedEnvironmentError):
        env.get_action_meanings()
    with pytest.raises(ClosedEnvironmentError):
        _ = env.ale
