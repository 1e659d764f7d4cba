"""Generalised advantages against equation 16 written out, and rollouts against values computed one at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, VectorEnv
from helpers.toys import MODES, Bits, Dice, quick, several
from hypothesis import given, settings
from hypothesis import strategies as st

import rlgames
from rlgames.agents import ppo
from rlgames.agents.ppo import PPO, drawn
from rlgames.experience.env_runner import EnvRunner, Step
from rlgames.experience.rollout import Rollout, gae


def advantage(reward: list, value: list, after: list, terminated: list, done: list, gamma: float, lam: float) -> float:
    """Schulman et al. 2016, eq. 16, of one player's first transition: the sum over l of (gamma lambda)^l delta_l."""
    total = 0.0
    for time in range(len(reward)):
        delta = reward[time] + (0.0 if terminated[time] else gamma * after[time]) - value[time]
        total += (gamma * lam) ** time * delta
        if done[time]:
            break
    return total


@st.composite
def stretches(draw: st.DrawFn) -> dict[str, Any]:
    steps, n = draw(st.integers(1, 12)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    done = rng.random((steps, n)) < draw(st.sampled_from([0.0, 0.2, 1.0]))
    terminated = done & (rng.random((steps, n)) < 0.5)
    numbers = {name: rng.normal(size=(steps, n)).astype(np.float32) for name in ("reward", "value", "after")}
    share = st.sampled_from([0.0, 0.5, 0.95, 1.0])
    return {**numbers, "terminated": terminated, "done": done, "gamma": draw(share), "lam": draw(share)}


@given(stretches())
def test_gae_is_equation_16(stretch: dict[str, Any]):
    found = gae(**stretch)
    columns = {name: x for name, x in stretch.items() if isinstance(x, np.ndarray)}
    rest = {"gamma": stretch["gamma"], "lam": stretch["lam"]}
    for t, i in np.ndindex(*found.shape):
        expected = advantage(**{name: x[t:, i].tolist() for name, x in columns.items()}, **rest)
        assert found[t, i] == pytest.approx(expected, rel=1e-5, abs=1e-5)
    assert found.dtype == np.float32


def one_value(agent: PPO, obs: np.ndarray) -> tuple[np.ndarray, float]:
    with torch.no_grad():
        logits, value = agent.net(torch.from_numpy(obs[None]))
    return logits[0].numpy(), float(value)


def check(envs: VectorEnv, horizon: int, rollouts: int) -> tuple[int, int]:
    """Hold `judge` against one transition at a time; returns how many were cut off by time, and how many were none."""
    agent = PPO(envs, quick("ppo", n_steps=horizon, gamma=0.9, gae_lambda=0.8, normalize_advantage=False), seed=1)
    with torch.no_grad():
        agent.net.value.weight.mul_(5.0)  # so that values matter
        agent.net.policy.weight.mul_(50.0)  # and actions differ in probability
    player, rollout = (
        agent.playing(),
        Rollout(horizon, envs.num_envs, agent.observation_space, int(agent.action_space.n)),
    )
    cut = fillers = 0
    for _ in range(rollouts):
        steps: list[Step] = []
        for t in range(horizon):
            seen = agent.see(player.obs)
            steps.append(player.step(drawn(seen.logits, agent.rng)))
            rollout.put(t, steps[-1], seen)
        expected: list[list[tuple]] = [[] for _ in range(horizon)]  # of each time, the players that made a transition
        for i in range(player.n):
            own = [(t, step) for t, step in enumerate(steps) if step.real[i]]
            fillers += horizon - len(own)
            judged = [(one_value(agent, step.obs[i]), one_value(agent, step.after[i])[1]) for _, step in own]
            columns = {
                "reward": [step.reward[i] for _, step in own],
                "value": [value for (_, value), _ in judged],
                "after": [after for _, after in judged],
                "terminated": [step.terminated[i] for _, step in own],
                "done": [step.done[i] for _, step in own],
            }
            cut += sum(map(bool, columns["done"])) - sum(map(bool, columns["terminated"]))
            for k, (t, step) in enumerate(own):
                logits, value = judged[k][0]
                logp = float(logits[step.action[i]] - np.log(np.exp(logits).sum()))
                rest = {name: column[k:] for name, column in columns.items()}
                row = (step.obs[i], int(step.action[i]), logp, value, advantage(**rest, gamma=0.9, lam=0.8))
                expected[t].append(row)
        found = [x.numpy() for x in agent.judge(rollout)[:-1]]
        every = [row for rows in expected for row in rows]
        assert all(len(x) == len(every) for x in found)
        for k, name in enumerate(("obs", "action", "logp", "value", "advantage")):
            wanted = np.array([row[k] for row in every])
            np.testing.assert_allclose(found[k], wanted, rtol=1e-4, atol=1e-5, err_msg=name)
    envs.close()
    return cut, fillers


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
@pytest.mark.parametrize("horizon", [1, 7, 16])
def test_time_limits_are_bootstrapped_and_restarts_left_out(mode: AutoresetMode, horizon: int, monkeypatch):
    monkeypatch.setattr(ppo, "PASS", 10)  # several passes, the last one not full
    cut, fillers = check(several(Dice, 3, mode), horizon, 32 // horizon)
    assert cut >= 4
    assert bool(fillers) == (mode is AutoresetMode.NEXT_STEP)


def test_games_too():
    for game, limit, episodes in (("CartPole", 7, 4), ("CatchBall", 5, 5)):  # two networks, and one for both heads
        for mode in MODES:
            cut, _ = check(rlgames.make_vec(game, 3, autoreset_mode=mode, max_episode_steps=limit), 16, 2)
            assert cut >= 3 * episodes


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), mode=st.sampled_from(MODES))
def test_a_rollout_is_what_was_played(seed: int, mode: AutoresetMode):
    player, rollout = EnvRunner(several(Dice, 3, mode), seed), Rollout(9, 3, Box(-np.inf, np.inf, (3,), np.float64))
    for _ in range(2):  # the second time nothing of the first is left
        steps = [player.step(np.zeros(3, np.int64)) for _ in range(9)]
        for t, step in enumerate(steps):
            rollout.put(t, step)
        for name in ("obs", "action", "reward", "terminated", "done", "real"):
            kept = getattr(rollout, name)
            np.testing.assert_array_equal(kept[:9], np.stack([getattr(step, name) for step in steps]))
        after = rollout.obs[1:].copy()
        for t, players, last, _ in rollout.cut:
            after[t, players] = last
        known = ~rollout.terminated
        np.testing.assert_array_equal(after[known], np.stack([step.after for step in steps])[known])


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
def test_a_rollout_of_restarts_alone_teaches_nothing(mode: AutoresetMode):
    """Players whose episodes last one step restart in every second step of NEXT_STEP, all at once."""
    agent = PPO(several(lambda: Bits(1), 2, mode), quick("ppo", n_steps=1))
    scalars = [update.scalars for update in agent.train(12)]
    assert [bool(row) for row in scalars] == [True, mode is not AutoresetMode.NEXT_STEP] * 3
    assert all(value.isfinite() for row in scalars for value in row.values())
