"""Agents that remember: the recurrent layer beside torch's, sequences beside single steps, and a game of memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode
from helpers.toys import MODES, Dice, mind, quick, several
from torch import nn

import rlgames
from rlgames.agents.ppo import drawn
from rlgames.agents.registry import find
from rlgames.evaluation import evaluate
from rlgames.experience.rollout import Rollout
from rlgames.networks.models import plain
from rlgames.networks.recurrent import Memory

Q_LEARNING: dict[str, Any] = {
    "buffer_size": 4_000,
    "batch": 32,
    "sequence": 8,
    "burn_in": 0,
    "target_update_interval": 20,
    "learning_rate": 5e-3,
    "gamma": 0.9,
    "explore": 0.5,
    "hidden": (16,),
    "memory": 16,
}
RECURRENT = ["ppo", "dqn", "ddqn"]


class Recall(gym.Env):
    """Shows a bit once, then nothing for two steps, then asks for it: 1 for the right answer, 0 for the wrong one."""

    observation_space = Box(-1, 1, (2,), np.float32)
    action_space = Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        self.bit, self.time = int(self.np_random.integers(2)), 0
        return np.array([2 * self.bit - 1, 0], np.float32), {}

    def step(self, action: int):
        self.time += 1
        asked = self.time == 3
        over = self.time == 4
        return np.array([0, asked], np.float32), float(over and action == self.bit), over, False, {}


def test_the_memory_is_a_long_short_term_memory():
    torch.manual_seed(0)
    own, theirs = Memory(5, 7, plain), nn.LSTM(5, 7, batch_first=True)
    with torch.no_grad():
        for mine, name in ((own.into, "ih"), (own.back, "hh")):
            for kind in ("weight", "bias"):
                i, f, g, o = getattr(theirs, f"{kind}_{name}_l0").chunk(4)
                getattr(mine, kind).copy_(torch.cat((i, f, o, g)))
    features, state = torch.randn(3, 6, 5), torch.randn(3, 14)
    states = own(features, state, torch.zeros(3, 6, dtype=torch.bool))
    h, (last_h, last_c) = theirs(features, (state[None, :, :7].contiguous(), state[None, :, 7:].contiguous()))
    torch.testing.assert_close(states[..., :7], h)
    torch.testing.assert_close(states[:, -1], torch.cat((last_h[0], last_c[0]), 1))


def test_nothing_is_remembered_across_the_start_of_an_episode():
    torch.manual_seed(0)
    own, features, state = Memory(5, 7, plain), torch.randn(2, 6, 5), torch.randn(2, 14)
    start = torch.zeros(2, 6, dtype=torch.bool)
    start[1, 4] = True
    states = own(features, state, start)
    afresh = own(features[1:, 4:], torch.zeros(1, 14), torch.zeros(1, 2, dtype=torch.bool))
    torch.testing.assert_close(states[1:, 4:], afresh)
    whole = own(features, state, torch.zeros_like(start))
    torch.testing.assert_close(states[0], whole[0])
    torch.testing.assert_close(states[1, :4], whole[1, :4])


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
def test_sequences_say_what_single_steps_said(mode: AutoresetMode):
    """The values, and those of what each step led to, one observation after the other."""
    agent: Any = find("ppo")(several(Dice, 3, mode), quick("ppo", recurrent=True, memory=8), seed=1)
    player, rollout = agent.playing(), Rollout(9, 3, agent.observation_space, 3)
    with torch.no_grad():
        agent.net.value.weight.mul_(5.0)
    for _ in range(3):
        memory, rollout.start[0] = agent.memory, player.start
        value, after, logp = [], [], []
        for t in range(9):
            obs, start = torch.from_numpy(player.obs)[:, None], torch.from_numpy(player.start)[:, None]
            with torch.no_grad():
                before = agent.net.memory.states(agent.memory, 3)
                value.append(agent.forward(obs, before, start)[1][:, 0])
                seen = agent.see(player.obs, agent.memory, player.start)
                step, agent.memory = player.step(drawn(seen.logits, agent.rng)), seen.memory
                rollout.put(t, step, seen)
                logp.append(
                    torch.log_softmax(torch.from_numpy(seen.logits), 1)[torch.arange(3), torch.from_numpy(step.action)]
                )
                led = torch.from_numpy(step.after)[:, None]
                after.append(agent.forward(led, torch.from_numpy(agent.memory), torch.zeros_like(start))[1][:, 0])
        real = torch.from_numpy(rollout.real)
        rows = agent.judge(rollout, memory)
        found, led = agent.values(rollout)
        torch.testing.assert_close(torch.from_numpy(found)[real], torch.stack(value)[real])
        going = torch.from_numpy(~rollout.terminated)
        torch.testing.assert_close(torch.from_numpy(led)[going], torch.stack(after)[going])
        with torch.no_grad():
            logits, again, _ = agent.forward(rows.obs, *rows.memory)
        torch.testing.assert_close(again.T[real], torch.stack(value)[real])
        said = torch.log_softmax(logits, -1).gather(-1, rows.action[..., None])[..., 0]
        torch.testing.assert_close(said.T[real], torch.stack(logp)[real])
        torch.testing.assert_close(rows.logp.T[real], torch.stack(logp)[real])
        torch.testing.assert_close(rows.weight.T, real.float())


@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP], ids=lambda mode: mode.name)
@pytest.mark.parametrize("name", RECURRENT)
def test_what_was_seen_once_is_remembered(name: str, mode: AutoresetMode):
    settings = {
        "ppo": {"n_steps": 16, "n_epochs": 4, "learning_rate": 1e-2, "entropy": 0.01, "hidden": (16,), "memory": 16},
        "dqn": Q_LEARNING,
        "ddqn": Q_LEARNING,
    }[name]
    agent = find(name)(several(Recall, 16, mode), quick(name, recurrent=True, **settings), seed=0).learn(16_000)
    assert evaluate(agent, several(Recall, 8), episodes=80).mean == 1.0


@pytest.mark.parametrize("name", RECURRENT)
def test_training_goes_on_with_what_was_remembered(name: str, tmp_path: Path):
    def made() -> Any:
        return find(name)("CatchBall", quick(name, recurrent=True, memory=8), num_envs=3, seed=4)

    whole, broken = made(), made()
    for _ in whole.train(480):
        pass
    updates = broken.train(480)
    for _ in range(5):
        next(updates)
    broken.save(tmp_path / "half")
    resumed = rlgames.load(tmp_path / "half")
    for _ in resumed.train(480):
        pass
    assert mind(resumed, tmp_path) == mind(whole, tmp_path)
