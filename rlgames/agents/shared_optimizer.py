"""Flat parameters: those that the workers of A3C share without locks, with the optimiser's statistics, and the best.

Two workers that update at once may lose a part of one update: that is Hogwild (Recht et al. 2011), and A3C lives with
it. Counts are exact nevertheless, for each worker writes only its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

RECENT = 100  # episodes, about as many as the moving average of the scores looks back


class Shared:
    """Tensors (parameters,): `weights`, and running means of the gradient, `first`, and of its square, `second`.

    `begun` (workers,) counts the updates that each worker has begun.
    """

    def __init__(self, net: nn.Module, workers: int):
        flat = torch.cat([p.detach().reshape(-1) for p in net.parameters()])
        self.weights = flat.clone().share_memory_()
        self.first, self.second = (torch.zeros_like(flat).share_memory_() for _ in range(2))
        self.begun = torch.zeros(workers, dtype=torch.int64).share_memory_()

    def take(self, own: Tensor) -> None:
        """Copy the weights to `own` (parameters,)."""
        own.copy_(self.weights)

    def updates(self) -> int:
        """How many updates all workers together have begun."""
        return int(self.begun.sum())

    def adam(self, gradient: Tensor, lr: float, beta: tuple[float, float] = (0.9, 0.999), eps: float = 1e-5) -> None:
        """One step along `gradient` (parameters,) by Adam (Kingma & Ba 2015), with statistics that all workers feed."""
        t = self.updates()
        self.first.lerp_(gradient, 1 - beta[0])
        self.second.mul_(beta[1]).addcmul_(gradient, gradient, value=1 - beta[1])
        root = (self.second / (1 - beta[1] ** t)).sqrt_().add_(eps)
        self.weights.addcdiv_(self.first, root, value=-lr / (1 - beta[0] ** t))

    def rmsprop(self, gradient: Tensor, lr: float, decay: float = 0.99, eps: float = 0.1) -> None:
        """One step by Shared RMSProp (Mnih et al. 2016, eq. 1), epsilon inside the root."""
        self.second.mul_(decay).addcmul_(gradient, gradient, value=1 - decay)
        self.weights.addcdiv_(gradient, (self.second + eps).sqrt_(), value=-lr)

    def state_dict(self) -> dict[str, Any]:
        """All but the weights, which the agent's network has too."""
        return {"first": self.first.clone(), "second": self.second.clone(), "updates": self.updates()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.first.copy_(state["first"])
        self.second.copy_(state["second"])
        self.begun.zero_()
        self.begun[0] = state["updates"]


class Record:
    """The moving average of the scores, 0.99 of the old and 0.01 of the new, and the weights at its height."""

    def __init__(self, weights: Tensor):
        self.weights, self.step = weights.clone(), 0  # the best, and when they were that
        self.episodes, self.average, self.highest = 0, 0.0, 0.0

    def see(self, scores: Sequence[float], step: int, weights: Tensor) -> None:
        for score in scores:
            self.average = 0.99 * self.average + 0.01 * score if self.episodes else score
            self.episodes += 1
        if self.episodes < RECENT or (scores and self.average >= self.highest):
            self.weights.copy_(weights)
            self.step, self.highest = step, self.average

    def scalars(self) -> dict[str, Tensor]:
        return {"average": torch.tensor(self.average)} if self.episodes else {}

    def state_dict(self) -> dict[str, Any]:
        return vars(self) | {"weights": self.weights.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.weights.copy_(state["weights"])
        vars(self).update({name: value for name, value in state.items() if name != "weights"})


def flattened(net: nn.Module) -> tuple[Tensor, Tensor]:
    """Make all parameters of `net` views of one flat tensor, and their gradients of another; returns both."""
    weights = torch.cat([p.detach().reshape(-1) for p in net.parameters()])
    gradients = torch.zeros_like(weights)
    at = 0
    for p in net.parameters():
        p.data = weights[at : at + p.numel()].view_as(p)
        p.grad = gradients[at : at + p.numel()].view_as(p)
        at += p.numel()
    return weights, gradients
