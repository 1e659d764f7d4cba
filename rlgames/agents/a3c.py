"""A3C: asynchronous advantage actor-critic (Mnih et al. 2016).

Each worker copies the shared weights, plays a few steps, and applies its gradients to the shared weights without a
lock:

    L = E[ -log pi(a|s) (R - V(s)) + c_v (R - V(s))^2 - c_H H(pi) ],   R = r_t + gamma r_{t+1} + ... + gamma^k
    V(s_{t+k})

Workers are processes (Python's threads would take turns), started by spawn, each with one torch thread and players of
its own. With one worker everything happens in this process and is exactly reproducible and resumable. With several it
is not: which update comes first depends on the machine, and a resumed run goes on with the saved weights and optimiser
statistics, but with fresh episodes.
"""

from __future__ import annotations

import copy
import queue
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.multiprocessing as mp
import torch.nn.functional as F
from torch import Tensor

from rlgames.agents.base import Agent, Update
from rlgames.agents.networks import ActorCritic
from rlgames.agents.player import Player
from rlgames.agents.rollout import Rollout, gae
from rlgames.agents.schedules import linear
from rlgames.agents.shared import Shared, flattened
from rlgames.agents.spaces import spaces_of

SCALARS = ("policy_loss", "value_loss", "entropy", "norm")
REPORT_EVERY = 16  # updates of a worker between two of its reports
PATIENCE = 0.5  # seconds to wait for a report before looking whether all workers are alive


@dataclass(frozen=True)
class A3CConfig:
    workers: int = 2  # processes; more than there are cores slows all of them down
    horizon: int = 20  # steps of each player between two updates, t_max in the paper
    optimiser: str = "adam"  # adam or rmsprop, with shared statistics
    learning_rate: float = 1e-3
    final_learning_rate: float = 0.0  # reached in a straight line at the end of training
    gamma: float = 0.99  # discount
    gae_lambda: float = 1.0  # 1: the paper's n-step returns
    value: float = 0.5  # coefficient of the squared value error
    entropy: float = 0.01  # coefficient of the entropy bonus
    max_norm: float = 40.0  # of the gradient
    encoder: str = "auto"  # vector, grid, cave, nature; auto: by the observation's shape
    hidden: tuple[int, ...] = (64, 64)  # layers of the vector encoder

    def __post_init__(self) -> None:
        for name in ("workers", "horizon"):
            if getattr(self, name) < 1:
                raise ValueError(f"expected {name} >= 1, got {getattr(self, name)}")
        if self.optimiser not in ("adam", "rmsprop"):
            raise ValueError(f"unknown optimiser {self.optimiser!r}: A3C shares the statistics of adam or rmsprop")


class Worker:
    """A private copy of the network that plays with `player` and teaches `shared`."""

    def __init__(self, net: ActorCritic, shared: Shared, player: Player, config: A3CConfig, rng: np.random.Generator):
        self.net, self.shared, self.player, self.config, self.rng = net, shared, player, config, rng
        self.weights, self.gradients = flattened(net)
        self.rollout = Rollout(config.horizon, player.n, spaces_of(player.envs)[0])

    def update(self, progress: float) -> Tensor:
        """Copy, play, learn; returns SCALARS."""
        c = self.config
        self.shared.take(self.weights)
        for t in range(c.horizon):
            self.rollout.put(t, self.player.step(sample(self.net, self.player.obs, self.rng)))
        scalars = self.learn()
        give = self.shared.adam if c.optimiser == "adam" else self.shared.rmsprop
        give(self.gradients, linear(c.learning_rate, c.final_learning_rate, progress))
        return scalars

    def learn(self) -> Tensor:
        """The gradients of the loss over the rollout, clipped, into `self.gradients`."""
        c, rollout = self.config, self.rollout
        obs = torch.from_numpy(rollout.obs.reshape(-1, *rollout.obs.shape[2:]))
        logits, value = self.net(obs)
        now = value.detach().numpy().reshape(-1, self.player.n)
        now, after = now[:-1], now[1:].copy()
        for t, players, last in rollout.cut:
            with torch.no_grad():
                after[t, players] = self.net(torch.from_numpy(last))[1].numpy()
        advantage = gae(rollout.reward, now, after, rollout.terminated, rollout.done, c.gamma, c.gae_lambda)
        count = rollout.action.size
        logits, value = logits[:count], value[:count]
        gain, action, real = (torch.from_numpy(x.reshape(-1)) for x in (advantage, rollout.action, rollout.real))
        if not rollout.real.all():
            logits, value, gain, action = logits[real], value[real], gain[real], action[real]
        log_pi = F.log_softmax(logits, 1)
        policy_loss = -(log_pi.gather(1, action[:, None])[:, 0] * gain).mean()
        value_loss = (gain + value.detach() - value).square().mean()
        entropy = -(log_pi.exp() * log_pi).sum(1).mean()
        self.gradients.zero_()
        (policy_loss + c.value * value_loss - c.entropy * entropy).backward()
        norm = self.gradients.norm()
        self.gradients.mul_((c.max_norm / (norm + 1e-6)).clamp(max=1.0))
        return torch.stack((policy_loss, value_loss, entropy, norm)).detach()


class A3C(Agent[A3CConfig]):
    """See the module's docstring; several workers need the name of a game, so that each can make its own."""

    name, Config = "a3c", A3CConfig
    parts = ("net", "shared", "player", "rng", "best")
    net: ActorCritic

    def build(self) -> None:
        c = self.config
        self.device = torch.device("cpu")  # workers share the memory of the CPU
        self.net = ActorCritic(self.observation_space, int(self.action_space.n), c.encoder, c.hidden)
        self.shared = Shared(self.net)
        self.weights, _ = flattened(self.net)
        self.best = Best()

    def train(self, total_timesteps: int) -> Iterator[Update]:
        reports = self.alone(total_timesteps) if self.config.workers == 1 else self.together(total_timesteps)
        for steps, scalars, scores in reports:
            self.step += steps
            self.shared.take(self.weights)
            self.best.see(scores, self.weights)
            named = dict(zip(SCALARS, scalars, strict=True))
            yield Update(self.step, named | {"average": torch.tensor(self.best.average)}, scores)

    def alone(self, total: int) -> Iterator[tuple[int, Tensor, list[float]]]:
        player = self.playing()
        worker = Worker(copy.deepcopy(self.net), self.shared, player, self.config, self.rng)
        while self.step < total:
            scalars = worker.update(self.step / total)
            yield player.n * self.config.horizon, scalars, player.scores()

    def together(self, total: int) -> Iterator[tuple[int, Tensor, list[float]]]:
        if self.task is None:
            raise ValueError(
                f"{self.config.workers} workers make their own environments: give A3C the name of a game, or workers=1"
            )
        context = mp.get_context("spawn")
        reports, stop = context.Queue(), context.Event()
        self.shared.counts[0] = self.step
        n = max(1, self.envs.num_envs // self.config.workers) if self.envs else 1
        common = (self.task, self.config, n, self.shared, total, reports, stop)
        workers = [
            context.Process(target=work, args=(self.seed, i, self.step, *common), daemon=True)
            for i in range(self.config.workers)
        ]
        try:
            for worker in workers:
                worker.start()
            yield from self.listen(workers, reports, total)
        finally:
            stop.set()
            for worker in workers:
                worker.join(timeout=5)
                if worker.is_alive():
                    worker.kill()
                    worker.join()
            reports.close()

    def listen(self, workers: list, reports: Any, total: int) -> Iterator[tuple[int, Tensor, list[float]]]:
        while self.step < total:
            try:
                steps, scalars, scores = reports.get(timeout=PATIENCE)
            except queue.Empty:
                dead = [worker for worker in workers if worker.exitcode not in (None, 0)]
                if dead:
                    raise RuntimeError(f"a worker of A3C died with exit code {dead[0].exitcode}") from None
                if all(worker.exitcode == 0 for worker in workers):
                    return
                continue
            if isinstance(scalars, str):
                raise RuntimeError(f"a worker of A3C failed:\n{scalars}")
            yield steps, torch.tensor(scalars), scores

    @torch.no_grad()
    def act(
        self, obs: np.ndarray, state: Any, episode_start: np.ndarray, deterministic: bool
    ) -> tuple[np.ndarray, Any]:
        if not deterministic:
            return sample(self.net, obs, self.dice), None
        return self.net.logits(torch.from_numpy(obs)).argmax(1).numpy(), None


class Best:
    """The moving average of the scores (0.99 of the old, 0.01 of the new), and the weights behind the best episode."""

    def __init__(self) -> None:
        self.average, self.score, self.weights = 0.0, float("-inf"), torch.zeros(0)

    def see(self, scores: list[float], weights: Tensor) -> None:
        for score in scores:
            self.average = score if self.average == 0.0 else 0.99 * self.average + 0.01 * score
        if scores and max(scores) > self.score:
            self.score, self.weights = max(scores), weights.clone()

    def state_dict(self) -> dict[str, Any]:
        return {"average": self.average, "score": self.score, "weights": self.weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.average, self.score, self.weights = state["average"], state["score"], state["weights"]


@torch.no_grad()
def sample(net: ActorCritic, obs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Actions (n,) drawn from the policy, by the Gumbel-max trick."""
    logits = net.logits(torch.from_numpy(obs)).numpy()
    return (logits + rng.gumbel(size=logits.shape)).argmax(1)


def work(
    seed: int,
    index: int,
    start: int,
    task: Any,
    config: A3CConfig,
    n: int,
    shared: Shared,
    total: int,
    reports: Any,
    stop: Any,
) -> None:
    """A worker's process: update until all together have played `total` steps, or `stop`, or the parent is gone."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    try:
        torch.set_num_threads(1)  # a process of its own: nobody else's threads
        player = Player(task.make_vec(n), seed + 1_000_003 * (index + 1))
        space, actions = spaces_of(player.envs)
        net = ActorCritic(space, int(actions.n), config.encoder, config.hidden)
        worker = Worker(net, shared, player, config, np.random.default_rng([seed, index, start]))
        parent, rows = mp.parent_process(), []
        while shared.counts[0] < total and not stop.is_set() and (parent is None or parent.is_alive()):
            rows.append(worker.update(float(shared.counts[0]) / total))
            shared.counts[0] += n * config.horizon
            if len(rows) == REPORT_EVERY:
                reports.put((len(rows) * n * config.horizon, torch.stack(rows).mean(0).tolist(), player.scores()))
                rows = []
        if rows:
            reports.put((len(rows) * n * config.horizon, torch.stack(rows).mean(0).tolist(), player.scores()))
    except Exception:  # noqa: BLE001  whatever it is, the parent raises it
        reports.put((0, traceback.format_exc(), []))
