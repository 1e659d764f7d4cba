"""The compiled update of dense networks against torch's, on the same rollouts."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from helpers.toys import RandomLengthEnv, quick_config, sync_vector

import rlgames
from rlgames.agents import dense_ppo
from rlgames.agents.ppo import PPO
from rlgames.errors import InvalidValueError

ROUNDING = 1e-5  # relative, of a few gradient steps in float32; one step differs by 1e-6


def make_agent(compiled: str, **changes: Any) -> PPO:
    config = quick_config("ppo", **{"compiled": compiled, "net_arch": (6, 9), "learning_rate": 1e-3} | changes)
    return PPO(sync_vector(RandomLengthEnv, 7), config, seed=1)


def vectors(agent: PPO) -> list[torch.Tensor]:
    """Return the parameters, and Adam's moments of them, each as one vector."""
    parameters = list(agent.net.parameters())
    states = [agent.optimizer.state[p] for p in parameters]
    columns = parameters, *([state[name] for state in states] for name in ("exp_avg", "exp_avg_sq", "step"))
    return [torch.cat([x.detach().flatten() for x in column]) for column in columns]


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize(
    "changes",
    [
        {"num_minibatches": 1, "n_epochs": 1},
        {"clip_range": 0.01, "clip_range_vf": 0.05, "ent_coef": 0.1, "max_grad_norm": None},
        {"n_steps": 40, "num_minibatches": 1, "rollout_fraction": 0.9, "max_grad_norm": 0.01, "vf_coef": 1.0},
        {"n_epochs": 9, "target_kl": 0.002, "learning_rate": 1e-2},
    ],
    ids=["one step", "clipped", "two blocks", "stopped"],
)
def test_an_update_is_torchs(changes: dict[str, Any]):
    agents = [make_agent(compiled, **changes) for compiled in ("on", "off")]
    updates = [next(agent.train(10_000)) for agent in agents]
    updates = [next(agent.train(10_000)) for agent in agents] if changes.get("n_epochs") != 1 else updates
    for found, expected in zip(*map(vectors, agents), strict=True):
        assert relative_error(found, expected) < ROUNDING
    found, expected = ({name: float(x) for name, x in update.scalars.items()} for update in updates)
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_an_agent_resumes_to_the_bit():
    agents = (rlgames.PPO("CartPole", num_envs=3, device="cpu", n_steps=20, compiled="on") for _ in range(2))
    with next(agents) as agent, next(agents) as resumed:
        updates = agent.train(240)
        next(updates)
        state = copy.deepcopy(agent.state_dict())  # which refers to the weights themselves
        expected = [*updates]
        resumed.load_state_dict(state)
        found = list(resumed.train(240))
        assert [u.scalars for u in found] == [u.scalars for u in expected]
        for x, y in zip(vectors(resumed), vectors(agent), strict=True):
            assert torch.equal(x, y)


def test_it_plays_and_values_as_torch_does():
    with make_agent("on") as agent, make_agent("off") as other:
        other.net.load_state_dict(agent.net.state_dict())
        obs = np.random.default_rng(0).normal(size=(300, 3))
        assert agent.dense is not None
        np.testing.assert_allclose(agent.dense.copy_actor().logits(obs), other.policy_outputs(obs).logits, atol=1e-7)
        np.testing.assert_allclose(agent.values(obs), other.values(obs), atol=1e-6)


def test_tanh_is_exact_to_rounding():
    x = np.concatenate((np.linspace(-12, 12, 10_001), np.logspace(-30, 0, 1_000))).astype(np.float32)
    h = np.concatenate((x, x))[None]
    parameters = np.array([1, 0, 1, 0], np.float32)  # two layers of one unit, of which the first has a tanh
    found = dense_ppo.outputs_of(parameters, np.array([1, 1, 1]), h.T.copy())[:, 0]
    np.testing.assert_allclose(found, np.tanh(h[0].astype(np.float64)), rtol=3e-7)
    assert np.isnan(dense_ppo.outputs_of(parameters, np.array([1, 1, 1]), np.full((1, 1), math.nan, np.float32)))


@pytest.mark.parametrize(
    ("game", "settings", "compiled"),
    [
        ("CartPole", {}, True),
        ("CartPole", {"compiled": "off"}, False),
        ("CartPole", {"net_arch": (65,)}, False),
        ("CartPole", {"net_arch": (65,), "compiled": "on"}, True),
        ("CartPole", {"n_threads": 2}, False),
        ("CartPole", {"precision": "bfloat16"}, False),
        ("CartPole", {"recurrent": True}, False),
        ("CatchBall", {"encoder": "vector"}, True),
        ("CatchBall", {"encoder": "grid"}, False),
    ],
)
def test_auto_compiles_small_dense_networks(game: str, settings: dict[str, Any], compiled: bool):
    with rlgames.PPO(game, num_envs=2, device="cpu", **settings) as agent:
        assert (agent.dense is not None) is compiled


@pytest.mark.parametrize(
    ("game", "settings", "remedy"),
    [
        ("CatchBall", {"encoder": "grid"}, "networks of dense layers, those of the encoder 'vector' without an LSTM"),
        ("CartPole", {"n_threads": 2}, "precision='float32', n_threads=1 and learners=1"),
    ],
)
def test_on_where_it_is_impossible_raises(game: str, settings: dict[str, Any], remedy: str):
    with pytest.raises(InvalidValueError, match=f"compiled='on' takes {remedy}: use compiled='auto'"):
        rlgames.PPO(game, num_envs=2, device="cpu", compiled="on", **settings)
