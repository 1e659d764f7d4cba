"""Memory: networks that remember what they saw, for games whose observations do not tell everything.

    (i, f, o, g) = W x + U h + b,   c <- sigmoid(f) c + sigmoid(i) tanh(g),   h <- sigmoid(o) tanh(c)

A long short-term memory (Hochreiter & Schmidhuber 1997) stands between the encoder and the heads, as in DRQN
(Hausknecht & Stone 2015), and forgets everything where an episode starts. Its state is one array (n, 2 * units): h,
then c.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from gymnasium.spaces import Box
from torch import Tensor, nn

from rlgames.networks.models import encoder, layer, plain


class Memory(nn.Module):
    """The recurrent layer, from `width` features to `units`."""

    def __init__(self, width: int, units: int, made: Callable[..., nn.Module]):
        super().__init__()
        self.units = units
        self.into, self.back = made(nn.Linear(width, 4 * units)), made(nn.Linear(units, 4 * units))

    def states(self, saved: np.ndarray | None, n: int) -> Tensor:
        """What was `saved` of n players (n, 2 * units), or what they begin with."""
        known = torch.zeros(n, 2 * self.units) if saved is None else torch.from_numpy(saved)
        return known.to(next(self.parameters()).device)

    def forward(self, features: Tensor, state: Tensor, start: Tensor) -> Tensor:
        """The states (n, time, 2 * units) after each of the features (n, time, width).

        `state` (n, 2 * units) is the one before them; `start` (n, time) bool marks the first of an episode.
        """
        into, keep, states = self.into(features).float(), (~start).float().unsqueeze(2), []
        for t in range(into.shape[1]):
            h, c = (state * keep[:, t]).chunk(2, 1)
            i, f, o, g = (into[:, t] + self.back(h)).chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            state = torch.cat((o.sigmoid() * c.tanh(), c), 1)
            states.append(state)
        return torch.stack(states, 1)


class RecurrentActorCritic(nn.Module):
    """Observations (n, time, *shape) to the logits of the actions (n, time, actions), values (n, time) and states."""

    critic = None  # one network for both heads

    def __init__(self, space: Box, actions: int, kind: str, hidden: Sequence[int], units: int):
        super().__init__()
        self.actor, width = encoder(space, kind, hidden)
        self.memory = Memory(width, units, layer)
        self.policy, self.value = layer(nn.Linear(units, actions), 0.01), layer(nn.Linear(units, 1), 1.0)

    def forward(self, obs: Tensor, state: Tensor, start: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        states = self.memory(features(self.actor, obs), state, start)
        h = states[..., : self.memory.units]
        return self.policy(h).float(), self.value(h).float().squeeze(-1), states

    def parameter_groups(self) -> list[list[nn.Parameter]]:
        return [list(self.parameters())]


class RecurrentQNetwork(nn.Module):
    """Observations (n, time, *shape) to action values (n, time, actions); `recall` gives the states too."""

    def __init__(self, space: Box, actions: int, kind: str, hidden: Sequence[int], dueling: bool, units: int):
        super().__init__()
        self.body, width = encoder(space, kind, hidden, nn.ReLU, plain)
        self.memory = Memory(width, units, plain)
        self.advantage = nn.Linear(units, actions)
        self.value = nn.Linear(units, 1) if dueling else None

    def forward(self, obs: Tensor, state: Tensor, start: Tensor) -> Tensor:
        return self.recall(obs, state, start)[0]

    def recall(self, obs: Tensor, state: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
        states = self.memory(features(self.body, obs), state, start)
        h = states[..., : self.memory.units]
        q = self.advantage(h).float()
        return q if self.value is None else q - q.mean(-1, keepdim=True) + self.value(h).float(), states


def features(body: nn.Module, obs: Tensor) -> Tensor:
    """The features (n, time, width) of observations (n, time, *shape)."""
    return body(obs.flatten(0, 1)).unflatten(0, obs.shape[:2])
