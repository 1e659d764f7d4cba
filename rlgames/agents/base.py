"""Base class of all agents: learn, predict, save, load."""

from __future__ import annotations

import textwrap
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

import gymnasium as gym
import numpy as np
import torch
from gymnasium.error import ClosedEnvironmentError
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import VectorEnv
from torch import Tensor, nn

from rlgames.agents.config import change_config, make_config
from rlgames.agents.metrics import MetricsLog, Update, summary_writer, write_scalars
from rlgames.agents.progress import Progress
from rlgames.agents.stored import (
    LimitedTensors,
    check_header,
    check_spaces,
    check_state,
    fitting,
    said_by,
    spaces_from_json,
    spaces_to_json,
    trained_task,
)
from rlgames.checkpoint import file as checkpoint
from rlgames.checkpoint.file import CheckpointError
from rlgames.envs.task import Task
from rlgames.errors import DivergedError, InvalidTypeError, InvalidValueError, NotWritableError, UsageError, brief
from rlgames.experience.env_runner import EnvRunner, as_vector_env, describe_not_finite, single_spaces
from rlgames.networks.threads import keep_freed_memory, one_torch_thread, suitable_threads, torch_threads
from rlgames.presets.lookup import resolve
from rlgames.presets.preset import Preset
from rlgames.schema import from_plain
from rlgames.values import Count, check_fields, check_seed, check_value

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

__all__ = ["Agent", "Update"]

ConfigT = TypeVar("ConfigT")
SEED_STRIDE = 10_000  # environment seeds of one agent: i of environment i; those of two agents do not overlap
SB3_SETTINGS = {  # what settings of Stable-Baselines3's agents are here, where no field has their name
    "verbose": "learn(..., log_interval=1) prints metrics",
    "tensorboard_log": "learn(..., tb_log_name='run') writes TensorBoard's events",
    "policy_kwargs": "net_arch and encoder are settings of their own",
    "batch_size": "num_minibatches says into how many a rollout is divided",
}


class Agent(ABC, Generic[ConfigT]):
    """One interface for all algorithms; `learn`, `predict`, `save` and `load` as in Stable-Baselines3.

    `env` is the name of a game ("CatchBall", "CatchBall:size=16", "rlgames/Cave-v0", or any id that Gymnasium knows), a
    Gymnasium Env, or a VectorEnv, with Box observations and Discrete actions. With a name, `config=None` takes the
    preset tuned for that game, and `num_envs` (default: the preset's) environments are stepped at once; `preset` takes
    that one's place (see `rlgames.load_preset`). All other keywords are fields of the config, which they change:
    `PPO("CartPole", learning_rate=1e-3)`. `device` is "auto" (a GPU if there is one), "cpu", "cuda", ...

    All randomness comes from `seed`: the same seed, machine and number of torch threads give the same parameters. The
    state between two updates is in `saved_attributes`, so that an agent restored from `state_dict()` continues bit for
    bit, provided that its environments have `snapshot` and `restore`, as those of rlgames do, or that
    `restart_episodes` was called before.
    """

    name: ClassVar[str]
    Config: ClassVar[type]
    saved_attributes: ClassVar[tuple[str, ...]] = ("runner", "rng")  # the state, besides `step` and `predict_rng`
    env_attributes: ClassVar[tuple[str, ...]] = (
        "runner",
        "lstm_state",
        "replay",
    )  # those that belong to the environments
    net: Any  # the nn.Module whose parameters are the agent

    def __init__(
        self,
        env: str | gym.Env | VectorEnv,
        config: ConfigT | None = None,
        *,
        seed: int = 0,
        device: str = "auto",
        num_envs: int | None = None,
        preset: Preset | None = None,
        **settings: Any,
    ):
        check_first_arguments(type(self), env, config)
        check_preset(preset, env)
        num_envs = check_value("num_envs", num_envs, Count | None)
        if isinstance(env, str):
            preset, task = resolve(self.name, env, preset=preset)
            config = self._complete_config(config, preset.config, settings)
            num_envs = num_envs or preset.envs
            in_workers = self.plays_in_workers(config)
            envs = task.make_vec(1 if in_workers else num_envs, training=True)  # one for its spaces
            try:
                self._setup(*single_spaces(envs), config, seed, device, task)
            except BaseException:
                envs.close()
                raise
            if in_workers:
                envs.close()
                self.num_envs = num_envs
                return
        elif num_envs is not None:
            raise InvalidValueError(
                f"num_envs={num_envs} goes with the name of a game, got the environment {brief(env)}: leave it out"
            )
        else:
            envs = as_vector_env(env)
            self._setup(*single_spaces(envs), self._complete_config(config, {}, settings), seed, device, None)
        self.envs, self.num_envs = envs, envs.num_envs

    @classmethod
    def _complete_config(cls, config: ConfigT | None, preset: dict[str, Any], settings: dict[str, Any]) -> ConfigT:
        """Return `config`, or that of the preset, with `settings` in place of its own."""
        known = cls.Config.__dataclass_fields__
        for name in settings:
            if name in SB3_SETTINGS and name not in known and (name != "batch_size" or "num_minibatches" in known):
                raise InvalidTypeError(
                    f"{cls.__name__} has no setting {name}={brief(settings[name])}: {SB3_SETTINGS[name]}"
                )
        if config is None:
            return make_config(cls.Config, preset | settings)
        check_config_class(cls, config)
        return change_config(config, settings)

    def _setup(self, space: Box, actions: Discrete, config: Any, seed: int, device: str, task: Task | None) -> None:
        check_config_class(type(self), config)
        check_fields(config)
        seed = check_seed(seed)
        self.observation_space, self.action_space, self.config = space, actions, config
        self.seed, self.task, self.step, self.closed = seed, task, 0, False
        self.device = as_device(device)
        self.envs: VectorEnv | None = None  # to learn in
        self.num_envs: int | None = None
        self.runner: EnvRunner | None = None
        self.rng = np.random.default_rng([seed, 1])  # of training
        self.predict_rng = np.random.default_rng([seed, 2])  # predict() does not perturb training
        with torch.random.fork_rng(devices=[]), one_torch_thread():  # orthogonal weights depend on their number
            torch.default_generator.manual_seed(seed)  # networks are made on the CPU; torch.manual_seed: all GPUs' too
            self.build()

    def __repr__(self) -> str:
        game = self.task or (describe_envs(self.envs) if self.envs is not None else f"{self.observation_space}")
        return f"<{type(self).__name__} on {game}: {self.step:,} steps, {self.device}>"

    # ---- filled in by an algorithm ----

    @classmethod
    def plays_in_workers(cls, config: Any) -> bool:
        """Return True if other processes make and step the environments, and this one none."""
        return False

    @abstractmethod
    def build(self) -> None:
        """Make the networks and optimizers; torch's generator was just seeded."""

    @abstractmethod
    def train(self, total_timesteps: int) -> Iterator[Update]:
        """Run the algorithm until `self.step` reaches `total_timesteps`, yielding after every update.

        Schedules run over `total_timesteps`. Stopping between two updates and calling `train` again continues exactly.
        """

    @abstractmethod
    def act(
        self, obs: np.ndarray, state: Any, episode_start: np.ndarray, deterministic: bool
    ) -> tuple[np.ndarray, Any]:
        """Return actions (n,) from 0 for observations (n, *shape), and the LSTM state, None without an LSTM."""

    def make_buffers(self, runner: EnvRunner) -> None:
        """Make what depends on the environments, such as a replay buffer; called once, by `start_training`."""

    def check_memory(self) -> str | None:
        """Return a line on the memory that training takes, None if little. Raises MemoryError if it is not free."""
        return None

    def largest_batch(self) -> int:
        """Return about how many observations the network gets at once in training."""
        return self.num_envs or 1

    def suitable_threads(self, batch: int | None = None) -> int | None:
        """Return the number of torch's threads for `batch` observations at once; None: as torch or the user has it."""
        if not isinstance(self.net, nn.Module):
            return None
        batch = self.largest_batch() if batch is None else batch
        return suitable_threads(self.net, self.observation_space.shape, batch, self.device)

    @property
    def restarts(self) -> int:
        """Return how many processes of a cluster were replaced since this agent was made or loaded."""
        return 0 if self.runner is None else self.runner.restarts

    # ---- learning ----

    def learn(
        self,
        total_timesteps: int,
        callback: Callable[[Update], bool | None] | None = None,
        log_interval: int | None = None,
        tb_log_name: str | None = None,
        reset_num_timesteps: bool = False,
        progress_bar: bool = False,
    ) -> Self:
        """Train for `total_timesteps` more environment steps, rounded up to whole updates; return the agent.

        The arguments are Stable-Baselines3's. `callback` is a function that is called with each `Update`; training
        stops when it returns False. Every `log_interval` updates a line of metrics is printed (None: never).
        `tb_log_name` writes TensorBoard events to the folder `runs/<tb_log_name>_1`, `_2`, ... (extra `tensorboard`).
        `reset_num_timesteps=True` starts counting steps, and with them the schedules, from 0 again; unlike SB3's, the
        default continues, as after `load`.

        SB3's callback classes and lists of callbacks are not taken (TypeError): evaluate and save in a function,
        iterate `agent.train(n)`, or use `rlgames train`. torch gets one thread for a small network, and then as many as
        before, unless the user has set their number. `tensorboard_log` and `verbose`, which SB3 passes to the
        constructor, are `tb_log_name` and `log_interval` here.

        Raises ValueError for total_timesteps or log_interval < 1 or with a fraction (1e5 is fine), and as soon as the
        weights are not finite.
        """
        total_timesteps = check_value("total_timesteps", total_timesteps, Count)
        log_interval = check_value("log_interval", log_interval, Count | None)
        check_value("reset_num_timesteps", reset_num_timesteps, bool)
        check_value("progress_bar", progress_bar, bool)
        if callback is not None and (isinstance(callback, type) or not callable(callback)):
            raise InvalidTypeError(
                f"expected callback to be a function of one Update, got {brief(callback)}: "
                "callback classes of Stable-Baselines3 and lists are not supported"
            )
        if reset_num_timesteps:
            self.step = 0
        start, metrics = self.step, MetricsLog()
        with ExitStack() as stack:
            stack.enter_context(torch_threads(self.suitable_threads()))
            writer = stack.enter_context(new_summary_writer(tb_log_name, start)) if tb_log_name is not None else None
            name = self.name if self.task is None else f"{self.name} on {self.task}"
            progress = Progress(name, start + total_timesteps, start, keep=True) if progress_bar else None
            if progress:
                stack.enter_context(progress)
            updates = stack.enter_context(closing(self.train(start + total_timesteps)))  # pyright: ignore[reportArgumentType]  a generator
            for count, update in enumerate(updates, 1):
                metrics.add(update)
                if not metrics.finite:
                    self.check_weights()
                if (log_interval or writer) and count % (log_interval or 1) == 0:
                    row = metrics.row(update.step)
                    if log_interval:
                        print("  ".join(f"{key} {value:.6g}" for key, value in row.items() if key != "scores"))
                    if writer:
                        write_scalars(writer, row)
                if progress:
                    progress.update(update.step, metrics.score_mean)
                if callback and callback(update) is False:
                    break
        return self

    def start_training(self) -> EnvRunner:
        """Make the environments, their runner and the buffers, unless they exist; return the runner.

        Raises ValueError if there is no environment to learn in, ClosedEnvironmentError after `close`.
        """
        self.check_open()
        if self.runner is None:
            if self.envs is None and self.task is not None and self.num_envs:
                self.envs = self.task.make_vec(self.num_envs, training=True)
            if self.envs is None:
                raise InvalidValueError("this agent was loaded without an environment to learn in: load(path, env=...)")
            keep_freed_memory()
            self.runner = EnvRunner(self.envs, SEED_STRIDE * self.seed)
            self.make_buffers(self.runner)
        return self.runner

    def restart_episodes(self) -> bool:
        """For envs without snapshot(): start new episodes from a seed derived from `seed` and `step`.

        Running episodes are truncated. An agent saved right after continues as this one does. Returns whether it was
        needed.
        """
        if self.plays_in_workers(self.config):
            return False
        runner = self.start_training()
        if runner.snapshot() is None:
            runner.restart_episodes(int(np.random.default_rng([self.seed, 4, self.step]).integers(2**30)))
            return True
        return False

    def resumes_exactly(self) -> bool:
        """Return whether this agent, which was loaded, continues as the saved one would have."""
        return not self.plays_in_workers(self.config) and self.start_training().exact

    def check_weights(self) -> None:
        """Raise ValueError if training has diverged, so that a parameter of a network is infinite or NaN."""
        for name in self.networks():
            for key, parameter in getattr(self, name).named_parameters():
                if not parameter.isfinite().all():
                    raise DivergedError(
                        f"after {self.step:,} steps {self.name} has weights that are not finite ({name}.{key}): "
                        "training diverged; lower learning_rate or max_grad_norm, or scale the rewards down"
                    )

    def tensor(self, x: np.ndarray) -> Tensor:
        return torch.from_numpy(x).to(self.device, non_blocking=True)

    def make_env(self, render_mode: str | None = None) -> gym.Env:
        """Make one environment of the agent's game as the agent sees it, with the game's own rewards.

        Raises ValueError for an agent that was given its environments.
        """
        return self._task_with_own_rewards().make(render_mode=render_mode)

    def make_vec_env(self, num_envs: int = 1) -> VectorEnv:
        """Make `num_envs` environments, as `make_env`; they reset in the step in which an episode ends."""
        return self._task_with_own_rewards().make_vec(check_value("num_envs", num_envs, Count))

    def _task_with_own_rewards(self) -> Task:
        if self.task is None:
            raise InvalidValueError(
                f"{self!r} was made of an environment, not of a game's name: make another as that one was made"
            )
        return replace(self.task.local, rewards=None)

    def close(self) -> None:
        """Close the environments that the agent made from a game's name; those handed in are the caller's.

        `predict`, `save` and evaluation still work; closing twice is fine.
        """
        if self.task is not None and self.envs is not None and not self.closed:
            self.envs.close()
        self.closed = True

    def check_open(self) -> None:
        """Raise ClosedEnvironmentError after `close`."""
        if self.closed:
            raise ClosedEnvironmentError("this agent is closed: load its checkpoint to learn on")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- acting ----

    def predict(
        self,
        observation: Any,  # an array, or what becomes one; Any as Stable-Baselines3's PolicyPredictor admits dicts
        state: Any = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = True,
    ) -> tuple[np.ndarray, Any]:
        """Return actions for one observation, shape (), or for a batch, (n,), and the LSTM state for the next call.

        An observation may be an array, a tensor on any device, or what NumPy makes an array of.

        Raises ValueError for an observation of another shape, whose dtype or values the observation space's dtype
        cannot hold (a float picture in 0..1 is not cast to uint8), or which is not finite; TypeError for a dictionary,
        and for the pair that `env.reset()` returns.
        """
        space, obs = self.observation_space, as_array(observation)
        if obs.shape != space.shape and obs.shape[1:] != space.shape:
            found = f"{obs.shape}{value_of(observation)}"
            raise InvalidValueError(
                f"expected an observation of shape {space.shape}, or a batch of them, got {found}: {self._remedy()}"
            )
        if not can_hold(space, obs):
            values = f" in {obs.min()}..{obs.max()}" if obs.size and obs.dtype.kind in "iuf" else ""
            raise InvalidValueError(
                f"expected observations of dtype {space.dtype} in {space.low.min()}..{space.high.max()}, "
                f"got {obs.dtype}{values}{value_of(observation)}: give them before any scaling; {self._remedy()}"
            )
        if (problem := describe_not_finite(obs)) is not None:
            raise InvalidValueError(f"expected an observation finite as float32, got {problem}: {self._remedy()}")
        obs = np.require(obs, space.dtype, ["C", "W"])  # copied only if torch could not take it
        if not isinstance(deterministic, bool | np.bool_):
            raise InvalidTypeError(f"expected deterministic to be True or False, got {brief(deterministic)}")
        single = obs.shape == space.shape
        obs = obs[None] if single else obs
        start = np.zeros(len(obs), np.bool_)
        if episode_start is not None:
            start = np.atleast_1d(as_array(episode_start, "episode_start")).astype(np.bool_)
        if start.shape != (len(obs),):
            raise InvalidValueError(
                f"expected episode_start to be {len(obs)} bools, one an observation, got {brief(episode_start)}"
            )
        action, state = self.act(obs, state, start, deterministic)
        action = action + self.action_space.start
        return (action[0, ...] if single else action), state

    def _remedy(self) -> str:
        """Return where observations that the agent takes come from."""
        if self.task is None:
            return "give them as the environment does that the agent was made for"
        return "agent.make_env() and agent.make_vec_env(n) make the game as this agent sees it"

    # ---- saving and loading ----

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy the agent with all that a checkpoint holds; environments that it was given are left out."""
        state = checkpoint.resolve_parts(self.state_dict())
        spaces = self.observation_space, self.action_space
        settings = self.config, self.seed, str(self.device), self.task, self.num_envs, self.closed
        return copy_agent, (type(self), spaces, settings, state)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that decides what comes next: `step`, the RNG of predict, and the saved attributes.

        Raises ValueError for weights that are not finite: they are never saved.
        """
        self.check_weights()
        state: dict[str, Any] = {"step": self.step, "predict_rng": self.predict_rng.bit_generator.state}
        return state | {name: attribute_state(getattr(self, name)) for name in self.saved_attributes}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a `state_dict()`; environments and buffers are made first, if it has theirs and they can be made.

        With another number of environments it starts new episodes, with an empty replay buffer, and warns.
        """
        runner = state.get("runner")
        learns_here = (self.envs is not None or self.task is not None) and not self.plays_in_workers(self.config)
        if runner is not None and learns_here:
            saved, own = len(runner["obs"]), self.start_training()
            if saved != own.num_envs:
                state = self._without_envs(state)
                own.exact = False
                warnings.warn(
                    f"saved with {saved} environments, learning on in {own.num_envs}: with new episodes"
                    f"{' and an empty replay buffer' if 'replay' in state else ''}, so not as the saved agent would",
                    stacklevel=2,
                )
        self.step = state["step"]
        self.predict_rng.bit_generator.state = state["predict_rng"]
        networks = self.networks()
        for name in self.saved_attributes:
            if name in state or name in networks:  # the other attributes are missing where weights alone were saved
                self._load_attribute(name, state[name])

    def _without_envs(self, state: dict[str, Any]) -> dict[str, Any]:
        """Return a state without what belongs to the environments, and forget LSTM states of one's own."""
        for name in self.env_attributes:
            if isinstance(getattr(self, name, None), np.ndarray):
                setattr(self, name, None)
        return state | dict.fromkeys(state.keys() & set(self.env_attributes))

    def _load_attribute(self, name: str, saved: Any) -> None:
        attribute = getattr(self, name)
        if isinstance(attribute, np.random.Generator):
            attribute.bit_generator.state = saved
        elif isinstance(attribute, int) or isinstance(saved, np.ndarray):
            setattr(self, name, saved)
        elif attribute is not None and saved is not None:
            attribute.load_state_dict(saved)

    def networks(self) -> list[str]:
        """Return the names of the saved attributes that are networks."""
        return [name for name in self.saved_attributes if isinstance(getattr(self, name), nn.Module)]

    def header(self) -> dict[str, Any]:
        """Return the header of a checkpoint of this agent."""
        return {
            "agent": self.name,
            "config": checkpoint.config_to_json(self.config),
            "seed": self.seed,
            "step": self.step,
            "task": self.task and self.task.to_json(),
            "num_envs": self.num_envs,
            "spaces": spaces_to_json(self.observation_space, self.action_space),
        }

    def save(self, path: str | Path, *, weights_only: bool = False) -> None:
        """Write one checkpoint file: config, parameters, optimizer, random generators, buffers, environments.

        Folders that are missing are made. `weights_only` keeps only config, parameters and the number of steps: a small
        file to share. Learning on from it starts with a new optimizer, new episodes and an empty replay.

        Raises OSError if writing fails, in one line for a folder and where no folder can be made.
        """
        path = Path(path)
        if path.is_dir():
            raise NotWritableError(f"{path} is a folder: give a file, such as {path / f'{self.name}.ckpt'}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise NotWritableError(f"{path} cannot be written: {error}") from error
        state = self.playing_state() if weights_only else checkpoint.resolve_parts(self.state_dict())
        checkpoint.save(path, self.header(), state)

    def playing_state(self) -> dict[str, Any]:
        """Return what is enough to play of `state_dict()`. Raises ValueError for weights that are not finite."""
        self.check_weights()
        state: dict[str, Any] = {"step": self.step, "predict_rng": self.predict_rng.bit_generator.state}
        return state | {name: attribute_state(getattr(self, name)) for name in self.networks()}

    def _weights_of(self, state: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in state.items() if key in (*self.networks(), "step", "predict_rng")}

    @classmethod
    def load(
        cls,
        path: str | Path,
        env: str | gym.Env | VectorEnv | None = None,
        *,
        num_envs: int | None = None,
        device: str = "auto",
        weights_only: bool = False,
    ) -> Self:
        """Load the agent of a checkpoint. It continues exactly if it was made from a game's name, or gets its `env`.

        What the file holds is restored at once: environments are made, and the replay buffer is filled; without
        environments to learn in, both are left out. In another number of environments, of `env` or by `num_envs` (with
        the game that was saved, or a name), it learns on with new episodes. With `weights_only` networks alone are
        loaded, which is enough to play and evaluate; learning on then starts with new episodes.

        The file may be anyone's: it runs nothing, and `Task.from_json` says which games it may name.

        Raises CheckpointError, in one line, for a damaged or forged file, that of another agent, one of a game that is
        not registered here while `env` does not name another, or one that does not fit `env`.
        """
        header, state = checkpoint.load(path)
        return cls.from_checkpoint(
            path, header, state, env, num_envs=num_envs, device=device, weights_only=weights_only
        )

    @classmethod
    def from_checkpoint(
        cls,
        path: str | Path,
        header: dict[str, Any],
        state: Any,
        env: str | gym.Env | VectorEnv | None = None,
        *,
        num_envs: int | None = None,
        device: str = "auto",
        weights_only: bool = False,
    ) -> Self:
        """Make the agent of a checkpoint that was read already; arguments and errors as in `load`."""
        num_envs = check_value("num_envs", num_envs, Count | None)
        check_header(path, header)
        cls._check_agent(path, header, "rlgames.load loads any agent")
        check_state(path, header, state)
        as_device(device)
        with said_by(path):
            config = from_plain(cls.Config, header["config"])
        trained = trained_task(path, header, env)

        task, envs = trained, None
        if isinstance(env, str):
            preset, task = resolve(cls.name, env, trained)
            num_envs = num_envs or header["num_envs"] or preset.envs
            one = task.make_vec(1)  # for its spaces
            space, actions = single_spaces(one)
            one.close()
        elif env is not None:
            if num_envs is not None:
                raise InvalidValueError(
                    f"num_envs={num_envs} goes with the name of a game, got the environment {brief(env)}: leave it out"
                )
            task, envs = None, as_vector_env(env)
            num_envs, (space, actions) = envs.num_envs, single_spaces(envs)
        else:
            num_envs = (num_envs or header["num_envs"] or 1) if task else None
            space, actions = spaces_from_json(header["spaces"])
        check_spaces(path, header, space, actions)

        agent = cls.__new__(cls)
        with fitting(path), LimitedTensors(state):
            agent._setup(space, actions, config, header["seed"], device, task)
        agent.envs, agent.num_envs = envs, num_envs
        state = agent._weights_of(state) if weights_only else state
        learns_here = (envs is not None or task is not None) and not cls.plays_in_workers(config)
        if state.get("runner") is not None and learns_here:
            with said_by(path) if env is None else nullcontext():
                made = agent.start_training()  # before `fitting`: an error of a user's environment keeps its traceback
            check_spaces(path, header, *single_spaces(made.envs))
        elif "runner" in state and env is None and task is not None:
            with said_by(path):
                task.make_vec(1, training=True).close()  # what cannot be made here cannot be made in workers either
        with fitting(path, "; weights_only=True loads the networks alone" if "runner" in state else ""):
            agent.load_state_dict(state)
        return agent

    def start_from(self, path: str | Path) -> None:
        """Take the networks of a trained agent's checkpoint, of this game or another; all else stays new.

        Raises CheckpointError as `load` does.
        """
        header, state = checkpoint.load(path)
        check_header(path, header)
        self._check_agent(path, header, "networks are taken from an agent of the same kind")
        check_state(path, header, state)
        check_spaces(path, header, self.observation_space, self.action_space)
        own = {"step": self.step, "predict_rng": self.predict_rng.bit_generator.state}
        with fitting(path):
            self.load_state_dict(own | {name: state[name] for name in self.networks()})

    @classmethod
    def _check_agent(cls, path: str | Path, header: dict[str, Any], remedy: str) -> None:
        if header["agent"] != cls.name:
            raise CheckpointError(f"{path}: holds the agent {brief(header['agent'])}, expected {cls.name!r}: {remedy}")


def as_device(name: str | torch.device) -> torch.device:
    """Return a device, "auto" being a GPU if there is one. Raises ValueError for one that torch does not have here."""
    if not isinstance(name, str | torch.device):
        raise InvalidValueError(f"no device {brief(name)} here (it is no name of one): use 'auto' or 'cpu'")
    try:
        device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
        torch.zeros(1, device=device).cpu()  # "meta" has no numbers
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        reason = textwrap.shorten(" ".join(str(error).split("\n")[:1]), 80, placeholder=" ...")
        raise InvalidValueError(f"no device {brief(name)} here ({reason}): use 'auto' or 'cpu'") from error
    if device.type == "cuda":
        torch.backends.cudnn.deterministic = True  # else gradients of convolutions differ from run to run
    return device


def copy_agent(
    cls: type[Agent], spaces: tuple[Box, Discrete], settings: tuple[Any, ...], state: dict[str, Any]
) -> Agent:
    """Return an agent with this state; see `Agent.__reduce__`."""
    config, seed, device, task, num_envs, closed = settings
    agent = cls.__new__(cls)
    agent._setup(*spaces, config, seed, device, task)
    agent.num_envs = num_envs
    agent.load_state_dict(state)
    if closed:
        agent.close()
    return agent


def attribute_state(attribute: Any) -> Any:
    """Return the state of a saved attribute: a network, an optimizer, a generator, a number or an array."""
    if attribute is None or isinstance(attribute, int | np.ndarray):
        return attribute
    return attribute.bit_generator.state if isinstance(attribute, np.random.Generator) else attribute.state_dict()


def check_first_arguments(agent_class: type[Agent], env: Any, config: Any) -> None:
    """Raise TypeError for the first arguments of Stable-Baselines3's agents: a policy, and then an environment."""
    name = agent_class.__name__
    if isinstance(env, str) and env.endswith("Policy"):
        raise InvalidTypeError(
            f"expected a game's name or an environment first, got the policy {env!r}: "
            f'leave it out, {name}(env) or {name}("CartPole") chooses a network for the observations'
        )
    if isinstance(config, str | gym.Env | VectorEnv):
        raise InvalidTypeError(
            f"expected a {agent_class.Config.__name__} as the second argument of {name}, got {brief(config)}: "
            "an agent takes one environment, or one game's name, as its first"
        )


def check_preset(preset: Any, env: Any) -> None:
    if not isinstance(preset, Preset | None):
        raise InvalidTypeError(
            f"expected a preset, got {brief(preset)}: rlgames.preset(agent, game) has one, rlgames.load_preset(path)"
            " reads one"
        )
    if preset is not None and not isinstance(env, str):
        raise InvalidValueError(
            f"a preset goes with the name of a game, got the environment {brief(env)}: leave it out"
        )


def check_config_class(agent_class: type[Agent], config: Any) -> None:
    if not isinstance(config, agent_class.Config):
        raise InvalidTypeError(
            f"expected a {agent_class.Config.__name__} for {agent_class.name}, got {brief(config)}: "
            "or give its fields as keywords"
        )


def describe_envs(envs: VectorEnv) -> str:
    """Return the id of the environments, their class if they have none."""
    one = getattr(envs.unwrapped, "envs", [envs])[0]  # of a SyncVectorEnv
    spec = one.spec or envs.spec
    return spec.id if spec is not None else type(one.unwrapped).__name__


def as_array(observation: Any, name: str = "the observation") -> np.ndarray:
    """Return an observation as an array, or another argument of this `name`. Raises as `Agent.predict` does."""
    if isinstance(observation, Tensor):
        tensor = observation.detach().cpu()
        return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
    if isinstance(observation, Mapping):
        raise InvalidTypeError(
            f"expected an array as the observation, got a dictionary with the keys {brief(list(observation))}: "
            "wrap the environment in gymnasium.wrappers.FlattenObservation, or give one of its arrays"
        )
    if isinstance(observation, tuple) and len(observation) == 2 and isinstance(observation[1], Mapping):
        raise InvalidTypeError(
            "expected an array as the observation, got the pair (observation, information) that env.reset() returns: "
            "write obs, info = env.reset()"
        )
    try:
        array = np.asarray(observation)
    except ValueError as error:  # of NumPy, for lists of unequal lengths
        raise InvalidValueError(
            f"expected an array as {name}, got {brief(observation)}: its parts have unequal shapes"
        ) from error
    if array.dtype.kind not in "biufc":
        raise InvalidTypeError(
            f"expected an array of numbers as {name}, got {brief(observation)}: give what env.reset() or env.step() "
            "returns first"
        )
    return array


def value_of(observation: Any) -> str:
    """Return " of ..." with the value of an observation that is no array, whose shape and dtype say enough."""
    return "" if isinstance(observation, np.ndarray | Tensor) else f" of {brief(observation)}"


def can_hold(space: Box, obs: np.ndarray) -> bool:
    """Return whether the dtype of `space` holds `obs`: no floats for integers, no integers out of range."""
    if obs.dtype.kind in "iu" and np.issubdtype(space.dtype, np.integer):
        limits = np.iinfo(str(space.dtype))
        return not obs.size or bool(limits.min <= obs.min() and obs.max() <= limits.max)
    return np.can_cast(obs.dtype, space.dtype, "same_kind")


def new_summary_writer(name: str, step: int) -> SummaryWriter:
    """Return TensorBoard's writer for a new folder `runs/<name>_<i>`. Raises UsageError without the extra."""
    i = 1
    while (folder := Path("runs") / f"{name}_{i}").exists():
        i += 1
    writer = summary_writer(folder, step)
    if writer is None:
        raise UsageError(f'tb_log_name={name!r} needs TensorBoard: pip install "rlgames[tensorboard]"')
    return writer
