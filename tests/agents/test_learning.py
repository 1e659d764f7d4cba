"""Every agent learns what can be known: to name the bit that it sees, and what that is worth."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from helpers.toys import MODES, Bits, quick, several

from rlgames.agents.base import Agent
from rlgames.agents.registry import AGENTS, find
from rlgames.evaluation import evaluate

GAMMA = 0.9
BITS = np.array([[0, 0], [1, 0]], np.float32)  # observations of the endless game
Q_LEARNING: dict[str, Any] = {
    "buffer_size": 4_000,
    "batch": 64,
    "target_update_interval": 20,
    "learning_rate": 5e-3,
    "gamma": GAMMA,
    "explore": 0.5,
    "hidden": (32,),
}
LEARNING: dict[str, tuple[int, dict[str, Any]]] = {  # by agent: steps, and changes to the quick config
    "ppo": (
        8_000,
        {"n_steps": 32, "n_epochs": 6, "learning_rate": 1e-2, "gamma": GAMMA, "entropy": 0.0, "hidden": (32,)},
    ),
    "dqn": (8_000, Q_LEARNING),
    "ddqn": (8_000, Q_LEARNING),
    "reinforce": (
        8_000,
        {"episodes": 16, "learning_rate": 2e-2, "gamma": GAMMA, "baseline": True, "hidden": (32,)},
    ),
    "a3c": (8_000, {"learning_rate": 1e-2, "gamma": GAMMA, "entropy": 0.0, "hidden": (32,)}),
    "random": (1_000, {}),
}


def learnt(name: str, envs: Any, **changes: Any) -> Agent:
    steps, settings = LEARNING[name]
    return find(name)(envs, quick(name, **settings | changes), seed=0).learn(steps)


def value(agent: Any, obs: np.ndarray) -> np.ndarray:
    """What the agent thinks that states are worth; agents with a network of two heads only."""
    with torch.no_grad():
        return agent.net(torch.from_numpy(obs))[1].numpy()


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
@pytest.mark.parametrize("name", AGENTS)
def test_the_bit_is_named(name: str, mode: AutoresetMode):
    agent = learnt(name, several(Bits, 8, mode))
    score = evaluate(agent, several(Bits, 8), episodes=80).mean
    if name == "random":  # 5 fair coins an episode, four deviations of the mean of 80
        assert score == pytest.approx(2.5, abs=4 * math.sqrt(5 / 4 / 80))
    else:
        assert score == 5.0


def test_random_is_fair_whatever_it_is_asked():
    agent = find("random")(several(Bits, 8), seed=1)
    for deterministic in (True, False):
        action = agent.predict(np.repeat(BITS, 5_000, 0), deterministic=deterministic)[0]
        assert action.mean() == pytest.approx(0.5, abs=4 * 0.5 / 100)
    scores = [score for update in agent.train(8 * 1280) for score in update.scores]
    assert np.mean(scores) == pytest.approx(2.5, abs=4 * math.sqrt(5 / 4 / len(scores)))
    assert len(scores) == 8 * 1280 // 5


def test_values_of_an_episode_that_ends():
    """With k steps left and every bit named, V = 1 + gamma + ... + gamma^(k-1)."""
    agent = learnt("ppo", several(Bits, 8))
    for k in range(1, 6):
        seen = np.array([[bit, k / 5] for bit in (0, 1)], np.float32)
        assert value(agent, seen) == pytest.approx(np.full(2, (1 - GAMMA**k) / (1 - GAMMA)), rel=0.1)


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
def test_values_where_only_time_runs_out(mode: AutoresetMode):
    """A time limit is not an end: V = 1 / (1 - gamma), however early the episodes are cut off (Pardo et al. 2018).

    Taken for ends, limits of 4 steps would leave a value below 1 + gamma + gamma^2 + gamma^3 = 3.4 instead of 10.
    """
    agent = learnt("ppo", several(lambda: Bits(4, endless=True), 8, mode), learning_rate=2e-2)
    assert (agent.predict(BITS)[0] == [0, 1]).all()
    assert value(agent, BITS) == pytest.approx([10.0, 10.0], rel=0.1)
