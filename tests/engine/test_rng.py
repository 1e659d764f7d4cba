"""Seeding: the same seed repeats an episode exactly, and environments without a seed differ."""

from typing import Any

import numpy as np
import pytest
from helpers.games import SplitMix64, game_of, random_actions, single, steps_until_danger, vector
from hypothesis import given, settings
from hypothesis import strategies as st

from rlgames.engine.rng import seed_stream


def trajectory(env: Any, actions: np.ndarray, seed: Any = None) -> bytes:
    """Return the observations and rewards of these actions; a single environment is reset where an episode ends."""
    trace = [env.reset(seed=seed)[0].tobytes()]
    for action in actions:
        obs, reward, terminated, truncated, _ = env.step(action)
        trace += [obs.tobytes(), np.asarray(reward).tobytes()]
        if np.ndim(reward) == 0 and (terminated or truncated):
            trace.append(env.reset()[0].tobytes())
    return b"".join(trace)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**100))
def test_reset_with_seed_repeats_the_episode(game: str, seed: int) -> None:
    actions = random_actions(game, 0, 50)
    env = single(game)
    first = trajectory(env, actions, seed)
    assert trajectory(env, actions, seed) == first
    assert trajectory(single(game), actions, seed) == first
    assert any(trajectory(env, actions, seed + i) != first for i in (1, 2, 3))  # Dino's first second is often the same


def test_reset_with_seeds_repeats_a_batch(game: str) -> None:
    actions = random_actions(game, 0, (50, 3))
    envs = vector(game, 3)
    first = trajectory(envs, actions, 9)
    assert trajectory(envs, actions, 9) == first
    assert trajectory(envs, actions, [9, 10, 11]) == first
    assert trajectory(envs, actions, np.array([9, 10, 11])) == first
    assert trajectory(envs, actions, np.int64(9)) == first
    assert trajectory(envs, actions, [9, 10, 12]) != first


@pytest.mark.parametrize("seed", [np.int64(9), np.uint8(9), np.uint64(9)])
def test_numpy_integers_are_seeds(game: str, seed: np.integer) -> None:
    actions = random_actions(game, 0, 50)
    assert trajectory(single(game), actions, seed) == trajectory(single(game), actions, 9)


def test_reset_without_seed_continues_the_stream(game: str) -> None:
    """The second episode differs from the first, and the pair of them repeats."""
    env, actions = single(game), random_actions(game, 0, 50)
    first, second = trajectory(env, actions, 3), trajectory(env, actions)
    assert first != second
    assert (trajectory(env, actions, 3), trajectory(env, actions)) == (first, second)


def test_envs_that_were_never_seeded_differ(game: str) -> None:
    actions = random_actions(game, 0, (steps_until_danger(game, 50), 2))
    assert trajectory(vector(game, 2), actions) != trajectory(vector(game, 2), actions)
    assert len({trajectory(single(game), actions[:, 0]) for _ in range(3)}) > 1
    obs, _ = vector(game, 20).reset()
    assert len(np.unique(obs, axis=0)) > 1 or game in ("Cave", "Dino")  # whose first observation is always the same


def test_none_in_a_list_of_seeds_continues_that_stream(game: str) -> None:
    envs, left, right = vector(game, 2), single(game), single(game)
    envs.reset(seed=[5, 6])
    left.reset(seed=5)
    obs, _ = envs.reset(seed=[None, 7])
    assert np.array_equal(obs[0], left.reset()[0])
    assert np.array_equal(obs[1], right.reset(seed=7)[0])
    for action in random_actions(game, 1, 10):
        obs, _, terminated, truncated, _ = envs.step(np.array([action, action]))
        assert np.array_equal(obs[0], left.step(action)[0])
        if (terminated | truncated).any():
            break


def test_reset_with_invalid_arguments_changes_nothing(game: str) -> None:
    envs, untouched = vector(game, 2), vector(game, 2)
    for env in (envs, untouched):
        env.reset(seed=1)
    with pytest.raises(ValueError, match="expected a seed"):
        envs.reset(seed=[1, -1])
    with pytest.raises(ValueError, match="expected options"):
        envs.reset(seed=3, options={"reset_mask": np.array([1, 0])})
    assert envs.np_random.bit_generator.state == untouched.np_random.bit_generator.state
    assert np.array_equal(envs.reset()[0], untouched.reset()[0])


def test_streams_of_neighboring_seeds_are_independent() -> None:
    """Half of the stream's bits differ from seed to seed, and no two of many seeds share a stream."""
    words = np.array([seed_stream(seed) for seed in range(4096)], np.uint64)
    assert len(np.unique(words)) == len(words)
    assert seed_stream(2**64) == seed_stream(0)
    flips = np.unpackbits((words[1:] ^ words[:-1]).view(np.uint8)).mean()
    assert abs(flips - 0.5) < 0.01


def test_uniform_is_splitmix64() -> None:
    """Published values of the stream 1234567; CartPole draws its four numbers from the same one."""
    rng = SplitMix64(1234567)
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    assert [rng.next() for _ in range(4)] == published

    game = game_of("CartPole")
    records = np.zeros(1, game.record)
    records["rng"] = 1234567
    game.loops.reset(records, np.ones(1, np.bool_), np.empty((1, 4), np.float32))
    expected = [0.1 * (word >> 11) / 2**53 - 0.05 for word in published]
    assert [records[0][name] for name in ("x", "x_dot", "theta", "theta_dot")] == pytest.approx(expected, abs=1e-15)
    assert records["rng"][0] == rng.word
