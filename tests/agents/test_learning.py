"""Every agent learns what is known: to guess the bit that it observes, and the values of doing so."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from helpers.toys import AUTORESET_MODES, GuessBitEnv, quick_config, sync_vector

from rlgames.agents.base import Agent
from rlgames.agents.registry import AGENTS, find
from rlgames.evaluation import evaluate

GAMMA = 0.9
BITS = np.array([[0, 0], [1, 0]], np.float32)  # observations of the endless game
Q_LEARNING: dict[str, Any] = {
    "buffer_size": 4_000,
    "batch_size": 64,
    "target_update_interval": 20,
    "learning_rate": 5e-3,
    "gamma": GAMMA,
    "exploration_fraction": 0.5,
    "net_arch": (32,),
}
LEARNING: dict[str, tuple[int, dict[str, Any]]] = {  # by agent: steps, and changes to the quick config
    "ppo": (
        8_000,
        {"n_steps": 32, "n_epochs": 6, "learning_rate": 1e-2, "gamma": GAMMA, "ent_coef": 0.0, "net_arch": (32,)},
    ),
    "dqn": (8_000, Q_LEARNING),
    "ddqn": (8_000, Q_LEARNING),
    "reinforce": (
        8_000,
        {"n_episodes": 16, "learning_rate": 2e-2, "gamma": GAMMA, "baseline": True, "net_arch": (32,)},
    ),
    "a3c": (8_000, {"learning_rate": 1e-2, "gamma": GAMMA, "ent_coef": 0.0, "net_arch": (32,)}),
}
QUICK = {  # one case for most agents; all of them take half a minute
    ("ppo", AutoresetMode.NEXT_STEP),
    ("dqn", AutoresetMode.SAME_STEP),
    ("reinforce", AutoresetMode.SAME_STEP),
    ("a3c", AutoresetMode.DISABLED),
}
CASES = [
    pytest.param(name, mode, marks=[] if (name, mode) in QUICK else pytest.mark.learning, id=f"{name}-{mode.name}")
    for name in LEARNING
    for mode in AUTORESET_MODES
]


def trained(name: str, envs: Any, **changes: Any) -> Agent:
    steps, settings = LEARNING[name]
    return find(name)(envs, quick_config(name, **settings | changes), seed=0).learn(steps)


def values(agent: Any, obs: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return agent.net(torch.from_numpy(obs))[1].numpy()


def test_every_agent_but_random_has_a_case():
    assert {*LEARNING, "random"} == set(AGENTS)


@pytest.mark.parametrize(("name", "mode"), CASES)
def test_the_bit_is_guessed(name: str, mode: AutoresetMode):
    agent = trained(name, sync_vector(GuessBitEnv, 8, mode))
    assert evaluate(agent, sync_vector(GuessBitEnv, 8), episodes=80).mean == 5.0


@pytest.mark.parametrize("deterministic", [True, False])
def test_random_actions_are_uniform(deterministic: bool):
    agent = find("random")(sync_vector(GuessBitEnv, 8), seed=1)
    actions = agent.predict(np.repeat(BITS, 5_000, 0), deterministic=deterministic)[0]
    assert actions.mean() == pytest.approx(0.5, abs=4 * 0.5 / 100)


def test_random_guesses_half_of_the_bits_in_every_mode():
    """5 fair coins an episode: within four deviations of the mean."""
    for mode in AUTORESET_MODES:
        agent = find("random")(sync_vector(GuessBitEnv, 8, mode), seed=1)
        scores = [score for update in agent.train(8 * 640) for score in update.scores]
        assert np.mean(scores) == pytest.approx(2.5, abs=4 * math.sqrt(5 / 4 / len(scores)))
        assert len(scores) == 8 * (641 // 6 if mode is AutoresetMode.NEXT_STEP else 640 // 5)  # a reset takes a step


def test_values_of_an_episode_that_terminates():
    """With k steps left and every bit guessed, V = 1 + gamma + ... + gamma^(k-1)."""
    agent = trained("ppo", sync_vector(GuessBitEnv, 8))
    for k in range(1, 6):
        obs = np.array([[bit, k / 5] for bit in (0, 1)], np.float32)
        assert values(agent, obs) == pytest.approx(np.full(2, (1 - GAMMA**k) / (1 - GAMMA)), rel=0.1)


@pytest.mark.learning
@pytest.mark.parametrize("mode", AUTORESET_MODES, ids=lambda mode: mode.name)
def test_values_of_an_episode_that_is_truncated(mode: AutoresetMode):
    """A time limit is no termination: V = 1 / (1 - gamma), however early it comes (Pardo et al. 2018).

    Without bootstrapping, limits of 4 steps would leave a value below 1 + gamma + gamma^2 + gamma^3 = 3.4, not 10.
    """
    envs = sync_vector(lambda: GuessBitEnv(4, endless=True), 8, mode)
    agent = trained("ppo", envs, learning_rate=2e-2)
    assert (agent.predict(BITS)[0] == [0, 1]).all()
    assert values(agent, BITS) == pytest.approx([10.0, 10.0], rel=0.1)
