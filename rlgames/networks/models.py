"""Networks: an encoder chosen by the shape of the observation, and heads on top of it.

Pictures are (h, w), (channels, h, w) or (h, w, channels), where the smallest of three dimensions is that of the
channels as for Stable-Baselines3, or stacks of the latter two, (stack, channels, h, w) or (stack, h, w, channels). All
else is a vector: also what has a side below 7, and a matrix of floats, but for those that `Pixels` makes, which have
the same bounds everywhere and sides of 36 or more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

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
EncoderName = Literal["auto", "vector", "grid", "cave", "nips", "mario", "nature"]
LARGE_ENCODERS = ("nips", "mario", "nature")
ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU}
SMALLEST_SIDE = 7  # of a picture, in pixels
SMALLEST_FLOAT_SIDE = 36  # of a picture of floats without channels


class PictureLayout(NamedTuple):
    """Axes of observations that are pictures: `order` permutes them to (..., h, w), the others are channels."""

    order: tuple[int, ...]
    channels: int
    height: int
    width: int


def picture_layout(space: Box) -> PictureLayout | None:
    """Return the layout of observations of two to four dimensions as pictures, None for others."""
    shape, n = space.shape, len(space.shape)
    if not 2 <= n <= 4:
        return None
    last = n > 2 and shape[-1] < min(shape[-3:-1])  # the channels; of equal dimensions the first is that of channels
    order = (*range(n - 3), n - 1, n - 3, n - 2) if last else tuple(range(n))
    *channels, height, width = (shape[axis] for axis in order)
    return PictureLayout(order, math.prod(channels), height, width)


def uniform_bounds(space: Box) -> tuple[float, float] | None:
    """Return the bounds of a space that has the same finite ones everywhere, else None."""
    if not space.low.size:
        return None
    low, high = float(space.low.flat[0]), float(space.high.flat[0])
    return (low, high) if np.all(space.low == low) and np.all(space.high == high) and space.is_bounded() else None


def default_encoder(space: Box) -> str:
    """Return the name of the encoder for observations of `space`: "vector", "grid", "cave" or "nature"."""
    layout = picture_layout(space)
    if layout is None:
        return "vector"
    side = min(layout.height, layout.width)
    if len(space.shape) == 2 and space.dtype.kind == "f" and (side < SMALLEST_FLOAT_SIDE or not uniform_bounds(space)):
        return "vector"
    return "vector" if side < SMALLEST_SIDE else "grid" if side <= 16 else "cave" if side < 64 else "nature"


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
    """Pictures (n, *shape) of a layout, uint8 or float, to (n, channels, h, w) float; uint8 is scaled to 0..1.

    `channels_last`: use that memory format in training on a CPU; large encoders then take about two thirds of the time.
    On a GPU gradients would get it too, and torch's fused optimizers take none that differ from their weights in it.
    """

    def __init__(self, layout: PictureLayout, channels_last: bool = False):
        super().__init__()
        self.layout, self.channels_last = layout, channels_last

    def forward(self, x: Tensor) -> Tensor:
        c, device = self.layout, x.device.type
        images = x.permute(0, *(1 + axis for axis in c.order)).reshape(x.shape[0], c.channels, c.height, c.width)
        autocast = torch.is_autocast_enabled(device)
        if self.channels_last and device == "cpu" and torch.is_grad_enabled() and not autocast:
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
    net_arch: Sequence[int] | None = None,
    activation: type[nn.Module] = nn.Tanh,
    init: Callable[..., nn.Module] = orthogonal_init,
) -> tuple[nn.Sequential, int]:
    """Make the layers from observations to features; return them and the number of features.

    `name` is "auto" (by the shape), "vector" (the observation, flattened), or "grid", "cave", "nips", "mario", "nature"
    (convolutions and one dense layer, ReLU). Layers of `net_arch` units follow, each with `activation`; None: two of 64
    for vectors, none for pictures. `init` initializes each layer. A picture that is smaller than the kernel of a
    convolution gets a smaller kernel. Raises ValueError for another name and for observations that are no pictures.
    """
    name = default_encoder(space) if name == "auto" else name
    if name == "vector":
        body, width = nn.Sequential(VectorInput()), math.prod(space.shape)
    elif name in ENCODERS:
        body, width = make_convolutions(space, name, init)
    else:
        raise InvalidValueError(f"unknown encoder {name!r}: expected auto, vector, {', '.join(ENCODERS)}")
    if net_arch is None:
        net_arch = (64, 64) if name == "vector" else ()
    for units in net_arch:
        body.extend([init(nn.Linear(width, units)), activation()])
        width = units
    return body, width


def make_convolutions(space: Box, name: str, init: Callable[..., nn.Module]) -> tuple[nn.Sequential, int]:
    """Make the layers of ENCODERS for pictures of `space`; return them and the number of features."""
    layout = picture_layout(space)
    if layout is None:
        raise InvalidValueError(
            f"the encoder {name!r} takes pictures (h, w), (channels, h, w), (h, w, channels) or stacks of them, "
            f"got shape {space.shape}: use 'vector' or 'auto'"
        )
    convolutions, width = ENCODERS[name]
    channels, sides = layout.channels, [layout.height, layout.width]
    body = nn.Sequential(ImageInput(layout, channels_last=name in LARGE_ENCODERS))
    for out_channels, largest, stride in convolutions:
        kernel = min(largest, sides[0]), min(largest, sides[1])
        body.extend([init(nn.Conv2d(channels, out_channels, kernel, stride)), nn.ReLU()])
        channels, sides = out_channels, [(side - k) // stride + 1 for side, k in zip(sides, kernel, strict=True)]
    body.extend([nn.Flatten(), init(nn.Linear(channels * math.prod(sides), width)), nn.ReLU()])
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
        net_arch: Sequence[int] | None,
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

    def __init__(self, space: Box, actions: int, encoder: str, net_arch: Sequence[int] | None, dueling: bool):
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
