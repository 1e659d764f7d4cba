"""Random: the baseline. Every action is drawn uniformly, whatever is seen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from rlgames.agents.base import Agent, Update


@dataclass(frozen=True)
class RandomConfig:
    horizon: int = 128  # steps of each player between two reports


class Random(Agent[RandomConfig]):
    """Learns nothing; "deterministic" makes no difference to it."""

    name, Config = "random", RandomConfig

    def build(self) -> None:
        self.net = nn.Module()

    def train(self, total_timesteps: int) -> Iterator[Update]:
        player = self.playing()
        while self.step < total_timesteps:
            for _ in range(self.config.horizon):
                player.step(self.rng.integers(self.action_space.n, size=player.n))
            self.step += self.config.horizon * player.n
            yield Update(self.step, {}, player.scores())

    def act(
        self, obs: np.ndarray, state: Any, episode_start: np.ndarray, deterministic: bool
    ) -> tuple[np.ndarray, Any]:
        return self.dice.integers(self.action_space.n, size=len(obs)), None
