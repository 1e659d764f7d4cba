"""REINFORCE: returns and gradients against a plain loop over episodes."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from helpers.toys import AUTORESET_MODES, RandomLengthEnv, quick_config, sync_vector

from rlgames.agents.reinforce import REINFORCE, REINFORCEConfig, normalize
from rlgames.experience.env_runner import Step

GAMMA = 0.9
NUM_ENVS = 3


def make_agent(mode: AutoresetMode = AutoresetMode.SAME_STEP, **changes: Any) -> REINFORCE:
    config = quick_config("reinforce", n_episodes=7, gamma=GAMMA, max_grad_norm=None, optimizer="rmsprop", **changes)
    return REINFORCE(sync_vector(RandomLengthEnv, NUM_ENVS, mode), config, seed=1)


def record_steps(agent: REINFORCE) -> list[Step]:
    runner = agent.start_training()
    steps, step = [], runner.step
    runner.step = lambda action: steps.append(step(action)) or steps[-1]  # type: ignore[method-assign]  # records
    return steps


def episodes_of(steps: list[Step], i: int, count: int) -> list[list[Step]]:
    """Return the first `count` episodes of environment i."""
    episodes: list[list[Step]] = [[]]
    for step in steps:
        if step.valid[i]:
            episodes[-1].append(step)
            if step.done[i]:
                episodes.append([])
    return episodes[:count]


@pytest.mark.parametrize("mode", AUTORESET_MODES, ids=lambda mode: mode.name)
@pytest.mark.parametrize("baseline", [False, True])
@pytest.mark.parametrize("reset_on_reward", [False, True])
def test_a_batch_equals_a_plain_loop_over_its_episodes(mode: AutoresetMode, baseline: bool, reset_on_reward: bool):
    """The same number of whole episodes of each environment, the first ones; truncated ones are bootstrapped."""
    agent = make_agent(mode, baseline=baseline, reset_on_reward=reset_on_reward)
    steps, runner = record_steps(agent), agent.start_training()
    batch = agent.collect_episodes(runner)
    expected, ends, episode_numbers = {}, set(), set()
    for i in range(NUM_ENVS):
        for number, episode in enumerate(episodes_of(steps, i, 3)):  # 7 episodes, rounded up to 3 each
            last = episode[-1]
            ends.add((bool(last.terminated[i]), bool(last.done[i])))
            total = 0.0
            if baseline and not last.terminated[i]:
                total = float(agent.values(last.next_obs[i : i + 1])[0])
            for step in reversed(episode):
                total = float(step.reward[i]) + GAMMA * (0.0 if reset_on_reward and step.reward[i] else total)
                expected[step.obs[i].tobytes()] = (int(step.action[i]), total, (i, number))
    assert ends == {(True, True), (False, True)}
    assert len(batch.obs) == len(expected)
    for obs, action, value, episode in zip(*batch, strict=True):
        expected_action, total, key = expected[obs.tobytes()]
        assert (action, value) == (expected_action, pytest.approx(total, rel=1e-4, abs=1e-5))
        episode_numbers.add((int(episode), key))
    assert len({number for number, _ in episode_numbers}) == len(episode_numbers) == 3 * NUM_ENVS
    assert agent.step == len(steps) * NUM_ENVS


@pytest.mark.parametrize("normalize_returns", ["none", "batch", "episode"])
@pytest.mark.parametrize("baseline", [False, True])
def test_the_gradient_is_that_of_the_formula(normalize_returns: str, baseline: bool, monkeypatch: pytest.MonkeyPatch):
    """One transition at a time; a batch in several slices has the same gradient."""
    agent = make_agent(normalize_returns=normalize_returns, baseline=baseline, vf_coef=0.3, ent_coef=0.02)
    batch = agent.collect_episodes(agent.start_training())
    net = copy.deepcopy(agent.net)
    advantages = batch.returns.astype(np.float64)
    if baseline:
        with torch.no_grad():
            advantages -= np.array([float(net(torch.from_numpy(obs[None]))[1][0]) for obs in batch.obs])
    if normalize_returns != "none":
        groups = batch.episode if normalize_returns == "episode" else np.zeros_like(batch.episode)
        for group in np.unique(groups):
            members = groups == group
            values = advantages[members]
            advantages[members] = (values - values.mean()) / (values.std() + 1e-8)
    for obs, action, advantage, value in zip(batch.obs, batch.actions, advantages, batch.returns, strict=True):
        logits, values = net(torch.from_numpy(obs[None]))
        pi = torch.distributions.Categorical(logits=logits[0])
        loss = -pi.log_prob(torch.tensor(action)) * advantage - 0.02 * pi.entropy()
        if baseline:
            loss = loss + 0.3 * (values[0] - value) ** 2
        (loss / len(batch.obs)).backward()
    monkeypatch.setattr("rlgames.agents.reinforce.SLICE", 5)
    agent.train_on_batch(batch, progress=0.0)
    for p, expected in zip(agent.net.parameters(), net.parameters(), strict=True):
        gradient = torch.zeros_like(p) if p.grad is None else p.grad
        other = torch.zeros_like(p) if expected.grad is None else expected.grad
        torch.testing.assert_close(gradient, other, rtol=1e-3, atol=1e-5)


def test_normalize_gives_each_group_mean_0_and_deviation_1():
    rng = np.random.default_rng(0)
    x, group = rng.normal(3.0, 2.0, size=100).astype(np.float32), rng.integers(4, size=100)
    result = normalize(x, group)
    assert result.dtype == np.float32
    for g in range(4):
        assert result[group == g].mean() == pytest.approx(0.0, abs=1e-6)
        assert result[group == g].std() == pytest.approx(1.0, rel=1e-5)


def test_learning_rate_is_linear():
    agent = make_agent(learning_rate=0.02, final_learning_rate=0.01)
    steps, rates = [0], []
    for update in agent.train(200):
        rates.append(float(update.scalars["train/learning_rate"]))
        steps.append(update.step)
    assert rates == pytest.approx([0.02 - 0.01 * step / 200 for step in steps[:-1]])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_episodes": 0}, "expected n_episodes to be an integer >= 1, got 0"),
        ({"normalize_returns": "all"}, "expected normalize_returns to be 'batch', 'episode' or 'none', got 'all'"),
        ({"activation": "gelu"}, "expected activation to be 'tanh' or 'relu', got 'gelu'"),
        ({"gamma": 2.0}, "expected gamma to be a number in 0..1, got 2.0"),
    ],
)
def test_wrong_settings_are_rejected(changes: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        REINFORCEConfig(**changes)
