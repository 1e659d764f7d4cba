"""What every agent can do: learn, act, be saved and loaded."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Generic, NamedTuple, Self, TypeVar

import gymnasium as gym
import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import VectorEnv
from torch import Tensor, nn

from rlgames.agents.config import finite
from rlgames.checkpoint import file as checkpoint
from rlgames.checkpoint.file import CheckpointError
from rlgames.experience.env_runner import Player, spaces_of, vectorised
from rlgames.networks.threads import keep_freed_memory

ConfigT = TypeVar("ConfigT")
SEEDS_APART = 10_000  # environment seeds of one agent; player i has the i-th, and no two agents share one


class Update(NamedTuple):
    """What `train` reports after each update."""

    step: int  # environment steps of the agent's life so far, all players counted
    scalars: dict[str, Tensor]  # losses and the like, 0-d, still on their device
    scores: list[float]  # scores of the episodes that ended since the last update, as the game counts


class Agent(ABC, Generic[ConfigT]):
    """One interface for all algorithms; `learn`, `predict`, `save` and `load` as in Stable-Baselines3.

    `env` is the name of a game ("CatchBall", "CatchBall:size=16", "rlgames/Cave-v0", or any id that Gymnasium knows), a
    Gymnasium Env, or a VectorEnv, with Box observations and Discrete actions. With a name, `config=None` takes the
    preset tuned for that game, and `num_envs` (default: the preset's) says how many play at once. `device` is "auto"
    (a GPU if there is one), "cpu", "cuda", ...

    All randomness comes from `seed`: the same seed, machine and number of torch threads give the same parameters. What
    is alive between two updates is in `parts`, so that an agent restored from `state_dict()` goes on bit for bit,
    provided that its environments offer `snapshot` and `restore`, as those of rlgames do, or that `renew` was called.
    """

    name: ClassVar[str]
    Config: ClassVar[type]
    parts: ClassVar[tuple[str, ...]] = ("player", "rng")  # attributes that make up the state, besides `step`
    net: Any  # the nn.Module whose parameters are the agent

    def __init__(
        self,
        env: str | gym.Env | VectorEnv,
        config: ConfigT | None = None,
        *,
        seed: int = 0,
        device: str = "auto",
        num_envs: int | None = None,
    ):
        if isinstance(env, str):
            from rlgames.presets import (
                lookup as presets,  # an id instead of an environment is settled by the presets above
            )

            chosen, task = presets.settle(self.name, env)
            made = task.make_vec(chosen.envs if num_envs is None else num_envs)
            try:
                self._setup(*spaces_of(made), chosen.config if config is None else config, seed, device, task)
            except BaseException:
                made.close()
                raise
        elif num_envs is not None:
            raise ValueError(f"num_envs={num_envs} goes with the name of a game: {env} is made already")
        else:
            made = vectorised(env)
            self._setup(*spaces_of(made), self.Config() if config is None else config, seed, device, None)
        self.envs, self.num_envs = made, made.num_envs

    def _setup(self, space: Box, actions: Discrete, config: Any, seed: int, device: str, task: Any) -> None:
        if not isinstance(config, self.Config):
            raise TypeError(f"{self.name} takes a {self.Config.__name__}, got {config!r}")
        finite(config)
        if seed < 0:
            raise ValueError(f"expected seed >= 0, got {seed}")
        self.observation_space, self.action_space, self.config = space, actions, config
        self.seed, self.task, self.step = seed, task, 0
        self.device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
        self.envs: VectorEnv | None = None  # to learn in; a loaded agent makes those of its task when it learns
        self.num_envs: int | None = None  # how many those are, or will be
        self.player: Player | None = None
        self.pending: dict[str, Any] = {}  # loaded states of the parts that are made when first needed
        self.rng = np.random.default_rng([seed, 1])  # training's dice
        self.dice = np.random.default_rng([seed, 2])  # predict's: looking at an agent does not change its training
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)  # the CPU's: networks are made there; manual_seed: all GPUs' too
            self.build()

    # ---- what an algorithm fills in ----

    @abstractmethod
    def build(self) -> None:
        """Make the networks and optimisers; torch's generator has just been seeded."""

    @abstractmethod
    def train(self, total_timesteps: int) -> Iterator[Update]:
        """The algorithm: play and learn until `self.step` reaches `total_timesteps`, pausing after every update.

        Schedules run over `total_timesteps`. Stopping between two updates and calling `train` again goes on exactly.
        """

    @abstractmethod
    def act(
        self, obs: np.ndarray, state: Any, episode_start: np.ndarray, deterministic: bool
    ) -> tuple[np.ndarray, Any]:
        """Actions (n,) from 0 for observations (n, *shape); `state` is the memory of recurrent agents, else None."""

    # ---- what everybody calls ----

    def learn(self, total_timesteps: int, *, progress_bar: bool = False) -> Self:
        """Train for `total_timesteps` more environment steps (rounded up to whole updates)."""
        if total_timesteps < 1:
            raise ValueError(f"expected total_timesteps >= 1, got {total_timesteps}")
        goal, start = self.step + total_timesteps, self.step
        updates = self.train(goal)
        if not progress_bar:
            for _ in updates:
                pass
            return self
        from rich.progress import Progress

        with Progress(transient=True) as progress:
            bar = progress.add_task(self.name, total=total_timesteps)
            for update in updates:
                progress.update(bar, completed=update.step - start)
        return self

    def predict(
        self,
        observation: Any,  # an array, or what becomes one; Any as Stable-Baselines3's PolicyPredictor admits dicts
        state: Any = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = True,
    ) -> tuple[np.ndarray, Any]:
        """Actions for one observation (returns shape ()) or a batch (returns (n,)), and the memory for next time."""
        space = self.observation_space
        obs = np.require(observation, space.dtype, ["C", "W"])  # copied only if torch could not take it
        shape = space.shape
        if obs.shape != shape and obs.shape[1:] != shape:
            raise ValueError(f"expected an observation of shape {shape}, or a batch of them, got {obs.shape}")
        one = obs.shape == shape
        obs = obs[None] if one else obs
        start = np.zeros(len(obs), np.bool_) if episode_start is None else np.atleast_1d(episode_start)
        action, state = self.act(obs, state, start, deterministic)
        action = action + self.action_space.start
        return (action[0, ...] if one else action), state

    def playing(self) -> Player:
        """The player of this agent's environments, which begins to play when first asked for."""
        if self.player is None:
            if self.envs is None and self.task is not None and self.num_envs:
                self.envs = self.task.make_vec(self.num_envs)
            if self.envs is None:
                raise ValueError("this agent was loaded without an environment to learn in: load(path, env=...)")
            keep_freed_memory()
            self.player = Player(self.envs, SEEDS_APART * self.seed)
            self.recall("player")
        return self.player

    def renew(self) -> bool:
        """Where the environments cannot say their state: begin new episodes, from a seed made of `seed` and `step`.

        What is saved right after goes on as this agent does. Those in flight end as if time ran out. True if needed.
        """
        player = self.playing()
        if player.snapshot() is None:
            player.restart(int(np.random.default_rng([self.seed, 4, self.step]).integers(2**30)))
            return True
        return False

    def demand(self) -> str | None:
        """A line on the memory that training is going to take, None if hardly any; MemoryError if there is less."""
        return None

    def recall(self, part: str) -> None:
        """Give a part that was just made the state that was loaded for it, if any."""
        if part in self.pending:
            getattr(self, part).load_state_dict(self.pending.pop(part))

    def tensor(self, x: np.ndarray) -> Tensor:
        return torch.from_numpy(x).to(self.device, non_blocking=True)

    # ---- saving ----

    def state_dict(self) -> dict[str, Any]:
        """Everything that decides what comes next: `step` and the state of each part."""
        state: dict[str, Any] = {"step": self.step, "dice": self.dice.bit_generator.state}
        return state | {part: self.pending.get(part, state_of(getattr(self, part))) for part in self.parts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step = state["step"]
        self.dice.bit_generator.state = state["dice"]
        for part in self.parts:
            if part in state or part in networks(self):  # the other parts are missing where weights alone were saved
                put(self, part, state[part])

    def start_from(self, path: str | Path) -> None:
        """Take the networks of a trained agent's checkpoint, from this game or another; all else stays new.

        Raises CheckpointError as `load` does.
        """
        start_from(self, path)

    def header(self) -> dict[str, Any]:
        """What a checkpoint says of this agent."""
        return {
            "agent": self.name,
            "config": checkpoint.plain(self.config),
            "seed": self.seed,
            "step": self.step,
            "task": self.task and self.task.to_json(),
            "num_envs": self.num_envs,
            "spaces": describe(self.observation_space, self.action_space),
        }

    def save(self, path: str | Path, *, weights_only: bool = False) -> None:
        """Write one checkpoint file: config, parameters, optimiser, random generators, the place in the game.

        `weights_only` keeps no more than config, parameters and the count of steps: a small file to hand on. Whoever
        learns on from it begins with a new optimiser, new games and an empty replay.
        """
        state = checkpoint.whole(self.state_dict())
        if weights_only:
            state = {key: value for key, value in state.items() if key in (*networks(self), "step", "dice")}
        checkpoint.save(path, self.header(), state)

    @classmethod
    def load(cls, path: str | Path, env: str | gym.Env | VectorEnv | None = None, *, device: str = "auto") -> Self:
        """The agent of a checkpoint. Without `env` it plays and, if it was made from a game's name, learns on.

        Raises CheckpointError, in one line, for a damaged file, another agent's, or one of other spaces than `env`'s.
        """
        header, state = checkpoint.load(path)
        return cls.restore(path, header, state, env, device)

    @classmethod
    def restore(cls, path: str | Path, header: dict, state: dict, env: Any = None, device: str = "auto") -> Self:
        return restored(cls, path, header, state, env, device)


# ---- agents/loading.py ----

AgentT = TypeVar("AgentT", bound="Agent")


def restored(kind: type[AgentT], path: str | Path, header: dict, state: dict, env: Any, device: str) -> AgentT:
    """The agent of a checkpoint that was read already; `env` and what is raised as in `Agent.load`."""
    from rlgames.presets import lookup as presets  # an id instead of an environment is settled by the presets above

    same_kind(kind, path, header, "rlgames.load opens any")
    known = {f.name for f in dataclasses.fields(kind.Config)}
    if unknown := sorted(set(header["config"]) - known):
        raise CheckpointError(
            f"{path}: its {kind.Config.__name__} has {unknown[0]!r}, which this rlgames does not know"
        )
    config = kind.Config(**{k: tuple(v) if isinstance(v, list) else v for k, v in header["config"].items()})
    task = own = presets.Task.from_json(header["task"]) if header["task"] else None
    envs, num_envs = None, (header["num_envs"] or 1) if own else None
    if isinstance(env, str):
        chosen, task = presets.settle(kind.name, env, own)
        num_envs = header["num_envs"] or chosen.envs
        one = vectorised(task.make())  # to see whether it fits
        space, actions = spaces_of(one)
        one.close()
    elif env is not None:
        task, envs = None, vectorised(env)
        num_envs, (space, actions) = envs.num_envs, spaces_of(envs)
    else:
        space, actions = spaces(header["spaces"])
    same_spaces(path, header, space, actions)
    agent = kind.__new__(kind)
    agent._setup(space, actions, config, header["seed"], device, task)
    agent.envs, agent.num_envs = envs, num_envs
    with fitting(path):
        agent.load_state_dict(state)
    return agent


def start_from(agent: Agent, path: str | Path) -> None:
    """Take the networks of a checkpoint; see `Agent.start_from`."""
    header, state = checkpoint.load(path)
    same_kind(type(agent), path, header, "networks are taken from an agent of the same kind")
    same_spaces(path, header, agent.observation_space, agent.action_space)
    own = agent.state_dict()
    with fitting(path):
        agent.load_state_dict({"step": own["step"], "dice": own["dice"]} | {n: state[n] for n in networks(agent)})


def same_kind(kind: type[Agent], path: str | Path, header: dict, remedy: str) -> None:
    if header.get("agent") != kind.name:
        raise CheckpointError(f"{path}: holds an agent of kind {header.get('agent')!r}, not {kind.name!r}: {remedy}")


def same_spaces(path: str | Path, header: dict, space: Box, actions: Discrete) -> None:
    given = describe(space, actions)
    for key, value in header["spaces"].items():
        if given[key] != value:
            raise CheckpointError(f"{path}: was saved with {key} {value}, the environment has {given[key]}")


@contextmanager
def fitting(path: str | Path) -> Iterator[None]:
    try:
        yield
    except (KeyError, RuntimeError, TypeError, ValueError) as error:  # what torch and environments refuse with
        raise CheckpointError(f"{path}: does not fit: {' '.join(str(error).split())}") from error


# ---- agents/parts.py ----


def state_of(part: Any) -> Any:
    if part is None or isinstance(part, int | np.ndarray):
        return part
    return part.bit_generator.state if isinstance(part, np.random.Generator) else part.state_dict()


def networks(agent: Agent) -> list[str]:
    """The names of the parts that were learnt."""
    return [part for part in agent.parts if isinstance(getattr(agent, part), nn.Module)]


def put(agent: Agent, name: str, saved: Any) -> None:
    """Give the agent's part of that name the state that `state_of` had said; one not made yet takes it when it is."""
    part = getattr(agent, name)
    if isinstance(part, np.random.Generator):
        part.bit_generator.state = saved
    elif isinstance(part, int) or isinstance(saved, np.ndarray):
        setattr(agent, name, saved)
    elif part is not None:
        part.load_state_dict(saved)
    elif saved is not None:
        agent.pending[name] = saved


# ---- agents/spaces.py ----


def describe(space: Box, actions: Discrete) -> dict[str, Any]:
    """The spaces as JSON, and all of them that a network depends on."""
    return {
        "shape": list(space.shape),
        "dtype": str(space.dtype),
        "actions": int(actions.n),
        "first": int(actions.start),
    }


def spaces(described: dict[str, Any]) -> tuple[Box, Discrete]:
    """Spaces of that description; the bounds, on which nothing depends, are those of the type."""
    dtype = np.dtype(described["dtype"])
    low, high = (-np.inf, np.inf) if dtype.kind == "f" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return Box(low, high, tuple(described["shape"]), dtype.type), Discrete(
        described["actions"], start=described["first"]
    )
