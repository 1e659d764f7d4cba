"""Rollouts of on-policy agents: the steps, generalized advantages over them, and minibatches of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from gymnasium.spaces import Box
from torch import Tensor

from rlgames.errors import OutOfMemoryError
from rlgames.experience.env_runner import Step
from rlgames.experience.replay import format_bytes, free_memory

STEP_BYTES = 8 + 2 * 4 + 4  # of a step besides observation and logits: action, reward, value, four bools
UNIFORM_WEIGHT = 0.5  # weight of the uniform component in `importance_sample`, relative to the mean abs(advantage)


class PolicyOutputs(NamedTuple):
    """Outputs of the policy for one observation of each of n environments."""

    logits: np.ndarray  # (n, actions)
    values: np.ndarray | None = None  # (n,), where policy and value share a network
    lstm_state: np.ndarray | None = None  # (n, 2 * hidden_size), of a recurrent policy


class Truncation(NamedTuple):
    """Episodes that were truncated at time t: bootstrapped from their last observations."""

    t: int
    envs: np.ndarray  # indices
    obs: np.ndarray  # their last observations
    lstm_state: np.ndarray | None  # the state that goes with them


class Rollout:
    """`n_steps` steps of `num_envs` environments in arrays [time, env], allocated once and reused.

    Observations are stored once: the successor of a step is the next row's `obs`; only the last observation of a
    truncated episode is kept apart (`truncations`). Rows that are no transition are marked in `valid`. Raises
    MemoryError, before anything is allocated, if so much is not free.
    """

    def __init__(self, n_steps: int, num_envs: int, space: Box, actions: int = 0):
        shape = (n_steps, num_envs)
        nbytes = n_steps * num_envs * (math.prod(space.shape) * space.dtype.itemsize + 4 * actions + STEP_BYTES)
        if nbytes > (free := free_memory()):
            raise OutOfMemoryError(
                f"a rollout of n_steps={n_steps:,} steps of {num_envs:,} environments takes {format_bytes(nbytes)}, "
                f"{format_bytes(free)} are free: try n_steps={max(1, int(0.8 * n_steps * free / nbytes))}"
            )
        self.obs = np.empty((n_steps + 1, num_envs, *space.shape), space.dtype)  # last row: successor of the last step
        self.actions, self.rewards = np.empty(shape, np.int64), np.empty(shape, np.float32)
        self.terminated, self.done, self.valid = (np.empty(shape, np.bool_) for _ in range(3))
        self.episode_start = np.zeros((n_steps + 1, num_envs), np.bool_)  # not known of the last row
        self.logits, self.values = np.empty((*shape, actions), np.float32), np.empty(shape, np.float32)
        self.truncations: list[Truncation] = []
        self.next_values: np.ndarray | None = None  # [time, env], where who played the rollout has computed all values

    def add(self, t: int, step: Step, outputs: PolicyOutputs | None = None) -> None:
        """Store the step at time t, and what the policy returned for its observations."""
        if t == 0:
            self.truncations = []
        self.obs[t], self.actions[t], self.rewards[t] = step.obs, step.action, step.reward
        self.terminated[t], self.done[t], self.valid[t] = step.terminated, step.done, step.valid
        if t + 1 < len(self.actions):
            self.episode_start[t + 1] = step.done
        lstm_state = None
        if outputs is not None:
            self.logits[t], lstm_state = outputs.logits, outputs.lstm_state
            if outputs.values is not None:
                self.values[t] = outputs.values
        truncated = step.done & ~step.terminated
        if truncated.any():
            state = None if lstm_state is None else lstm_state[truncated]
            self.truncations.append(Truncation(t, np.flatnonzero(truncated), step.next_obs[truncated], state))
        if t == len(self.actions) - 1:
            self.obs[t + 1] = step.next_obs


def compute_gae(
    rewards: np.ndarray,
    values: np.ndarray,
    next_values: np.ndarray,
    terminated: np.ndarray,
    done: np.ndarray,
    gamma: float,
    gae_lambda: float,
) -> np.ndarray:
    """Return generalized advantages (Schulman et al. 2016, eq. 16), float32; all arrays are [time, env].

    delta_t = r_t + gamma V(s_{t+1}) - V(s_t), with V(s_{t+1}) = 0 after a termination; the sum of deltas, discounted by
    gamma lambda, stops where an episode is done.
    """
    delta = rewards + gamma * np.where(terminated, 0.0, next_values) - values
    discount = (gamma * gae_lambda) * ~done
    advantages = np.empty_like(delta, dtype=np.float32)
    advantage = np.zeros_like(advantages[0])
    for t in range(len(delta) - 1, -1, -1):
        advantages[t] = advantage = delta[t] + discount[t] * advantage
    return advantages


class Minibatch(NamedTuple):
    """n transitions or, for a recurrent policy, the sequences (n, time) of n environments."""

    obs: Tensor
    actions: Tensor
    log_prob: Tensor  # under the policy that collected the rollout
    old_values: Tensor
    advantages: Tensor
    returns: Tensor  # targets of the value
    weights: Tensor  # in all means; 0: no transition
    lstm: tuple[Tensor, ...] = ()  # LSTM state before the sequences, and where episodes start

    def map(self, function: Callable[[Tensor], Tensor]) -> Minibatch:
        return Minibatch(*(function(x) for x in self[:-1]), lstm=tuple(function(x) for x in self.lstm))

    def slices(self, count: int) -> list[Minibatch]:
        """Return at most `count` slices, in order."""
        size = -(-len(self.obs) // count)
        return [self.map(lambda x, i=i: x[i : i + size]) for i in range(0, len(self.obs), size)]

    def minibatches(self, count: int, fraction: float, rng: np.random.Generator) -> Iterator[Minibatch]:
        """Yield `count` shuffled minibatches; with a `fraction` below 1 of that part, importance-sampled."""
        batch, order, size = self.shuffle(count, fraction, rng)
        for indices in torch.from_numpy(order).to(self.obs.device).split(size):
            yield batch.map(lambda x, at=indices: x.index_select(0, at))  # x[at] takes 17 times as long

    def shuffle(self, count: int, fraction: float, rng: np.random.Generator) -> tuple[Minibatch, np.ndarray, int]:
        """Return this batch with the weights of its rows, the order in which to take rows, and the minibatch's size."""
        n = len(self.obs)
        size = -(-math.ceil(n * fraction) // count)
        if fraction == 1:
            return self, rng.permutation(n), size
        magnitude = (self.advantages.abs() * self.weights).reshape(n, -1).mean(1)
        order, correction = importance_sample(magnitude.cpu().numpy(), size * count, rng)
        scale = torch.from_numpy(correction).to(self.weights.device)
        weights = self.weights * scale.reshape(n, *(1 for _ in self.weights.shape[1:]))
        return self._replace(weights=weights), order, size


def importance_sample(magnitude: np.ndarray, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Sample `count` of n rows in random order; return them and the weights (n,) float32 that keep means unbiased.

    A row is drawn with probability p proportional to its `magnitude` (n,) plus half the mean magnitude; its weight
    1 / (n p) is at most 3. Where gradients are proportional to the magnitudes, as those of the policy and of squared
    errors are to abs(advantage) at the start of an epoch, this sampling has the least variance (Katharopoulos & Fleuret
    2018). It is stratified: one draw from each of `count` equal intervals of the cumulative probability.
    """
    n = len(magnitude)
    p = magnitude.astype(np.float64) + UNIFORM_WEIGHT * magnitude.mean(dtype=np.float64) + 1e-12
    p /= p.sum()
    rows = np.searchsorted(p.cumsum(), (np.arange(count) + rng.random(count)) / count)
    return rng.permutation(np.minimum(rows, n - 1)), (1 / (n * p)).astype(np.float32)
