"""Random: the baseline. Every action is drawn uniformly, independent of the observation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from rlgames.agents.base import Agent, Update
from rlgames.values import Count, check_fields


@dataclass(frozen=True)
class RandomConfig:
    n_steps: Count = 128  # Each environment takes this many steps between two updates.

    def __post_init__(self) -> None:
        check_fields(self)


class Random(Agent[RandomConfig]):
    """Learns nothing; `deterministic` makes no difference."""

    name, Config = "random", RandomConfig

    def build(self) -> None:
        self.net = nn.Module()

    def train(self, total_timesteps: int) -> Iterator[Update]:
        runner = self.start_training()
        while self.step < total_timesteps:
            for _ in range(self.config.n_steps):
                runner.step(self.rng.integers(self.action_space.n, size=runner.num_envs))
            self.step += self.config.n_steps * runner.num_envs
            yield Update(self.step, {}, runner.take_episodes())

    def act(
        self, obs: np.ndarray, state: Any, episode_start: np.ndarray, deterministic: bool
    ) -> tuple[np.ndarray, Any]:
        return self.predict_rng.integers(self.action_space.n, size=len(obs)), None
