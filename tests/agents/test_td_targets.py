"""What DQN and DDQN learn towards, beside values worked out by hand and transitions kept in full."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.toys import Bits, Dice, quick, several
from torch import nn

from rlgames.agents.dqn import DDQN, DQN
from rlgames.agents.registry import load
from rlgames.experience.replay import FINAL_OBS, Batch

ROWS = 4


class Table(nn.Module):
    """Q-values written down: the observation's first number names the row."""

    def __init__(self, rows: list[list[float]]) -> None:
        super().__init__()
        self.rows = nn.Parameter(torch.tensor(rows))

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        return self.rows[obs[:, 0].long()]


ONLINE = [[1.0, 2.0], [5.0, 4.0], [0.0, 3.0], [7.0, 8.0]]
TARGET = [[10.0, 20.0], [30.0, 40.0], [60.0, 50.0], [80.0, 70.0]]


def by_hand(kind: type) -> Any:
    agent = kind(several(Bits, 2), quick("dqn"), device="cpu")
    agent.net, agent.target = Table(ONLINE), Table(TARGET)
    return agent


def batch() -> Batch:
    """From state 0, 1, 2, 3 to 1, 2, 3, 0; the third terminates, the last is discounted over two steps."""
    obs, after = (np.array([[k, 0.0] for k in rows], np.float32) for rows in ((0, 1, 2, 3), (1, 2, 3, 0)))
    reward, discount = np.array([1.0, -1.0, 0.5, 2.0], np.float32), np.array([0.5, 0.5, 0.0, 0.25], np.float32)
    return Batch(obs, np.array([0, 1, 1, 0]), reward, after, discount, np.zeros((ROWS, 2), np.int64))


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        # the target network's largest value of states 1, 2, 3, 0: 40, 60, 80, 20
        (DQN, [1 + 0.5 * 40, -1 + 0.5 * 60, 0.5, 2 + 0.25 * 20]),
        # its values of the actions that the online network prefers there, 0, 1, 1, 1: 30, 50, 70, 20
        (DDQN, [1 + 0.5 * 30, -1 + 0.5 * 50, 0.5, 2 + 0.25 * 20]),
    ],
)
def test_targets_by_hand(kind: type, target: list[float]):
    agent = by_hand(kind)
    q, error = agent.errors(batch())
    assert q.tolist() == [1.0, 4.0, 3.0, 7.0]
    assert (q - error).tolist() == target


@pytest.mark.parametrize("kind", [DQN, DDQN])
def test_the_target_is_held_fixed(kind: type):
    """Only Q(s, a) of the online network has a gradient: d(sum of errors) / dQ is 1 at each (s, a)."""
    agent = by_hand(kind)
    agent.errors(batch())[1].sum().backward()
    assert agent.target.rows.grad is None
    assert agent.net.rows.grad.tolist() == [[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [1.0, 0.0]]


@pytest.mark.parametrize("prioritised", [False, True])
def test_no_step_leads_into_the_episodes_that_a_loaded_agent_begins(prioritised: bool, tmp_path: Path):
    """Environments without a snapshot: the steps that were in flight when the agent was saved lead nowhere."""
    agent: Any = DQN(several(Dice, 2), quick("dqn", prioritized=prioritised), device="cpu").learn(64)
    flying = ~agent.replay.fresh
    assert flying.any()
    agent.save(tmp_path / "agent")
    opened: Any = load(tmp_path / "agent", several(Dice, 2))
    replay = opened.remembering()
    assert replay.fresh.all()
    last = (np.arange(2), replay.head - 1)
    assert (replay.fate[last][flying] == FINAL_OBS).all()
    rest = np.ones_like(replay.fate, np.bool_)
    for back in (1, 2):
        rest[np.arange(2), replay.head - back] = False
    assert np.array_equal(replay.fate[rest], agent.replay.fate[rest])
    assert opened.learn(8).step > agent.step


@pytest.mark.parametrize("n_step", [1, 3])
def test_targets_of_played_steps_beside_a_plain_loop(n_step: int):
    """Episodes that end by themselves, by time or by both: n rewards, cut at ends, bootstrapped unless terminated."""
    gamma, players = 0.9, 3
    agent: Any = DQN(several(Dice, players), quick("dqn", n_steps=n_step, gamma=gamma, buffer_size=2_000), device="cpu")
    player, replay = agent.playing(), agent.remembering()
    steps = []
    for _ in range(200):
        step = player.step(agent.rng.integers(3, size=players))
        replay.add(step)
        steps.append(step)
    drawn = replay.sample(agent.rng, 500)
    q, error = agent.errors(drawn)
    target = (q - error).detach().numpy()

    def value(obs: np.ndarray) -> float:
        with torch.no_grad():
            return float(agent.target(torch.from_numpy(obs[None])).max())

    place = {(i, step.obs[i].tobytes()): t for t, step in enumerate(steps) for i in range(players)}
    kinds = set()
    for k in range(len(drawn.slot)):
        i = int(drawn.slot[k, 0])
        t = place[i, drawn.obs[k].tobytes()]
        expected = 0.0
        for m in range(n_step):
            step = steps[t + m]
            expected += gamma**m * step.reward[i]
            if step.done[i] or m == n_step - 1:
                if not step.terminated[i]:
                    expected += gamma ** (m + 1) * value(step.after[i])
                kinds.add((bool(step.done[i]), bool(step.terminated[i])))
                break
        assert target[k] == pytest.approx(expected, rel=1e-4, abs=1e-4)
    assert kinds == {(False, False), (True, False), (True, True)}
