"""Generalized advantages against equation 16, and rollouts of PPO against single observations and transitions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, VectorEnv
from helpers.toys import AUTORESET_MODES, GuessBitEnv, RandomLengthEnv, quick_config, sync_vector
from hypothesis import given, settings
from hypothesis import strategies as st

import rlgames
from rlgames.agents import ppo
from rlgames.agents.ppo import PPO
from rlgames.errors import OutOfMemoryError
from rlgames.experience.env_runner import EnvRunner, Step
from rlgames.experience.rollout import STEP_BYTES, Rollout, compute_gae
from rlgames.networks.models import sample_actions

all_modes = pytest.mark.parametrize("mode", AUTORESET_MODES, ids=lambda mode: mode.name)
GAMMA, GAE_LAMBDA = 0.9, 0.8


def advantage(
    rewards: list, values: list, next_values: list, terminated: list, done: list, gamma: float, gae_lambda: float
) -> float:
    """Schulman et al. 2016, eq. 16, for the first transition of one environment: sum_l (gamma lambda)^l delta_l."""
    total = 0.0
    for t in range(len(rewards)):
        delta = rewards[t] + (0.0 if terminated[t] else gamma * next_values[t]) - values[t]
        total += (gamma * gae_lambda) ** t * delta
        if done[t]:
            break
    return total


@st.composite
def gae_arguments(draw: st.DrawFn) -> dict[str, Any]:
    shape = draw(st.integers(1, 12)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    done = rng.random(shape) < draw(st.sampled_from([0.0, 0.2, 1.0]))
    terminated = done & (rng.random(shape) < 0.5)
    arrays = {name: rng.normal(size=shape).astype(np.float32) for name in ("rewards", "values", "next_values")}
    factor = st.sampled_from([0.0, 0.5, 0.95, 1.0])
    return {**arrays, "terminated": terminated, "done": done, "gamma": draw(factor), "gae_lambda": draw(factor)}


@settings(max_examples=60, deadline=None)
@given(gae_arguments())
def test_compute_gae_is_equation_16(arguments: dict[str, Any]):
    found = compute_gae(**arguments)
    arrays = {name: x for name, x in arguments.items() if isinstance(x, np.ndarray)}
    factors = {"gamma": arguments["gamma"], "gae_lambda": arguments["gae_lambda"]}
    for t, i in np.ndindex(*found.shape):
        expected = advantage(**{name: x[t:, i].tolist() for name, x in arrays.items()}, **factors)
        assert found[t, i] == pytest.approx(expected, rel=1e-5, abs=1e-5)
    assert found.dtype == np.float32


def logits_and_value(agent: PPO, obs: np.ndarray) -> tuple[np.ndarray, float]:
    with torch.no_grad():
        logits, value = agent.net(torch.from_numpy(obs[None]))
    return logits[0].numpy(), float(value)


def check_advantages(envs: VectorEnv, n_steps: int, num_rollouts: int) -> tuple[int, int]:
    """Compare `compute_advantages` with one transition at a time; return how many were truncated, and invalid steps."""
    config = quick_config("ppo", n_steps=n_steps, gamma=GAMMA, gae_lambda=GAE_LAMBDA, normalize_advantage=False)
    agent = PPO(envs, config, seed=1)
    with torch.no_grad():
        agent.net.value.weight.mul_(5.0)  # larger values
        agent.net.policy.weight.mul_(50.0)  # and less uniform probabilities
    runner = agent.start_training()
    rollout = Rollout(n_steps, envs.num_envs, agent.observation_space, int(agent.action_space.n))
    num_truncations = num_invalid = 0
    for _ in range(num_rollouts):
        steps: list[Step] = []
        for t in range(n_steps):
            outputs = agent.policy_outputs(runner.obs)
            steps.append(runner.step(sample_actions(outputs.logits, agent.rng)))
            rollout.add(t, steps[-1], outputs)
        expected: list[list[tuple]] = [[] for _ in range(n_steps)]  # the transitions at each time
        for i in range(runner.num_envs):
            own = [(t, step) for t, step in enumerate(steps) if step.valid[i]]
            num_invalid += n_steps - len(own)
            outputs = [logits_and_value(agent, step.obs[i]) for _, step in own]
            columns = {
                "rewards": [step.reward[i] for _, step in own],
                "values": [value for _, value in outputs],
                "next_values": [logits_and_value(agent, step.next_obs[i])[1] for _, step in own],
                "terminated": [step.terminated[i] for _, step in own],
                "done": [step.done[i] for _, step in own],
            }
            num_truncations += sum(map(bool, columns["done"])) - sum(map(bool, columns["terminated"]))
            for k, ((t, step), (logits, value)) in enumerate(zip(own, outputs, strict=True)):
                log_prob = float(logits[step.action[i]] - np.log(np.exp(logits).sum()))
                rest = {name: column[k:] for name, column in columns.items()}
                target = advantage(**rest, gamma=GAMMA, gae_lambda=GAE_LAMBDA)
                expected[t].append((step.obs[i], int(step.action[i]), log_prob, value, target, target + value, 1.0))
        batch = agent.compute_advantages(rollout)
        transitions = [transition for at_time in expected for transition in at_time]
        names = ("obs", "actions", "log_prob", "old_values", "advantages", "returns", "weights")
        for name, column in zip(names, zip(*transitions, strict=True), strict=True):
            found = getattr(batch, name).numpy()
            np.testing.assert_allclose(found, np.array(column), rtol=1e-4, atol=1e-5, err_msg=name)
    envs.close()
    return num_truncations, num_invalid


@all_modes
@pytest.mark.parametrize("n_steps", [1, 7, 16])
def test_compute_advantages_bootstraps_truncations_and_leaves_out_resets(
    mode: AutoresetMode, n_steps: int, monkeypatch
):
    monkeypatch.setattr(ppo, "VALUE_BATCH", 10)  # several batches, the last one smaller
    num_truncations, num_invalid = check_advantages(sync_vector(RandomLengthEnv, 3, mode), n_steps, 32 // n_steps)
    assert num_truncations >= 4
    assert bool(num_invalid) == (mode is AutoresetMode.NEXT_STEP)


@all_modes
@pytest.mark.parametrize(
    ("game", "max_episode_steps", "least"),
    [("CartPole", 7, 4), ("CatchBall", 5, 5)],  # two networks, and one with both heads
)
def test_compute_advantages_in_games(game: str, max_episode_steps: int, least: int, mode: AutoresetMode):
    envs = rlgames.make_vec(game, 3, autoreset_mode=mode, max_episode_steps=max_episode_steps)
    num_truncations, _ = check_advantages(envs, 16, 2)
    assert num_truncations >= 3 * least


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), mode=st.sampled_from(AUTORESET_MODES))
def test_add_stores_every_step(seed: int, mode: AutoresetMode):
    runner = EnvRunner(sync_vector(RandomLengthEnv, 3, mode), seed)
    rollout = Rollout(9, 3, Box(-np.inf, np.inf, (3,), np.float64))
    for _ in range(2):  # the second rollout overwrites all of the first
        steps = [runner.step(np.zeros(3, np.int64)) for _ in range(9)]
        for t, step in enumerate(steps):
            rollout.add(t, step)
        stacked = Step(*(np.stack(x) for x in zip(*steps, strict=True)))
        for name in ("obs", "terminated", "done", "valid"):
            np.testing.assert_array_equal(getattr(rollout, name)[:9], getattr(stacked, name))
        np.testing.assert_array_equal(rollout.actions, stacked.action)
        np.testing.assert_array_equal(rollout.rewards, stacked.reward)
        np.testing.assert_array_equal(rollout.episode_start[1:9], stacked.done[:-1])
        next_obs = rollout.obs[1:].copy()
        for truncation in rollout.truncations:
            next_obs[truncation.t, truncation.envs] = truncation.obs
        known = ~rollout.terminated
        np.testing.assert_array_equal(next_obs[known], stacked.next_obs[known])


def test_a_rollout_that_does_not_fit_names_a_number_of_steps_that_does():
    space = Box(0, 255, (84, 84), np.uint8)
    message = "a rollout of n_steps=10,000,000,000 steps of 4 environments takes .* are free: try n_steps="
    with pytest.raises(OutOfMemoryError, match=message) as caught:
        Rollout(10**10, 4, space)
    n_steps = int(str(caught.value).rpartition("=")[2])
    assert 0 < n_steps < 10**10
    rollout = Rollout(50, 4, space, actions=3)
    arrays = [value for value in vars(rollout).values() if isinstance(value, np.ndarray)]
    per_step = 84 * 84 + 4 * 3 + STEP_BYTES  # what is checked counts each array
    assert sum(each.nbytes for each in arrays) == pytest.approx(50 * 4 * per_step, rel=0.03)


@all_modes
def test_rollout_of_resets_alone_trains_nothing(mode: AutoresetMode):
    """With episodes of one step, NEXT_STEP resets all environments in every second step."""
    agent = PPO(sync_vector(lambda: GuessBitEnv(1), 2, mode), quick_config("ppo", n_steps=1))
    scalars = [update.scalars for update in agent.train(12)]
    assert [bool(each) for each in scalars] == [True, mode is not AutoresetMode.NEXT_STEP] * 3
    assert all(value.isfinite() for each in scalars for value in each.values())
