"""Learning curves: scores of training and evaluations of one run, and comparisons of several runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

COLORS = ("#3874ba", "#d64c3f", "#4c9864", "#d99a1c", "#7a5ea8", "#3b9aa3")
STEPS = "environment steps"
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
    axes.set(title=title, xlabel=STEPS, ylabel="score")
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
    xlabel: str = STEPS,
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


class Curve(NamedTuple):
    """A line with a band around it: all arrays (n,), NaN where nothing is drawn."""

    name: str
    num_runs: int
    x: np.ndarray
    y: np.ndarray
    low: np.ndarray
    high: np.ndarray
    complete: np.ndarray  # bool: the line is dashed elsewhere


class Panel(NamedTuple):
    title: str
    xlabel: str
    ylabel: str
    curves: Sequence[Curve]


def draw_panels(panels: Sequence[Sequence[Panel]], picture: Path, title: str | None = None) -> None:
    """Draw rows of panels into `picture` (PNG, SVG).

    The panels of a column have the same title and the same horizontal axis, curves of the same name the same color.
    """
    from matplotlib import rc_context  # noqa: PLC0415  heavy
    from matplotlib.figure import Figure  # noqa: PLC0415  heavy
    from matplotlib.ticker import EngFormatter  # noqa: PLC0415  heavy

    names = dict.fromkeys(curve.name for row in panels for panel in row for curve in panel.curves)
    colors = dict(zip(names, cycle(COLORS), strict=False))
    width = 8.0 if len(panels[0]) == 1 else 5.2 * len(panels[0])
    height = 4.5 if len(panels) == 1 else 3.6 * len(panels)
    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    grid = figure.subplots(len(panels), len(panels[0]), squeeze=False, sharex="col")
    for row, drawn in zip(panels, grid, strict=True):
        for panel, axes in zip(row, drawn, strict=True):
            for curve in panel.curves:
                color = colors[curve.name]
                label = f"{curve.name} ({curve.num_runs} run{'s' if curve.num_runs > 1 else ''})"
                axes.plot(curve.x, curve.y, color=color, linewidth=1.2, linestyle=(0, (3, 2)), zorder=2)
                solid = np.where(curve.complete, curve.y, np.nan)
                axes.plot(curve.x, solid, color=color, linewidth=1.8, label=label, zorder=3)
                axes.fill_between(curve.x, curve.low, curve.high, color=color, alpha=0.16, linewidth=0, zorder=1)
            axes.set(title=panel.title if row is panels[0] else "", ylabel=panel.ylabel)
            axes.set_xlabel(panel.xlabel if row is panels[-1] else "")
            if panel.xlabel == STEPS:
                axes.xaxis.set_major_formatter(EngFormatter(sep=""))  # 20M
            axes.margins(x=0.01)
            axes.grid(alpha=0.25)
            axes.spines[["top", "right"]].set_visible(False)
            if panel.curves:
                axes.legend(loc="best", framealpha=0.8, edgecolor="none")
    if title:
        figure.suptitle(title)
    curves = [curve for row in panels for panel in row for curve in panel.curves]
    if any(curve.num_runs > 1 for curve in curves):
        explained = "interquartile mean of the runs and its 95% bootstrap interval"
        if not all(curve.complete.all() for curve in curves):
            explained += "; dashed: of those that have come so far"
        figure.supxlabel(explained, fontsize="small", color="#6b7280")
    dated = picture.suffix.lower() == ".svg"
    with rc_context({"svg.hashsalt": "rlgames"}):  # the same curves are the same file
        figure.savefig(picture, metadata={"Date": None} if dated else None)


def bin_means(x: ArrayLike, y: ArrayLike, bins: int) -> Run:
    """Return the middles of `bins` equal intervals of `x` (n,) that are not empty, and the mean of `y` (n,) in each."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    edges = np.linspace(x.min(), x.max(), bins + 1)
    at = np.clip(np.searchsorted(edges, x, "right") - 1, 0, bins - 1)
    count = np.bincount(at, minlength=bins)
    means = np.bincount(at, y, bins)[count > 0] / count[count > 0]
    return ((edges[:-1] + edges[1:]) / 2)[count > 0], means
