"""Prioritized replay: its sum tree against plain sums, samples against priorities, weights against the formula."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.transitions import make_replay
from hypothesis import given, settings
from hypothesis import strategies as st

from rlgames.experience.env_runner import Step
from rlgames.experience.prioritized import MIN_ERROR, PrioritizedReplayBuffer
from rlgames.experience.replay import FINAL_OBS


def make(num_envs: int = 2, buffer_size: int = 40, alpha: float = 0.6) -> PrioritizedReplayBuffer:
    return make_replay(PrioritizedReplayBuffer, buffer_size, num_envs, alpha=alpha)


def add_random_steps(replay: PrioritizedReplayBuffer, rng: np.random.Generator, num_steps: int = 1) -> None:
    n = replay.num_envs
    for _ in range(num_steps):
        obs, next_obs = rng.random((2, n, 1)).astype(np.float32)
        terminated, truncated, valid = rng.random((3, n)) < np.array([[0.1], [0.1], [0.9]])
        reward, action = rng.random(n).astype(np.float32), rng.integers(3, size=n)
        done = terminated | truncated | ~valid
        replay.add(Step(obs, action, reward, next_obs, terminated | ~valid, done, valid))


def tree_leaves(replay: PrioritizedReplayBuffer) -> np.ndarray:
    return replay.tree[replay.leaves :]


def priorities_at(replay: PrioritizedReplayBuffer, slots: np.ndarray) -> np.ndarray:
    """Return the priorities of slots (rows, 2), by plain indices."""
    return np.array([tree_leaves(replay)[i * replay.length + slot % replay.length] for i, slot in slots])


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000),
    num_envs=st.integers(1, 5),
    operations=st.lists(st.sampled_from(["add", "add", "add many", "update", "load", "restart"]), max_size=25),
)
def test_every_node_is_the_sum_of_its_leaves(seed: int, num_envs: int, operations: list[str]):
    """Bit for bit: pairs are summed in the same order, independent of the history."""
    rng, replay = np.random.default_rng(seed), make(num_envs, buffer_size=11 * num_envs)
    add_random_steps(replay, rng, 8)
    for operation in operations:
        if operation == "update":
            replay.update_priorities(replay.sample(rng, 7), rng.exponential(size=7))
        elif operation == "load":
            state = replay.state_dict()
            replay = make(num_envs, buffer_size=11 * num_envs)
            replay.load_state_dict(state)
        elif operation == "restart":
            replay.restart_episodes()
            add_random_steps(replay, rng, 4)  # so that something can be sampled
        else:
            add_random_steps(replay, rng, 1 if operation == "add" else 15)
    level = tree_leaves(replay).copy()
    assert level[num_envs * replay.length :].sum() == 0.0
    while len(level) > 1:
        level = level[0::2] + level[1::2]
        assert np.array_equal(replay.tree[len(level) : 2 * len(level)], level)
    assert replay.tree[1] == pytest.approx(tree_leaves(replay).sum())
    for i in range(num_envs):  # slots that were never written, and frames without a transition, have priority 0
        for slot in range(replay.length):
            transition = slot < replay.head[i] and replay.status[i, slot] != FINAL_OBS
            assert (tree_leaves(replay)[i * replay.length + slot] > 0) == transition


def test_new_transitions_have_the_largest_priority_so_far():
    rng, replay = np.random.default_rng(0), make(1, alpha=0.5)
    add_random_steps(replay, rng, 10)
    assert set(tree_leaves(replay)) == {0.0, 1.0}
    batch = replay.sample(rng, 3)
    replay.update_priorities(batch, np.array([0.1, 3.99, 0.2]))
    assert replay.max_priority == pytest.approx((3.99 + MIN_ERROR) ** 0.5) == pytest.approx(2.0)
    replay.update_priorities(batch, np.zeros(3))  # does not lower the largest one
    before = int(replay.head[0])
    add_random_steps(replay, rng, 5)
    new = tree_leaves(replay)[before : int(replay.head[0])]
    assert set(new) <= {0.0, replay.max_priority}
    assert replay.max_priority in new


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), num_envs=st.integers(1, 4), alpha=st.sampled_from([0.0, 0.6, 1.0]))
def test_samples_are_proportional_to_the_priorities(seed: int, num_envs: int, alpha: float):
    """Chi-square over all transitions of a ring that has wrapped: mean = cells, variance = 2 cells."""
    rng, replay = np.random.default_rng(seed), make(num_envs, buffer_size=20 * num_envs, alpha=alpha)
    add_random_steps(replay, rng, 60)
    every = replay.gather(np.unique(replay.sample_slots(rng, 20_000), axis=0))
    errors = rng.exponential(size=len(every.slots)) + 0.05
    replay.update_priorities(every, errors)
    priorities = (errors + MIN_ERROR) ** alpha
    assert priorities_at(replay, every.slots) == pytest.approx(priorities)
    slots, counts = np.unique(replay.sample_slots(rng, 50_000), axis=0, return_counts=True)
    np.testing.assert_array_equal(slots, every.slots)
    expected = priorities * (50_000 / priorities.sum())
    cells = len(slots)
    assert ((counts - expected) ** 2 / expected).sum() < cells + 6 * (2 * cells) ** 0.5


@pytest.mark.parametrize("beta", [0.0, 0.4, 1.0])
def test_weights_follow_the_formula(beta: float):
    rng, replay = np.random.default_rng(3), make(2)
    add_random_steps(replay, rng, 30)
    replay.update_priorities(replay.sample(rng, 40), rng.exponential(size=40))
    batch = replay.sample(rng, 16)
    probabilities = priorities_at(replay, batch.slots) / tree_leaves(replay).sum()
    expected = (len(replay) * probabilities) ** -beta
    weights = replay.weights(batch, beta)
    assert weights.dtype == np.float32
    assert weights == pytest.approx(expected / expected.max(), rel=1e-6)
    assert weights.max() == 1.0


def test_load_state_dict_continues_exactly():
    """Samples, weights and the priorities of new transitions are the same, in a ring that has wrapped."""
    rng, one, other = np.random.default_rng(1), make(), make()
    add_random_steps(one, rng, 70)
    one.update_priorities(one.sample(rng, 30), rng.exponential(size=30) * 5)
    other.load_state_dict(one.state_dict())
    for replay in (one, other):
        rng = np.random.default_rng(2)
        add_random_steps(replay, rng, 5)
        for _ in range(20):
            replay.update_priorities(replay.sample(rng, 8), rng.exponential(size=8))
    assert np.array_equal(one.tree, other.tree)
    assert one.max_priority == other.max_priority
    ours, theirs = (replay.sample(np.random.default_rng(4), 50) for replay in (one, other))
    assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert np.array_equal(one.weights(ours, 0.5), other.weights(theirs, 0.5))


def test_load_state_dict_of_other_num_envs_raises():
    one = make(2)
    add_random_steps(one, np.random.default_rng(0), 10)
    with pytest.raises(ValueError, match="saved with 2 environments, got 3"):
        make(3, buffer_size=60).load_state_dict(one.state_dict())


def test_sample_of_an_empty_buffer_raises():
    with pytest.raises(ValueError, match="no complete transition in a replay of 0 slots yet"):
        make().sample(np.random.default_rng(0), 1)
