"""Mario on the emulator of stable-retro, many at once: each in a process, and as one by itself."""

import multiprocessing
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

PolicyOutputs = tuple[Any, ...]


def test_rows_of_many_are_single_environments() -> None:
    many = rlgames.make_vec("Mario:stages=1-1+4-2,engine=retro", 3, max_episode_steps=40)
    obs, infos = many.reset(seed=0)
    rng = np.random.default_rng(0)
    rows: list[list[PolicyOutputs]] = [[(obs[i], infos["world"][i])] for i in range(3)]
    actions, finals = rng.choice([1, 2, 4], (60, 3)), 0
    for given in actions:
        obs, reward, terminated, truncated, infos = many.step(given)
        for i, row in enumerate(rows):
            ended = bool(terminated[i] or truncated[i])
            final = (infos["final_obs"][i], infos["final_info"]["x_pos"][i]) if ended else ()
            row.append((obs[i], infos["x_pos"][i], reward[i], terminated[i], truncated[i], *final))
            finals += ended
    many.close()
    assert not multiprocessing.active_children()
    assert finals > 3
    for i, row in enumerate(rows):
        one = rlgames.make("Mario:stages=1-1+4-2,engine=retro", max_episode_steps=40)
        obs, info = one.reset(seed=i)
        expected: list[PolicyOutputs] = [(obs, info["world"])]
        for action in actions[:, i]:
            obs, reward, terminated, truncated, info = one.step(int(action))
            final = ()
            if terminated or truncated:
                final = (obs, info["x_pos"])
                obs, info = one.reset()
            expected.append((obs, info["x_pos"], reward, terminated, truncated, *final))
        one.close()
        for found, known in zip(row, expected, strict=True):
            for value, other in zip(found, known, strict=True):
                np.testing.assert_array_equal(value, other)


def test_many_go_on_from_a_snapshot() -> None:
    def make() -> Any:
        return rlgames.make_vec("Mario:world=1,stage=1,engine=retro", 2)

    def went_on(envs: Any) -> list[np.ndarray]:
        return [part for t in range(40) for part in envs.step(np.array([t % 2 * 3 + 1, 4]))[:4]]

    envs = make()
    envs.reset(seed=3)
    for _ in range(5):
        envs.step(np.array([1, 4]))
    place = envs.snapshot()
    expected = went_on(envs)
    envs.close()
    fresh = make()
    fresh.restore(place)
    for found, known in zip(went_on(fresh), expected, strict=True):
        np.testing.assert_array_equal(found, known)
    with pytest.raises(ValueError, match="is of 1 environments, these are 2"):
        fresh.unwrapped.restore(place["env"] | {"envs": place["env"]["envs"][:1]})
    other = dict(place["env"]["envs"][0], game="Mario")
    with pytest.raises(ValueError, match="(?s)other environments.*this snapshot is of Mario,"):
        fresh.unwrapped.restore(place["env"] | {"envs": [other, other]})
    fresh.close()
    assert not multiprocessing.active_children()


def test_a_snapshot_keeps_what_is_shown_of_the_rows_that_go_on() -> None:
    def make() -> Any:
        return gym.make_vec("rlgames/Mario-v0", 2, engine="retro", grey=True, autoreset_mode=AutoresetMode.DISABLED)

    envs = make()
    first = envs.reset(seed=0)[0]
    shown = [envs.step(np.array([1, 4]))[0] for _ in range(40)][-1]
    assert (shown[1] != first[1]).any()
    place = envs.snapshot()
    envs.close()
    fresh = make()
    fresh.restore(place)
    obs = fresh.reset(options={"reset_mask": np.array([True, False])})[0]
    np.testing.assert_array_equal(obs, [first[0], shown[1]])
    fresh.close()


def test_the_skipped_frames_of_many() -> None:
    look = rlgames.Pixels(grey=True, size=(20, 20), skip=2, stack_skipped=True)
    many = rlgames.make_vec("Mario:world=1,stage=1,engine=retro", 2, pixels=look)
    one = rlgames.make("Mario:world=1,stage=1,engine=retro", pixels=look)
    assert np.array_equal(many.reset(seed=0)[0][1], one.reset(seed=1)[0])
    for _ in range(5):
        assert np.array_equal(many.step(np.array([1, 2]))[0][1], one.step(2)[0])
    many.close()
    one.close()
