"""PPO: proximal policy optimisation with the clipped objective (Schulman et al. 2017) and GAE (Schulman et al. 2016).

    L = E[ min(r A, clip(r, 1 - e, 1 + e) A) ] - c_v E[(V - R)^2] + c_H E[H(pi)],   r = pi(a|s) / pi_old(a|s)

A step of play costs one forward pass. Where policy and value share a network it gives both; where they do not, the
value's is asked once, about the whole rollout.

A pass may take part of the rollout by importance (`sample`): what happened as expected teaches next to nothing, and in
a game of rare accidents that is nearly everything.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rlgames.agents.base import Agent, Update
from rlgames.agents.config import at_least_one, linear, one_of, share_of_one
from rlgames.experience.rollout import Rollout, Rows, Seen, gae
from rlgames.networks.models import ActorCritic, drawn
from rlgames.networks.optimizers import clipped
from rlgames.networks.precision import PRECISIONS, arithmetic
from rlgames.networks.recurrent import RecurrentActorCritic
from rlgames.networks.threads import Shares

PASS = 1024  # observations valued at once after a rollout
SCALARS = ("policy_loss", "value_loss", "entropy", "kl", "clipped", "policy_norm", "value_norm")


@dataclass(frozen=True)
class PPOConfig:
    horizon: int = 128  # steps of each player between two updates
    epochs: int = 4  # passes over the rollout
    minibatches: int = 4  # gradient steps a pass
    sample: float = 1.0  # share of the rollout that a pass takes; below 1 by importance, large advantages oftener
    learning_rate: float = 2.5e-4  # Adam, epsilon 1e-5
    final_learning_rate: float = 0.0  # reached in a straight line at the end of training
    clip: float = 0.2  # of the probability ratio
    final_clip: float | None = None  # None: constant
    gamma: float = 0.99  # discount
    gae_lambda: float = 0.95
    entropy: float = 0.01  # coefficient of the entropy bonus
    final_entropy: float | None = None  # None: constant
    value: float = 0.5  # coefficient of the squared value error
    value_clip: float | None = None  # largest change of a value in one update; None: no limit
    target_kl: float | None = None  # stop the passes once the mean KL from the old policy exceeds this
    max_norm: float | None = 0.5  # of the gradient; policy and value apart if they share no network; None: no limit
    normalise_advantage: bool = True  # to mean 0 and deviation 1 over the rollout
    encoder: str = "auto"  # vector, grid, cave, nips, mario, nature; auto: by the observation's shape
    hidden: tuple[int, ...] = (64, 64)  # layers of the vector encoder
    precision: str = "auto"  # of the networks' arithmetic: float32, bfloat16; auto: bfloat16 where that is faster
    recurrent: bool = False  # a memory between encoder and heads; the policy and the value then share one network
    memory: int = 128  # units of it
    threads: int = 1  # that share each minibatch on a CPU; above 1, torch has one thread in each while an update lasts

    def __post_init__(self) -> None:
        at_least_one(self, "horizon", "epochs", "minibatches", "memory", "threads")
        if not 0 < self.sample <= 1:
            raise ValueError(f"expected sample above 0 and up to 1, got {self.sample}")
        share_of_one(self, "gamma", "gae_lambda")
        one_of(self, "precision", PRECISIONS)


class Now(NamedTuple):
    """What the schedules have come to."""

    clip: float
    entropy: float


class PPO(Agent[PPOConfig]):
    """See the module's docstring; one yielded `Update` is one rollout and the passes over it."""

    name, Config = "ppo", PPOConfig
    parts = ("net", "optimiser", "player", "memory", "rng")

    def build(self) -> None:
        c = self.config
        shape = self.observation_space, int(self.action_space.n), c.encoder, c.hidden
        net = RecurrentActorCritic(*shape, c.memory) if c.recurrent else ActorCritic(*shape)
        self.net = net.to(self.device)
        self.arithmetic = arithmetic(c.precision, c.encoder, self.observation_space, self.device)
        self.memory: np.ndarray | None = None  # what the players remember, (n, 2 * units)
        self.optimiser = torch.optim.Adam(self.net.parameters(), c.learning_rate, eps=1e-5, fused=True)
        self.groups = self.net.parameter_groups()
        self.shares = Shares(c.threads if self.device.type == "cpu" else 1)

    def train(self, total_timesteps: int) -> Iterator[Update]:
        c, player = self.config, self.playing()
        rollout = Rollout(c.horizon, player.n, self.observation_space, int(self.action_space.n))
        while self.step < total_timesteps:
            progress = self.step / total_timesteps
            with self.shares.torch_threads():
                before, rollout.start[0] = self.memory, player.start
                net = self.arithmetic.rounded(self.net)
                for t in range(c.horizon):
                    seen = self.see(player.obs, self.memory, player.start, net)
                    rollout.put(t, player.step(drawn(seen.logits, self.rng)), seen)
                    self.memory = seen.memory
                scalars = self.learn_from(rollout, progress, before)
            self.step += c.horizon * player.n
            yield Update(self.step, scalars, player.scores())

    def learn_from(self, rollout: Rollout, progress: float, memory: np.ndarray | None = None) -> dict[str, Tensor]:
        """The passes over one rollout, which began with `memory`; returns the means over their minibatches."""
        c = self.config
        self.optimiser.param_groups[0]["lr"] = linear(c.learning_rate, c.final_learning_rate, progress)
        now = Now(
            linear(c.clip, c.clip if c.final_clip is None else c.final_clip, progress),
            linear(c.entropy, c.entropy if c.final_entropy is None else c.final_entropy, progress),
        )
        if not rollout.real.any():  # every step was spent on restarting
            return {}
        rows, results = self.judge(rollout, memory), []
        for _ in range(c.epochs):
            results += [self.improve(few, now) for few in rows.minibatches(c.minibatches, c.sample, self.rng)]
            if c.target_kl is not None and results[-1][SCALARS.index("kl")] > c.target_kl:
                break
        return dict(zip(SCALARS, torch.stack(results).mean(0), strict=True))

    def judge(self, rollout: Rollout, memory: np.ndarray | None = None) -> Rows:
        """What `improve` takes, of all that was played from `memory` on."""
        c, real = self.config, rollout.real
        value, after = self.values(rollout)
        advantage = gae(rollout.reward, value, after, rollout.terminated, rollout.done, c.gamma, c.gae_lambda)
        goal, counted = advantage + value, advantage[real]
        if c.normalise_advantage and len(counted) > 1:
            advantage = (advantage - counted.mean()) / (counted.std(ddof=1) + 1e-8)
        action = self.tensor(rollout.action)
        logp = F.log_softmax(self.tensor(rollout.logits), -1).gather(-1, action[..., None])[..., 0]
        value, advantage, goal, weight = (self.tensor(x) for x in (value, advantage, goal, real.astype(np.float32)))
        rows = Rows(self.tensor(rollout.obs[:-1]), action, logp, value, advantage, goal, weight)
        if c.recurrent:
            start = self.tensor(rollout.start[:-1]).T
            states = self.net.memory.states(memory, len(start))
            return rows.map(lambda x: x.transpose(0, 1))._replace(memory=(states, start))
        rows, kept = rows.map(lambda x: x.flatten(0, 1)), self.tensor(real).flatten()
        return rows if real.all() else rows.map(lambda x: x[kept])

    def values(self, rollout: Rollout) -> tuple[np.ndarray, np.ndarray]:
        """Of what was seen and of what each step led to, both (time, player)."""
        if self.net.critic is not None:  # not seen while playing
            rollout.value[:] = self.valued(np.concatenate(rollout.obs[:-1])).reshape(rollout.value.shape)
        after = np.concatenate((rollout.value[1:], rollout.value[-1:]))
        ends = [(-1, np.arange(after.shape[1]), rollout.obs[-1], self.memory), *rollout.cut]
        last = self.valued(
            np.concatenate([obs for _, _, obs, _ in ends]),
            np.concatenate([state for *_, state in ends]) if self.config.recurrent else None,
        )
        for t, players, obs, _ in ends:
            after[t, players], last = last[: len(obs)], last[len(obs) :]
        return rollout.value, after

    def improve(self, rows: Rows, now: Now) -> Tensor:
        """One gradient step on one minibatch, its shares computed side by side; returns SCALARS."""
        total, shares = max(float(rows.weight.sum()), 1e-8), rows.shares(self.shares.count)
        means = self.shares.gradients(self.net, lambda share: self.gradients(share, now, total), shares)
        norms = clipped(self.groups, self.config.max_norm)
        self.optimiser.step()
        return torch.cat((sum(means[1:], means[0]), torch.stack((norms[0], norms[-1]))))

    def gradients(self, rows: Rows, now: Now, total: float) -> tuple[tuple[Tensor, ...], Tensor]:
        """What rows add to the gradients of the loss over a minibatch of `total` weight, and to the first SCALARS."""

        def mean(x: Tensor) -> Tensor:
            return (x * rows.weight).sum() / total

        c = self.config
        logits, value = self.forward(rows.obs, *rows.memory)[:2]
        log_pi = F.log_softmax(logits, -1)
        log_ratio = log_pi.gather(-1, rows.action[..., None])[..., 0] - rows.logp
        ratio = log_ratio.exp()
        policy_loss = -mean(torch.min(ratio * rows.advantage, ratio.clamp(1 - now.clip, 1 + now.clip) * rows.advantage))
        error = (value - rows.goal).square()
        if c.value_clip is not None:
            held = rows.value + (value - rows.value).clamp(-c.value_clip, c.value_clip)
            error = torch.max(error, (held - rows.goal).square())
        value_loss, entropy = mean(error), -mean((log_pi.exp() * log_pi).sum(-1))
        loss = policy_loss + c.value * value_loss - now.entropy * entropy
        gradients = torch.autograd.grad(loss, list(self.net.parameters()))
        with torch.no_grad():
            kl, clipped = mean(ratio - 1 - log_ratio), mean(((ratio - 1).abs() > now.clip).float())
            return gradients, torch.stack((policy_loss, value_loss, entropy, kl, clipped))

    def forward(self, obs: Tensor, *memory: Tensor) -> tuple[Tensor, ...]:
        """Logits, values and, from a network that remembers, its states."""
        with self.arithmetic():
            return self.net(obs, *memory)

    @torch.no_grad()
    def see(
        self, obs: np.ndarray, memory: np.ndarray | None = None, start: np.ndarray | None = None, net: Any = None
    ) -> Seen:
        """What the policy, or a `net`, makes of one observation a player (n, *shape), given what they remember."""
        net = self.net if net is None else net
        columns = self.inputs(obs, memory, np.ones(len(obs), np.bool_) if start is None else start)
        parts = zip(*(x.chunk(self.shares.count) for x in columns), strict=True)
        results = self.shares.map(torch.no_grad()(lambda part: self.look(net, *part)), parts)
        return Seen(*(torch.cat(x).cpu().numpy() for x in zip(*results, strict=True)))

    def look(self, net: Any, obs: Tensor, *memory: Tensor) -> tuple[Tensor, ...]:
        """As much of a `Seen` as one forward pass gives."""
        with self.arithmetic():
            if memory:
                return tuple(x[:, 0] for x in net(obs[:, None], memory[0], memory[1][:, None]))
            return net(obs) if net.critic is None else (net.logits(obs),)

    @torch.no_grad()
    def valued(self, obs: np.ndarray, memory: np.ndarray | None = None) -> np.ndarray:
        """The values (n,) of observations (n, *shape) that follow what is remembered."""
        passes = zip(*(x.split(PASS) for x in self.inputs(obs, memory, np.zeros(len(obs), np.bool_))), strict=True)
        return torch.cat(self.shares.map(torch.no_grad()(lambda part: self.value(*part)), passes)).cpu().numpy()

    def value(self, obs: Tensor, *memory: Tensor) -> Tensor:
        with self.arithmetic():
            return self.look(self.net, obs, *memory)[1] if self.net.critic is None else self.net.values(obs)

    def inputs(self, obs: np.ndarray, memory: np.ndarray | None, start: np.ndarray) -> tuple[Tensor, ...]:
        """What the network takes, a row a player."""
        if not self.config.recurrent:
            return (self.tensor(obs),)
        return self.tensor(obs), self.net.memory.states(memory, len(obs)), self.tensor(start)

    def act(
        self, obs: np.ndarray, state: Any, episode_start: np.ndarray, deterministic: bool
    ) -> tuple[np.ndarray, Any]:
        seen = self.see(obs, state, episode_start)
        return (seen.logits.argmax(1) if deterministic else drawn(seen.logits, self.dice)), seen.memory
