"""Pickled and copied agents: they learn on exactly as the original does, and share nothing with it."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest
from gymnasium.error import ClosedEnvironmentError
from helpers.toys import GuessBitEnv, quick_config, state_sha256, sync_vector

from rlgames.agents import AGENTS
from rlgames.agents.ppo import PPO
from rlgames.agents.registry import find
from rlgames.envs.task import Task
from rlgames.wrappers import Rewards

WAYS: dict[str, Callable[[Any], Any]] = {
    "pickle": lambda agent: pickle.loads(pickle.dumps(agent)),
    "cloudpickle": lambda agent: cloudpickle.loads(cloudpickle.dumps(agent)),
    "deepcopy": copy.deepcopy,
}
STEPS = 160


@pytest.mark.parametrize("name", AGENTS)
def test_copies_of_an_agent_learn_on_bit_for_bit(name: str, tmp_path: Path) -> None:
    agent_class: Any = find(name)
    agent = agent_class("CatchBall", quick_config(name), seed=3, num_envs=2).learn(STEPS)
    copies = [copy_agent(agent) for copy_agent in WAYS.values()]
    expected = state_sha256(agent, tmp_path)
    assert [state_sha256(each, tmp_path) for each in copies] == [expected] * 3
    learned = [state_sha256(each.learn(STEPS), tmp_path) for each in copies]
    assert state_sha256(agent, tmp_path) == expected  # the copies changed nothing of it
    assert learned == [state_sha256(agent.learn(STEPS), tmp_path)] * 3
    assert learned[0] != expected


def test_copy_of_an_agent_that_has_not_learned(tmp_path: Path) -> None:
    agent = PPO("Cave:frame_skip=2", quick_config("ppo", pictures=True), num_envs=3)
    agent.task = Task("Cave", {"frame_skip": 2}, None, Rewards(survival=0.5))
    copied = pickle.loads(pickle.dumps(agent))
    assert (copied.task, copied.num_envs, copied.config) == (agent.task, 3, agent.config)
    assert copied.observation_space == agent.observation_space  # with its bounds
    obs = np.zeros((4, *agent.observation_space.shape), agent.observation_space.dtype)
    np.testing.assert_array_equal(copied.predict(obs)[0], agent.predict(obs)[0])


def test_copy_of_an_agent_of_given_environments_plays_and_learns_in_none() -> None:
    """As an agent that is loaded without its environments."""
    agent = find("dqn")(sync_vector(GuessBitEnv, 2), quick_config("dqn")).learn(STEPS)
    copied = pickle.loads(pickle.dumps(agent))
    obs = np.random.default_rng(0).random((9, 2)).astype(np.float32)
    np.testing.assert_array_equal(copied.predict(obs)[0], agent.predict(obs)[0])
    assert copied.step == agent.step
    with pytest.raises(ValueError, match="without an environment to learn in"):
        copied.learn(10)


def test_copy_of_a_closed_agent_is_closed() -> None:
    agent = find("random")("CatchBall").learn(10)
    agent.close()
    copied = copy.deepcopy(agent)
    with pytest.raises(ClosedEnvironmentError):
        copied.learn(10)
