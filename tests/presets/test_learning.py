"""Score that each preset reaches: greedy, the mean of 20 episodes that no training has seen.

`pytest -m learning` runs every seed of every pair.
"""

from __future__ import annotations

import pytest

import rlgames
from rlgames.agents.registry import find
from rlgames.evaluation import evaluate

LEARNERS = ("dqn", "ddqn", "reinforce", "a3c", "ppo")
EXPECTED: dict[str, dict[str, float]] = {  # mean score, by game and agent
    "CartPole": dict.fromkeys(LEARNERS, 475.0),
    "CatchBall": dict.fromkeys(LEARNERS, 0.95 * 99),
    "CatchBall:size=16": dict.fromkeys(LEARNERS, 0.95 * 98),
    "Cave": {"ppo": 6_000.0},
    "Pong:noop_max=30": {"dqn": 18.0, "ddqn": 18.0, "a3c": 15.0, "ppo": 18.0},
    "Dino:obs=state": {"ppo": 20_000.0},
}
TEST_SEEDS = 1_000_000_000  # of the environments, from here on
NUM_SEEDS = {
    "Cave": 1,
    "Pong:noop_max=30": 3,
}  # an hour and a half each, and up to half an hour; of the other games five
CASES = [
    (agent, game, seed)
    for game, agents in EXPECTED.items()
    for agent in agents
    for seed in range(NUM_SEEDS.get(game, 5))
]


@pytest.mark.learning
@pytest.mark.timeout(7_200)
@pytest.mark.parametrize(("agent", "game", "seed"), CASES)
def test_preset_reaches_its_score(agent: str, game: str, seed: int) -> None:
    with find(agent)(game, seed=seed, device="cpu") as learner:
        learner.learn(rlgames.preset(agent, game).steps)
        assert evaluate(learner, game, seed=TEST_SEEDS + seed).mean >= EXPECTED[game][agent]
