"""PPO: proximal policy optimization with the clipped objective (Schulman et al. 2017) and GAE (Schulman et al. 2016).

    L = E[ min(r A, clip(r, 1 - e, 1 + e) A) ] - c_v E[(V - R)^2] + c_H E[H(pi)],   r = pi(a|s) / pi_old(a|s)

Each environment step costs one forward pass. Where policy and value share a network it gives both; otherwise the values
of the whole rollout are computed at its end.

With `rollout_fraction` below 1 an epoch takes part of the rollout, importance-sampled by abs(advantage): transitions
with a small advantage contribute little gradient, and with rare failures these are most of the rollout.

Small dense networks play and learn in compiled code, with the same arithmetic: see `rlgames.agents.dense_ppo`.

With `rollout_actors` the rollouts are played by processes of a Ray cluster, one update ahead: see `rollout_actors`.
With `learners` such processes compute gradients: see `learners`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rlgames.agents.base import Agent, Update
from rlgames.agents.config import NetArch, PositiveFraction, Units, linear_schedule
from rlgames.agents.dense_ppo import CompiledName, DenseActor, DenseUpdate, FlatState, is_small, obstacle
from rlgames.agents.learners import Group, Learners
from rlgames.agents.rollout_actors import RolloutActors, copy_weights
from rlgames.errors import InvalidValueError
from rlgames.experience.rollout import Minibatch, PolicyOutputs, Rollout, Truncation, compute_gae
from rlgames.networks.models import ActorCritic, EncoderName, sample_actions
from rlgames.networks.optimizers import clip_gradients
from rlgames.networks.precision import PrecisionName, choose_precision
from rlgames.networks.recurrent import RecurrentActorCritic
from rlgames.networks.threads import ParallelSlices
from rlgames.values import Count, NonNegative, Norm, Positive, Range, UnitInterval, check_fields

VALUE_BATCH = 1024  # observations whose values are computed at once, after a rollout
SCALARS = (
    "train/loss",
    "train/policy_gradient_loss",
    "train/value_loss",
    "train/entropy_loss",
    "train/approx_kl",
    "train/clip_fraction",
    "train/grad_norm",
    "train/value_grad_norm",  # as grad_norm where policy and value share a network
)


@dataclass(frozen=True)
class PPOConfig:
    n_steps: Count = 128  # Each environment takes this many steps between two updates.
    n_epochs: Count = 4  # An update passes this often over the rollout.
    num_minibatches: Count = 4  # An epoch takes so many gradient steps; SB3's batch_size is the size of a minibatch.
    rollout_fraction: PositiveFraction = 1.0  # An epoch takes this part of the rollout, importance-sampled below 1.
    learning_rate: NonNegative = 2.5e-4  # Training starts with this learning rate of Adam, with epsilon 1e-5.
    final_learning_rate: NonNegative = 0.0  # The learning rate falls linearly to this at the end of training.
    clip_range: NonNegative = 0.2  # The probability ratio is clipped to within this of 1.
    final_clip_range: NonNegative | None = None  # The clip range goes linearly to this; None keeps it constant.
    gamma: UnitInterval = 0.99  # Rewards are discounted by this factor a step.
    gae_lambda: UnitInterval = 0.95  # This is the lambda of generalized advantages; 1 gives Monte-Carlo returns.
    ent_coef: NonNegative = 0.01  # The entropy bonus has this coefficient in the loss.
    final_ent_coef: NonNegative | None = None  # That coefficient goes linearly to this; None keeps it constant.
    vf_coef: NonNegative = 0.5  # The squared value error has this coefficient in the loss.
    clip_range_vf: Positive | None = None  # An update changes a value by this much at most; None sets no limit.
    target_kl: NonNegative | None = None  # The epochs stop once the mean KL from the old policy exceeds this.
    max_grad_norm: Norm | None = 0.5  # Gradients are clipped to this norm, apart if policy and value share no net.
    normalize_advantage: bool = True  # Advantages get mean 0 and standard deviation 1 over the rollout.
    encoder: EncoderName = "auto"  # This encoder turns observations into features; auto chooses by their shape.
    net_arch: NetArch = None  # Layers of these many units follow it; None: 64 and 64 for vectors, none for pictures.
    precision: PrecisionName = "auto"  # Networks compute in this precision; auto is bfloat16 where that is faster.
    compiled: CompiledName = "auto"  # Numba compiles the learning of dense networks; auto: of up to 64 units a layer.
    recurrent: bool = False  # An LSTM stands between encoder and heads; policy and value then share one network.
    lstm_hidden_size: Units = 128  # The LSTM has this many units.
    rollout_actors: Annotated[int, Range(0, 1_024)] = 0  # So many Ray actors play, one update ahead; 0: this process.
    learners: Annotated[int, Range(1, 1_024)] = 1  # So many processes share gradients: this one, and Ray actors.
    n_threads: Count = 1  # So many slices of a minibatch are computed in parallel, each with one torch thread.

    def __post_init__(self) -> None:
        check_fields(self)


class ScheduledValues(NamedTuple):
    """Current values of the schedules."""

    learning_rate: float
    clip_range: float
    ent_coef: float


class PPO(Agent[PPOConfig]):
    """See the module's docstring; one yielded `Update` is one rollout and the epochs over it."""

    name, Config = "ppo", PPOConfig
    saved_attributes = ("net", "optimizer", "runner", "lstm_state", "rng", "rollout_actors")

    def build(self) -> None:
        c = self.config
        arguments = self.observation_space, int(self.action_space.n), c.encoder, c.net_arch
        net = RecurrentActorCritic(*arguments, c.lstm_hidden_size) if c.recurrent else ActorCritic(*arguments)
        self.net = net.to(self.device)
        self.precision = choose_precision(c.precision, c.encoder, self.observation_space, self.device)
        self.lstm_state: np.ndarray | None = None  # of the environments, (num_envs, 2 * lstm_hidden_size)
        self.optimizer = torch.optim.Adam(self.net.parameters(), c.learning_rate, eps=1e-5, fused=True)
        self.parameter_groups = self.net.parameter_groups()
        self.parallel = ParallelSlices(c.n_threads if self.device.type == "cpu" else 1)
        self.rollout_actors = RolloutActors(self, c.rollout_actors) if c.rollout_actors else None
        self.learners = Learners(self, c.learners) if c.learners > 1 else None
        self.group: Group | None = None  # of the learners, while they learn
        self.dense = self.make_dense_update()

    def make_dense_update(self) -> DenseUpdate | None:
        """Return the compiled update, None where torch does it. Raises ValueError if it is on and impossible."""
        c = self.config
        reason = obstacle(self.net)
        if reason is None and (self.precision.bfloat16 or c.n_threads > 1 or c.learners > 1):
            reason = "precision='float32', n_threads=1 and learners=1"
        if c.compiled == "on" and reason is not None:
            raise InvalidValueError(f"compiled='on' takes {reason}: use compiled='auto'")
        if c.compiled == "off" or reason is not None or (c.compiled == "auto" and not is_small(self.net)):
            return None
        return DenseUpdate(self.net, self.optimizer, c.vf_coef, c.clip_range_vf, c.max_grad_norm)

    def train(self, total_timesteps: int) -> Iterator[Update]:
        self.check_open()
        try:
            if self.learners is not None and self.step < total_timesteps:
                self.learners.start()
            if self.rollout_actors is not None:
                yield from self.train_with_actors(total_timesteps, self.rollout_actors)
            else:
                yield from self.train_here(total_timesteps)
        finally:
            if self.learners is not None:
                self.learners.close()

    def train_here(self, total_timesteps: int) -> Iterator[Update]:
        """Play and learn in turn."""
        c, runner = self.config, self.start_training()
        rollout = Rollout(c.n_steps, runner.num_envs, self.observation_space, int(self.action_space.n))
        while self.step < total_timesteps:
            progress = self.step / total_timesteps
            with self.parallel.single_threaded_torch():
                initial_state = self.collect_rollout(rollout)
                scalars = self.train_on_rollout(rollout, progress, initial_state)
            self.step += c.n_steps * runner.num_envs
            yield Update(self.step, scalars, runner.take_episodes())

    def train_with_actors(self, total_timesteps: int, actors: RolloutActors) -> Iterator[Update]:
        """Learn from one rollout while the actors play the next, with the weights before this update."""
        n_steps, num_envs = self.config.n_steps, self.num_envs or 1
        if self.step >= total_timesteps:
            return
        rollout = Rollout(n_steps, num_envs, self.observation_space, int(self.action_space.n))
        rollout.next_values = np.empty_like(rollout.values)
        try:
            actors.start()
            if actors.weights is None:
                actors.play(copy_weights(self.net))
            while self.step < total_timesteps:
                initial_state, episodes = actors.receive(rollout)
                actors.play(copy_weights(self.net))
                with self.parallel.single_threaded_torch():
                    scalars = self.train_on_rollout(rollout, self.step / total_timesteps, initial_state)
                self.step += n_steps * num_envs
                yield Update(self.step, scalars, episodes)
        finally:
            actors.close()

    def collect_rollout(self, rollout: Rollout) -> np.ndarray | None:
        """Play a rollout with the current weights; return the LSTM state before it."""
        runner = self.start_training()
        initial_state, rollout.episode_start[0] = self.lstm_state, runner.episode_start
        net = self.precision.cast_weights(self.net) if self.dense is None else self.dense.copy_actor()
        for t in range(self.config.n_steps):
            outputs = self.policy_outputs(runner.obs, self.lstm_state, runner.episode_start, net)
            rollout.add(t, runner.step(sample_actions(outputs.logits, self.rng)), outputs)
            self.lstm_state = outputs.lstm_state
        return initial_state

    @classmethod
    def plays_in_workers(cls, config: Any) -> bool:
        return isinstance(config, PPOConfig) and config.rollout_actors > 0

    def resumes_exactly(self) -> bool:
        if self.rollout_actors is None:
            return super().resumes_exactly()
        return all(state is None or state["runner"]["envs"] is not None for state in self.rollout_actors.states)

    def largest_batch(self) -> int:
        c, num_envs = self.config, super().largest_batch()
        minibatch = c.n_steps * num_envs * c.rollout_fraction / c.num_minibatches
        return math.ceil(max(minibatch / c.learners, num_envs) / self.parallel.n_threads)

    def train_on_rollout(
        self, rollout: Rollout, progress: float, initial_state: np.ndarray | None = None
    ) -> dict[str, Tensor]:
        """Run the epochs over a rollout that started from LSTM state `initial_state`; return mean scalars."""
        c = self.config
        scheduled = ScheduledValues(
            linear_schedule(c.learning_rate, c.final_learning_rate, progress),
            linear_schedule(c.clip_range, c.final_clip_range, progress),
            linear_schedule(c.ent_coef, c.final_ent_coef, progress),
        )
        self.optimizer.param_groups[0]["lr"] = scheduled.learning_rate
        if not rollout.valid.any():  # every step was used to reset
            return {}
        batch = self.compute_advantages(rollout, initial_state)
        train = self.train_on_batch if self.learners is None else self.learners.train
        results = train(batch, scheduled)
        return {
            **dict(zip(SCALARS, torch.stack(results).mean(0), strict=True)),
            "train/learning_rate": torch.tensor(scheduled.learning_rate),
            "train/clip_range": torch.tensor(scheduled.clip_range),
        }

    def train_on_batch(self, batch: Minibatch, scheduled: ScheduledValues) -> list[Tensor]:
        """Run the epochs over a whole rollout; return SCALARS of each gradient step."""
        c, results = self.config, []
        with nullcontext() if self.dense is None else self.dense.flat_state() as flat:
            for _ in range(c.n_epochs):
                results += self.train_epoch(batch, scheduled, flat)
                if c.target_kl is not None and results[-1][SCALARS.index("train/approx_kl")] > c.target_kl:
                    break
        return results

    def compute_advantages(self, rollout: Rollout, initial_state: np.ndarray | None = None) -> Minibatch:
        """Return advantages and value targets of a rollout that started from LSTM state `initial_state`."""
        c, valid = self.config, rollout.valid
        values, next_values = self.rollout_values(rollout)
        advantages = compute_gae(
            rollout.rewards, values, next_values, rollout.terminated, rollout.done, c.gamma, c.gae_lambda
        )
        returns = advantages + values
        if c.normalize_advantage and len(advantages[valid]) > 1:
            mean, std = advantages[valid].mean(), advantages[valid].std(ddof=1)
            advantages = (advantages - mean) / (std + 1e-8)
        actions = self.tensor(rollout.actions)
        log_prob = F.log_softmax(self.tensor(rollout.logits), -1).gather(-1, actions[..., None])[..., 0]
        values, advantages, returns, weights = (
            self.tensor(x) for x in (values, advantages, returns, valid.astype(np.float32))
        )
        batch = Minibatch(self.tensor(rollout.obs[:-1]), actions, log_prob, values, advantages, returns, weights)
        if c.recurrent:
            episode_start = self.tensor(rollout.episode_start[:-1]).T
            state = self.net.lstm.as_state(initial_state, len(episode_start))
            return batch.map(lambda x: x.transpose(0, 1))._replace(lstm=(state, episode_start))
        batch, keep = batch.map(lambda x: x.flatten(0, 1)), self.tensor(valid).flatten()
        return batch if valid.all() else batch.map(lambda x: x[keep])

    def rollout_values(self, rollout: Rollout) -> tuple[np.ndarray, np.ndarray]:
        """Return the values of the observations and of their successors, both [time, env]."""
        if rollout.next_values is not None:
            return rollout.values, rollout.next_values
        if self.net.critic is not None:  # not computed with the policy's outputs
            rollout.values[:] = self.values(np.concatenate(rollout.obs[:-1])).reshape(rollout.values.shape)
        next_values = np.concatenate((rollout.values[1:], rollout.values[-1:]))
        all_envs = np.arange(next_values.shape[1])
        ends = [Truncation(-1, all_envs, rollout.obs[-1], self.lstm_state), *rollout.truncations]
        states = (
            np.concatenate([end.lstm_state for end in ends if end.lstm_state is not None])
            if self.config.recurrent
            else None
        )
        end_values = self.values(np.concatenate([end.obs for end in ends]), states)
        for end in ends:
            next_values[end.t, end.envs], end_values = end_values[: len(end.obs)], end_values[len(end.obs) :]
        return rollout.values, next_values

    def train_epoch(self, batch: Minibatch, scheduled: ScheduledValues, flat: FlatState | None) -> list[Tensor]:
        """Take the gradient steps of an epoch, in compiled code those of `flat`; return SCALARS of each."""
        c = self.config
        if self.dense is not None and flat is not None:
            weighted, order, size = batch.shuffle(c.num_minibatches, c.rollout_fraction, self.rng)
            return self.dense.train_epoch(flat, weighted, order, size, scheduled)
        minibatches = batch.minibatches(c.num_minibatches, c.rollout_fraction, self.rng)
        return [self.train_minibatch(minibatch, scheduled) for minibatch in minibatches]

    def train_minibatch(self, minibatch: Minibatch, scheduled: ScheduledValues) -> Tensor:
        """Take one gradient step, the slices of the minibatch computed in parallel; return SCALARS."""
        total = max(float(minibatch.weights.sum()), 1e-8)
        slices = minibatch.slices(self.config.learners * self.parallel.n_threads)
        if self.group is not None:
            slices = self.group.own(slices, self.parallel.n_threads)
        results = self.parallel.gradients(self.net, lambda each: self.loss_gradients(each, scheduled, total), slices)
        scalars = sum(results, torch.zeros(len(SCALARS) - 2, device=self.device))
        if self.group is not None:
            self.group.sum([*(p.grad for p in self.net.parameters() if p.grad is not None), scalars])
        norms = clip_gradients(self.parameter_groups, self.config.max_grad_norm)
        self.optimizer.step()
        return torch.cat((scalars, torch.stack((norms[0], norms[-1]))))

    def loss_gradients(
        self, batch: Minibatch, scheduled: ScheduledValues, total: float
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        """Return the gradients of the loss, and SCALARS but the norms, for a slice of a minibatch of `total` weight."""

        def mean(x: Tensor) -> Tensor:
            return (x * batch.weights).sum() / total

        c, clip_range = self.config, scheduled.clip_range
        with self.precision.autocast():
            logits, values = self.net(batch.obs, *batch.lstm)[:2]
        log_pi = F.log_softmax(logits, -1)
        log_ratio = log_pi.gather(-1, batch.actions[..., None])[..., 0] - batch.log_prob
        ratio = log_ratio.exp()
        clipped_ratio = ratio.clamp(1 - clip_range, 1 + clip_range)
        policy_loss = -mean(torch.min(ratio * batch.advantages, clipped_ratio * batch.advantages))
        error = (values - batch.returns).square()
        if c.clip_range_vf is not None:
            change = (values - batch.old_values).clamp(-c.clip_range_vf, c.clip_range_vf)
            error = torch.max(error, (batch.old_values + change - batch.returns).square())
        value_loss, entropy = mean(error), -mean((log_pi.exp() * log_pi).sum(-1))
        loss = policy_loss + c.vf_coef * value_loss - scheduled.ent_coef * entropy
        gradients = torch.autograd.grad(loss, list(self.net.parameters()))
        with torch.no_grad():
            approx_kl = mean(ratio - 1 - log_ratio)
            clip_fraction = mean(((ratio - 1).abs() > clip_range).float())
            return gradients, torch.stack((loss, policy_loss, value_loss, -entropy, approx_kl, clip_fraction))

    @torch.no_grad()
    def policy_outputs(
        self,
        obs: np.ndarray,
        lstm_state: np.ndarray | None = None,
        episode_start: np.ndarray | None = None,
        net: Any = None,
    ) -> PolicyOutputs:
        """Return the outputs of the policy, or of `net`, for one observation of each environment (n, *shape)."""
        net = self.net if net is None else net
        if isinstance(net, DenseActor):
            return PolicyOutputs(net.logits(obs))
        start = np.ones(len(obs), np.bool_) if episode_start is None else episode_start
        inputs = self.net_inputs(obs, lstm_state, start)
        slices = zip(*(x.chunk(self.parallel.n_threads) for x in inputs), strict=True)
        results = self.parallel.map(torch.no_grad()(lambda each: self.forward(net, *each)), slices)
        return PolicyOutputs(*(torch.cat(x).cpu().numpy() for x in zip(*results, strict=True)))

    def forward(self, net: Any, obs: Tensor, *lstm: Tensor) -> tuple[Tensor, ...]:
        """Return logits, values if they share a network with the policy, and LSTM states if it is recurrent."""
        with self.precision.autocast():
            if lstm:
                state, episode_start = lstm
                return tuple(x[:, 0] for x in net(obs[:, None], state, episode_start[:, None]))
            return net(obs) if net.critic is None else (net.logits(obs),)

    @torch.no_grad()
    def values(self, obs: np.ndarray, lstm_state: np.ndarray | None = None) -> np.ndarray:
        """Return the values (n,) of observations (n, *shape), given the LSTM state before them."""
        if self.dense is not None:
            return self.dense.values(obs)

        @torch.no_grad()
        def compute(inputs: tuple[Tensor, ...]) -> Tensor:
            if self.net.critic is None:
                return self.forward(self.net, *inputs)[1]
            with self.precision.autocast():
                return self.net.values(*inputs)

        inputs = self.net_inputs(obs, lstm_state, np.zeros(len(obs), np.bool_))
        slices = zip(*(x.split(VALUE_BATCH) for x in inputs), strict=True)
        return torch.cat(self.parallel.map(compute, slices)).cpu().numpy()

    def net_inputs(
        self, obs: np.ndarray, lstm_state: np.ndarray | None, episode_start: np.ndarray
    ) -> tuple[Tensor, ...]:
        """Return the inputs of the network, one row an environment."""
        if not self.config.recurrent:
            return (self.tensor(obs),)
        return self.tensor(obs), self.net.lstm.as_state(lstm_state, len(obs)), self.tensor(episode_start)

    def act(
        self, obs: np.ndarray, state: Any, episode_start: np.ndarray, deterministic: bool
    ) -> tuple[np.ndarray, Any]:
        outputs = self.policy_outputs(obs, state, episode_start)
        if deterministic:
            return outputs.logits.argmax(1), outputs.lstm_state
        return sample_actions(outputs.logits, self.predict_rng), outputs.lstm_state

    def close(self) -> None:
        super().close()
        self.parallel.close()
        for each in (self.rollout_actors, self.learners):
            if each is not None:
                each.close()

    @property
    def restarts(self) -> int:
        who = self.rollout_actors or self.runner
        return (who.restarts if who else 0) + (self.learners.restarts if self.learners else 0)
