"""Invalid arguments raise an error that names the value and what is allowed, and change nothing."""

import re
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode
from helpers.games import game_of, single, vector

import rlgames
from rlgames.engine.validation import EnvSettings
from rlgames.envs.registry import parse
from rlgames.errors import UsageError, brief

FUNCTIONS = {
    "make": rlgames.make,
    "make_vec": rlgames.make_vec,
    "parse": parse,
}


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(
    ("game", "message"),
    [
        ("CatchBal", "unknown game 'CatchBal': did you mean 'CatchBall'? the games are CartPole, CatchBall, Cave"),
        ("cave", "unknown game 'cave': did you mean 'Cave'? the games are"),
        ("cart-pole", "did you mean 'CartPole'?"),
        ("rlgames/Cav-v0", "unknown game 'rlgames/Cav-v0': did you mean 'Cave'?"),
        ("rlgames/Cave-v1", "unknown game 'rlgames/Cave-v1'"),
        ("Tetris", "unknown game 'Tetris': the games are CartPole, CatchBall, Cave"),
        ("", "unknown game '': the games are"),
        ("CatchBall:size", "expected options as in 'CatchBall:size=16', got 'size' in 'CatchBall:size'"),
        ("CatchBall:size=", "got 'size=' in 'CatchBall:size='"),
        ("CatchBall:=8", "got '=8' in 'CatchBall:=8'"),
    ],
)
def test_unknown_game(function: str, game: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as raised:
        FUNCTIONS[function](game)
    assert isinstance(raised.value, UsageError)


@pytest.mark.parametrize("make", [gym.make, gym.make_vec])
@pytest.mark.parametrize("skip", [0, -1, 1.5, "4", True])
def test_invalid_frame_skip(make: Callable[..., Any], skip: Any) -> None:
    with pytest.raises(ValueError, match=re.escape(f"expected frame_skip >= 1, got {skip!r}")):
        make("rlgames/Cave-v0", frame_skip=skip)


def test_gymnasium_make_rejects_another_version() -> None:
    with pytest.raises(gym.error.VersionNotFound, match="v0"):
        gym.make("rlgames/Cave-v1")


@pytest.mark.parametrize("make", [rlgames.make, rlgames.make_vec])
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"size": 9}, ValueError, "expected a CatchBall board of size 8 or 16, got 9"),
        ({"size": "big"}, ValueError, "size 8 or 16, got 'big'"),
        ({"size": 8.0}, ValueError, "size 8 or 16, got 8.0"),
        ({"siez": 8}, TypeError, "unknown option 'siez' for CatchBall: expected one of size, frame_skip, stack"),
        ({"frame_skip": 0}, ValueError, "expected frame_skip >= 1, got 0"),
        ({"frame_skip": 1.5}, ValueError, "expected frame_skip >= 1, got 1.5"),
        ({"frame_skip": "2"}, ValueError, "expected frame_skip >= 1, got '2'"),
        ({"max_pool": True}, ValueError, "it needs frame_skip >= 2, got 1"),
        ({"max_episode_steps": 0}, ValueError, "expected max_episode_steps >= 1 or None, got 0"),
        ({"max_episode_steps": 9.5}, ValueError, "expected max_episode_steps >= 1 or None, got 9.5"),
    ],
)
def test_invalid_options(make: Callable[..., Any], options: dict[str, Any], error: type, message: str) -> None:
    with pytest.raises(error, match=re.escape(message)) as raised:
        make("CatchBall", **options)
    assert isinstance(raised.value, UsageError)


def test_invalid_options_in_the_name() -> None:
    rlgames.make("CatchBall:size=8")
    with pytest.raises(ValueError, match="size 8 or 16, got 8.0"):  # although the game of size 8 is cached
        rlgames.make("CatchBall:size=8.0")
    with pytest.raises(ValueError, match="size 8 or 16, got 12"):
        rlgames.make("CatchBall:size=12")
    with pytest.raises(TypeError, match="unknown option 'size' for Cave: expected one of antialias"):
        rlgames.make_vec("Cave:size=16", 2)


@pytest.mark.parametrize(("make", "option"), [(gym.make, "stack"), (gym.make, "wrappers"), (gym.make_vec, "stack")])
def test_gymnasium_make_rejects_options_of_rlgames_make(make: Callable[..., Any], option: str) -> None:
    with pytest.raises(TypeError, match=f"'{option}' is an option of rlgames.make and make_vec, not of gymnasium's"):
        make("rlgames/CatchBall-v0", **{option: 2})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_envs": 0}, "expected num_envs >= 1, got 0"),
        ({"num_envs": -3}, "expected num_envs >= 1, got -3"),
        ({"num_envs": 2.0}, "expected num_envs >= 1, got 2.0"),
        ({"num_envs": "2"}, "expected num_envs >= 1, got '2'"),
        ({"num_envs": True}, "expected num_envs >= 1, got True"),
        ({"threads": 0}, "expected threads >= 1 or None, got 0"),
        ({"max_episode_steps": 0}, "expected max_episode_steps >= 1 or None, got 0"),
        ({"max_episode_steps": 1.5}, "expected max_episode_steps >= 1 or None, got 1.5"),
        ({"autoreset_mode": "sometimes"}, "'NextStep', 'SameStep', 'Disabled' or an AutoresetMode, got 'sometimes'"),
        ({"render_mode": "human"}, "expected render_mode None or 'rgb_array', got 'human'"),
        ({"render_mode": "ansi"}, "got 'ansi'"),
    ],
)
def test_invalid_vector_env_settings(game: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        vector(game, **{"num_envs": 2, **arguments})


def test_invalid_env_settings(game: str) -> None:
    with pytest.raises(ValueError, match="expected render_mode None, 'rgb_array' or 'human', got 'ansi'"):
        single(game, render_mode="ansi")
    with pytest.raises(ValueError, match="expected max_episode_steps >= 1 or None, got -1"):
        single(game, max_episode_steps=-1)


@pytest.mark.parametrize(
    ("max_episode_steps", "own", "expected"),
    [(None, None, None), (None, 90, 90), (7, None, 28), (7, 90, 28), (7, 9, 9)],
)
def test_max_frames_is_the_smaller_limit(max_episode_steps: int | None, own: int | None, expected: int | None) -> None:
    assert EnvSettings(frame_skip=4, max_episode_steps=max_episode_steps).max_frames(own) == expected


@pytest.mark.parametrize("seed", [-1, 1.0, "1", True, np.float64(1), np.array(1.0)], ids=repr)
def test_invalid_seed(game: str, seed: Any) -> None:
    message = re.escape(f"expected a seed that is a non-negative integer or None, got {seed!r}")
    with pytest.raises(ValueError, match=message):
        single(game).reset(seed=seed)
    with pytest.raises(ValueError, match=message):
        vector(game, 2).reset(seed=seed)
    with pytest.raises(ValueError, match=message):
        vector(game, 2).reset(seed=[0, seed])


@pytest.mark.parametrize("seeds", [[], [1], [1, 2, 3], np.arange(3)], ids=len)
def test_list_of_seeds_with_wrong_length(game: str, seeds: Any) -> None:
    with pytest.raises(ValueError, match=f"expected one seed or 2, one for each environment, got {len(seeds)}"):
        vector(game, 2).reset(seed=seeds)


@pytest.mark.parametrize("action", [-1, 99, 2**31, 2**63, -(2**70), 0.0, 1.9, np.nan, "1", None, [0], np.array([0])])
def test_invalid_action_of_single_env(game: str, action: Any) -> None:
    env = single(game)
    env.reset(seed=0)
    records = env.snapshot()["records"]
    *named, last = [f"{i} ({name})" for i, name in enumerate(game_of(game).actions)]
    message = f"invalid action {brief(action)} for {game}: expected {', '.join(named)} or {last}"
    with pytest.raises(ValueError, match=re.escape(message)):
        env.step(action)
    assert np.array_equal(env.snapshot()["records"], records)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize(
    ("actions", "message"),
    [
        ([0, 0, 99], "invalid action [0, 0, 99] for"),
        ([0, -1, 0], "invalid action [0, -1, 0] for"),
        (np.array([0, 0, 2**64 - 1], np.uint64), "invalid action"),
        ([0.0, 1.0, 0.0], "expected 3 integer actions, got float64 of shape (3,)"),
        ([True, False, True], "expected 3 integer actions, got bool of shape (3,)"),
        ([0, 1], "expected 3 integer actions, got int64 of shape (2,)"),
        ([[0, 1, 0]], "got int64 of shape (1, 3)"),
        (0, "got int64 of shape ()"),
        (None, "got object of shape ()"),
        ([2**70, 0, 0], "got object of shape (3,)"),
    ],
)
def test_invalid_actions_of_vector_env(threads: int, mode: AutoresetMode, actions: Any, message: str) -> None:
    envs = vector("CatchBall", 3, autoreset_mode=mode, threads=threads)
    envs.reset(seed=0)
    records = envs.snapshot()["records"]
    with pytest.raises(ValueError, match=re.escape(message)):
        envs.step(actions)
    assert np.array_equal(envs.snapshot()["records"], records)


@pytest.mark.parametrize("threads", [1, 2])
def test_action_out_of_range_in_vector_env(game: str, threads: int) -> None:
    envs = vector(game, 3, threads=threads)
    envs.reset(seed=0)
    records = envs.snapshot()["records"]
    with pytest.raises(ValueError, match=re.escape(f"invalid action array([ 0, 0, 99]) for {game}: expected 0 (")):
        envs.step(np.array([0, 0, 99]))
    assert np.array_equal(envs.snapshot()["records"], records)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (
            np.array([1, 0]),
            "options['reset_mask'] of bool, shape (2,), at least one True, got int64 of shape (2,): array([1, 0])",
        ),
        (np.array([True]), "got bool of shape (1,): array([ True])"),
        (np.array([[True, False]]), "got bool of shape (1, 2)"),
        (np.zeros(2, np.bool_), "got bool of shape (2,): array([False, False])"),
        (True, "got bool of shape (): True"),
    ],
)
def test_invalid_reset_mask(game: str, mask: Any, message: str) -> None:
    envs = vector(game, 2)
    envs.reset(seed=0)
    records = envs.snapshot()["records"]
    with pytest.raises(ValueError, match=re.escape(message)):
        envs.reset(options={"reset_mask": mask})
    assert np.array_equal(envs.snapshot()["records"], records)


def test_step_before_the_first_reset(game: str) -> None:
    envs = vector(game, 2)
    with pytest.raises(ResetNeeded, match=re.escape(f"step() of {game} before the first reset()")):
        single(game).step(0)
    with pytest.raises(ResetNeeded, match=re.escape(f"step() of {game} before the first reset()")):
        envs.step(np.zeros(2, np.int64))
    with pytest.raises(ResetNeeded, match="reset all environments once before resetting some by reset_mask"):
        envs.reset(options={"reset_mask": np.array([True, False])})


def test_step_after_the_end_of_an_episode(game: str) -> None:
    env = single(game, max_episode_steps=1)
    env.reset(seed=0)
    env.step(0)
    records = env.snapshot()["records"]
    with pytest.raises(ResetNeeded, match=f"an episode of {game} is over and was not reset"):
        env.step(0)
    assert np.array_equal(env.snapshot()["records"], records)
    env.reset()
    env.step(0)


def test_autoreset_mode_is_a_member_or_its_value(game: str) -> None:
    for mode in AutoresetMode:
        for given in (mode, mode.value):
            assert vector(game, 1, autoreset_mode=given).metadata["autoreset_mode"] is mode
