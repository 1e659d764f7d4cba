"""The curve of a run: scores of training and evaluations over environment steps."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rlgames.runs import rows


def draw_curve(metrics: Path, picture: Path, title: str) -> None:
    """Draw `metrics` (a run's metrics.jsonl) into `picture` (PNG)."""
    from matplotlib.figure import Figure  # the figure alone: no window system, no global state

    lines = rows(metrics)
    episodes = [(line["step"], score) for line in lines for score in line.get("scores", ())]
    means = [(line["step"], line["score"]) for line in lines if line.get("score") is not None]
    evaluations = [(line["step"], line["evaluation"]) for line in lines if "evaluation" in line]
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
