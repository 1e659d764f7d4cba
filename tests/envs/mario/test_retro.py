"""Mario on the emulator of stable-retro: the rules are those of nes-py's, the frames are not."""

from collections.abc import Iterator
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ClosedEnvironmentError, DependencyNotInstalled, ResetNeeded
from gymnasium.utils.env_checker import check_env

from rlgames.envs.mario import retro as nes_retro
from rlgames.envs.mario.game import game
from rlgames.envs.registry import load_game

for package in ("stable_retro", "nes_py", "gym_super_mario_bros"):
    if not find_spec(package):
        pytest.skip(f"needs {package}", allow_module_level=True)

RIGHT, RUN_AND_JUMP = 1, 4  # of the simple actions
TO_THE_FLAG = (  # of 1-1, each held for twelve frames; found by search
    "413144244344444314433143444443432233424133344244313324443334441443443434414434344344343334424314344341443444333"
    "4344431414443341432433344413433342344444"
)
PolicyOutputs = tuple[Any, ...]


@pytest.fixture(name="solo")
def made() -> Iterator[Any]:
    """Makes environments, and closes them: there may be one emulator in a process."""
    envs: list[gym.Env] = []

    def solo(**options: Any) -> gym.Env:
        engine = {key: options.pop(key) for key in ("frame_skip", "max_episode_steps", "render_mode") if key in options}
        envs.append(load_game("Mario", **{"engine": "retro"} | options).solo(**engine))
        return envs[-1]

    yield solo
    for env in envs:
        env.close()


def assert_same(found: PolicyOutputs, expected: PolicyOutputs) -> None:
    np.testing.assert_array_equal(found[0], expected[0])
    assert found[1:] == expected[1:]


def played(env: gym.Env, steps: int, seed: int = 0) -> list[PolicyOutputs]:
    """Resets with the seed, then buttons by chance, held for four steps; begins anew when it is over."""
    rng, action = np.random.default_rng(seed), 0
    seen: list[PolicyOutputs] = [env.reset(seed=seed)]
    for t in range(steps):
        if t % 4 == 0:
            action = int(rng.choice(7, p=[0.02, 0.3, 0.2, 0.3, 0.14, 0.02, 0.02]))
        seen.append(env.step(action))
        if seen[-1][2] or seen[-1][3]:
            seen.append(env.reset())
    return seen


STAGES = [(1, 1), (1, 2), (2, 3), (4, 2), (7, 4), (8, 4)]


@pytest.mark.parametrize(
    ("stage", "lost_levels"), [*((one, False) for one in STAGES), *((one, True) for one in STAGES[:4])]
)
def test_a_stage_begins_as_on_the_other_emulator(stage: tuple[int, int], lost_levels: bool, solo: Any) -> None:
    world, number = stage
    (obs, info), (shown, expected) = (
        solo(world=world, stage=number, lost_levels=lost_levels, engine=engine).reset(seed=0)
        for engine in ("retro", "nes-py")
    )
    assert obs.shape == shown.shape == (240, 256, 3)
    assert (info["world"], info["stage"]) == stage
    assert info["x_pos"] == 40
    assert set(info) == set(expected)
    assert [type(info[key]) for key in expected] == [type(value) for value in expected.values()]
    falls = {"y_pos"}  # where Mario drops into the stage, he is a frame further here
    assert {key: info[key] for key in set(info) - falls} == {key: expected[key] for key in set(info) - falls}
    ours, theirs = (picture.mean(-1)[16:224, 16:240] for picture in (obs, shown))  # what both show, less the margin
    alike = {
        (down, right): np.corrcoef(np.roll(ours, (down, right), (0, 1)).ravel(), theirs.ravel())[0, 1]
        for down in (-8, 0, 8)
        for right in (-8, 0, 8)
    }
    assert max(alike, key=lambda shift: alike[shift]) == (0, 0), alike
    assert alike[0, 0] > 0.9


@pytest.mark.parametrize("version", [1, 2, 3])
def test_all_looks(version: int, solo: Any) -> None:
    plain, other = solo(world=1, stage=1), solo(world=1, stage=1, version=version)
    first, info = plain.reset(seed=0)
    plain.close()
    second, told = other.reset(seed=0)
    assert told == info
    assert (first != second).any()


@pytest.mark.parametrize("stage", [(1, 1), (4, 3)], ids=str)
def test_rewards_are_what_the_information_says(stage: tuple[int, int], solo: Any) -> None:
    """dx + dt - 25 at a death, within -15 and 15: recomputed from x_pos and time alone."""
    seen, deaths = played(solo(world=stage[0], stage=stage[1]), 1200), 0
    for before, after in pairwise(seen):
        if len(after) == 2:
            continue
        info, (_, reward, terminated, truncated, told) = before[-1], after
        moved, ticked = told["x_pos"] - info["x_pos"], told["time"] - info["time"]
        lost = terminated and not told["flag_get"]
        assert reward == np.clip((moved if abs(moved) <= 5 else 0) + min(ticked, 0) - 25 * lost, -15, 15)
        assert {type(value) for value in (reward, terminated, *told.values())} == {int, bool, str}
        assert not truncated
        deaths += lost
    assert deaths
    assert max(info["x_pos"] for *_, info in seen) > 250


def test_a_death_ends_a_stage_and_takes_a_life_of_a_whole_game(solo: Any) -> None:
    stage = solo(world=1, stage=1)
    stage.reset(seed=0)
    rewards, over, info = [], False, {}
    for _ in range(200):
        _, reward, over, _, info = stage.step(RUN_AND_JUMP)
        rewards.append(reward)
        if over:
            break
    assert over
    assert rewards[-1] == -15
    assert min(rewards[:-1]) >= -1
    assert (info["life"], info["flag_get"]) == (2, False)
    with pytest.raises(ResetNeeded, match="after the end of an episode"):
        stage.step(0)
    stage.close()

    whole = solo(frame_skip=4)
    lives = [whole.reset(seed=0)[1]["life"]]
    for _ in range(400):
        _, _, over, _, info = whole.step(RUN_AND_JUMP)
        if info["life"] != lives[-1]:
            lives.append(info["life"])
        if over:
            break
    assert lives == [2, 1, 0, 255]
    assert over


def test_the_flag_ends_a_stage_and_leads_on_in_a_whole_game(solo: Any) -> None:
    for options, ends in (({"world": 1, "stage": 1}, True), ({}, False)):
        env = solo(frame_skip=12, **options)
        env.reset(seed=0)
        outcomes = [env.step(int(action))[1:] for action in TO_THE_FLAG]
        assert [over for _, over, *_ in outcomes] == [False] * (len(outcomes) - 1) + [ends]
        info = outcomes[-1][-1]
        assert (info["flag_get"], info["stage"], info["x_pos"], info["time"]) == (
            (True, 1, 3161, 310) if ends else (False, 2, 40, 400)
        )
        assert info["life"] == 2
        env.close()


def test_a_restart_is_exact_whatever_came_before(solo: Any) -> None:
    env = solo(stages="1-1+4-2", frame_skip=4)
    expected = [played(env, 60, seed) for seed in (0, 1)]
    assert {seen[0][1]["world"] for seen in expected} == {1, 4}
    env.close()
    env = solo(stages="1-1+4-2", frame_skip=4)
    for seed in (1, 0, 1):
        for found, known in zip(played(env, 60, seed), expected[seed], strict=True):
            assert_same(found, known)


def test_goes_on_from_a_snapshot(solo: Any) -> None:
    env = solo(stages="1-1+4-2", frame_skip=2, render_mode="rgb_array")
    played(env, 40)
    place, picture = env.snapshot(), env.render()

    def went_on(env: gym.Env) -> list[PolicyOutputs]:
        seen: list[PolicyOutputs] = []
        for t in range(150):
            seen.append(env.step((RIGHT, RUN_AND_JUMP)[t // 10 % 2]))
            if seen[-1][2]:
                seen.append(env.reset())
        return [*seen, env.reset()]

    expected = went_on(env)
    assert sum(len(one) == 2 for one in expected) > 1
    env.close()
    fresh = solo(stages="1-1+4-2", frame_skip=2, render_mode="rgb_array")
    for _ in range(2):
        fresh.restore(place)
        np.testing.assert_array_equal(fresh.render(), picture)
        for found, known in zip(went_on(fresh), expected, strict=True):
            assert_same(found, known)
    with pytest.raises(ValueError, match="this snapshot is of Mario:stages=1-1"):
        solo(world=1, stage=1).restore(place)


def test_a_snapshot_knows_for_how_long_he_has_come_no_further(solo: Any) -> None:
    env = solo(world=1, stage=1, patience=8)
    env.reset(seed=0)
    for _ in range(5):
        env.step(0)
    place = env.snapshot()
    for _ in range(2):
        assert [env.step(0)[3] for _ in range(3)] == [False, False, True]
        env.restore(place)


def test_keeps_gymnasiums_contract() -> None:
    env = gym.make("rlgames/Mario-v0", world=1, stage=2, engine="retro")
    check_env(env.unwrapped, skip_render_check=True)
    env.close()
    for call in (env.unwrapped.reset, lambda: env.unwrapped.step(0)):
        with pytest.raises(ClosedEnvironmentError, match="make another"):
            call()


def test_a_second_emulator_in_a_process(solo: Any) -> None:
    first, second = solo(world=1, stage=1), solo(world=1, stage=2)
    first.reset(seed=0)
    with pytest.raises(
        RuntimeError, match=r"it allows one: close\(\) that environment before, play several by rlgames"
    ):
        second.reset(seed=0)
    first.step(RIGHT)
    first.close()
    assert second.reset(seed=0)[1]["stage"] == 2


def test_what_there_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="expected an engine of nes-py, retro, got 'mame'"):
        game(engine="mame")
    with pytest.raises(ValueError, match="it takes no threads, got 2"):
        gym.make_vec("rlgames/Mario-v0", 2, engine="retro", threads=2)
    assert game(world=1, stage=1, engine="retro").name == "Mario:world=1,stage=1,engine=retro"
    assert game(engine="nes-py") == game()
    monkeypatch.setattr(nes_retro, "find_spec", lambda name: None)
    with pytest.raises(DependencyNotInstalled, match=r"needs stable-retro: pip install .*retro"):
        load_game("Mario", engine="retro").solo()
