"""ArrayPool that were handed out stay as they are while anybody holds them, or a view of them."""

from collections import deque
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from helpers.games import game_of, random_actions, vector

import rlgames
from rlgames.engine.array_pool import COUNTS, WORTH, ArrayPool

STEPS = 40


def large(game: str) -> int:
    """So many players that their observations are worth reusing."""
    space = game_of(game).observation
    return WORTH // (int(np.prod(space.shape)) * np.dtype(space.dtype).itemsize) + 1


WAYS = {  # to hold on to an array without holding the array itself
    "array": lambda obs: obs,
    "row": lambda obs: obs[1],
    "view of a view": lambda obs: obs[1:].reshape(-1)[3:],
    "tensor": torch.from_numpy,
    "part of a tensor": lambda obs: torch.from_numpy(obs)[1:3],
    "tensor of a view": lambda obs: torch.as_tensor(obs[2:]),
    "buffer": memoryview,
    "array of a buffer": lambda obs: np.asarray(memoryview(obs)),
}


def content(held: Any) -> bytes:
    return held.numpy().tobytes() if isinstance(held, torch.Tensor) else held.tobytes()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("many", [False, True])
def test_what_is_held_stays(game: str, way: str, many: bool) -> None:
    """Some are let go after a few steps, others never."""
    n = large(game) if many else 5
    envs = vector(game, n, autoreset_mode="SameStep", max_episode_steps=7)
    actions = random_actions(game, 1, (STEPS, n))
    held: list[tuple[Any, bytes]] = []
    recent: deque[tuple[Any, bytes]] = deque(maxlen=3)

    def hold(array: np.ndarray, forever: bool) -> None:
        grasp = WAYS[way](array)
        (held if forever else recent).append((grasp, content(grasp)))

    obs, _ = envs.reset(seed=0)
    hold(obs, True)
    for step, row in enumerate(actions):
        obs, *_, info = envs.step(row)
        hold(obs, step % 4 == 0)
        if "final_obs" in info:
            hold(info["final_obs"], step % 3 == 0)
        del obs, info
        for grasp, before in (*held, *recent):
            assert content(grasp) == before
    assert len({before for _, before in held}) > 5


def test_numbers_and_masks_stay(game: str) -> None:
    n = large(game)
    envs = vector(game, n, autoreset_mode="SameStep", max_episode_steps=5)
    envs.reset(seed=0)
    held = []
    for row in random_actions(game, 1, (STEPS, n)):
        _, *numbers, info = envs.step(row)
        numbers.append(info["score"])
        if "final_obs" in info:
            numbers += [info["_final_obs"], info["final_info"]["score"]]
        held += [(array, array.copy()) for array in numbers]
        assert all(np.array_equal(array, before, equal_nan=True) for array, before in held)


def test_the_receiver_may_change_what_it_was_given(game: str) -> None:
    n = large(game)
    envs, untouched = (vector(game, n, autoreset_mode="SameStep") for _ in range(2))
    envs.reset(seed=0)[0].fill(1)
    untouched.reset(seed=0)
    for row in random_actions(game, 1, (STEPS, n)):
        obs, reward, terminated, truncated, info = envs.step(row)
        expected = untouched.step(row)
        assert np.array_equal(obs, expected[0])
        assert np.array_equal(reward, expected[1])
        assert np.array_equal(terminated, expected[2])
        assert np.array_equal(info["score"], expected[4]["score"])
        for array in (obs, reward, terminated, truncated, info["score"], info.get("final_obs", obs)):
            array.fill(1)


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_what_make_vec_hands_out_stays(game: str, mode: AutoresetMode) -> None:
    n = large(game)
    envs = rlgames.make_vec(game, n, autoreset_mode=mode, max_episode_steps=6)
    held = [(obs := envs.reset(seed=0)[0], obs.copy())]
    for row in random_actions(game, 1, (14, n)):
        obs, _, terminated, truncated, info = envs.step(row)
        done = terminated | truncated
        held.append((obs, obs.copy()))
        if "final_obs" in info:
            held.append((info["final_obs"][done], info["final_obs"][done].copy()))
        if mode is AutoresetMode.DISABLED and done.any():
            obs, _ = envs.reset(options={"reset_mask": done})
            held.append((obs, obs.copy()))
        assert all(np.array_equal(array, before) for array, before in held)


@pytest.mark.skipif(not COUNTS, reason="this Python cannot tell whether an array is held, so none is reused")
def test_large_arrays_are_reused_once_let_go() -> None:
    """Otherwise the tests above could not fail."""
    arrays = ArrayPool((WORTH,), np.uint8)
    first, second = arrays.next(), arrays.next()
    at = first.ctypes.data
    assert second.ctypes.data != at
    del first
    assert arrays.next().ctypes.data == at
    row = arrays.next()[5:]
    assert arrays.next().ctypes.data != at
    del row
    assert arrays.next().ctypes.data == at


def test_more_are_held_than_are_kept() -> None:
    arrays = ArrayPool((WORTH,), np.uint8, keep=2)
    held = [arrays.next() for _ in range(6)]
    assert len({array.ctypes.data for array in held}) == 6
    small = ArrayPool((3,), np.float32)
    assert small.next() is not small.next()
    assert small.made == []
