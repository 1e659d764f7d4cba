"""Statistics of runs compared with slow plain loops, and with what can be counted out."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rlgames.runs.statistics import (
    improvement_interval,
    interquartile_interval,
    interquartile_mean,
    probability_of_improvement,
)


@pytest.mark.parametrize("n", range(1, 13))
def test_interquartile_mean_is_the_mean_without_the_outer_quarters(n: int) -> None:
    scores = np.random.default_rng(n).normal(size=(3, n))
    for row, mean in zip(scores, interquartile_mean(scores), strict=True):
        inner = sorted(row)[n // 4 : n - n // 4]
        assert math.isclose(mean, sum(inner) / len(inner))


def test_probability_of_improvement_counts_pairs() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 5, (2, 4, 7))
    b = b[:, :6]
    expected = [
        sum(1.0 if y > x else 0.5 if y == x else 0.0 for x in xs for y in ys) / 42 for xs, ys in zip(a, b, strict=True)
    ]
    np.testing.assert_allclose(probability_of_improvement(b, a), expected)
    np.testing.assert_allclose(probability_of_improvement(b.T, a.T, axis=0), expected)


def test_interval_of_two_runs_is_from_one_to_the_other() -> None:
    """A quarter of their resamples is twice the lower run, and a quarter twice the higher one."""
    low, high = interquartile_interval(np.array([[0.0, 1.0], [3.0, 3.0]]))
    assert (low.tolist(), high.tolist()) == ([0, 3], [1, 3])


def test_interval_is_that_of_resampled_means() -> None:
    scores = np.random.default_rng(1).uniform(size=40)
    rng = np.random.default_rng(2)
    means = [np.mean(sorted(rng.choice(scores, 40))[10:30]) for _ in range(4000)]
    low, high = interquartile_interval(scores[None])
    np.testing.assert_allclose([*low, *high], np.quantile(means, [0.025, 0.975]), atol=0.02)
    assert [each.tolist() for each in interquartile_interval(scores[None])] == [low.tolist(), high.tolist()]


def test_single_run_has_no_interval() -> None:
    assert np.isnan(interquartile_interval(np.ones((2, 1)))).all()
    assert np.isnan(improvement_interval(np.ones(1), np.ones(5))).all()


def test_improvement_interval_is_certain_where_all_are_better() -> None:
    assert improvement_interval(np.array([5.0, 6.0, 7.0]), np.array([1.0, 2.0])) == (1, 1)
    low, high = improvement_interval(np.array([0.0, 2.0]), np.array([1.0, 1.0]))  # a half of the resamples is mixed
    assert (low, high) == (0, 1)
