"""CatchBall against its rules written down plainly, as lists of balls and counters."""

from collections.abc import Callable

import numpy as np
import pytest
from helpers.games import SplitMix64, single

from rlgames.engine.rng import stream

SIZES = {"CatchBall": 8, "CatchBall:size=16": 16}
MOST = {8: 99, 16: 98}  # balls that arrive in 500 steps
boards = pytest.mark.parametrize("game", SIZES)


class CatchBall:
    """The rules, in their order."""

    def __init__(self, size: int, dice: SplitMix64):
        self.size, self.dice = size, dice

    def reset(self) -> None:
        self.bar = self.below(self.size - 3)
        self.balls = [[0, self.below(self.size)]]  # row, column; oldest first
        self.since, self.frames = 0, 0

    def below(self, n: int) -> int:
        return int(self.dice.uniform() * n)

    def fits(self, column: int) -> bool:
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
        if self.since == 4:
            self.since = 0
            column = self.below(self.size)
            while not self.fits(column):
                column = self.below(self.size)
            self.balls.append([0, column])
        else:
            self.since += 1
        self.frames += 1
        truncated = self.frames == 500
        row, column = self.balls[0]
        if row < self.size - 1:
            return 0.0, False, truncated
        if column in (self.bar, self.bar + 1, self.bar + 2):
            return 1.0, False, truncated
        return -1.0, True, False

    def picture(self) -> np.ndarray:
        picture = np.zeros((self.size, self.size), np.uint8)
        picture[-1, self.bar : self.bar + 3] = 255
        for row, column in self.balls:
            picture[row, column] = 127
        return picture


def catcher(picture: np.ndarray) -> int:
    """An action that keeps within reach of all balls that can be seen, if there is one."""
    size = len(picture)
    bottom = np.flatnonzero(picture[-1] == 255)
    bar = min(int(bottom[0]), size - 3)
    if len(bottom) < 3 and picture[-1, max(0, bar - 1)] == 127:  # a ball hides the bar's left end
        bar -= 1
    first, last, later = 0, size - 3, 0  # where the bar may be when the ball before arrives, looking back from the last
    for row, column in np.argwhere(picture[:-1] == 127):
        steps = size - 1 - int(row)  # until this ball arrives
        first, last = first - max(0, later - steps), last + max(0, later - steps)
        first, last, later = max(first, column - 2, 0), min(last, column, size - 3), steps
    return 2 if bar < first else 1 if bar > last else 0


def against_the_rules(game: str, seed: int, policy: Callable[[np.ndarray], int], steps: int) -> list[float]:
    """Plays both side by side and returns the scores of the episodes."""
    env, rules = single(game), CatchBall(SIZES[game], SplitMix64(int(stream(seed))))
    obs, _ = env.reset(seed=seed)
    rules.reset()
    scores, score = [], 0.0
    for _ in range(steps):
        assert np.array_equal(obs, rules.picture())
        action = policy(obs)
        obs, *outcome, info = env.step(action)
        expected = rules.step(action)
        assert tuple(outcome) == expected
        score += expected[0]
        assert info["score"] == score
        if expected[1] or expected[2]:
            assert np.array_equal(obs, rules.picture())
            scores.append(score)
            score = 0.0
            obs, _ = env.reset()
            rules.reset()
    return scores


@boards
@pytest.mark.parametrize("skill", [0.0, 0.5, 0.9, 0.99])
def test_it_follows_the_rules(game: str, skill: float) -> None:
    chance = np.random.default_rng(7)

    def policy(picture: np.ndarray) -> int:
        return catcher(picture) if chance.random() < skill else int(chance.integers(3))

    scores = [score for seed in range(3) for score in against_the_rules(game, seed, policy, 1500)]
    assert len(scores) > 5
    assert min(scores) < MOST[SIZES[game]]


@boards
def test_every_ball_can_be_caught(game: str) -> None:
    assert against_the_rules(game, 1, catcher, 3 * 500) == [MOST[SIZES[game]]] * 3


@boards
@pytest.mark.parametrize("seed", range(10))
def test_the_best_return_comes_at_exactly_500_steps(game: str, seed: int) -> None:
    env = single(game)
    obs, _ = env.reset(seed=seed)
    rewards, info = [], {}
    for step in range(1, 501):
        obs, reward, terminated, truncated, info = env.step(catcher(obs))
        rewards.append(reward)
        assert not terminated
        assert truncated == (step == 500)
    assert sum(rewards) == info["score"] == MOST[SIZES[game]]
    arrivals = np.flatnonzero(rewards) + 1
    first = SIZES[game] - 1
    assert arrivals.tolist() == list(range(first, 501, 5))


@boards
def test_where_bar_and_balls_appear(game: str) -> None:
    """The first ball in any column, the bar anywhere but in the last place that fits; all places alike."""
    size, env = SIZES[game], single(game)
    env.reset(seed=0)
    starts = [env.reset()[0] for _ in range(6000)]
    for places, row, level in ((size, 0, 127), (size - 3, -1, 255)):
        counts = np.bincount([int(np.argmax(obs[row] == level)) for obs in starts], minlength=size)
        assert (counts[places:] == 0).all()
        expected = 6000 / places
        assert np.abs(counts[:places] - expected).max() < 5 * expected**0.5
