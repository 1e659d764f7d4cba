"""Vector environments of Mario on the emulator of stable-retro: each environment in a process of its own."""

import multiprocessing
from contextlib import ExitStack
from importlib.util import find_spec
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

import rlgames

for package in ("stable_retro", "nes_py", "gym_super_mario_bros"):
    if not find_spec(package):
        pytest.skip(f"needs {package}", allow_module_level=True)

Result = tuple[Any, ...]


def test_environments_of_a_vector_env_equal_single_ones(opened: ExitStack) -> None:
    envs = rlgames.make_vec("Mario:stages=1-1+4-2,engine=retro", 2, max_episode_steps=20)
    opened.callback(envs.close)
    obs, infos = envs.reset(seed=0)
    found: list[list[Result]] = [[(obs[i], infos["world"][i])] for i in range(2)]
    actions, ends = np.random.default_rng(0).choice([1, 2, 4], (50, 2)), 0
    for row in actions:
        obs, reward, terminated, truncated, infos = envs.step(row)
        for i, results in enumerate(found):
            done = bool(terminated[i] or truncated[i])
            final = (infos["final_obs"][i], infos["final_info"]["x_pos"][i]) if done else ()
            results.append((obs[i], infos["x_pos"][i], reward[i], terminated[i], truncated[i], *final))
            ends += done
    envs.close()
    assert not multiprocessing.active_children()
    assert ends > 3
    for i, results in enumerate(found):
        env = rlgames.make("Mario:stages=1-1+4-2,engine=retro", max_episode_steps=20)
        opened.callback(env.close)
        obs, info = env.reset(seed=i)
        expected: list[Result] = [(obs, info["world"])]
        for action in actions[:, i]:
            obs, reward, terminated, truncated, info = env.step(int(action))
            final = ()
            if terminated or truncated:
                final = (obs, info["x_pos"])
                obs, info = env.reset()
            expected.append((obs, info["x_pos"], reward, terminated, truncated, *final))
        env.close()
        for result, other in zip(results, expected, strict=True):
            for value, other_value in zip(result, other, strict=True):
                np.testing.assert_array_equal(value, other_value)


def test_restore_continues_from_the_snapshot(opened: ExitStack) -> None:
    def make() -> Any:
        envs = rlgames.make_vec("Mario:world=1,stage=1,engine=retro", 2)
        opened.callback(envs.close)
        return envs

    def continue_episodes(envs: Any) -> list[np.ndarray]:
        return [array for t in range(30) for array in envs.step(np.array([t % 2 * 3 + 1, 4]))[:4]]

    envs = make()
    envs.reset(seed=3)
    for _ in range(5):
        envs.step(np.array([1, 4]))
    snapshot = envs.snapshot()
    expected = continue_episodes(envs)
    envs.close()
    fresh = make()
    fresh.restore(snapshot)
    for array, other in zip(continue_episodes(fresh), expected, strict=True):
        np.testing.assert_array_equal(array, other)
    with pytest.raises(ValueError, match="is of 1 environments, expected 2"):
        fresh.unwrapped.restore(snapshot["env"] | {"envs": snapshot["env"]["envs"][:1]})
    other_game = dict(snapshot["env"]["envs"][0], game="Mario")
    with pytest.raises(ValueError, match="(?s)other environments.*this snapshot is of Mario,"):
        fresh.unwrapped.restore(snapshot["env"] | {"envs": [other_game, other_game]})
    fresh.close()
    assert not multiprocessing.active_children()


def test_snapshot_holds_the_observations_of_environments_that_are_not_reset(opened: ExitStack) -> None:
    def make() -> Any:
        envs = gym.make_vec("rlgames/Mario-v0", 2, engine="retro", grey=True, autoreset_mode=AutoresetMode.DISABLED)
        opened.callback(envs.close)
        return envs

    envs = make()
    first = envs.reset(seed=0)[0]
    last = [envs.step(np.array([1, 4]))[0] for _ in range(40)][-1]
    assert (last[1] != first[1]).any()
    snapshot = envs.snapshot()
    envs.close()
    fresh = make()
    fresh.restore(snapshot)
    obs = fresh.reset(options={"reset_mask": np.array([True, False])})[0]
    np.testing.assert_array_equal(obs, [first[0], last[1]])


def test_stack_skipped_observes_all_frames_of_a_step(opened: ExitStack) -> None:
    pixels = rlgames.Pixels(grey=True, size=(20, 20), skip=2, stack_skipped=True)
    envs = rlgames.make_vec("Mario:world=1,stage=1,engine=retro", 2, pixels=pixels)
    opened.callback(envs.close)
    env = rlgames.make("Mario:world=1,stage=1,engine=retro", pixels=pixels)
    opened.callback(env.close)
    assert np.array_equal(envs.reset(seed=0)[0][1], env.reset(seed=1)[0])
    for _ in range(5):
        assert np.array_equal(envs.step(np.array([1, 2]))[0][1], env.step(2)[0])
