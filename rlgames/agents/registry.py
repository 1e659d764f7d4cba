"""The agents, by name. Each module is imported when its agent is first asked for."""

from __future__ import annotations

import re
from importlib import import_module
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rlgames.agents.base import Agent

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlgames.checkpoint import file as checkpoint
from rlgames.checkpoint.file import CheckpointError

if TYPE_CHECKING:
    from rlgames.agents.base import Agent

AgentT = TypeVar("AgentT", bound="type[Agent]")

AGENTS = {  # name, and the class in the module of that name
    "dqn": "DQN",
    "ddqn": "DDQN",
    "reinforce": "REINFORCE",
    "a3c": "A3C",
    "ppo": "PPO",
    "random": "Random",
}
OTHERS: dict[str, type[Agent]] = {}  # agents from elsewhere, by name


def find(name: str) -> type[Agent]:
    """The class of an agent. Raises ValueError for an unknown name."""
    if name.lower() in OTHERS:
        return OTHERS[name.lower()]
    if name.lower() not in AGENTS:
        raise ValueError(f"no agent is called {name!r}: the agents are {', '.join([*AGENTS, *OTHERS])}")
    return getattr(import_module(f"rlgames.agents.{name.lower()}"), AGENTS[name.lower()])


def register_agent(kind: AgentT) -> AgentT:
    """Add an agent of your own, a subclass of Agent, under its `name`; a decorator.

    From now on it takes games by name, `rlgames.load` opens its checkpoints, and the command line trains it. Raises
    ValueError for a name that is taken or has capitals or spaces.
    """
    name = kind.name
    if not re.fullmatch(r"[a-z][a-z0-9_-]*", name):
        raise ValueError(f"expected an agent's name of small letters, digits and hyphens, got {name!r}")
    known = AGENTS.get(name) or OTHERS.get(name, kind)
    if isinstance(known, str) or known.__module__ != kind.__module__:  # the same module: it was loaded anew
        raise ValueError(f"the name {name!r} is taken by {find(name).__module__}: choose another")
    OTHERS[name] = kind
    return kind


def load(path: str | Path, env: Any = None, *, device: str = "auto") -> Agent:
    """Open the checkpoint of any agent; see `Agent.load`."""
    header, state = checkpoint.load(path)
    if (name := header.get("agent")) not in (known := [*AGENTS, *OTHERS]):
        raise CheckpointError(f"{path}: holds an agent of kind {name!r}, this rlgames knows {', '.join(known)}")
    return find(name).restore(path, header, state, env, device)
