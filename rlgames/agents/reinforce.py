"""REINFORCE: the Monte-Carlo policy gradient (Williams 1992), with what the Pong tutorials add to it.

    grad J = E[ sum_t grad log pi(a_t|s_t) (R_t - b(s_t)) ],   R_t = r_t + gamma R_{t+1}

Options: R starts anew at each reward that is not 0 (Pong: each point is a game of its own), returns are standardised
over the batch or over each episode, and a value baseline b, from which episodes that ran out of time are bootstrapped
too.

Every update learns from the same number of whole episodes of each player, all begun under the current policy, and then
all players start anew: taking whichever episodes end first would favour short ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rlgames.agents.base import Agent, Update
from rlgames.agents.config import at_least_one, linear, one_of, share_of_one
from rlgames.experience.env_runner import Player
from rlgames.networks.models import BENDS, ActorCritic, drawn
from rlgames.networks.optimizers import clipped, optimiser
from rlgames.networks.precision import PRECISIONS, arithmetic

PART = 4096  # transitions whose gradients are computed at once; the sum over the batch does not depend on it
STANDARDISE = ("batch", "episode", "none")
SCALARS = ("policy_loss", "value_loss", "entropy", "norm")


@dataclass(frozen=True)
class REINFORCEConfig:
    episodes: int = 16  # an update, rounded up to the same number for each player
    optimiser: str = "adam"  # adam, rmsprop, rmsprop-graves
    learning_rate: float = 1e-3
    final_learning_rate: float | None = None  # reached in a straight line at the end of training; None: constant
    gamma: float = 0.99  # discount
    reset_on_reward: bool = False  # the return starts anew at each reward that is not 0
    standardise: str = "batch"  # returns, or advantages with a baseline, to mean 0, deviation 1; batch, episode, none
    baseline: bool = False  # a learnt value of the state is subtracted
    value: float = 0.5  # coefficient of the baseline's squared error
    entropy: float = 0.0  # coefficient of the entropy bonus
    max_norm: float | None = 0.5  # of the gradient, policy and value apart where they share nothing; None: no limit
    encoder: str = "auto"  # vector, grid, cave, nips, mario, nature; auto: by the observation's shape
    hidden: tuple[int, ...] = (64, 64)  # layers of the vector encoder
    activation: str = "tanh"  # after each of them; tanh, relu
    precision: str = "auto"  # of the networks' arithmetic: float32, bfloat16; auto: bfloat16 where that is faster

    def __post_init__(self) -> None:
        one_of(self, "standardise", STANDARDISE)
        one_of(self, "activation", BENDS)
        one_of(self, "precision", PRECISIONS)
        at_least_one(self, "episodes")
        share_of_one(self, "gamma")


class REINFORCE(Agent[REINFORCEConfig]):
    """See the module's docstring; one yielded `Update` is one batch of episodes."""

    name, Config = "reinforce", REINFORCEConfig
    parts = ("net", "optimiser", "player", "rng")
    net: ActorCritic

    def build(self) -> None:
        c = self.config
        shape = (self.observation_space, int(self.action_space.n), c.encoder, c.hidden, BENDS[c.activation])
        self.net = ActorCritic(*shape).to(self.device)
        self.arithmetic = arithmetic(c.precision, c.encoder, self.observation_space, self.device)
        self.optimiser = optimiser(c.optimiser, self.net.parameters(), c.learning_rate)

    def train(self, total_timesteps: int) -> Iterator[Update]:
        player = self.playing()
        while self.step < total_timesteps:
            progress = self.step / total_timesteps
            batch = self.play(player)
            yield Update(self.step, self.improve(*batch, progress), player.scores())

    def play(self, player: Player) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """(obs, action, return, episode) of the transitions of whole episodes, the same number from each player."""
        player.restart()
        left = np.full(player.n, -(-self.config.episodes // player.n))  # episodes that each player still owes
        steps, active, owed = [], [], []
        while left.any():
            step = player.step(drawn(self.logits(player.obs), self.rng))
            self.step += player.n
            steps.append(step)
            active.append((left > 0) & step.real)
            owed.append(left * player.n + np.arange(player.n))  # tells episodes apart
            left = left - (active[-1] & step.done)
        returns = self.returns(steps)
        mask = np.stack(active)
        obs = np.concatenate([step.obs[rows] for step, rows in zip(steps, active, strict=True)])
        return obs, np.stack([step.action for step in steps])[mask], returns[mask], np.stack(owed)[mask]

    def returns(self, steps: list) -> np.ndarray:
        """(time, player) float32, from the last step backwards."""
        c = self.config
        result = np.empty((len(steps), len(steps[0].reward)), np.float32)
        total = np.zeros(result.shape[1], np.float32)
        for t in range(len(steps) - 1, -1, -1):
            step = steps[t]
            total[step.done] = 0.0
            late = step.done & ~step.terminated
            if c.baseline and late.any():
                total[late] = self.values(step.after[late])
            if c.reset_on_reward:
                total[step.reward != 0] = 0.0
            total = step.reward + c.gamma * total
            result[t] = total
        return result

    def improve(
        self, obs: np.ndarray, action: np.ndarray, returns: np.ndarray, episode: np.ndarray, progress: float
    ) -> dict[str, Tensor]:
        """One gradient step on the whole batch, in parts; returns SCALARS."""
        c = self.config
        if c.final_learning_rate is not None:
            self.optimiser.param_groups[0]["lr"] = linear(c.learning_rate, c.final_learning_rate, progress)
        advantage = returns - self.values(obs) if c.baseline else returns
        if c.standardise != "none":
            advantage = standardised(advantage, episode if c.standardise == "episode" else np.zeros_like(episode))
        columns = [self.tensor(x) for x in (obs, action, advantage, returns)]
        self.optimiser.zero_grad()
        parts = zip(*(x.split(PART) for x in columns), strict=True)
        rows = [self.gradient(*part, count=len(obs)) for part in parts]
        norms = clipped(self.net.parameter_groups(), c.max_norm)
        self.optimiser.step()
        return dict(zip(SCALARS, (*torch.stack(rows).sum(0), norms[0]), strict=True))

    def gradient(self, obs: Tensor, action: Tensor, advantage: Tensor, returns: Tensor, *, count: int) -> Tensor:
        """Add a part's share of the mean loss over `count` transitions to the gradients."""
        c = self.config
        with self.arithmetic():
            logits, value = self.net(obs)
        log_pi = F.log_softmax(logits, 1)
        policy_loss = -(log_pi.gather(1, action[:, None])[:, 0] * advantage).sum() / count
        entropy = -(log_pi.exp() * log_pi).sum() / count
        value_loss = (value - returns).square().sum() / count
        (policy_loss + (c.value * value_loss if c.baseline else 0.0) - c.entropy * entropy).backward()
        return torch.stack((policy_loss, value_loss, entropy)).detach()

    @torch.no_grad()
    def values(self, obs: np.ndarray) -> np.ndarray:
        with self.arithmetic():
            return np.concatenate([self.net(part)[1].cpu().numpy() for part in self.tensor(obs).split(PART)])

    @torch.no_grad()
    def logits(self, obs: np.ndarray) -> np.ndarray:
        """(n, actions) of observations (n, *shape)."""
        with self.arithmetic():
            return self.net.logits(self.tensor(obs)).cpu().numpy()

    def act(
        self, obs: np.ndarray, state: Any, episode_start: np.ndarray, deterministic: bool
    ) -> tuple[np.ndarray, Any]:
        logits = self.logits(obs)
        return (logits.argmax(1) if deterministic else drawn(logits, self.dice)), None


def standardised(x: np.ndarray, group: np.ndarray) -> np.ndarray:
    """`x` (n,) less the mean and over the standard deviation of its own `group` (n,)."""
    member = np.unique(group, return_inverse=True)[1]
    count = np.bincount(member)
    centred = x - (np.bincount(member, x) / count)[member]
    deviation = np.sqrt(np.bincount(member, centred**2) / count)
    return (centred / (deviation[member] + 1e-8)).astype(np.float32)
