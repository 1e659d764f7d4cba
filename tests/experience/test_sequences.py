"""Sequences sampled from a replay buffer against the observations of each environment, listed step by step."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from helpers.transitions import GAMMA, make_replay, random_steps
from hypothesis import given, settings
from hypothesis import strategies as st

from rlgames.experience.replay import FINAL_OBS, RUNNING, TERMINATED, TRUNCATED, ReplayBuffer
from rlgames.experience.sequences import check_sequence_length, sample_sequences


class Entry(NamedTuple):
    """An observation of one environment, and the transition from it; FINAL_OBS: none."""

    obs: np.ndarray
    episode_start: bool
    action: int
    reward: float
    status: int


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000),
    stack=st.integers(1, 3),
    n_steps=st.integers(1, 3),
    num_envs=st.integers(1, 3),
    num_steps=st.integers(12, 120),
    next_step=st.booleans(),
    length=st.integers(1, 6),
    burn_in=st.integers(0, 5),
)
def test_sample_sequences_returns_steps_that_were_added(
    seed, stack, n_steps, num_envs, num_steps, next_step, length, burn_in
):
    burn_in %= length
    replay = make_replay(ReplayBuffer, 20 * num_envs, num_envs, stack, n_steps)
    entries: list[list[Entry]] = [[] for _ in range(num_envs)]
    start = [True] * num_envs
    for step in random_steps(seed, num_envs, stack, num_steps, next_step):
        replay.add(step)
        for i in np.flatnonzero(step.valid):
            status = TERMINATED if step.terminated[i] else TRUNCATED if step.done[i] else RUNNING
            entries[i].append(Entry(step.obs[i], start[i], step.action[i], step.reward[i], status))
            if status == TRUNCATED:
                entries[i].append(Entry(step.next_obs[i], False, 0, 0.0, FINAL_OBS))
            start[i] = bool(step.done[i])
    index = {entry.obs.tobytes(): (i, k) for i, own in enumerate(entries) for k, entry in enumerate(own)}
    batch = sample_sequences(replay, np.random.default_rng(seed), 32, length, burn_in)
    for row in range(32):
        i, first = index[batch.obs[row, 0].tobytes()]
        expected = entries[i][first : first + length + 1]
        assert batch.episode_start[row, 0]
        for t, entry in enumerate(expected):
            assert (batch.obs[row, t] == entry.obs).all()
            assert t == 0 or batch.episode_start[row, t] == entry.episode_start
            if t == length:
                break
            assert batch.valid[row, t] == (t >= burn_in and entry.status != FINAL_OBS)
            if not batch.valid[row, t]:
                continue
            assert batch.actions[row, t] == entry.action
            total, discount, m = 0.0, 1.0, 0
            while m < min(n_steps, length - t):
                total += discount * expected[t + m].reward
                discount *= GAMMA
                m += 1
                if expected[t + m - 1].status != RUNNING:
                    break
            if expected[t + m - 1].status == TERMINATED:
                discount = 0.0
            assert batch.rewards[row, t] == pytest.approx(total, rel=1e-6)
            assert batch.discounts[row, t] == pytest.approx(discount)
            assert not discount or batch.next_index[row, t] == t + m


def test_sample_sequences_of_too_few_steps_raises():
    replay = make_replay(ReplayBuffer, 20, 1)
    for step in random_steps(0, 1, 1, 4):
        replay.add(step)
    with pytest.raises(ValueError, match="no sequence of 9 steps in a replay of"):
        sample_sequences(replay, np.random.default_rng(0), 2, 9)


def test_check_sequence_length_names_the_least_buffer_size():
    replay = make_replay(ReplayBuffer, 20, 2, stack=2)
    check_sequence_length(replay, 20, replay.length - 2)
    message = f"buffer_size=20 of 2 environments holds no sequence of {replay.length - 1} steps: use 28 or more"
    with pytest.raises(ValueError, match=message):
        check_sequence_length(replay, 20, replay.length - 1)


def test_every_start_is_equally_likely():
    replay = make_replay(ReplayBuffer, 40, 2)
    for step in random_steps(3, 2, 1, 300):
        replay.add(step)
    batch = sample_sequences(replay, np.random.default_rng(0), 20_000, 4)
    _, counts = np.unique(batch.obs[:, 0].ravel(), return_counts=True)
    expected = 20_000 / len(counts)
    assert len(counts) > 30
    assert np.abs(counts - expected).max() < 5 * expected**0.5
