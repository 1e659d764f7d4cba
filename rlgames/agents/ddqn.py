"""DDQN: double Q-learning with deep networks (van Hasselt et al. 2016)."""

from __future__ import annotations

from torch import Tensor

from rlgames.agents.dqn import DQN, DQNConfig


class DDQN(DQN):
    """DQN whose target does not flatter itself: one network chooses the action, the other values it."""

    name, Config = "ddqn", DQNConfig

    def best(self, *seen: Tensor) -> Tensor:
        """The target network's value of the action that the online network prefers."""
        return self.target(*seen).gather(-1, self.net(*seen).argmax(-1, keepdim=True))[..., 0]
