"""What on-policy agents learn from: a stretch of play, and generalised advantages over it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from gymnasium.spaces import Box

from rlgames.agents.player import Step


class Seen(NamedTuple):
    """What a policy makes of one observation of each of n players."""

    logits: np.ndarray  # (n, actions)
    value: np.ndarray | None = None  # (n,), where the same network gives it
    memory: np.ndarray | None = None  # (n, 2 * units), of a policy that remembers


class Rollout:
    """`horizon` steps of n players in arrays [time, player], kept once and reused; rows that are no transition marked.

    Observations are stored once: what a step led to is the next row's `obs`, and only where an episode ran out of time
    is the last observation kept apart (`cut`), to be bootstrapped from. Logits and values are kept where `put` is given
    them.
    """

    def __init__(self, horizon: int, n: int, space: Box, actions: int = 0):
        shape = (horizon, n)
        self.obs = np.empty((horizon + 1, n, *space.shape), space.dtype)  # the last row: what the last step led to
        self.action, self.reward = np.empty(shape, np.int64), np.empty(shape, np.float32)
        self.terminated, self.done, self.real = (np.empty(shape, np.bool_) for _ in range(3))
        self.start = np.zeros((horizon + 1, n), np.bool_)  # obs is the first of an episode; never of the last row
        self.logits, self.value = np.empty((*shape, actions), np.float32), np.empty(shape, np.float32)
        # (time, players, their last observations, what they remember)
        self.cut: list[tuple[int, np.ndarray, np.ndarray, np.ndarray | None]] = []

    def put(self, t: int, step: Step, seen: Seen | None = None) -> None:
        if t == 0:
            self.cut = []
        self.obs[t], self.action[t], self.reward[t] = step.obs, step.action, step.reward
        self.terminated[t], self.done[t], self.real[t] = step.terminated, step.done, step.real
        if t + 1 < len(self.action):
            self.start[t + 1] = step.done
        memory = None
        if seen is not None:
            self.logits[t], memory = seen.logits, seen.memory
            if seen.value is not None:
                self.value[t] = seen.value
        late = step.done & ~step.terminated
        if late.any():
            self.cut.append((t, np.flatnonzero(late), step.after[late], None if memory is None else memory[late]))
        if t == len(self.action) - 1:
            self.obs[t + 1] = step.after


def gae(
    reward: np.ndarray,
    value: np.ndarray,
    after: np.ndarray,
    terminated: np.ndarray,
    done: np.ndarray,
    gamma: float,
    lam: float,
) -> np.ndarray:
    """Generalised advantages (Schulman et al. 2016, eq. 16), all arrays [time, player]; `after` is V(successor).

    delta = r + gamma V(after) - V(obs), where V(after) is 0 behind a termination; the sum of deltas, decayed by
    gamma lambda, stops where an episode is done.
    """
    delta = reward + gamma * np.where(terminated, 0.0, after) - value
    keep = (gamma * lam) * ~done
    advantage = np.empty_like(delta, dtype=np.float32)
    tail = np.zeros_like(advantage[0])
    for t in range(len(delta) - 1, -1, -1):
        advantage[t] = tail = delta[t] + keep[t] * tail
    return advantage
