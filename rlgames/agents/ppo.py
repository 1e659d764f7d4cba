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
from rlgames.agents.memory import RecurrentActorCritic
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
    recurrent: bool = False  # a memory between encoder and heads; the policy and the value then share one network
    memory: int = 128  # units of it
    threads: int = 1  # that share each minibatch on a CPU; above 1, torch has one thread in each while an update lasts

    def __post_init__(self) -> None:
        for name in ("horizon", "epochs", "minibatches", "memory", "threads"):
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
    parts = ("net", "optimiser", "player", "memory", "rng")

    def build(self) -> None:
        c = self.config
        shape = self.observation_space, int(self.action_space.n), c.encoder, c.hidden
        net = RecurrentActorCritic(*shape, c.memory) if c.recurrent else ActorCritic(*shape)
        self.net = net.to(self.device)
        self.memory: np.ndarray | None = None  # what the players remember, (n, 2 * units)
        self.optimiser = torch.optim.Adam(self.net.parameters(), c.learning_rate, eps=1e-5, fused=True)
        self.groups = self.net.parameter_groups()
        self.shares = Shares(c.threads if self.device.type == "cpu" else 1)

    def train(self, total_timesteps: int) -> Iterator[Update]:
        c, player = self.config, self.playing()
        rollout = Rollout(c.horizon, player.n, self.observation_space)
        while self.step < total_timesteps:
            progress = self.step / total_timesteps
            with self.shares.torch_threads():
                before, rollout.start[0] = self.memory, player.start
                for t in range(c.horizon):
                    logits, self.memory = self.logits(player.obs, self.memory, player.start)
                    rollout.put(t, player.step(drawn(logits, self.rng)))
                scalars = self.learn_from(rollout, progress, before)
            self.step += c.horizon * player.n
            yield Update(self.step, scalars, player.scores())

    def learn_from(self, rollout: Rollout, progress: float, memory: np.ndarray | None = None) -> dict[str, Tensor]:
        """The passes over one rollout; returns the means over their minibatches."""
        c = self.config
        self.optimiser.param_groups[0]["lr"] = linear(c.learning_rate, c.final_learning_rate, progress)
        clip = linear(c.clip, c.clip if c.final_clip is None else c.final_clip, progress)
        if not rollout.real.any():  # every step was spent on restarting
            return {}
        rows, results = self.judge(rollout, memory), []
        size = -(-len(rows[0]) // c.minibatches)
        for _ in range(c.epochs):
            order = self.tensor(self.rng.permutation(len(rows[0])))
            for at in order.split(size):
                results += [self.improve(*(x[at] for x in rows), clip=clip)]
            if c.target_kl is not None and results[-1][SCALARS.index("kl")] > c.target_kl:
                break
        return dict(zip(SCALARS, torch.stack(results).mean(0), strict=True))

    @torch.no_grad()
    def judge(self, rollout: Rollout, memory: np.ndarray | None = None) -> tuple[Tensor, ...]:
        """What `improve` takes, of all that was played from `memory` on.

        A row is a transition or, for a recurrent policy, all that one player did, in order.
        """
        c = self.config
        logits, value, after = (self.recalled if c.recurrent else self.judged)(rollout, memory)
        advantage = gae(rollout.reward, value[:-1], after, rollout.terminated, rollout.done, c.gamma, c.gae_lambda)
        action = self.tensor(rollout.action)
        logp = F.log_softmax(logits[:-1], -1).gather(-1, action[..., None])[..., 0]
        value, advantage, real = (self.tensor(x) for x in (value[:-1], advantage, rollout.real))
        columns = self.tensor(rollout.obs[:-1]), action, logp, value, advantage, advantage + value
        if c.recurrent:
            start = self.tensor(rollout.start[:-1]).T
            return *(x.transpose(0, 1) for x in (*columns, real)), self.remembered(memory, len(start)), start
        rows = tuple(x.flatten(0, 1) for x in columns)
        return rows if rollout.real.all() else tuple(x[real.flatten()] for x in rows)

    @torch.no_grad()
    def judged(self, rollout: Rollout, memory: np.ndarray | None) -> tuple[Tensor, np.ndarray, np.ndarray]:
        """Logits [time + 1, player, action], values [time + 1, player], and those of what each step led to."""
        every = rollout.obs.reshape(-1, *rollout.obs.shape[2:])
        passes = (self.tensor(every[at : at + PASS]) for at in range(0, len(every), PASS))
        logits, values, _ = zip(*self.shares.map(torch.no_grad()(self.forward), passes), strict=True)
        shape = rollout.obs.shape[:2]
        value = torch.cat(values).cpu().numpy().reshape(shape)
        after = value[1:].copy()
        if rollout.cut:
            last = self.forward(self.tensor(np.concatenate([obs for _, _, obs in rollout.cut])))[1].cpu().numpy()
            for t, players, obs in rollout.cut:
                after[t, players], last = last[: len(obs)], last[len(obs) :]
        return torch.cat(logits).unflatten(0, shape), value, after

    @torch.no_grad()
    def recalled(self, rollout: Rollout, memory: np.ndarray | None) -> tuple[Tensor, np.ndarray, np.ndarray]:
        """As `judged`, by a policy that remembers what each player saw before."""
        obs, start = self.tensor(rollout.obs).transpose(0, 1), self.tensor(rollout.start).T
        columns = obs, self.remembered(memory, len(obs)), start
        shares = zip(*(x.chunk(self.shares.count) for x in columns), strict=True)
        results = self.shares.map(torch.no_grad()(lambda share: self.forward(*share)), shares)
        logits, values, states = (torch.cat(x).transpose(0, 1) for x in zip(*results, strict=True))
        value = values.cpu().numpy()
        after = value[1:].copy()
        for t, players, last in rollout.cut:
            seen, state = self.tensor(last)[:, None], states[t, self.tensor(players)]
            after[t, players] = self.forward(
                seen, state, torch.zeros(len(last), 1, dtype=torch.bool, device=self.device)
            )[1].cpu()[:, 0]
        return logits, value, after

    def improve(
        self,
        obs: Tensor,
        action: Tensor,
        old_logp: Tensor,
        old_value: Tensor,
        advantage: Tensor,
        goal: Tensor,
        real: Tensor | None = None,
        *memory: Tensor,
        clip: float,
    ) -> Tensor:
        """One gradient step on one minibatch, its shares computed side by side; returns SCALARS.

        What is not `real` counts for nothing; `memory` is the state before the rows, and where episodes start.
        """
        counted = advantage if real is None else advantage[real]
        if self.config.normalise_advantage and counted.numel() > 1:
            advantage = (advantage - counted.mean()) / (counted.std() + 1e-8)
        columns = (obs, action, old_logp, old_value, advantage, goal, *(() if real is None else (real, *memory)))
        shares = zip(*(x.chunk(self.shares.count) for x in columns), strict=True)
        results = self.shares.map(lambda share: self.gradients(*share, clip=clip, size=counted.numel()), shares)
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
        real: Tensor | None = None,
        *memory: Tensor,
        clip: float,
        size: int,
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        """What some rows add to the gradients of the loss over a minibatch of `size`, and to the first of SCALARS."""

        def mean(x: Tensor) -> Tensor:
            return (x if real is None else x[real]).sum() / size

        c = self.config
        logits, value, _ = self.forward(obs, *memory)
        log_pi = F.log_softmax(logits, -1)
        log_ratio = log_pi.gather(-1, action[..., None])[..., 0] - old_logp
        ratio = log_ratio.exp()
        policy_loss = -mean(torch.min(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage))
        error = (value - goal).square()
        if c.value_clip is not None:
            held = old_value + (value - old_value).clamp(-c.value_clip, c.value_clip)
            error = torch.max(error, (held - goal).square())
        value_loss, entropy = mean(error), -mean(log_pi.exp() * log_pi)
        loss = policy_loss + c.value * value_loss - c.entropy * entropy
        gradients = torch.autograd.grad(loss, list(self.net.parameters()))
        with torch.no_grad():
            kl, clipped = mean(ratio - 1 - log_ratio), mean(((ratio - 1).abs() > clip).float())
            return gradients, torch.stack((policy_loss, value_loss, entropy, kl, clipped))

    def forward(self, obs: Tensor, *memory: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Logits, values and, from a network that remembers, its states."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16"):
            return self.net(obs, *memory) if memory else (*self.net(obs), None)

    @torch.no_grad()
    def logits(
        self, obs: np.ndarray, memory: np.ndarray | None = None, start: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """(n, actions), and what is remembered afterwards (n, 2 * units), None where nothing is."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16"):
            if not self.config.recurrent:
                return self.net.logits(self.tensor(obs)).cpu().numpy(), None
            begins = np.ones(len(obs), np.bool_) if start is None else start
            before = self.remembered(memory, len(obs))
            logits, _, states = self.net(self.tensor(obs)[:, None], before, self.tensor(begins)[:, None])
            return logits[:, 0].cpu().numpy(), states[:, 0].cpu().numpy()

    def remembered(self, memory: np.ndarray | None, n: int) -> Tensor:
        return torch.zeros(n, 2 * self.config.memory, device=self.device) if memory is None else self.tensor(memory)

    def act(
        self, obs: np.ndarray, state: Any, episode_start: np.ndarray, deterministic: bool
    ) -> tuple[np.ndarray, Any]:
        logits, state = self.logits(obs, state, episode_start)
        return (logits.argmax(1) if deterministic else drawn(logits, self.dice)), state


def drawn(logits: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Actions (n,) by their probabilities, by the Gumbel-max trick."""
    return (logits + rng.gumbel(size=logits.shape)).argmax(1)
