"""What on-policy agents learn from: a stretch of play, and generalised advantages over it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from gymnasium.spaces import Box
from torch import Tensor

from rlgames.experience.env_runner import Step


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


# ---- agents/rows.py ----

EVEN = 0.5  # how often what taught nothing is drawn, where 1 is what a row of the mean size gains by its size


class Rows(NamedTuple):
    """n transitions or, for a policy that remembers, all that each of n players did, (n, time) in order."""

    obs: Tensor
    action: Tensor
    logp: Tensor  # of the policy that played
    value: Tensor  # before the update
    advantage: Tensor
    goal: Tensor  # what the value should be
    weight: Tensor  # in all means; 0: no transition
    memory: tuple[Tensor, ...] = ()  # the state before the rows, and where episodes start

    def map(self, function: Callable[[Tensor], Tensor]) -> Rows:
        return Rows(*(function(x) for x in self[:-1]), memory=tuple(function(x) for x in self.memory))

    def shares(self, count: int) -> list[Rows]:
        """`count` parts at most, in order."""
        size = -(-len(self.obs) // count)
        return [self.map(lambda x, i=i: x[i : i + size]) for i in range(0, len(self.obs), size)]

    def minibatches(self, count: int, sample: float, rng: np.random.Generator) -> Iterator[Rows]:
        """All rows in random order or, with a `sample` below 1, that share of them by importance, in `count` parts."""
        rows, n = self, len(self.obs)
        size = -(-math.ceil(n * sample) // count)
        if sample < 1:
            surprise = (self.advantage.abs() * self.weight).reshape(n, -1).mean(1)
            order, factor = importance_sample(surprise.cpu().numpy(), size * count, rng)
            scale = torch.from_numpy(factor).to(self.weight.device).reshape(n, *(1 for _ in self.weight.shape[1:]))
            rows = self._replace(weight=self.weight * scale)
        else:
            order = rng.permutation(n)
        for at in torch.from_numpy(order).to(self.obs.device).split(size):
            yield rows.map(lambda x, at=at: x.index_select(0, at))  # whole rows at once; x[at] takes 17 times as long


def importance_sample(size: np.ndarray, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """`count` of n rows in random order, and the weights (n,) float32 that make their mean the mean over all n.

    A row is drawn with a probability p in proportion to its `size` (n,) and half the mean size; its weight 1 / (n p) is
    3 at most. Where gradients are proportional to the sizes, as those of policies and of squared errors are to
    |advantage| when a pass begins, this is the sampling of least variance (Katharopoulos & Fleuret 2018). One draw
    comes from each of `count` equal stretches of the summed probabilities, so that none is drawn much too often.
    """
    n = len(size)
    p = size.astype(np.float64) + EVEN * size.mean(dtype=np.float64) + 1e-12
    p /= p.sum()
    drawn = np.searchsorted(p.cumsum(), (np.arange(count) + rng.random(count)) / count)
    return rng.permutation(np.minimum(drawn, n - 1)), (1 / (n * p)).astype(np.float32)
