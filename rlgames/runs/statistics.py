"""Statistics of a few runs: interquartile means, bootstrap intervals and the probability of improvement.

Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical Precipice": means and medians of the
few runs that one can afford are too noisy to compare, and a point without its interval hides that.
"""

from __future__ import annotations

import numpy as np

CONFIDENCE = 0.95
RESAMPLES = 2_000
ELEMENTS = 2_000_000  # that a batch of resamples has at most, for the memory that it takes


def interquartile_mean(scores: np.ndarray, axis: int = -1) -> np.ndarray:
    """Return the mean along `axis` without the lowest and the highest quarter of the scores, each rounded down.

    Of fewer than 4 scores it is the plain mean.
    """
    from scipy.stats import trim_mean  # noqa: PLC0415  heavy

    return np.asarray(trim_mean(scores, 0.25, axis=axis))


def interquartile_interval(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends (n,) of the 95% percentile bootstrap intervals of the interquartile means of `scores` (n, runs).

    The resamples are always the same. Of a single run the ends are NaN.
    """
    from scipy.stats import bootstrap  # noqa: PLC0415  heavy

    if scores.shape[1] < 2:
        nothing = np.full(len(scores), np.nan)
        return nothing, nothing
    result = bootstrap(
        (scores,),
        interquartile_mean,
        axis=1,
        n_resamples=RESAMPLES,
        batch=max(1, ELEMENTS // scores.size),
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    return result.confidence_interval.low, result.confidence_interval.high


def probability_of_improvement(scores: np.ndarray, before: np.ndarray, axis: int = -1) -> np.ndarray:
    """Return the probability that one of `scores` is higher than one of `before`; of equals it is a half."""
    if axis != -1:
        scores, before = np.moveaxis(scores, axis, -1), np.moveaxis(before, axis, -1)
    higher = np.sign(scores[..., :, None] - before[..., None, :])
    return (higher.mean((-2, -1)) + 1) / 2


def improvement_interval(scores: np.ndarray, before: np.ndarray) -> tuple[float, float]:
    """Return the 95% percentile bootstrap interval of the probability of improvement of `scores` (n,) on `before` (m,).

    Of a single score on either side the ends are NaN.
    """
    from scipy.stats import bootstrap  # noqa: PLC0415  heavy

    if min(len(scores), len(before)) < 2:
        return np.nan, np.nan
    result = bootstrap(
        (scores, before),
        probability_of_improvement,
        n_resamples=RESAMPLES,
        batch=max(1, ELEMENTS // (len(scores) * len(before))),
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)
