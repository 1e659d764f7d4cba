"""A3C: asynchronous advantage actor-critic (Mnih et al. 2016, algorithm S3).

Each worker copies the shared weights, plays `n_steps` steps, and applies its gradients to the shared weights without a
lock:

    L = E[ -log pi(a|s) (R - V(s)) + c_v (R - V(s))^2 - c_H H(pi) ]
    R = r_t + gamma r_{t+1} + ... + gamma^k V(s_{t+k})

Workers are processes (Python's threads would take turns), each with one torch thread and environments of its own. With
one worker everything happens in this process, and is exactly reproducible and resumable. With several it is not: the
order of updates depends on the machine, so the same seed gives other weights each time, and a resumed run continues
from the saved weights and optimizer statistics, but with new episodes.

With `on_ray` the workers are actors of a Ray cluster, and another actor has the shared weights: see `worker_actors`.
The staleness of a gradient, how many updates the others made between the copy of the weights and its own, is reported.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rlgames.agents.base import Agent, Update
from rlgames.agents.config import NetArch, linear_schedule
from rlgames.agents.shared_optimizer import BestWeights, SharedOptimizer, flatten_parameters
from rlgames.agents.worker_actors import RemoteParameters, WorkerActors
from rlgames.agents.workers import Workers
from rlgames.envs.task import Task
from rlgames.errors import InvalidValueError
from rlgames.experience.env_runner import EnvRunner, Episode, single_spaces
from rlgames.experience.rollout import Rollout, compute_gae
from rlgames.networks.models import ActorCritic, EncoderName, sample_actions
from rlgames.networks.optimizers import clip_gradients
from rlgames.networks.precision import Precision, PrecisionName, choose_precision
from rlgames.networks.threads import keep_freed_memory
from rlgames.values import Count, NonNegative, Norm, Range, UnitInterval, check_fields

SCALARS = (
    "train/policy_gradient_loss",
    "train/value_loss",
    "train/entropy_loss",
    "train/grad_norm",
    "train/value_grad_norm",  # as grad_norm where policy and value share a network
    "train/staleness",  # updates by other workers since the weights were copied
)
REPORT_INTERVAL = 0.1  # seconds between two reports of a worker


@dataclass(frozen=True)
class A3CConfig:
    workers: Annotated[int, Range(1, 1_024)] = 2  # So many processes share the environments; more than cores are slow.
    on_ray: bool = False  # Workers are actors of a Ray cluster, and one more has the shared weights.
    n_steps: Count = 20  # Each environment takes this many steps between two updates, t_max in the paper.
    optimizer: Literal["adam", "rmsprop"] = "adam"  # This optimizer takes the gradient steps, with shared statistics.
    learning_rate: NonNegative = 1e-3  # Training starts with this learning rate.
    final_learning_rate: NonNegative = 0.0  # The learning rate falls linearly to this at the end of training.
    gamma: UnitInterval = 0.99  # Rewards are discounted by this factor a step.
    gae_lambda: UnitInterval = 1.0  # This is the lambda of generalized advantages; 1 gives the paper's n-step returns.
    vf_coef: NonNegative = 0.5  # The squared value error has this coefficient in the loss.
    ent_coef: NonNegative = 0.01  # The entropy bonus has this coefficient in the loss.
    max_grad_norm: Norm | None = 40.0  # Gradients are clipped to this norm, apart if policy and value share no net.
    encoder: EncoderName = "auto"  # This encoder turns observations into features; auto chooses by their shape.
    net_arch: NetArch = None  # Layers of these many units follow it; None: 64 and 64 for vectors, none for pictures.
    precision: PrecisionName = "auto"  # Networks compute in this precision; auto is bfloat16 where that is faster.

    def __post_init__(self) -> None:
        check_fields(self)


class A3C(Agent[A3CConfig]):
    """See the module's docstring; several workers need the name of a game, so that each can make its environments.

    One yielded `Update` is one update with one worker, and a report of one of several every tenth of a second; the last
    collects the remaining reports of all workers, and nothing is played or learned after it. Each worker may start its
    last update while the others start theirs: at most `workers - 1` updates more than asked for. A worker that fails or
    dies raises RuntimeError here, with its traceback or its exit code; one on Ray that dies is replaced.
    """

    name, Config = "a3c", A3CConfig
    saved_attributes = ("net", "shared", "runner", "rng", "best_weights")
    net: ActorCritic

    def build(self) -> None:
        c = self.config
        self.device = torch.device("cpu")  # workers share its memory
        self.net = ActorCritic(self.observation_space, int(self.action_space.n), c.encoder, c.net_arch)
        self.precision = choose_precision(c.precision, c.encoder, self.observation_space, self.device)
        self.shared = SharedOptimizer(self.net, c.workers)
        self.weights, _ = flatten_parameters(self.net)
        self.best_weights = BestWeights(self.weights)
        self.worker_actors = WorkerActors(c.workers) if c.on_ray else None

    def train(self, total_timesteps: int) -> Iterator[Update]:
        if not self.plays_in_workers(self.config):
            yield from self.train_alone(total_timesteps)
        elif self.step >= total_timesteps:
            self.check_open()
        elif self.worker_actors is not None:
            yield from self.train_on_ray(total_timesteps, self.worker_actors)
        else:
            yield from self.train_with_workers(total_timesteps)

    def largest_batch(self) -> int:
        return super().largest_batch() * self.config.n_steps

    def train_alone(self, total_timesteps: int) -> Iterator[Update]:
        """Play and learn in this process."""
        runner = self.start_training()
        learner = ActorLearner(copy.deepcopy(self.net), self.shared, 0, runner, self.config, self.rng)
        while self.step < total_timesteps:
            report = Report(learner.update(self.step / total_timesteps)[None], runner.take_episodes())
            yield self.collect_reports([report], self.step + runner.num_envs * self.config.n_steps)

    def train_with_workers(self, total_timesteps: int) -> Iterator[Update]:
        """Play and learn in `workers` processes. Raises ValueError without a game that they can make."""
        arguments = self.worker_arguments(total_timesteps, self.shared)
        processes = Workers(run_worker, [(arguments, i) for i in range(self.config.workers)])

        def collect(reports: Sequence[Report]) -> Update:
            updates = sum(len(report.scalars) for report in reports)
            return self.collect_reports(reports, self.step + updates * arguments.update_steps)

        try:
            for report in processes.reports():
                yield collect([report])
        finally:
            last = collect(processes.close())  # also if the caller stopped: the steps were made
        yield last

    def train_on_ray(self, total_timesteps: int, actors: WorkerActors) -> Iterator[Update]:
        """Play and learn in `workers` actors of a Ray cluster. Raises as `train_with_workers`, and ClusterError."""
        first = self.worker_arguments(total_timesteps, self.shared)
        start = self.step - first.updates_before * first.update_steps  # of update 0

        def step() -> int:
            return start + self.shared.num_updates() * first.update_steps

        def make_arguments(parameters: RemoteParameters) -> WorkerArguments:
            updates_before = self.shared.num_updates()
            return first._replace(task=first.task.local, shared=parameters, updates_before=updates_before, start=step())

        waiting: list[Report] = []  # for a further update, or for the last one
        try:
            actors.start(run_worker, make_arguments, self.shared)
            for reports in actors.reports():
                waiting += reports
                if self.step < step() < total_timesteps:
                    reports, waiting = waiting, []
                    yield self.collect_reports(reports, step())
        finally:
            last = self.collect_reports(waiting + actors.close(), step())  # also if the caller stopped
        yield last

    def worker_arguments(self, total: int, shared: SharedOptimizer) -> WorkerArguments:
        self.check_open()
        workers = self.config.workers
        if self.task is None:
            remedy = "on_ray=False and workers=1" if self.config.on_ray else "workers=1"
            raise InvalidValueError(
                f"{workers} workers make their own environments: give A3C the name of a game, or {remedy}"
            )
        num_envs, updates_before = -(-self.num_envs // workers) if self.num_envs else 1, shared.num_updates()
        return WorkerArguments(self.task, num_envs, self.config, shared, updates_before, self.seed, self.step, total)

    def collect_reports(self, reports: Sequence[Report], step: int) -> Update:
        """Return the update that ends at `step`, and take over the shared weights."""
        scalars = np.concatenate([np.empty((0, len(SCALARS)), np.float32), *(report.scalars for report in reports)])
        episodes = [episode for report in reports for episode in report.episodes]
        self.step = step
        self.shared.copy_weights_to(self.weights)
        self.best_weights.update([episode.score for episode in episodes], self.step, self.weights)
        means: dict[str, Tensor] = {}
        if len(scalars):
            means |= zip(SCALARS, torch.from_numpy(scalars.mean(0)), strict=True)
            if self.plays_in_workers(self.config):
                means["train/staleness_max"] = torch.tensor(scalars[:, SCALARS.index("train/staleness")].max())
            else:
                del means["train/staleness"]  # 0
        return Update(self.step, means | self.best_weights.scalars(), episodes)

    @classmethod
    def plays_in_workers(cls, config: Any) -> bool:
        return isinstance(config, A3CConfig) and (config.workers > 1 or config.on_ray)

    @property
    def restarts(self) -> int:
        return super().restarts + (self.worker_actors.restarts if self.worker_actors else 0)

    @property
    def best_agent(self) -> A3C:
        """A copy with the weights whose scores had the highest moving average: it plays and can be saved.

        Until 100 episodes have ended, which the average needs to be meaningful, the newest weights.
        """
        agent = type(self).__new__(type(self))
        agent._setup(self.observation_space, self.action_space, self.config, self.seed, "cpu", self.task)
        agent.step = self.best_weights.step
        for weights in (agent.weights, agent.shared.weights, agent.best_weights.weights):
            weights.copy_(self.best_weights.weights)
        return agent

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.shared.weights.copy_(self.weights)
        if "best_weights" not in state:  # the networks alone: they are the best so far
            self.best_weights = BestWeights(self.weights)
            self.best_weights.step = self.step

    def act(
        self, obs: np.ndarray, state: Any, episode_start: np.ndarray, deterministic: bool
    ) -> tuple[np.ndarray, Any]:
        logits = policy_logits(self.net, obs, self.precision)
        return (logits.argmax(1) if deterministic else sample_actions(logits, self.predict_rng)), None


class ActorLearner:
    """A private copy of the network, which steps `runner` and updates `shared`; the `index`-th of the workers."""

    def __init__(
        self,
        net: ActorCritic,
        shared: SharedOptimizer | RemoteParameters,
        index: int,
        runner: EnvRunner,
        config: A3CConfig,
        rng: np.random.Generator,
    ):
        self.net, self.shared, self.index = net, shared, index
        self.runner, self.config, self.rng = runner, config, rng
        self.weights, self.gradients = flatten_parameters(net)
        space = single_spaces(runner.envs)[0]
        self.rollout = Rollout(config.n_steps, runner.num_envs, space)
        self.precision = choose_precision(config.precision, config.encoder, space, torch.device("cpu"))

    def update(self, progress: float) -> np.ndarray:
        """Copy the weights, play, and apply the gradients; return SCALARS."""
        c = self.config
        fetched = self.shared.fetch(self.index, self.weights)
        for t in range(c.n_steps):
            logits = policy_logits(self.net, self.runner.obs, self.precision)
            self.rollout.add(t, self.runner.step(sample_actions(logits, self.rng)))
        scalars = self.compute_gradients()
        learning_rate = linear_schedule(c.learning_rate, c.final_learning_rate, progress)
        before = self.shared.apply(self.index, c.optimizer, self.gradients, learning_rate)
        return np.append(scalars.numpy(), np.float32(before - fetched))

    def compute_gradients(self) -> Tensor:
        """Compute the clipped gradients of the rollout's loss, into `self.gradients`; return SCALARS but staleness."""
        c, rollout = self.config, self.rollout
        with self.precision.autocast():
            logits, values = self.net(torch.from_numpy(rollout.obs.reshape(-1, *rollout.obs.shape[2:])))
        all_values = values.detach().numpy().reshape(-1, self.runner.num_envs)
        next_values = all_values[1:].copy()
        for end in rollout.truncations:
            with torch.no_grad(), self.precision.autocast():
                next_values[end.t, end.envs] = self.net(torch.from_numpy(end.obs))[1].numpy()
        gae = compute_gae(
            *(rollout.rewards, all_values[:-1], next_values, rollout.terminated, rollout.done), c.gamma, c.gae_lambda
        )
        advantages, actions, valid = (torch.from_numpy(x.reshape(-1)) for x in (gae, rollout.actions, rollout.valid))
        logits, values = logits[: len(valid)], values[: len(valid)]
        if not rollout.valid.all():
            logits, values, advantages, actions = logits[valid], values[valid], advantages[valid], actions[valid]
        count = max(1, len(actions))
        log_pi = F.log_softmax(logits, 1)
        policy_loss = -(log_pi.gather(1, actions[:, None])[:, 0] * advantages).sum() / count
        value_loss = (advantages + values.detach() - values).square().sum() / count
        entropy = -(log_pi.exp() * log_pi).sum() / count
        self.gradients.zero_()
        (policy_loss + c.vf_coef * value_loss - c.ent_coef * entropy).backward()
        norms = clip_gradients(self.net.parameter_groups(), c.max_grad_norm)
        return torch.stack((policy_loss, value_loss, -entropy, norms[0], norms[-1])).detach()


@torch.no_grad()
def policy_logits(net: ActorCritic, obs: np.ndarray, precision: Precision) -> np.ndarray:
    """Return the action logits (n, actions) of observations (n, *shape)."""
    with precision.autocast():
        return net.logits(torch.from_numpy(obs)).numpy()


# ---- in a worker's process ----


class Report(NamedTuple):
    scalars: np.ndarray  # (updates, SCALARS)
    episodes: list[Episode]


class WorkerArguments(NamedTuple):
    """Arguments of every worker: play `task` in `num_envs` environments until all workers have reached `total`."""

    task: Task
    num_envs: int
    config: A3CConfig
    shared: SharedOptimizer | RemoteParameters
    updates_before: int  # updates at `start`
    seed: int
    start: int  # environment steps
    total: int

    @property
    def update_steps(self) -> int:
        """Environment steps of an update."""
        return self.num_envs * self.config.n_steps

    def step(self) -> int:
        """Return the environment steps of all updates that have been started, on Ray of those that have been made."""
        return self.start + (self.shared.num_updates() - self.updates_before) * self.update_steps


def run_worker(
    arguments: WorkerArguments, index: int, report: Callable[[Report], None], should_continue: Callable[[], bool]
) -> Report:
    """Update until all workers' steps are made; return what was not reported yet.

    An update is reported only when another is certain to follow, so that the last steps come with the last reports.
    """
    torch.set_num_threads(1)
    keep_freed_memory()
    config, envs = arguments.config, arguments.task.make_vec(arguments.num_envs, training=True)
    try:
        rng = np.random.default_rng([arguments.seed, 3, arguments.start, index])  # differs by worker and by resume
        runner = EnvRunner(envs, int(rng.integers(2**30)))
        space, actions = single_spaces(envs)
        net = ActorCritic(space, int(actions.n), config.encoder, config.net_arch)
        learner = ActorLearner(net, arguments.shared, index, runner, config, rng)
        empty = np.empty((0, len(SCALARS)), np.float32)
        scalars, report_at = [empty], perf_counter() + REPORT_INTERVAL
        while should_continue() and (step := arguments.step()) < arguments.total:
            if perf_counter() >= report_at:
                report(Report(np.concatenate(scalars), runner.take_episodes()))
                scalars, report_at = [empty], perf_counter() + REPORT_INTERVAL
            scalars.append(learner.update(step / arguments.total)[None])
        return Report(np.concatenate(scalars), runner.take_episodes())
    finally:
        envs.close()
