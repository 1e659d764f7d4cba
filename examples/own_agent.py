"""An agent of your own: the cross-entropy method (Rubinstein 1999), which solves CartPole in seconds.

Run: python examples/own_agent.py, or the whole command line: python examples/own_agent.py train cross-entropy CartPole
"""

import sys
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

import rlgames
from rlgames.agents.base import Agent, Update
from rlgames.cli import main as cli


@dataclass(frozen=True)
class CrossEntropyConfig:
    elite: float = 0.2  # share of the players from whom the next generation is drawn
    noise: float = 0.1  # added to the deviation, so that the search goes on


@rlgames.register_agent
class CrossEntropy(Agent[CrossEntropyConfig]):
    """Cross-entropy method: players try weights of their own, the best decide what is tried next."""

    name, Config = "cross-entropy", CrossEntropyConfig
    parts = ("net", "player", "rng")  # what `save` writes, besides `step`

    def build(self):
        shape = (int(np.prod(self.observation_space.shape)), int(self.action_space.n))
        self.net = nn.ParameterDict({"mean": torch.zeros(shape), "std": torch.ones(shape)}).requires_grad_(False)

    def train(self, total_timesteps):
        player, mean, std = self.playing(), self.net["mean"], self.net["std"]
        while self.step < total_timesteps:
            player.restart()
            weights = self.rng.normal(mean, std, (player.n, *mean.shape))
            returns, playing = np.zeros(player.n), np.ones(player.n, bool)
            while playing.any():
                step = player.step(np.einsum("no,noa->na", player.obs.reshape(player.n, -1), weights).argmax(1))
                returns, playing, self.step = (
                    returns + playing * step.reward,
                    playing & ~step.done,
                    self.step + player.n,
                )
            best = weights[np.argsort(returns)[-max(1, int(self.config.elite * player.n)) :]]
            mean.copy_(torch.from_numpy(best.mean(0)))
            std.copy_(torch.from_numpy(best.std(0) + self.config.noise))
            yield Update(self.step, {"deviation": std.mean()}, player.scores())

    def act(self, obs, state, episode_start, deterministic):
        return (obs.reshape(len(obs), -1) @ self.net["mean"].numpy()).argmax(1), state


def main(steps: int = 300_000) -> float:
    agent = CrossEntropy("CartPole", seed=0, num_envs=32).learn(steps, progress_bar=True)
    print(result := rlgames.evaluate(agent))
    return result.mean


if __name__ == "__main__":
    sys.exit(cli.main()) if sys.argv[1:] else main()
