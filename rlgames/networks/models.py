"""Networks: an encoder chosen by the shape of the observation, and heads on top of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from gymnasium.spaces import Box
from torch import Tensor, nn

from rlgames.errors import InvalidValueError

# (channels, kernel, stride) of each convolution, and the width of the dense layer that follows
ENCODERS: dict[str, tuple[list[tuple[int, int, int]], int]] = {
    "grid": ([(16, 3, 1), (16, 3, 1)], 128),  # boards up to 16 x 16
    "cave": ([(16, 4, 4), (16, 3, 1), (16, 3, 1)], 256),  # 48 x 48
    "nips": ([(16, 8, 4), (32, 4, 2)], 256),  # 84 x 84, Mnih et al. 2013; a fifth of the work of "nature"
    "mario": ([(32, 3, 2)] * 4, 512),  # 84 x 84, as in the PPO tutorials for Mario
    "nature": ([(32, 8, 4), (64, 4, 2), (64, 3, 1)], 512),  # 84 x 84, Mnih et al. 2015
}
LARGE_ENCODERS = ("nips", "mario", "nature")
ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU}


def default_encoder(space: Box) -> str:
    """Return the name of the encoder for observations of `space`: "vector", "grid", "cave" or "nature"."""
    if len(space.shape) < 2:
        return "vector"
    side = min(space.shape[-2:])
    return "grid" if side <= 16 else "cave" if side < 64 else "nature"


def orthogonal_init(module: nn.Linear | nn.Conv2d, gain: float = math.sqrt(2)) -> nn.Module:
    """Set orthogonal weights and zero biases, recommended for policy gradients (Andrychowicz et al. 2021)."""
    nn.init.orthogonal_(module.weight, gain)
    if module.bias is not None:
        nn.init.zeros_(module.bias)
    return module


def default_init(module: nn.Linear | nn.Conv2d) -> nn.Module:
    """Keep torch's weights, uniform within 1 / sqrt(inputs): with larger ones, bootstrapped values diverge."""
    return module


class ImageInput(nn.Module):
    """(n, h, w) or (n, channels, h, w), uint8 or float, to (n, channels, h, w) float; uint8 is scaled to 0..1.

    `channels_last`: use that memory format in training; large encoders then take about two thirds of the time.
    """

    def __init__(self, channels_last: bool = False):
        super().__init__()
        self.channels_last = channels_last

    def forward(self, x: Tensor) -> Tensor:
        images, device = x if x.dim() == 4 else x.unsqueeze(1), x.device.type
        autocast = torch.is_autocast_enabled(device)
        if self.channels_last and torch.is_grad_enabled() and not autocast:
            images = images.contiguous(memory_format=torch.channels_last)
        dtype = torch.get_autocast_dtype(device) if autocast else torch.float32
        return images.to(dtype).mul_(1 / 255) if x.dtype == torch.uint8 else images.to(dtype)


class VectorInput(nn.Module):
    """Any shape to (n, features) float; uint8 is scaled to 0..1."""

    def forward(self, x: Tensor) -> Tensor:
        features = (x.flatten(1) if x.dim() > 1 else x.unsqueeze(1)).float()
        return features.mul_(1 / 255) if x.dtype == torch.uint8 else features


def make_encoder(
    space: Box,
    name: str = "auto",
    net_arch: Sequence[int] = (64, 64),
    activation: type[nn.Module] = nn.Tanh,
    init: Callable[..., nn.Module] = orthogonal_init,
) -> tuple[nn.Sequential, int]:
    """Make the layers from observations to features; return them and the number of features.

    `name` is "auto" (by the shape), "vector" (flattened, then layers of `net_arch` units, each followed by
    `activation`), or "grid", "cave", "nips", "mario", "nature" (convolutions and one dense layer, ReLU). `init`
    initializes each layer. Raises ValueError for another name or for images too small for it.
    """
    name = default_encoder(space) if name == "auto" else name
    if name == "vector":
        body, width = nn.Sequential(VectorInput()), math.prod(space.shape)
        for units in net_arch:
            body.extend([init(nn.Linear(width, units)), activation()])
            width = units
        return body, width
    if name not in ENCODERS:
        raise InvalidValueError(f"unknown encoder {name!r}: expected auto, vector, {', '.join(ENCODERS)}")
    if len(space.shape) not in (2, 3):
        raise InvalidValueError(
            f"the encoder {name!r} takes images (h, w) or (channels, h, w), got shape {space.shape}: use 'vector'"
        )
    convolutions, width = ENCODERS[name]
    channels, *side = space.shape if len(space.shape) == 3 else (1, *space.shape)
    body = nn.Sequential(ImageInput(channels_last=name in LARGE_ENCODERS))
    for out_channels, kernel, stride in convolutions:
        if min(side) < kernel:
            raise InvalidValueError(
                f"observations of shape {space.shape} are too small for the encoder {name!r}: use 'vector'"
            )
        body.extend([init(nn.Conv2d(channels, out_channels, kernel, stride)), nn.ReLU()])
        channels, side = out_channels, [(length - kernel) // stride + 1 for length in side]
    body.extend([nn.Flatten(), init(nn.Linear(channels * math.prod(side), width)), nn.ReLU()])
    return body, width


class ActorCritic(nn.Module):
    """Observations (n, *shape) to action logits (n, actions) and values (n,).

    Vectors have an encoder each for policy and value, so that neither disturbs the other's features; images share one.
    """

    def __init__(
        self,
        space: Box,
        actions: int,
        encoder: str,
        net_arch: Sequence[int],
        activation: type[nn.Module] = nn.Tanh,
    ):
        super().__init__()
        shared = (default_encoder(space) if encoder == "auto" else encoder) != "vector"
        self.actor, width = make_encoder(space, encoder, net_arch, activation)
        self.critic = None if shared else make_encoder(space, encoder, net_arch, activation)[0]
        self.policy = orthogonal_init(nn.Linear(width, actions), 0.01)
        self.value = orthogonal_init(nn.Linear(width, 1), 1.0)

    def forward(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        features = self.actor(obs)
        critic_features = features if self.critic is None else self.critic(obs)
        return self.policy(features).float(), self.value(critic_features).float().squeeze(-1)

    def logits(self, obs: Tensor) -> Tensor:
        return self.policy(self.actor(obs)).float()

    def values(self, obs: Tensor) -> Tensor:
        return self.value((self.critic or self.actor)(obs)).float().squeeze(-1)

    def parameter_groups(self) -> list[list[nn.Parameter]]:
        """Return the parameters whose gradients are clipped together: all, or actor and critic apart."""
        if self.critic is None:
            return [list(self.parameters())]
        actor, critic = (self.actor, self.policy), (self.critic, self.value)
        return [[p for module in modules for p in module.parameters()] for modules in (actor, critic)]


class QNetwork(nn.Module):
    """Observations (n, *shape) to action values (n, actions); dueling: Q = V + A - mean A (Wang et al. 2016, eq. 9)."""

    def __init__(self, space: Box, actions: int, encoder: str, net_arch: Sequence[int], dueling: bool):
        super().__init__()
        self.body, width = make_encoder(space, encoder, net_arch, nn.ReLU, default_init)
        self.advantage = default_init(nn.Linear(width, actions))
        self.value = default_init(nn.Linear(width, 1)) if dueling else None

    def forward(self, obs: Tensor) -> Tensor:
        features = self.body(obs)
        q = self.advantage(features).float()
        return q if self.value is None else q - q.mean(1, keepdim=True) + self.value(features).float()


def sample_actions(logits: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Sample actions (n,) with probabilities softmax(logits), logits (n, actions), by the Gumbel-max trick."""
    return (logits + rng.gumbel(size=logits.shape)).argmax(1)
