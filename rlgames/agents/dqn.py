"""DQN: deep Q-learning with experience replay and a target network (Mnih et al. 2015).

    L = E[ huber( R + gamma^m max_a Q_target(s', a) - Q(s, a) ) ]

Options: n-step returns (Sutton 1988), dueling heads (Wang et al. 2016), proportional prioritised replay (Schaul et al.
2016), a memory (DRQN: Hausknecht & Stone 2015). `DDQN` changes one method.
"""

from __future__ import annotations

import copy
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
from rlgames.experience.prioritized import PrioritisedReplay
from rlgames.experience.replay import LITTLE, Batch, Replay, announced, room
from rlgames.experience.sequences import Sequences, check, sequences
from rlgames.networks.models import QNetwork
from rlgames.networks.optimizers import clipped, optimiser
from rlgames.networks.precision import PRECISIONS, arithmetic
from rlgames.networks.recurrent import RecurrentQNetwork

SCALARS = ("loss", "q", "norm")


@dataclass(frozen=True)
class DQNConfig:
    capacity: int = 100_000  # transitions remembered
    warmup: int = 1_000  # environment steps before the first update
    update_every: int = 4  # environment steps, of all players together, between two rounds of updates
    updates: int = 1  # gradient steps a round
    batch: int = 32  # transitions a gradient step
    target_every: int = 1_000  # gradient steps between two copies to the target network
    optimiser: str = "adam"  # adam, rmsprop, rmsprop-graves
    learning_rate: float = 1e-4
    final_learning_rate: float | None = None  # reached in a straight line at the end of training; None: constant
    gamma: float = 0.99  # discount
    n_step: int = 1  # rewards summed before bootstrapping
    epsilon: float = 1.0  # chance of a random action at first
    final_epsilon: float = 0.05  # and after `explore`
    explore: float = 0.1  # part of training over which epsilon falls
    dueling: bool = False  # state value and advantages apart
    prioritised: bool = False  # draw by the last error, proportionally
    priority_exponent: float = 0.6  # 0: uniform
    importance: float = 0.4  # exponent of the importance weights at first; 1 at the end
    loss: str = "huber"  # of the error: huber (squared up to 1, then straight) or squared
    max_norm: float | None = 10.0  # of the gradient; None: no limit
    encoder: str = "auto"  # vector, grid, cave, nips, mario, nature; auto: by the observation's shape
    hidden: tuple[int, ...] = (64, 64)  # layers of the vector encoder
    precision: str = "auto"  # of the networks' arithmetic: float32, bfloat16; auto: bfloat16 where that is faster
    recurrent: bool = False  # DRQN: a memory between encoder and heads; `batch` then counts sequences
    memory: int = 128  # units of it
    sequence: int = 16  # steps of each sequence
    burn_in: int = 4  # the first of them only fill the memory

    def __post_init__(self) -> None:
        at_least_one(self, "update_every", "updates", "batch", "target_every", "n_step", "memory", "sequence")
        share_of_one(self, "gamma", "epsilon", "final_epsilon", "explore")
        one_of(self, "loss", ("huber", "squared"))
        one_of(self, "precision", PRECISIONS)
        if not 0 <= self.burn_in < self.sequence:
            raise ValueError(f"expected burn_in in 0..{self.sequence - 1}, below sequence, got {self.burn_in}")
        if self.recurrent and self.prioritised:
            raise ValueError("recurrent=True draws sequences, prioritised=True single steps: choose one of them")


class DQN(Agent[DQNConfig]):
    """See the module's docstring; one yielded `Update` is one round of gradient steps."""

    name, Config = "dqn", DQNConfig
    parts = ("net", "target", "optimiser", "updates", "player", "memory", "replay", "rng")

    def build(self) -> None:
        c = self.config
        shape = self.observation_space, int(self.action_space.n), c.encoder, c.hidden, c.dueling
        net = RecurrentQNetwork(*shape, c.memory) if c.recurrent else QNetwork(*shape)
        self.net = net.to(self.device)
        self.arithmetic = arithmetic(c.precision, c.encoder, self.observation_space, self.device)
        self.memory: np.ndarray | None = None  # what the players remember, (n, 2 * units)
        self.target = copy.deepcopy(self.net).requires_grad_(False)
        self.optimiser = optimiser(c.optimiser, self.net.parameters(), c.learning_rate)
        self.updates = 0
        self.replay: Replay | None = None

    def train(self, total_timesteps: int) -> Iterator[Update]:
        c, player = self.config, self.playing()
        replay = self.remembering()
        while self.step < total_timesteps:
            progress = self.step / total_timesteps
            epsilon = linear(c.epsilon, c.final_epsilon, progress / c.explore if c.explore else 1.0)
            action, self.memory = self.explore(player, epsilon)
            replay.add(player.step(action))
            before, self.step = self.step, self.step + player.n
            rounds = self.step // c.update_every - before // c.update_every
            scalars = {"epsilon": torch.tensor(epsilon)}
            if self.ready(replay) and rounds:
                rows = [self.improve(replay, progress) for _ in range(rounds * c.updates)]
                scalars |= dict(zip(SCALARS, torch.stack(rows).mean(0), strict=True))
            elif self.step < total_timesteps:
                continue
            yield Update(self.step, scalars, player.scores())

    def ready(self, replay: Replay) -> bool:
        """Whether it holds `warmup` steps, whatever the agent's own count, and something that can be drawn."""
        c = self.config
        least = c.sequence if c.recurrent else c.n_step
        return replay.added * replay.n >= c.warmup and int(replay.head.min()) > least

    def explore(self, player: Player, epsilon: float) -> tuple[np.ndarray, np.ndarray | None]:
        """Epsilon-greedy actions (n,), and what is remembered after them."""
        random = self.rng.random(player.n) < epsilon
        action = self.rng.integers(self.action_space.n, size=player.n)
        if random.all() and not self.config.recurrent:
            return action, None
        greedy, memory = self.greedy(player.obs, self.memory, player.start)
        return np.where(random, action, greedy), memory

    def improve(self, replay: Replay, progress: float) -> Tensor:
        """One gradient step; returns SCALARS."""
        c = self.config
        if c.final_learning_rate is not None:
            self.optimiser.param_groups[0]["lr"] = linear(c.learning_rate, c.final_learning_rate, progress)
        self.optimiser.zero_grad()  # first: the memory of the last gradients serves for what comes now
        batch = self.draw(replay)
        q, error = self.sequence_errors(batch) if isinstance(batch, Sequences) else self.errors(batch)
        if c.loss == "huber":
            loss = F.huber_loss(error, torch.zeros_like(error), reduction="none")
        else:
            loss = 0.5 * error.square()  # what huber is for errors up to 1
        if isinstance(replay, PrioritisedReplay) and isinstance(batch, Batch):
            loss = loss * self.tensor(replay.weights(batch, linear(c.importance, 1.0, progress)))
            replay.update(batch, error.detach().abs().cpu().numpy())
        loss = loss.mean()
        loss.backward()
        [norm] = clipped([self.net.parameters()], c.max_norm)
        self.optimiser.step()
        self.updates += 1
        if self.updates % c.target_every == 0:
            self.target.load_state_dict(self.net.state_dict())
        return torch.stack((loss.detach(), q.detach().mean(), norm))

    def draw(self, replay: Replay) -> Batch | Sequences:
        c = self.config
        if c.recurrent:
            return sequences(replay, self.rng, c.batch, c.sequence, c.burn_in)
        return replay.sample(self.rng, c.batch)

    def errors(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Q(s, a) and its temporal-difference error, (rows,) each."""
        with self.arithmetic():
            q = self.net(self.tensor(batch.obs)).gather(1, self.tensor(batch.action)[:, None])[:, 0]
            with torch.no_grad():
                after = self.best(self.tensor(batch.after))
        return q, q - (self.tensor(batch.reward) + self.tensor(batch.discount) * after)

    def sequence_errors(self, batch: Sequences) -> tuple[Tensor, Tensor]:
        """As `errors`, of all steps that count."""
        start = self.tensor(batch.start)
        seen = self.tensor(batch.obs), self.net.memory.states(None, len(start)), start
        with self.arithmetic():
            q = self.net(*seen)[:, :-1].gather(2, self.tensor(batch.action)[..., None])[..., 0]
            with torch.no_grad():
                after = self.best(*seen).gather(1, self.tensor(batch.after))
        error = q - (self.tensor(batch.reward) + self.tensor(batch.discount) * after)
        real = self.tensor(batch.real)
        return q[real], error[real]

    def best(self, *seen: Tensor) -> Tensor:
        """The value of the best action: the target network chooses it and values it."""
        return self.target(*seen).amax(-1)

    @torch.no_grad()
    def greedy(
        self, obs: np.ndarray, memory: np.ndarray | None, start: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Actions (n,), and what is remembered after `obs` (n, 2 * units), None where nothing is."""
        with self.arithmetic():
            if not self.config.recurrent:
                return self.net(self.tensor(obs)).argmax(1).cpu().numpy(), None
            before = self.net.memory.states(memory, len(obs))
            q, states = self.net.recall(self.tensor(obs)[:, None], before, self.tensor(start)[:, None])
            return q[:, 0].argmax(1).cpu().numpy(), states[:, 0].cpu().numpy()

    def act(
        self, obs: np.ndarray, state: Any, episode_start: np.ndarray, deterministic: bool
    ) -> tuple[np.ndarray, Any]:
        """Greedy, or with `deterministic=False` as at the end of exploration."""
        action, state = self.greedy(obs, state, episode_start)
        if not deterministic:
            random = self.dice.random(len(obs)) < self.config.final_epsilon
            action = np.where(random, self.dice.integers(self.action_space.n, size=len(obs)), action)
        return action, state

    def remembering(self) -> Replay:
        """The replay, which takes its memory when first asked for."""
        if self.replay is None:
            c, n, space = self.config, self.playing().n, self.observation_space
            more = {"stack": self.stack(), "n_step": c.n_step, "gamma": c.gamma}
            if c.prioritised:
                self.replay = PrioritisedReplay(c.capacity, n, space, exponent=c.priority_exponent, **more)
            else:
                self.replay = Replay(c.capacity, n, space, **more)
            if c.recurrent:
                check(self.replay, c.capacity, c.sequence)
            if "replay" in self.pending:
                self.recall("replay")
                if not self.playing().exact:
                    self.replay.restart()
        return self.replay

    def renew(self) -> bool:
        if (renewed := super().renew()) and self.replay is not None:
            self.replay.restart()
        return renewed

    def demand(self) -> str | None:
        """The replay's, unless it is taken already."""
        if self.replay is not None or self.envs is None:
            return None
        c = self.config
        _, size = room(c.capacity, self.envs.num_envs, self.observation_space, stack=self.stack(), n_step=c.n_step)
        return announced(c.capacity, size) if size >= LITTLE else None

    def stack(self) -> int:
        """Frames that the environments stack to an observation, which the replay keeps once; 1: none that it knows."""
        return getattr(self.envs, "stacked", 1)


# ---- agents/ddqn.py ----


class DDQN(DQN):
    """DQN whose target does not flatter itself: one network chooses the action, the other values it."""

    name, Config = "ddqn", DQNConfig

    def best(self, *seen: Tensor) -> Tensor:
        """The target network's value of the action that the online network prefers."""
        return self.target(*seen).gather(-1, self.net(*seen).argmax(-1, keepdim=True))[..., 0]
