"""Find, register and load agents by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from helpers.toys import quick_config

import rlgames
from rlgames.agents import AGENTS
from rlgames.agents.base import Agent
from rlgames.agents.random import Random
from rlgames.agents.registry import find, load, register_agent
from rlgames.errors import InvalidValueError


@pytest.fixture(autouse=True)
def restored_registry() -> Iterator[None]:
    with patch.dict(AGENTS):
        yield


@pytest.mark.parametrize("name", AGENTS)
def test_find_returns_the_class_that_the_table_names(name: str):
    spec, agent_class = AGENTS[name], find(name)
    assert issubclass(agent_class, Agent)
    assert (agent_class.name, agent_class.__name__, agent_class.__module__) == (name, spec.class_name, spec.module)
    assert find(name.upper()) is agent_class
    assert spec.class_name in rlgames.__all__
    assert getattr(rlgames, spec.class_name) is agent_class


def test_every_agent_has_a_summary_of_one_line():
    for spec in AGENTS.values():
        assert spec.summary
        assert "\n" not in spec.summary
        assert not spec.summary.endswith(".")


def test_find_names_the_known_agents():
    with pytest.raises(InvalidValueError, match=f"unknown agent 'sarsa': the agents are {', '.join(AGENTS)}"):
        find("sarsa")


def test_a_registered_agent_is_found_trained_and_loaded(tmp_path: Path):
    @register_agent
    class FirstAction(Random):
        """Take the first action, always.

        Further lines of the docstring are no part of the summary.
        """

        name = "first-action"

        def act(self, obs, state, episode_start, deterministic):
            return np.zeros(len(obs), np.int64), None

    assert find("First-Action") is FirstAction
    assert AGENTS["first-action"].summary == "Take the first action, always"
    agent = find("first-action")("CatchBall", quick_config("random"), num_envs=2).learn(32)
    agent.save(tmp_path / "agent")
    loaded = load(tmp_path / "agent")
    assert type(loaded) is FirstAction
    assert loaded.predict(np.zeros((3, 8, 8), np.uint8))[0].tolist() == [0, 0, 0]


@pytest.mark.parametrize("name", ["", "My Agent", "PPO2", "2ppo", "a.b"])
def test_register_agent_rejects_names_that_the_command_line_cannot_take(name: str):
    with pytest.raises(InvalidValueError, match=f"expected an agent's name of small letters.*got '{name}'"):
        register_agent(type("Other", (Random,), {"name": name}))


def test_register_agent_rejects_a_name_that_is_taken():
    with pytest.raises(InvalidValueError, match="the name 'ppo' is taken by rlgames.agents.ppo: choose another"):
        register_agent(type("Other", (Random,), {"name": "ppo"}))
    first, second = (type("Other", (Random,), {"name": "other", "__module__": "here"}) for _ in range(2))
    register_agent(first)
    register_agent(second)  # its module was loaded again
    assert find("other") is second
    with pytest.raises(InvalidValueError, match="the name 'other' is taken by here"):
        register_agent(type("Other", (Random,), {"name": "other", "__module__": "elsewhere"}))
