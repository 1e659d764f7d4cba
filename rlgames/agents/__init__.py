"""The agents, by name. Each module is imported when its agent is first asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rlgames.agents.base import Agent

AGENTS = {  # name, and the class in the module of that name
    "dqn": "DQN",
    "ddqn": "DDQN",
    "reinforce": "REINFORCE",
    "a3c": "A3C",
    "ppo": "PPO",
    "random": "Random",
}


def find(name: str) -> type[Agent]:
    """The class of an agent. Raises ValueError for an unknown name."""
    if name.lower() not in AGENTS:
        raise ValueError(f"no agent is called {name!r}: the agents are {', '.join(AGENTS)}")
    return getattr(import_module(f"rlgames.agents.{name.lower()}"), AGENTS[name.lower()])
