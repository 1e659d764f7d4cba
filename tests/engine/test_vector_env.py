"""Environment i of a vector environment is the single environment seeded with `seed + i`, bit for bit."""

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from helpers.games import game_of, random_actions, single, steps_until_danger, vector
from helpers.vector_envs import final_rows
from hypothesis import given, settings
from hypothesis import strategies as st

frame_skips = st.one_of(
    st.just({}),
    st.builds(lambda skip, pool: {"frame_skip": skip, "max_pool": pool}, st.integers(2, 5), st.booleans()),
)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**80),
    n=st.integers(1, 4),
    skip=frame_skips,
    limit=st.none() | st.integers(1, 30),
    actions=st.integers(0, 2**32),
)
def test_vector_env_equals_single_envs(
    game: str, seed: int, n: int, skip: dict, limit: int | None, actions: int
) -> None:
    envs = vector(game, n, max_episode_steps=limit, **skip)
    singles = [single(game, max_episode_steps=limit, **skip) for _ in range(n)]
    obs, _ = envs.reset(seed=seed)
    for i, env in enumerate(singles):
        assert np.array_equal(obs[i], env.reset(seed=seed + i)[0])
    over = [False] * n
    for row in random_actions(game, actions, (40, n)):
        obs, reward, terminated, truncated, info = envs.step(row)
        for i, env in enumerate(singles):
            if over[i]:
                expected, _ = env.reset()
                step = (0.0, False, False, 0.0)
            else:
                expected, r, ends, stops, single_info = env.step(row[i])
                step = (r, ends, stops, single_info["score"])
            over[i] = step[1] or step[2]
            assert np.array_equal(obs[i], expected)
            assert (reward[i], terminated[i], truncated[i], info["score"][i]) == step


def test_random_actions_end_episodes(game: str) -> None:
    """Otherwise the test above would not cover resets."""
    envs = vector(game, 4)
    envs.reset(seed=0)
    ends = np.array([envs.step(row)[2] for row in random_actions(game, 0, (steps_until_danger(game, 200), 4))])
    assert (ends.sum(axis=0) >= 2).all()


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("threads", [2, 3])
def test_results_do_not_depend_on_threads(game: str, mode: AutoresetMode, threads: int) -> None:
    n = 7
    options = {"autoreset_mode": mode, "frame_skip": 2, "max_pool": True, "max_episode_steps": 13}
    alone, parallel = vector(game, n, threads=1, **options), vector(game, n, threads=threads, **options)
    assert np.array_equal(alone.reset(seed=3)[0], parallel.reset(seed=3)[0])
    for row in random_actions(game, 9, (60, n)):
        expected, found = alone.step(row), parallel.step(row)
        for a, b in zip(expected[:4], found[:4], strict=True):
            assert np.array_equal(a, b)
        done = expected[2] | expected[3]
        assert np.array_equal(expected[4]["score"], found[4]["score"])
        if mode is AutoresetMode.SAME_STEP and done.any():
            assert np.array_equal(final_rows(expected[4]), final_rows(found[4]))
        if mode is AutoresetMode.DISABLED and done.any():
            first, second = (envs.reset(options={"reset_mask": done})[0] for envs in (alone, parallel))
            assert np.array_equal(first, second)


def test_max_pool_is_the_maximum_of_the_last_two_frames(game: str) -> None:
    """Compared with a loop over single frames."""
    pooled, frame_by_frame = single(game, frame_skip=3, max_pool=True), single(game)
    pooled.reset(seed=4)
    frame_by_frame.reset(seed=4)
    for action in random_actions(game, 4, 40):
        frames = []
        total, over = 0.0, False
        while len(frames) < 3 and not over:
            obs, reward, terminated, truncated, _ = frame_by_frame.step(action)
            frames.append(obs)
            total, over = total + float(reward), terminated or truncated
        obs, reward, terminated, truncated, _ = pooled.step(action)
        assert np.array_equal(obs, np.max(frames[-2:], axis=0))
        assert (reward, terminated or truncated) == (total, over)
        if over:
            assert np.array_equal(pooled.reset()[0], frame_by_frame.reset()[0])


def test_large_batches_are_divided_among_threads(game: str) -> None:
    n = 2 * game_of(game).envs_per_thread + 1
    alone, parallel = vector(game, n, threads=1), vector(game, n)
    alone.reset(seed=1)
    parallel.reset(seed=1)
    for row in random_actions(game, 1, (3, n)):
        for a, b in zip(alone.step(row)[:4], parallel.step(row)[:4], strict=True):
            assert np.array_equal(a, b)
