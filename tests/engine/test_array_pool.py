"""Arrays of `reset` and `step` keep their content while the caller holds them, or a view of them."""

from collections import deque
from itertools import cycle
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from helpers.games import game_of, random_actions, vector

import rlgames
from rlgames.engine.array_pool import COUNTS_ARE_EXACT, MIN_BYTES, ArrayPool

STEPS = 40


def reusing_num_envs(game: str) -> int:
    """Return the fewest environments whose observations are large enough to be reused."""
    space = game_of(game).observation
    return MIN_BYTES // (int(np.prod(space.shape)) * np.dtype(space.dtype).itemsize) + 1


REFERENCES = {  # ways to refer to the memory of an array
    "array": lambda obs: obs,
    "row": lambda obs: obs[1],
    "view of a view": lambda obs: obs[1:].reshape(-1)[3:],
    "tensor": torch.from_numpy,
    "slice of a tensor": lambda obs: torch.from_numpy(obs)[1:3],
    "tensor of a view": lambda obs: torch.as_tensor(obs[2:]),
    "buffer": memoryview,
    "array of a buffer": lambda obs: np.asarray(memoryview(obs)),
}


def content(held: Any) -> bytes:
    return held.numpy().tobytes() if isinstance(held, torch.Tensor) else held.tobytes()


@pytest.mark.parametrize("reused", [False, True])
def test_step_leaves_held_observations_unchanged(game: str, reused: bool) -> None:
    """Each is held by another reference; some are dropped after three steps, others never."""
    n = reusing_num_envs(game) if reused else 5
    envs = vector(game, n, autoreset_mode="SameStep", max_episode_steps=7)
    held: list[tuple[str, Any, bytes]] = []
    recent: deque[tuple[str, Any, bytes]] = deque(maxlen=3)
    forever, soon_dropped = cycle(REFERENCES), cycle(REFERENCES)

    def hold(array: np.ndarray, is_kept: bool) -> None:
        name = next(forever if is_kept else soon_dropped)
        reference = REFERENCES[name](array)
        (held if is_kept else recent).append((name, reference, content(reference)))

    obs, _ = envs.reset(seed=0)
    hold(obs, True)
    for step, row in enumerate(random_actions(game, 1, (STEPS, n))):
        obs, *_, info = envs.step(row)
        hold(obs, step % 4 == 0)
        if "final_obs" in info:
            hold(info["final_obs"], step % 3 == 0)
        del obs, info
        for name, reference, expected in (*held, *recent):
            assert content(reference) == expected, name
    assert {name for name, *_ in held} == set(REFERENCES)
    assert len({expected for *_, expected in held}) > 5


def test_step_leaves_held_rewards_scores_and_masks_unchanged(game: str) -> None:
    n = reusing_num_envs(game)
    envs = vector(game, n, autoreset_mode="SameStep", max_episode_steps=5)
    envs.reset(seed=0)
    held = []
    for row in random_actions(game, 1, (STEPS, n)):
        _, *arrays, info = envs.step(row)
        arrays.append(info["score"])
        if "final_obs" in info:
            arrays += [info["_final_obs"], info["final_info"]["score"], info["final_obs"]]
        held += [(array, array.copy()) for array in arrays]
        assert all(np.array_equal(array, expected, equal_nan=True) for array, expected in held)


def test_caller_may_overwrite_returned_arrays(game: str) -> None:
    n = reusing_num_envs(game)
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
        for array in (obs, reward, terminated, truncated, info["score"], info["_score"], info.get("final_obs", obs)):
            array.fill(1)


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_make_vec_leaves_held_observations_unchanged(game: str, mode: AutoresetMode) -> None:
    n = reusing_num_envs(game)
    envs = rlgames.make_vec(game, n, autoreset_mode=mode, max_episode_steps=6)
    held = [(obs := envs.reset(seed=0)[0], obs.copy())]
    for row in random_actions(game, 1, (14, n)):
        obs, _, terminated, truncated, info = envs.step(row)
        done = terminated | truncated
        held.append((obs, obs.copy()))
        if "final_obs" in info:
            held.append((info["final_obs"], info["final_obs"].copy()))
        if mode is AutoresetMode.DISABLED and done.any():
            obs, _ = envs.reset(options={"reset_mask": done})
            held.append((obs, obs.copy()))
        assert all(np.array_equal(array, expected) for array, expected in held)


@pytest.mark.skipif(not COUNTS_ARE_EXACT, reason="without the GIL no array is reused")
def test_next_reuses_large_arrays_that_were_dropped() -> None:
    """Otherwise the tests above could not fail."""
    pool = ArrayPool((MIN_BYTES,), np.uint8)
    first, second = pool.next(), pool.next()
    address = first.ctypes.data
    assert second.ctypes.data != address
    del first
    assert pool.next().ctypes.data == address
    view = pool.next()[5:]
    assert pool.next().ctypes.data != address
    del view
    assert pool.next().ctypes.data == address


def test_next_returns_new_arrays_beyond_the_pools_size() -> None:
    pool = ArrayPool((MIN_BYTES,), np.uint8, size=2)
    held = [pool.next() for _ in range(6)]
    assert len({array.ctypes.data for array in held}) == 6
    small = ArrayPool((3,), np.float32)
    assert small.next() is not small.next()
    assert small.arrays == []
