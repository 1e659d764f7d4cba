"""Experience replay (Lin 1992, Mnih et al. 2013) of n environments, each frame stored once.

An observation that stacks k frames is rebuilt when it is sampled: the k-1 frames before it are in the slots before it,
and before the start of an episode its first frame is repeated, as in the stacks that were observed. The successor of a
transition is the next slot. Only where an episode was truncated, and is bootstrapped from its last observation, an
extra slot holds that frame. n-step returns (Sutton 1988) are summed when sampling and stop at the end of an episode.

    R = r_t + gamma r_{t+1} + ... (m <= n terms),   discount = gamma^m, or 0 after a termination
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from gymnasium.spaces import Box

from rlgames.checkpoint.encoding import ConcatenatedArray
from rlgames.checkpoint.file import resolve_parts
from rlgames.compilation import njit_cached
from rlgames.errors import InvalidValueError, OutOfMemoryError
from rlgames.experience.env_runner import Step

RUNNING, TERMINATED, TRUNCATED, FINAL_OBS = range(4)
# status of a slot; FINAL_OBS: last observation of a truncated episode, no transition
RINGS = ("frames", "actions", "rewards", "status", "history")  # arrays of a slot; `memory_bytes` counts their bytes
CHECKED_STEPS = 50  # first steps in which stacks are compared with each other
MAX_ATTEMPTS = 100  # of rejection sampling

log = logging.getLogger(__name__)


class Batch(NamedTuple):
    """Transitions, one a row."""

    obs: np.ndarray
    actions: np.ndarray  # int64
    rewards: np.ndarray  # float32, n-step returns
    next_obs: np.ndarray  # n steps later, or at the end of the episode
    discounts: np.ndarray  # float32, of the value of `next_obs`
    slots: np.ndarray  # (rows, 2) int64: environment and slot, counted from the first one ever written


class ReplayBuffer:
    """Ring buffer of `buffer_size` transitions of `num_envs` environments; observations stack `stack` frames.

    `nbytes` is the memory it takes; a line of logging announces it before anything is allocated. Raises MemoryError,
    before that, if so much is not free, and ValueError for a size below two stacks an environment.
    """

    def __init__(
        self, buffer_size: int, num_envs: int, space: Box, *, stack: int = 1, n_steps: int = 1, gamma: float = 0.99
    ):
        self.length, self.nbytes = memory_bytes(buffer_size, num_envs, space, stack=stack, n_steps=n_steps)
        self.num_envs, self.stack, self.n_steps, self.gamma, self.shape = num_envs, stack, n_steps, gamma, space.shape
        log.info(describe_memory(buffer_size, self.nbytes))
        slots = (num_envs, self.length)
        self.frames = np.zeros((*slots, math.prod(space.shape) // stack), space.dtype)
        self.actions, self.rewards = np.zeros(slots, np.int64), np.zeros(slots, np.float32)
        self.status = np.zeros(slots, np.uint8)
        self.history = np.zeros(slots, np.uint8)  # earlier frames of the same episode, at most stack - 1
        self.head = np.zeros(num_envs, np.int64)  # slots written, from the first one ever
        self.episode_start = np.ones(num_envs, np.bool_)  # the next slot starts an episode
        self.num_steps = 0  # steps added

    def __len__(self) -> int:
        """Slots in use."""
        return int(np.minimum(self.head, self.length).sum())

    def add(self, step: Step) -> None:
        """Store one step of all environments. Raises ValueError if observations are not stacks as declared."""
        obs = step.obs.reshape(self.num_envs, self.stack, -1)
        next_obs = step.next_obs.reshape(self.num_envs, self.stack, -1)
        if self.stack > 1 and self.num_steps < CHECKED_STEPS:
            running = ~step.done
            if (obs[running, 1:] != next_obs[running, :-1]).any():
                raise InvalidValueError(
                    f"these observations are not stacks of the last {self.stack} frames: set frame_stack = 1"
                )
        self.num_steps += 1
        write_slots(
            *(self.frames, self.actions, self.rewards, self.status, self.history, self.head, self.episode_start),
            *(obs, step.action, step.reward, next_obs, step.terminated, step.done, step.valid),
        )

    def restart_episodes(self) -> None:
        """Start new episodes everywhere, as when a run continues without a snapshot of its environments.

        The successor of the last transition is unknown: its slot keeps the frame only, and the transition before it
        counts as truncated.
        """
        for i in np.flatnonzero(~self.episode_start):
            last, before = (self.head[i] - 1) % self.length, (self.head[i] - 2) % self.length
            self.status[i, last] = FINAL_OBS
            if self.head[i] > 1 and self.status[i, before] == RUNNING:
                self.status[i, before] = TRUNCATED
        self.episode_start[:] = True

    def sample(self, rng: np.random.Generator, batch_size: int) -> Batch:
        """Sample transitions uniformly with replacement. Raises ValueError while there is none to sample."""
        return self.gather(self.sample_slots(rng, batch_size))

    def sample_slots(self, rng: np.random.Generator, batch_size: int) -> np.ndarray:
        """Return (batch_size, 2): environments and slots, uniform over all complete transitions."""

        def attempt(slots: np.ndarray, found: int) -> int:
            candidates = rng.random((2 * batch_size, 2))
            return sample_uniform(slots, found, candidates, self.head, self.status, self.history, self.n_steps)

        return rejection_sample(attempt, batch_size, f"no complete transition in a replay of {len(self)} slots yet")

    def gather(self, slots: np.ndarray) -> Batch:
        """Return the transitions that start at `slots` (rows, 2)."""
        rows, size = len(slots), self.frames.shape[2]
        obs, next_obs = (np.empty((rows, self.stack, size), self.frames.dtype) for _ in range(2))
        actions, rewards, discounts = np.empty(rows, np.int64), np.empty(rows, np.float32), np.empty(rows, np.float32)
        read_transitions(
            *(slots, self.frames, self.actions, self.rewards, self.status, self.history, self.n_steps, self.gamma),
            *(obs, actions, rewards, next_obs, discounts),
        )
        shape = (rows, *self.shape)
        return Batch(obs.reshape(shape), actions, rewards, next_obs.reshape(shape), discounts, slots)

    def state_dict(self) -> dict[str, Any]:
        """Return the state; its slots are views that change with the buffer, as in torch's state_dict()."""
        return {
            "head": self.head.copy(),
            "episode_start": self.episode_start.copy(),
            "num_steps": self.num_steps,
            "chunks": [self.slots_since(np.zeros(self.num_envs, np.int64))],
        }

    def slots_since(self, first: np.ndarray) -> dict[str, Any]:
        """Return a chunk of the state: the slots of each environment from `first` (num_envs,) on, as far as still held.

        {"first": (num_envs,), "head": (num_envs,), "slots": {name: (slots, ...)}}: for each environment in turn, the
        slots first[i]..head[i]-1.
        """
        first = np.maximum(first, self.head - self.length)
        spans = []
        for i, (a, b) in enumerate(zip(first, self.head, strict=True)):
            wrap = min((a // self.length + 1) * self.length, b)  # where the ring starts over
            spans += [(i, a % self.length, a % self.length + wrap - a), (i, 0, b - wrap)]
        slots = {name: ConcatenatedArray([getattr(self, name)[i, a:b] for i, a, b in spans]) for name in RINGS}
        return {"first": first, "head": self.head.copy(), "slots": slots}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a `state_dict()`. Chunks in other files are read one by one, so that only one is in memory at a time.

        Raises ValueError for the state of another number of environments.
        """
        if len(state["head"]) != self.num_envs:
            raise InvalidValueError(f"saved with {len(state['head'])} environments, got {self.num_envs}: use as many")
        for chunk in state["chunks"]:
            slots = resolve_parts(chunk["slots"])
            for name in RINGS:
                ring, saved, copied = getattr(self, name), np.asarray(slots[name]), 0
                for i, (a, b) in enumerate(zip(chunk["first"], chunk["head"], strict=True)):
                    ring[i, np.arange(a, b) % self.length] = saved[copied : copied + b - a]
                    copied += b - a
        self.head[:], self.episode_start[:], self.num_steps = state["head"], state["episode_start"], state["num_steps"]


def rejection_sample(attempt: Callable[[np.ndarray, int], int], batch_size: int, problem: str) -> np.ndarray:
    """Return (batch_size, 2) environments and slots; `attempt(slots, found)` fills more of them, returns how many.

    Raises ValueError, which names the `problem`, if hardly any candidate is accepted.
    """
    slots, found = np.empty((batch_size, 2), np.int64), 0
    for _ in range(MAX_ATTEMPTS):
        found = attempt(slots, found)
        if found == batch_size:
            return slots
    raise InvalidValueError(f"{problem}: collect more steps before learning")


# ---- memory ----

SLOT_BYTES = 8 + 4 + 1 + 1  # of a slot besides its frame: action, reward, status, history
WORTH_A_LINE = 100_000_000  # bytes
CGROUP_FILES = {  # by version: files of the limit and the usage, and the row of memory.stat with the files in memory
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    2: ("memory.max", "memory.current", "inactive_file"),
}


def memory_bytes(buffer_size: int, num_envs: int, space: Box, *, stack: int = 1, n_steps: int = 1) -> tuple[int, int]:
    """Return the slots of each environment and the bytes of a replay buffer. Raises as `ReplayBuffer` does."""
    if stack > 1 and space.shape[0] != stack:
        raise InvalidValueError(f"expected observations of {stack} stacked frames, got shape {space.shape}")
    length = buffer_size // num_envs + stack + n_steps  # the newest and oldest slots cannot be sampled
    if buffer_size // num_envs < 2 * (stack + n_steps):
        least = 2 * num_envs * (stack + n_steps)
        raise InvalidValueError(
            f"buffer_size={buffer_size} is too small for {num_envs} environments: use {least} or more"
        )
    frame_bytes = math.prod(space.shape) // stack * space.dtype.itemsize
    nbytes = num_envs * length * (frame_bytes + SLOT_BYTES)
    if nbytes > (free := free_memory()):
        raise OutOfMemoryError(
            f"a replay of {buffer_size:,} transitions takes {format_bytes(nbytes)}, {format_bytes(free)} are free: "
            f"try buffer_size={int(buffer_size * 0.8 * free / nbytes)}"
        )
    return length, nbytes


def describe_memory(buffer_size: int, nbytes: int) -> str:
    return f"replay: {buffer_size:,} transitions, {format_bytes(nbytes)}"


def format_bytes(nbytes: int) -> str:
    return f"{nbytes / 1e9:.1f} GB" if nbytes >= 1e8 else f"{nbytes / 1e6:.1f} MB"


def free_memory(root: Path = Path("/")) -> int:
    """Return the bytes of memory that are available now, on this machine and within its container's or job's limits."""
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):  # not Linux
        return 1 << 62
    return min([free, *cgroup_memory(root)])


def cgroup_memory(root: Path) -> Iterator[int]:
    """Yield the bytes that are left in each cgroup that this process is in, of version 1 or 2, if it has a limit."""
    try:
        memberships = [line.split(":", 2) for line in (root / "proc/self/cgroup").read_text().splitlines()]
    except OSError:
        return
    for _, controllers, path in memberships:
        if controllers and "memory" not in controllers.split(","):
            continue
        version = 1 if controllers else 2
        top = root / "sys/fs/cgroup" / ("memory" if version == 1 else "")
        folder = top / path.lstrip("/")  # missing in a container, whose own cgroup is at the top
        limit, usage, cache = CGROUP_FILES[version]
        for group in (folder, *folder.parents[: len(folder.parts) - len(top.parts)]):
            with suppress(OSError, ValueError):  # ValueError: the limit is "max"
                left = int((group / limit).read_text()) - int((group / usage).read_text())
                rows = (group / "memory.stat").read_text().splitlines()
                cached = sum(int(row.split()[1]) for row in rows if row.startswith(f"{cache} "))
                yield max(0, left + cached)  # files that are only cached give way


# ---- compiled: reading and writing slots ----


@njit_cached("the replay buffer", nogil=True)
def copy_frame(target, source):
    """Numba compiles this loop to a memory copy, and `target[:] = source` to one that takes four times as long."""
    for k in range(len(target)):
        target[k] = source[k]


@njit_cached("the replay buffer", nogil=True)
def write_slots(
    frames, actions, rewards, status, history, head, episode_start,
    obs, step_actions, step_rewards, next_obs, terminated, done, valid,
):  # fmt: skip
    """Write a slot for each environment, and one more for the last frame of a truncated episode."""
    length, stack = frames.shape[1], obs.shape[1]
    for i in range(len(head)):
        if not valid[i]:
            continue
        at = head[i] % length
        copy_frame(frames[i, at], obs[i, stack - 1])
        before = (head[i] - 1) % length
        history[i, at] = 0 if episode_start[i] else min(history[i, before] + 1, stack - 1)
        actions[i, at], rewards[i, at] = step_actions[i], step_rewards[i]
        status[i, at] = TERMINATED if terminated[i] else TRUNCATED if done[i] else RUNNING
        head[i] += 1
        if done[i] and not terminated[i]:
            last = head[i] % length
            copy_frame(frames[i, last], next_obs[i, stack - 1])
            history[i, last], status[i, last] = min(history[i, at] + 1, stack - 1), FINAL_OBS
            head[i] += 1
        episode_start[i] = done[i]


@njit_cached("the replay buffer", nogil=True)
def is_complete(i, slot, head, status, history, n_steps) -> bool:
    """Return whether a transition starts at this slot and all frames that it needs are in the ring."""
    length = status.shape[1]
    if status[i, slot % length] == FINAL_OBS or slot - history[i, slot % length] < head[i] - length:
        return False
    for m in range(n_steps):
        if status[i, (slot + m) % length] == TERMINATED:
            return True
        if slot + m + 1 >= head[i]:
            return False
        if status[i, (slot + m) % length] == TRUNCATED:
            return True
    return True


@njit_cached("the replay buffer", nogil=True)
def newest_slot(head, at, length) -> int:
    """Return the newest slot that was written to position `at` of a ring."""
    return head - 1 - (head - 1 - at) % length


@njit_cached("the replay buffer", nogil=True)
def sample_uniform(slots, found, candidates, head, status, history, n_steps) -> int:
    """Fill `slots` from `found` on with complete transitions among `candidates`, in [0, 1)^2; return how many."""
    num_envs, length = status.shape
    most = min(head.max(), length)  # slots in use by the environment with most of them
    for k in range(len(candidates)):
        if found == len(slots):
            break
        at = int(candidates[k, 1] * most)
        i = int(candidates[k, 0] * num_envs)
        if at >= head[i]:
            continue
        slot = newest_slot(head[i], at, length)
        if is_complete(i, slot, head, status, history, n_steps):
            slots[found, 0], slots[found, 1] = i, slot
            found += 1
    return found


@njit_cached("the replay buffer", nogil=True)
def read_stack(out, frames, i, slot, history):
    stack, length = len(out), frames.shape[1]
    for j in range(stack):
        copy_frame(out[j], frames[i, (slot - min(stack - 1 - j, history[i, slot % length])) % length])


@njit_cached("the replay buffer", nogil=True)
def n_step_return(rewards, status, i, slot, n_steps, gamma):
    """Return (R, discount, m) of the m <= n_steps rewards from `slot` on, until the episode ends."""
    length = rewards.shape[1]
    total, discount, m = 0.0, 1.0, 0
    while True:
        at = (slot + m) % length
        total += discount * rewards[i, at]
        discount *= gamma
        m += 1
        if status[i, at] == TERMINATED:
            return total, 0.0, m
        if status[i, at] == TRUNCATED or m == n_steps:
            return total, discount, m


@njit_cached("the replay buffer", nogil=True)
def read_transitions(
    slots, frames, actions, rewards, status, history, n_steps, gamma,
    obs, batch_actions, batch_returns, next_obs, discounts,
):  # fmt: skip
    length = frames.shape[1]
    for row in range(len(slots)):
        i, slot = slots[row, 0], slots[row, 1]
        read_stack(obs[row], frames, i, slot, history)
        batch_actions[row] = actions[i, slot % length]
        batch_returns[row], discounts[row], m = n_step_return(rewards, status, i, slot, n_steps, gamma)
        if status[i, (slot + m - 1) % length] == TERMINATED:
            m -= 1  # there is no successor: the terminal observation's slot may be another episode's
        read_stack(next_obs[row], frames, i, slot + m, history)
