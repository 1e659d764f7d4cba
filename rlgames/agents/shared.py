"""What the workers of A3C share: parameters and optimiser statistics in one flat piece of shared memory, without locks.

Two workers that update at once may lose a part of one update: that is Hogwild (Recht et al. 2011), and A3C lives with
it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Shared:
    """Flat float32 tensors in shared memory: `weights`, and `first` and `second` moments of the gradient.

    `take` copies the weights into a worker's own network, `give` applies the gradients that it computed there. `counts`
    holds the steps taken by all workers, the updates made, and the moving average of scores with the number behind it.
    """

    def __init__(self, net: nn.Module):
        flat = torch.cat([p.detach().reshape(-1) for p in net.parameters()])
        self.weights = flat.clone().share_memory_()
        self.first, self.second = (torch.zeros_like(flat).share_memory_() for _ in range(2))
        self.counts = torch.zeros(2, dtype=torch.float64).share_memory_()  # environment steps, updates

    def take(self, own: Tensor) -> None:
        own.copy_(self.weights)

    def adam(self, gradient: Tensor, lr: float, beta: tuple[float, float] = (0.9, 0.999), eps: float = 1e-5) -> None:
        """Kingma & Ba 2015, with statistics that all workers feed."""
        self.counts[1] += 1
        t = float(self.counts[1])
        self.first.lerp_(gradient, 1 - beta[0])
        self.second.mul_(beta[1]).addcmul_(gradient, gradient, value=1 - beta[1])
        root = (self.second / (1 - beta[1] ** t)).sqrt_().add_(eps)
        self.weights.addcdiv_(self.first, root, value=-lr / (1 - beta[0] ** t))

    def rmsprop(self, gradient: Tensor, lr: float, decay: float = 0.99, eps: float = 0.1) -> None:
        """Shared RMSProp (Mnih et al. 2016, eq. S2 and S3), epsilon inside the root."""
        self.counts[1] += 1
        self.second.mul_(decay).addcmul_(gradient, gradient, value=1 - decay)
        self.weights.addcdiv_(gradient, (self.second + eps).sqrt_(), value=-lr)

    def state_dict(self) -> dict[str, Tensor]:
        return {name: getattr(self, name).clone() for name in ("weights", "first", "second", "counts")}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        for name, value in state.items():
            getattr(self, name).copy_(value)


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
