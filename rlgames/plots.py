"""Curves: a run's scores of training and evaluations over environment steps, and several runs beside each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from rlgames.runs.directory import rows

COLOURS = ("#3874ba", "#d64c3f", "#4c9864", "#d99a1c", "#7a5ea8", "#3b9aa3")
Run = tuple[np.ndarray, np.ndarray]  # (n,) where, and (n,) what was measured there


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
    """Compare `curves` in `picture` (PNG): of each the mean over its runs, with a band from the lowest to the highest.

    A run is (x, y), and all runs of a curve have the same x. `levels` are dashed lines to measure them by; `log` makes
    the vertical axis logarithmic.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    for (name, runs), colour in zip(curves.items(), cycle(COLOURS), strict=False):
        x, y = runs[0][0], np.array([y for _, y in runs])
        axes.plot(x, y.mean(0), color=colour, label=name, zorder=2)
        if len(runs) > 1:
            axes.fill_between(x, y.min(0), y.max(0), color=colour, alpha=0.15, linewidth=0, zorder=1)
    for (name, level), dashes in zip((levels or {}).items(), cycle([(0, (5, 3)), (0, (1, 2))]), strict=False):
        axes.axhline(level, color="#6b7280", linewidth=1.2, linestyle=dashes, label=name, zorder=0)
    axes.set(title=title, xlabel=xlabel, ylabel=ylabel, yscale="log" if log else "linear")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="best")
    figure.savefig(picture)


def binned(x: ArrayLike, y: ArrayLike, bins: int) -> Run:
    """The middles of `bins` equal stretches of `x` (n,), and the mean of `y` (n,) in each; empty ones are left out."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    edges = np.linspace(x.min(), x.max(), bins + 1)
    at = np.clip(np.searchsorted(edges, x, "right") - 1, 0, bins - 1)
    count = np.bincount(at, minlength=bins)
    means = np.bincount(at, y, bins)[count > 0] / count[count > 0]
    return ((edges[:-1] + edges[1:]) / 2)[count > 0], means
