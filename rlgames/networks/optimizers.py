"""Optimizers by name: Adam, RMSProp, and RMSProp as in Graves (2013).

n <- a n + (1 - a) g^2        m <- a m + (1 - a) g        (second and first moment of the gradient)
d <- b d - lr g / sqrt(n - m^2 + e)                       (momentum over the centered, normalized gradient)
w <- w + d                                                 (Graves 2013, eq. 38-45, and Mnih et al. 2015)
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn
from torch.optim import Optimizer

from rlgames.errors import InvalidValueError


class RMSPropGraves(Optimizer):
    """`decay` a, `momentum` b, `eps` e inside the root, as in the paper (0.95, 0.9, 1e-4 there)."""

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float = 1e-4,
        decay: float = 0.95,
        momentum: float = 0.9,
        eps: float = 1e-4,
    ):
        for name, value in (("lr", lr), ("eps", eps)):
            if value <= 0:
                raise InvalidValueError(f"expected {name} > 0, got {value}")
        for name, value in (("decay", decay), ("momentum", momentum)):
            if not 0 <= value < 1:
                raise InvalidValueError(f"expected {name} in [0, 1), got {value}")
        super().__init__(parameters, {"lr": lr, "decay": decay, "momentum": momentum, "eps": eps})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]  no closure, no loss
        if closure is not None:
            raise InvalidValueError("RMSPropGraves takes no closure: compute the gradients before step()")
        for group in self.param_groups:
            lr, a, b, eps = (group[key] for key in ("lr", "decay", "momentum", "eps"))
            for w in group["params"]:
                if w.grad is None:
                    continue
                if not self.state[w]:
                    self.state[w] = {key: torch.zeros_like(w) for key in ("square", "mean", "delta")}
                square, mean, delta = (self.state[w][key] for key in ("square", "mean", "delta"))
                square.lerp_(w.grad * w.grad, 1 - a)
                mean.lerp_(w.grad, 1 - a)
                variance = (square - mean * mean).clamp_(min=0.0)  # rounding may make it negative
                delta.mul_(b).addcdiv_(w.grad, (variance + eps).sqrt_(), value=-lr)
                w.add_(delta)


def clip_gradients(groups: Iterable[Iterable[nn.Parameter]], max_norm: float | None) -> list[torch.Tensor]:
    """Scale each group's gradient to a norm of at most `max_norm` (None: no limit); return the norms before, 0-d."""
    limit = math.inf if max_norm is None else max_norm
    return [nn.utils.clip_grad_norm_(group, limit) for group in groups]


def make_optimizer(name: str, parameters: Iterable[nn.Parameter], learning_rate: float) -> Optimizer:
    """Make "adam", "rmsprop" (decay 0.99, as in A3C) or "rmsprop-graves". Raises ValueError for another name."""
    if name == "adam":
        return torch.optim.Adam(parameters, learning_rate, eps=1e-5, fused=True)
    if name == "rmsprop":
        return torch.optim.RMSprop(parameters, learning_rate, alpha=0.99, eps=1e-5)
    if name == "rmsprop-graves":
        return RMSPropGraves(parameters, learning_rate)
    raise InvalidValueError(f"unknown optimizer {name!r}: expected adam, rmsprop or rmsprop-graves")
