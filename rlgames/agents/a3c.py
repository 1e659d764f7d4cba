"""A3C: asynchronous advantage actor-critic (Mnih et al. 2016, algorithm S3).

Each actor-learner copies the shared weights, plays `horizon` steps, and applies its gradients to the shared weights
without a lock; `actor_learner` has its loss and its loop.

Actor-learners are processes (Python's threads would take turns), each with one torch thread and players of its own.
With one, everything happens in this process, and is exactly reproducible and resumable. With several it is not: which
update comes first depends on the machine, so the same seed gives other weights each time, and a resumed run goes on
from the saved weights and optimiser statistics, but with fresh episodes.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rlgames.agents.base import Agent, Update
from rlgames.agents.config import at_least_one, linear, one_of
from rlgames.agents.shared_optimizer import Record, Shared, flattened
from rlgames.agents.workers import Workers
from rlgames.experience.env_runner import Player, spaces_of
from rlgames.experience.rollout import Rollout, gae
from rlgames.networks.models import ActorCritic, drawn
from rlgames.networks.optimizers import clipped
from rlgames.networks.precision import PRECISIONS, Arithmetic, arithmetic
from rlgames.networks.threads import keep_freed_memory


@dataclass(frozen=True)
class A3CConfig:
    workers: int = 2  # processes that share the players, rounded up; more than there are cores slows all of them down
    horizon: int = 20  # steps of each player between two updates, t_max in the paper
    optimiser: str = "adam"  # adam or rmsprop, with shared statistics
    learning_rate: float = 1e-3
    final_learning_rate: float = 0.0  # reached in a straight line at the end of training
    gamma: float = 0.99  # discount
    gae_lambda: float = 1.0  # 1: the paper's n-step returns
    value: float = 0.5  # coefficient of the squared value error
    entropy: float = 0.01  # coefficient of the entropy bonus
    max_norm: float | None = 40.0  # of the gradient, policy and value apart where they share nothing; None: no limit
    encoder: str = "auto"  # vector, grid, cave, nips, mario, nature; auto: by the observation's shape
    hidden: tuple[int, ...] = (64, 64)  # layers of the vector encoder
    precision: str = "auto"  # of the networks' arithmetic: float32, bfloat16; auto: bfloat16 where that is faster

    def __post_init__(self) -> None:
        at_least_one(self, "workers", "horizon")
        one_of(self, "precision", PRECISIONS)
        if self.optimiser not in ("adam", "rmsprop"):
            raise ValueError(f"unknown optimiser {self.optimiser!r}: A3C shares the statistics of adam or rmsprop")


class A3C(Agent[A3CConfig]):
    """See the module's docstring; several workers need the name of a game, so that each can make its own players.

    One yielded `Update` is one update with one worker, and what one of several did in a tenth of a second; the last has
    what remains of all, so that no more is played or learnt after it. Each worker may begin its last update while the
    others begin theirs: at most `workers - 1` updates more than asked for. A worker that fails or dies raises
    RuntimeError here, with its traceback or what ended it.
    """

    name, Config = "a3c", A3CConfig
    parts = ("net", "shared", "player", "rng", "record")
    net: ActorCritic

    def build(self) -> None:
        c = self.config
        self.device = torch.device("cpu")  # workers share the memory of the CPU
        self.net = ActorCritic(self.observation_space, int(self.action_space.n), c.encoder, c.hidden)
        self.arithmetic = arithmetic(c.precision, c.encoder, self.observation_space, self.device)
        self.shared = Shared(self.net, c.workers)
        self.weights, _ = flattened(self.net)
        self.record = Record(self.weights)

    def train(self, total_timesteps: int) -> Iterator[Update]:
        yield from self.alone(total_timesteps) if self.config.workers == 1 else self.together(total_timesteps)

    def alone(self, total: int) -> Generator[Update, None, None]:
        """Play and learn in this process."""
        player = self.playing()
        learner = ActorLearner(copy.deepcopy(self.net), self.shared, 0, player, self.config, self.rng)
        while self.step < total:
            scalars = learner.update(self.step / total)
            yield self.told([Report(scalars[None], player.scores())], player.n)

    def together(self, total: int) -> Generator[Update, None, None]:
        """Play and learn in `workers` processes. Raises ValueError without a game that they could make."""
        count = self.config.workers
        if self.task is None:
            raise ValueError(
                f"{count} workers make their own environments: give A3C the name of a game, or workers=1 in its config"
            )
        if self.step >= total:
            return
        n = -(-self.num_envs // count) if self.num_envs else 1
        job = Job(self.task, n, self.config, self.shared, self.shared.updates(), self.seed, self.step, total)
        workers = Workers(work, [(job, i) for i in range(count)])
        try:
            for report in workers.reports():
                yield self.told([report], n)
        finally:
            last = self.told(workers.close(), n)  # also when nobody is there to hear it: the steps were made
        yield last

    def told(self, reports: Sequence[Report], n: int) -> Update:
        """Count the steps of `n` players, and take over what the workers have learnt."""
        scalars = np.concatenate([np.empty((0, len(SCALARS)), np.float32), *(report.scalars for report in reports)])
        scores = [score for report in reports for score in report.scores]
        self.step += len(scalars) * n * self.config.horizon
        self.shared.take(self.weights)
        self.record.see(scores, self.step, self.weights)
        named = dict(zip(SCALARS, torch.from_numpy(scalars.mean(0)), strict=True)) if len(scalars) else {}
        return Update(self.step, named | self.record.scalars(), scores)

    def playing(self) -> Player:
        player = super().playing()
        player.exact &= self.config.workers == 1  # several play with players of their own
        return player

    @property
    def best(self) -> A3C:
        """A copy with the weights whose scores had the greatest moving average: it plays and can be saved.

        Until 100 episodes have ended, which is what the average takes to mean something, the newest weights.
        """
        agent = type(self).__new__(type(self))
        agent._setup(self.observation_space, self.action_space, self.config, self.seed, "cpu", self.task)
        agent.step = self.record.step
        for weights in (agent.weights, agent.shared.weights, agent.record.weights):
            weights.copy_(self.record.weights)
        return agent

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.shared.weights.copy_(self.weights)

    def act(
        self, obs: np.ndarray, state: Any, episode_start: np.ndarray, deterministic: bool
    ) -> tuple[np.ndarray, Any]:
        seen = policy(self.net, obs, self.arithmetic)
        return (seen.argmax(1) if deterministic else drawn(seen, self.dice)), None


# ---- agents/actor_learner.py ----

SCALARS = ("policy_loss", "value_loss", "entropy", "policy_norm", "value_norm")
REPORT_EVERY = 0.1  # seconds between two reports of a process


class ActorLearner:
    """A private copy of the network, which plays with `player` and teaches `shared`; one of many, the `index`-th."""

    def __init__(
        self, net: ActorCritic, shared: Shared, index: int, player: Player, config: A3CConfig, rng: np.random.Generator
    ):
        self.net, self.shared, self.index = net, shared, index
        self.player, self.config, self.rng = player, config, rng
        self.weights, self.gradients = flattened(net)
        space = spaces_of(player.envs)[0]
        self.rollout = Rollout(config.horizon, player.n, space)
        self.arithmetic = arithmetic(config.precision, config.encoder, space, torch.device("cpu"))
        self.step = shared.adam if config.optimiser == "adam" else shared.rmsprop

    def update(self, progress: float) -> np.ndarray:
        """Copy, play, learn; returns SCALARS."""
        c = self.config
        self.shared.begun[self.index] += 1
        self.shared.take(self.weights)
        for t in range(c.horizon):
            seen = policy(self.net, self.player.obs, self.arithmetic)
            self.rollout.put(t, self.player.step(drawn(seen, self.rng)))
        scalars = self.learn()
        self.step(self.gradients, linear(c.learning_rate, c.final_learning_rate, progress))
        return scalars.numpy()

    def learn(self) -> Tensor:
        """The clipped gradients of the loss over the rollout, into `self.gradients`."""
        c, rollout = self.config, self.rollout
        with self.arithmetic():
            logits, value = self.net(torch.from_numpy(rollout.obs.reshape(-1, *rollout.obs.shape[2:])))
        now = value.detach().numpy().reshape(-1, self.player.n)
        now, after = now[:-1], now[1:].copy()
        for t, players, last, _ in rollout.cut:
            with torch.no_grad(), self.arithmetic():
                after[t, players] = self.net(torch.from_numpy(last))[1].numpy()
        advantage = gae(rollout.reward, now, after, rollout.terminated, rollout.done, c.gamma, c.gae_lambda)
        gain, action, real = (torch.from_numpy(x.reshape(-1)) for x in (advantage, rollout.action, rollout.real))
        logits, value = logits[: len(real)], value[: len(real)]
        if not rollout.real.all():
            logits, value, gain, action = logits[real], value[real], gain[real], action[real]
        count = max(1, len(action))
        log_pi = F.log_softmax(logits, 1)
        policy_loss = -(log_pi.gather(1, action[:, None])[:, 0] * gain).sum() / count
        value_loss = (gain + value.detach() - value).square().sum() / count
        entropy = -(log_pi.exp() * log_pi).sum() / count
        self.gradients.zero_()
        (policy_loss + c.value * value_loss - c.entropy * entropy).backward()
        norms = clipped(self.net.parameter_groups(), c.max_norm)
        return torch.stack((policy_loss, value_loss, entropy, norms[0], norms[-1])).detach()


@torch.no_grad()
def policy(net: ActorCritic, obs: np.ndarray, arithmetic: Arithmetic) -> np.ndarray:
    """The logits of the actions (n, actions) of observations (n, *shape)."""
    with arithmetic():
        return net.logits(torch.from_numpy(obs)).numpy()


# ---- in a worker's process ----


class Report(NamedTuple):
    scalars: np.ndarray  # (updates, SCALARS)
    scores: list[float]


class Job(NamedTuple):
    """What all workers are told: play `task`, n players each, until all together have come from `start` to `total`."""

    task: Any
    n: int
    config: A3CConfig
    shared: Shared
    before: int  # updates when `start` steps had been made
    seed: int
    start: int
    total: int

    def step(self) -> int:
        """The steps of all updates that have been begun."""
        return self.start + (self.shared.updates() - self.before) * self.n * self.config.horizon


def work(job: Job, index: int, report: Callable[[Report], None], going_on: Callable[[], bool]) -> Report:
    """Update until all workers' steps are made; returns what is still to be reported.

    An update is reported only when another is certain to follow, so that the last steps come with the last reports.
    """
    torch.set_num_threads(1)
    keep_freed_memory()
    envs = job.task.make_vec(job.n)
    try:
        dice = np.random.default_rng([job.seed, 3, job.start, index])  # other episodes in each worker and each resume
        player = Player(envs, int(dice.integers(2**30)))
        space, actions = spaces_of(envs)
        net = ActorCritic(space, int(actions.n), job.config.encoder, job.config.hidden)
        learner = ActorLearner(net, job.shared, index, player, job.config, dice)
        rows, due = [np.empty((0, len(SCALARS)), np.float32)], perf_counter() + REPORT_EVERY
        while going_on() and (step := job.step()) < job.total:
            if perf_counter() >= due:
                report(Report(np.concatenate(rows), player.scores()))
                rows, due = rows[:1], perf_counter() + REPORT_EVERY
            rows.append(learner.update(step / job.total)[None])
        return Report(np.concatenate(rows), player.scores())
    finally:
        envs.close()
