"""From a checkpoint back to an agent: does the file fit the agent's class, this rlgames, and the environment?"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rlgames import checkpoint
from rlgames.agents import AGENTS, OTHERS, find
from rlgames.agents.parts import networks
from rlgames.agents.spaces import describe, spaces, spaces_of, vectorised
from rlgames.checkpoint import CheckpointError

if TYPE_CHECKING:
    from gymnasium.spaces import Box, Discrete

    from rlgames.agents.base import Agent

AgentT = TypeVar("AgentT", bound="Agent")


def load(path: str | Path, env: Any = None, *, device: str = "auto") -> Agent:
    """Open the checkpoint of any agent; see `Agent.load`."""
    header, state = checkpoint.load(path)
    if (name := header.get("agent")) not in (known := [*AGENTS, *OTHERS]):
        raise CheckpointError(f"{path}: holds an agent of kind {name!r}, this rlgames knows {', '.join(known)}")
    return find(name).restore(path, header, state, env, device)


def restored(kind: type[AgentT], path: str | Path, header: dict, state: dict, env: Any, device: str) -> AgentT:
    """The agent of a checkpoint that was read already; `env` and what is raised as in `Agent.load`."""
    from rlgames import presets  # an id instead of an environment is settled by the presets above

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
