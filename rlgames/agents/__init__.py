"""The agents: algorithms, their base class and their registry.

`AGENTS` is the table of them by name; it imports none, and no torch. `registry` finds, registers and loads agents.
"""

from __future__ import annotations

import os
import sys
from typing import Any, NamedTuple

from rlgames.errors import InvalidValueError, brief, did_you_mean

if "torch" not in sys.modules:
    # OpenMP reads these when torch is loaded. By default its threads wait for each other in a busy loop, which takes
    # the cores from whatever else runs on the machine: training slows down by the number of programs, and they by it.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("KMP_BLOCKTIME", "0")  # the same in Intel's OpenMP


class AgentSpec(NamedTuple):
    """One row of the table of agents."""

    module: str
    class_name: str
    summary: str
    agent_class: Any = None  # of a registered agent; others are imported from `module` when first asked for


AGENTS: dict[str, AgentSpec] = {
    "dqn": AgentSpec("rlgames.agents.dqn", "DQN", "deep Q-learning with experience replay and a target network"),
    "ddqn": AgentSpec("rlgames.agents.dqn", "DDQN", "double Q-learning with deep networks"),
    "reinforce": AgentSpec("rlgames.agents.reinforce", "REINFORCE", "the Monte-Carlo policy gradient"),
    "a3c": AgentSpec("rlgames.agents.a3c", "A3C", "asynchronous advantage actor-critic"),
    "ppo": AgentSpec("rlgames.agents.ppo", "PPO", "proximal policy optimization with generalized advantages"),
    "random": AgentSpec("rlgames.agents.random", "Random", "the baseline: uniformly random actions"),
}


def agent_spec(name: str) -> AgentSpec:
    """Return an agent's row of the table. Raises ValueError for an unknown name."""
    if not isinstance(name, str) or name.lower() not in AGENTS:
        raise InvalidValueError(
            f"unknown agent {brief(name)}: {did_you_mean(str(name), AGENTS)}the agents are {', '.join(AGENTS)}"
        )
    return AGENTS[name.lower()]
