"""Recurrent networks, for observations that do not contain the whole state.

    (i, f, o, g) = W x + U h + b,   c <- sigmoid(f) c + sigmoid(i) tanh(g),   h <- sigmoid(o) tanh(c)

A long short-term memory (Hochreiter & Schmidhuber 1997) stands between encoder and heads, as in DRQN (Hausknecht &
Stone 2015), and is reset where an episode starts. The LSTM state of n environments is one array (n, 2 * hidden_size):
h, then c.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from gymnasium.spaces import Box
from torch import Tensor, nn

from rlgames.errors import InvalidValueError, brief
from rlgames.networks.models import default_init, make_encoder, orthogonal_init


class LSTM(nn.Module):
    """LSTM layer from `width` features to `hidden_size` units."""

    def __init__(self, width: int, hidden_size: int, init: Callable[..., nn.Module]):
        super().__init__()
        self.hidden_size = hidden_size
        self.input_proj = init(nn.Linear(width, 4 * hidden_size))
        self.hidden_proj = init(nn.Linear(hidden_size, 4 * hidden_size))

    def as_state(self, saved: np.ndarray | None, n: int) -> Tensor:
        """Return the saved LSTM state of n environments (n, 2 * hidden_size) as a tensor, or the initial one, zeros.

        Raises ValueError for a state of another shape.
        """
        shape = n, 2 * self.hidden_size
        if saved is not None and not (
            isinstance(saved, np.ndarray) and saved.shape == shape and saved.dtype.kind == "f"
        ):
            raise InvalidValueError(
                f"expected an LSTM state of shape {shape}, got {brief(saved)}: pass on the state that predict returned "
                "for as many observations, None at first"
            )
        state = torch.zeros(*shape) if saved is None else torch.from_numpy(saved.astype(np.float32, copy=False))
        return state.to(next(self.parameters()).device)

    def forward(self, features: Tensor, state: Tensor, start: Tensor) -> Tensor:
        """Return the states (n, time, 2 * hidden_size) after each of the features (n, time, width).

        `state` (n, 2 * hidden_size) is the one before; `start` (n, time) bool marks the first step of an episode.
        """
        inputs, keep, states = self.input_proj(features).float(), (~start).float().unsqueeze(2), []
        # unbind: the gradient of a slice inputs[:, t] would be an array of the size of all inputs
        for inputs_t, keep_t in zip(inputs.unbind(1), keep.unbind(1), strict=True):
            h, c = (state * keep_t).chunk(2, 1)
            i, f, o, g = (inputs_t + self.hidden_proj(h)).chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            state = torch.cat((o.sigmoid() * c.tanh(), c), 1)
            states.append(state)
        return torch.stack(states, 1)


class RecurrentActorCritic(nn.Module):
    """Observations (n, time, *shape) to action logits (n, time, actions), values (n, time) and LSTM states."""

    critic = None  # policy and value share one encoder

    def __init__(self, space: Box, actions: int, encoder: str, net_arch: Sequence[int] | None, hidden_size: int):
        super().__init__()
        self.actor, width = make_encoder(space, encoder, net_arch)
        self.lstm = LSTM(width, hidden_size, orthogonal_init)
        self.policy = orthogonal_init(nn.Linear(hidden_size, actions), 0.01)
        self.value = orthogonal_init(nn.Linear(hidden_size, 1), 1.0)

    def forward(self, obs: Tensor, state: Tensor, start: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        states = self.lstm(encode(self.actor, obs), state, start)
        h = states[..., : self.lstm.hidden_size]
        return self.policy(h).float(), self.value(h).float().squeeze(-1), states

    def parameter_groups(self) -> list[list[nn.Parameter]]:
        return [list(self.parameters())]


class RecurrentQNetwork(nn.Module):
    """Observations (n, time, *shape) to action values (n, time, actions); `with_states` returns LSTM states too."""

    def __init__(
        self, space: Box, actions: int, encoder: str, net_arch: Sequence[int] | None, dueling: bool, hidden_size: int
    ):
        super().__init__()
        self.body, width = make_encoder(space, encoder, net_arch, nn.ReLU, default_init)
        self.lstm = LSTM(width, hidden_size, default_init)
        self.advantage = nn.Linear(hidden_size, actions)
        self.value = nn.Linear(hidden_size, 1) if dueling else None

    def forward(self, obs: Tensor, state: Tensor, start: Tensor) -> Tensor:
        return self.with_states(obs, state, start)[0]

    def with_states(self, obs: Tensor, state: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
        states = self.lstm(encode(self.body, obs), state, start)
        h = states[..., : self.lstm.hidden_size]
        q = self.advantage(h).float()
        return q if self.value is None else q - q.mean(-1, keepdim=True) + self.value(h).float(), states


def encode(encoder: nn.Module, obs: Tensor) -> Tensor:
    """Return the features (n, time, width) of observations (n, time, *shape)."""
    return encoder(obs.flatten(0, 1)).unflatten(0, obs.shape[:2])
