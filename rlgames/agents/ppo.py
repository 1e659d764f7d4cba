"""PPO: proximal policy optimisation with the clipped objective (Schulman et al. 2017) and GAE (Schulman et al. 2016).

    L = E[ min(r A, clip(r, 1 - e, 1 + e) A) ] - c_v E[(V - R)^2] + c_H E[H(pi)],   r = pi(a|s) / pi_old(a|s)

Old probabilities and values come from one pass over the rollout after it was played, so a step of play costs one
forward pass of the policy alone.
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
from rlgames.agents.networks import ActorCritic
from rlgames.agents.rollout import Rollout, gae
from rlgames.agents.schedules import linear
from rlgames.agents.shares import Shares

PASS = 1024  # observations valued at once after a rollout
SCALARS = ("policy_loss", "value_loss", "entropy", "kl", "clipped", "policy_norm", "value_norm")


@dataclass(frozen=True)
class PPOConfig:
    horizon: int = 128  # steps of each player between two updates
    epochs: int = 4  # passes over the rollout
    minibatches: int = 4  # gradient steps a pass
    learning_rate: float = 2.5e-4  # Adam, epsilon 1e-5
    final_learning_rate: float = 0.0  # reached in a straight line at the end of training
    clip: float = 0.2  # of the probability ratio
    final_clip: float | None = None  # None: constant
    gamma: float = 0.99  # discount
    gae_lambda: float = 0.95
    entropy: float = 0.01  # coefficient of the entropy bonus
    value: float = 0.5  # coefficient of the squared value error
    value_clip: float | None = None  # largest change of a value in one update; None: no limit
    target_kl: float | None = None  # stop the passes once the mean KL from the old policy exceeds this
    max_norm: float = 0.5  # of the gradient; policy and value apart where they have a network each
    normalise_advantage: bool = True  # to mean 0 and deviation 1 in each minibatch
    encoder: str = "auto"  # vector, grid, cave, nature; auto: by the observation's shape
    hidden: tuple[int, ...] = (64, 64)  # layers of the vector encoder
    precision: str = "float32"  # of the networks' arithmetic: float32 or bfloat16
    threads: int = 1  # that share each minibatch on a CPU; above 1, torch has one thread in each while an update lasts

    def __post_init__(self) -> None:
        for name in ("horizon", "epochs", "minibatches", "threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"expected {name} >= 1, got {getattr(self, name)}")
        for name in ("gamma", "gae_lambda"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"expected {name} in 0..1, got {getattr(self, name)}")
        if self.precision not in ("float32", "bfloat16"):
            raise ValueError(f"expected precision float32 or bfloat16, got {self.precision!r}")


class PPO(Agent[PPOConfig]):
    """See the module's docstring; one yielded `Update` is one rollout and the passes over it."""

    name, Config = "ppo", PPOConfig
    parts = ("net", "optimiser", "player", "rng")

    def build(self) -> None:
        c = self.config
        self.net = ActorCritic(self.observation_space, int(self.action_space.n), c.encoder, c.hidden).to(self.device)
        self.optimiser = torch.optim.Adam(self.net.parameters(), c.learning_rate, eps=1e-5, fused=True)
        self.groups = self.net.parameter_groups()
        self.shares = Shares(c.threads if self.device.type == "cpu" else 1)

    def train(self, total_timesteps: int) -> Iterator[Update]:
        c, player = self.config, self.playing()
        rollout = Rollout(c.horizon, player.n, self.observation_space)
        while self.step < total_timesteps:
            progress = self.step / total_timesteps
            with self.shares.torch_threads():
                for t in range(c.horizon):
                    rollout.put(t, player.step(self.sample(player.obs, self.rng)))
                scalars = self.learn_from(rollout, progress)
            self.step += c.horizon * player.n
            yield Update(self.step, scalars, player.scores())

    def learn_from(self, rollout: Rollout, progress: float) -> dict[str, Tensor]:
        """The passes over one rollout; returns the means over their minibatches."""
        c = self.config
        self.optimiser.param_groups[0]["lr"] = linear(c.learning_rate, c.final_learning_rate, progress)
        clip = linear(c.clip, c.clip if c.final_clip is None else c.final_clip, progress)
        obs, action, logp, value, advantage = self.judge(rollout)
        goal, count = advantage + value, len(action)
        if not count:  # every step was spent on restarting
            return {}
        size, rows = -(-count // c.minibatches), []
        for _ in range(c.epochs):
            order = self.tensor(self.rng.permutation(count))
            for at in order.split(size):
                part = (x[at] for x in (obs, action, logp, value, advantage, goal))
                rows.append(self.improve(*part, clip=clip))
            if c.target_kl is not None and rows[-1][SCALARS.index("kl")] > c.target_kl:
                break
        return dict(zip(SCALARS, torch.stack(rows).mean(0), strict=True))

    @torch.no_grad()
    def judge(self, rollout: Rollout) -> tuple[Tensor, ...]:
        """(obs, action, log probability, value, advantage) of the rollout's transitions, one row each."""
        c, shape = self.config, rollout.action.shape
        every, cut = rollout.obs.reshape(-1, *rollout.obs.shape[2:]), [obs for _, _, obs in rollout.cut]
        passes = (self.tensor(every[at : at + PASS]) for at in range(0, len(every), PASS))
        logits, values = zip(*self.shares.map(self.judged, passes), strict=True)
        value = torch.cat(values).cpu().numpy().reshape(-1, shape[1])
        value, after = value[:-1], value[1:].copy()
        if cut:
            last = self.forward(self.tensor(np.concatenate(cut)))[1].cpu().numpy()
            for t, players, obs in rollout.cut:
                after[t, players], last = last[: len(obs)], last[len(obs) :]
        advantage = gae(rollout.reward, value, after, rollout.terminated, rollout.done, c.gamma, c.gae_lambda)
        count = rollout.action.size
        obs = self.tensor(every[:count])
        action, value, advantage = (self.tensor(x.reshape(-1)) for x in (rollout.action, value, advantage))
        logp = F.log_softmax(torch.cat(logits)[:count], 1).gather(1, action[:, None])[:, 0]
        rows = obs, action, logp, value, advantage
        return rows if rollout.real.all() else tuple(x[self.tensor(rollout.real.reshape(-1))] for x in rows)

    def improve(
        self,
        obs: Tensor,
        action: Tensor,
        old_logp: Tensor,
        old_value: Tensor,
        advantage: Tensor,
        goal: Tensor,
        clip: float,
    ) -> Tensor:
        """One gradient step on one minibatch, its shares computed side by side; returns SCALARS."""
        if self.config.normalise_advantage and len(advantage) > 1:
            advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        columns = (obs, action, old_logp, old_value, advantage, goal)
        shares = zip(*(x.chunk(self.shares.count) for x in columns), strict=True)
        results = self.shares.map(lambda share: self.gradients(*share, clip=clip, size=len(obs)), shares)
        for parameter, *gradients in zip(self.net.parameters(), *(each for each, _ in results), strict=True):
            parameter.grad = sum(gradients[1:], gradients[0])
        norms = [torch.nn.utils.clip_grad_norm_(group, self.config.max_norm) for group in self.groups]
        self.optimiser.step()
        means = [scalars for _, scalars in results]
        return torch.cat((sum(means[1:], means[0]), torch.stack((norms[0], norms[-1]))))

    def gradients(
        self,
        obs: Tensor,
        action: Tensor,
        old_logp: Tensor,
        old_value: Tensor,
        advantage: Tensor,
        goal: Tensor,
        *,
        clip: float,
        size: int,
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        """What some rows add to the gradients of the loss over a minibatch of `size`, and to the first of SCALARS."""
        c = self.config
        logits, value = self.forward(obs)
        log_pi = F.log_softmax(logits, 1)
        log_ratio = log_pi.gather(1, action[:, None])[:, 0] - old_logp
        ratio = log_ratio.exp()
        policy_loss = -torch.min(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage).sum() / size
        error = (value - goal).square()
        if c.value_clip is not None:
            held = old_value + (value - old_value).clamp(-c.value_clip, c.value_clip)
            error = torch.max(error, (held - goal).square())
        value_loss, entropy = error.sum() / size, -(log_pi.exp() * log_pi).sum() / size
        loss = policy_loss + c.value * value_loss - c.entropy * entropy
        gradients = torch.autograd.grad(loss, list(self.net.parameters()))
        with torch.no_grad():
            kl, clipped = (ratio - 1 - log_ratio).sum() / size, ((ratio - 1).abs() > clip).sum() / size
            return gradients, torch.stack((policy_loss, value_loss, entropy, kl, clipped))

    @torch.no_grad()
    def judged(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        return self.forward(obs)

    def forward(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16"):
            return self.net(obs)

    @torch.no_grad()
    def logits(self, obs: np.ndarray) -> np.ndarray:
        """(n, actions), of the policy alone."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16"):
            return self.net.logits(self.tensor(obs)).cpu().numpy()

    def sample(self, obs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Actions (n,) drawn from the policy, by the Gumbel-max trick."""
        logits = self.logits(obs)
        return (logits + rng.gumbel(size=logits.shape)).argmax(1)

    def act(
        self, obs: np.ndarray, state: Any, episode_start: np.ndarray, deterministic: bool
    ) -> tuple[np.ndarray, Any]:
        return (self.logits(obs).argmax(1) if deterministic else self.sample(obs, self.dice)), None
