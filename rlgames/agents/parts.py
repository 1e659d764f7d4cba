"""The parts of an agent that a checkpoint holds: networks, optimisers, generators, numbers, arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

if TYPE_CHECKING:
    from rlgames.agents.base import Agent


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
