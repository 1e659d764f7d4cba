"""An actor-learner of A3C (Mnih et al. 2016, algorithm S3), and its loop in a process of its own.

It copies the shared weights, plays `horizon` steps, and applies its gradients to the shared weights without a lock:

    L = E[ -log pi(a|s) (R - V(s)) + c_v (R - V(s))^2 - c_H H(pi) ]
    R = r_t + gamma r_{t+1} + ... + gamma^k V(s_{t+k})
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rlgames.agents.arithmetic import Arithmetic, arithmetic
from rlgames.agents.heap import keep_freed_memory
from rlgames.agents.networks import ActorCritic
from rlgames.agents.optimisers import clipped
from rlgames.agents.player import Player
from rlgames.agents.rollout import Rollout, gae
from rlgames.agents.sampling import drawn
from rlgames.agents.schedules import linear
from rlgames.agents.shared import Shared, flattened
from rlgames.agents.spaces import spaces_of

if TYPE_CHECKING:
    from rlgames.agents.a3c import A3CConfig

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
