"""Find, register and load agents by name, and find their presets."""

from __future__ import annotations

import re
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

from rlgames.agents import AGENTS, AgentSpec, agent_spec
from rlgames.agents.base import Agent
from rlgames.agents.stored import check_header
from rlgames.checkpoint import file as checkpoint
from rlgames.checkpoint.file import CheckpointError
from rlgames.envs.task import Task
from rlgames.errors import InvalidTypeError, InvalidValueError, brief
from rlgames.presets.lookup import find_preset
from rlgames.presets.preset import Preset

AgentT = TypeVar("AgentT", bound="type[Agent]")


def find(name: str) -> type[Agent]:
    """Return the class of an agent. Raises ValueError for an unknown name."""
    spec = agent_spec(name)
    return spec.agent_class or getattr(import_module(spec.module), spec.class_name)


def preset(agent: str, game: str) -> Preset:
    """Return the tuned settings of an agent on a game by their names, "ppo" and "CartPole"; printed they are readable.

    A game without settings of its own has those of the agent. `PPO("CartPole")` takes them, and keywords change them:
    `PPO("CartPole", **(preset("ppo", "CartPole").config | {"n_steps": 64}))` is `PPO("CartPole", n_steps=64)`.

    Raises ValueError for an unknown agent or game.
    """
    find(agent)
    return find_preset(agent.lower(), Task.parse(game))


def register_agent(agent_class: AgentT) -> AgentT:
    """Add an agent of your own, a subclass of Agent, under its `name`; a decorator.

    It then takes games by name, `rlgames.load` opens its checkpoints, and the command line trains it. Raises ValueError
    for a name that is taken or has characters other than small letters, digits, hyphens and underscores.
    """
    name, module = agent_class.name, agent_class.__module__
    if not re.fullmatch(r"[a-z][a-z0-9_-]*", name):
        raise InvalidValueError(f"expected an agent's name of small letters, digits and hyphens, got {name!r}")
    if name in AGENTS and (AGENTS[name].agent_class is None or AGENTS[name].module != module):  # else it was reloaded
        raise InvalidValueError(f"the name {name!r} is taken by {AGENTS[name].module}: choose another")
    summary = (agent_class.__doc__ or "").strip().partition("\n")[0].rstrip(".")
    AGENTS[name] = AgentSpec(module, agent_class.__name__, summary, agent_class)
    return agent_class


def load(
    path: str | Path,
    env: Any = None,
    *,
    num_envs: int | None = None,
    device: str = "auto",
    weights_only: bool = False,
) -> Agent:
    """Load the agent of any checkpoint; see `Agent.load`."""
    if not (isinstance(path, str | PathLike) and str(path)):
        raise InvalidTypeError(f"expected the path of a checkpoint, got {brief(path)}")
    header, state = checkpoint.load(path)
    check_header(path, header)
    if header["agent"] not in AGENTS:
        raise CheckpointError(
            f"{path}: holds the unknown agent {brief(header['agent'])}: known are {', '.join(AGENTS)}"
        )
    return find(header["agent"]).from_checkpoint(
        path, header, state, env, num_envs=num_envs, device=device, weights_only=weights_only
    )
