"""Going on from a snapshot is going on: the same pictures, rewards, ends and later episodes, bit for bit."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, VectorEnv
from helpers.games import NAMES, random_actions, single, vector

import rlgames
from rlgames.wrappers import Rewards


def went_on(envs: VectorEnv, actions: np.ndarray) -> list[Any]:
    """What is seen from here on, in steps and in resets with and without a seed."""
    seen: list[Any] = []
    disabled = envs.metadata["autoreset_mode"] is AutoresetMode.DISABLED
    for row in actions:
        obs, reward, terminated, truncated, info = envs.step(row)
        done = terminated | truncated
        seen += [obs.tobytes(), reward.tolist(), terminated.tolist(), truncated.tolist(), info["score"].tolist()]
        if "final_obs" in info:
            seen += [info["final_obs"][done].tobytes(), info["final_info"]["score"][done].tolist()]
        if disabled and done.any():
            seen.append(envs.reset(options={"reset_mask": done})[0].tobytes())
    return [*seen, envs.reset()[0].tobytes(), envs.step(actions[0])[0].tobytes(), envs.np_random.random()]


def went_on_alone(env: gym.Env, actions: np.ndarray) -> list[Any]:
    seen: list[Any] = []
    for action in actions:
        obs, *outcome = env.step(action)
        seen += [obs.tobytes(), *outcome]
        if outcome[1] or outcome[2]:
            seen.append(env.reset()[0].tobytes())
    return [*seen, env.reset()[0].tobytes(), env.np_random.random()]


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("seed", [3, None])
def test_a_batch_goes_on(game: str, mode: AutoresetMode, seed: int | None) -> None:
    def make() -> Any:
        return vector(game, 3, autoreset_mode=mode, frame_skip=2, max_episode_steps=30)

    envs, actions = make(), random_actions(game, 2, (80, 3))
    envs.reset(seed=seed)
    for row in actions[:2]:
        envs.step(row)
    place = envs.snapshot()
    expected = went_on(envs, actions)
    envs.restore(place)
    assert went_on(envs, actions) == expected
    fresh = make()
    fresh.restore(place)
    assert went_on(fresh, actions) == expected
    used = make()
    used.reset(seed=99)
    used.step(actions[0])
    used.restore(place)
    assert went_on(used, actions) == expected


@pytest.mark.parametrize("seed", [3, None])
def test_a_single_environment_goes_on(game: str, seed: int | None) -> None:
    env, actions = single(game), random_actions(game, 2, 80)
    env.reset(seed=seed)
    for action in actions[:4]:
        env.step(action)
    place = env.snapshot()
    expected = went_on_alone(env, actions)
    env.restore(place)
    assert went_on_alone(env, actions) == expected
    fresh = single(game)
    fresh.restore(place)
    assert went_on_alone(fresh, actions) == expected


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("rewards", [None, Rewards(scale=2, survival=0.1)])
def test_what_make_vec_returns_goes_on(game: str, mode: AutoresetMode, rewards: Rewards | None) -> None:
    def make() -> Any:
        return rlgames.make_vec(game, 3, autoreset_mode=mode, rewards=rewards)

    envs, actions = make(), random_actions(game, 2, (60, 3))
    envs.reset(seed=4)
    for row in actions[:3]:
        envs.step(row)
    place = envs.snapshot()
    expected = went_on(envs, actions)
    envs.restore(place)
    assert went_on(envs, actions) == expected
    fresh = make()
    fresh.restore(place)
    assert went_on(fresh, actions) == expected


def test_a_snapshot_stays_as_it_was_taken(game: str) -> None:
    envs, actions = vector(game, 3), random_actions(game, 2, (50, 3))
    envs.reset(seed=1)
    place = envs.snapshot()
    kept = place["records"].copy()
    first = went_on(envs, actions)
    envs.restore(place)
    went_on(envs, actions)
    assert np.array_equal(place["records"], kept)
    envs.restore(place)
    assert went_on(envs, actions) == first


def test_a_snapshot_before_the_first_reset(game: str) -> None:
    """It holds the generator that the unseeded players will start from, and that no game has begun."""
    envs, fresh, actions = vector(game, 2), vector(game, 2), random_actions(game, 2, (50, 2))
    fresh.restore(envs.snapshot())
    with pytest.raises(gym.error.ResetNeeded):
        fresh.step(actions[0])
    assert np.array_equal(envs.reset()[0], fresh.reset()[0])
    assert went_on(envs, actions) == went_on(fresh, actions)


def test_a_snapshot_is_of_one_game(game: str) -> None:
    one, many = single(game), vector(game, 2)
    one.reset(seed=0)
    many.reset(seed=0)
    before = many.snapshot()["records"]
    for other in set(NAMES) - {game}:
        stranger = vector(other, 2)
        stranger.reset(seed=0)
        with pytest.raises(ValueError, match=f"other environments: 2 of {other}, these are 2 of {game}$"):
            many.restore(stranger.snapshot())
        with pytest.raises(ValueError, match=f"2 of {other}, these are 1 of {game}$"):
            one.restore(stranger.snapshot())
    with pytest.raises(ValueError, match=f"1 of {game}, these are 2 of {game}$"):
        many.restore(one.snapshot())
    renamed = many.snapshot()
    renamed["records"] = np.zeros(2, [("rng", "u8")])
    with pytest.raises(ValueError, match=rf"{game} has records \[\('rng'"):
        many.restore(renamed)
    assert np.array_equal(many.snapshot()["records"], before)


def test_one_player_and_a_batch_of_one_share_snapshots(game: str) -> None:
    one, many, actions = single(game), vector(game, 1, autoreset_mode="Disabled"), random_actions(game, 3, 40)
    one.reset(seed=6)
    one.step(actions[0])
    many.restore(one.snapshot())
    for action in actions[1:]:
        obs, reward, terminated, truncated, _ = one.step(action)
        row = many.step(np.array([action]))
        assert np.array_equal(row[0][0], obs)
        assert (row[1][0], row[2][0], row[3][0]) == (reward, terminated, truncated)
        if terminated or truncated:
            assert np.array_equal(many.reset()[0][0], one.reset()[0])
