"""An agent of your own: the cross-entropy method (Rubinstein 1999), which solves CartPole in seconds.

python examples/own_agent.py                                 train and evaluate
python examples/own_agent.py train cross-entropy CartPole    the whole command line takes the agent by name
"""

import sys
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

import rlgames
from rlgames.agents.base import Agent, Update
from rlgames.cli.main import main as command_line


@dataclass(frozen=True)
class CrossEntropyConfig:
    elite_fraction: float = 0.2  # part of the samples that the next distribution is fitted to
    noise: float = 0.1  # added to its standard deviation, so that the search goes on


@rlgames.register_agent
class CrossEntropy(Agent[CrossEntropyConfig]):
    """Cross-entropy method: sample a linear policy for each environment, refit the distribution to the best."""

    name, Config = "cross-entropy", CrossEntropyConfig
    saved_attributes = ("net", "runner", "rng")  # what `save` writes, besides `step`

    def build(self):
        shape = (int(np.prod(self.observation_space.shape)), int(self.action_space.n))
        self.net = nn.ParameterDict({"mean": torch.zeros(shape), "std": torch.ones(shape)}).requires_grad_(False)

    def train(self, total_timesteps):
        runner, mean, std = self.start_training(), self.net["mean"], self.net["std"]
        n = runner.num_envs
        while self.step < total_timesteps:
            runner.restart_episodes()
            weights = self.rng.normal(mean, std, (n, *mean.shape))
            returns, running = np.zeros(n), np.ones(n, bool)
            while running.any():  # until the first episode of every environment is over
                logits = np.einsum("no,noa->na", runner.obs.reshape(n, -1), weights)
                step = runner.step(logits.argmax(1))
                returns += running * step.reward
                running &= ~step.done
                self.step += n
            elite = weights[np.argsort(returns)[-max(1, int(self.config.elite_fraction * n)) :]]
            mean.copy_(torch.from_numpy(elite.mean(0)))
            std.copy_(torch.from_numpy(elite.std(0) + self.config.noise))
            yield Update(self.step, {"train/std": std.mean()}, runner.take_episodes())

    def act(self, obs, state, episode_start, deterministic):
        return (obs.reshape(len(obs), -1) @ self.net["mean"].numpy()).argmax(1), state


def main(steps: int = 300_000) -> float:
    agent = CrossEntropy("CartPole", seed=0, num_envs=32).learn(steps, progress_bar=True)
    print(result := rlgames.evaluate(agent))
    return result.mean


if __name__ == "__main__":
    sys.exit(command_line()) if sys.argv[1:] else main()
