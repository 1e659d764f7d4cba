"""A seed repeats a game exactly; without one no game repeats."""

import numpy as np
import pytest
from helpers.games import SplitMix64, game_of, random_actions, single, steps_until_danger, vector
from hypothesis import given, settings
from hypothesis import strategies as st

from rlgames.engine.rng import stream


def episode(env, actions: np.ndarray, seed=None) -> bytes:
    """All that is seen for 50 steps, with a reset at each end."""
    seen = [env.reset(seed=seed)[0].tobytes()]
    for action in actions:
        obs, reward, terminated, truncated, _ = env.step(action)
        seen += [obs.tobytes(), np.asarray(reward).tobytes()]
        if np.ndim(reward) == 0 and (terminated or truncated):
            seen.append(env.reset()[0].tobytes())
    return b"".join(seen)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**100))
def test_the_same_seed_repeats(game: str, seed: int) -> None:
    actions = random_actions(game, 0, 50)
    env = single(game)
    first = episode(env, actions, seed)
    assert episode(env, actions, seed) == first
    assert episode(single(game), actions, seed) == first
    assert any(episode(env, actions, seed + i) != first for i in (1, 2, 3))  # one in fifty deserts begins alike


def test_the_same_seed_repeats_a_batch(game: str) -> None:
    actions = random_actions(game, 0, (50, 3))
    envs = vector(game, 3)
    first = episode(envs, actions, 9)
    assert episode(envs, actions, 9) == first
    assert episode(envs, actions, [9, 10, 11]) == first
    assert episode(envs, actions, np.array([9, 10, 11])) == first
    assert episode(envs, actions, np.int64(9)) == first
    assert episode(envs, actions, [9, 10, 12]) != first


@pytest.mark.parametrize("seed", [np.int64(9), np.uint8(9), np.uint64(9)])
def test_numpys_integers_are_seeds(game: str, seed: np.integer) -> None:
    actions = random_actions(game, 0, 50)
    assert episode(single(game), actions, seed) == episode(single(game), actions, 9)


def test_a_reset_without_a_seed_goes_on(game: str) -> None:
    """The second episode differs from the first, and the pair of them repeats."""
    env, actions = single(game), random_actions(game, 0, 50)
    first, second = episode(env, actions, 3), episode(env, actions)
    assert first != second
    assert (episode(env, actions, 3), episode(env, actions)) == (first, second)


def test_never_seeded_never_alike(game: str) -> None:
    actions = random_actions(game, 0, (steps_until_danger(game, 50), 2))
    assert episode(vector(game, 2), actions) != episode(vector(game, 2), actions)
    assert len({episode(single(game), actions[:, 0]) for _ in range(3)}) > 1
    obs, _ = vector(game, 20).reset()
    assert len(np.unique(obs, axis=0)) > 1 or game in ("Cave", "Dino")  # all caves and deserts begin alike


def test_none_in_a_list_lets_that_player_go_on(game: str) -> None:
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


def test_a_refused_reset_changes_nothing(game: str) -> None:
    envs, untouched = vector(game, 2), vector(game, 2)
    for env in (envs, untouched):
        env.reset(seed=1)
    with pytest.raises(ValueError, match="expected a seed"):
        envs.reset(seed=[1, -1])
    with pytest.raises(ValueError, match="expected options"):
        envs.reset(seed=3, options={"reset_mask": np.array([1, 0])})
    assert envs.np_random.bit_generator.state == untouched.np_random.bit_generator.state
    assert np.array_equal(envs.reset()[0], untouched.reset()[0])


def test_neighbouring_seeds_are_unrelated() -> None:
    """Half of the stream's bits differ from seed to seed, and no two of many seeds share a stream."""
    words = np.array([stream(seed) for seed in range(4096)], np.uint64)
    assert len(np.unique(words)) == len(words)
    assert stream(2**64) == stream(0)
    flips = np.unpackbits((words[1:] ^ words[:-1]).view(np.uint8)).mean()
    assert abs(flips - 0.5) < 0.01


def test_the_dice_are_splitmix64() -> None:
    """Published values of the stream that starts at 1234567; CartPole's four numbers are drawn from the same one."""
    dice = SplitMix64(1234567)
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    assert [dice.next() for _ in range(4)] == published

    game = game_of("CartPole")
    records = np.zeros(1, game.record)
    records["rng"] = 1234567
    game.loops[0](records, np.ones(1, np.bool_), np.empty((1, 4), np.float32))
    expected = [0.1 * (word >> 11) / 2**53 - 0.05 for word in published]
    assert [records[0][name] for name in ("x", "x_dot", "theta", "theta_dot")] == pytest.approx(expected, abs=1e-15)
    assert records["rng"][0] == dice.word
