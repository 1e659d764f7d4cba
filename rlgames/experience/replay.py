"""Experience replay (Lin 1992, Mnih et al. 2013): the last transitions of n players, each frame kept once.

An observation that is a stack of k frames is built again when it is sampled: the k-1 frames before it are the slots
before it, and before the start of an episode its first frame stands in, as in the stacks that were played. What a step
led to is the next slot. Only where an episode ran out of time, and its end is bootstrapped from, a slot of its own
holds the last frame. n-step returns (Sutton 1988) are summed when sampling and stop at ends.

    R = r_t + gamma r_{t+1} + ... (m <= n terms),   discount = gamma^m, or 0 behind a termination
"""

from __future__ import annotations

import logging
import math
from typing import Any, NamedTuple

import numpy as np
from gymnasium.spaces import Box
from numba import njit

from rlgames.checkpoint import file as checkpoint
from rlgames.checkpoint.encoding import Joined
from rlgames.experience.env_runner import Step

GOING_ON, TERMINATED, OUT_OF_TIME, LAST = range(4)  # what became of a slot's step; LAST: a frame only, nothing was done
CHECKED = 50  # first steps in which the frames are held against each other
RINGS = ("frame", "action", "reward", "fate", "age")  # what a slot holds; `room` counts its bytes

log = logging.getLogger(__name__)


class Batch(NamedTuple):
    """Transitions, one row each."""

    obs: np.ndarray
    action: np.ndarray  # int64
    reward: np.ndarray  # float32, the n-step return
    after: np.ndarray  # n steps later, or at the episode's end
    discount: np.ndarray  # float32, of the value of `after`
    slot: np.ndarray  # (rows, 2) int64: player and slot, counted from the beginning of time


class Replay:
    """Room for `capacity` transitions of `n` players, `stack` frames an observation (1: observations as they are).

    `bytes` is what it takes; a line of logging says so before anything is taken. Raises MemoryError, before that, when
    the room is not to be had, and ValueError for a capacity that leaves a player less than two stacks.
    """

    def __init__(self, capacity: int, n: int, space: Box, *, stack: int = 1, n_step: int = 1, gamma: float = 0.99):
        self.length, self.bytes = room(capacity, n, space, stack=stack, n_step=n_step)
        self.n, self.stack, self.n_step, self.gamma, self.shape = n, stack, n_step, gamma, space.shape
        log.info(announced(capacity, self.bytes))
        size = math.prod(space.shape) // stack
        slots = (n, self.length)
        self.frame = np.zeros((*slots, size), space.dtype)
        self.action, self.reward = np.zeros(slots, np.int64), np.zeros(slots, np.float32)
        self.fate = np.zeros(slots, np.uint8)
        self.age = np.zeros(slots, np.uint8)  # frames of its episode before it, at most stack - 1
        self.head = np.zeros(n, np.int64)  # slots written by each player since the beginning
        self.fresh = np.ones(n, np.bool_)  # the next slot begins an episode
        self.added = 0  # steps

    def __len__(self) -> int:
        """Slots in use."""
        return int(np.minimum(self.head, self.length).sum())

    def add(self, step: Step) -> None:
        obs = step.obs.reshape(self.n, self.stack, -1)
        after = step.after.reshape(self.n, self.stack, -1)
        if self.stack > 1 and self.added < CHECKED:
            going = ~step.done
            if (obs[going, 1:] != after[going, :-1]).any():
                raise ValueError(f"these observations are no stacks of the last {self.stack} frames: give stack=1")
        self.added += 1
        write(
            *(self.frame, self.action, self.reward, self.fate, self.age, self.head, self.fresh),
            *(obs, step.action, step.reward, after, step.terminated, step.done, step.real),
        )

    def restart(self) -> None:
        """New episodes begin everywhere, those in flight are lost, as when a run goes on without a snapshot.

        Nobody knows where their last steps led: the slots keep the frames only, as if time had run out before.
        """
        for i in np.flatnonzero(~self.fresh):
            last, before = (self.head[i] - 1) % self.length, (self.head[i] - 2) % self.length
            self.fate[i, last] = LAST
            if self.head[i] > 1 and self.fate[i, before] == GOING_ON:
                self.fate[i, before] = OUT_OF_TIME
        self.fresh[:] = True

    def sample(self, rng: np.random.Generator, rows: int) -> Batch:
        """`rows` transitions, drawn uniformly with replacement. Raises ValueError while there is none to draw."""
        return self.gather(self.draw(rng, rows))

    def draw(self, rng: np.random.Generator, rows: int) -> np.ndarray:
        """(rows, 2): players and slots, uniformly over what can be drawn."""
        chosen = np.empty((rows, 2), np.int64)
        found = 0
        for _ in range(100):
            found = pick(chosen, found, rng.random((2 * rows, 2)), self.head, self.fate, self.age, self.n_step)
            if found == rows:
                return chosen
        raise ValueError(f"nothing to draw from a replay of {len(self)} slots yet: play more steps before learning")

    def gather(self, slot: np.ndarray) -> Batch:
        rows, size = len(slot), self.frame.shape[2]
        obs, after = (np.empty((rows, self.stack, size), self.frame.dtype) for _ in range(2))
        action, reward, discount = np.empty(rows, np.int64), np.empty(rows, np.float32), np.empty(rows, np.float32)
        read(
            *(slot, self.frame, self.action, self.reward, self.fate, self.age, self.n_step, self.gamma),
            *(obs, action, reward, after, discount),
        )
        shape = (rows, *self.shape)
        return Batch(obs.reshape(shape), action, reward, after.reshape(shape), discount, slot)

    def state_dict(self) -> dict[str, Any]:
        """Its slots are views: they change with the replay, as tensors of torch's state_dict() do with their module."""
        counts = {"head": self.head.copy(), "fresh": self.fresh.copy(), "added": self.added}
        return counts | {"pieces": [self.since(np.zeros(self.n, np.int64))]}

    def since(self, first: np.ndarray) -> dict[str, Any]:
        """A piece of the state: what is still held of the slots of each player from `first` (n,) on.

        {"first": (n,), "head": (n,), "rows": {name: (slots, ...)}}: player by player, the slots first[i]..head[i]-1.
        """
        first = np.maximum(first, self.head - self.length)
        spans = []
        for i, (a, b) in enumerate(zip(first, self.head, strict=True)):
            seam = min((a // self.length + 1) * self.length, b)  # where the ring begins anew
            spans += [(i, a % self.length, a % self.length + seam - a), (i, 0, b - seam)]
        rows = {name: Joined([getattr(self, name)[i, a:b] for i, a, b in spans]) for name in RINGS}
        return {"first": first, "head": self.head.copy(), "rows": rows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Pieces that are parts of a checkpoint are read one by one, so that only one is in memory at a time.

        Raises ValueError for the state of another number of players.
        """
        if len(state["head"]) != self.n:
            raise ValueError(f"saved with {len(state['head'])} players, got {self.n}: give as many")
        for piece in state["pieces"]:
            rows = checkpoint.whole(piece["rows"])
            for name in RINGS:
                ring, new, done = getattr(self, name), np.asarray(rows[name]), 0
                for i, (a, b) in enumerate(zip(piece["first"], piece["head"], strict=True)):
                    ring[i, np.arange(a, b) % self.length] = new[done : done + b - a]
                    done += b - a
        self.head[:], self.fresh[:], self.added = state["head"], state["fresh"], state["added"]


@njit(cache=True, nogil=True)
def copy(to, of):
    """Numba makes of this loop what the machine copies with; of `to[:] = of` one that takes four times as long."""
    for k in range(len(to)):
        to[k] = of[k]


@njit(cache=True, nogil=True)
def write(frame, action, reward, fate, age, head, fresh, obs, did, got, after, terminated, done, real):
    """One step of every player: a slot each, and one more for the last frame of an episode that ran out of time."""
    length, stack = frame.shape[1], obs.shape[1]
    for i in range(len(head)):
        if not real[i]:
            continue
        at = head[i] % length
        copy(frame[i, at], obs[i, stack - 1])
        before = (head[i] - 1) % length
        age[i, at] = 0 if fresh[i] else min(age[i, before] + 1, stack - 1)
        action[i, at], reward[i, at] = did[i], got[i]
        fate[i, at] = TERMINATED if terminated[i] else OUT_OF_TIME if done[i] else GOING_ON
        head[i] += 1
        if done[i] and not terminated[i]:
            last = head[i] % length
            copy(frame[i, last], after[i, stack - 1])
            age[i, last], fate[i, last] = min(age[i, at] + 1, stack - 1), LAST
            head[i] += 1
        fresh[i] = done[i]


@njit(cache=True, nogil=True)
def whole(i, slot, head, fate, age, n_step) -> bool:
    """Whether a transition starts at this slot and all frames that it needs are still or already there."""
    length = fate.shape[1]
    if fate[i, slot % length] == LAST or slot - age[i, slot % length] < head[i] - length:
        return False
    for m in range(n_step):
        if fate[i, (slot + m) % length] == TERMINATED:
            return True
        if slot + m + 1 >= head[i]:
            return False
        if fate[i, (slot + m) % length] == OUT_OF_TIME:
            return True
    return True


@njit(cache=True, nogil=True)
def pick(chosen, found, dice, head, fate, age, n_step) -> int:
    """Fill `chosen` from `found` on; a slot is rejected unless whole, and players count by the slots they hold."""
    n, length = fate.shape
    held = min(head.max(), length)  # by the player who holds most
    for k in range(len(dice)):
        if found == len(chosen):
            break
        at = int(dice[k, 1] * held)
        i = int(dice[k, 0] * n)
        if at >= head[i]:
            continue
        slot = head[i] - 1 - (head[i] - 1 - at) % length  # the newest one written to this place of the ring
        if whole(i, slot, head, fate, age, n_step):
            chosen[found, 0], chosen[found, 1] = i, slot
            found += 1
    return found


@njit(cache=True, nogil=True)
def stacked(out, frame, i, slot, age):
    stack, length = len(out), frame.shape[1]
    for j in range(stack):
        copy(out[j], frame[i, (slot - min(stack - 1 - j, age[i, slot % length])) % length])


@njit(cache=True, nogil=True)
def read(slots, frame, action, reward, fate, age, n_step, gamma, obs, did, ret, after, discount):
    length = frame.shape[1]
    for row in range(len(slots)):
        i, slot = slots[row, 0], slots[row, 1]
        stacked(obs[row], frame, i, slot, age)
        did[row] = action[i, slot % length]
        total, factor, m = 0.0, 1.0, 0
        while True:
            at = (slot + m) % length
            total += factor * reward[i, at]
            factor *= gamma
            m += 1
            if fate[i, at] == TERMINATED:
                factor, m = 0.0, m - 1  # nothing comes after; the observation itself stands in
                break
            if fate[i, at] == OUT_OF_TIME or m == n_step:
                break
        ret[row], discount[row] = total, factor
        stacked(after[row], frame, i, slot + m, age)


# ---- agents/room.py ----

BESIDE_THE_FRAME = 8 + 4 + 1 + 1  # bytes of a slot: action, reward, fate, age
LITTLE = 100_000_000  # bytes that are not worth a line


def room(capacity: int, n: int, space: Box, *, stack: int = 1, n_step: int = 1) -> tuple[int, int]:
    """The slots of each player and the bytes of a replay. Raises as `Replay` does."""
    if stack > 1 and space.shape[0] != stack:
        raise ValueError(f"expected observations of {stack} stacked frames, got shape {space.shape}")
    length = capacity // n + stack + n_step  # the newest and oldest slots cannot be drawn
    if capacity // n < 2 * (stack + n_step):
        least = 2 * n * (stack + n_step)
        raise ValueError(f"a replay of {capacity} transitions is too small for {n} players: give at least {least}")
    size = n * length * (math.prod(space.shape) // stack * space.dtype.itemsize + BESIDE_THE_FRAME)
    if size > (free := available()):
        raise MemoryError(
            f"a replay of {capacity:,} transitions takes {gigabytes(size)}, {gigabytes(free)} are free: "
            f"try capacity={int(capacity * 0.8 * free / size):,}"
        )
    return length, size


def announced(capacity: int, size: int) -> str:
    """The line that says so before `size` bytes are taken."""
    return f"replay: {capacity:,} transitions, {gigabytes(size)}"


def gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


def available() -> int:
    """Bytes of memory that can be had now."""
    try:
        with open("/proc/meminfo") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable"))
    except (OSError, StopIteration):  # not Linux
        return 1 << 62
