"""CatchBall against its rules written plainly, as lists of balls and counters."""

from collections.abc import Callable

import numpy as np
import pytest
from helpers.games import SplitMix64, single

from rlgames.engine.rng import seed_stream

SIZES = {"CatchBall": 8, "CatchBall:size=16": 16}
BEST_SCORE = {8: 99, 16: 98}  # balls that arrive in 500 frames
both_sizes = pytest.mark.parametrize("game", SIZES)
Policy = Callable[[np.ndarray], int]


class PlainCatchBall:
    """The rules in their order."""

    def __init__(self, size: int, rng: SplitMix64):
        self.size, self.rng = size, rng

    def reset(self) -> None:
        self.bar = self.below(self.size - 3)
        self.balls = [[0, self.below(self.size)]]  # row, column; oldest first
        self.frames_since_ball, self.frames = 0, 0

    def below(self, n: int) -> int:
        return int(self.rng.uniform() * n)

    def column_allowed(self, column: int) -> bool:
        if not self.balls:
            return True
        distance = abs(column - self.balls[-1][1])
        return distance >= 3 and (self.size == 8 or distance <= 6)

    def step(self, action: int) -> tuple[float, bool, bool]:
        self.balls = [ball for ball in self.balls if ball[0] < self.size - 1]
        self.bar += {0: 0, 1: -1, 2: +1}[action]
        self.bar = sorted([0, self.bar, self.size - 3])[1]
        for ball in self.balls:
            ball[0] += 1
        if self.frames_since_ball == 4:
            self.frames_since_ball = 0
            column = self.below(self.size)
            while not self.column_allowed(column):
                column = self.below(self.size)
            self.balls.append([0, column])
        else:
            self.frames_since_ball += 1
        self.frames += 1
        truncated = self.frames == 500
        row, column = self.balls[0]
        if row < self.size - 1:
            return 0.0, False, truncated
        if column in (self.bar, self.bar + 1, self.bar + 2):
            return 1.0, False, truncated
        return -1.0, True, False

    def observe(self) -> np.ndarray:
        obs = np.zeros((self.size, self.size), np.uint8)
        obs[-1, self.bar : self.bar + 3] = 255
        for row, column in self.balls:
            obs[row, column] = 127
        return obs


def optimal_action(obs: np.ndarray) -> int:
    """Return an action that keeps all visible balls within reach, if there is one."""
    size = len(obs)
    bottom = np.flatnonzero(obs[-1] == 255)
    bar = min(int(bottom[0]), size - 3)
    if len(bottom) < 3 and obs[-1, max(0, bar - 1)] == 127:  # a ball hides the bar's left end
        bar -= 1
    first, last, later = 0, size - 3, 0  # allowed bar positions when a ball arrives, from the last ball backwards
    for row, column in np.argwhere(obs[:-1] == 127):
        steps = size - 1 - int(row)  # until this ball arrives
        first, last = first - max(0, later - steps), last + max(0, later - steps)
        first, last, later = max(first, column - 2, 0), min(last, column, size - 3), steps
    return 2 if bar < first else 1 if bar > last else 0


def assert_equal_to_plain_rules(game: str, seed: int, policy: Policy, steps: int) -> list[float]:
    """Step both with the same actions and return the scores of the episodes."""
    env, rules = single(game), PlainCatchBall(SIZES[game], SplitMix64(int(seed_stream(seed))))
    obs, _ = env.reset(seed=seed)
    rules.reset()
    scores, score = [], 0.0
    for _ in range(steps):
        assert np.array_equal(obs, rules.observe())
        action = policy(obs)
        obs, *result, info = env.step(action)
        expected = rules.step(action)
        assert tuple(result) == expected
        score += expected[0]
        assert info["score"] == score
        if expected[1] or expected[2]:
            assert np.array_equal(obs, rules.observe())
            scores.append(score)
            score = 0.0
            obs, _ = env.reset()
            rules.reset()
    return scores


@both_sizes
@pytest.mark.parametrize("skill", [0.0, 0.5, 0.9, 0.99])
def test_partly_random_policy_equals_plain_rules(game: str, skill: float) -> None:
    rng = np.random.default_rng(7)

    def policy(obs: np.ndarray) -> int:
        return optimal_action(obs) if rng.random() < skill else int(rng.integers(3))

    scores = [score for seed in range(3) for score in assert_equal_to_plain_rules(game, seed, policy, 1000)]
    assert len(scores) > 5
    assert min(scores) < BEST_SCORE[SIZES[game]]


@both_sizes
def test_optimal_policy_equals_plain_rules_and_catches_every_ball(game: str) -> None:
    scores = assert_equal_to_plain_rules(game, 1, optimal_action, 3 * 500)
    assert scores == [BEST_SCORE[SIZES[game]]] * 3


@both_sizes
@pytest.mark.parametrize("seed", range(5))
def test_optimal_policy_scores_best_at_truncation(game: str, seed: int) -> None:
    env = single(game)
    obs, _ = env.reset(seed=seed)
    rewards, info = [], {}
    for step in range(1, 501):
        obs, reward, terminated, truncated, info = env.step(optimal_action(obs))
        rewards.append(reward)
        assert not terminated
        assert truncated == (step == 500)
    assert sum(rewards) == info["score"] == BEST_SCORE[SIZES[game]]
    arrivals = np.flatnonzero(rewards) + 1
    first = SIZES[game] - 1
    assert arrivals.tolist() == list(range(first, 501, 5))


@both_sizes
def test_reset_draws_columns_uniformly(game: str) -> None:
    """The first ball in any column, the bar in any but the last place that fits."""
    size, env = SIZES[game], single(game)
    env.reset(seed=0)
    starts = [env.reset()[0] for _ in range(6000)]
    for places, row, level in ((size, 0, 127), (size - 3, -1, 255)):
        counts = np.bincount([int(np.argmax(obs[row] == level)) for obs in starts], minlength=size)
        assert (counts[places:] == 0).all()
        expected = 6000 / places
        assert np.abs(counts[:places] - expected).max() < 5 * expected**0.5
