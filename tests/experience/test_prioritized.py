"""Prioritised replay: its tree beside plain sums, its draws beside its priorities, its weights beside the formula."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box
from hypothesis import given, settings
from hypothesis import strategies as st

from rlgames.experience.env_runner import Step
from rlgames.experience.prioritized import SMALLEST, PrioritizedReplayBuffer
from rlgames.experience.replay import FINAL_OBS


def made(n: int = 2, capacity: int = 40, **more: Any) -> PrioritizedReplayBuffer:
    return PrioritizedReplayBuffer(capacity, n, Box(-np.inf, np.inf, (1,), np.float32), **more)


def play(replay: PrioritizedReplayBuffer, rng: np.random.Generator, steps: int = 1) -> None:
    n = replay.n
    for _ in range(steps):
        obs, after = rng.random((2, n, 1)).astype(np.float32)
        terminated, cut, real = rng.random((3, n)) < np.array([[0.1], [0.1], [0.9]])
        reward = rng.random(n).astype(np.float32)
        replay.add(
            Step(obs, rng.integers(3, size=n), reward, after, terminated | ~real, terminated | cut | ~real, real)
        )


def leaves(replay: PrioritizedReplayBuffer) -> np.ndarray:
    return replay.tree[replay.leaves :]


def chance(replay: PrioritizedReplayBuffer, slot: np.ndarray) -> np.ndarray:
    """Priorities of slots (rows, 2), by plain indices."""
    return np.array([leaves(replay)[i * replay.length + t % replay.length] for i, t in slot])


# ---- the tree ----


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000),
    n=st.integers(1, 5),
    does=st.lists(st.sampled_from(["play", "play", "play a lot", "update", "load"]), max_size=25),
)
def test_every_node_is_the_sum_of_the_leaves_below_it(seed: int, n: int, does: list[str]):
    """Exactly: pairs are added in the same order, whatever happened before."""
    rng, replay = np.random.default_rng(seed), made(n, buffer_size=11 * n)
    play(replay, rng, 8)
    for what in does:
        if what == "update":
            replay.update(replay.sample(rng, 7), rng.exponential(size=7))
        elif what == "load":
            state = replay.state_dict()
            replay = made(n, buffer_size=11 * n)
            replay.load_state_dict(state)
        else:
            play(replay, rng, 1 if what == "play" else 15)
    level = leaves(replay).copy()
    assert level[n * replay.length :].sum() == 0.0
    while len(level) > 1:
        level = level[0::2] + level[1::2]
        assert np.array_equal(replay.tree[len(level) : 2 * len(level)], level)
    assert replay.tree[1] == pytest.approx(leaves(replay).sum())
    for i in range(n):  # what cannot be drawn has no priority: slots never written, and frames without a step
        for at in range(replay.length):
            used = at < replay.head[i] and replay.fate[i, at] != FINAL_OBS
            assert (leaves(replay)[i * replay.length + at] > 0) == used


def test_what_is_new_has_the_largest_priority_so_far():
    rng, replay = np.random.default_rng(0), made(1, exponent=0.5)
    play(replay, rng, 10)
    assert set(leaves(replay)) == {0.0, 1.0}
    batch = replay.sample(rng, 3)
    replay.update(batch, np.array([0.1, 3.99, 0.2]))
    assert replay.largest == pytest.approx((3.99 + SMALLEST) ** 0.5) == pytest.approx(2.0)
    replay.update(batch, np.zeros(3))  # so far: it does not fall
    before = int(replay.head[0])
    play(replay, rng, 5)
    new = leaves(replay)[before : int(replay.head[0])]
    assert set(new) <= {0.0, replay.largest}
    assert replay.largest in new


# ---- draws and weights ----


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), n=st.integers(1, 4), exponent=st.sampled_from([0.0, 0.6, 1.0]))
def test_draws_are_proportional_to_the_priorities(seed: int, n: int, exponent: float):
    """Chi-square over all that can be drawn, the ring gone round: its mean is the cells, its deviation their root."""
    rng, replay = np.random.default_rng(seed), made(n, buffer_size=20 * n, exponent=exponent)
    play(replay, rng, 60)
    every = replay.gather(np.unique(replay.draw(rng, 20_000), axis=0))
    error = rng.exponential(size=len(every.slot)) + 0.05
    replay.update(every, error)
    assert chance(replay, every.slot) == pytest.approx((error + 0.01) ** exponent)
    expected = (error + 0.01) ** exponent
    rows = 50_000
    expected *= rows / expected.sum()
    slots = replay.draw(rng, rows)
    drawn = {tuple(slot): 0 for slot in every.slot}
    for slot in map(tuple, slots):
        drawn[slot] += 1  # a KeyError: something else was drawn
    squares = ((np.array(list(drawn.values())) - expected) ** 2 / expected).sum()
    cells = len(every.slot)
    assert squares < cells + 6 * (2 * cells) ** 0.5


@pytest.mark.parametrize("beta", [0.0, 0.4, 1.0])
def test_weights_by_the_formula(beta: float):
    rng, replay = np.random.default_rng(3), made(2, exponent=0.6)
    play(replay, rng, 30)
    replay.update(replay.sample(rng, 40), rng.exponential(size=40))
    batch = replay.sample(rng, 16)
    probability = chance(replay, batch.slot) / leaves(replay).sum()
    expected = (len(replay) * probability) ** -beta
    weight = replay.weights(batch, beta)
    assert weight.dtype == np.float32
    assert weight == pytest.approx(expected / expected.max(), rel=1e-6)


# ---- its state ----


def test_goes_on_from_its_state():
    """Same draws, same weights, same priorities of what is new, after the ring has gone round."""
    rng, one, other = np.random.default_rng(1), made(2), made(2)
    play(one, rng, 70)
    one.update(one.sample(rng, 30), rng.exponential(size=30) * 5)
    other.load_state_dict(one.state_dict())
    for replay in (one, other):
        dice = np.random.default_rng(2)
        play(replay, dice, 5)
        for _ in range(20):
            replay.update(replay.sample(dice, 8), dice.exponential(size=8))
    assert np.array_equal(one.tree, other.tree)
    assert one.largest == other.largest
    mine, theirs = one.sample(np.random.default_rng(4), 50), other.sample(np.random.default_rng(4), 50)
    assert all(np.array_equal(a, b) for a, b in zip(mine, theirs, strict=True))
    assert np.array_equal(one.weights(mine, 0.5), other.weights(theirs, 0.5))


def test_the_state_of_other_players_is_refused():
    one = made(2)
    play(one, np.random.default_rng(0), 10)
    with pytest.raises(ValueError, match="saved with 2 players, got 3"):
        made(3, buffer_size=60).load_state_dict(one.state_dict())
