"""DQN: deep Q-learning with experience replay and a target network (Mnih et al. 2015).

    L = E[ huber( R + gamma^m max_a Q_target(s', a) - Q(s, a) ) ]

Options: n-step returns (Sutton 1988), dueling heads (Wang et al. 2016), proportional prioritized replay (Schaul et al.
2016), an LSTM (DRQN: Hausknecht & Stone 2015). DDQN (van Hasselt et al. 2016) changes one method.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rlgames.agents.base import Agent, Update
from rlgames.agents.config import BatchSize, NetArch, Units, linear_schedule
from rlgames.errors import InvalidValueError
from rlgames.experience.env_runner import EnvRunner, stacked_frames
from rlgames.experience.prioritized import PrioritizedReplayBuffer
from rlgames.experience.replay import WORTH_A_LINE, Batch, ReplayBuffer, describe_memory, memory_bytes
from rlgames.experience.sequences import Sequences, check_sequence_length, sample_sequences
from rlgames.networks.models import EncoderName, QNetwork
from rlgames.networks.optimizers import clip_gradients, make_optimizer
from rlgames.networks.precision import PrecisionName, choose_precision
from rlgames.networks.recurrent import RecurrentQNetwork
from rlgames.values import Count, NonNegative, Norm, Range, UnitInterval, check_fields

SCALARS = ("train/loss", "train/q_values", "train/grad_norm")


@dataclass(frozen=True)
class DQNConfig:
    buffer_size: Count = 100_000  # The replay buffer holds this many transitions.
    learning_starts: Annotated[int, Range(0)] = 1_000  # The replay has this many steps before the first update.
    train_freq: Count = 4  # There are so many environment steps between two updates, summed over the environments.
    gradient_steps: Count = 1  # An update takes this many gradient steps.
    batch_size: BatchSize = 32  # A gradient step learns from this many transitions.
    target_update_interval: Count = 1_000  # The target network is copied every so many gradient steps (SB3: env steps).
    optimizer: Literal["adam", "rmsprop", "rmsprop-graves"] = "adam"  # This optimizer takes the gradient steps.
    learning_rate: NonNegative = 1e-4  # Training starts with this learning rate.
    final_learning_rate: NonNegative | None = None  # It goes linearly to this at the end; None keeps it constant.
    gamma: UnitInterval = 0.99  # Rewards are discounted by this factor a step.
    n_steps: Count = 1  # So many rewards are summed before the target is bootstrapped.
    exploration_initial_eps: UnitInterval = 1.0  # A random action has this probability at first.
    exploration_final_eps: UnitInterval = 0.05  # It has this probability at last.
    exploration_fraction: UnitInterval = 0.1  # The probability falls over this part of training.
    dueling: bool = False  # State value and advantages have heads of their own.
    prioritized: bool = False  # Transitions are sampled proportionally to their last error.
    prioritized_alpha: UnitInterval = 0.6  # The priorities have this exponent; 0 samples uniformly.
    prioritized_beta: UnitInterval = 0.4  # The importance-sampling weights have this exponent at first, 1 at the end.
    loss: Literal["huber", "squared"] = "huber"  # This is the loss of the temporal-difference error.
    max_grad_norm: Norm | None = 10.0  # Gradients are clipped to this norm; None sets no limit.
    encoder: EncoderName = "auto"  # This encoder turns observations into features; auto chooses by their shape.
    net_arch: NetArch = None  # Layers of these many units follow it; None: 64 and 64 for vectors, none for pictures.
    precision: PrecisionName = "auto"  # Networks compute in this precision; auto is bfloat16 where that is faster.
    recurrent: bool = False  # An LSTM stands between encoder and heads (DRQN); a batch is then one of sequences.
    lstm_hidden_size: Units = 128  # The LSTM has this many units.
    sequence_length: Count = 16  # A sequence has this many steps.
    burn_in: Annotated[int, Range(0)] = 4  # The first steps of a sequence only fill the LSTM state, this many.

    def __post_init__(self) -> None:
        check_fields(self)
        if self.burn_in >= self.sequence_length:
            raise InvalidValueError(
                f"expected burn_in below sequence_length={self.sequence_length}, got {self.burn_in}"
            )
        if self.recurrent and self.prioritized:
            raise InvalidValueError(
                "recurrent=True samples sequences, prioritized=True single transitions: choose one of them"
            )


class DQN(Agent[DQNConfig]):
    """See the module's docstring; one yielded `Update` is `gradient_steps` gradient steps.

    Until the replay holds `learning_starts` steps there are none, and the updates have no scalars.
    """

    name, Config = "dqn", DQNConfig
    saved_attributes = ("net", "target", "optimizer", "num_updates", "runner", "lstm_state", "replay", "rng")

    def build(self) -> None:
        c = self.config
        arguments = self.observation_space, int(self.action_space.n), c.encoder, c.net_arch, c.dueling
        net = RecurrentQNetwork(*arguments, c.lstm_hidden_size) if c.recurrent else QNetwork(*arguments)
        self.net = net.to(self.device)
        self.precision = choose_precision(c.precision, c.encoder, self.observation_space, self.device)
        self.lstm_state: np.ndarray | None = None  # of the environments, (num_envs, 2 * lstm_hidden_size)
        self.target = copy.deepcopy(self.net).requires_grad_(False)
        self.optimizer = make_optimizer(c.optimizer, self.net.parameters(), c.learning_rate)
        self.num_updates = 0  # gradient steps
        self.replay: ReplayBuffer | None = None

    def train(self, total_timesteps: int) -> Iterator[Update]:
        c, runner = self.config, self.start_training()
        replay = self.replay
        assert replay is not None  # made by start_training
        while self.step < total_timesteps:
            progress = self.step / total_timesteps
            epsilon = linear_schedule(
                c.exploration_initial_eps,
                c.exploration_final_eps,
                progress / c.exploration_fraction if c.exploration_fraction else 1.0,
            )
            action, self.lstm_state = self.select_actions(runner, epsilon)
            replay.add(runner.step(action))
            previous, self.step = self.step, self.step + runner.num_envs
            rounds = self.step // c.train_freq - previous // c.train_freq
            if not rounds and self.step < total_timesteps:
                continue
            scalars: dict[str, Tensor] = {}
            if rounds and self.can_train(replay):
                steps = [self.train_step(replay, progress) for _ in range(rounds * c.gradient_steps)]
                scalars["rollout/exploration_rate"] = torch.tensor(epsilon)
                scalars |= dict(zip(SCALARS, torch.stack(steps).mean(0), strict=True))
                scalars["train/learning_rate"] = torch.tensor(self.optimizer.param_groups[0]["lr"])
            yield Update(self.step, scalars, runner.take_episodes())

    def make_buffers(self, runner: EnvRunner) -> None:
        c, num_envs, space = self.config, runner.num_envs, self.observation_space
        stack = stacked_frames(runner.envs)
        if c.prioritized:
            self.replay = PrioritizedReplayBuffer(
                *(c.buffer_size, num_envs, space),
                stack=stack,
                n_steps=c.n_steps,
                gamma=c.gamma,
                alpha=c.prioritized_alpha,
            )
        else:
            self.replay = ReplayBuffer(c.buffer_size, num_envs, space, stack=stack, n_steps=c.n_steps, gamma=c.gamma)
        if c.recurrent:
            check_sequence_length(self.replay, c.buffer_size, c.sequence_length)

    def largest_batch(self) -> int:
        c = self.config
        return max(c.batch_size * (c.sequence_length if c.recurrent else 1), super().largest_batch())

    def can_train(self, replay: ReplayBuffer) -> bool:
        """Return whether the replay holds `learning_starts` steps and something that can be sampled."""
        c = self.config
        least = c.sequence_length if c.recurrent else c.n_steps
        return replay.num_steps * replay.num_envs >= c.learning_starts and int(replay.head.min()) > least

    def select_actions(self, runner: EnvRunner, epsilon: float) -> tuple[np.ndarray, np.ndarray | None]:
        """Return epsilon-greedy actions (num_envs,), and the LSTM state after them."""
        explore = self.rng.random(runner.num_envs) < epsilon
        action = self.rng.integers(self.action_space.n, size=runner.num_envs)
        if explore.all() and not self.config.recurrent:
            return action, None
        greedy, lstm_state = self.greedy_actions(runner.obs, self.lstm_state, runner.episode_start)
        return np.where(explore, action, greedy), lstm_state

    def train_step(self, replay: ReplayBuffer, progress: float) -> Tensor:
        """Take one gradient step; return SCALARS."""
        c = self.config
        if c.final_learning_rate is not None:
            learning_rate = linear_schedule(c.learning_rate, c.final_learning_rate, progress)
            self.optimizer.param_groups[0]["lr"] = learning_rate
        self.optimizer.zero_grad()  # first: the memory of the last gradients is reused
        batch = self.sample(replay)
        q, error = self.sequence_td_errors(batch) if isinstance(batch, Sequences) else self.td_errors(batch)
        if c.loss == "huber":
            loss = F.huber_loss(error, torch.zeros_like(error), reduction="none")
        else:
            loss = 0.5 * error.square()  # as huber for errors up to 1
        if isinstance(replay, PrioritizedReplayBuffer) and isinstance(batch, Batch):
            beta = linear_schedule(c.prioritized_beta, 1.0, progress)
            loss = loss * self.tensor(replay.weights(batch, beta))
            replay.update_priorities(batch, error.detach().abs().cpu().numpy())
        loss = loss.mean()
        loss.backward()
        [grad_norm] = clip_gradients([self.net.parameters()], c.max_grad_norm)
        self.optimizer.step()
        self.num_updates += 1
        if self.num_updates % c.target_update_interval == 0:
            self.target.load_state_dict(self.net.state_dict())
        return torch.stack((loss.detach(), q.detach().mean(), grad_norm))

    def sample(self, replay: ReplayBuffer) -> Batch | Sequences:
        c = self.config
        if c.recurrent:
            return sample_sequences(replay, self.rng, c.batch_size, c.sequence_length, c.burn_in)
        return replay.sample(self.rng, c.batch_size)

    def td_errors(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return Q(s, a) and its temporal-difference error, (batch_size,) each."""
        with self.precision.autocast():
            q = self.net(self.tensor(batch.obs)).gather(1, self.tensor(batch.actions)[:, None])[:, 0]
            with torch.no_grad():
                next_q = self.next_q_values(self.tensor(batch.next_obs))
        return q, q - (self.tensor(batch.rewards) + self.tensor(batch.discounts) * next_q)

    def sequence_td_errors(self, batch: Sequences) -> tuple[Tensor, Tensor]:
        """As `td_errors`, of all valid steps of the sequences."""
        start = self.tensor(batch.episode_start)
        inputs = self.tensor(batch.obs), self.net.lstm.as_state(None, len(start)), start
        with self.precision.autocast():
            q = self.net(*inputs)[:, :-1].gather(2, self.tensor(batch.actions)[..., None])[..., 0]
            with torch.no_grad():
                next_q = self.next_q_values(*inputs).gather(1, self.tensor(batch.next_index))
        error = q - (self.tensor(batch.rewards) + self.tensor(batch.discounts) * next_q)
        valid = self.tensor(batch.valid)
        return q[valid], error[valid]

    def next_q_values(self, *inputs: Tensor) -> Tensor:
        """Return the value of the best action: the target network chooses it and values it."""
        return self.target(*inputs).amax(-1)

    @torch.no_grad()
    def greedy_actions(
        self, obs: np.ndarray, lstm_state: np.ndarray | None, episode_start: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Return actions (n,), and the LSTM state after `obs`, (n, 2 * lstm_hidden_size), or None without an LSTM."""
        with self.precision.autocast():
            if not self.config.recurrent:
                return self.net(self.tensor(obs)).argmax(1).cpu().numpy(), None
            state = self.net.lstm.as_state(lstm_state, len(obs))
            q, states = self.net.with_states(self.tensor(obs)[:, None], state, self.tensor(episode_start)[:, None])
            return q[:, 0].argmax(1).cpu().numpy(), states[:, 0].cpu().numpy()

    def act(
        self, obs: np.ndarray, state: Any, episode_start: np.ndarray, deterministic: bool
    ) -> tuple[np.ndarray, Any]:
        """Act greedily, or with `deterministic=False` as at the end of exploration."""
        action, state = self.greedy_actions(obs, state, episode_start)
        if not deterministic:
            explore = self.predict_rng.random(len(obs)) < self.config.exploration_final_eps
            action = np.where(explore, self.predict_rng.integers(self.action_space.n, size=len(obs)), action)
        return action, state

    def restart_episodes(self) -> bool:
        restarted = super().restart_episodes()
        if restarted and self.replay is not None:
            self.replay.restart_episodes()
        return restarted

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        if self.replay is not None and self.runner is not None and self.runner.episode_start.all():
            self.replay.restart_episodes()  # changes nothing where all saved episodes had ended

    def check_memory(self) -> str | None:
        if self.replay is not None or self.envs is None:  # allocated already, or nothing to learn in
            return None
        c = self.config
        _, nbytes = memory_bytes(
            *(c.buffer_size, self.envs.num_envs, self.observation_space),
            stack=stacked_frames(self.envs),
            n_steps=c.n_steps,
        )
        return describe_memory(c.buffer_size, nbytes) if nbytes >= WORTH_A_LINE else None


class DDQN(DQN):
    """Double Q-learning: the online network chooses the next action, the target network values it."""

    name, Config = "ddqn", DQNConfig

    def next_q_values(self, *inputs: Tensor) -> Tensor:
        """Return the target network's value of the action that the online network prefers."""
        return self.target(*inputs).gather(-1, self.net(*inputs).argmax(-1, keepdim=True))[..., 0]
