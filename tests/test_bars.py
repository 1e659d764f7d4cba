"""What each agent's preset reaches: greedy, the mean of 20 episodes that no training has seen.

The quick ones run with all other tests; `pytest -m learning` runs the rest, every seed of every pair.
"""

from __future__ import annotations

import pytest

from rlgames.agents import find
from rlgames.evaluation import evaluate
from rlgames.presets import PRESETS
from rlgames.train import EVALUATION_SEEDS

ONLY = {"Cave": ("ppo",), "Pong": ("ppo", "dqn"), "Dino:obs=state": ("ppo",)}  # agents that have a bar there
BARS = {
    "CartPole": 475.0,
    "CatchBall": 0.95 * 99,
    "CatchBall:size=16": 0.95 * 98,
    "Cave": 6_000.0,
    "Pong": 18.0,
    "Dino:obs=state": 20_000.0,
}
QUICK = [(agent, "CatchBall", 0) for agent, game in PRESETS if game == "CatchBall"]
SLOW = [
    pytest.param(*pair, seed, marks=[pytest.mark.learning, pytest.mark.timeout(7_200)])
    for pair in PRESETS
    if pair[1] in BARS
    for seed in range(1 if pair[1] == "Cave" else 5)  # an hour and a half each
    if (*pair, seed) not in QUICK and pair[0] in ONLY.get(pair[1], pair[:1])
]


@pytest.mark.parametrize(("agent", "game", "seed"), [*QUICK, *SLOW])
def test_what_a_preset_reaches(agent: str, game: str, seed: int):
    made = find(agent)(game, seed=seed, device="cpu")
    made.learn(PRESETS[agent, game].steps)
    assert evaluate(made, game, seed=EVALUATION_SEEDS + seed).mean >= BARS[game]
