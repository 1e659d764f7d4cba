"""The rows that a pass over a rollout learns from, in minibatches: each once, or some of them by importance."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

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
