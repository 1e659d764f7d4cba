"""The networks: an encoder chosen by the observation's shape, and heads on top of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from gymnasium.spaces import Box
from torch import Tensor, nn

# (channels, kernel, stride) of each convolution, and the width of the dense layer that follows
ENCODERS: dict[str, tuple[list[tuple[int, int, int]], int]] = {
    "grid": ([(16, 3, 1), (16, 3, 1)], 128),  # boards up to 16 x 16
    "cave": ([(16, 4, 4), (16, 3, 1), (16, 3, 1)], 256),  # 48 x 48: 4 x 4 at a time, then neighbours
    "nips": ([(16, 8, 4), (32, 4, 2)], 256),  # 84 x 84, Mnih et al. 2013; a fifth of the work of the next
    "mario": ([(32, 3, 2)] * 4, 512),  # 84 x 84, of the Mario tutorials; no more work than the next
    "nature": ([(32, 8, 4), (64, 4, 2), (64, 3, 1)], 512),  # 84 x 84, Mnih et al. 2015
}
LARGE = ("nips", "mario", "nature")


def layer(module: nn.Linear | nn.Conv2d, gain: float = math.sqrt(2)) -> nn.Module:
    """Orthogonal weights, zero biases: policy gradients start best from them (Andrychowicz et al. 2021)."""
    nn.init.orthogonal_(module.weight, gain)
    if module.bias is not None:
        nn.init.zeros_(module.bias)
    return module


def encoder_for(space: Box) -> str:
    """The name of the encoder for a space: "vector", "grid", "cave" or "nature"."""
    if len(space.shape) < 2:
        return "vector"
    side = min(space.shape[-2:])
    return "grid" if side <= 16 else "cave" if side < 64 else "nature"


BENDS = {"tanh": nn.Tanh, "relu": nn.ReLU}


class Planes(nn.Module):
    """(n, h, w) or (n, channels, h, w), uint8 or float, to (n, channels, h, w) float, bytes scaled to 0..1.

    `wide`: what follows is large; its training passes take about two thirds of the time with channels last in memory.
    """

    def __init__(self, wide: bool = False):
        super().__init__()
        self.wide = wide

    def forward(self, x: Tensor) -> Tensor:
        planes, kind = x if x.dim() == 4 else x.unsqueeze(1), x.device.type
        half = torch.is_autocast_enabled(kind)
        if self.wide and torch.is_grad_enabled() and not half:
            planes = planes.contiguous(memory_format=torch.channels_last)
        dtype = torch.get_autocast_dtype(kind) if half else torch.float32
        return planes.to(dtype).mul_(1 / 255) if x.dtype == torch.uint8 else planes.to(dtype)


class Vector(nn.Module):
    """Any shape to (n, features) float, bytes scaled to 0..1."""

    def forward(self, x: Tensor) -> Tensor:
        rows = (x.flatten(1) if x.dim() > 1 else x.unsqueeze(1)).float()
        return rows.mul_(1 / 255) if x.dtype == torch.uint8 else rows


def plain(module: nn.Linear | nn.Conv2d) -> nn.Module:
    """As torch makes it, uniform within 1 / sqrt(inputs): larger weights let values that bootstrap run away."""
    return module


def encoder(
    space: Box,
    kind: str = "auto",
    hidden: Sequence[int] = (64, 64),
    bend: type[nn.Module] = nn.Tanh,
    made: Callable[..., nn.Module] = layer,
) -> tuple[nn.Sequential, int]:
    """The layers up to the features, and how many those are.

    `kind` is "auto" (by the shape), "vector" (flattened, layers of `hidden` units, each followed by a `bend`), "grid",
    "cave", "nips", "mario" or "nature" (convolutions and one dense layer, ReLU). `made` sets a layer's first weights.
    Raises ValueError for another kind or for planes too small for it.
    """
    kind = encoder_for(space) if kind == "auto" else kind
    if kind == "vector":
        body, width = nn.Sequential(Vector()), math.prod(space.shape)
        for units in hidden:
            body.extend([made(nn.Linear(width, units)), bend()])
            width = units
        return body, width
    if kind not in ENCODERS:
        raise ValueError(f"unknown encoder {kind!r}: expected auto, vector, {', '.join(ENCODERS)}")
    if len(space.shape) not in (2, 3):
        raise ValueError(f"the encoder {kind!r} takes planes (h, w) or (channels, h, w), got shape {space.shape}")
    convolutions, width = ENCODERS[kind]
    channels, *side = space.shape if len(space.shape) == 3 else (1, *space.shape)
    body = nn.Sequential(Planes(wide=kind in LARGE))
    for out, kernel, stride in convolutions:
        if min(side) < kernel:
            raise ValueError(
                f"observations of shape {space.shape} are too small for the encoder {kind!r}: try 'vector'"
            )
        body.extend([made(nn.Conv2d(channels, out, kernel, stride)), nn.ReLU()])
        channels, side = out, [(length - kernel) // stride + 1 for length in side]
    body.extend([nn.Flatten(), made(nn.Linear(channels * math.prod(side), width)), nn.ReLU()])
    return body, width


class ActorCritic(nn.Module):
    """Observations to the logits of the actions (n, actions) and the value (n,).

    Vectors get a network each for policy and value, so that neither disturbs the other's features; planes share one.
    """

    def __init__(self, space: Box, actions: int, kind: str, hidden: Sequence[int], bend: type[nn.Module] = nn.Tanh):
        super().__init__()
        self.shared = (encoder_for(space) if kind == "auto" else kind) != "vector"  # one encoder for both heads
        self.actor, width = encoder(space, kind, hidden, bend)
        self.critic = None if self.shared else encoder(space, kind, hidden, bend)[0]
        self.policy, self.value = layer(nn.Linear(width, actions), 0.01), layer(nn.Linear(width, 1), 1.0)

    def forward(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        features = self.actor(obs)
        seen = features if self.critic is None else self.critic(obs)
        return self.policy(features).float(), self.value(seen).float().squeeze(-1)

    def logits(self, obs: Tensor) -> Tensor:
        return self.policy(self.actor(obs)).float()

    def values(self, obs: Tensor) -> Tensor:
        return self.value((self.critic or self.actor)(obs)).float().squeeze(-1)

    def parameter_groups(self) -> list[list[nn.Parameter]]:
        """Whose gradients are clipped together: all, or policy and value apart where nothing is shared."""
        if self.critic is None:
            return [list(self.parameters())]
        actor, critic = (self.actor, self.policy), (self.critic, self.value)
        return [[p for module in side for p in module.parameters()] for side in (actor, critic)]


class QNetwork(nn.Module):
    """Observations to action values (n, actions); dueling: Q = V + A - mean A (Wang et al. 2016, eq. 9)."""

    def __init__(self, space: Box, actions: int, kind: str, hidden: Sequence[int], dueling: bool):
        super().__init__()
        self.body, width = encoder(space, kind, hidden, nn.ReLU, plain)
        self.advantage = plain(nn.Linear(width, actions))
        self.value = plain(nn.Linear(width, 1)) if dueling else None

    def forward(self, obs: Tensor) -> Tensor:
        features = self.body(obs)
        q = self.advantage(features).float()
        return q if self.value is None else q - q.mean(1, keepdim=True) + self.value(features).float()


# ---- agents/sampling.py ----


def drawn(logits: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Actions (n,) with the probabilities softmax(logits), (n, actions), by the Gumbel-max trick."""
    return (logits + rng.gumbel(size=logits.shape)).argmax(1)
