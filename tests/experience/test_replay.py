"""ReplayBuffer against a plain list of transitions, with stacks, n-step returns, ends, time limits and the ring's seam."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box
from hypothesis import given, settings
from hypothesis import strategies as st

from rlgames.experience import replay as room
from rlgames.experience.env_runner import Step
from rlgames.experience.prioritized import PrioritizedReplayBuffer
from rlgames.experience.replay import FINAL_OBS, ReplayBuffer

GAMMA = 0.9


class Plain:
    """Every transition in full: for each player its (obs, action, reward, after, terminated, done)."""

    def __init__(self, n: int):
        self.rows: list[list[tuple]] = [[] for _ in range(n)]

    def add(self, step: Step) -> None:
        for i in np.flatnonzero(step.real):
            self.rows[i].append(tuple(field[i].copy() for field in step[:6]))

    def transition(self, i: int, t: int, n_step: int) -> tuple:
        obs, action, *_ = self.rows[i][t]
        total, factor, after, terminated = 0.0, 1.0, obs, False
        for m in range(n_step):
            _, _, reward, after, terminated, done = self.rows[i][t + m]
            total += factor * reward
            factor *= GAMMA
            if done:
                break
        return obs, action, total, after, 0.0 if terminated else factor


def played(seed: int, n: int, stack: int, steps: int, resting: bool) -> list[Step]:
    """Episodes that end at random; each frame is a number of its own. `resting`: as NEXT_STEP plays."""
    rng, count = np.random.default_rng(seed), 0
    stacks = np.zeros((n, stack, 1), np.float32)

    def frame() -> float:
        nonlocal count
        count += 1
        return float(count)

    for i in range(n):
        stacks[i] = frame()
    steps_played, waiting = [], np.zeros(n, np.bool_)
    for _ in range(steps):
        obs, real = stacks.copy(), ~waiting
        terminated, done = np.zeros(n, np.bool_), np.zeros(n, np.bool_)
        after = obs.copy()
        for i in range(n):
            if waiting[i]:  # this step restarts it
                stacks[i] = frame()
                after[i], terminated[i], done[i], waiting[i] = stacks[i], True, True, False
                continue
            after[i] = np.concatenate([obs[i, 1:], [[frame()]]])
            end = rng.random()
            terminated[i], done[i] = end < 0.15, end < 0.3
            stacks[i] = after[i]
            if done[i]:
                waiting[i] = resting
                if not resting:
                    stacks[i] = frame()
        reward = np.where(real, rng.random(n), 0.0).astype(np.float32)
        shape = (n, stack) if stack > 1 else (n, 1)
        steps_played.append(
            Step(obs.reshape(shape), rng.integers(3, size=n), reward, after.reshape(shape), terminated, done, real)
        )
    return steps_played


def make(kind: type, stack: int, n_step: int, n: int, capacity: int, **more: Any) -> Any:
    space = Box(-np.inf, np.inf, (stack,) if stack > 1 else (1,), np.float32)
    return kind(capacity, n, space, stack=stack, n_steps=n_step, gamma=GAMMA, **more)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 1000),
    stack=st.integers(1, 4),
    n_steps=st.integers(1, 3),
    n=st.integers(1, 3),
    steps=st.integers(12, 120),
    resting=st.booleans(),
    kind=st.sampled_from([ReplayBuffer, PrioritizedReplayBuffer]),
)
def test_samples_are_the_transitions_that_were_played(seed, stack, n_step, n, steps, resting, kind):
    replay, plain = make(kind, stack, n_step, n, buffer_size=20 * n), Plain(n)
    for step in played(seed, n, stack, steps, resting):
        replay.add(step)
        plain.add(step)
    batch = replay.sample(np.random.default_rng(seed), 64)
    by_obs = {(i, row[0].tobytes()): t for i, rows in enumerate(plain.rows) for t, row in enumerate(rows)}
    for k in range(64):
        i = int(batch.slot[k, 0])
        t = by_obs[i, batch.obs[k].tobytes()]
        _, action, total, after, discount = plain.transition(i, t, n_step)
        assert batch.action[k] == action
        assert batch.reward[k] == pytest.approx(total, rel=1e-6)
        assert batch.discount[k] == pytest.approx(discount)
        if discount:
            assert (batch.after[k] == after).all()


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000),
    stack=st.integers(1, 4),
    n_steps=st.integers(1, 3),
    spans=st.lists(st.integers(1, 12), min_size=1, max_size=6),
    kind=st.sampled_from([ReplayBuffer, PrioritizedReplayBuffer]),
)
def test_episodes_that_were_lost_end_before_their_last_step(seed, stack, n_step, spans, kind):
    """As if time had run out there; stacks and returns do not reach into what was played after."""
    replay, plain = make(kind, stack, n_step, 2, buffer_size=200), Plain(2)
    for k, span in enumerate([*spans, 20]):
        for step in played(seed + k, 2, stack, span, False):
            step = step._replace(obs=step.obs + 1000 * k, after=step.after + 1000 * k)  # frames differ between spans
            replay.add(step)
            plain.add(step)
        if k < len(spans):
            replay.restart()
            for rows in plain.rows:
                if rows and not rows[-1][5]:
                    rows.pop()
                    if rows and not rows[-1][5]:
                        rows[-1] = (*rows[-1][:5], True)
    batch = replay.sample(np.random.default_rng(seed), 200)
    by_obs = {(i, row[0].tobytes()): t for i, rows in enumerate(plain.rows) for t, row in enumerate(rows)}
    for k in range(200):
        i = int(batch.slot[k, 0])
        _, action, total, after, discount = plain.transition(i, by_obs[i, batch.obs[k].tobytes()], n_step)
        assert batch.action[k] == action
        assert batch.reward[k] == pytest.approx(total, rel=1e-6)
        assert batch.discount[k] == pytest.approx(discount)
        if discount:
            assert (batch.after[k] == after).all()
    if isinstance(replay, PrioritizedReplayBuffer):
        leaves = replay.tree[replay.leaves :][: 2 * replay.length].reshape(2, -1)
        assert (
            (leaves == 0) == ((replay.fate == FINAL_OBS) | (np.arange(replay.length) >= replay.head[:, None]))
        ).all()


@pytest.mark.parametrize("kind", [ReplayBuffer, PrioritizedReplayBuffer])
def test_every_transition_still_held_can_be_drawn_and_no_other(kind):
    replay, plain = make(kind, 3, 2, 1, buffer_size=20), Plain(1)
    for step in played(5, 1, 3, 200, False):
        replay.add(step)
        plain.add(step)
    batch = replay.sample(np.random.default_rng(0), 4000)
    drawn = {row.tobytes() for row in batch.obs}
    recent = [row[0].tobytes() for row in plain.rows[0]]
    assert drawn <= set(recent[-replay.length :])
    assert set(recent[-12:-2]) <= drawn


def test_uniform_draws_are_uniform():
    replay = make(ReplayBuffer, 1, 1, 2, buffer_size=40)
    for step in played(3, 2, 1, 15, False):
        replay.add(step)
    slots = replay.draw(np.random.default_rng(0), 60_000)
    _, counts = np.unique(slots[:, 0] * 1000 + slots[:, 1], return_counts=True)
    expected = counts.sum() / len(counts)
    assert ((counts - expected) ** 2 / expected).sum() < 3 * len(counts)  # chi-square, mean len(counts)


@pytest.mark.parametrize("kind", [ReplayBuffer, PrioritizedReplayBuffer])
def test_a_replay_with_room_for_a_million_can_be_drawn_from_at_once(kind):
    replay = make(kind, 1, 1, 2, buffer_size=1_000_000)
    for step in played(3, 2, 1, 12, False):
        replay.add(step)
    assert len(replay.draw(np.random.default_rng(0), 64)) == 64


def test_prioritised_draws_follow_the_errors_and_weights_undo_them():
    replay = make(PrioritizedReplayBuffer, 1, 1, 1, buffer_size=40, exponent=1.0)
    for step in played(3, 1, 1, 20, False):
        replay.add(step)
    every = replay.gather(np.unique(replay.draw(np.random.default_rng(0), 2000), axis=0))
    error = np.arange(1.0, len(every.slot) + 1)
    replay.update(every, error)
    slots = replay.draw(np.random.default_rng(1), 100_000)
    counts = np.array([(slots == slot).all(1).sum() for slot in every.slot])
    assert counts / counts.sum() == pytest.approx((error + 0.01) / (error + 0.01).sum(), abs=0.01)
    weight = replay.weights(every, beta=1.0)
    assert weight * (error + 0.01) == pytest.approx((weight * (error + 0.01))[0], rel=1e-5)
    assert weight.max() == 1.0


@pytest.mark.parametrize("kind", [ReplayBuffer, PrioritizedReplayBuffer])
def test_goes_on_from_its_state(kind):
    steps = played(9, 2, 2, 90, False)
    one, other = make(kind, 2, 2, 2, buffer_size=40), make(kind, 2, 2, 2, buffer_size=40)
    for step in steps[:60]:
        one.add(step)
    other.load_state_dict(one.state_dict())
    for step in steps[60:]:
        one.add(step)
        other.add(step)
    mine, theirs = one.sample(np.random.default_rng(1), 200), other.sample(np.random.default_rng(1), 200)
    for a, b in zip(mine, theirs, strict=True):
        assert (a == b).all()


def test_room_for_84_x_84_frames_and_no_more(monkeypatch):
    space = Box(0, 255, (4, 84, 84), np.uint8)
    replay, prioritised = ReplayBuffer(10_000, 8, space, stack=4), PrioritizedReplayBuffer(10_000, 8, space, stack=4)
    held = sum(getattr(replay, name).nbytes for name in ("frame", "action", "reward", "fate", "age"))
    assert held + prioritised.tree.nbytes <= 10_000 * 1.03 * 84 * 84
    assert replay.bytes == held
    monkeypatch.setattr(room, "available", lambda: 1_000_000_000)
    with pytest.raises(MemoryError, match=r"1,000,000 transitions takes 7\.\d GB, 1\.0 GB are free"):
        ReplayBuffer(1_000_000, 8, space, stack=4)


def test_errors_name_value_and_remedy():
    space = Box(0, 255, (4, 8, 8), np.uint8)
    with pytest.raises(ValueError, match="too small for 8 players"):
        ReplayBuffer(50, 8, space, stack=4)
    with pytest.raises(ValueError, match="expected observations of 3 stacked frames"):
        ReplayBuffer(1000, 1, space, stack=3)
    with pytest.raises(ValueError, match="nothing to draw"):
        ReplayBuffer(1000, 1, space, stack=4).sample(np.random.default_rng(0), 1)
    replay, step = ReplayBuffer(1000, 1, space, stack=4), played(0, 1, 4, 1, False)[0]
    wrong = np.arange(256, dtype=np.uint8).reshape(1, 4, 8, 8)
    with pytest.raises(ValueError, match="no stacks of the last 4 frames"):
        replay.add(step._replace(obs=wrong, after=wrong, done=np.zeros(1, np.bool_)))
