"""The three autoreset modes, compared with Gymnasium's SyncVectorEnv of single environments and step by step."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from helpers.games import random_actions, single, steps_until_danger, vector
from helpers.vector_envs import assert_equal

N = 5


def make_pair(game: str, mode: AutoresetMode, **settings: Any) -> tuple[gym.vector.VectorEnv, gym.vector.VectorEnv]:
    sync = SyncVectorEnv([lambda: single(game, **settings)] * N, autoreset_mode=mode)
    return vector(game, N, autoreset_mode=mode, **settings), sync


@pytest.mark.parametrize("limit", [None, 9])
@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_vector_env_equals_sync_vector_env(game: str, mode: AutoresetMode, limit: int | None) -> None:
    ours, theirs = make_pair(game, mode, max_episode_steps=limit)
    assert ours.metadata["autoreset_mode"] is mode
    assert_equal(ours.reset(seed=11), theirs.reset(seed=11))
    ends = np.zeros(2, np.int64)
    steps = 120 if limit else steps_until_danger(game, 120)
    for row in random_actions(game, 5, (steps, N)):
        found = ours.step(row)
        assert_equal(found, theirs.step(row))
        terminated, truncated = found[2:4]
        ends += terminated.sum(), truncated.sum()
        if mode is AutoresetMode.DISABLED and (done := terminated | truncated).any():
            assert_equal(*(envs.reset(options={"reset_mask": done.copy()}) for envs in (ours, theirs)))
    assert ends[0] > 3 or limit
    assert ends[1] > 3 or not limit


def test_next_step_mode_resets_in_the_following_step(game: str) -> None:
    envs, env = vector(game, 2, max_episode_steps=3), single(game, max_episode_steps=3)
    envs.reset(seed=[7, 8])
    env.reset(seed=7)
    for _ in range(3):
        assert np.array_equal(envs.step(np.zeros(2, np.int64))[0][0], env.step(0)[0])
    obs, reward, terminated, truncated, info = envs.step(np.ones(2, np.int64))  # the action is ignored
    assert np.array_equal(obs[0], env.reset()[0])
    assert (reward == 0).all()
    assert not (terminated | truncated).any()
    assert (info["score"] == 0).all()
    obs, *_ = envs.step(np.ones(2, np.int64))
    assert np.array_equal(obs[0], env.step(1)[0])


def test_same_step_mode_returns_final_obs_and_final_score(game: str) -> None:
    envs, env = vector(game, 1, autoreset_mode="SameStep"), single(game)
    envs.reset(seed=7)
    env.reset(seed=7)
    for action in random_actions(game, 6, 300):
        obs, _, terminated, _, info = envs.step(np.array([action]))
        expected, _, ends, _, expected_info = env.step(action)
        assert terminated[0] == ends
        if ends:
            assert np.array_equal(info["final_obs"][0], expected)
            assert info["final_info"]["score"][0] == expected_info["score"]
            assert info["score"][0] == 0
            assert np.array_equal(obs[0], env.reset()[0])
        else:
            assert "final_obs" not in info
            assert np.array_equal(obs[0], expected)
            assert info["score"][0] == expected_info["score"]


@pytest.mark.parametrize("threads", [1, 2])
def test_disabled_mode_steps_nothing_until_ended_envs_are_reset(game: str, threads: int) -> None:
    envs, env = vector(game, 4, autoreset_mode="Disabled", threads=threads, max_episode_steps=5), single(game)
    envs.reset(seed=20)
    envs.step(np.zeros(4, np.int64))
    envs.reset(options={"reset_mask": np.array([False, False, False, True])})  # its episode is one step shorter
    for _ in range(3):
        envs.step(np.zeros(4, np.int64))
    _, _, terminated, truncated, _ = envs.step(np.zeros(4, np.int64))
    assert not terminated.any()
    assert truncated.tolist() == [True, True, True, False]
    records = envs.snapshot()["records"]
    with pytest.raises(ResetNeeded, match="is over and was not reset"):
        envs.step(np.zeros(4, np.int64))
    assert np.array_equal(envs.snapshot()["records"], records)

    obs, info = envs.reset(options={"reset_mask": truncated})
    env.reset(seed=22)
    for _ in range(5):
        env.step(0)
    assert np.array_equal(obs[2], env.reset()[0])  # its second episode
    assert np.array_equal(envs.snapshot()["records"][3], records[3])
    assert (info["score"].tolist(), info["_score"].tolist()) == ([0, 0, 0, 0], [True, True, True, False])
    assert envs.step(np.zeros(4, np.int64))[3].tolist() == [False, False, False, True]


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_reset_mask_leaves_other_envs_unchanged(game: str, mode: AutoresetMode) -> None:
    envs = vector(game, 3, autoreset_mode=mode)
    envs.reset(seed=1)
    for _ in range(2):
        envs.step(np.zeros(3, np.int64))
    last, *_ = envs.step(np.zeros(3, np.int64))
    expected = envs.snapshot()["records"]
    obs, _ = envs.reset(seed=[50, 51, 52], options={"reset_mask": np.array([False, True, False])})
    records = envs.snapshot()["records"]
    assert np.array_equal(obs[[0, 2]], last[[0, 2]])
    assert np.array_equal(records[[0, 2]], expected[[0, 2]])
    assert np.array_equal(obs[1], single(game).reset(seed=51)[0])
