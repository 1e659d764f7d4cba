"""Replay buffers against a plain list of transitions: stacks, n-step returns, truncations, the end of the ring."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gymnasium.spaces import Box
from helpers.transitions import GAMMA, make_replay, random_steps
from hypothesis import given, settings
from hypothesis import strategies as st

from rlgames.experience import replay as replay_module
from rlgames.experience.env_runner import Step
from rlgames.experience.prioritized import PrioritizedReplayBuffer
from rlgames.experience.replay import FINAL_OBS, RINGS, Batch, ReplayBuffer, free_memory

REPLAY_CLASSES = [ReplayBuffer, PrioritizedReplayBuffer]
both_classes = pytest.mark.parametrize("replay_class", REPLAY_CLASSES)


class TransitionLists:
    """Every transition of each environment, in full: (obs, action, reward, next_obs, terminated, done)."""

    def __init__(self, num_envs: int):
        self.transitions: list[list[tuple]] = [[] for _ in range(num_envs)]

    def add(self, step: Step) -> None:
        for i in np.flatnonzero(step.valid):
            self.transitions[i].append(tuple(field[i].copy() for field in step[:6]))

    def restart_episodes(self) -> None:
        """Truncate running episodes before their last transition, whose next observation is unknown."""
        for own in self.transitions:
            if own and not own[-1][5]:
                own.pop()
                if own and not own[-1][5]:
                    own[-1] = (*own[-1][:5], True)

    def n_step(self, i: int, t: int, n_steps: int) -> tuple[int, float, np.ndarray, float]:
        """Return action, return, next observation and discount of transition t of environment i."""
        obs, action, *_ = self.transitions[i][t]
        total, discount, next_obs, terminated = 0.0, 1.0, obs, False
        for m in range(n_steps):
            _, _, reward, next_obs, terminated, done = self.transitions[i][t + m]
            total += discount * reward
            discount *= GAMMA
            if done:
                break
        return action, total, next_obs, 0.0 if terminated else discount

    def check(self, batch: Batch, n_steps: int) -> None:
        """Compare each row of the batch with the transition that its observation belongs to."""
        index = {(i, each[0].tobytes()): t for i, own in enumerate(self.transitions) for t, each in enumerate(own)}
        for row, i in enumerate(batch.slots[:, 0].tolist()):
            t = index[i, batch.obs[row].tobytes()]
            action, total, next_obs, discount = self.n_step(i, t, n_steps)
            assert batch.actions[row] == action
            assert batch.rewards[row] == pytest.approx(total, rel=1e-6)
            assert batch.discounts[row] == pytest.approx(discount)
            if discount:
                assert (batch.next_obs[row] == next_obs).all()


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000),
    stack=st.integers(1, 4),
    n_steps=st.integers(1, 3),
    num_envs=st.integers(1, 3),
    num_steps=st.integers(12, 120),
    next_step=st.booleans(),
    replay_class=st.sampled_from(REPLAY_CLASSES),
)
def test_sample_returns_transitions_that_were_added(seed, stack, n_steps, num_envs, num_steps, next_step, replay_class):
    replay = make_replay(replay_class, 20 * num_envs, num_envs, stack, n_steps)
    oracle = TransitionLists(num_envs)
    for step in random_steps(seed, num_envs, stack, num_steps, next_step):
        replay.add(step)
        oracle.add(step)
    oracle.check(replay.sample(np.random.default_rng(seed), 64), n_steps)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 1000),
    stack=st.integers(1, 4),
    n_steps=st.integers(1, 3),
    spans=st.lists(st.integers(1, 12), min_size=1, max_size=6),
    replay_class=st.sampled_from(REPLAY_CLASSES),
)
def test_restart_episodes_truncates_before_the_last_step(seed, stack, n_steps, spans, replay_class):
    """Stacks and returns do not reach into later episodes."""
    replay, oracle = make_replay(replay_class, 200, 2, stack, n_steps), TransitionLists(2)
    for k, span in enumerate([*spans, 20]):
        if k > 0:
            replay.restart_episodes()
            oracle.restart_episodes()
        for step in random_steps(seed + k, 2, stack, span):
            step = step._replace(obs=step.obs + 1000 * k, next_obs=step.next_obs + 1000 * k)  # frames of this span only
            replay.add(step)
            oracle.add(step)
    oracle.check(replay.sample(np.random.default_rng(seed), 200), n_steps)
    if isinstance(replay, PrioritizedReplayBuffer):
        leaves = replay.tree[replay.leaves :][: 2 * replay.length].reshape(2, -1)
        unused = np.arange(replay.length) >= replay.head[:, None]
        assert ((leaves == 0) == ((replay.status == FINAL_OBS) | unused)).all()


@both_classes
def test_sample_reaches_all_transitions_still_in_the_ring(replay_class):
    replay, oracle = make_replay(replay_class, 20, 1, stack=3, n_steps=2), TransitionLists(1)
    for step in random_steps(5, 1, 3, 200):
        replay.add(step)
        oracle.add(step)
    batch = replay.sample(np.random.default_rng(0), 4000)
    sampled = {obs.tobytes() for obs in batch.obs}
    recent = [each[0].tobytes() for each in oracle.transitions[0]]
    assert sampled <= set(recent[-replay.length :])
    assert set(recent[-12:-2]) <= sampled


def test_sample_is_uniform():
    replay = make_replay(ReplayBuffer, 40, 2)
    for step in random_steps(3, 2, 1, 15):
        replay.add(step)
    slots = replay.sample_slots(np.random.default_rng(0), 60_000)
    _, counts = np.unique(slots[:, 0] * 1000 + slots[:, 1], return_counts=True)
    expected = counts.sum() / len(counts)
    assert ((counts - expected) ** 2 / expected).sum() < 3 * len(counts)  # chi-square, of mean len(counts)


@both_classes
def test_sample_from_few_slots_of_a_large_buffer(replay_class):
    replay = make_replay(replay_class, 1_000_000, 2)
    for step in random_steps(3, 2, 1, 12):
        replay.add(step)
    assert len(replay.sample_slots(np.random.default_rng(0), 64)) == 64


@both_classes
def test_load_state_dict_continues_exactly(replay_class):
    steps = random_steps(9, 2, 2, 90)
    one, other = (make_replay(replay_class, 40, 2, stack=2, n_steps=2) for _ in range(2))
    for step in steps[:60]:
        one.add(step)
    other.load_state_dict(one.state_dict())
    for step in steps[60:]:
        one.add(step)
        other.add(step)
    for ours, theirs in zip(*(replay.sample(np.random.default_rng(1), 200) for replay in (one, other)), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_load_state_dict_of_other_num_envs_raises():
    state = make_replay(ReplayBuffer, 40, 2).state_dict()
    with pytest.raises(ValueError, match="saved with 2 environments, got 3"):
        make_replay(ReplayBuffer, 60, 3).load_state_dict(state)


def test_slots_since_chunks_restore_the_whole_buffer():
    """Chunks of a run's checkpoints, written every few steps, hold every slot once."""
    one, chunks, first = make_replay(ReplayBuffer, 40, 2, stack=2), [], np.zeros(2, np.int64)
    for step in random_steps(2, 2, 2, 70):
        one.add(step)
        if one.num_steps % 7 == 0:
            chunks.append(one.slots_since(first))
            chunks[-1]["slots"] = {name: np.asarray(slots).copy() for name, slots in chunks[-1]["slots"].items()}
            first = one.head.copy()
    other = make_replay(ReplayBuffer, 40, 2, stack=2)
    other.load_state_dict({**one.state_dict(), "chunks": chunks})
    for name in (*RINGS, "head", "episode_start"):
        np.testing.assert_array_equal(getattr(other, name), getattr(one, name), err_msg=name)


def test_frames_of_84_x_84_are_stored_once(monkeypatch):
    space = Box(0, 255, (4, 84, 84), np.uint8)
    replay = ReplayBuffer(10_000, 8, space, stack=4)
    nbytes = sum(getattr(replay, name).nbytes for name in RINGS)
    assert replay.nbytes == nbytes
    assert nbytes + PrioritizedReplayBuffer(10_000, 8, space, stack=4).tree.nbytes <= 10_000 * 1.03 * 84 * 84
    monkeypatch.setattr(replay_module, "free_memory", lambda: 1_000_000_000)
    with pytest.raises(MemoryError, match=r"1,000,000 transitions takes 7\.\d GB, 1\.0 GB are free"):
        ReplayBuffer(1_000_000, 8, space, stack=4)


def test_errors_name_the_value_and_the_remedy():
    space = Box(0, 255, (4, 8, 8), np.uint8)
    with pytest.raises(ValueError, match="too small for 8 environments: use 80 or more"):
        ReplayBuffer(50, 8, space, stack=4)
    with pytest.raises(ValueError, match="expected observations of 3 stacked frames"):
        ReplayBuffer(1000, 1, space, stack=3)
    with pytest.raises(ValueError, match="no complete transition in a replay of 0 slots yet: collect more steps"):
        ReplayBuffer(1000, 1, space, stack=4).sample(np.random.default_rng(0), 1)
    replay, step = ReplayBuffer(1000, 1, space, stack=4), random_steps(0, 1, 4, 1)[0]
    obs = np.arange(256, dtype=np.uint8).reshape(1, 4, 8, 8)
    with pytest.raises(ValueError, match="not stacks of the last 4 frames"):
        replay.add(step._replace(obs=obs, next_obs=obs, done=np.zeros(1, np.bool_)))


# ---- free memory ----

MEMINFO = "MemTotal:       64000000 kB\nMemAvailable:   32000000 kB\n"  # 32.8 GB
GB = 10**9


def make_cgroup(folder: Path, version: int, limit: str, usage: int, cache: int) -> None:
    names = ("memory.max", "memory.current") if version == 2 else ("memory.limit_in_bytes", "memory.usage_in_bytes")
    row = "inactive_file" if version == 2 else "total_inactive_file"
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in zip((*names, "memory.stat"), (limit, usage, f"anon 5\n{row} {cache}\nother 7\n"), strict=True):
        (folder / name).write_text(f"{content}\n")


@pytest.mark.parametrize(
    ("membership", "cgroups", "expected"),
    [
        pytest.param("0::/\n", {}, 32000000 * 1024, id="no limit"),
        pytest.param("0::/\n", {"": (2, "max", GB, 0)}, 32000000 * 1024, id="max"),
        pytest.param("0::/\n", {"": (2, str(4 * GB), GB, 0)}, 3 * GB, id="container"),
        pytest.param("0::/job/7\n", {"job/7": (2, str(4 * GB), 3 * GB, GB)}, 2 * GB, id="cache"),
        pytest.param(
            "0::/job/7\n", {"job": (2, str(5 * GB), 4 * GB, 0), "job/7": (2, "max", GB, 0)}, GB, id="of the parent"
        ),
        pytest.param("0::/job\n", {"job": (2, str(GB), 2 * GB, 0)}, 0, id="more than all"),
        pytest.param(
            "5:cpu:/a\n4:cpuset,memory:/docker/abc\n", {"memory": (1, str(6 * GB), GB, 0)}, 5 * GB, id="version 1"
        ),
        pytest.param(
            "4:memory:/job\n0::/\n", {"memory/job": (1, str(3 * GB), 2 * GB, GB // 2)}, 1.5 * GB, id="both versions"
        ),
        pytest.param("4:memory:/\n", {"memory": (1, str(2**63 - 4096), GB, 0)}, 32000000 * 1024, id="unlimited"),
    ],
)
def test_free_memory_is_that_of_the_machine_and_of_its_cgroups(
    membership: str, cgroups: dict[str, tuple[int, str, int, int]], expected: float, tmp_path: Path
) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text(MEMINFO)
    (tmp_path / "proc/self/cgroup").write_text(membership)
    for path, settings_of_it in cgroups.items():
        make_cgroup(tmp_path / "sys/fs/cgroup" / path, *settings_of_it)
    assert free_memory(tmp_path) == expected


def test_free_memory_without_the_files_of_linux(tmp_path: Path) -> None:
    assert free_memory(tmp_path) > 10**18
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text(MEMINFO)
    assert free_memory(tmp_path) == 32000000 * 1024
    assert free_memory() > 0
