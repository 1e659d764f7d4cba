"""What each agent's preset reaches: greedy, the mean of 20 episodes that no training has seen.

The quick ones run with all other tests; `pytest -m learning` runs the rest, every seed of every pair.
"""

from __future__ import annotations

import pytest

from rlgames.agents.registry import find
from rlgames.evaluation import evaluate
from rlgames.presets.lookup import PRESETS
from rlgames.runs.training import EVALUATION_SEEDS

ALL = ("dqn", "ddqn", "reinforce", "a3c", "ppo")
BARS: dict[str, dict[str, float]] = {
    "CartPole": dict.fromkeys(ALL, 475.0),
    "CatchBall": dict.fromkeys(ALL, 0.95 * 99),
    "CatchBall:size=16": dict.fromkeys(ALL, 0.95 * 98),
    "Cave": {"ppo": 6_000.0},
    "Pong": {"dqn": 18.0, "ddqn": 18.0, "a3c": 15.0, "ppo": 18.0},
    "Dino:obs=state": {"ppo": 20_000.0},
}
SEEDS = {"Cave": 1, "Pong": 3}  # else five; an hour and a half each, and up to half an hour
QUICK = [(agent, "CatchBall", 0) for agent in ALL]
SLOW = [
    pytest.param(agent, game, seed, marks=[pytest.mark.learning, pytest.mark.timeout(7_200)])
    for game, bars in BARS.items()
    for agent in bars
    for seed in range(SEEDS.get(game, 5))
    if (agent, game, seed) not in QUICK
]


@pytest.mark.parametrize(("agent", "game", "seed"), [*QUICK, *SLOW])
def test_what_a_preset_reaches(agent: str, game: str, seed: int):
    made = find(agent)(game, seed=seed, device="cpu")
    made.learn(PRESETS[agent, game].steps)
    assert evaluate(made, game, seed=EVALUATION_SEEDS + seed).mean >= BARS[game][agent]
