"""Proportional prioritized replay (Schaul et al. 2016): transitions are sampled by their last temporal-difference
error.

    P(i) = p_i / sum p,   p_i = (abs(error_i) + 0.01)^alpha,   weight_i = (N P(i))^-beta / max weight

Priorities are the leaves of a binary sum tree, so that sampling and changing one costs log N.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Box

from rlgames.compilation import njit_cached
from rlgames.experience.env_runner import Step
from rlgames.experience.replay import FINAL_OBS, Batch, ReplayBuffer, is_complete, newest_slot, rejection_sample

MIN_ERROR = 0.01  # added to every error, so that every transition can be sampled again


class PrioritizedReplayBuffer(ReplayBuffer):
    """As `ReplayBuffer`, with priorities; new transitions enter with the largest priority so far."""

    def __init__(
        self,
        buffer_size: int,
        num_envs: int,
        space: Box,
        *,
        stack: int = 1,
        n_steps: int = 1,
        gamma: float = 0.99,
        alpha: float = 0.6,
    ):
        super().__init__(buffer_size, num_envs, space, stack=stack, n_steps=n_steps, gamma=gamma)
        self.alpha, self.max_priority = alpha, 1.0
        self.leaves = 1 << (num_envs * self.length - 1).bit_length()
        # node k has the children 2k and 2k+1; the leaf of environment i and ring position s: leaves + i * length + s
        self.tree = np.zeros(2 * self.leaves)

    def add(self, step: Step) -> None:
        before = self.head.copy()
        super().add(step)
        enter_priorities(self.tree, before, self.head, self.status, self.max_priority)

    def restart_episodes(self) -> None:
        i = np.flatnonzero(~self.episode_start)
        super().restart_episodes()
        slots = np.stack([i, self.head[i] - 1], axis=1)
        set_priorities(self.tree, self._leaves(slots), np.zeros(len(i)))

    def sample_slots(self, rng: np.random.Generator, batch_size: int) -> np.ndarray:
        def attempt(slots: np.ndarray, found: int) -> int:
            candidates = rng.random(2 * batch_size)
            return sample_tree(self.tree, slots, found, candidates, self.head, self.status, self.history, self.n_steps)

        return rejection_sample(attempt, batch_size, f"no complete transition in a replay of {len(self)} slots yet")

    def weights(self, batch: Batch, beta: float) -> np.ndarray:
        """Return importance-sampling weights (rows,) float32, the largest of them 1."""
        probabilities = self.tree[self._leaves(batch.slots)] / self.tree[1]
        weights = (len(self) * probabilities) ** -beta
        return (weights / weights.max()).astype(np.float32)

    def update_priorities(self, batch: Batch, errors: np.ndarray) -> None:
        """Set new priorities from the absolute errors (rows,)."""
        priorities = (errors.astype(np.float64) + MIN_ERROR) ** self.alpha
        self.max_priority = max(self.max_priority, float(priorities.max()))
        set_priorities(self.tree, self._leaves(batch.slots), priorities)

    def _leaves(self, slots: np.ndarray) -> np.ndarray:
        return self.leaves + slots[:, 0] * self.length + slots[:, 1] % self.length

    def _priorities(self) -> np.ndarray:
        """Return the leaves in use, (num_envs, length): a view."""
        return self.tree[self.leaves : self.leaves + self.num_envs * self.length].reshape(self.num_envs, self.length)

    def state_dict(self) -> dict[str, Any]:
        used = min(int(self.head.max()), self.length)
        state = {"priorities": self._priorities()[:, :used].copy(), "max_priority": self.max_priority}
        return super().state_dict() | state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.max_priority, self.tree[:] = state["max_priority"], 0.0
        self._priorities()[:, : state["priorities"].shape[1]] = state["priorities"]
        sum_tree(self.tree)


@njit_cached("the replay buffer", nogil=True)
def set_priority(tree, leaf, priority):
    """Sums are computed anew on the way to the root, so that the tree depends on its leaves alone, not on its past."""
    tree[leaf] = priority
    k = leaf >> 1
    while k:
        tree[k] = tree[2 * k] + tree[2 * k + 1]
        k >>= 1


@njit_cached("the replay buffer", nogil=True)
def sum_tree(tree):
    for k in range(len(tree) // 2 - 1, 0, -1):
        tree[k] = tree[2 * k] + tree[2 * k + 1]


@njit_cached("the replay buffer", nogil=True)
def enter_priorities(tree, before, head, status, priority):
    num_envs, length = status.shape
    for i in range(num_envs):
        for slot in range(before[i], head[i]):
            at = slot % length
            set_priority(tree, len(tree) // 2 + i * length + at, 0.0 if status[i, at] == FINAL_OBS else priority)


@njit_cached("the replay buffer", nogil=True)
def set_priorities(tree, leaves, priorities):
    for k in range(len(leaves)):
        set_priority(tree, leaves[k], priorities[k])


@njit_cached("the replay buffer", nogil=True)
def sample_tree(tree, slots, found, candidates, head, status, history, n_steps) -> int:
    """Fill `slots` from `found` on, with one descent from the root a candidate in [0, 1); return how many there are."""
    leaves, length = len(tree) // 2, status.shape[1]
    for k in range(len(candidates)):
        if found == len(slots):
            break
        mass, node = candidates[k] * tree[1], 1
        while node < leaves:
            node *= 2
            if mass >= tree[node] and tree[node + 1] > 0.0:
                mass -= tree[node]
                node += 1
        i, at = (node - leaves) // length, (node - leaves) % length
        if i >= len(head) or at >= head[i]:
            continue
        slot = newest_slot(head[i], at, length)
        if is_complete(i, slot, head, status, history, n_steps):
            slots[found, 0], slots[found, 1] = i, slot
            found += 1
    return found
