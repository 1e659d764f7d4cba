"""Parameters that the workers of A3C share without locks, with the optimizer's statistics, and the best of them.

Two workers that update at once may lose part of one update: that is Hogwild (Recht et al. 2011), and A3C tolerates it.
Counts are exact nevertheless, because each worker writes only its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

MIN_EPISODES = 100  # before a best is kept: about as many as the moving average of the scores covers


class SharedOptimizer:
    """Flat tensors (parameters,): `weights`, and moving averages of the gradient, `exp_avg`, and its square,
    `exp_avg_sq`.

    `started` (workers,) counts the updates that each worker has started, `applied` those that it has made.
    """

    def __init__(self, net: nn.Module, workers: int):
        flat = torch.cat([p.detach().reshape(-1) for p in net.parameters()])
        self.weights = flat.clone().share_memory_()
        self.exp_avg, self.exp_avg_sq = (torch.zeros_like(flat).share_memory_() for _ in range(2))
        self.started, self.applied = (torch.zeros(workers, dtype=torch.int64).share_memory_() for _ in range(2))

    def fetch(self, index: int, weights: Tensor) -> int:
        """Start an update of worker `index`: copy the shared weights into `weights`; return of how many updates."""
        self.started[index] += 1
        num_updates = int(self.applied.sum())
        self.copy_weights_to(weights)
        return num_updates

    def apply(self, index: int, optimizer: str, gradient: Tensor, lr: float) -> int:
        """Take a step of "adam" or "rmsprop" along `gradient`; return how many updates were made before."""
        before = int(self.applied.sum())
        step = self.adam if optimizer == "adam" else self.rmsprop
        step(gradient, lr)
        self.applied[index] += 1
        return before

    def copy_weights_to(self, weights: Tensor) -> None:
        """Copy the shared weights into `weights` (parameters,)."""
        weights.copy_(self.weights)

    def num_updates(self) -> int:
        """Return how many updates all workers together have started."""
        return int(self.started.sum())

    def adam(self, gradient: Tensor, lr: float, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-5) -> None:
        """Take one step of Adam (Kingma & Ba 2015) along `gradient` (parameters,), with the shared statistics."""
        t = self.num_updates()
        self.exp_avg.lerp_(gradient, 1 - betas[0])
        self.exp_avg_sq.mul_(betas[1]).addcmul_(gradient, gradient, value=1 - betas[1])
        denominator = (self.exp_avg_sq / (1 - betas[1] ** t)).sqrt_().add_(eps)
        self.weights.addcdiv_(self.exp_avg, denominator, value=-lr / (1 - betas[0] ** t))

    def rmsprop(self, gradient: Tensor, lr: float, decay: float = 0.99, eps: float = 0.1) -> None:
        """Take one step of Shared RMSProp (Mnih et al. 2016, eq. 1), epsilon inside the root."""
        self.exp_avg_sq.mul_(decay).addcmul_(gradient, gradient, value=1 - decay)
        self.weights.addcdiv_(gradient, (self.exp_avg_sq + eps).sqrt_(), value=-lr)

    def state_dict(self) -> dict[str, Any]:
        """Return all but the weights, which the agent's network holds too."""
        return {
            "exp_avg": self.exp_avg.clone(),
            "exp_avg_sq": self.exp_avg_sq.clone(),
            "num_updates": self.num_updates(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.exp_avg.copy_(state["exp_avg"])
        self.exp_avg_sq.copy_(state["exp_avg_sq"])
        self.started.zero_()
        self.started[0] = state["num_updates"]


class BestWeights:
    """Moving average of the scores, 0.99 of the old and 0.01 of the new, and the weights at its maximum."""

    def __init__(self, weights: Tensor):
        self.weights, self.step = weights.clone(), 0  # the best weights, and their step
        self.num_episodes, self.average, self.best_average = 0, 0.0, 0.0

    def update(self, scores: Sequence[float], step: int, weights: Tensor) -> None:
        for score in scores:
            self.average = 0.99 * self.average + 0.01 * score if self.num_episodes else score
            self.num_episodes += 1
        if self.num_episodes < MIN_EPISODES or (scores and self.average >= self.best_average):
            self.weights.copy_(weights)
            self.step, self.best_average = step, self.average

    def scalars(self) -> dict[str, Tensor]:
        return {"rollout/score_moving_average": torch.tensor(self.average)} if self.num_episodes else {}

    def state_dict(self) -> dict[str, Any]:
        return vars(self) | {"weights": self.weights.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.weights.copy_(state["weights"])
        vars(self).update({name: value for name, value in state.items() if name != "weights"})


def flatten_parameters(net: nn.Module) -> tuple[Tensor, Tensor]:
    """Make all parameters of `net` views of one flat tensor, and their gradients of another; return both."""
    weights = torch.cat([p.detach().reshape(-1) for p in net.parameters()])
    gradients = torch.zeros_like(weights)
    at = 0
    for p in net.parameters():
        p.data = weights[at : at + p.numel()].view_as(p)
        p.grad = gradients[at : at + p.numel()].view_as(p)
        at += p.numel()
    return weights, gradients
