"""`rlgames.compare`: the final scores of one agent's runs against those of another's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rlgames.errors import InvalidValueError
from rlgames.runs.curves import METRICS, LoadedRun, check_logged, load_runs, metric_name
from rlgames.runs.directory import RunDirectory, read_rows
from rlgames.runs.statistics import (
    improvement_interval,
    interquartile_interval,
    interquartile_mean,
    probability_of_improvement,
)

Interval = tuple[float, float] | None  # None: of a single value


@dataclass(frozen=True)
class Side:
    """One of the two that are compared."""

    name: str  # agent and paths
    runs: list[Path]
    steps: tuple[int, int]  # lowest and highest step of the runs' last values
    values: list[float]  # one a run, or one an episode
    iqm: float  # interquartile mean of the values
    interval: Interval  # 95%, by bootstrap


@dataclass(frozen=True)
class Comparison:
    game: str
    metric: str
    unit: str  # what a value is of: "run", or "episode" where a side has a single run
    a: Side
    b: Side
    improvement: float  # probability that a value of b is higher than one of a
    improvement_interval: Interval

    def __str__(self) -> str:
        sides = [f"{side.name} {number(side.iqm)}{in_brackets(side.interval)}" for side in (self.a, self.b)]
        probability = f"{self.improvement:.2f}{in_brackets(self.improvement_interval, 2)}"
        return f"{self.metric} on {self.game}: {sides[0]}, {sides[1]}, the second higher with probability {probability}"


def compare(
    a: str | Path | Sequence[str | Path], b: str | Path | Sequence[str | Path], *, metric: str = "eval"
) -> Comparison:
    """Return the interquartile means of the last values of `metric` of the runs `a` and `b`, and how often b is better.

    Each is the directory of a run, a folder of runs, a pattern such as "runs/ppo-*", or several of these. `metric` is
    "eval" (eval/score_mean), "score" (rollout/score_mean) or one in metrics.jsonl such as "train/loss". Each run counts
    once; where a side has a single run, which says nothing about another seed, the episodes of the final evaluations
    are compared instead. Intervals are 95% percentile bootstraps. `improvement` is the probability that a run of b has
    a higher value than one of a (Agarwal et al. 2021); of equal values it is a half.

    Raises FileNotFoundError where there is no run, ValueError for runs of different games, for several agents on one
    side, and for a metric that a side has not logged.
    """
    name = metric_name(metric)
    loaded = [load_runs(side) for side in (a, b)]
    games = {run.played: run.path for runs in loaded for run in runs}
    if len(games) > 1:
        (one, path), (other, other_path), *_ = games.items()
        raise InvalidValueError(f"{path} plays {one}, {other_path} plays {other}: compare runs of one game")
    for runs in loaded:
        agents = {run.settings["agent"]: run.path for run in runs}
        if len(agents) > 1:
            (one, path), (other, other_path), *_ = agents.items()
            raise InvalidValueError(
                f"{path} is of {one}, {other_path} of {other}, on one side: compare the runs of one agent with those of"
                " another, as in 'runs/ppo-*' 'runs/dqn-*'"
            )
        check_logged(runs, [name])
    loaded = [[run for run in runs if run.has(name)] for runs in loaded]
    by_episode = name == METRICS["eval"] and min(map(len, loaded)) == 1
    sides = [make_side(given, runs, name, by_episode) for given, runs in zip((a, b), loaded, strict=True)]
    before, after = (np.array(side.values) for side in sides)
    return Comparison(
        game=next(iter(games)),
        metric=name,
        unit="episode" if by_episode else "run",
        a=sides[0],
        b=sides[1],
        improvement=float(probability_of_improvement(after, before)),
        improvement_interval=finite(*improvement_interval(after, before)),
    )


def make_side(
    given: str | Path | Sequence[str | Path], runs: Sequence[LoadedRun], metric: str, by_episode: bool
) -> Side:
    last = [(int(x[-1]), float(y[-1])) for x, y in (run.points(metric) for run in runs)]
    steps = [step for step, _ in last]
    values = [score for run in runs for score in final_scores(run.path)] if by_episode else [value for _, value in last]
    low, high = interquartile_interval(np.array([values]))
    paths = [given] if isinstance(given, str | Path) else given
    return Side(
        name=f"{runs[0].settings['agent']} in {', '.join(map(str, paths))}",
        runs=[run.path for run in runs],
        steps=(min(steps), max(steps)),
        values=values,
        iqm=float(interquartile_mean(np.array(values))),
        interval=finite(float(low[0]), float(high[0])),
    )


def final_scores(run: Path) -> list[float]:
    """Return the scores of the episodes of a run's last evaluation."""
    rows = [row for row in read_rows(RunDirectory(run).episodes) if row.get("eval_scores")]
    if not rows:
        raise InvalidValueError(f"{run} has no episodes of an evaluation in episodes.jsonl: compare another --metric")
    return [float(score) for score in rows[-1]["eval_scores"]]


def finite(low: float, high: float) -> Interval:
    return None if np.isnan(low) else (low, high)


def number(value: float, digits: int | None = None) -> str:
    """Return a number with these digits after the point, else with at least three that matter."""
    if digits is None and abs(value) < 10:
        return f"{value:.3g}"
    return f"{value:,.{1 if digits is None else digits}f}"


def in_brackets(interval: Interval, digits: int | None = None) -> str:
    return f" [{number(interval[0], digits)}, {number(interval[1], digits)}]" if interval else ""
