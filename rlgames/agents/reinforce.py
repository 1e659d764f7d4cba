"""REINFORCE: the Monte-Carlo policy gradient (Williams 1992), with what Karpathy 2016, "Pong from Pixels", adds to it.

    grad J = E[ sum_t grad log pi(a_t|s_t) (R_t - b(s_t)) ],   R_t = r_t + gamma R_{t+1}

Options: R restarts at each nonzero reward (in Pong each point is a game of its own), returns are normalized over the
batch or over each episode, and a value baseline b, from which truncated episodes are bootstrapped too.

Every update learns from the same number of whole episodes of each environment, all started under the current policy;
then all environments start new episodes. Taking whichever episodes end first would favor short ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rlgames.agents.base import Agent, Update
from rlgames.agents.config import NetArch, linear_schedule
from rlgames.experience.env_runner import EnvRunner, Step
from rlgames.networks.models import ACTIVATIONS, ActorCritic, EncoderName, sample_actions
from rlgames.networks.optimizers import clip_gradients, make_optimizer
from rlgames.networks.precision import PrecisionName, choose_precision
from rlgames.values import Count, NonNegative, Norm, UnitInterval, check_fields

USUAL_BATCH = 1024  # transitions: how many a batch of whole episodes has is not known before
SLICE = 4096  # transitions whose gradients are computed at once; their sum over the batch does not depend on it
SCALARS = ("train/policy_gradient_loss", "train/value_loss", "train/entropy_loss", "train/grad_norm")


@dataclass(frozen=True)
class REINFORCEConfig:
    n_episodes: Count = 16  # An update learns from so many episodes, rounded up to as many for each environment.
    optimizer: Literal["adam", "rmsprop", "rmsprop-graves"] = "adam"  # This optimizer takes the gradient steps.
    learning_rate: NonNegative = 1e-3  # Training starts with this learning rate.
    final_learning_rate: NonNegative | None = None  # It goes linearly to this at the end; None keeps it constant.
    gamma: UnitInterval = 0.99  # Rewards are discounted by this factor a step.
    reset_on_reward: bool = False  # The return restarts at each reward that is not 0.
    normalize_returns: Literal["batch", "episode", "none"] = "batch"  # Returns or advantages get mean 0, std 1 in each.
    baseline: bool = False  # A learned value of the state is subtracted from the return.
    vf_coef: NonNegative = 0.5  # The baseline's squared error has this coefficient in the loss.
    ent_coef: NonNegative = 0.0  # The entropy bonus has this coefficient in the loss.
    max_grad_norm: Norm | None = 0.5  # Gradients are clipped to this norm, apart if policy and value share no net.
    encoder: EncoderName = "auto"  # This encoder turns observations into features; auto chooses by their shape.
    net_arch: NetArch = None  # Layers of these many units follow it; None: 64 and 64 for vectors, none for pictures.
    activation: Literal["tanh", "relu"] = "tanh"  # This follows each of those layers.
    precision: PrecisionName = "auto"  # Networks compute in this precision; auto is bfloat16 where that is faster.

    def __post_init__(self) -> None:
        check_fields(self)


class EpisodeBatch(NamedTuple):
    """Transitions of whole episodes."""

    obs: np.ndarray
    actions: np.ndarray
    returns: np.ndarray
    episode: np.ndarray  # number that tells episodes apart


class REINFORCE(Agent[REINFORCEConfig]):
    """See the module's docstring; one yielded `Update` is one batch of episodes."""

    name, Config = "reinforce", REINFORCEConfig
    saved_attributes = ("net", "optimizer", "runner", "rng")
    net: ActorCritic

    def build(self) -> None:
        c = self.config
        self.net = ActorCritic(
            *(self.observation_space, int(self.action_space.n), c.encoder, c.net_arch, ACTIVATIONS[c.activation])
        ).to(self.device)
        self.precision = choose_precision(c.precision, c.encoder, self.observation_space, self.device)
        self.optimizer = make_optimizer(c.optimizer, self.net.parameters(), c.learning_rate)

    def train(self, total_timesteps: int) -> Iterator[Update]:
        runner = self.start_training()
        while self.step < total_timesteps:
            progress = self.step / total_timesteps
            batch = self.collect_episodes(runner)
            yield Update(self.step, self.train_on_batch(batch, progress), runner.take_episodes())

    def largest_batch(self) -> int:
        return max(USUAL_BATCH, super().largest_batch())

    def collect_episodes(self, runner: EnvRunner) -> EpisodeBatch:
        """Play whole episodes, the same number in each environment."""
        runner.restart_episodes()
        missing = np.full(runner.num_envs, -(-self.config.n_episodes // runner.num_envs))  # episodes to end in each
        steps, masks, episodes = [], [], []
        while missing.any():
            step = runner.step(sample_actions(self.logits(runner.obs), self.rng))
            self.step += runner.num_envs
            steps.append(step)
            masks.append((missing > 0) & step.valid)
            episodes.append(missing * runner.num_envs + np.arange(runner.num_envs))
            missing = missing - (masks[-1] & step.done)
        returns, taken = self.compute_returns(steps), np.stack(masks)
        obs = np.concatenate([step.obs[mask] for step, mask in zip(steps, masks, strict=True)])
        actions = np.stack([step.action for step in steps])
        return EpisodeBatch(obs, actions[taken], returns[taken], np.stack(episodes)[taken])

    def compute_returns(self, steps: list[Step]) -> np.ndarray:
        """Return the discounted returns [time, env], float32, computed from the last step backwards."""
        c = self.config
        returns = np.empty((len(steps), len(steps[0].reward)), np.float32)
        total = np.zeros(returns.shape[1], np.float32)
        for t in range(len(steps) - 1, -1, -1):
            step = steps[t]
            total[step.done] = 0.0
            truncated = step.done & ~step.terminated
            if c.baseline and truncated.any():
                total[truncated] = self.values(step.next_obs[truncated])
            if c.reset_on_reward:
                total[step.reward != 0] = 0.0
            total = step.reward + c.gamma * total
            returns[t] = total
        return returns

    def train_on_batch(self, batch: EpisodeBatch, progress: float) -> dict[str, Tensor]:
        """Take one gradient step on the whole batch, in slices; return scalars."""
        c = self.config
        learning_rate = linear_schedule(c.learning_rate, c.final_learning_rate, progress)
        self.optimizer.param_groups[0]["lr"] = learning_rate
        advantages = batch.returns - self.values(batch.obs) if c.baseline else batch.returns
        if c.normalize_returns != "none":
            groups = batch.episode if c.normalize_returns == "episode" else np.zeros_like(batch.episode)
            advantages = normalize(advantages, groups)
        columns = [self.tensor(x) for x in (batch.obs, batch.actions, advantages, batch.returns)]
        self.optimizer.zero_grad()
        slices = zip(*(x.split(SLICE) for x in columns), strict=True)
        results = [self.add_gradients(*each, count=len(batch.obs)) for each in slices]
        norms = clip_gradients(self.net.parameter_groups(), c.max_grad_norm)
        self.optimizer.step()
        scalars = dict(zip(SCALARS, (*torch.stack(results).sum(0), norms[0]), strict=True))
        return scalars | {"train/learning_rate": torch.tensor(learning_rate)}

    def add_gradients(self, obs: Tensor, actions: Tensor, advantages: Tensor, returns: Tensor, *, count: int) -> Tensor:
        """Add the gradients of a slice of a batch of `count` transitions; return its part of SCALARS but the norm."""
        c = self.config
        with self.precision.autocast():
            logits, values = self.net(obs)
        log_pi = F.log_softmax(logits, 1)
        policy_loss = -(log_pi.gather(1, actions[:, None])[:, 0] * advantages).sum() / count
        entropy = -(log_pi.exp() * log_pi).sum() / count
        value_loss = (values - returns).square().sum() / count
        (policy_loss + (c.vf_coef * value_loss if c.baseline else 0.0) - c.ent_coef * entropy).backward()
        return torch.stack((policy_loss, value_loss, -entropy)).detach()

    @torch.no_grad()
    def values(self, obs: np.ndarray) -> np.ndarray:
        """Return the values (n,) of observations (n, *shape)."""
        with self.precision.autocast():
            return np.concatenate([self.net(each)[1].cpu().numpy() for each in self.tensor(obs).split(SLICE)])

    @torch.no_grad()
    def logits(self, obs: np.ndarray) -> np.ndarray:
        """Return the action logits (n, actions) of observations (n, *shape)."""
        with self.precision.autocast():
            return self.net.logits(self.tensor(obs)).cpu().numpy()

    def act(
        self, obs: np.ndarray, state: Any, episode_start: np.ndarray, deterministic: bool
    ) -> tuple[np.ndarray, Any]:
        logits = self.logits(obs)
        return (logits.argmax(1) if deterministic else sample_actions(logits, self.predict_rng)), None


def normalize(x: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Return `x` (n,) with mean 0 and standard deviation 1 in each `group` (n,), float32."""
    member = np.unique(group, return_inverse=True)[1]
    count = np.bincount(member)
    centered = x - (np.bincount(member, x) / count)[member]
    std = np.sqrt(np.bincount(member, centered**2) / count)
    return (centered / (std[member] + 1e-8)).astype(np.float32)
