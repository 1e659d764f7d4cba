"""Learning curves: scores of training and evaluations of one run, and comparisons of several runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

COLORS = ("#3874ba", "#d64c3f", "#4c9864", "#d99a1c", "#7a5ea8", "#3b9aa3")
Run = tuple[np.ndarray, np.ndarray]  # x (n,) and y (n,)


def draw_curve(rows: Sequence[Mapping[str, Any]], picture: Path, title: str) -> None:
    """Draw the rows of a run's metrics.jsonl and episodes.jsonl into `picture` (PNG)."""
    from matplotlib.figure import Figure  # noqa: PLC0415  heavy

    episodes = [(row["step"], score) for row in rows for score in row.get("scores", ())]
    means = [(row["step"], row["rollout/score_mean"]) for row in rows if row.get("rollout/score_mean") is not None]
    evaluations = [(row["step"], row["eval/score_mean"]) for row in rows if "eval/score_mean" in row]
    figure = Figure(figsize=(8, 4.5), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    if episodes:
        thin = episodes[:: max(1, len(episodes) // 5000)]
        axes.plot(*np.transpose(thin), ".", color="#b8c4d6", markersize=2.5, label="episodes", zorder=1)
    if means:
        axes.plot(*np.transpose(means), color="#3874ba", label="mean of the last 100", zorder=2)
    if evaluations:
        axes.plot(*np.transpose(evaluations), "o-", color="#d64c3f", markersize=4, label="evaluation", zorder=3)
    axes.set(title=title, xlabel="environment steps", ylabel="score")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if episodes or means or evaluations:
        axes.legend(frameon=False, loc="best")
    figure.savefig(picture)


def draw_curves(
    curves: Mapping[str, Sequence[Run]],
    picture: Path,
    title: str,
    ylabel: str,
    *,
    xlabel: str = "environment steps",
    levels: Mapping[str, float] | None = None,
    log: bool = False,
) -> None:
    """Draw `curves` into `picture` (PNG): of each the mean over its runs, with a band from the lowest to the highest.

    A run is (x, y), and all runs of a curve have the same x. `levels` are dashed horizontal lines, such as a score to
    reach; `log` makes the vertical axis logarithmic.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415  heavy

    figure = Figure(figsize=(8, 4.5), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    for (name, runs), color in zip(curves.items(), cycle(COLORS), strict=False):
        x, y = runs[0][0], np.array([y for _, y in runs])
        axes.plot(x, y.mean(0), color=color, label=name, zorder=2)
        if len(runs) > 1:
            axes.fill_between(x, y.min(0), y.max(0), color=color, alpha=0.15, linewidth=0, zorder=1)
    for (name, level), dashes in zip((levels or {}).items(), cycle([(0, (5, 3)), (0, (1, 2))]), strict=False):
        axes.axhline(level, color="#6b7280", linewidth=1.2, linestyle=dashes, label=name, zorder=0)
    axes.set(title=title, xlabel=xlabel, ylabel=ylabel, yscale="log" if log else "linear")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="best")
    figure.savefig(picture)


def bin_means(x: ArrayLike, y: ArrayLike, bins: int) -> Run:
    """Return the middles of `bins` equal intervals of `x` (n,) that are not empty, and the mean of `y` (n,) in each."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    edges = np.linspace(x.min(), x.max(), bins + 1)
    at = np.clip(np.searchsorted(edges, x, "right") - 1, 0, bins - 1)
    count = np.bincount(at, minlength=bins)
    means = np.bincount(at, y, bins)[count > 0] / count[count > 0]
    return ((edges[:-1] + edges[1:]) / 2)[count > 0], means
