"""`restore` continues from a `snapshot` bit for bit: observations, rewards, ends, and later episodes."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, VectorEnv
from helpers.games import NAMES, random_actions, single, vector
from helpers.vector_envs import final_rows

import rlgames
from rlgames.wrappers import Rewards


def continue_envs(envs: VectorEnv, actions: np.ndarray) -> list[Any]:
    """Return the results of the next steps, and of resets with a mask and without a seed."""
    trace: list[Any] = []
    disabled = envs.metadata["autoreset_mode"] is AutoresetMode.DISABLED
    for row in actions:
        obs, reward, terminated, truncated, info = envs.step(row)
        done = terminated | truncated
        trace += [obs.tobytes(), reward.tolist(), terminated.tolist(), truncated.tolist(), info["score"].tolist()]
        if "final_obs" in info:
            trace += [final_rows(info).tobytes(), info["final_info"]["score"][done].tolist()]
        if disabled and done.any():
            trace.append(envs.reset(options={"reset_mask": done})[0].tobytes())
    return [*trace, envs.reset()[0].tobytes(), envs.step(actions[0])[0].tobytes(), envs.np_random.random()]


def continue_env(env: gym.Env, actions: np.ndarray) -> list[Any]:
    trace: list[Any] = []
    for action in actions:
        obs, *outcome = env.step(action)
        trace += [obs.tobytes(), *outcome]
        if outcome[1] or outcome[2]:
            trace.append(env.reset()[0].tobytes())
    return [*trace, env.reset()[0].tobytes(), env.np_random.random()]


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("seed", [3, None])
def test_vector_env_continues_from_a_snapshot(game: str, mode: AutoresetMode, seed: int | None) -> None:
    """The same one, a new one, and one that was stepped elsewhere."""

    def make() -> Any:
        return vector(game, 3, autoreset_mode=mode, frame_skip=2, max_episode_steps=15)

    envs, actions = make(), random_actions(game, 2, (80, 3))
    envs.reset(seed=seed)
    for row in actions[:2]:
        envs.step(row)
    state = envs.snapshot()
    expected = continue_envs(envs, actions)
    envs.restore(state)
    assert continue_envs(envs, actions) == expected
    new = make()
    new.restore(state)
    assert continue_envs(new, actions) == expected
    used = make()
    used.reset(seed=99)
    used.step(actions[0])
    used.restore(state)
    assert continue_envs(used, actions) == expected


@pytest.mark.parametrize("seed", [3, None])
def test_single_env_continues_from_a_snapshot(game: str, seed: int | None) -> None:
    env, actions = single(game), random_actions(game, 2, 80)
    env.reset(seed=seed)
    for action in actions[:4]:
        env.step(action)
    state = env.snapshot()
    expected = continue_env(env, actions)
    env.restore(state)
    assert continue_env(env, actions) == expected
    new = single(game)
    new.restore(state)
    assert continue_env(new, actions) == expected


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("rewards", [None, Rewards(scale=2, survival=0.1)])
def test_make_vec_continues_from_a_snapshot(game: str, mode: AutoresetMode, rewards: Rewards | None) -> None:
    def make() -> Any:
        return rlgames.make_vec(game, 3, autoreset_mode=mode, rewards=rewards)

    envs, actions = make(), random_actions(game, 2, (60, 3))
    envs.reset(seed=4)
    for row in actions[:3]:
        envs.step(row)
    state = envs.snapshot()
    expected = continue_envs(envs, actions)
    envs.restore(state)
    assert continue_envs(envs, actions) == expected
    new = make()
    new.restore(state)
    assert continue_envs(new, actions) == expected


def test_steps_leave_a_snapshot_unchanged(game: str) -> None:
    envs, actions = vector(game, 3), random_actions(game, 2, (50, 3))
    envs.reset(seed=1)
    state = envs.snapshot()
    records = state["records"].copy()
    first = continue_envs(envs, actions)
    envs.restore(state)
    continue_envs(envs, actions)
    assert np.array_equal(state["records"], records)
    envs.restore(state)
    assert continue_envs(envs, actions) == first


def test_snapshot_of_envs_that_were_never_reset(game: str) -> None:
    """It holds the generator from which streams without a seed are initialized, and that no episode was started."""
    envs, new, actions = vector(game, 2), vector(game, 2), random_actions(game, 2, (50, 2))
    new.restore(envs.snapshot())
    with pytest.raises(gym.error.ResetNeeded):
        new.step(actions[0])
    assert np.array_equal(envs.reset()[0], new.reset()[0])
    assert continue_envs(envs, actions) == continue_envs(new, actions)


def test_restore_rejects_the_snapshot_of_another_game_or_number(game: str) -> None:
    env, envs = single(game), vector(game, 2)
    env.reset(seed=0)
    envs.reset(seed=0)
    records = envs.snapshot()["records"]
    for other in set(NAMES) - {game}:
        others = vector(other, 2)
        others.reset(seed=0)
        with pytest.raises(ValueError, match=f"snapshot is of 2 environments of {other}, expected 2 of {game}$"):
            envs.restore(others.snapshot())
        with pytest.raises(ValueError, match=f"2 environments of {other}, expected 1 of {game}$"):
            env.restore(others.snapshot())
    with pytest.raises(ValueError, match=f"1 environments of {game}, expected 2 of {game}$"):
        envs.restore(env.snapshot())
    other_fields = envs.snapshot() | {"records": np.zeros(2, [("rng", "u8")])}
    with pytest.raises(ValueError, match=rf"snapshot of {game} has records \[\('rng', '<u8'\)\], expected \["):
        envs.restore(other_fields)
    assert np.array_equal(envs.snapshot()["records"], records)


def test_single_env_and_batch_of_one_share_snapshots(game: str) -> None:
    env, envs, actions = single(game), vector(game, 1, autoreset_mode="Disabled"), random_actions(game, 3, 40)
    env.reset(seed=6)
    env.step(actions[0])
    envs.restore(env.snapshot())
    for action in actions[1:]:
        obs, reward, terminated, truncated, _ = env.step(action)
        batch = envs.step(np.array([action]))
        assert np.array_equal(batch[0][0], obs)
        assert (batch[1][0], batch[2][0], batch[3][0]) == (reward, terminated, truncated)
        if terminated or truncated:
            assert np.array_equal(envs.reset()[0][0], env.reset()[0])
