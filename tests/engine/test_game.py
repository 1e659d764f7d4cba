"""Parts of a compiled game beyond its rules: shared data, information, an end that the agent's steps decide."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode
from numba import from_dtype, types
from numba.extending import register_jitable

from rlgames.engine import CLOCK, Game, make_env, make_vector_env
from rlgames.engine.loops import SharedFunction, rules_checksum

RECORD = np.dtype([*CLOCK, ("place", "i4"), ("rests", "i4")], align=True)
MAP = np.array([0.0, 1.0, 5.0, 2.0, -3.0])  # the reward of each place; the walk ends at the last one
REST, WALK = range(2)


def walk(s, action):
    s.place += action
    return s.place


walking = SharedFunction("the walk", walk, types.int64(from_dtype(RECORD), types.int64))
walk_one = walking.call


@register_jitable
def reset(s, rewards):
    s.place = s.rests = 0


@register_jitable
def step(s, action, rewards):
    place = walk_one(s, action)
    s.rests = 0 if action == WALK else s.rests + 1
    return rewards[place], place == len(rewards) - 1


@register_jitable
def observe(s, obs, rewards):
    obs[0] = s.place


@register_jitable
def describe(s, info, rewards):
    info[0], info[1] = s.place, rewards[s.place] > 1


@register_jitable
def give_up(s, rewards):
    return s.rests >= 4


@pytest.fixture(scope="module")
def game() -> Game:
    walking.load()
    info = {"place": None, "rich": lambda numbers: np.array(["no", "yes"], object)[numbers]}
    return Game(
        "Road",
        RECORD,
        Box(0, 255, (1,), np.float32),
        ("rest", "walk"),
        1000,
        reset,
        step,
        observe,
        lambda s: np.zeros((2, 2, 3), np.uint8),
        10,
        info=info,
        describe=describe,
        give_up=give_up,
        data=(MAP,),
        score_key="place",
    )


def test_rules_read_the_data_and_information_is_described(game: Game) -> None:
    env = make_env(game)
    assert env.metadata["score"] == "place"
    assert env.reset(seed=0)[1] == {"score": 0.0, "place": 0, "rich": "no"}
    results = [env.step(WALK) for _ in range(4)]
    assert [reward for _, reward, *_ in results] == [1.0, 5.0, 2.0, -3.0]
    assert [terminated for _, _, terminated, *_ in results] == [False, False, False, True]
    assert [info["rich"] for *_, info in results] == ["no", "yes", "yes", "no"]
    assert results[-1][-1] == {"score": 5.0, "place": 4, "rich": "no"}
    assert [type(value) for value in results[-1][-1].values()] == [float, int, str]


def test_the_same_rules_read_other_data(game: Game) -> None:
    env = make_env(Game(**{**vars_of(game), "data": (np.array([0.0, 7.0]),)}))
    env.reset(seed=0)
    assert env.step(WALK)[1:3] == (7.0, True)


def vars_of(game: Game) -> dict[str, Any]:
    return {name: getattr(game, name) for name in game.__dataclass_fields__}


@pytest.mark.parametrize("frame_skip", [1, 2, 3])
def test_giving_up_is_asked_after_each_step_of_the_agent(game: Game, frame_skip: int) -> None:
    """Not within its frames: the episode ends with the step in which the fourth rest falls, after all of its frames."""
    env = make_env(game, frame_skip=frame_skip)
    env.reset(seed=0)
    expected = -(-4 // frame_skip)
    results = [env.step(REST) for _ in range(expected)]
    assert [result[2:4] for result in results] == [(False, False)] * (expected - 1) + [(False, True)]
    assert env.snapshot()["records"]["age"][0] == expected * frame_skip


@pytest.mark.parametrize("mode", list(AutoresetMode), ids=lambda mode: mode.name)
def test_vector_environments_have_the_information_of_single_ones(game: Game, mode: AutoresetMode) -> None:
    envs, singles = make_vector_env(game, 3, autoreset_mode=mode), [make_env(game) for _ in range(3)]
    info = envs.reset(seed=0)[1]
    expected = [env.reset(seed=i)[1] for i, env in enumerate(singles)]
    over = np.zeros(3, np.bool_)
    for actions in np.random.default_rng(0).integers(0, 2, (30, 3)):
        for key in ("place", "rich"):
            assert info[key].tolist() == [one[key] for one in expected]
            assert info[f"_{key}"].all()
        if mode is AutoresetMode.DISABLED and over.any():
            info = envs.reset(options={"reset_mask": over})[1]
            assert info["_rich"].tolist() == over.tolist()
            assert [info["rich"][i] for i in np.flatnonzero(~over)] == [None] * int((~over).sum())
            for i in np.flatnonzero(over):
                singles[i].reset()
            over[:] = False
        *_, info = envs.step(actions)
        for i, env in enumerate(singles):
            if over[i]:  # NEXT_STEP
                expected[i], over[i] = env.reset()[1], False
                continue
            _, _, terminated, truncated, expected[i] = env.step(int(actions[i]))
            if terminated or truncated:
                over[i] = mode is not AutoresetMode.SAME_STEP
                if mode is AutoresetMode.SAME_STEP:
                    assert info["final_info"]["_place"][i]
                    assert {key: info["final_info"][key][i] for key in ("place", "rich")} == {
                        key: expected[i][key] for key in ("place", "rich")
                    }
                    expected[i] = env.reset()[1]


def test_an_edit_of_a_shared_function_changes_the_checksum() -> None:
    """So that loops which call it by name are compiled again."""
    before = rules_checksum(step)
    symbol, walk_one.symbol = walk_one.symbol, "rlgames_walk_edited"
    assert rules_checksum(step) != before
    walk_one.symbol = symbol
    assert rules_checksum(step) == before
