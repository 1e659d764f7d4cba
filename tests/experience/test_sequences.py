"""Sequences from a replay against the play itself, written down step by step."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_replay import GAMMA, make, played

from rlgames.experience.replay import ReplayBuffer
from rlgames.experience.sequences import sequences


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 1000),
    stack=st.integers(1, 3),
    n_steps=st.integers(1, 3),
    n=st.integers(1, 3),
    steps=st.integers(12, 120),
    resting=st.booleans(),
    time=st.integers(1, 6),
    burn_in=st.integers(0, 5),
)
def test_a_sequence_is_what_was_played(seed, stack, n_step, n, steps, resting, time, burn_in):
    burn_in %= time
    replay = make(ReplayBuffer, stack, n_step, n, buffer_size=20 * n)
    # What each player saw: (obs, begins, action, reward, fate), and after a lost race with time what it saw last.
    seen: list[list[tuple]] = [[] for _ in range(n)]
    begins = [True] * n
    for step in played(seed, n, stack, steps, resting):
        replay.add(step)
        for i in np.flatnonzero(step.real):
            late = step.done[i] and not step.terminated[i]
            fate = "terminated" if step.terminated[i] else "late" if late else "going"
            seen[i].append((step.obs[i], begins[i], step.action[i], step.reward[i], fate))
            if late:
                seen[i].append((step.after[i], False, None, None, "last"))
            begins[i] = bool(step.done[i])
    where = {row[0].tobytes(): (i, k) for i, rows in enumerate(seen) for k, row in enumerate(rows)}
    batch = sequences(replay, np.random.default_rng(seed), 32, time, burn_in)
    for row in range(32):
        i, first = where[batch.obs[row, 0].tobytes()]
        stretch = seen[i][first : first + time + 1]
        assert batch.start[row, 0]
        for t, (obs, fresh, action, _, fate) in enumerate(stretch):
            assert (batch.obs[row, t] == obs).all()
            assert t == 0 or batch.start[row, t] == fresh
            if t == time:
                break
            assert batch.real[row, t] == (t >= burn_in and fate != "last")
            if not batch.real[row, t]:
                continue
            assert batch.action[row, t] == action
            total, discount, m = 0.0, 1.0, 0
            while m < min(n_step, time - t):
                total += discount * stretch[t + m][3]
                discount *= GAMMA
                m += 1
                if stretch[t + m - 1][4] != "going":
                    break
            if stretch[t + m - 1][4] == "terminated":
                discount = 0.0
            assert batch.reward[row, t] == pytest.approx(total, rel=1e-6)
            assert batch.discount[row, t] == pytest.approx(discount)
            assert not discount or batch.after[row, t] == t + m


def test_too_little_play_is_refused():
    replay = make(ReplayBuffer, 1, 1, 1, buffer_size=20)
    for step in played(0, 1, 1, 4, False):
        replay.add(step)
    with pytest.raises(ValueError, match="no sequence of 9 steps in a replay of"):
        sequences(replay, np.random.default_rng(0), 2, 9)


def test_every_start_is_as_likely():
    replay = make(ReplayBuffer, 1, 1, 2, buffer_size=40)
    for step in played(3, 2, 1, 300, False):
        replay.add(step)
    batch = sequences(replay, np.random.default_rng(0), 20_000, 4)
    _, counts = np.unique(batch.obs[:, 0].ravel(), return_counts=True)
    expected = 20_000 / len(counts)
    assert len(counts) > 30
    assert np.abs(counts - expected).max() < 5 * expected**0.5
