"""Proportional prioritised replay (Schaul et al. 2016): a transition is drawn by how wrong it was when last seen.

    P(i) = p_i / sum p,   p_i = (|error_i| + 0.01)^exponent,   weight_i = (N P(i))^-beta / max weight

The priorities are the leaves of a binary tree of sums, so that drawing and changing one costs log N.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Box
from numba import njit

from rlgames.experience.env_runner import Step
from rlgames.experience.replay import LAST, Batch, Replay, whole

SMALLEST = 0.01  # added to every error, so that nothing is never drawn again


class PrioritisedReplay(Replay):
    """As `Replay`; new transitions enter with the largest priority so far."""

    def __init__(self, capacity: int, n: int, space: Box, *, exponent: float = 0.6, **room: Any):
        super().__init__(capacity, n, space, **room)
        self.exponent, self.largest = exponent, 1.0
        self.leaves = 1 << (n * self.length - 1).bit_length()
        # node k has the children 2k and 2k+1; the leaf of player i and place s in the ring: leaves + i * length + s
        self.tree = np.zeros(2 * self.leaves)

    def add(self, step: Step) -> None:
        before = self.head.copy()
        super().add(step)
        enter(self.tree, before, self.head, self.fate, self.largest)

    def restart(self) -> None:
        i = np.flatnonzero(~self.fresh)
        super().restart()
        slot = np.stack([i, self.head[i] - 1], axis=1)
        settle(self.tree, self._leaf(slot), np.zeros(len(i)))

    def draw(self, rng: np.random.Generator, rows: int) -> np.ndarray:
        chosen = np.empty((rows, 2), np.int64)
        found = 0
        for _ in range(100):
            dice = rng.random(2 * rows)
            found = descend(self.tree, chosen, found, dice, self.head, self.fate, self.age, self.n_step)
            if found == rows:
                return chosen
        raise ValueError(f"nothing to draw from a replay of {len(self)} slots yet: play more steps before learning")

    def weights(self, batch: Batch, beta: float) -> np.ndarray:
        """Importance weights (rows,) float32, the largest of them 1."""
        chance = self.tree[self._leaf(batch.slot)] / self.tree[1]
        weight = (len(self) * chance) ** -beta
        return (weight / weight.max()).astype(np.float32)

    def update(self, batch: Batch, error: np.ndarray) -> None:
        """New priorities from the absolute errors (rows,)."""
        priority = (error.astype(np.float64) + SMALLEST) ** self.exponent
        self.largest = max(self.largest, float(priority.max()))
        settle(self.tree, self._leaf(batch.slot), priority)

    def _leaf(self, slot: np.ndarray) -> np.ndarray:
        return self.leaves + slot[:, 0] * self.length + slot[:, 1] % self.length

    def _priorities(self) -> np.ndarray:
        """The leaves in use, (n, length): a view."""
        return self.tree[self.leaves : self.leaves + self.n * self.length].reshape(self.n, self.length)

    def state_dict(self) -> dict[str, Any]:
        used = min(int(self.head.max()), self.length)
        return super().state_dict() | {"priority": self._priorities()[:, :used].copy(), "largest": self.largest}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.largest, self.tree[:] = state["largest"], 0.0
        self._priorities()[:, : state["priority"].shape[1]] = state["priority"]
        add_up(self.tree)


@njit(cache=True, nogil=True)
def change(tree, leaf, priority):
    """Sums are added up anew on the way to the root, so that the tree depends on its leaves alone, not on its past."""
    tree[leaf] = priority
    k = leaf >> 1
    while k:
        tree[k] = tree[2 * k] + tree[2 * k + 1]
        k >>= 1


@njit(cache=True, nogil=True)
def add_up(tree):
    for k in range(len(tree) // 2 - 1, 0, -1):
        tree[k] = tree[2 * k] + tree[2 * k + 1]


@njit(cache=True, nogil=True)
def enter(tree, before, head, fate, largest):
    n, length = fate.shape
    for i in range(n):
        for slot in range(before[i], head[i]):
            at = slot % length
            change(tree, len(tree) // 2 + i * length + at, 0.0 if fate[i, at] == LAST else largest)


@njit(cache=True, nogil=True)
def settle(tree, leaf, priority):
    for k in range(len(leaf)):
        change(tree, leaf[k], priority[k])


@njit(cache=True, nogil=True)
def descend(tree, chosen, found, dice, head, fate, age, n_step) -> int:
    """Fill `chosen` from `found` on, one descent from the root each; slots that are not whole are rejected."""
    leaves, length = len(tree) // 2, fate.shape[1]
    for k in range(len(dice)):
        if found == len(chosen):
            break
        mass, node = dice[k] * tree[1], 1
        while node < leaves:
            node *= 2
            if mass >= tree[node] and tree[node + 1] > 0.0:
                mass -= tree[node]
                node += 1
        i, at = (node - leaves) // length, (node - leaves) % length
        if i >= len(head) or at >= head[i]:
            continue
        slot = head[i] - 1 - (head[i] - 1 - at) % length
        if whole(i, slot, head, fate, age, n_step):
            chosen[found, 0], chosen[found, 1] = i, slot
            found += 1
    return found
